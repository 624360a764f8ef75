//! The seam around the protocol crate: bytes to packets and back, and its types in the model's words.
//!
//! Nothing above this file names the crate's properties or codes by number. Rejected: a crate that
//! also keeps the session's state (`mqtt-protocol-core`): its store of messages on their way cannot
//! be bounded in bytes or put on our disk, and would be a second truth beside ours.

use std::{sync::Arc, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use mqtt5_protocol::{
    packet::{
        FixedHeader, MqttPacket, Packet, PacketType, connack::ConnAckPacket, connect::ConnectPacket,
        disconnect::DisconnectPacket, puback::PubAckPacket, pubcomp::PubCompPacket, publish::PublishPacket,
        pubrec::PubRecPacket, pubrel::PubRelPacket, suback::SubAckPacket, unsuback::UnsubAckPacket,
    },
    protocol::v5::properties::{Properties as WireProperties, PropertyId, PropertyValue},
    types::{ReasonCode, WillMessage},
};

use super::session::Delivery;
use crate::model::{Message, Properties, QoS, Topic, TopicError};

/// Why bytes are not a packet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PacketError {
    #[error("the packet is malformed: {0}")]
    Malformed(String),
    #[error("the packet has {size} bytes, more than {max} are not taken")]
    TooLarge { size: usize, max: usize },
    #[error("the client speaks another protocol version than 3.1.1 or 5")]
    UnknownVersion,
    #[error("the topic is not one that can be published to: {0}")]
    Topic(#[from] TopicError),
}

impl PacketError {
    /// The word in an MQTT 5 DISCONNECT.
    pub(super) fn reason(&self) -> ReasonCode {
        match self {
            Self::Malformed(_) => ReasonCode::MalformedPacket,
            Self::TooLarge { .. } => ReasonCode::PacketTooLarge,
            Self::UnknownVersion => ReasonCode::UnsupportedProtocolVersion,
            Self::Topic(_) => ReasonCode::TopicNameInvalid,
        }
    }
}

/// The protocol version that a client chose in its CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V3,
    V5,
}

impl Version {
    fn number(self) -> u8 {
        match self {
            Version::V3 => 4,
            Version::V5 => 5,
        }
    }
}

/// Takes the next whole packet from the front of `bytes`; `None` when there is none yet.
pub(super) fn decode(
    bytes: &mut BytesMut,
    version: Version,
    max: usize,
) -> Result<Option<Packet>, PacketError> {
    let Some((header_length, body_length)) = lengths(bytes)? else { return Ok(None) };
    let size = header_length + body_length;
    if size > max {
        return Err(PacketError::TooLarge { size, max });
    }
    if bytes.len() < size {
        bytes.reserve(size - bytes.len());
        return Ok(None);
    }
    let mut packet = bytes.split_to(size).freeze();
    let first = packet[0];
    let packet_type = PacketType::from_u8(first >> 4)
        .ok_or_else(|| PacketError::Malformed(format!("there is no packet type {}", first >> 4)))?;
    let length = u32::try_from(body_length).map_err(|_| PacketError::TooLarge { size, max })?;
    let header = FixedHeader::new(packet_type, first & 0x0f, length);
    packet.advance(header_length);
    if packet_type == PacketType::Connect && !is_known_protocol(&packet) {
        return Err(PacketError::UnknownVersion);
    }
    let decoded = Packet::decode_from_body_with_version(packet_type, &header, &mut packet, version.number())
        .map_err(|error| PacketError::Malformed(error.to_string()))?;
    if packet.has_remaining() {
        return Err(PacketError::Malformed(format!("{} bytes are left over", packet.remaining())));
    }
    Ok(Some(decoded))
}

/// Whether a CONNECT's body begins with protocol name and level of MQTT 3.1.1 or 5.
fn is_known_protocol(body: &Bytes) -> bool {
    body.starts_with(b"\0\x04MQTT\x04") || body.starts_with(b"\0\x04MQTT\x05")
}

/// The lengths of the fixed header and of what follows (MQTT 5 section 1.5.5); `None` when too few
/// bytes are there to tell.
fn lengths(bytes: &[u8]) -> Result<Option<(usize, usize)>, PacketError> {
    let mut length = 0usize;
    for (position, byte) in bytes.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            return Ok(Some((position + 2, length)));
        }
    }
    if bytes.len() > 4 {
        return Err(PacketError::Malformed("the remaining length has more than four bytes".to_owned()));
    }
    Ok(None)
}

