//! What became of a command. Every command gets one.

use serde::{Deserialize, Serialize};

use super::{CommandId, DeviceId, Timestamp};

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutcomeStatus {
    /// The device did it.
    Applied,
    /// It was not admitted and never reached the device.
    Refused,
    /// Its time was over before it reached the bus.
    Expired,
    /// The device or its bus could not do it.
    Failed,
    /// It was begun and is not known to have finished; it is never run again.
    Unknown,
}

impl OutcomeStatus {
    /// The word in payloads, journal and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            OutcomeStatus::Applied => "applied",
            OutcomeStatus::Refused => "refused",
            OutcomeStatus::Expired => "expired",
            OutcomeStatus::Failed => "failed",
            OutcomeStatus::Unknown => "unknown",
        }
    }
}

/// Why a command was not applied, as a word for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The allow-list does not name it.
    NotAllowed,
    /// The allow-list names who may ask for it, and the sender is none of them.
    UnknownSender,
    /// The allow-list closes at this hour.
    QuietHours,
    /// More of them came than the allow-list lets through in a time.
    RateLimited,
    /// It was a retained message: an order from the past.
    Retained,
    /// It may have waited in the cloud and carries no time of its own.
    Undated,
    /// It was sent again and carries no id, so nobody can tell whether it ran.
    Redelivered,
    /// No device has this id.
    NoSuchDevice,
    /// The payload is not understood.
    Malformed,
    /// Its time was over.
    TooLate,
    /// It carries a time or the allow-list has quiet hours, and the gateway's clock is not synchronised.
    ClockUnknown,
    /// It says that it was sent in the future.
    FromTheFuture,
    /// The device still works on earlier commands.
    Busy,
    /// The disk could not keep its id, so it must not run.
    NotDurable,
    /// The device or its bus reported an error.
    DeviceError,
    /// The device did not confirm in time.
    NotConfirmed,
    /// The gateway stopped or crashed while it ran.
    Interrupted,
}

/// The end of a command's story, published to the cloud and at home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The command's id.
    pub id: CommandId,
    /// The device it was meant for.
    pub device: DeviceId,
    /// What became of it.
    pub status: OutcomeStatus,
    /// Why, as a word for programs; `None` when it was applied.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<Reason>,
    /// What happened, as a sentence for people.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub detail: Option<String>,
    /// When it was decided, by the wall clock.
    pub at: Timestamp,
    /// Whether this is the recorded outcome of a command that was sent again.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub duplicate: bool,
}
