//! The judgement on a history: pure, from the entries of a diary to counts and the first offenders.
//!
//! What is allowed is written in [`Rules`]. What is never allowed: an accepted message that the cloud did not get,
//! one that nobody sent, a receipt without a message id, an id that names two messages or comes twice on one
//! connection, first receipts out of the order of publishing, a command that reached the bus twice, late or against
//! the allow-list, one without an outcome, outcomes that contradict each other or what the bus saw.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    time::Duration,
};

use super::{Command, Entry, Event, Receipt, Text};

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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Accepted and never received.
    Lost,
    /// Received and never published.
    Foreign,
    /// Received again more often than the window allows.
    Duplicated,
    /// A consumer could not have dropped it: no id, one id for two messages, or more ids than sends.
    Unmarked,
    /// First received before a message that was published before it.
    Reordered,
    /// Reached the bus after its expiry.
    Late,
    /// Reached the bus more than once.
    RanTwice,
    /// Reached the bus against the allow-list, or without having been asked for.
    Forbidden,
    /// Asked for, and no outcome, or only a repeated one.
    WithoutOutcome,
    /// Two different outcomes.
    Contradicted,
    /// The outcome is not what happened.
    Untrue,
}

const KINDS: [(Kind, &str); 11] = [
    (Kind::Lost, "lost"),
    (Kind::Foreign, "foreign"),
    (Kind::Duplicated, "duplicated beyond the window"),
    (Kind::Unmarked, "not marked as a duplicate"),
    (Kind::Reordered, "reordered"),
    (Kind::Late, "run late"),
    (Kind::RanTwice, "run twice"),
    (Kind::Forbidden, "run though forbidden"),
    (Kind::WithoutOutcome, "without an outcome"),
    (Kind::Contradicted, "with outcomes that contradict each other"),
    (Kind::Untrue, "with an outcome that is not true"),
];

/// What is wrong, and how much there was of everything.
#[derive(Debug, Default)]
pub struct Verdict {
    faults: BTreeMap<Kind, Vec<String>>,
    figures: Vec<(String, u64)>,
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

