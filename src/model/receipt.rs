//! Where a message for the cloud, or a command, stands on its way: for whoever wants to follow it.
//!
//! Owns the words and the bounded way from the parts that know to the one that tells. Invariant: nobody ever
//! waits for it; when it is full a receipt is not issued, and counted.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use serde::Serialize;
use tokio::sync::mpsc;

use super::{CommandId, DeviceId, MessageId, OutcomeStatus, Topic};

/// How far something has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// A message is on the disk: from now on it counts as accepted.
    Spooled,
    /// A message was handed to the connection; again after each reconnect without an acknowledgement.
    Sent,
    /// The cloud has the message.
    Acknowledged,
    /// The cloud refused the message for good, and it was dropped.
    Dropped,
    /// A command arrived.
    Received,
    /// A command's id is on the disk, and its device is told.
    Admitted,
    /// A command came to its end.
    #[serde(untagged)]
    Ended(OutcomeStatus),
}

impl Stage {
    /// The word in payloads and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Spooled => "spooled",
            Stage::Sent => "sent",
            Stage::Acknowledged => "acknowledged",
            Stage::Dropped => "dropped",
            Stage::Received => "received",
            Stage::Admitted => "admitted",
            Stage::Ended(status) => status.as_str(),
        }
    }
}

/// What stands somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A message of the outbox; its topic in the cloud is known where it was accepted.
    Message(MessageId, Option<Topic>),
    /// A command.
    Command(CommandId, DeviceId),
}

/// Something has come so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// What.
    pub subject: Subject,
    /// How far.
    pub stage: Stage,
}

/// Of what there are receipts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wanted {
    /// Of nothing.
    #[default]
    Nothing,
    /// Of commands.
    Commands,
    /// Of commands and of every message: three for each.
    Everything,
}

/// Where receipts go; cheap to clone. The default issues none.
#[derive(Debug, Clone, Default)]
pub struct Receipts {
    wanted: Wanted,
    sender: Option<mpsc::Sender<Receipt>>,
    missed: Arc<AtomicU64>,
}

impl Receipts {
    /// Receipts of what is wanted, and the end that hears of them. `capacity` may wait; full: the newest is not
    /// issued, and counted.
    pub fn channel(wanted: Wanted, capacity: usize) -> (Self, mpsc::Receiver<Receipt>) {
        let (sender, receiver) = mpsc::channel(capacity);
        (Self { wanted, sender: Some(sender), missed: Arc::default() }, receiver)
    }

    /// Whether anybody wants to hear of messages, by the log at level debug included.
    pub fn follow_messages(&self) -> bool {
        self.wanted == Wanted::Everything || tracing::enabled!(tracing::Level::DEBUG)
    }

    /// Issues a receipt of a message.
    pub fn message(&self, stage: Stage, id: &MessageId, topic: Option<&Topic>) {
        let word = stage.as_str();
        let on = topic.map(Topic::as_str);
        tracing::debug!(message = id.as_str(), stage = word, topic = on, "receipt");
        if self.wanted == Wanted::Everything {
            self.issue(Receipt { subject: Subject::Message(id.clone(), topic.cloned()), stage });
        }
    }

    /// Issues a receipt of a command.
    pub fn command(&self, stage: Stage, id: &CommandId, device: &DeviceId) {
        tracing::debug!(command = %id, %device, stage = stage.as_str(), "receipt");
        if self.wanted != Wanted::Nothing {
            self.issue(Receipt { subject: Subject::Command(id.clone(), device.clone()), stage });
        }
    }

    fn issue(&self, receipt: Receipt) {
        if self.sender.as_ref().is_some_and(|sender| sender.try_send(receipt).is_err()) {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many were not issued because nobody took them in time.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_a_receipt_and_those_that_are_missed_are_counted() {
        let (receipts, mut heard) = Receipts::channel(Wanted::Commands, 2);
        let (command, device) = (CommandId::parse("c").unwrap(), DeviceId::parse("d").unwrap());
        receipts.message(Stage::Sent, &MessageId::new("s", 1), None);
        for _ in 0..3 {
            receipts.command(Stage::Received, &command, &device);
        }
        assert_eq!(receipts.missed(), 1);
        let receipt = heard.try_recv().unwrap();
        assert_eq!(receipt, Receipt { subject: Subject::Command(command, device), stage: Stage::Received });
    }

    #[test]
    fn stages_are_one_word_each() {
        for stage in [Stage::Spooled, Stage::Ended(OutcomeStatus::Expired)] {
            assert_eq!(serde_json::to_value(stage).unwrap(), stage.as_str());
        }
    }
}
