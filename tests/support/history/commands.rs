//! Judges commands: each once, in time, on the list, with one outcome. Whether that is true: [`super::outcomes`].

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use super::{
    Command, Entry, Event, Outcome, Text,
    outcomes::{House, judge_outcome},
    verdict::{Kind, Marks, Rules, Verdict},
};

/// A copy of a command on its way to the gateway.
#[derive(Clone, Copy)]
pub(super) struct Handing {
    pub(super) at: Duration,
    /// Whether it cannot have waited: it was asked for on this connection, behind the fence.
    pub(super) is_live: bool,
}

/// All that happened to one command.
pub(super) struct Fate<'a> {
    pub(super) command: Option<&'a Command>,
    pub(super) asked: Duration,
    is_taken: bool,
    pub(super) handings: Vec<Handing>,
    pub(super) acts: Vec<Duration>,
    pub(super) shown: Option<Duration>,
    pub(super) told: Vec<&'a Outcome>,
}

impl Fate<'_> {
    fn new(asked: Duration) -> Self {
        let (handings, acts, told) = (Vec::new(), Vec::new(), Vec::new());
        Self { command: None, asked, is_taken: false, handings, acts, shown: None, told }
    }

    /// The first outcome that is no repetition.
    pub(super) fn outcome(&self) -> Option<&Outcome> {
        self.told.iter().find(|outcome| !outcome.is_duplicate).copied()
    }
}

pub(super) type Fates<'a> = HashMap<&'a Text, Fate<'a>>;

pub(super) fn judge_commands(entries: &[Entry], rules: Rules, marks: Marks, verdict: &mut Verdict) {
    let mut fates: Fates = HashMap::new();
    let mut fences: HashMap<u64, Duration> = HashMap::new();
    let (mut again, mut stutter) = (0, Duration::ZERO);
    for Entry { at, event } in entries {
        let blank = || Fate::new(*at);
        match event {
            Event::Asked(command) => fates.entry(&command.id).or_insert_with(blank).command = Some(command),
            Event::AskedAgain => again += 1,
            Event::Fence { connection } => drop(fences.entry(*connection).or_insert(*at)),
            Event::Handed { id, connection, asked } => {
                let is_live = fences.get(connection).is_some_and(|fence| fence <= asked);
                fates.entry(id).or_insert_with(blank).handings.push(Handing { at: *at, is_live });
            }
            Event::Taken { id } => fates.entry(id).or_insert_with(blank).is_taken = true,
            Event::Acted { id } => fates.entry(id).or_insert_with(blank).acts.push(*at),
            Event::Shown { id } => drop(fates.entry(id).or_insert_with(blank).shown.get_or_insert(*at)),
            Event::Told(outcome) => fates.entry(&outcome.id).or_insert_with(blank).told.push(outcome),
            Event::Stutter(held_up) => stutter = stutter.max(*held_up),
            _ => {}
        }
    }
    let house = House::new(entries, &fates);
    let mut in_order: Vec<_> = fates.iter().collect();
    in_order.sort_by_key(|(id, fate)| (fate.asked, **id));
    for (id, fate) in in_order {
        judge_fate(id, fate, &house, (rules, marks), verdict);
    }
    let mut statuses: BTreeMap<String, u64> = BTreeMap::new();
    for outcome in fates.values().filter_map(|fate| fate.told.first()) {
        *statuses.entry(format!("{} {}", outcome.status, outcome.reason)).or_default() += 1;
    }
    let undated = |fate: &&Fate| fate.command.is_some_and(|command| command.expires.is_none());
    let acts = |fate: &Fate| fate.acts.len() as u64;
    verdict.figures.extend([
        ("commands".to_owned(), fates.len() as u64),
        ("commands sent again".to_owned(), again),
        ("acts on the bus".to_owned(), fates.values().map(acts).sum()),
        ("of these undated".to_owned(), fates.values().filter(undated).map(acts).sum()),
    ]);
    verdict.figures.extend(statuses.into_iter().map(|(status, count)| (format!("first {status}"), count)));
    verdict.figures.push(("ms that the rig stood still at most".to_owned(), stutter.as_millis() as u64));
}

fn judge_fate(id: &Text, fate: &Fate, house: &House, (rules, marks): (Rules, Marks), verdict: &mut Verdict) {
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
    if !fate.acts.is_empty() && (!command.is_listed || command.expires.is_some_and(|over| over <= fate.asked))
    {
        verdict.fault(Kind::Forbidden, format!("{asked}: reached the bus at {acts}"));
    }
    for act in &fate.acts {
        judge_time(command, *act, (fate, house), (rules, marks), |kind, problem| {
            verdict.fault(kind, format!("{asked}: reached the bus at {}, {problem}", marks.at(*act)));
        });
    }
    if fate.outcome().is_none() {
        let problem = match (fate.told.is_empty(), fate.is_taken) {
            (false, _) => "only told again, never told",
            (true, true) => "acknowledged",
            (true, false) => "never acknowledged",
        };
        verdict.fault(Kind::WithoutOutcome, format!("{asked}, {problem}; acts: {acts}"));
    }
    let statuses: HashSet<&str> = fate.told.iter().map(|outcome| &*outcome.status).collect();
    if statuses.len() > 1 {
        verdict.fault(Kind::Contradicted, format!("{asked}: {:?}", fate.told));
    }
    for outcome in fate.told.iter().filter(|outcome| !outcome.is_duplicate) {
        if let Some(problem) = judge_outcome(command, outcome, (fate, house), (rules, marks)) {
            let Outcome { status, reason, decided, .. } = outcome;
            let told = format!("{status} {reason} at {}", marks.at(*decided));
            verdict.fault(Kind::Untrue, format!("{asked}: {told}, but {problem}; acts: {acts}"));
        }
    }
}

/// Whether an act was in time: before the command's own end, and by what was handed to the gateway in this life of it.
fn judge_time(
    command: &Command,
    act: Duration,
    (fate, house): (&Fate, &House),
    (rules, marks): (Rules, Marks),
    mut fault: impl FnMut(Kind, String),
) {
    let tolerance = rules.tolerance + marks.stutter_before(act);
    if let Some(expires) = command.expires.filter(|expires| act > *expires + tolerance) {
        fault(Kind::Late, format!("{:.3?} late", act - expires));
    }
    let is_dated = command.expires.is_some();
    let of_this_life = |handing: &&Handing| {
        // What the gateway sent right before it was killed the device reads a little later.
        handing.at <= act && !house.has_kill(handing.at, act.saturating_sub(tolerance))
    };
    let mut handings: Vec<&Handing> = fate.handings.iter().filter(of_this_life).collect();
    if handings.is_empty() {
        return fault(Kind::Forbidden, "which this life of the gateway was not asked for".to_owned());
    }
    handings.retain(|handing| is_dated || handing.is_live);
    match handings.last() {
        None => fault(Kind::Forbidden, "without a time, though it may have waited in the cloud".to_owned()),
        Some(last) if act > last.at + command.lives + tolerance => {
            fault(Kind::Late, format!("{:.3?} after it was handed over for the last time", act - last.at));
        }
        Some(_) => {}
    }
}
