//! What somebody wants a device to do, after it was parsed and before it runs.

use std::fmt;

use serde_json::Value;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{ClientId, CommandId, DeviceId, Fields, OutcomeStatus, Sender};

/// Who asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It came in on the line to the cloud; only allow-listed requests may. The sender, if its topic names one.
    Cloud(Option<Sender>),
    /// A client of the local broker asked, and the broker let it.
    Local(Option<ClientId>),
    /// Somebody at home pressed a button of the status page; only allow-listed requests may, as from the cloud.
    Page,
    /// A rule of the configuration asked, such as `on_line_lost`.
    Rule,
    /// Somebody asked before the gateway was started; the journal does not say who.
    Forgotten,
}

impl Origin {
    /// The word for programs: `cloud`, `local`, `rule` or `unknown`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Origin::Cloud(_) => "cloud",
            Origin::Local(_) | Origin::Page => "local",
            Origin::Rule => "rule",
            Origin::Forgotten => "unknown",
        }
    }

    /// Who sent it from the cloud, if that is known.
    pub fn sender(&self) -> Option<&Sender> {
        match self {
            Origin::Cloud(sender) => sender.as_ref(),
            Origin::Local(_) | Origin::Page | Origin::Rule | Origin::Forgotten => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        match self {
            Origin::Page => f.write_str(" (page)"),
            Origin::Cloud(Some(sender)) => write!(f, " ({sender})"),
            Origin::Cloud(None) | Origin::Local(_) | Origin::Rule | Origin::Forgotten => Ok(()),
        }
    }
}

/// Why a payload asks for nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Neither JSON nor a plain word.
    #[error("the payload is neither a JSON object nor a plain word of up to 64 characters")]
    NotARequest,
    /// A JSON object without anything to set.
    #[error("the payload sets nothing: write for example {{\"state\":\"ON\"}}")]
    Nothing,
}

/// What is to be set, as fields of the device's state: `ON` is `{"state":"ON"}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Request(Fields);

impl Request {
    /// Takes fields that ask for something.
    ///
    /// # Errors
    /// [`RequestError::Nothing`] when there is no field.
    pub fn from_fields(fields: Fields) -> Result<Self, RequestError> {
        if fields.is_empty() { Err(RequestError::Nothing) } else { Ok(Self(fields)) }
    }

    /// A request that sets `state` to a plain word.
    ///
    /// # Errors
    /// [`RequestError::NotARequest`] when the word is empty, longer than 64 characters or has a control character.
    pub fn from_word(word: &str) -> Result<Self, RequestError> {
        let word = word.trim();
        if word.is_empty() || word.chars().count() > 64 || word.chars().any(char::is_control) {
            return Err(RequestError::NotARequest);
        }
        Ok(Self(Fields::from_iter([("state".to_owned(), Value::from(word))])))
    }

    /// One of its fields, to name in a sentence about all of it.
    pub fn first_field(&self) -> &str {
        self.0.keys().next().expect("a request asks for something")
    }

    /// The fields to set.
    pub fn fields(&self) -> &Fields {
        &self.0
    }
}

/// A command that was admitted: its id is durable in the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Its name.
    pub id: CommandId,
    /// Who is to act.
    pub device: DeviceId,
    /// What is to be done.
    pub request: Request,
    /// Who asked.
    pub origin: Origin,
    /// When it is too late, by the monotonic clock.
    pub deadline: Instant,
}

/// How a device answered: [`OutcomeStatus::Applied`], `Expired` (it never reached the bus), `Failed`
/// (it surely had no effect) or `Unknown` (it may have had one), with a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActuationReply {
    /// What became of it.
    pub status: OutcomeStatus,
    /// For a person: what the device did or why it did not.
    pub detail: Option<String>,
}

/// A command in a device's mailbox, with the way back. A dropped way back means `unknown`.
#[derive(Debug)]
pub struct Actuation {
    /// What to do.
    pub command: Command,
    /// Where the device answers, once.
    pub reply: oneshot::Sender<ActuationReply>,
}

/// A device's mailbox. Bounded; full means the command is refused as `busy`.
pub type Mailbox = mpsc::Sender<Actuation>;
