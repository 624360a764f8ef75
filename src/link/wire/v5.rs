//! MQTT 5 of rumqttc: options, events and packets to and from ours.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use rumqttc::{
    Outgoing, Transport,
    v5::{
        Event, Incoming, MqttOptions,
        mqttbytes::{
            QoS as WireQoS,
            v5::{
                ConnAck, ConnectProperties, Filter, LastWill, LastWillProperties, PubAckReason, Publish,
                PublishProperties, SubscribeReasonCode,
            },
        },
    },
};

use super::{
    Arrival, Greeting, LARGEST_INCOMING, RECEIVE_MAXIMUM, Refusal, Verdict, Wire, inflight, timeout_seconds,
};
use crate::{
    link::{LinkOptions, access::Grant},
    model::{FaultKind, Message, MessageId, Properties, QoS, Topic, TopicFilter},
};

/// The user property with the record's id, the same on every re-send.
const MESSAGE_ID: &str = "message-id";
/// How long the cloud waits before it publishes the last will, in seconds (MQTT 5 section 3.1.3.2.2): a second connection
/// that takes the line's place must not look like its end.
const WILL_DELAY: u32 = 1;
/// rumqttc refuses to be told less; a server may still ask for less.
const SHORTEST_KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Of a connection through a Unix socket.
pub(super) fn options(link: &LinkOptions, socket: &str, grant: &Grant) -> MqttOptions {
    // The port means nothing to it.
    let mut options = MqttOptions::new(link.client_id.clone(), socket, 0);
    options
        .set_transport(Transport::Unix)
        .set_keep_alive(at_least_the_shortest(link.keep_alive))
        .set_clean_start(false)
        .set_connect_properties(ConnectProperties {
            session_expiry_interval: Some(seconds(link.session_expiry)),
            receive_maximum: Some(RECEIVE_MAXIMUM),
            max_packet_size: Some(LARGEST_INCOMING),
            topic_alias_max: None,
            request_response_info: None,
            request_problem_info: None,
            user_properties: Vec::new(),
            authentication_method: None,
            authentication_data: None,
        })
        .set_outgoing_inflight_upper_limit(inflight(link))
        .set_connection_timeout(timeout_seconds(link))
        .set_manual_acks(true)
        .set_last_will(LastWill {
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
        });
    if let Some(username) = &grant.username {
        options.set_credentials(username, grant.password.clone().unwrap_or_default());
    }
    options
}

/// What rumqttc can be told.
pub(super) fn at_least_the_shortest(keep_alive: Duration) -> Duration {
    keep_alive.max(SHORTEST_KEEP_ALIVE)
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

pub(super) fn filters(filters: &[(TopicFilter, QoS)]) -> Vec<Filter> {
    filters.iter().map(|(filter, qos)| Filter::new(filter.to_string(), wire_qos(*qos))).collect()
}

fn wire_qos(qos: QoS) -> WireQoS {
    match qos {
        QoS::AtMostOnce => WireQoS::AtMostOnce,
        QoS::AtLeastOnce | QoS::ExactlyOnce => WireQoS::AtLeastOnce,
    }
}

pub(super) fn to_acknowledge(packet: u16) -> Publish {
    let mut publish = Publish::new("", WireQoS::AtLeastOnce, Bytes::new(), None);
    publish.pkid = packet;
    publish
}

pub(super) fn properties(message: &Message, id: Option<&MessageId>) -> Option<PublishProperties> {
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
    Publish {
        dup: false,
        qos: WireQoS::AtLeastOnce,
        retain: message.retain,
        topic: Bytes::copy_from_slice(message.topic.as_str().as_bytes()),
        // Any id but zero, which would not be counted.
        pkid: 1,
        payload: message.payload.clone(),
        properties: properties(message, id),
    }
    .size()
}

pub(super) fn map(event: Event) -> Option<Wire> {
    match event {
        Event::Incoming(incoming) => Some(match incoming {
            Incoming::ConnAck(connack) => Wire::Connected(greeting(&connack)),
            Incoming::Publish(publish) => Wire::Arrived(arrival(publish)),
            Incoming::PubAck(puback) => Wire::PublishAnswered(puback.pkid, verdict(puback.reason)),
            Incoming::SubAck(suback) => {
                Wire::Subscribed(suback.return_codes.iter().map(|code| refusal(*code)).collect())
            }
            Incoming::PingResp(_) => Wire::PingAnswered,
            _ => Wire::Heard,
        }),
        Event::Outgoing(outgoing) => match outgoing {
            Outgoing::Publish(packet) => Some(Wire::PublishSent(packet)),
            Outgoing::PingReq => Some(Wire::PingSent),
            Outgoing::Disconnect => Some(Wire::DisconnectSent),
            _ => None,
        },
    }
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
