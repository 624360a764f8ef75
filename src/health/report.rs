//! What each part says about itself. A report replaces the part's last one as a whole.

use std::{collections::BTreeMap, time::Duration};

use serde::{Serialize, Serializer};

use crate::model::{
    Availability, CommandId, DeviceId, Fault, Fields, LinkState, Outcome, OutcomeStatus, Reason, Receipt,
    Stage, Subject, Timestamp, Topic,
};

pub(super) fn as_seconds<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    duration.map(|duration| duration.as_secs_f64()).serialize(serializer)
}

pub(super) fn in_seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    duration.as_secs_f64().serialize(serializer)
}

/// Where the line to the cloud stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LinkReport {
    /// Its state.
    pub state: LinkState,
    /// Where the line leads, or is dialled, without credentials; empty when no cloud is configured.
    pub endpoint: String,
    /// `MQTT 5` or `MQTT 3.1.1`, while connected.
    pub protocol: Option<&'static str>,
    /// When the current connection was accepted.
    pub connected_since: Option<Timestamp>,
    /// Why there is no connection, or what is wrong with the one that there is.
    pub fault: Option<Fault>,
    /// How long the wait before the next attempt is, from the moment of the report.
    #[serde(rename = "next_attempt_in_seconds", serialize_with = "as_seconds")]
    pub next_attempt_in: Option<Duration>,
    /// How often the line is tested, while connected: `cloud.keep_alive`, or what the cloud wants instead.
    #[serde(rename = "keep_alive_seconds", serialize_with = "as_seconds")]
    pub keep_alive: Option<Duration>,
    /// Whether a message of our own came back on this connection.
    pub echoed: bool,
    /// Why credentials that lie in the files are not in use; the line goes on with the old ones.
    pub kept_out: Option<Fault>,
}

impl LinkReport {
    /// No cloud is configured.
    pub fn off() -> Self {
        Self {
            state: LinkState::Off,
            endpoint: String::new(),
            protocol: None,
            connected_since: None,
            fault: None,
            next_attempt_in: None,
            keep_alive: None,
            echoed: false,
            kept_out: None,
        }
    }
}

/// A fault that the line had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastFault {
    /// What was wrong.
    #[serde(flatten)]
    pub fault: Fault,
    /// When.
    pub at: Timestamp,
}

/// What went over the line since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LinkCounters {
    /// Connections that the cloud accepted.
    pub connects: u64,
    /// Attempts and connections that failed.
    pub failures: u64,
    /// Publishes sent, sent again included.
    pub published: u64,
    /// Of those, sent again after a lost connection.
    pub resent: u64,
    /// Publishes that the cloud acknowledged.
    pub acknowledged: u64,
    /// Messages that came in.
    pub received: u64,
}

/// What the store holds; `store::StoreStats` in the board's words, since peers on a floor do not meet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StoreReport {
    /// Messages that wait for the cloud.
    pub waiting: u64,
    /// Their size, in bytes.
    pub waiting_bytes: u64,
    /// What they may take, in bytes.
    pub max_bytes: u64,
    /// When the oldest of them was accepted.
    pub oldest: Option<Timestamp>,
    /// Messages taken since the start.
    pub accepted: u64,
    /// Messages that the cloud acknowledged since the start.
    pub acknowledged: u64,
    /// What was dropped or refused since the start, by the policy's name.
    pub dropped: Vec<(&'static str, u64)>,
    /// The parts of the queue with policies of their own.
    pub lanes: Vec<LaneReport>,
    /// What was written to the disk, by day.
    pub written: WrittenReport,
    /// What is wrong with the disk, if anything.
    pub fault: Option<String>,
    /// The names of damaged files of the store that were set aside and still lie there, the oldest first.
    pub set_aside: Vec<String>,
}

/// What the store wrote to the disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct WrittenReport {
    /// Bytes by day, today first, seven days at most. Empty: the kernel does not count.
    pub days: Vec<u64>,
    /// What may be written a day.
    pub budget: Option<u64>,
    /// The least time between two commits now.
    #[serde(rename = "commit_floor_seconds", serialize_with = "in_seconds")]
    pub floor: Duration,
}

impl WrittenReport {
    /// What was written today, and more than may be.
    pub(super) fn excess(&self) -> Option<(u64, u64)> {
        let (written, budget) = (*self.days.first()?, self.budget?);
        (written > budget).then_some((written, budget))
    }
}

/// What one part of the queue holds, named by its route.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LaneReport {
    /// The route's local filter, or `states`.
    pub name: String,
    /// Messages that wait for the cloud.
    pub waiting: u64,
    /// Their size, in bytes.
    pub waiting_bytes: u64,
    /// Dropped or not kept by any policy, since the start.
    pub dropped: u64,
}

/// What the local broker does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BrokerReport {
    /// The addresses it listens on, as URLs (`mqtt://127.0.0.1:1883`).
    pub listeners: Vec<String>,
    /// Connected clients.
    pub clients: usize,
    /// Sessions, those of absent clients included.
    pub sessions: usize,
    /// Retained messages.
    pub retained: usize,
    /// What waits in all sessions' queues, in bytes.
    pub queued_bytes: usize,
    /// What all clients together can make the broker hold by its limits, in bytes.
    pub memory_limit: usize,
    /// Messages dropped because a session's queue was full, since the start.
    pub dropped: u64,
    /// Connections refused, since the start.
    pub refused: u64,
    /// Publishes and subscriptions that a client may not make, since the start.
    pub denied: u64,
    /// Messages delivered but not retained, for want of room, since the start.
    pub not_retained: u64,
    /// Sessions of absent clients that ended before their time, for want of room, since the start.
    pub ended_early: u64,
}

