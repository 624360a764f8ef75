//! MQTT 3.1.1 of rumqttc: options, events and packets to and from ours.

use bytes::Bytes;
use rumqttc::{
    Event, EventLoop, Incoming, LastWill, MqttOptions, Outgoing, Publish, QoS as WireQoS, SubscribeFilter,
    SubscribeReasonCode, Transport,
};

use super::{
    Arrival, Greeting, LARGEST_INCOMING, LARGEST_OUTGOING, Refusal, Verdict, Wire, inflight, timeout_seconds,
};
use crate::{
    link::{LinkOptions, access::Grant},
    model::{FaultKind, Message, QoS, Topic, TopicFilter},
};

/// Of a connection through a Unix socket.
pub(super) fn options(link: &LinkOptions, socket: &str, grant: &Grant) -> MqttOptions {
    // The port means nothing to it.
    let mut options = MqttOptions::new(link.client_id.clone(), socket, 0);
    options
        .set_transport(Transport::Unix)
        .set_keep_alive(link.keep_alive)
        .set_clean_session(false)
        .set_max_packet_size(LARGEST_INCOMING as usize, LARGEST_OUTGOING)
        .set_inflight(inflight(link))
        .set_manual_acks(true)
        .set_last_will(LastWill {
            topic: link.will.topic.as_str().to_owned(),
            message: link.will.payload.clone(),
            qos: WireQoS::AtLeastOnce,
            retain: link.will.retain,
        });
    if let Some(username) = &grant.username {
        options.set_credentials(username, grant.password.clone().unwrap_or_default());
    }
    options
}

pub(super) fn prepared(mut line: EventLoop, link: &LinkOptions) -> EventLoop {
    line.network_options.set_connection_timeout(timeout_seconds(link));
    line
}

pub(super) fn filters(filters: &[(TopicFilter, QoS)]) -> Vec<SubscribeFilter> {
    filters.iter().map(|(filter, qos)| SubscribeFilter::new(filter.to_string(), wire_qos(*qos))).collect()
}

fn wire_qos(qos: QoS) -> WireQoS {
    match qos {
        QoS::AtMostOnce => WireQoS::AtMostOnce,
        QoS::AtLeastOnce | QoS::ExactlyOnce => WireQoS::AtLeastOnce,
    }
}

pub(super) fn to_acknowledge(packet: u16) -> Publish {
    let mut publish = Publish::new("", WireQoS::AtLeastOnce, Bytes::new());
    publish.pkid = packet;
    publish
}

pub(super) fn packet_size(message: &Message) -> usize {
    // Fixed header at its longest, topic with length, packet id, payload.
    5 + 2 + message.topic.as_str().len() + 2 + message.payload.len()
}

pub(super) fn map(event: Event) -> Option<Wire> {
    match event {
        Event::Incoming(incoming) => Some(match incoming {
            Incoming::ConnAck(connack) => {
                Wire::Connected(Greeting { session_present: connack.session_present, ..Greeting::default() })
            }
            Incoming::Publish(publish) => Wire::Arrived(arrival(publish)),
            Incoming::PubAck(puback) => Wire::PublishAnswered(puback.pkid, Verdict::Accepted),
            Incoming::SubAck(suback) => Wire::Subscribed(
                suback
                    .return_codes
                    .iter()
                    .map(|code| match code {
                        SubscribeReasonCode::Success(_) => None,
                        SubscribeReasonCode::Failure => {
                            Some(Refusal::new(FaultKind::SubscriptionRefused, "refused"))
                        }
                    })
                    .collect(),
            ),
            Incoming::PingResp => Wire::PingAnswered,
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

fn arrival(publish: Publish) -> Arrival {
    let message = Topic::parse(&publish.topic).map_err(|error| error.to_string()).map(|topic| Message {
        topic,
        payload: publish.payload,
        qos: match publish.qos {
            WireQoS::AtMostOnce => QoS::AtMostOnce,
            WireQoS::AtLeastOnce => QoS::AtLeastOnce,
            WireQoS::ExactlyOnce => QoS::ExactlyOnce,
        },
        retain: publish.retain,
        properties: None,
    });
    Arrival { message, packet: publish.pkid, redelivered: publish.dup }
}
