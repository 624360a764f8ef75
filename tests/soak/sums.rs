//! Judges a queue that may drop: whatever was accepted is received, counted as dropped, or waits.
//!
//! Pure. A kill takes the sums with it, which count from the start of each life, so they are held against the store's
//! file as it lay between the lives. Every accepted message has a sequence, whether it stayed or not; so what came and
//! what went in a life is known exactly, and so is what was dropped: what went and was never received. The sums of a
//! page are some moments older than the kill. Where they agree with the file about what came and what waits, nothing
//! happened between, and they are held to be exact; elsewhere they must not say more than happened. What was sent when
//! the line broke can be dropped though the cloud has it; but nothing whose acknowledgement the line has read.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use crate::history::{
    Entry, Event, Receipt,
    verdict::{Kind, Verdict},
};

/// What the store's file holds while no gateway runs.
#[derive(Debug, Clone, Default)]
pub struct Rest {
    /// The last sequence that was ever given.
    pub last: u64,
    /// The sequences of what waits.
    pub waiting: BTreeSet<u64>,
}

/// The policies that the gateway's lanes have; no other may drop anything.
pub const POLICIES: [&str; 3] = ["drop_oldest", "superseded", "max_age"];

/// The sums on a status page, since the gateway's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    pub accepted: u64,
    /// Deleted because the cloud acknowledged them.
    pub acknowledged: u64,
    /// Acknowledgements that the line has read.
    pub heard: u64,
    /// By all policies together.
    pub dropped: u64,
    /// Of these by each of [`POLICIES`].
    pub by: [u64; 3],
    pub waiting: u64,
}

/// One life of the gateway.
#[derive(Debug, Clone)]
pub struct Life {
    /// From its start to its kill, by the diary's clock.
    pub born: Duration,
    pub killed: Duration,
    pub pages: Vec<Page>,
    /// When it was killed, nothing of any device was on its way, and nothing that the line had read.
    pub is_settled: bool,
    /// What it left.
    pub rest: Rest,
}

/// What the gateway is told of its queue.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// So many may be received and not acknowledged when a connection breaks; these may be dropped, too.
    pub window: usize,
    /// Messages of the backlog in a second.
    pub rate: f64,
    /// Below this topic new ones go before the backlog.
    pub live: &'static str,
}

/// What the line may have saved up, in seconds of its rate (`src/link/state/pacer.rs`).
const BUCKET: f64 = 0.1;

struct Arrival {
    at: Duration,
    connection: u64,
    sequence: u64,
    is_live: bool,
}

pub fn judge_sums(lives: &[Life], entries: &[Entry], bounds: Bounds, verdict: &mut Verdict) {
    let arrivals: Vec<Arrival> = entries.iter().filter_map(|entry| arrival(entry, bounds)).collect();
    let mut first: HashMap<u64, Duration> = HashMap::new();
    for arrival in &arrivals {
        first.entry(arrival.sequence).or_insert(arrival.at);
    }
    let mut before = &Rest::default();
    let (mut dropped, mut both, mut exact) = (0, 0, 0);
    for (number, life) in lives.iter().enumerate() {
        let seen = Seen { number, life, before, first: &first, arrivals: &arrivals };
        if let Some(sums) = seen.judge(bounds, verdict) {
            exact += 1;
            both += sums;
        }
        dropped += seen.never();
        before = &life.rest;
    }
    judge_acceptance(lives, entries, dropped, &first, verdict);
    judge_order(&arrivals, verdict);
    verdict.add("dropped, and never received", dropped);
    for (place, policy) in POLICIES.into_iter().enumerate() {
        let last_seen = lives.iter().filter_map(|life| life.pages.last()).map(|page| page.by[place]);
        verdict.add(&format!("counted as {policy} on the last pages of all lives"), last_seen.sum());
    }
    verdict.add("counted as dropped, and received on a line that broke", both);
    verdict.add("lives whose last page agrees with the file", exact);
    verdict.add("pages read", lives.iter().map(|life| life.pages.len() as u64).sum());
}

