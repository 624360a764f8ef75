//! The seam around the protocol crate: bytes in, our own packets out, and back.
//!
//! Owns the wire format of MQTT 3.1, 3.1.1 and 5 as a server sees it. Never knows sessions or
//! sockets. Invariants: what [`decode`] returns obeys every rule of the standard that one packet can
//! break by itself or by its topic alias; no input panics (proptest below; the crate was fuzzed, see Cargo.toml).
//!
//! CONNECT and PUBLISH are read and written here and not by `mqtt-protocol-core`: CONNECT because the
//! crate accepts reserved flags and refuses a MQTT 5 password without a user name, PUBLISH because it
//! is the hot path (two allocations, topic and payload, where the crate needs five and a copy).

mod aliases;
mod connack;
mod connect;
mod encode;
mod frame;
mod properties;
mod publish;
mod reason;
mod small;

use std::time::Duration;

pub(super) use aliases::{ALIASES, TheirAliases};
pub(super) use connack::Accepted;
pub(super) use connect::connect;
pub(super) use encode::{Encoder, Outgoing, TooLarge};
pub(super) use frame::{Frame, frame};
pub(super) use reason::Reason;

use crate::model::{Message, QoS, Topic};

/// The protocol's version, as told by CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// MQTT 3.1 (`MQIsdp`, level 3): on the wire like 3.1.1 after CONNECT.
    V31,
    /// MQTT 3.1.1 (level 4).
    V311,
    /// MQTT 5 (level 5).
    V5,
}

/// What is wrong with a packet, as the standard calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{rule}")]
pub(super) struct PacketError {
    /// What a MQTT 5 client is told.
    pub(super) reason: Reason,
    /// The rule that it breaks.
    pub(super) rule: &'static str,
}

impl PacketError {
    pub(super) const fn malformed(rule: &'static str) -> Self {
        Self { reason: Reason::MalformedPacket, rule }
    }

    pub(super) const fn protocol(rule: &'static str) -> Self {
        Self { reason: Reason::ProtocolError, rule }
    }
}

/// CONNECT.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Connect {
    pub(super) version: Version,
    /// Clean session (3.1.1) or clean start (5).
    pub(super) is_clean: bool,
    /// Zero: no limit.
    pub(super) keep_alive: Duration,
    /// May be empty.
    pub(super) client_id: String,
    pub(super) user: Option<String>,
    pub(super) password: Option<Vec<u8>>,
    pub(super) will: Option<Will>,
    pub(super) wishes: Wishes,
}

/// The message that is published when a client is lost.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Will {
    pub(super) message: Message,
    /// How long after the loss; zero with 3.1.1.
    pub(super) delay: Duration,
}

/// CONNECT's properties; with 3.1.1 their defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wishes {
    /// How long the session outlives the connection; `None`: for ever (0xFFFFFFFF).
    pub(super) session_expiry: Option<Duration>,
    /// How many QoS 1 and 2 messages the client takes at a time.
    pub(super) receive_maximum: u16,
    /// The largest packet that the client takes, in bytes.
    pub(super) maximum_packet_size: Option<u32>,
    /// An extended authentication that the client wants; we have none.
    pub(super) wants_authentication: bool,
    /// How many topic aliases the client takes.
    pub(super) topic_alias_maximum: u16,
    /// Whether the client wants to be told more about a refusal than its code.
    pub(super) wants_reasons: bool,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            session_expiry: Some(Duration::ZERO),
            receive_maximum: u16::MAX,
            maximum_packet_size: None,
            wants_authentication: false,
            topic_alias_maximum: 0,
            wants_reasons: true,
        }
    }
}

/// PUBLISH from a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Publish {
    /// Its `topic`, `qos`, `retain` and properties are as published.
    pub(super) message: Message,
    /// Zero with QoS 0.
    pub(super) id: u16,
    pub(super) is_duplicate: bool,
}