    fn fault(&mut self, kind: Kind, offender: String) {
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
struct Marks<'a>(&'a [Entry]);

impl Marks<'_> {
    fn at(self, at: Duration) -> String {
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
    fn stutter_before(self, at: Duration) -> Duration {
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

type Message<'a> = (&'a Text, &'a Text);

#[derive(Default)]
struct Sent {
    place: usize,
    sends: usize,
    accepted: Option<Duration>,
    ids: HashSet<Text>,
}

fn judge_messages(entries: &[Entry], rules: Rules, marks: Marks, verdict: &mut Verdict) {
    let mut sent: HashMap<Message, Sent> = HashMap::new();
    let mut named: HashMap<&Text, (Message, u64)> = HashMap::new();
    let mut last_place: HashMap<&Text, (usize, &Text)> = HashMap::new();
    let mut again: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    let (mut receipts, mut ours, mut sends) = (0, 0, 0);
    let mut topics_of_devices: HashSet<&Text> = HashSet::new();
    for Entry { at, event } in entries {
        match event {
            Event::Published { topic, payload } => {
                sends += 1;
                topics_of_devices.insert(topic);
                let place = sent.len();
                let known = sent.entry((topic, payload)).or_insert(Sent { place, ..Sent::default() });
                known.sends += 1;
            }
            Event::Accepted { topic, payload } => {
                sent.entry((topic, payload)).or_default().accepted.get_or_insert(*at);
            }
            Event::Received(receipt) => {
                receipts += 1;
                ours += u64::from(receipt.is_ours);
                let Receipt { connection, topic, payload, id, .. } = receipt;
                let what = || format!("{topic} {payload} at {}, connection {connection}", marks.at(*at));
                if let Some(problem) = marking(receipt, rules) {
                    verdict.fault(Kind::Unmarked, format!("{}: {problem}", what()));
                }
                let Some(id) = id else { continue };
                let is_first = match named.get(id) {
                    None => {
                        named.insert(id, ((topic, payload), *connection));
                        true
                    }
                    Some(((other, text), _)) if (*other, *text) != (topic, payload) => {
                        let problem = format!("its id {id} was that of {other} {text}");
                        verdict.fault(Kind::Unmarked, format!("{}: {problem}", what()));
                        true
                    }
                    Some((_, before)) if before == connection => {
                        verdict.fault(Kind::Duplicated, format!("{}: twice on one connection", what()));
                        false
                    }
                    Some(_) => {
                        again.entry(*connection).or_default().push(what());
                        named.insert(id, ((topic, payload), *connection));
                        false
                    }
                };
                if !is_first || !topics_of_devices.contains(topic) {
                    continue;
                }
                let Some(known) = sent.get_mut(&(topic, payload)) else {
                    verdict.fault(Kind::Foreign, what());
                    continue;
                };
                let is_first_of_all = known.ids.is_empty();
                known.ids.insert(id.clone());
                if known.ids.len() > known.sends {
                    let (ids, sends) = (known.ids.len(), known.sends);
                    verdict.fault(Kind::Unmarked, format!("{}: {ids} ids for {sends} sends", what()));
                }
                if is_first_of_all {
                    match last_place.get(topic) {
                        Some((place, later)) if *place > known.place => {
                            verdict.fault(Kind::Reordered, format!("{}, after {later}", what()));
                        }
                        _ => drop(last_place.insert(topic, (known.place, payload))),
                    }
                }
            }
            _ => {}
        }
    }
    let mut lost: Vec<_> = sent
        .iter()
        .filter(|(_, sent)| sent.ids.is_empty())
        .filter_map(|((topic, payload), sent)| Some((sent.accepted?, topic, payload)))
        .collect();
    lost.sort();
    for (at, topic, payload) in lost {
        verdict.fault(Kind::Lost, format!("{topic} {payload}, accepted at {}", marks.at(at)));
    }
    let most = again.values().map(Vec::len).max().unwrap_or(0);
    let repeated: usize = again.values().map(Vec::len).sum();
    for (connection, repeated) in again {
        if repeated.len() > rules.window {
            let problem = format!("connection {connection}: {} came again, first ", repeated.len());
            verdict.fault(Kind::Duplicated, problem + &repeated[0]);
        }
    }
    let accepted = sent.values().filter(|sent| sent.accepted.is_some()).count();
    verdict.figures.extend([
        ("messages of devices".to_owned(), sent.len() as u64),
        ("sends of them, repetitions included".to_owned(), sends),
        ("accepted by the gateway".to_owned(), accepted as u64),
        ("received by the cloud, everything".to_owned(), receipts),
        ("of these written by the gateway itself".to_owned(), ours),
        ("received again, marked by its id".to_owned(), repeated as u64),
        (format!("again on one connection at most, {} allowed", rules.window), most as u64),
    ]);
}

/// What is wrong with how a receipt is marked.
fn marking(receipt: &Receipt, rules: Rules) -> Option<String> {
    let Some(id) = &receipt.id else { return Some("it has no message-id".to_owned()) };
    if !receipt.is_ours {
        return None;
    }
    let value: serde_json::Value = match serde_json::from_str(&receipt.payload) {
        Ok(value) => value,
        Err(error) => return Some(format!("its payload is no JSON: {error}")),
    };
    match value.get("message_id").map(|inner| inner.as_str()) {
        Some(inner) if inner != Some(id) => Some(format!("its payload says {inner:?}, its property {id}")),
        None if rules.has_id_in_payload => Some("its payload has no `message_id`".to_owned()),
        _ => None,
    }
}

struct Fate<'a> {
    command: Option<&'a Command>,
    asked: Duration,
    is_taken: bool,
    acts: Vec<Duration>,
    told: Vec<(&'a Text, bool)>,
}

fn judge_commands(entries: &[Entry], rules: Rules, marks: Marks, verdict: &mut Verdict) {
    let mut fates: HashMap<&Text, Fate> = HashMap::new();
    let (mut again, mut stutter) = (0, Duration::ZERO);
    let blank = |at| Fate { command: None, asked: at, is_taken: false, acts: Vec::new(), told: Vec::new() };
    for Entry { at, event } in entries {
        match event {
            Event::Asked(command) => {
                fates.entry(&command.id).or_insert_with(|| blank(*at)).command = Some(command);
            }
            Event::AskedAgain => again += 1,
            Event::Taken { id } => fates.entry(id).or_insert_with(|| blank(*at)).is_taken = true,
            Event::Acted { id } => fates.entry(id).or_insert_with(|| blank(*at)).acts.push(*at),
            Event::Told { id, status, is_duplicate } => {
                fates.entry(id).or_insert_with(|| blank(*at)).told.push((status, *is_duplicate));
            }
            Event::Stutter(held_up) => stutter = stutter.max(*held_up),
            _ => {}
        }
    }
    let mut in_order: Vec<_> = fates.iter().collect();
    in_order.sort_by_key(|(id, fate)| (fate.asked, **id));
    for (id, fate) in in_order {
        judge_fate(id, fate, rules, marks, verdict);
    }
    let mut statuses: BTreeMap<&str, u64> = BTreeMap::new();
    for (status, _) in fates.values().filter_map(|fate| fate.told.first()) {
        *statuses.entry(status).or_default() += 1;
    }
    verdict.figures.extend([
        ("commands".to_owned(), fates.len() as u64),
        ("commands sent again".to_owned(), again),
        ("acts on the bus".to_owned(), fates.values().map(|fate| fate.acts.len() as u64).sum()),
    ]);
    verdict.figures.extend(statuses.into_iter().map(|(status, count)| (format!("{status} first"), count)));
    verdict.figures.push(("ms that the rig stood still at most".to_owned(), stutter.as_millis() as u64));
}

fn judge_fate(id: &Text, fate: &Fate, rules: Rules, marks: Marks, verdict: &mut Verdict) {
    let asked = format!("{id}, asked at {}", marks.at(fate.asked));
    let acts: Vec<String> = fate.acts.iter().map(|at| marks.at(*at)).collect();
    let acts = acts.join(" and at ");
    let Some(command) = fate.command else {
        verdict.fault(Kind::Forbidden, format!("{id}: nobody asked for it"));
        return;
    };
    if fate.acts.len() > 1 {
        verdict.fault(Kind::RanTwice, format!("{asked}: reached the bus at {acts}"));
    }
    if !fate.acts.is_empty() && !command.is_allowed {
        verdict.fault(Kind::Forbidden, format!("{asked}: reached the bus at {acts}"));
    }
    if let Some(expires) = command.expires {
        let is_late = |at: &&Duration| **at > expires + rules.tolerance + marks.stutter_before(**at);
        if let Some(at) = fate.acts.iter().find(is_late) {
            let late = *at - expires;
            verdict.fault(Kind::Late, format!("{asked}: reached the bus {late:.3?} late, at {acts}"));
        }
    }
    match fate.told.iter().find(|(_, is_duplicate)| !is_duplicate) {
        None if fate.told.is_empty() => {
            let taken = if fate.is_taken { "acknowledged" } else { "never acknowledged" };
            verdict.fault(Kind::WithoutOutcome, format!("{asked}, {taken}; acts: {acts}"));
        }
        None => verdict.fault(Kind::WithoutOutcome, format!("{asked}: only told again, never told")),
        Some(_) => {}
    }
    let statuses: HashSet<&str> = fate.told.iter().map(|(status, _)| &***status).collect();
    if statuses.len() > 1 {
        verdict.fault(Kind::Contradicted, format!("{asked}: {:?}", fate.told));
    }
    for status in statuses {
        let is_untrue = match status {
            "applied" => command.is_confirmed && fate.acts.is_empty(),
            "refused" | "expired" | "failed" => !fate.acts.is_empty(),
            _ => false,
        };
        if is_untrue {
            verdict.fault(Kind::Untrue, format!("{asked}: {status}; acts: {acts}"));
        }
    }
}