/// What is known of a device.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeviceReport {
    /// Its id.
    pub id: DeviceId,
    /// Its kind, as written in the configuration.
    pub kind: String,
    /// Whether it can be reached.
    pub availability: Availability,
    /// Its last state.
    pub fields: Option<Fields>,
    /// The units of those that are numbers, where its kind says them.
    pub units: BTreeMap<String, String>,
    /// When it last said something.
    pub last_seen: Option<Timestamp>,
    /// How often its task was restarted after a panic.
    pub restarts: u32,
    /// What is wrong with it, if anything.
    pub fault: Option<String>,
    /// Whether `fields` are of an earlier time: the device cannot be reached, or has said nothing since the start.
    pub stale: bool,
    /// What is left of its battery, in percent, where its kind says which field that is.
    pub battery_percent: Option<f64>,
    /// How well it is heard, in dBm, where its kind says which field that is.
    pub signal_dbm: Option<f64>,
    /// The number that it is there for, if there is one.
    pub number: Option<NumberReport>,
}

impl DeviceReport {
    /// A device of which nothing is known yet.
    pub fn new(id: DeviceId, kind: impl Into<String>) -> Self {
        Self {
            id,
            kind: kind.into(),
            availability: Availability::Offline,
            fields: None,
            units: BTreeMap::new(),
            last_seen: None,
            restarts: 0,
            fault: None,
            stale: false,
            battery_percent: None,
            signal_dbm: None,
            number: None,
        }
    }

    /// Whether it needs somebody's attention.
    pub(crate) fn is_ill(&self) -> bool {
        self.fault.is_some() || self.availability == Availability::Offline
    }
}

/// A button that somebody at home may press.
#[derive(Debug, Clone, PartialEq)]
pub struct ButtonReport {
    /// Which field of the device it sets.
    pub field: String,
    /// What people call that.
    pub name: String,
    /// What is written on it.
    pub words: String,
    /// To what it sets the field.
    pub value: serde_json::Value,
}

/// The number that a device is there for: the first that its kind says is measured, and not about the device itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NumberReport {
    /// Which field of its state.
    pub field: String,
    /// Its unit, where its kind says it.
    pub unit: Option<String>,
    /// Its value.
    pub value: f64,
    /// Its means over the last 24 hours by half hours, the oldest first, 48 at most; `None`: nothing was heard. Kept by
    /// the board, in memory; whoever reports a device leaves it empty.
    pub history: Vec<Option<f64>>,
}

/// What is known of a bus that can be ill by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BusReport {
    /// Its name for people: `the Bluetooth adapter hci0`.
    pub name: String,
    /// What is wrong with it, if anything.
    pub fault: Option<String>,
    /// What was counted since the start, in the order in which it is told.
    #[serde(serialize_with = "as_map")]
    pub counts: Vec<(&'static str, u64)>,
}

fn as_map<S: Serializer>(counts: &[(&'static str, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(counts.iter().copied())
}

/// How far a message for the cloud, or a command, has come, and when it was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReceiptReport {
    /// Which message, by its `message-id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Its topic in the cloud, where it was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<Topic>,
    /// Which command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandId>,
    /// For which device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
    /// How far.
    pub stage: Stage,
    /// When.
    pub at: Timestamp,
}

impl ReceiptReport {
    /// A receipt with its time.
    pub(super) fn new(receipt: Receipt, at: Timestamp) -> Self {
        let Receipt { subject, stage } = receipt;
        let mut report = Self { message: None, topic: None, command: None, device: None, stage, at };
        match subject {
            Subject::Message(id, topic) => {
                (report.message, report.topic) = (Some(id.as_str().to_owned()), topic)
            }
            Subject::Command(id, device) => (report.command, report.device) = (Some(id), Some(device)),
        }
        report
    }
}

/// The last receipts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ReceiptsReport {
    /// Newest first.
    pub receipts: Vec<ReceiptReport>,
    /// How many were not issued since the start, because too many came at once.
    pub missed: u64,
}

/// The end of a command's story, with who asked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CommandReport {
    /// `cloud`, `local`, `rule` or `unknown`; behind it in brackets the sender or, of a press on the status page, `page`.
    pub origin: String,
    /// How old it was when it arrived, by its own time (`at`); `None`: it has none, or the clock cannot be believed.
    #[serde(rename = "age_seconds", serialize_with = "as_seconds")]
    pub age: Option<Duration>,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// How many commands ended so, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CommandCount {
    /// Who asked: `cloud`, `local`, `rule` or `unknown`.
    pub origin: &'static str,
    /// What became of them.
    pub status: OutcomeStatus,
    /// Why, unless they were applied.
    pub reason: Option<Reason>,
    /// How many.
    pub count: u64,
}

impl CommandCount {
    /// Counts one more; as many entries as there are words at most.
    pub(super) fn add(counts: &mut Vec<Self>, report: &CommandReport) {
        // The sender stands behind the word, and nobody knows how many of them there are.
        let word = report.origin.split(' ').next();
        let known = ["cloud", "local", "rule"].into_iter().find(|known| Some(*known) == word);
        let (origin, Outcome { status, reason, .. }) = (known.unwrap_or("unknown"), &report.outcome);
        let is_it =
            |count: &&mut Self| (count.origin, count.status, count.reason) == (origin, *status, *reason);
        match counts.iter_mut().find(is_it) {
            Some(count) => count.count += 1,
            None => counts.push(Self { origin, status: *status, reason: *reason, count: 1 }),
        }
    }
}

/// When the queue will be full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct OutlookReport {
    /// How long until it is full, at today's rate; `None` while it does not fill.
    #[serde(rename = "full_in_seconds", serialize_with = "as_seconds")]
    pub full_in: Option<Duration>,
    /// At which rate it fills; `None` while it does not.
    pub filling_bytes_per_second: Option<f64>,
}