/// How a subscription wants its messages (MQTT 5 section 3.8.3.1; the defaults are 3.1.1's).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct SubscriptionOptions {
    /// Messages come with at most this.
    pub(super) qos: QoS,
    /// Not those that the client published itself.
    pub(super) no_local: bool,
    /// The retain flag as published, not as 3.1.1 has it.
    pub(super) retain_as_published: bool,
    /// When retained messages are sent.
    pub(super) retain_handling: RetainHandling,
    /// The subscription identifier, 1 to 268,435,455.
    pub(super) identifier: Option<u32>,
}

/// When retained messages are sent to a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum RetainHandling {
    /// At every SUBSCRIBE.
    Send,
    /// At a SUBSCRIBE that makes a new subscription.
    SendIfNew,
    /// Never.
    Never,
}

/// Which of the four acknowledgements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ack {
    /// PUBACK: QoS 1 is done.
    Taken,
    /// PUBREC.
    Received,
    /// PUBREL.
    Release,
    /// PUBCOMP: QoS 2 is done.
    Complete,
}

/// A packet from a client that is connected.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Packet {
    Publish(Publish),
    /// Whether it carries a reason code of failure (0x80 and above).
    Ack {
        kind: Ack,
        id: u16,
        is_failure: bool,
    },
    /// Filters are texts: one that is no filter is answered, not punished.
    Subscribe {
        id: u16,
        filters: Vec<(String, SubscriptionOptions)>,
    },
    Unsubscribe {
        id: u16,
        filters: Vec<String>,
    },
    Ping,
    Disconnect {
        /// MQTT 5 reason 0x04: publish the will all the same.
        with_will: bool,
        /// A session expiry in place of CONNECT's; the inner `None` is "for ever".
        session_expiry: Option<Option<Duration>>,
    },
}

/// Reads a packet of a connected client: `first` is the fixed header's first byte, `body` the rest,
/// `aliases` what its packets before this one have agreed on.
///
/// # Errors
/// [`PacketError`] with the rule that is broken.
pub(super) fn decode(
    version: Version,
    first: u8,
    body: Body<'_>,
    aliases: &mut TheirAliases,
) -> Result<Packet, PacketError> {
    match first >> 4 {
        1 => Err(PacketError::protocol("a client may send CONNECT once (MQTT-3.1.0-2)")),
        3 => publish::publish(version, first, body, aliases).map(Packet::Publish),
        _ => small::decode(version, first, body.bytes),
    }
}

/// A packet's body, and the shared memory in which it lies when it is worth sharing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Body<'a> {
    pub(super) bytes: &'a [u8],
    /// The same bytes, for a payload to keep without a copy.
    pub(super) shared: Option<&'a bytes::Bytes>,
}

impl<'a> From<&'a [u8]> for Body<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self { bytes, shared: None }
    }
}

/// Reads fields off the front of a packet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    const SHORT: PacketError = PacketError::malformed("the packet ends before its fields do");

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], PacketError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Self::SHORT)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, PacketError> {
        Ok(self.bytes(1)?[0])
    }

    fn two(&mut self) -> Result<u16, PacketError> {
        let bytes = self.bytes(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn binary(&mut self) -> Result<&'a [u8], PacketError> {
        let length = self.two()?;
        self.bytes(usize::from(length))
    }

    fn text(&mut self) -> Result<&'a str, PacketError> {
        let text = std::str::from_utf8(self.binary()?)
            .map_err(|_| PacketError::malformed("a text is not UTF-8 (MQTT-1.5.4-1)"))?;
        without_nul(text)
    }

    /// A packet id, which is never zero (MQTT-2.2.1-3).
    fn id(&mut self) -> Result<u16, PacketError> {
        match self.two()? {
            0 => Err(PacketError::malformed("a packet id is not zero (MQTT-2.2.1-3)")),
            id => Ok(id),
        }
    }
}

fn without_nul(text: &str) -> Result<&str, PacketError> {
    if text.contains('\0') {
        return Err(PacketError::malformed("a text must not contain the null character (MQTT-1.5.4-2)"));
    }
    Ok(text)
}

/// A topic that is published to.
fn topic(text: &str) -> Result<Topic, PacketError> {
    Topic::parse(text).map_err(|_| PacketError {
        reason: Reason::TopicNameInvalid,
        rule: "a topic to publish to has at least one character, no wildcard and no null",
    })
}

#[cfg(test)]
mod tests;
