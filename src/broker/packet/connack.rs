//! The broker's first word to a client and its last: CONNACK and DISCONNECT (sections 3.2 and 3.14).

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use mqtt_protocol_core::mqtt::packet::{
    AssignedClientIdentifier, MaximumPacketSize, PropertiesSize, Property, ReceiveMaximum, ServerKeepAlive,
    SessionExpiryInterval, TopicAliasMaximum,
};

use super::{
    ALIASES, Encoder, Reason, Version,
    encode::{TooLarge, put_list},
    frame::{length_size, put_length},
};

/// What a CONNACK that accepts tells a MQTT 5 client.
#[derive(Debug, Clone, Default)]
pub(in crate::broker) struct Accepted<'a> {
    pub(in crate::broker) session_present: bool,
    pub(in crate::broker) assigned_id: Option<&'a str>,
    /// When it is not what CONNECT asked for.
    pub(in crate::broker) session_expiry: Option<Duration>,
    /// When it is not what CONNECT asked for.
    pub(in crate::broker) keep_alive: Option<Duration>,
    pub(in crate::broker) receive_maximum: u16,
    pub(in crate::broker) maximum_packet_size: u32,
}

impl Encoder {
    /// CONNACK that accepts.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub(in crate::broker) fn accept(
        &self,
        out: &mut BytesMut,
        accepted: &Accepted<'_>,
    ) -> Result<(), TooLarge> {
        // MQTT 3.1 has no such flag.
        let present = u8::from(accepted.session_present && self.version != Version::V31);
        if !self.is_five() {
            out.put_slice(&[0x20, 2, present, 0]);
            return Ok(());
        }
        let seconds = |time: Duration| time.as_secs();
        let mut list = Vec::new();
        list.extend(ReceiveMaximum::new(accepted.receive_maximum).map(Property::ReceiveMaximum));
        list.extend(MaximumPacketSize::new(accepted.maximum_packet_size).map(Property::MaximumPacketSize));
        list.extend(TopicAliasMaximum::new(ALIASES).map(Property::TopicAliasMaximum));
        if let Some(id) = accepted.assigned_id {
            list.extend(AssignedClientIdentifier::new(id).map(Property::AssignedClientIdentifier));
        }
        if let Some(expiry) = accepted.session_expiry.map(seconds) {
            let seconds = u32::try_from(expiry).unwrap_or(u32::MAX);
            list.extend(SessionExpiryInterval::new(seconds).map(Property::SessionExpiryInterval));
        }
        if let Some(keep_alive) = accepted.keep_alive.map(seconds) {
            let seconds = u16::try_from(keep_alive).unwrap_or(u16::MAX);
            list.extend(ServerKeepAlive::new(seconds).map(Property::ServerKeepAlive));
        }
        self.connack(out, [present, 0], &list)
    }

    fn connack(&self, out: &mut BytesMut, head: [u8; 2], list: &[Property]) -> Result<(), TooLarge> {
        let size: usize = list.iter().map(Property::size).sum();
        let length = 2 + length_size(size) + size;
        self.check(length)?;
        out.put_u8(0x20);
        put_length(out, length);
        out.put_slice(&head);
        put_length(out, size);
        put_list(out, list);
        Ok(())
    }

    /// CONNACK that refuses; with 3.1.1 nothing for what it has no code for.
    pub(in crate::broker) fn refuse(&self, out: &mut BytesMut, reason: Reason) {
        if self.is_five() {
            let list = self.explanation(3, reason.explanation());
            // Whoever takes no packet of five bytes is not told.
            let _ = self.connack(out, [0, reason.code()], &list);
        } else if let Some(code) = reason.return_code() {
            out.put_slice(&[0x20, 2, 0, code]);
        }
    }

    /// DISCONNECT from the server, which only MQTT 5 has; `text` says more than the reason, or nothing.
    pub(in crate::broker) fn disconnect(&self, out: &mut BytesMut, reason: Reason, text: &str) {
        if !self.is_five() {
            return;
        }
        let list = self.explanation(2, text);
        if list.is_empty() {
            out.put_slice(&[0xE0, 1, reason.code()]);
            return;
        }
        let size = list.size();
        out.put_u8(0xE0);
        put_length(out, 1 + length_size(size) + size);
        out.put_u8(reason.code());
        put_length(out, size);
        put_list(out, &list);
    }
}
