//! rumqttc's MQTT 5.

use rumqttc::{
    Outgoing,
    v5::{
        AsyncClient, ClientError, ConnectionError, Event, EventLoop, Incoming, MqttOptions,
        mqttbytes::{
            QoS,
            v5::{
                ConnectReturnCode, Filter, LastWill, PublishProperties, SubscribeProperties,
                SubscribeReasonCode,
            },
        },
    },
};

use super::{Happened, KEEP_ALIVE, LARGEST, ROOM, Report, address};
use crate::home_clients::words::{Login, Message, Post, Properties, Subscription, hex};

pub fn connect(login: &Login, report: Report) -> AsyncClient {
    let (host, transport) = address(login);
    let mut options = MqttOptions::new(&login.id, host, login.port);
    options
        .set_transport(transport)
        .set_clean_start(login.clean)
        .set_keep_alive(KEEP_ALIVE)
        .set_max_packet_size(Some(u32::try_from(LARGEST).expect("a megabyte")))
        .set_session_expiry_interval(login.session_expiry);
    if let Some(user) = &login.user {
        options.set_credentials(user, login.password.clone().unwrap_or_default());
    }
    if let Some(will) = &login.will {
        let payload = will.payload.clone();
        options.set_last_will(LastWill::new(&will.topic, payload, qos(will.qos), will.retain, None));
    }
    let (client, line) = AsyncClient::new(options, ROOM);
    tokio::spawn(poll(line, report));
    client
}

fn qos(number: u8) -> QoS {
    rumqttc::v5::mqttbytes::qos(number).expect("0, 1 or 2")
}

pub async fn subscribe(client: &AsyncClient, subscription: Subscription) -> Result<(), ClientError> {
    let mut filter = Filter::new(subscription.filter, qos(subscription.qos));
    filter.nolocal = subscription.no_local;
    filter.preserve_retain = subscription.retain_as_published;
    match subscription.identifier {
        None => client.subscribe_many([filter]).await,
        Some(id) => {
            let properties = SubscribeProperties { id: Some(id as usize), user_properties: Vec::new() };
            client.subscribe_many_with_properties([filter], properties).await
        }
    }
}

pub async fn publish(client: &AsyncClient, post: Post) -> Result<(), ClientError> {
    let Post { topic, payload, qos: number, retain, properties } = post;
    if properties == Properties::default() {
        return client.publish(topic, qos(number), retain, payload).await;
    }
    let properties = PublishProperties {
        payload_format_indicator: properties.format,
        message_expiry_interval: properties.expiry,
        response_topic: properties.response_topic,
        correlation_data: properties
            .correlation
            .map(|text| hex::decode(&text).expect("our own words").into()),
        user_properties: properties.user,
        content_type: properties.content_type,
        ..PublishProperties::default()
    };
    client.publish_with_properties(topic, qos(number), retain, payload, properties).await
}

fn incoming(properties: PublishProperties) -> Properties {
    let identifiers = properties.subscription_identifiers.into_iter();
    Properties {
        user: properties.user_properties,
        content_type: properties.content_type,
        response_topic: properties.response_topic,
        correlation: properties.correlation_data.map(|bytes| hex::encode(&bytes)),
        expiry: properties.message_expiry_interval,
        format: properties.payload_format_indicator,
        identifiers: identifiers.map(|id| u32::try_from(id).expect("28 bits")).collect(),
    }
}

/// The codes that the tests ask for.
fn code(refusal: ConnectReturnCode) -> u8 {
    match refusal {
        ConnectReturnCode::BadUserNamePassword => 0x86,
        ConnectReturnCode::NotAuthorized => 0x87,
        _ => 0xFF,
    }
}

async fn poll(mut line: EventLoop, report: Report) {
    loop {
        let happened = match line.poll().await {
            Ok(Event::Incoming(Incoming::ConnAck(connack))) => {
                Happened::Connected { code: 0, session_present: connack.session_present }
            }
            Ok(Event::Incoming(Incoming::Publish(publish))) => {
                report.message(Message {
                    topic: String::from_utf8_lossy(&publish.topic).into_owned(),
                    payload: publish.payload.to_vec(),
                    qos: publish.qos as u8,
                    retain: publish.retain,
                    properties: publish.properties.map(incoming).unwrap_or_default(),
                });
                continue;
            }
            Ok(Event::Incoming(Incoming::SubAck(suback))) => {
                Happened::Granted(match suback.return_codes[..] {
                    [SubscribeReasonCode::Success(qos)] => qos as u8,
                    _ => 0x80,
                })
            }
            Ok(Event::Incoming(Incoming::UnsubAck(_))) => Happened::Unsubscribed,
            Ok(
                Event::Incoming(Incoming::PubAck(_) | Incoming::PubComp(_))
                | Event::Outgoing(Outgoing::Publish(0)),
            ) => Happened::Published,
            Ok(_) => continue,
            Err(ConnectionError::ConnectionRefused(refusal)) => {
                Happened::Connected { code: code(refusal), session_present: false }
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