fn arrival(entry: &Entry, bounds: Bounds) -> Option<Arrival> {
    let Event::Received(Receipt { connection, topic, id, .. }) = &entry.event else { return None };
    let sequence = id.as_ref()?.rsplit_once('-')?.1.parse().ok()?;
    Some(Arrival { at: entry.at, connection: *connection, sequence, is_live: topic.starts_with(bounds.live) })
}

/// A life, and what was before it.
struct Seen<'a> {
    number: usize,
    life: &'a Life,
    before: &'a Rest,
    first: &'a HashMap<u64, Duration>,
    arrivals: &'a [Arrival],
}

impl Seen<'_> {
    fn gone(&self) -> impl Iterator<Item = u64> {
        let came = self.before.last + 1..=self.life.rest.last;
        let all = self.before.waiting.iter().copied().chain(came);
        all.filter(|sequence| !self.life.rest.waiting.contains(sequence))
    }

    fn never(&self) -> u64 {
        self.gone().filter(|sequence| !self.first.contains_key(sequence)).count() as u64
    }

    /// For a life whose last page is exact: how many were counted as dropped, and received.
    fn judge(&self, bounds: Bounds, verdict: &mut Verdict) -> Option<u64> {
        let Self { number, life, before, .. } = self;
        let Life { born, killed, pages, rest, .. } = life;
        let mut fault = |kind, problem: String| verdict.fault(kind, format!("in life {number}: {problem}"));
        if rest.last < before.last {
            fault(Kind::Lost, format!("sequence {} was the last, and now {} is", before.last, rest.last));
            return None;
        }
        let known = |sequence: &&u64| **sequence > before.last || before.waiting.contains(sequence);
        if let Some(back) = rest.waiting.iter().find(|sequence| !known(sequence)) {
            fault(Kind::Foreign, format!("sequence {back} was gone and waits again"));
        }
        let began = before.waiting.len() as u64;
        for page in pages {
            if page.by.iter().sum::<u64>() != page.dropped {
                fault(Kind::Uncounted, format!("by a policy that no lane has; {page:?}"));
            }
            if began + page.accepted != page.waiting + page.acknowledged + page.dropped {
                fault(Kind::Uncounted, format!("{began} waited at the start, and then {page:?}"));
            }
        }
        let mut backlog = 0;
        let during = |arrival: &&Arrival| arrival.at >= *born && arrival.at <= *killed;
        for arrival in self.arrivals.iter().filter(during).filter(|one| one.sequence <= before.last) {
            backlog += 1;
            let passed = (arrival.at - *born).as_secs_f64();
            // A connection of the life before may have been heard out in this one.
            let most = bounds.rate * (passed + BUCKET) + 1.0 + bounds.window as f64;
            if f64::from(backlog) > most {
                fault(Kind::Hurried, format!("{backlog} of the backlog within {passed:.3} s"));
                break;
            }
        }
        let page = pages.last()?;
        let came = rest.last - before.last;
        let (gone, never) = (self.gone().count() as u64, self.never());
        let had = self.gone().filter(|one| self.first.get(one).is_some_and(|at| at <= killed)).count() as u64;
        let left = rest.waiting.len() as u64;
        if page.accepted > came || page.acknowledged > had || page.dropped + page.acknowledged > gone {
            fault(
                Kind::Uncounted,
                format!("{came} came, {gone} went, {had} of these to the cloud; {page:?}"),
            );
        }
        let connections: HashSet<u64> =
            self.arrivals.iter().filter(during).map(|one| one.connection).collect();
        let was_sent = |one: &&u64| self.first.get(*one).is_some_and(|at| at < born);
        let unsure = before.waiting.iter().filter(was_sent).count() + bounds.window * connections.len();
        if page.dropped > never + unsure as u64 {
            fault(Kind::Uncounted, format!("{never} were never received, {unsure} perhaps; {page:?}"));
        }
        if page.accepted != came || page.waiting != left {
            return None;
        }
        if page.dropped < never {
            fault(Kind::Uncounted, format!("{never} are gone and were never received; {page:?}"));
        }
        if life.is_settled && page.heard != page.acknowledged {
            fault(
                Kind::Uncounted,
                format!("the line has read acknowledgements of what was dropped; {page:?}"),
            );
        }
        Some(page.dropped.saturating_sub(never))
    }
}