fn put(packet: &impl MqttPacket, out: &mut BytesMut) {
    // What we build ourselves fits: ids are set, texts are shorter than 64 KiB.
    if let Err(error) = packet.encode(out) {
        tracing::error!(%error, "failed to write a packet; the client does not get it");
    }
}

/// Writes a CONNACK.
pub(super) fn put_connack(
    out: &mut BytesMut,
    version: Version,
    present: bool,
    answer: ReasonCode,
    properties: WireProperties,
) {
    let mut packet = match version {
        Version::V3 => ConnAckPacket::new_v311(present, answer),
        Version::V5 => ConnAckPacket::new(present, answer),
    };
    packet.properties = properties;
    put(&packet, out);
}

/// Writes a PUBLISH, in the words of the client's version.
pub(super) fn put_publish(
    out: &mut BytesMut,
    version: Version,
    delivery: &Delivery,
    packet_id: Option<u16>,
    is_again: bool,
) {
    let message = &delivery.message;
    let mut properties = WireProperties::default();
    if version == Version::V5 {
        if let Some(model) = &message.properties {
            write_properties(model, delivery, &mut properties);
        }
        for id in &delivery.subscription_ids {
            // A property that may repeat is never refused.
            let _ =
                properties.add(PropertyId::SubscriptionIdentifier, PropertyValue::VariableByteInteger(*id));
        }
    }
    let packet = PublishPacket {
        topic_name: message.topic.as_str().to_owned(),
        packet_id,
        payload: message.payload.clone(),
        qos: wire_qos(message.qos),
        retain: message.retain,
        dup: is_again,
        properties,
        protocol_version: version.number(),
        stream_id: None,
    };
    let Ok(length) = u32::try_from(packet.body_encoded_size()) else { return };
    out.reserve(packet.body_encoded_size() + 5);
    let header = FixedHeader::new(PacketType::Publish, packet.flags(), length);
    if let Err(error) = header.encode(out).and_then(|()| packet.encode_body_direct(out)) {
        tracing::error!(%error, topic = %message.topic, "failed to write a message; the client does not get it");
    }
}

/// The four acknowledgements of QoS 1 and 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AckKind {
    /// PUBACK.
    Acknowledged,
    /// PUBREC.
    Received,
    /// PUBREL.
    Released,
    /// PUBCOMP.
    Complete,
}

/// Writes an acknowledgement; 3.1.1 knows no reason codes.
pub(super) fn put_ack(
    out: &mut BytesMut,
    version: Version,
    kind: AckKind,
    packet_id: u16,
    reason: ReasonCode,
) {
    let reason = if version == Version::V3 { ReasonCode::Success } else { reason };
    match kind {
        AckKind::Acknowledged => put(&PubAckPacket::new_with_reason(packet_id, reason), out),
        AckKind::Received => put(&PubRecPacket::new_with_reason(packet_id, reason), out),
        AckKind::Released => put(&PubRelPacket::new_with_reason(packet_id, reason), out),
        AckKind::Complete => put(&PubCompPacket::new_with_reason(packet_id, reason), out),
    }
}

/// Writes a SUBACK.
pub(super) fn put_suback(
    out: &mut BytesMut,
    version: Version,
    packet_id: u16,
    codes: Vec<mqtt5_protocol::packet::suback::SubAckReasonCode>,
) {
    let packet = SubAckPacket {
        packet_id,
        reason_codes: codes,
        properties: WireProperties::default(),
        protocol_version: version.number(),
    };
    put(&packet, out);
}

/// Writes an UNSUBACK.
pub(super) fn put_unsuback(
    out: &mut BytesMut,
    version: Version,
    packet_id: u16,
    codes: Vec<mqtt5_protocol::packet::unsuback::UnsubAckReasonCode>,
) {
    let packet = UnsubAckPacket {
        packet_id,
        reason_codes: codes,
        properties: WireProperties::default(),
        protocol_version: version.number(),
    };
    put(&packet, out);
}

