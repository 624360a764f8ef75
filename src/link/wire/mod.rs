//! One set of events and commands for both MQTT versions, in rumqttc's packets.
//!
//! Owns the translation between rumqttc's two unrelated families of packets and ours; [`v4`] and
//! [`v5`] hold one family each. Decides nothing and does no I/O. Invariants: QoS 2 is never asked for or sent, and no
//! topic alias is announced, so that each connection stands for itself. The two packets of which there are thousands a
//! second go by way of [`plain`] when they have nothing special: rumqttc's take eight allocations for one PUBLISH.

mod plain;
mod v4;
mod v5;

use std::{io, time::Duration};

use bytes::BytesMut;

use super::{LinkOptions, Versions, access::Grant, diagnose::Breakage};
use crate::model::{FaultKind, Message, MessageId, QoS, TopicFilter};

/// What we tell the cloud that we take unacknowledged (MQTT 5 section 3.1.2.11.3).
pub(super) const RECEIVE_MAXIMUM: u16 = 64;
/// The largest packet that we take, in bytes. Commands are small; this bounds memory.
const LARGEST_INCOMING: u32 = 1 << 20;
/// The largest packet that MQTT can express, in bytes.
const LARGEST_OUTGOING: usize = 268_435_460;

/// The MQTT version of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// MQTT 5.
    V5,
    /// MQTT 3.1.1, protocol level 4.
    V4,
}

impl Version {
    /// What is spoken first.
    pub(super) fn first_of(wanted: Versions) -> Self {
        match wanted {
            Versions::Any | Versions::V5 => Version::V5,
            Versions::V311 => Version::V4,
        }
    }

    /// As people write it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Version::V5 => "MQTT 5",
            Version::V4 => "MQTT 3.1.1",
        }
    }

    /// The other one.
    pub(super) fn other(self) -> Self {
        match self {
            Version::V5 => Version::V4,
            Version::V4 => Version::V5,
        }
    }
}

/// What the cloud said in its CONNACK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Greeting {
    /// Whether it remembers our session.
    pub(super) session_present: bool,
    /// How many publishes it takes unacknowledged, at least 1.
    pub(super) receive_maximum: u16,
    /// The largest packet that it takes, in bytes.
    pub(super) max_packet: Option<u32>,
    /// The keep-alive that it wants instead of ours; zero switches its own check off.
    pub(super) keep_alive: Option<Duration>,
    /// Whether it keeps retained messages.
    pub(super) retain_available: bool,
    /// Whether it takes QoS 1.
    pub(super) takes_qos_1: bool,
}

impl Default for Greeting {
    /// What MQTT 3.1.1, which says nothing, allows.
    fn default() -> Self {
        Self {
            session_present: false,
            receive_maximum: u16::MAX,
            max_packet: None,
            keep_alive: None,
            retain_available: true,
            takes_qos_1: true,
        }
    }
}

/// Why the cloud does not want something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) kind: FaultKind,
    /// In the words of the standard.
    pub(super) reason: &'static str,
}

impl Refusal {
    pub(super) const fn new(kind: FaultKind, reason: &'static str) -> Self {
        Self { kind, reason }
    }
}

/// What the cloud says about a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It has it.
    Accepted,
    /// It will never take it.
    Refused(Refusal),
    /// It does not take it now.
    Later(Refusal),
}

/// A publish from the cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Arrival {
    /// The message, or what is wrong with its topic.
    pub(super) message: Result<Message, String>,
    /// What to acknowledge; zero for QoS 0.
    pub(super) packet: u16,
    /// Whether the cloud sent it before.
    pub(super) redelivered: bool,
}

/// What happened on the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wire {
    /// CONNACK with success.
    Connected(Greeting),
    /// SUBACK: for each filter in order `None` when granted, else the reason.
    Subscribed(Vec<Option<Refusal>>),
    /// A publish went out under this packet id.
    PublishSent(u16),
    /// PUBACK.
    PublishAnswered(u16, Verdict),
    /// A publish came in.
    Arrived(Arrival),
    /// PINGREQ went out.
    PingSent,
    /// PINGRESP.
    PingAnswered,
    /// DISCONNECT went out.
    DisconnectSent,
    /// Anything else came in.
    Heard,
    /// The attempt failed or the connection is lost; nothing follows.
    Broken(Breakage),
}

