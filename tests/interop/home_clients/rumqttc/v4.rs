//! rumqttc's MQTT 3.1.1.

use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, LastWill, MqttOptions, Outgoing, Packet, QoS,
    SubscribeReasonCode,
};

use super::{Happened, KEEP_ALIVE, LARGEST, ROOM, Report, address};
use crate::home_clients::words::{Login, Message, Properties};

pub fn connect(login: &Login, report: Report) -> AsyncClient {
    let (host, transport) = address(login);
    let mut options = MqttOptions::new(&login.id, host, login.port);
    options
        .set_transport(transport)
        .set_clean_session(login.clean)
        .set_keep_alive(KEEP_ALIVE)
        .set_max_packet_size(LARGEST, LARGEST);
    if let Some(user) = &login.user {
        options.set_credentials(user, login.password.clone().unwrap_or_default());
    }
    if let Some(will) = &login.will {
        options.set_last_will(LastWill::new(&will.topic, will.payload.clone(), qos(will.qos), will.retain));
    }
    let (client, line) = AsyncClient::new(options, ROOM);
    tokio::spawn(poll(line, report));
    client
}

pub fn qos(number: u8) -> QoS {
    rumqttc::qos(number).expect("0, 1 or 2")
}

async fn poll(mut line: EventLoop, report: Report) {
    loop {
        let happened = match line.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(connack))) => {
                Happened::Connected { code: 0, session_present: connack.session_present }
            }
            Ok(Event::Incoming(Packet::Publish(publish))) => {
                report.message(Message {
                    topic: publish.topic,
                    payload: publish.payload.to_vec(),
                    qos: publish.qos as u8,
                    retain: publish.retain,
                    properties: Properties::default(),
                });
                continue;
            }
            Ok(Event::Incoming(Packet::SubAck(suback))) => Happened::Granted(match suback.return_codes[..] {
                [SubscribeReasonCode::Success(qos)] => qos as u8,
                _ => 0x80,
            }),
            Ok(Event::Incoming(Packet::UnsubAck(_))) => Happened::Unsubscribed,
            Ok(
                Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_))
                | Event::Outgoing(Outgoing::Publish(0)),
            ) => Happened::Published,
            Ok(_) => continue,
            Err(ConnectionError::ConnectionRefused(code)) => {
                Happened::Connected { code: code as u8, session_present: false }
            }
            Err(error) => return report.happened(Happened::Over(error.to_string())).await,
        };
        let is_refusal = matches!(happened, Happened::Connected { code: 1.., .. });
        report.happened(happened).await;
        if is_refusal {
            return;
        }
    }
}
