//! PUBLISH from a client (section 3.3).

use bytes::Bytes;
use mqtt_protocol_core::mqtt::packet::{Property, PropertyId};

use super::{Body, PacketError, Publish, Reader, TheirAliases, Version, properties, topic};
use crate::model::{Message, QoS};

pub(super) fn publish(
    version: Version,
    first: u8,
    body: Body<'_>,
    aliases: &mut TheirAliases,
) -> Result<Publish, PacketError> {
    let qos = QoS::try_from((first >> 1) & 3)
        .map_err(|_| PacketError::malformed("a PUBLISH has QoS 0, 1 or 2 (MQTT-3.3.1-4)"))?;
    let is_duplicate = first & 0x08 != 0;
    if is_duplicate && qos == QoS::AtMostOnce {
        return Err(PacketError::malformed("DUP is zero with QoS 0 (MQTT-3.3.1-2)"));
    }
    let mut reader = Reader(body.bytes);
    let name = reader.text()?;
    let id = if qos == QoS::AtMostOnce { 0 } else { reader.id()? };
    let (mut own, mut alias) = (None, None);
    if version == Version::V5 {
        let (properties, others) = properties::of_message(&mut reader, &[PropertyId::TopicAlias])?;
        if let Some(Property::TopicAlias(number)) = others.first() {
            alias = Some(number.val());
        }
        own = properties;
    }
    let payload = match body.shared {
        Some(shared) => shared.slice(shared.len() - reader.0.len()..),
        None => Bytes::copy_from_slice(reader.0),
    };
    let topic = match alias {
        None if name.is_empty() && version == Version::V5 => {
            return Err(PacketError::protocol("a PUBLISH has a topic or a topic alias (3.3.2.1)"));
        }
        None => topic(name)?,
        Some(alias) => {
            let named = if name.is_empty() { None } else { Some(topic(name)?) };
            aliases.resolve(alias, named)?
        }
    };
    let mut message = Message::new(topic, payload, qos);
    message.retain = first & 0x01 != 0;
    message.properties = own;
    Ok(Publish { message, id, is_duplicate })
}
