//! What a device says about itself.

use serde::{Deserialize, Serialize};

use super::{DeviceId, Entity, Timestamp};

/// The values of a device's state, as they stand in its JSON payload.
pub type Fields = serde_json::Map<String, serde_json::Value>;

/// A device's state at one moment: the whole state, not only what changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Which device.
    pub device: DeviceId,
    /// Its state.
    pub fields: Fields,
    /// When it was taken, by the wall clock.
    pub taken_at: Timestamp,
}

/// Whether a device can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Availability {
    /// It answers.
    Online,
    /// It does not.
    Offline,
}

impl Availability {
    /// The payload of `home/<device>/availability`.
    pub fn as_str(self) -> &'static str {
        match self {
            Availability::Online => "online",
            Availability::Offline => "offline",
        }
    }
}

/// What comes out of a device.
#[derive(Debug, Clone, PartialEq)]
pub enum DeviceEvent {
    /// Its state was read.
    Reading(Reading),
    /// Something happened at it, such as a press that was felt: its state, and with it the fields that say so. Nobody may
    /// keep it for those who come later. The state alone follows.
    Happened(Reading),
    /// It came or went.
    Availability(DeviceId, Availability),
    /// What its fields are for people, all of them; told before the reading that brings a new one.
    Entities(DeviceId, Vec<Entity>),
}
