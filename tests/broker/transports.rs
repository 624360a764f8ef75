//! TCP, TLS and WebSocket, each with rumqttc in both versions, and who is let in by what.

use std::time::Duration;

use argon2::{
    Argon2, Params,
    password_hash::{PasswordHasher, SaltString},
};
use hearthlink::broker::{ListenerKind, User};
use rumqttc::{Event, Incoming, TlsConfiguration, Transport, v5};

use crate::{
    certificates::{Files, certificates},
    raw::{connect, text},
    rig::{Plan, Rig, listener},
};

/// Host and transport, as rumqttc wants them.
fn address(kind: ListenerKind, tls: Option<(&Files, bool)>, port: u16) -> (String, Transport) {
    let config = tls.map(|(files, own)| TlsConfiguration::Rustls(files.client(own.then_some("client"))));
    match (kind, config) {
        (ListenerKind::Tcp, None) => ("127.0.0.1".to_owned(), Transport::Tcp),
        (ListenerKind::Tcp, Some(config)) => ("127.0.0.1".to_owned(), Transport::tls_with_config(config)),
        (ListenerKind::WebSocket, None) => (format!("ws://127.0.0.1:{port}/mqtt"), Transport::Ws),
        (ListenerKind::WebSocket, Some(config)) => {
            (format!("wss://127.0.0.1:{port}/mqtt"), Transport::wss_with_config(config))
        }
    }
}

/// Publishes to itself with QoS 1 and 2, by MQTT 3.1.1. `Err`: what was in the way.
pub async fn echo(
    kind: ListenerKind,
    tls: Option<&Files>,
    port: u16,
    login: Option<(&str, &str)>,
) -> Result<(), String> {
    echo_as(kind, tls.map(|files| (files, false)), port, login).await
}

async fn echo_as(
    kind: ListenerKind,
    tls: Option<(&Files, bool)>,
    port: u16,
    login: Option<(&str, &str)>,
) -> Result<(), String> {
    let (host, transport) = address(kind, tls, port);
    let mut options = rumqttc::MqttOptions::new(format!("echo-{port}"), host, port);
    options.set_transport(transport);
    options.set_max_packet_size(1 << 20, 1 << 20);
    if let Some((user, password)) = login {
        options.set_credentials(user, password);
    }
    let (client, mut line) = rumqttc::AsyncClient::new(options, 10);
    client.subscribe("echo/+", rumqttc::QoS::ExactlyOnce).await.unwrap();
    let large = vec![7_u8; 200_000];
    for (qos, payload) in [
        (rumqttc::QoS::AtMostOnce, &b"0"[..]),
        (rumqttc::QoS::AtLeastOnce, b"1"),
        (rumqttc::QoS::ExactlyOnce, &large),
    ] {
        client.publish("echo/öl", qos, false, payload).await.unwrap();
    }
    let mut got = Vec::new();
    while got.len() < 3 {
        match line.poll().await {
            Err(error) => return Err(format!("{error:?}")),
            Ok(Event::Incoming(Incoming::Publish(publish))) => got.push(publish.payload.len()),
            Ok(_) => {}
        }
    }
    assert_eq!(got, [1, 1, 200_000]);
    Ok(())
}

#[tokio::test]
async fn every_transport_speaks_both_versions() {
    let files = certificates();
    let tls = || Some(files.server());
    let listeners = vec![
        listener(ListenerKind::Tcp, None, true),
        listener(ListenerKind::Tcp, tls(), true),
        listener(ListenerKind::WebSocket, None, true),
        listener(ListenerKind::WebSocket, tls(), true),
    ];
    let rig = Plan { listeners, ..Plan::default() }.start().await;
    for (kind, has_tls, at) in &rig.ports {
        let tls = has_tls.then_some(&files);
        within(echo(*kind, tls, at.port(), None)).await.unwrap();
        within(echo5(*kind, tls, at.port())).await;
    }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(15), work).await.expect("no answer")
}

