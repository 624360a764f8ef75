//! MQTT 3.1.1: rumqttc's packets to and from ours.

use bytes::BytesMut;
use rumqttc::{
    ConnAck, Connect, ConnectReturnCode, LastWill, Login, Packet, Protocol, PubAck, Publish, QoS as WireQoS,
    Subscribe, SubscribeFilter, SubscribeReasonCode, mqttbytes::Error,
};

use super::{
    Arrival, Command, Greeting, LARGEST_INCOMING, LineError, Refusal, Verdict, Wire,
    keep_alive_seconds as seconds,
};
use crate::{
    link::{LinkOptions, access::Grant},
    model::{FaultKind, Message, QoS, Topic, TopicFilter},
};

pub(super) fn connect(link: &LinkOptions, grant: &Grant) -> Packet {
    Packet::Connect(Connect {
        protocol: Protocol::V4,
        keep_alive: seconds(link.keep_alive),
        client_id: link.client_id.clone(),
        clean_session: false,
        last_will: Some(LastWill {
            topic: link.will.topic.as_str().to_owned(),
            message: link.will.payload.clone(),
            qos: WireQoS::AtLeastOnce,
            retain: link.will.retain,
        }),
        login: grant.username.as_ref().map(|username| Login {
            username: username.clone(),
            password: grant.password.clone().unwrap_or_default(),
        }),
    })
}

pub(super) fn packet(command: &Command, packet: u16) -> Packet {
    match command {
        Command::Subscribe(filters) => {
            Packet::Subscribe(Subscribe { pkid: packet, filters: wire_filters(filters) })
        }
        Command::Publish(message, _) => Packet::Publish(Publish {
            dup: false,
            qos: WireQoS::AtLeastOnce,
            retain: message.retain,
            topic: message.topic.as_str().to_owned(),
            pkid: packet,
            payload: message.payload.clone(),
        }),
        Command::Acknowledge(packet) => Packet::PubAck(PubAck { pkid: *packet }),
        Command::Ping => Packet::PingReq,
        Command::Disconnect => Packet::Disconnect,
    }
}

fn wire_filters(filters: &[(TopicFilter, QoS)]) -> Vec<SubscribeFilter> {
    filters.iter().map(|(filter, qos)| SubscribeFilter::new(filter.to_string(), wire_qos(*qos))).collect()
}

fn wire_qos(qos: QoS) -> WireQoS {
    match qos {
        QoS::AtMostOnce => WireQoS::AtMostOnce,
        QoS::AtLeastOnce | QoS::ExactlyOnce => WireQoS::AtLeastOnce,
    }
}

pub(super) fn packet_size(message: &Message) -> usize {
    // Fixed header at its longest, topic with length, packet id, payload.
    5 + 2 + message.topic.as_str().len() + 2 + message.payload.len()
}

pub(super) fn decode(read: &mut BytesMut) -> Result<Option<Wire>, LineError> {
    let packet = match Packet::read(read, LARGEST_INCOMING as usize) {
        Ok(packet) => packet,
        Err(Error::InsufficientBytes(_)) => return Ok(None),
        Err(error) => return Err(LineError::garbled(error)),
    };
    Ok(Some(match packet {
        Packet::ConnAck(ConnAck { code: ConnectReturnCode::Success, session_present }) => {
            Wire::Connected(Greeting { session_present, ..Greeting::default() })
        }
        Packet::ConnAck(refused) => return Err(LineError::RefusedV4(refused.code)),
        Packet::Publish(publish) => Wire::Arrived(arrival(publish)),
        Packet::PubAck(puback) => Wire::PublishAnswered(puback.pkid, Verdict::Accepted),
        Packet::SubAck(suback) => {
            Wire::Subscribed(suback.return_codes.iter().map(|code| refusal(*code)).collect())
        }
        Packet::PingResp => Wire::PingAnswered,
        Packet::Connect(_)
        | Packet::Subscribe(_)
        | Packet::Unsubscribe(_)
        | Packet::PingReq
        | Packet::Disconnect => {
            return Err(LineError::garbled("a packet that only a client sends"));
        }
        Packet::PubRec(_) | Packet::PubRel(_) | Packet::PubComp(_) | Packet::UnsubAck(_) => Wire::Heard,
    }))
}

fn refusal(code: SubscribeReasonCode) -> Option<Refusal> {
    match code {
        SubscribeReasonCode::Success(_) => None,
        SubscribeReasonCode::Failure => Some(Refusal::new(FaultKind::SubscriptionRefused, "refused")),
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
