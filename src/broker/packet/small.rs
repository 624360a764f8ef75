//! The small packets of a client, by the crate, with the checks that it leaves out.

use mqtt_protocol_core::mqtt::{
    packet::{Property, RetainHandling as CoreRetainHandling, SubEntry, v3_1_1, v5_0},
    result_code::{DisconnectReasonCode, MqttError},
};

use super::{
    Ack, Packet, PacketError, Reason, RetainHandling, SubscriptionOptions, Version,
    properties::{check, expiry},
    without_nul,
};
use crate::model::QoS;

/// Reads a whole body with one of the crate's parsers: nothing may be left over.
fn whole<T>(
    body: &[u8],
    parse: impl FnOnce(&[u8]) -> Result<(T, usize), MqttError>,
) -> Result<T, PacketError> {
    match parse(body) {
        Ok((packet, size)) if size == body.len() => Ok(packet),
        Ok(_) => Err(PacketError::malformed("the packet has bytes behind its last field")),
        Err(MqttError::ProtocolError) => {
            Err(PacketError::protocol("the packet's fields contradict each other or repeat"))
        }
        Err(_) => Err(PacketError::malformed("the packet's fields cannot be read")),
    }
}

fn not_zero(id: u16) -> Result<u16, PacketError> {
    if id == 0 {
        return Err(PacketError::malformed("a packet id is not zero (MQTT-2.2.1-3)"));
    }
    Ok(id)
}

pub(super) fn decode(version: Version, first: u8, body: &[u8]) -> Result<Packet, PacketError> {
    let expected = if matches!(first >> 4, 6 | 8 | 10) { 2 } else { 0 };
    // MQTT 3.1 lets SUBSCRIBE, UNSUBSCRIBE and PUBREL carry DUP.
    let flags = if version == Version::V31 { first & 0x07 } else { first & 0x0F };
    if flags != expected {
        return Err(PacketError::malformed("the fixed header's reserved flags are wrong (MQTT-2.1.3-1)"));
    }
    let is_five = version == Version::V5;
    match first >> 4 {
        4 if is_five => {
            let packet = whole(body, v5_0::Puback::parse)?;
            ack(Ack::Taken, packet.packet_id(), packet.reason_code().is_some_and(|code| code.is_failure()))
        }
        5 if is_five => {
            let packet = whole(body, v5_0::Pubrec::parse)?;
            ack(Ack::Received, packet.packet_id(), packet.reason_code().is_some_and(|code| code.is_failure()))
        }
        6 if is_five => ack(Ack::Release, whole(body, v5_0::Pubrel::parse)?.packet_id(), false),
        7 if is_five => ack(Ack::Complete, whole(body, v5_0::Pubcomp::parse)?.packet_id(), false),
        kind @ 4..=7 => {
            // The crate takes bytes behind the id.
            let &[high, low] = body else {
                return Err(PacketError::malformed("a 3.1.1 acknowledgement has a body of two bytes"));
            };
            let kind = [Ack::Taken, Ack::Received, Ack::Release, Ack::Complete][usize::from(kind) - 4];
            ack(kind, u16::from_be_bytes([high, low]), false)
        }
        8 => subscribe(is_five, body),
        10 => unsubscribe(is_five, body),
        12 if body.is_empty() => Ok(Packet::Ping),
        12 => Err(PacketError::malformed("PINGREQ has no body")),
        14 if is_five => disconnect(body),
        14 if body.is_empty() => Ok(Packet::Disconnect { with_will: false, session_expiry: None }),
        14 => Err(PacketError::malformed("a 3.1.1 DISCONNECT has no body")),
        15 if is_five => Err(PacketError {
            reason: Reason::ProtocolError,
            rule: "AUTH without an authentication method in CONNECT (MQTT-4.12.0-7)",
        }),
        _ => Err(PacketError::malformed("no client sends such a packet (section 2.1.2)")),
    }
}

fn ack(kind: Ack, id: u16, is_failure: bool) -> Result<Packet, PacketError> {
    Ok(Packet::Ack { kind, id: not_zero(id)?, is_failure })
}