/// Writes a PINGRESP.
pub(super) fn put_pingresp(out: &mut BytesMut) {
    out.extend_from_slice(&[0xd0, 0]);
}

/// Writes a DISCONNECT; a 3.1.1 server has none (MQTT 3.1.1 section 3.14).
pub(super) fn put_disconnect(out: &mut BytesMut, version: Version, reason: ReasonCode) {
    if version == Version::V5 {
        put(&DisconnectPacket::new(reason), out);
    }
}

/// The version that a CONNECT asked for.
pub(super) fn version(connect: &ConnectPacket) -> Version {
    if connect.protocol_version == 5 { Version::V5 } else { Version::V3 }
}

pub(super) fn model_qos(qos: mqtt5_protocol::QoS) -> QoS {
    match qos {
        mqtt5_protocol::QoS::AtMostOnce => QoS::AtMostOnce,
        mqtt5_protocol::QoS::AtLeastOnce => QoS::AtLeastOnce,
        mqtt5_protocol::QoS::ExactlyOnce => QoS::ExactlyOnce,
    }
}

fn wire_qos(qos: QoS) -> mqtt5_protocol::QoS {
    match qos {
        QoS::AtMostOnce => mqtt5_protocol::QoS::AtMostOnce,
        QoS::AtLeastOnce => mqtt5_protocol::QoS::AtLeastOnce,
        QoS::ExactlyOnce => mqtt5_protocol::QoS::ExactlyOnce,
    }
}

/// The message of a PUBLISH.
pub(super) fn message(packet: PublishPacket) -> Result<Message, PacketError> {
    Ok(Message {
        topic: Topic::parse(&packet.topic_name)?,
        payload: packet.payload,
        qos: model_qos(packet.qos),
        retain: packet.retain,
        properties: read_properties(&packet.properties),
    })
}

/// The message of a last will.
pub(super) fn will(will: WillMessage, properties: &WireProperties) -> Result<Message, PacketError> {
    Ok(Message {
        topic: Topic::parse(&will.topic)?,
        payload: will.payload.into(),
        qos: model_qos(will.qos),
        retain: will.retain,
        properties: read_properties(properties),
    })
}

fn read_properties(wire: &WireProperties) -> Option<Arc<Properties>> {
    let mut model = Properties::default();
    for (id, value) in wire.iter() {
        match (id, value) {
            (PropertyId::MessageExpiryInterval, PropertyValue::FourByteInteger(seconds)) => {
                model.expiry = Some(Duration::from_secs(u64::from(*seconds)));
            }
            (PropertyId::PayloadFormatIndicator, PropertyValue::Byte(byte)) => {
                model.is_text = Some(*byte != 0)
            }
            (PropertyId::ContentType, PropertyValue::Utf8String(text)) => {
                model.content_type = Some(text.clone())
            }
            (PropertyId::ResponseTopic, PropertyValue::Utf8String(text)) => {
                model.response_topic = Some(text.clone())
            }
            (PropertyId::CorrelationData, PropertyValue::BinaryData(data)) => {
                model.correlation_data = Some(data.clone());
            }
            (PropertyId::UserProperty, PropertyValue::Utf8StringPair(name, value)) => {
                model.user.push((name.clone(), value.clone()));
            }
            _ => {}
        }
    }
    (model != Properties::default()).then(|| Arc::new(model))
}

/// The message's properties, its life less what it spent here (MQTT-3.3.2-6).
fn write_properties(model: &Properties, delivery: &Delivery, wire: &mut WireProperties) {
    if let Some(life) = model.expiry {
        let left = life.saturating_sub(delivery.since.elapsed()).as_secs();
        wire.set_message_expiry_interval(u32::try_from(left).unwrap_or(u32::MAX));
    }
    if let Some(is_text) = model.is_text {
        wire.set_payload_format_indicator(is_text);
    }
    if let Some(content_type) = &model.content_type {
        wire.set_content_type(content_type.clone());
    }
    if let Some(topic) = &model.response_topic {
        wire.set_response_topic(topic.clone());
    }
    if let Some(data) = &model.correlation_data {
        wire.set_correlation_data(data.clone());
    }
    for (name, value) in &model.user {
        wire.add_user_property(name.clone(), value.clone());
    }
}
