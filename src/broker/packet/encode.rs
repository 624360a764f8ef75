//! Packets to a client, written straight into its output.
//!
//! Owns what its connection has agreed on: the version, the largest packet, aliases, whether reasons are
//! wanted. Invariant: nothing larger than the client takes is written (MQTT-3.1.2-24); a reason that
//! does not fit is left out, and who cannot be answered at all is not.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use mqtt_protocol_core::mqtt::packet::{PropertiesSize, Property, ReasonString};

use super::{
    Ack, Reason, Version, Wishes,
    aliases::{Name, OurAliases},
    frame::{length_size, put_length},
    properties,
};
use crate::model::{Message, QoS};

/// Writes a connection's packets.
#[derive(Debug)]
pub(in crate::broker) struct Encoder {
    pub(in crate::broker) version: Version,
    aliases: OurAliases,
    /// The largest packet that the client takes, in bytes.
    largest: usize,
    wants_reasons: bool,
}

/// The packet is larger than the client takes: nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::broker) struct TooLarge;

/// A message as one subscriber gets it.
#[derive(Debug, Clone, Copy)]
pub(in crate::broker) struct Outgoing<'a> {
    pub(in crate::broker) message: &'a Message,
    pub(in crate::broker) qos: QoS,
    pub(in crate::broker) retain: bool,
    /// Zero with QoS 0.
    pub(in crate::broker) id: u16,
    pub(in crate::broker) is_duplicate: bool,
    /// What is left of the message's life.
    pub(in crate::broker) left: Option<Duration>,
    pub(in crate::broker) identifiers: &'a [u32],
}

/// The alias's property: its identifier and two bytes.
const ALIAS: usize = 3;

pub(super) fn put_list(out: &mut BytesMut, list: &[Property]) {
    for property in list {
        out.put_slice(&property.to_continuous_buffer());
    }
}

impl Encoder {
    /// For a client of whom only the version is known.
    pub(in crate::broker) fn new(version: Version) -> Self {
        Self { version, aliases: OurAliases::new(0), largest: usize::MAX, wants_reasons: false }
    }

    pub(in crate::broker) fn as_wished(version: Version, wishes: &Wishes) -> Self {
        Self {
            version,
            aliases: OurAliases::new(wishes.topic_alias_maximum),
            largest: wishes.maximum_packet_size.map_or(usize::MAX, |size| size as usize),
            wants_reasons: wishes.wants_reasons,
        }
    }

    pub(super) fn is_five(&self) -> bool {
        self.version == Version::V5
    }

