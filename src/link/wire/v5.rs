//! MQTT 5: rumqttc's packets to and from ours.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use rumqttc::v5::mqttbytes::{
    Error, QoS as WireQoS,
    v5::{
        ConnAck, Connect, ConnectProperties, ConnectReturnCode, Disconnect, DisconnectReasonCode, Filter,
        LastWill, LastWillProperties, Login, Packet, PingReq, PubAck, PubAckReason, Publish,
        PublishProperties, Subscribe, SubscribeReasonCode,
    },
};

use super::{
    Arrival, Command, Greeting, LARGEST_INCOMING, LineError, RECEIVE_MAXIMUM, Refusal, Verdict, Wire,
    keep_alive_seconds,
};
use crate::{
    link::{LinkOptions, access::Grant},
    model::{FaultKind, Message, MessageId, Properties, QoS, Topic, TopicFilter},
};

/// The user property with the record's id, the same on every re-send.
pub(super) const MESSAGE_ID: &str = "message-id";
/// How long the cloud waits before it publishes the last will, in seconds (MQTT 5 section 3.1.3.2.2): a second connection
/// that takes the line's place must not look like its end.
const WILL_DELAY: u32 = 1;
pub(super) fn connect(link: &LinkOptions, grant: &Grant) -> Packet {
    let connect = Connect {
        keep_alive: keep_alive_seconds(link.keep_alive),
        client_id: link.client_id.clone(),
        clean_start: false,
        properties: Some(ConnectProperties {
            session_expiry_interval: Some(seconds(link.session_expiry)),
            receive_maximum: Some(RECEIVE_MAXIMUM),
            max_packet_size: Some(LARGEST_INCOMING),
            topic_alias_max: None,
            request_response_info: None,
            request_problem_info: None,
            user_properties: Vec::new(),
            authentication_method: None,
            authentication_data: None,
        }),
    };
    let will = LastWill {
        topic: Bytes::copy_from_slice(link.will.topic.as_str().as_bytes()),
        message: link.will.payload.clone(),
        qos: WireQoS::AtLeastOnce,
        retain: link.will.retain,
        properties: Some(LastWillProperties {
            delay_interval: Some(WILL_DELAY),
            payload_format_indicator: None,
            message_expiry_interval: None,
            content_type: None,
            response_topic: None,
            correlation_data: None,
            user_properties: Vec::new(),
        }),
    };
    let login = grant.username.as_ref().map(|username| Login {
        username: username.clone(),
        password: grant.password.clone().unwrap_or_default(),
    });
    Packet::Connect(connect, Some(will), login)
}

pub(super) fn packet(command: &Command, packet: u16) -> Packet {
    match command {
        Command::Subscribe(filters) => {
            Packet::Subscribe(Subscribe { pkid: packet, filters: wire_filters(filters), properties: None })
        }
        Command::Publish(message, id) => Packet::Publish(publish(message, id.as_ref(), packet)),
        Command::Acknowledge(packet) => {
            Packet::PubAck(PubAck { pkid: *packet, reason: PubAckReason::Success, properties: None })
        }
        Command::Ping => Packet::PingReq(PingReq),
        Command::Disconnect => Packet::Disconnect(Disconnect::new(DisconnectReasonCode::NormalDisconnection)),
    }
}

