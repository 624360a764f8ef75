//! What a watcher in the cloud and the devices at home saw of one run, and what is wrong with it.
//!
//! Pure. A reading is known by its topic and its number, a command by its id, which is also the word that reaches its
//! device. Invariant: what nobody sent is a fault, not noise.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// What was seen.
#[derive(Debug, Default)]
pub struct Tally {
    /// How often each reading arrived in the cloud.
    readings: BTreeMap<(String, usize), usize>,
    /// What was told in the cloud of each command: status, and whether it was the answer to a repetition.
    outcomes: BTreeMap<String, Vec<(String, bool)>>,
    /// How often each command reached its device.
    acts: BTreeMap<String, usize>,
    foreign: Vec<String>,
}

impl Tally {
    /// A message in the cloud, its topic from below the gateway's own.
    pub fn arrived(&mut self, topic: &str, payload: &str) {
        if topic.ends_with("/result") {
            let outcome: serde_json::Value = serde_json::from_str(payload).unwrap_or_default();
            let (Some(id), Some(status)) = (outcome["id"].as_str(), outcome["status"].as_str()) else {
                return self.foreign.push(format!("{topic} {payload}"));
            };
            let reason = outcome["reason"].as_str().map_or(String::new(), |reason| format!(" ({reason})"));
            let told = (format!("{status}{reason}"), outcome["duplicate"] == true);
            self.outcomes.entry(id.to_owned()).or_default().push(told);
        } else if let Ok(number) = payload.parse() {
            *self.readings.entry((topic.to_owned(), number)).or_default() += 1;
        } else {
            self.foreign.push(format!("{topic} {payload}"));
        }
    }

    /// A device was told this word.
    pub fn acted(&mut self, word: &str) {
        *self.acts.entry(word.to_owned()).or_default() += 1;
    }

    /// How many readings arrived, each counted once.
    pub fn readings(&self) -> usize {
        self.readings.len()
    }

    /// How many of them came again, each time counted.
    pub fn duplicates(&self) -> usize {
        self.readings.values().sum::<usize>() - self.readings.len()
    }

    /// How often devices acted.
    pub fn acts(&self) -> usize {
        self.acts.values().sum()
    }

    /// How many commands have an outcome.
    pub fn outcomes(&self) -> usize {
        self.outcomes.len()
    }

    /// How many outcomes were told again: to whoever asked again, or by a cloud that delivered twice.
    pub fn outcomes_again(&self) -> usize {
        self.outcomes.values().map(Vec::len).sum::<usize>() - self.outcomes.len()
    }

    pub fn has_outcome(&self, id: &str) -> bool {
        self.outcomes.contains_key(id)
    }

    /// Everything that is wrong, where all of `sent` was accepted and each of `asked` was to run.
    pub fn faults(&self, sent: &BTreeSet<(String, usize)>, asked: &BTreeSet<String>) -> Vec<Fault> {
        let arrived: BTreeSet<_> = self.readings.keys().cloned().collect();
        let lost = sent.difference(&arrived).map(|(topic, number)| Fault::Lost(format!("{topic} {number}")));
        let foreign = arrived.difference(sent).map(|(topic, number)| format!("{topic} {number}"));
        let mut faults: Vec<Fault> = lost.collect();
        faults.extend(foreign.chain(self.foreign.iter().cloned()).map(Fault::Foreign));
        for id in asked {
            match self.acts.get(id) {
                None => faults.push(Fault::NotRun(id.clone())),
                Some(1) => {}
                Some(times) => faults.push(Fault::RunAgain(id.clone(), *times)),
            }
            match self.outcomes.get(id).map(Vec::as_slice) {
                None | Some([]) => faults.push(Fault::Untold(id.clone())),
                Some(told) => {
                    let wrong = told.iter().filter(|(status, _)| status != "applied");
                    faults.extend(wrong.map(|(status, _)| Fault::Told(id.clone(), status.clone())));
                }
            }
        }
        let strangers = self.acts.keys().chain(self.outcomes.keys()).filter(|id| !asked.contains(*id));
        faults.extend(strangers.map(|id| Fault::Foreign(id.clone())));
        faults
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A reading that was accepted at home never came.
    Lost(String),
    /// Something came that nobody sent.
    Foreign(String),
    /// A command never reached its device.
    NotRun(String),
    /// A command reached its device so often.
    RunAgain(String, usize),
    /// A command has no outcome.
    Untold(String),
    /// A command that was to be applied has this outcome.
    Told(String, String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(reading) => write!(f, "lost: {reading}"),
            Self::Foreign(what) => write!(f, "nobody sent this: {what}"),
            Self::NotRun(id) => write!(f, "never reached its device: {id}"),
            Self::RunAgain(id, times) => write!(f, "reached its device {times} times: {id}"),
            Self::Untold(id) => write!(f, "has no outcome: {id}"),
            Self::Told(id, status) => write!(f, "`{status}` instead of `applied`: {id}"),
        }
    }
}

fn reading(number: usize) -> (String, usize) {
    ("sensors/attic".to_owned(), number)
}

fn outcome(id: &str, status: &str) -> String {
    format!(r#"{{"id": "{id}", "status": "{status}"}}"#)
}

/// Two readings and one command, all well.
fn good() -> (Tally, BTreeSet<(String, usize)>, BTreeSet<String>) {
    let mut tally = Tally::default();
    tally.arrived("sensors/attic", "0");
    tally.arrived("sensors/attic", "1");
    tally.arrived("sensors/attic", "1");
    tally.acted("c-1");
    tally.arrived("plug/result", &outcome("c-1", "applied"));
    (tally, [reading(0), reading(1)].into(), ["c-1".to_owned()].into())
}

#[test]
fn a_run_in_which_all_is_well_has_no_faults_and_its_repetitions_are_counted() {
    let (mut tally, sent, asked) = good();
    tally.arrived("plug/result", r#"{"id": "c-1", "status": "applied", "duplicate": true}"#);
    assert_eq!(tally.faults(&sent, &asked), []);
    assert_eq!((tally.readings(), tally.duplicates()), (2, 1));
    assert_eq!((tally.acts(), tally.outcomes(), tally.outcomes_again()), (1, 1, 1));
}

#[test]
fn what_is_lost_foreign_run_again_untold_or_told_wrongly_is_found() {
    let (tally, mut sent, mut asked) = good();
    sent.insert(reading(2));
    asked.insert("c-2".to_owned());
    let faults =
        [Fault::Lost("sensors/attic 2".into()), Fault::NotRun("c-2".into()), Fault::Untold("c-2".into())];
    assert_eq!(tally.faults(&sent, &asked), faults);

    let (mut tally, sent, asked) = good();
    tally.arrived("sensors/attic", "7");
    tally.arrived("sensors/attic", "warm");
    tally.acted("c-1");
    tally.acted("c-9");
    tally.arrived("plug/result", &outcome("c-1", "refused"));
    let faults = [
        Fault::Foreign("sensors/attic 7".into()),
        Fault::Foreign("sensors/attic warm".into()),
        Fault::RunAgain("c-1".into(), 2),
        Fault::Told("c-1".into(), "refused".into()),
        Fault::Foreign("c-9".into()),
    ];
    assert_eq!(tally.faults(&sent, &asked), faults);
}