/// As CONNECT has it.
fn keep_alive_seconds(keep_alive: Duration) -> u16 {
    u16::try_from(keep_alive.as_secs()).unwrap_or(u16::MAX)
}

/// What the gateway says on a connection.
#[derive(Debug)]
pub(super) enum Command {
    /// One SUBSCRIBE.
    Subscribe(Vec<(TopicFilter, QoS)>),
    /// A PUBLISH with QoS 1; a record's with its id.
    Publish(Message, Option<MessageId>),
    /// PUBACK.
    Acknowledge(u16),
    /// PINGREQ.
    Ping,
    /// DISCONNECT: the cloud does not publish the will.
    Disconnect,
}

/// Why a connection cannot go on.
#[derive(Debug)]
pub(super) enum LineError {
    /// The stream has ended; `None`: without a word.
    Ended(Option<io::Error>),
    /// What came is no MQTT, not of this version, or not what belongs there.
    Garbled(String),
    /// CONNACK of MQTT 3.1.1.
    RefusedV4(rumqttc::ConnectReturnCode),
    /// CONNACK of MQTT 5.
    RefusedV5(rumqttc::v5::mqttbytes::v5::ConnectReturnCode),
    /// DISCONNECT of MQTT 5.
    Disconnected(rumqttc::v5::mqttbytes::v5::DisconnectReasonCode, Option<String>),
    /// Something of ours that cannot be written as a packet.
    Unsayable(String),
}

impl LineError {
    pub(super) fn garbled(what: impl ToString) -> Self {
        Self::Garbled(what.to_string())
    }

    fn unsayable(what: impl ToString) -> Self {
        Self::Unsayable(what.to_string())
    }
}

/// Writes CONNECT.
///
/// # Errors
/// [`LineError::Unsayable`].
pub(super) fn connect(
    version: Version,
    options: &LinkOptions,
    grant: &Grant,
    out: &mut BytesMut,
) -> Result<(), LineError> {
    match version {
        Version::V4 => v4::connect(options, grant).write(out, LARGEST_OUTGOING).map_err(LineError::unsayable),
        Version::V5 => v5::connect(options, grant).write(out, None).map_err(LineError::unsayable),
    }
    .map(drop)
}

/// Writes a packet; PUBLISH and SUBSCRIBE have the id `packet`.
///
/// # Errors
/// [`LineError::Unsayable`].
pub(super) fn encode(
    version: Version,
    command: &Command,
    packet: u16,
    out: &mut BytesMut,
) -> Result<(), LineError> {
    if let Command::Publish(message, id) = command
        && plain::publish(version, message, id.as_ref(), packet, out)
    {
        return Ok(());
    }
    match version {
        Version::V4 => v4::packet(command, packet).write(out, LARGEST_OUTGOING).map_err(LineError::unsayable),
        Version::V5 => v5::packet(command, packet).write(out, None).map_err(LineError::unsayable),
    }
    .map(drop)
}

/// Takes a packet off the front of what was read; `None`: there is no whole one.
///
/// # Errors
/// All of [`LineError`] but `Ended` and `Unsayable`.
pub(super) fn decode(version: Version, read: &mut BytesMut) -> Result<Option<Wire>, LineError> {
    if let Some(packet) = plain::puback(read) {
        return Ok(Some(Wire::PublishAnswered(packet, Verdict::Accepted)));
    }
    match version {
        Version::V4 => v4::decode(read),
        Version::V5 => v5::decode(read),
    }
}

/// The size of the PUBLISH packet that `message` becomes, in bytes.
pub(super) fn packet_size(version: Version, message: &Message, id: Option<&MessageId>) -> usize {
    match version {
        Version::V4 => v4::packet_size(message),
        Version::V5 => v5::packet_size(message, id),
    }
}