fn publish(message: &Message, id: Option<&MessageId>, packet: u16) -> Publish {
    Publish {
        dup: false,
        qos: WireQoS::AtLeastOnce,
        retain: message.retain,
        topic: Bytes::copy_from_slice(message.topic.as_str().as_bytes()),
        pkid: packet,
        payload: message.payload.clone(),
        properties: properties(message, id),
    }
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

fn wire_filters(filters: &[(TopicFilter, QoS)]) -> Vec<Filter> {
    filters.iter().map(|(filter, qos)| Filter::new(filter.to_string(), wire_qos(*qos))).collect()
}

fn wire_qos(qos: QoS) -> WireQoS {
    match qos {
        QoS::AtMostOnce => WireQoS::AtMostOnce,
        QoS::AtLeastOnce | QoS::ExactlyOnce => WireQoS::AtLeastOnce,
    }
}

fn properties(message: &Message, id: Option<&MessageId>) -> Option<PublishProperties> {
    let ours = message.properties.as_deref();
    if ours.is_none() && id.is_none() {
        return None;
    }
    let mut wire = PublishProperties::default();
    if let Some(ours) = ours {
        wire.payload_format_indicator = ours.is_text.map(u8::from);
        wire.message_expiry_interval = ours.expiry.map(seconds);
        wire.content_type = ours.content_type.clone();
        wire.response_topic = ours.response_topic.clone();
        wire.correlation_data = ours.correlation_data.clone();
        wire.user_properties = ours.user.clone();
    }
    if let Some(id) = id {
        wire.user_properties.push((MESSAGE_ID.to_owned(), id.as_str().to_owned()));
    }
    Some(wire)
}

pub(super) fn packet_size(message: &Message, id: Option<&MessageId>) -> usize {
    // Any id but zero, which would not be counted.
    publish(message, id, 1).size()
}

/// DISCONNECT without anything more (section 3.14.2.1), which rumqttc does not take.
const PLAIN_DISCONNECT: &[u8] = &[0xE0, 0];

pub(super) fn decode(read: &mut BytesMut) -> Result<Option<Wire>, LineError> {
    if read.starts_with(PLAIN_DISCONNECT) {
        return Err(LineError::Disconnected(DisconnectReasonCode::NormalDisconnection, None));
    }
    let packet = match Packet::read(read, Some(LARGEST_INCOMING)) {
        Ok(packet) => packet,
        Err(Error::InsufficientBytes(_)) => return Ok(None),
        Err(error) => return Err(LineError::garbled(error)),
    };
    Ok(Some(match packet {
        Packet::ConnAck(connack) if connack.code == ConnectReturnCode::Success => {
            Wire::Connected(greeting(&connack))
        }
        Packet::ConnAck(refused) => return Err(LineError::RefusedV5(refused.code)),
        Packet::Publish(publish) => Wire::Arrived(arrival(publish)),
        Packet::PubAck(puback) => Wire::PublishAnswered(puback.pkid, verdict(puback.reason)),
        Packet::SubAck(suback) => {
            Wire::Subscribed(suback.return_codes.iter().map(|code| refusal(*code)).collect())
        }
        Packet::PingResp(_) => Wire::PingAnswered,
        Packet::Disconnect(Disconnect { reason_code, properties }) => {
            let reason = properties.and_then(|properties| properties.reason_string);
            return Err(LineError::Disconnected(reason_code, reason));
        }
        Packet::Connect(..) | Packet::Subscribe(_) | Packet::Unsubscribe(_) | Packet::PingReq(_) => {
            return Err(LineError::garbled("a packet that only a client sends"));
        }
        Packet::Auth(_)
        | Packet::PubRec(_)
        | Packet::PubRel(_)
        | Packet::PubComp(_)
        | Packet::UnsubAck(_) => Wire::Heard,
    }))
}

fn greeting(connack: &ConnAck) -> Greeting {
    let basic = Greeting { session_present: connack.session_present, ..Greeting::default() };
    let Some(said) = &connack.properties else { return basic };
    Greeting {
        receive_maximum: said.receive_max.unwrap_or(u16::MAX).max(1),
        max_packet: said.max_packet_size,
        keep_alive: said.server_keep_alive.map(|seconds| Duration::from_secs(seconds.into())),
        retain_available: said.retain_available != Some(0),
        takes_qos_1: said.max_qos != Some(0),
        ..basic
    }
}

fn verdict(reason: PubAckReason) -> Verdict {
    use FaultKind::{NotAuthorized, QuotaExceeded, ServerUnavailable};
    let refused = |reason| Verdict::Refused(Refusal::new(NotAuthorized, reason));
    let later = |reason| Verdict::Later(Refusal::new(ServerUnavailable, reason));
    match reason {
        PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Verdict::Accepted,
        PubAckReason::NotAuthorized => refused("not authorized"),
        PubAckReason::TopicNameInvalid => refused("topic name invalid"),
        PubAckReason::PayloadFormatInvalid => refused("payload format invalid"),
        PubAckReason::UnspecifiedError => later("unspecified error"),
        PubAckReason::ImplementationSpecificError => later("implementation specific error"),
        PubAckReason::PacketIdentifierInUse => later("packet identifier in use"),
        PubAckReason::QuotaExceeded => Verdict::Later(Refusal::new(QuotaExceeded, "quota exceeded")),
    }
}

fn refusal(code: SubscribeReasonCode) -> Option<Refusal> {
    let mut kind = FaultKind::SubscriptionRefused;
    let reason = match code {
        SubscribeReasonCode::Success(_) => return None,
        SubscribeReasonCode::Failure => "refused",
        SubscribeReasonCode::Unspecified => "unspecified error",
        SubscribeReasonCode::ImplementationSpecific => "implementation specific error",
        SubscribeReasonCode::NotAuthorized => "not authorized",
        SubscribeReasonCode::TopicFilterInvalid => "topic filter invalid",
        SubscribeReasonCode::PkidInUse => "packet identifier in use",
        SubscribeReasonCode::QuotaExceeded => {
            kind = FaultKind::QuotaExceeded;
            "quota exceeded"
        }
        SubscribeReasonCode::SharedSubscriptionsNotSupported => "shared subscriptions not supported",
        SubscribeReasonCode::SubscriptionIdNotSupported => "subscription identifiers not supported",
        SubscribeReasonCode::WildcardSubscriptionsNotSupported => "wildcard subscriptions not supported",
    };
    Some(Refusal::new(kind, reason))
}

fn arrival(publish: Publish) -> Arrival {
    let topic = match str::from_utf8(&publish.topic) {
        Ok(text) => Topic::parse(text).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let message = topic.map(|topic| Message {
        topic,
        payload: publish.payload,
        qos: match publish.qos {
            WireQoS::AtMostOnce => QoS::AtMostOnce,
            WireQoS::AtLeastOnce => QoS::AtLeastOnce,
            WireQoS::ExactlyOnce => QoS::ExactlyOnce,
        },
        retain: publish.retain,
        properties: publish.properties.map(|wire| {
            Arc::new(Properties {
                expiry: wire.message_expiry_interval.map(|seconds| Duration::from_secs(seconds.into())),
                is_text: wire.payload_format_indicator.map(|indicator| indicator == 1),
                content_type: wire.content_type,
                response_topic: wire.response_topic,
                correlation_data: wire.correlation_data,
                user: wire.user_properties,
            })
        }),
    });
    Arrival { message, packet: publish.pkid, redelivered: publish.dup }
}