/// A message that a device knows to be accepted has a sequence of its own, from before it knew.
fn judge_acceptance(
    lives: &[Life],
    entries: &[Entry],
    dropped: u64,
    first: &HashMap<u64, Duration>,
    verdict: &mut Verdict,
) {
    let (mut from, mut last, mut kills) = (Duration::ZERO, 0, 0);
    for (number, life) in lives.iter().enumerate() {
        kills += 1;
        if !life.is_settled {
            continue;
        }
        let range = entries.partition_point(|one| one.at <= from)
            ..entries.partition_point(|one| one.at <= life.killed);
        let count = |is_it: fn(&Event) -> bool| {
            entries[range.clone()].iter().filter(|one| is_it(&one.event)).count() as u64
        };
        let accepted = count(|event| matches!(event, Event::Accepted { .. }));
        let published = count(|event| matches!(event, Event::Published { .. }));
        let came = life.rest.last.saturating_sub(last);
        // Without a kill among them there is nothing that a device could not know.
        let most = if kills == 1 { accepted } else { published };
        if came < accepted || came > most {
            let problem =
                format!("up to life {number} {came} came, devices know of {accepted} and sent {published}");
            verdict.fault(Kind::Lost, problem);
        }
        (from, last, kills) = (life.killed, life.rest.last, 0);
    }
    let mut accepted = HashSet::new();
    let mut received = HashSet::new();
    for entry in entries {
        match &entry.event {
            Event::Accepted { topic, payload } => drop(accepted.insert((topic, payload))),
            Event::Received(receipt) => drop(received.insert((&receipt.topic, &receipt.payload))),
            _ => {}
        }
    }
    let missing = accepted.difference(&received).count() as u64;
    let (last, waiting) =
        lives.last().map_or((0, 0), |life| (life.rest.last, life.rest.waiting.len() as u64));
    if missing > dropped + waiting {
        let problem =
            format!("{missing} accepted messages were not received, {dropped} dropped, {waiting} wait");
        verdict.fault(Kind::Lost, problem);
    }
    verdict.add("rows in the queue, ever", last);
    verdict.add("of these received", first.len() as u64);
    verdict.add("of these waiting at the end", waiting);
    verdict.add("accepted messages that were not received", missing);
}

/// On each connection there is a sequence up to which all waited: that and what is not live comes in order, and so does
/// what is live after it.
fn judge_order(arrivals: &[Arrival], verdict: &mut Verdict) {
    let mut connections: HashMap<u64, Vec<&Arrival>> = HashMap::new();
    for arrival in arrivals {
        connections.entry(arrival.connection).or_default().push(arrival);
    }
    let mut overtakers = 0;
    for (connection, arrivals) in connections {
        let (mut live, mut ordinary) = (BTreeSet::new(), BTreeSet::new());
        // The backlog ends at `least` or later, and before `most`.
        let (mut least, mut most) = (0, u64::MAX);
        for Arrival { sequence, is_live, .. } in arrivals {
            let later_live = live.range(sequence + 1..).next().copied();
            let later_ordinary = ordinary.range(sequence + 1..).next().copied();
            match (is_live, later_live, later_ordinary) {
                (true, later, other) => {
                    if let Some(later) = later {
                        (least, most) = (least.max(*sequence), most.min(later));
                    }
                    if other.is_some() {
                        most = most.min(*sequence);
                    }
                    live.insert(*sequence);
                }
                (false, later, other) => {
                    if let Some(later) = later {
                        most = most.min(later);
                        overtakers += 1;
                    }
                    if let Some(other) = other {
                        let problem = format!("sequence {sequence} after {other} on connection {connection}");
                        verdict.fault(Kind::Reordered, problem);
                    }
                    ordinary.insert(*sequence);
                }
            }
        }
        if least >= most {
            let problem = format!(
                "on connection {connection} the backlog would end at {least} or later and before {most}"
            );
            verdict.fault(Kind::Reordered, problem);
        }
    }
    verdict.add("overtaken by what was live", overtakers);
}