/// A message of MQTT 5 comes back with its properties.
async fn echo5(kind: ListenerKind, tls: Option<&Files>, port: u16) {
    let (host, transport) = address(kind, tls.map(|files| (files, false)), port);
    let mut options = v5::MqttOptions::new("echo5", host, port);
    options.set_transport(transport);
    let (client, mut line) = v5::AsyncClient::new(options, 10);
    client.subscribe("five/+", v5::mqttbytes::QoS::AtLeastOnce).await.unwrap();
    let properties = v5::mqttbytes::v5::PublishProperties {
        content_type: Some("application/json".to_owned()),
        response_topic: Some("answer/here".to_owned()),
        correlation_data: Some(vec![0, 1, 255].into()),
        payload_format_indicator: Some(1),
        message_expiry_interval: Some(100),
        user_properties: vec![("b".to_owned(), "2".to_owned()), ("a".to_owned(), "1".to_owned())],
        ..Default::default()
    };
    client
        .publish_with_properties("five/x", v5::mqttbytes::QoS::AtLeastOnce, false, "{}", properties.clone())
        .await
        .unwrap();
    loop {
        if let v5::Event::Incoming(v5::Incoming::Publish(publish)) = line.poll().await.unwrap() {
            assert_eq!(publish.properties, Some(properties));
            return;
        }
    }
}

pub fn hash(password: &str) -> String {
    // Cheap on purpose.
    let hasher =
        Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, Params::new(8, 1, 1, None).unwrap());
    let salt = SaltString::encode_b64(b"0123456789abcdef").unwrap();
    hasher.hash_password(password.as_bytes(), &salt).unwrap().to_string()
}

async fn guarded(files: &Files) -> Rig {
    let listeners = vec![
        listener(ListenerKind::Tcp, None, false),
        listener(ListenerKind::Tcp, Some(files.server()), false),
        listener(ListenerKind::WebSocket, Some(files.server()), false),
    ];
    let users = vec![
        User { name: "plug".into(), password_hash: Some(hash("secret")), ..User::default() },
        User { name: "phone".into(), certificate_name: Some("phone.home".into()), ..User::default() },
    ];
    Plan { listeners, users, ..Plan::default() }.start().await
}

#[tokio::test]
async fn a_password_or_a_client_certificate_is_what_lets_a_client_in() {
    let files = certificates();
    let rig = guarded(&files).await;
    let ports: Vec<_> = rig.ports.iter().map(|(kind, _, at)| (*kind, at.port())).collect();
    let (tcp, port) = ports[0];
    within(echo(tcp, None, port, Some(("plug", "secret")))).await.unwrap();
    let refused = within(echo(tcp, None, port, Some(("plug", "wrong")))).await.unwrap_err();
    assert!(refused.contains("BadUserNamePassword"), "{refused}");
    for (kind, port) in &ports[1..] {
        within(echo_as(*kind, Some((&files, true)), *port, None)).await.unwrap();
        let refused = within(echo_as(*kind, Some((&files, false)), *port, None)).await.unwrap_err();
        assert!(refused.contains("NotAuthorized"), "{refused}");
        within(echo_as(*kind, Some((&files, false)), *port, Some(("plug", "secret")))).await.unwrap();
    }
}

#[tokio::test]
async fn connack_says_why_somebody_is_not_let_in() {
    let files = certificates();
    let rig = guarded(&files).await;
    for (flags, rest, code) in [
        (0x02, vec![], 5),
        (0xC2, vec![text("plug"), text("wrong")], 4),
        (0xC2, vec![text("nobody"), text("secret")], 4),
        (0xC2, vec![text("phone"), text("")], 4),
        (0x82, vec![text("plug")], 4),
        (0xC2, vec![text("plug"), text("secret")], 0),
    ] {
        let mut raw = rig.raw().await;
        let rest: Vec<&[u8]> = rest.iter().map(Vec::as_slice).collect();
        raw.send(&connect("x", flags, &rest)).await;
        assert_eq!(raw.next().await, Some((0x20, vec![0, code])));
    }
}

#[tokio::test]
async fn a_websocket_without_the_subprotocol_is_refused_in_http() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listeners = vec![listener(ListenerKind::WebSocket, None, true)];
    let rig = Plan { listeners, ..Plan::default() }.start().await;
    let mut raw = rig.raw().await.0;
    raw.write_all(
        b"GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    )
    .await
    .unwrap();
    let mut answer = String::new();
    within(raw.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}
