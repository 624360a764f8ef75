//! What a device is to the gateway: a pure translation between a bus's frames and a state in words.
//!
//! Owns the trait and the values that cross it. Never does I/O, never waits, never looks at a clock:
//! the runner brings the frames, the time and the last state. So a kind is tested by tables, and the
//! same kind runs on a simulated bus. Rejected: one trait that also does the I/O; it made every kind
//! write its own timers, deadlines and restarts, and none of them the same.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::Value;

use super::{Appliance, DeviceError, StandIn, bus::Wiring};
use crate::model::{Availability, Entity, Fields, Request, Timestamp};

/// The bus-neutral unit: some bytes on a named channel.
///
/// The channel is an MQTT topic on the LAN, a point's name (`lever`) on the simulated bus; a
/// characteristic, a line of a port or a pin elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Where.
    pub channel: Arc<str>,
    /// What.
    pub payload: Bytes,
    /// Kept by the bus from earlier: it tells the state, but not that the device lives or obeyed.
    pub retained: bool,
}

impl Frame {
    /// A frame of this moment.
    pub fn new(channel: &str, payload: impl Into<Bytes>) -> Self {
        Self { channel: channel.into(), payload: payload.into(), retained: false }
    }

    /// The payload as text without blanks around it; `None` when it is not UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.payload).ok().map(str::trim)
    }
}

/// What a frame says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// Fields of the state that were read, whether or not they differ from before.
    pub fields: Fields,
    /// The device came or went, by its own word.
    pub availability: Option<Availability>,
    /// Fields that it should have said, and why it did not; the others count all the same.
    pub unread: Vec<(String, String)>,
    /// The device says no to the command under way, with its reason.
    pub refusal: Option<String>,
}

impl Changes {
    /// The frame says nothing of interest.
    pub fn none() -> Self {
        Self::default()
    }

    /// One field was read.
    pub fn field(name: &str, value: impl Into<Value>) -> Self {
        Self::fields(Fields::from_iter([(name.to_owned(), value.into())]))
    }

    /// Several fields were read.
    pub fn fields(fields: Fields) -> Self {
        Self { fields, ..Self::default() }
    }

    /// The device says that it came or went.
    pub fn availability(availability: Availability) -> Self {
        Self { availability: Some(availability), ..Self::default() }
    }

    /// The device refuses the command under way.
    pub fn refusal(reason: impl Into<String>) -> Self {
        Self { refusal: Some(reason.into()), ..Self::default() }
    }
}

/// Looks at the fields that were read *since* the command was sent: do they show that it was done?
pub type Check = Box<dyn Fn(&Fields) -> bool + Send>;

/// How the device shows that it did what it was told.
pub enum Confirm {
    /// It does not: that the bus took the frames is all that can be known.
    Sent,
    /// By its state, within a time; afterwards the outcome is unknown.
    State {
        /// Whether the state shows it.
        check: Check,
        /// How long to wait, from the moment that the last frame was sent.
        within: Duration,
    },
}

/// How to carry out a request.
pub struct Plan {
    /// The frames to send, in this order. None: nothing is to be done, the confirmation alone counts.
    pub frames: Vec<Frame>,
    /// How it is confirmed.
    pub confirm: Confirm,
    /// What to tell a person when it worked.
    pub detail: Option<String>,
}

impl Plan {
    /// Frames for a device that does not confirm.
    pub fn sent(frames: Vec<Frame>, detail: &str) -> Self {
        Self { frames, confirm: Confirm::Sent, detail: Some(detail.to_owned()) }
    }

    /// Frames for a device that shows within a time what was asked.
    pub fn confirmed(
        frames: Vec<Frame>,
        within: Duration,
        check: impl Fn(&Fields) -> bool + Send + 'static,
    ) -> Self {
        Self { frames, confirm: Confirm::State { check: Box::new(check), within }, detail: None }
    }

    /// The same plan with what to tell a person when it worked.
    #[must_use]
    pub fn saying(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

/// How it is known whether the device can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Nothing ever tells: it counts as online while its bus works.
    Assumed,
    /// It says so itself ([`Changes::availability`]); nothing else counts.
    Announced,
    /// It is online when it was heard, and offline after this silence if one is given.
    Heard(Option<Duration>),
}

/// One device of the house: pure translation between frames and state.
///
/// A panic here is caught; the device is built anew, [`Device::restore`]d, and no other notices.
pub trait Device: Send {
    /// The bus it hangs on and which of the bus's frames it wants. Asked once, before the start.
    fn wiring(&self) -> Wiring;

    /// How it is known whether it can be reached.
    fn presence(&self) -> Presence;

    /// What stands in for it under `--simulate`, on the simulated bus instead of its [`Device::wiring`]: it says the
    /// frames that the device's own bus would bring, and takes those that [`Device::encode`] sends. Asked once, before
    /// the start. Mostly a [`StandIn`]; one that says nothing unless the kind brings its own.
    fn simulation(&self) -> Box<dyn Appliance> {
        Box::new(StandIn::new(()))
    }

    /// Reads a frame. `now` is wall-clock time and may be wrong.
    ///
    /// # Errors
    /// [`DeviceError::Unreadable`] for what the device should not say; the state stays as it was.
    fn decode(&mut self, frame: &Frame, now: Timestamp) -> Result<Changes, DeviceError>;

    /// Says how to carry out a request, given the whole last known state. Pure: a plan may be dropped.
    ///
    /// # Errors
    /// [`DeviceError::Impossible`] names the field and what is possible; nothing is sent.
    fn encode(&self, request: &Request, state: &Fields) -> Result<Plan, DeviceError>;

    /// The last known state, before the first frame of a start.
    fn restore(&mut self, last: &Fields) {
        let _ = last;
    }

    /// Frames that only ask for the state, never change it: sent when the device starts or comes back.
    fn inquire(&self) -> Vec<Frame> {
        Vec::new()
    }

    /// What the fields of its state are for people and for Home Assistant, given the whole last known state: what it
    /// always has, and of what depends on what was read (a meter's codes, the members of a JSON object), what was.
    /// Asked at the start and whenever a reading brings a field that was not there before; an unchanged answer is
    /// not told again, and beyond [`Entity::MOST`] nothing is announced.
    fn entities(&self, state: &Fields) -> Vec<Entity> {
        let _ = state;
        Vec::new()
    }
}
