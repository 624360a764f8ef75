//! The words that every room uses: topics, ids, messages, readings, commands, outcomes, faults.
//!
//! Owns parse-once newtypes and plain data. Does no I/O, holds no clock, knows no file.
//! Invariant: a value of a newtype here is valid; nobody above checks it again.

mod cloud_url;
mod command;
mod entity;
mod fault;
mod homie_id;
mod id;
mod inbound;
mod key_event;
mod link_state;
mod message;
mod network;
mod outcome;
mod pattern;
mod reading;
mod receipt;
mod roll_call;
mod secret;
mod timestamp;
mod topic;
mod wall_time;

pub use cloud_url::{CloudUrl, Scheme, UrlError};
pub use command::{Actuation, ActuationReply, Command, Mailbox, Origin, Request, RequestError};
pub use entity::{Category, ColorMode, Entity, Platform, StateClass, Text};
pub use fault::{Fault, FaultKind, printable};
pub use homie_id::HomieId;
pub use id::{ClientId, CommandId, DeviceId, GatewayId, IdError, MessageId, Sender};
pub use inbound::{Ack, Inbound, Staleness};
pub use key_event::KeyEvent;
pub use link_state::LinkState;
pub use message::{Message, Properties, QoS};
pub use network::Network;
pub use outcome::{Outcome, OutcomeStatus, Reason};
pub use pattern::TopicPattern;
pub use reading::{Availability, DeviceEvent, Fields, Reading};
pub use receipt::{Receipt, Receipts, Stage, Subject, Wanted};
pub use roll_call::{Answer, Call, Caller, Calls};
pub use secret::Secret;
pub use timestamp::Timestamp;
pub use topic::{ShareName, Topic, TopicError, TopicFilter};
pub use wall_time::{TimeOfDay, TimeOfDayError, WallTime, Weekday};