fn subscribe(is_five: bool, body: &[u8]) -> Result<Packet, PacketError> {
    let mut identifier = None;
    let (id, entries) = if is_five {
        let packet = whole(body, v5_0::Subscribe::parse)?;
        for property in &packet.props {
            if let Property::SubscriptionIdentifier(number) = property
                && identifier.replace(number.val()).is_some()
            {
                return Err(PacketError::protocol("SUBSCRIBE has one subscription identifier (3.8.2.1.2)"));
            }
        }
        (packet.packet_id(), packet.entries().clone())
    } else {
        let packet = whole(body, v3_1_1::Subscribe::parse)?;
        (packet.packet_id(), packet.entries().clone())
    };
    if entries.is_empty() {
        return Err(PacketError::protocol("SUBSCRIBE has at least one filter (MQTT-3.8.3-2)"));
    }
    let filters =
        entries.iter().map(|entry| one_filter(is_five, entry, identifier)).collect::<Result<_, _>>()?;
    Ok(Packet::Subscribe { id: not_zero(id)?, filters })
}

fn one_filter(
    is_five: bool,
    entry: &SubEntry,
    identifier: Option<u32>,
) -> Result<(String, SubscriptionOptions), PacketError> {
    let wanted = entry.sub_opts();
    let is_plain = !wanted.nl() && !wanted.rap() && wanted.rh() == CoreRetainHandling::SendRetained;
    if !is_five && !is_plain {
        return Err(PacketError::malformed("reserved bits of a subscription are zero (MQTT-3-8.3-4)"));
    }
    let filter = without_nul(entry.topic_filter())?.to_owned();
    if wanted.nl() && filter.starts_with("$share/") {
        return Err(PacketError::protocol("a shared subscription cannot be `no local` (MQTT-3.8.3-4)"));
    }
    let options = SubscriptionOptions {
        qos: QoS::try_from(wanted.qos() as u8).map_err(PacketError::malformed)?,
        no_local: wanted.nl(),
        retain_as_published: wanted.rap(),
        retain_handling: match wanted.rh() {
            CoreRetainHandling::SendRetained => RetainHandling::Send,
            CoreRetainHandling::SendRetainedIfNotExists => RetainHandling::SendIfNew,
            CoreRetainHandling::DoNotSendRetained => RetainHandling::Never,
        },
        identifier,
    };
    Ok((filter, options))
}

fn unsubscribe(is_five: bool, body: &[u8]) -> Result<Packet, PacketError> {
    let (id, entries) = if is_five {
        let packet = whole(body, v5_0::Unsubscribe::parse)?;
        (packet.packet_id(), packet.entries().clone())
    } else {
        let packet = whole(body, v3_1_1::Unsubscribe::parse)?;
        (packet.packet_id(), packet.entries().clone())
    };
    if entries.is_empty() {
        return Err(PacketError::protocol("UNSUBSCRIBE has at least one filter (MQTT-3.10.3-2)"));
    }
    let filters = entries
        .iter()
        .map(|filter| without_nul(filter.as_str()).map(ToOwned::to_owned))
        .collect::<Result<_, _>>()?;
    Ok(Packet::Unsubscribe { id: not_zero(id)?, filters })
}

fn disconnect(body: &[u8]) -> Result<Packet, PacketError> {
    use mqtt_protocol_core::mqtt::packet::PropertyId;
    let packet = whole(body, v5_0::Disconnect::parse)?;
    let properties = packet.props.as_deref().unwrap_or_default();
    check(
        properties,
        &[PropertyId::SessionExpiryInterval, PropertyId::ReasonString, PropertyId::UserProperty],
        &[],
    )?;
    let session_expiry = properties.iter().find_map(|property| match property {
        Property::SessionExpiryInterval(seconds) => Some(expiry(seconds.val())),
        _ => None,
    });
    let with_will =
        packet.reason_code().is_some_and(|code| code != DisconnectReasonCode::NormalDisconnection);
    Ok(Packet::Disconnect { with_will, session_expiry })
}