    /// A PUBLISH.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub(in crate::broker) fn publish(
        &mut self,
        out: &mut BytesMut,
        wanted: Outgoing<'_>,
    ) -> Result<(), TooLarge> {
        let message = wanted.message;
        let (topic, payload) = (message.topic.as_str().as_bytes(), &message.payload[..]);
        let mut length = 2 + topic.len() + payload.len() + if wanted.qos == QoS::AtMostOnce { 0 } else { 2 };
        let mut list = Vec::new();
        let (mut list_size, mut name) = (0, Name::Plain);
        if self.is_five() {
            list = properties::to_list(message.properties.as_deref(), wanted.left, wanted.identifiers);
            list_size = if list.is_empty() { 0 } else { list.size() };
            name = self.aliases.name(&message.topic);
            match name {
                Name::Known(_) => length -= topic.len(),
                // With its alias it is too large: perhaps not without (both lengths may grow by a byte).
                Name::New(_) if self.check(length + 6 + list_size + ALIAS).is_err() => name = Name::Plain,
                Name::New(_) | Name::Plain => {}
            }
            if name != Name::Plain {
                list_size += ALIAS;
            }
            length += length_size(list_size) + list_size;
        }
        self.check(length)?;
        out.reserve(1 + length_size(length) + length);
        out.put_u8(
            0x30 | (u8::from(wanted.is_duplicate) << 3)
                | (u8::from(wanted.qos) << 1)
                | u8::from(wanted.retain),
        );
        put_length(out, length);
        let written = if let Name::Known(_) = name { &[] } else { topic };
        // A topic has at most 65,535 bytes.
        out.put_u16(written.len() as u16);
        out.put_slice(written);
        if wanted.qos != QoS::AtMostOnce {
            out.put_u16(wanted.id);
        }
        if self.is_five() {
            put_length(out, list_size);
            if let Name::New(alias) | Name::Known(alias) = name {
                out.put_u8(0x23);
                out.put_u16(alias);
            }
            put_list(out, &list);
        }
        if let Name::New(alias) = name {
            self.aliases.give(&message.topic, alias);
        }
        out.put_slice(payload);
        Ok(())
    }

    /// Whether a packet with this remaining length may be sent.
    pub(super) fn check(&self, length: usize) -> Result<(), TooLarge> {
        if 1 + length_size(length) + length > self.largest { Err(TooLarge) } else { Ok(()) }
    }

    /// The properties that explain a failure, if the client wants to know and there is room for them in a
    /// packet that has `length` bytes without; for all others none.
    pub(super) fn explanation(&self, length: usize, text: &str) -> Vec<Property> {
        let is_wanted = self.is_five() && self.wants_reasons && !text.is_empty();
        // Three for the property, two that the lengths may grow.
        if !is_wanted || self.check(length + 5 + text.len()).is_err() {
            return Vec::new();
        }
        ReasonString::new(text).map(Property::ReasonString).into_iter().collect()
    }

    /// PUBACK, PUBREC, PUBREL or PUBCOMP; a reason other than success only with MQTT 5. Never with a Reason
    /// String: small clients take an acknowledgement to have four bytes at most (Paho's test client does).
    pub(in crate::broker) fn ack(&self, out: &mut BytesMut, kind: Ack, id: u16, reason: Reason) {
        let first = match kind {
            Ack::Taken => 0x40,
            Ack::Received => 0x50,
            Ack::Release => 0x62,
            Ack::Complete => 0x70,
        };
        let [high, low] = id.to_be_bytes();
        if self.is_five() && reason != Reason::Success {
            out.put_slice(&[first, 3, high, low, reason.code()]);
        } else {
            out.put_slice(&[first, 2, high, low]);
        }
    }

    pub(in crate::broker) fn pong(&self, out: &mut BytesMut) {
        out.put_slice(&[0xD0, 0]);
    }

    /// SUBACK; `Err` is the reason why a filter was not taken.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub(in crate::broker) fn suback(
        &self,
        out: &mut BytesMut,
        id: u16,
        granted: &[Result<QoS, Reason>],
    ) -> Result<(), TooLarge> {
        let text = granted.iter().find_map(|granted| granted.err()).map_or("", Reason::explanation);
        let codes = granted.iter().map(|granted| match granted {
            Ok(qos) => u8::from(*qos),
            Err(reason) if self.is_five() => reason.code(),
            Err(_) => 0x80,
        });
        self.answer(out, (0x90, id), granted.len(), codes, text)
    }

    /// UNSUBACK; 3.1.1 has no codes.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub(in crate::broker) fn unsuback(
        &self,
        out: &mut BytesMut,
        id: u16,
        found: &[Reason],
    ) -> Result<(), TooLarge> {
        let count = if self.is_five() { found.len() } else { 0 };
        let text = found.iter().find(|reason| reason.is_failure()).map_or("", |reason| reason.explanation());
        self.answer(out, (0xB0, id), count, found.iter().take(count).map(|reason| reason.code()), text)
    }

    fn answer(
        &self,
        out: &mut BytesMut,
        (first, id): (u8, u16),
        count: usize,
        codes: impl Iterator<Item = u8>,
        text: &str,
    ) -> Result<(), TooLarge> {
        let mut length = 2 + count;
        let list = self.explanation(length + 1, text);
        let size = if list.is_empty() { 0 } else { list.size() };
        if self.is_five() {
            length += length_size(size) + size;
        }
        self.check(length)?;
        out.put_u8(first);
        put_length(out, length);
        out.put_u16(id);
        if self.is_five() {
            put_length(out, size);
            put_list(out, &list);
        }
        out.extend(codes);
        Ok(())
    }
}
