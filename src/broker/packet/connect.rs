//! CONNECT, in all three versions (MQTT 3.1.1 and 5, section 3.1).

use std::time::Duration;

use bytes::Bytes;
use mqtt_protocol_core::mqtt::packet::{Property, PropertyId};

use super::{Connect, PacketError, Reader, Reason, Version, Will, Wishes, properties, topic};
use crate::model::{Message, QoS};

/// Reads a CONNECT's body. On an error the version is given if it was read, for the right CONNACK.
///
/// # Errors
/// [`PacketError`]; [`Reason::UnsupportedVersion`] for a level that we do not speak.
pub(in crate::broker) fn connect(first: u8, body: &[u8]) -> Result<Connect, (Option<Version>, PacketError)> {
    if first != 0x10 {
        return Err((None, PacketError::protocol("the first packet is a CONNECT (MQTT-3.1.0-1)")));
    }
    let mut reader = Reader(body);
    let version = version(&mut reader).map_err(|(error, version)| (version, error))?;
    rest(version, &mut reader).map_err(|error| (Some(version), error))
}

fn version(reader: &mut Reader<'_>) -> Result<Version, (PacketError, Option<Version>)> {
    let name = reader.binary().map_err(|error| (error, None))?;
    let level = reader.byte().map_err(|error| (error, None))?;
    let unsupported = |speak| {
        let rule = "this broker speaks MQTT 3.1, 3.1.1 and 5";
        (PacketError { reason: Reason::UnsupportedVersion, rule }, Some(speak))
    };
    match (name, level) {
        (b"MQIsdp", 3) => Ok(Version::V31),
        (b"MQTT", 4) => Ok(Version::V311),
        (b"MQTT", 5) => Ok(Version::V5),
        // The answer has the shape of the closest version that we know.
        (b"MQTT", 6..) => Err(unsupported(Version::V5)),
        (b"MQTT" | b"MQIsdp", _) => Err(unsupported(Version::V311)),
        _ => Err((PacketError::protocol("the protocol's name is `MQTT` (MQTT-3.1.2-1)"), None)),
    }
}

fn rest(version: Version, reader: &mut Reader<'_>) -> Result<Connect, PacketError> {
    let flags = reader.byte()?;
    let has = |bit: u8| flags & bit != 0;
    if has(0x01) {
        return Err(PacketError::malformed("CONNECT's reserved flag is zero (MQTT-3.1.2-3)"));
    }
    if !has(0x80) && has(0x40) && version != Version::V5 {
        return Err(PacketError::malformed("a password needs a user name (MQTT-3.1.2-22)"));
    }
    let keep_alive = Duration::from_secs(u64::from(reader.two()?));
    let mut wishes = if version == Version::V5 { properties::wishes(reader)? } else { Wishes::default() };
    let client_id = reader.text()?.to_owned();
    let will = will(version, flags, reader)?;
    let user = if has(0x80) { Some(reader.text()?.to_owned()) } else { None };
    let password = if has(0x40) { Some(reader.binary()?.to_owned()) } else { None };
    if !reader.0.is_empty() {
        return Err(PacketError::malformed("CONNECT has bytes behind its last field"));
    }
    let is_clean = has(0x02);
    if version != Version::V5 && !is_clean {
        wishes.session_expiry = None;
    }
    Ok(Connect { version, is_clean, keep_alive, client_id, user, password, will, wishes })
}

fn will(version: Version, flags: u8, reader: &mut Reader<'_>) -> Result<Option<Will>, PacketError> {
    let qos = (flags >> 3) & 3;
    let retain = flags & 0x20 != 0;
    if flags & 0x04 == 0 {
        return if qos == 0 && !retain {
            Ok(None)
        } else {
            Err(PacketError::malformed("without a will its QoS and retain flags are zero (MQTT-3.1.2-11)"))
        };
    }
    let qos = QoS::try_from(qos).map_err(|_| PacketError::malformed("a will's QoS is 0, 1 or 2"))?;
    let mut delay = Duration::ZERO;
    let mut message_properties = None;
    if version == Version::V5 {
        let (own, others) = properties::of_message(reader, &[PropertyId::WillDelayInterval])?;
        message_properties = own;
        if let Some(Property::WillDelayInterval(seconds)) = others.first() {
            delay = Duration::from_secs(u64::from(seconds.val()));
        }
    }
    let topic = topic(reader.text()?)?;
    let mut message = Message::new(topic, Bytes::copy_from_slice(reader.binary()?), qos);
    message.retain = retain;
    message.properties = message_properties;
    Ok(Some(Will { message, delay }))
}
