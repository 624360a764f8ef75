//! The judgement on a history: pure, from the entries of a diary to counts and the first offenders.
//!
//! What is allowed is written in [`Rules`]. What is never allowed: an accepted message that the cloud did not get,
//! one that nobody sent, a receipt without a message id, an id that names two messages or comes twice on one
//! connection, first receipts out of the order of publishing, an acknowledgement of nothing, a command that reached
//! the bus twice, late or against the allow-list, one without an outcome, outcomes that contradict each other, what
//! the bus saw or what the command was. A history of nothing has no such fault: [`super::work`] wants some.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{Entry, Event, commands::judge_commands, messages::judge_messages};

/// So many offenders of each kind are shown.
const SHOWN: usize = 5;

/// What is allowed, and what cannot be known better.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// So many messages may come again on each connection: what was in flight when the one before broke.
    pub window: usize,
    /// How much later than its expiry an act may be seen: the way from the gateway's decision to the diary.
    pub tolerance: Duration,
    /// Whether what the gateway wrote itself carries its id in the payload, as `message_id`.
    pub has_id_in_payload: bool,
    /// Whether the queue may drop and has lanes: then what is lost and in which order is for others to judge.
    pub is_bounded: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Accepted and never received.
    Lost,
    /// Received and never published, or on a topic that is nobody's.
    Foreign,
    /// An acknowledgement of what was not sent.
    Stray,
    /// Received again more often than the window allows.
    Duplicated,
    /// A consumer could not have dropped it: no id, one id for two messages, or more ids than sends.
    Unmarked,
    /// Gone from the queue, and neither received nor in its sums, or in them and not gone.
    Uncounted,
    /// More of the backlog in a time than its pace allows.
    Hurried,
    /// First received before a message that was published before it.
    Reordered,
    /// Reached the bus after its expiry.
    Late,
    /// Reached the bus more than once.
    RanTwice,
    /// Reached the bus against the allow-list, over when it was sent, undated though it may have waited, or without
    /// having been asked for.
    Forbidden,
    /// Asked for, and no outcome, or only a repeated one.
    WithoutOutcome,
    /// Two different outcomes.
    Contradicted,
    /// The outcome is not what happened, or its reason was none of this command's.
    Untrue,
    /// Not all well at the end, though nothing was in the way any more.
    Unhealed,
    /// Too little was accepted or applied for the time that there was.
    Idle,
}

const KINDS: [(Kind, &str); 16] = [
    (Kind::Lost, "lost"),
    (Kind::Foreign, "foreign"),
    (Kind::Stray, "acknowledged though never sent"),
    (Kind::Duplicated, "duplicated beyond the window"),
    (Kind::Unmarked, "not marked as a duplicate"),
    (Kind::Uncounted, "wrong in the sums"),
    (Kind::Hurried, "above the pace of the backlog"),
    (Kind::Reordered, "reordered"),
    (Kind::Late, "run late"),
    (Kind::RanTwice, "run twice"),
    (Kind::Forbidden, "run though forbidden"),
    (Kind::WithoutOutcome, "without an outcome"),
    (Kind::Contradicted, "with outcomes that contradict each other"),
    (Kind::Untrue, "with an outcome that is not true"),
    (Kind::Unhealed, "not healed at the end"),
    (Kind::Idle, "idle"),
];

/// What is wrong, and how much there was of everything.
#[derive(Debug, Default)]
pub struct Verdict {
    faults: BTreeMap<Kind, Vec<String>>,
    pub(super) figures: Vec<(String, u64)>,
}

impl Verdict {
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }

    pub fn count(&self, kind: Kind) -> usize {
        self.faults.get(&kind).map_or(0, Vec::len)
    }

    /// The kinds of faults that there are.
    pub fn kinds(&self) -> Vec<Kind> {
        self.faults.keys().copied().collect()
    }

    /// A figure by its name; 0 when there is none.
    pub fn figure(&self, name: &str) -> u64 {
        self.figures.iter().find(|(known, _)| known == name).map_or(0, |(_, count)| *count)
    }

    /// Adds a figure of the rig's own.
    pub fn add(&mut self, name: &str, count: u64) {
        self.figures.push((name.to_owned(), count));
    }

    pub fn fault(&mut self, kind: Kind, offender: String) {
        self.faults.entry(kind).or_default().push(offender);
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in &self.figures {
            writeln!(f, "{count:>9}  {name}")?;
        }
        for (kind, name) in KINDS {
            writeln!(f, "{:>9}  {name}", self.count(kind))?;
        }
        for (kind, name) in KINDS {
            let Some(offenders) = self.faults.get(&kind) else { continue };
            writeln!(f, "the first that are {name}:")?;
            for offender in offenders.iter().take(SHOWN) {
                writeln!(f, "    {offender}")?;
            }
        }
        Ok(())
    }
}

/// Judges a history.
pub fn judge(entries: &[Entry], rules: Rules) -> Verdict {
    let mut verdict = Verdict::default();
    let marks = Marks(entries);
    judge_messages(entries, rules, marks, &mut verdict);
    judge_commands(entries, rules, marks, &mut verdict);
    verdict
}

/// What explains a moment: the last mark before it.
#[derive(Clone, Copy)]
pub(super) struct Marks<'a>(&'a [Entry]);

impl Marks<'_> {
    pub(super) fn at(self, at: Duration) -> String {
        let before = self.0.partition_point(|entry| entry.at <= at);
        let mark = self.0[..before].iter().rev().find_map(|entry| match &entry.event {
            Event::Mark(what) => Some((entry.at, what)),
            _ => None,
        });
        match mark {
            Some((since, what)) => format!("{at:.3?} ({:.0?} after: {what})", at - since),
            None => format!("{at:.3?}"),
        }
    }

    /// How long the rig stood still in the two seconds before this moment.
    pub(super) fn stutter_before(self, at: Duration) -> Duration {
        let (from, to) = (at.saturating_sub(Duration::from_secs(2)), at + Duration::from_millis(100));
        let first = self.0.partition_point(|entry| entry.at < from);
        self.0[first..]
            .iter()
            .take_while(|entry| entry.at <= to)
            .filter_map(|entry| match entry.event {
                Event::Stutter(held_up) => Some(held_up),
                _ => None,
            })
            .sum()
    }
}
