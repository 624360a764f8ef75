//! PUBLISH with QoS 1 and PUBACK (MQTT 5 and 3.1.1, sections 3.3 and 3.4) as they mostly are, without a copy in between.
//!
//! Writes the same bytes as rumqttc's packets (test below), and leaves everything else to them.

use bytes::{Buf, BufMut, BytesMut};

use super::{Version, v5::MESSAGE_ID};
use crate::model::{Message, MessageId};

/// Up to here a length has one byte.
const SHORT: usize = 0x7F;
/// The longest that there is: four bytes.
const LONGEST: usize = 0xFFF_FFFF;

/// Writes a PUBLISH without properties of its own; false: it is not one.
pub(super) fn publish(
    version: Version,
    message: &Message,
    id: Option<&MessageId>,
    packet: u16,
    out: &mut BytesMut,
) -> bool {
    let topic = message.topic.as_str().as_bytes();
    let id = id.filter(|_| version == Version::V5).map_or("", MessageId::as_str);
    // User property: identifier, name and value, each with its length.
    let properties = if id.is_empty() { 0 } else { 1 + 2 + MESSAGE_ID.len() + 2 + id.len() };
    let length =
        2 + topic.len() + 2 + usize::from(version == Version::V5) + properties + message.payload.len();
    if message.properties.is_some() || properties > SHORT || length > LONGEST {
        return false;
    }
    out.reserve(5 + length);
    out.put_u8(0x32 | u8::from(message.retain));
    put_length(out, length);
    put_text(out, topic);
    out.put_u16(packet);
    if version == Version::V5 {
        put_length(out, properties);
        if !id.is_empty() {
            out.put_u8(0x26);
            put_text(out, MESSAGE_ID.as_bytes());
            put_text(out, id.as_bytes());
        }
    }
    out.put_slice(&message.payload);
    true
}

/// A text of at most 65,535 bytes, which topics and our own words are.
fn put_text(out: &mut BytesMut, text: &[u8]) {
    out.put_u16(text.len() as u16);
    out.put_slice(text);
}

fn put_length(out: &mut BytesMut, mut length: usize) {
    while length > SHORT {
        out.put_u8((length & SHORT) as u8 | 0x80);
        length >>= 7;
    }
    out.put_u8(length as u8);
}

/// Takes a PUBACK off the front that says nothing but which packet was taken.
pub(super) fn puback(read: &mut BytesMut) -> Option<u16> {
    let &[0x40, 2, high, low, ..] = &read[..] else { return None };
    let packet = u16::from_be_bytes([high, low]);
    if packet != 0 {
        read.advance(4);
    }
    (packet != 0).then_some(packet)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        link::wire::{Command, LARGEST_OUTGOING, v4, v5},
        model::{Properties, QoS, Topic},
    };

    #[test]
    fn the_bytes_are_those_of_rumqttcs_packets() {
        let id = MessageId::new("0123456789abcdef", 42);
        for version in [Version::V4, Version::V5] {
            for size in [0, 1, 90, 91, 92, 93, 120, 127, 128, 300, 16_340, 16_341, 16_383, 16_400, 2_097_200]
            {
                for (id, retain) in [(None, false), (Some(id.clone()), true)] {
                    let mut message =
                        Message::new(Topic::parse("a/b").unwrap(), vec![7; size], QoS::AtLeastOnce);
                    message.retain = retain;
                    let mut ours = BytesMut::new();
                    assert!(publish(version, &message, id.as_ref(), 0x1234, &mut ours));
                    let (command, mut theirs) = (Command::Publish(message, id), BytesMut::new());
                    match version {
                        Version::V4 => v4::packet(&command, 0x1234)
                            .write(&mut theirs, LARGEST_OUTGOING)
                            .map(drop)
                            .unwrap(),
                        Version::V5 => {
                            v5::packet(&command, 0x1234).write(&mut theirs, None).map(drop).unwrap()
                        }
                    }
                    assert!(ours == theirs, "{version:?} {size} {retain}");
                }
            }
        }
    }

    #[test]
    fn what_has_something_special_is_left_to_others() {
        let mut message = Message::new(Topic::parse("a").unwrap(), "x", QoS::AtLeastOnce);
        message.properties = Some(Arc::new(Properties::default()));
        let mut out = BytesMut::new();
        assert!(!publish(Version::V5, &message, None, 1, &mut out));
        assert!(out.is_empty());
        for other in [&[0x40, 2, 0][..], &[0x40, 3, 0, 1, 0x10], &[0x40, 2, 0, 0], &[0x41, 2, 0, 1], &[]] {
            let mut read = BytesMut::from(other);
            assert_eq!((puback(&mut read), &read[..]), (None, other));
        }
        let mut read = BytesMut::from(&[0x40, 2, 1, 2, 0x40][..]);
        assert_eq!((puback(&mut read), &read[..]), (Some(0x102), &[0x40][..]));
    }
}
