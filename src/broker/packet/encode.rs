//! Packets to a client, written straight into its output.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use mqtt_protocol_core::mqtt::packet::{
    AssignedClientIdentifier, MaximumPacketSize, PropertiesSize, Property, ReceiveMaximum,
    SessionExpiryInterval,
};

use super::{
    Ack, Reason, Version,
    frame::{length_size, put_length},
    properties,
};
use crate::model::{Message, QoS};

/// Writes packets in one version.
#[derive(Debug, Clone, Copy)]
pub(in crate::broker) struct Encoder {
    pub(in crate::broker) version: Version,
}

/// What a CONNACK that accepts tells a MQTT 5 client.
#[derive(Debug, Clone, Default)]
pub(in crate::broker) struct Accepted<'a> {
    pub(in crate::broker) session_present: bool,
    pub(in crate::broker) assigned_id: Option<&'a str>,
    /// When it is not what CONNECT asked for.
    pub(in crate::broker) session_expiry: Option<Duration>,
    pub(in crate::broker) receive_maximum: u16,
    pub(in crate::broker) maximum_packet_size: u32,
}

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

fn put_list(out: &mut BytesMut, list: &[Property], size: usize) {
    put_length(out, size);
    for property in list {
        out.put_slice(&property.to_continuous_buffer());
    }
}

impl Encoder {
    fn is_five(self) -> bool {
        self.version == Version::V5
    }

    /// A PUBLISH; writes nothing and returns false when it is larger than `limit` bytes.
    pub(in crate::broker) fn publish(self, out: &mut BytesMut, wanted: Outgoing<'_>, limit: usize) -> bool {
        let message = wanted.message;
        let (topic, payload) = (message.topic.as_str().as_bytes(), &message.payload[..]);
        let mut length = 2 + topic.len() + payload.len() + if wanted.qos == QoS::AtMostOnce { 0 } else { 2 };
        let list = if self.is_five() {
            properties::to_list(message.properties.as_deref(), wanted.left, wanted.identifiers)
        } else {
            Vec::new()
        };
        let list_size = if list.is_empty() { 0 } else { list.size() };
        if self.is_five() {
            length += length_size(list_size) + list_size;
        }
        if 1 + length_size(length) + length > limit {
            return false;
        }
        out.reserve(1 + length_size(length) + length);
        out.put_u8(
            0x30 | (u8::from(wanted.is_duplicate) << 3)
                | (u8::from(wanted.qos) << 1)
                | u8::from(wanted.retain),
        );
        put_length(out, length);
        // A topic has at most 65,535 bytes.
        out.put_u16(topic.len() as u16);
        out.put_slice(topic);
        if wanted.qos != QoS::AtMostOnce {
            out.put_u16(wanted.id);
        }
        if self.is_five() {
            put_list(out, &list, list_size);
        }
        out.put_slice(payload);
        true
    }

    /// PUBACK, PUBREC, PUBREL or PUBCOMP; a reason other than success only with MQTT 5.
    pub(in crate::broker) fn ack(self, out: &mut BytesMut, kind: Ack, id: u16, reason: Reason) {
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

    pub(in crate::broker) fn pong(self, out: &mut BytesMut) {
        out.put_slice(&[0xD0, 0]);
    }

    /// SUBACK; `Err` is the reason why a filter was not taken.
    pub(in crate::broker) fn suback(self, out: &mut BytesMut, id: u16, granted: &[Result<QoS, Reason>]) {
        let codes = granted.iter().map(|granted| match granted {
            Ok(qos) => u8::from(*qos),
            Err(reason) if self.is_five() => reason.code(),
            Err(_) => 0x80,
        });
        self.answer(out, 0x90, id, granted.len(), codes);
    }

    /// UNSUBACK; 3.1.1 has no codes.
    pub(in crate::broker) fn unsuback(self, out: &mut BytesMut, id: u16, found: &[Reason]) {
        let count = if self.is_five() { found.len() } else { 0 };
        self.answer(out, 0xB0, id, count, found.iter().take(count).map(|reason| reason.code()));
    }

    fn answer(self, out: &mut BytesMut, first: u8, id: u16, count: usize, codes: impl Iterator<Item = u8>) {
        out.put_u8(first);
        put_length(out, 2 + usize::from(self.is_five()) + count);
        out.put_u16(id);
        if self.is_five() {
            out.put_u8(0);
        }
        out.extend(codes);
    }

    /// CONNACK that accepts.
    pub(in crate::broker) fn accept(self, out: &mut BytesMut, accepted: &Accepted<'_>) {
        // MQTT 3.1 has no such flag.
        let present = u8::from(accepted.session_present && self.version != Version::V31);
        if !self.is_five() {
            out.put_slice(&[0x20, 2, present, 0]);
            return;
        }
        let mut list = Vec::new();
        list.extend(ReceiveMaximum::new(accepted.receive_maximum).map(Property::ReceiveMaximum));
        list.extend(MaximumPacketSize::new(accepted.maximum_packet_size).map(Property::MaximumPacketSize));
        if let Some(id) = accepted.assigned_id {
            list.extend(AssignedClientIdentifier::new(id).map(Property::AssignedClientIdentifier));
        }
        if let Some(expiry) = accepted.session_expiry {
            let seconds = u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX);
            list.extend(SessionExpiryInterval::new(seconds).map(Property::SessionExpiryInterval));
        }
        let size = list.size();
        out.put_u8(0x20);
        put_length(out, 2 + length_size(size) + size);
        out.put_slice(&[present, 0]);
        put_list(out, &list, size);
    }

    /// CONNACK that refuses; with 3.1.1 nothing for what it has no code for.
    pub(in crate::broker) fn refuse(self, out: &mut BytesMut, reason: Reason) {
        if self.is_five() {
            out.put_slice(&[0x20, 3, 0, reason.code(), 0]);
        } else if let Some(code) = reason.return_code() {
            out.put_slice(&[0x20, 2, 0, code]);
        }
    }

    /// DISCONNECT from the server, which only MQTT 5 has.
    pub(in crate::broker) fn disconnect(self, out: &mut BytesMut, reason: Reason) {
        if self.is_five() {
            out.put_slice(&[0xE0, 1, reason.code()]);
        }
    }
}
