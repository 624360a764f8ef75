//! The link's packets for `benches/`, by the feature `parts`: packages are built without it.
//!
//! Owns nothing and decides nothing: these are `wire`'s own calls, as the line makes them.

use bytes::BytesMut;

use super::wire::{self, Command, Version, Wire};
use crate::model::{Message, MessageId};

fn version(is_five: bool) -> Version {
    if is_five { Version::V5 } else { Version::V4 }
}

/// Writes a PUBLISH of MQTT 5, or of 3.1.1, behind what is in `out`; whether it could be written.
pub fn encode(is_five: bool, message: Message, id: MessageId, packet: u16, out: &mut BytesMut) -> bool {
    wire::encode(version(is_five), &Command::Publish(message, Some(id)), packet, out).is_ok()
}

/// Takes a PUBLISH off the front of what was read; `None`: there is none.
pub fn decode(is_five: bool, read: &mut BytesMut) -> Option<Message> {
    match wire::decode(version(is_five), read) {
        Ok(Some(Wire::Arrived(arrival))) => arrival.message.ok(),
        _ => None,
    }
}
