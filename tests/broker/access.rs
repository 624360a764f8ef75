//! Who may do what: lists of permissions, guessed passwords, crowds, web pages, new certificates.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use hearthlink::{
    broker::{Acl, Limits, ListenerKind, User},
    model::{Message, QoS, Topic, TopicPattern},
};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    certificates::{Files, certificates},
    raw::{Raw, connect, connect5, packet, publish, text},
    rig::{Plan, Rig, listener},
    transports::hash,
};

const PASSWORD: &str = "secret";

fn acl(read: &[&str], write: &[&str]) -> Option<Acl> {
    let patterns = |texts: &[&str]| texts.iter().map(|text| TopicPattern::parse(text).unwrap()).collect();
    Some(Acl { read: patterns(read), write: patterns(write) })
}

fn user(name: &str, acl: Option<Acl>) -> User {
    User { name: name.into(), password_hash: Some(hash(PASSWORD)), acl, ..User::default() }
}

/// A listener that wants to know who comes.
fn guarded(users: Vec<User>) -> Plan {
    Plan { users, listeners: vec![listener(ListenerKind::Tcp, None, false)], ..Plan::default() }
}

/// anna may read the states and what is hers, and write to what is hers; bert may do everything.
async fn house() -> Rig {
    let annas = acl(&["home/+/state", "users/%u/#", "dev/%c"], &["users/%u/#", "dev/%c/out"]);
    guarded(vec![user("anna", annas), user("bert", None)]).start().await
}

fn login(client: &str, user: &str, flags: u8) -> Vec<u8> {
    connect(client, flags | 0xC0, &[&text(user), &text(PASSWORD)])
}

/// 3.1.1, a clean session.
async fn enter(rig: &Rig, client: &str, user: &str) -> Raw {
    let mut raw = rig.raw().await;
    raw.send(&login(client, user, 2)).await;
    assert_eq!(raw.next().await, Some((0x20, vec![0, 0])), "{user} is let in");
    raw
}

/// MQTT 5, a clean session.
async fn enter5(rig: &Rig, client: &str, user: &str) -> Raw {
    let mut raw = rig.raw().await;
    raw.send(&connect5(client, 0xC2, &[], &[&text(user), &text(PASSWORD)])).await;
    let (first, body) = raw.next().await.unwrap();
    assert_eq!((first, body[1]), (0x20, 0), "{user} is let in");
    raw
}

#[tokio::test]
async fn a_publish_that_is_not_permitted_is_refused_in_mqtt_5_and_dropped_in_3_1_1_and_counted() {
    let rig = house().await;
    let mut bert = enter(&rig, "watcher", "bert").await;
    bert.subscribe("#", 0).await;
    let mut anna = enter(&rig, "phone", "anna").await;
    anna.send(&publish(2, "users/bert/mail", 1, b"no")).await;
    assert_eq!(anna.next().await, Some((0x40, vec![0, 1])), "3.1.1 knows no refusal");
    anna.send(&publish(4, "home/lamp/state", 2, b"no")).await;
    assert_eq!(anna.next().await, Some((0x50, vec![0, 2])));
    anna.send(&packet(0x62, &[0, 2])).await;
    assert_eq!(anna.next().await, Some((0x70, vec![0, 2])));
    anna.send(&publish(0, "dev/other/out", 0, b"no")).await;

    let mut five = enter5(&rig, "phone-5", "anna").await;
    let publish5 = |flags: u8, topic: &str, id: u16| {
        packet(0x30 | flags, &[&text(topic)[..], &id.to_be_bytes(), &[0], b"x"].concat())
    };
    five.send(&publish5(2, "users/bert/mail", 7)).await;
    let (first, body) = five.next().await.unwrap();
    assert_eq!((first, &body[..3]), (0x40, &[0, 7, 0x87][..]));
    five.send(&publish5(4, "users/bert/mail", 8)).await;
    let (first, body) = five.next().await.unwrap();
    assert_eq!((first, &body[..3]), (0x50, &[0, 8, 0x87][..]));

    anna.send(&publish(2, "users/anna/mail", 3, b"yes")).await;
    assert_eq!(anna.next().await, Some((0x40, vec![0, 3])));
    anna.send(&publish(0, "dev/phone/out", 0, b"yes")).await;
    assert_eq!(bert.got().await.topic, "users/anna/mail");
    assert_eq!(bert.got().await.topic, "dev/phone/out");
    assert!(bert.is_quiet().await);
    let denied = async {
        while rig.board.snapshot().broker.denied != 5 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), denied).await.expect("five are counted");
}

#[tokio::test]
async fn a_subscription_that_is_too_broad_brings_what_may_be_read_and_one_that_brings_nothing_is_refused() {
    let rig = house().await;
    let mut bert = enter(&rig, "bert", "bert").await;
    for topic in ["users/bert/kept", "users/anna/kept", "home/lamp"] {
        bert.send(&publish(3, topic, 1, b"kept")).await;
        bert.next().await;
    }
    let mut anna = enter(&rig, "phone", "anna").await;
    assert_eq!(anna.subscribe("users/bert/#", 1).await, 0x80);
    assert_eq!(anna.subscribe("$SYS/#", 1).await, 0x80);
    let mut five = enter5(&rig, "other", "anna").await;
    five.send(&packet(0x82, &[&[0, 9, 0][..], &text("users/bert/#"), &[1]].concat())).await;
    let (first, body) = five.next().await.unwrap();
    assert_eq!((first, &body[..2], body.last()), (0x90, &[0, 9][..], Some(&0x87)));

    assert_eq!(anna.subscribe("#", 1).await, 1);
    assert_eq!(anna.got().await.topic, "users/anna/kept", "a retained message that is not hers stays");
    for (topic, is_hers) in [
        ("home/lamp/state", true),
        ("home/lamp", false),
        ("users/bert/mail", false),
        ("dev/phone", true),
        ("dev/other", false),
        ("users/anna", true),
    ] {
        bert.send(&publish(0, topic, 0, b"new")).await;
        if is_hers {
            assert_eq!(anna.got().await.topic, topic);
        }
    }
    let topic = Topic::parse("home/bridge/info").unwrap();
    assert_eq!(
        rig.handle.publish(&Message::new(topic, "x", QoS::AtMostOnce)),
        0,
        "the gateway's are held too"
    );
    anna.ping().await;
}

#[tokio::test]
async fn of_a_shared_subscription_the_member_that_may_read_gets_the_message() {
    let rig = house().await;
    let mut anna = enter(&rig, "anna", "anna").await;
    let mut bert = enter(&rig, "bert", "bert").await;
    assert_eq!(anna.subscribe("$share/g/users/#", 0).await, 0);
    assert_eq!(bert.subscribe("$share/g/users/#", 0).await, 0);
    let mut sender = enter(&rig, "sender", "bert").await;
    for _ in 0..4 {
        sender.send(&publish(0, "users/bert/mail", 0, b"x")).await;
        assert_eq!(bert.got().await.topic, "users/bert/mail");
    }
    anna.ping().await;
}

#[tokio::test]
async fn a_name_never_widens_a_pattern() {
    let everybody = acl(&["dev/%c/#"], &["dev/%c/#"]);
    let users = vec![user("anna", everybody.clone()), user("a/b", acl(&["u/%u/#"], &["u/%u/#"]))];
    let mut plan = guarded(users);
    plan.listeners.push(listener(ListenerKind::Tcp, None, true));
    plan.listeners[1].acl = everybody;
    let rig = plan.start().await;
    for id in ["+", "#", "a/b", "+/x", "$SYS"] {
        let mut raw = enter(&rig, id, "anna").await;
        let is_own = id == "$SYS";
        assert_eq!(raw.subscribe("dev/+/#", 0).await, if is_own { 0 } else { 0x80 }, "{id}");
        let mut stranger = Raw::to(rig.ports[1].2.port()).await;
        stranger.connect(&format!("x{id}"), true).await;
        assert_eq!(stranger.subscribe("dev/other/#", 0).await, 0x80, "{id}");
    }
    let mut raw = enter(&rig, "c", "a/b").await;
    assert_eq!(raw.subscribe("#", 0).await, 0x80);
}

#[tokio::test]
async fn a_will_that_is_not_permitted_keeps_its_client_out() {
    let rig = house().await;
    for (topic, code) in [("users/bert/gone", 5), ("home/lamp/state", 5), ("users/anna/gone", 0)] {
        let mut raw = rig.raw().await;
        let will: [&[u8]; 4] = [&text(topic), &text("gone"), &text("anna"), &text(PASSWORD)];
        raw.send(&connect("phone", 0xC6, &will)).await;
        assert_eq!(raw.next().await, Some((0x20, vec![0, code])), "{topic}");
    }
}

#[tokio::test]
async fn clients_without_a_name_have_the_list_of_their_listener() {
    let mut plan = Plan::default();
    plan.listeners[0].acl = acl(&["home/#", "users/%u/#"], &[]);
    let rig = plan.start().await;
    let mut client = rig.client("panel").await;
    // The name that it says was not proven, and counts for nothing.
    assert_eq!(client.subscribe("users/#", 0).await, 0x80);
    assert_eq!(client.subscribe("home/#", 0).await, 0);
    client.send(&publish(2, "home/lamp/set", 4, b"ON")).await;
    assert_eq!(client.next().await, Some((0x40, vec![0, 4])));
    assert!(client.is_quiet().await);
}

#[tokio::test]
async fn an_absent_clients_session_is_its_users_alone_and_keeps_its_list_over_a_restart() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let users = || vec![user("anna", acl(&["users/%u/#"], &[])), user("bert", None)];
    let rig = guarded(users()).start_in(directory).await;
    let mut anna = rig.raw().await;
    anna.send(&login("phone", "anna", 0)).await;
    anna.next().await;
    assert_eq!(anna.subscribe("#", 1).await, 1);
    anna.send(&[0xE0, 0]).await;
    assert!(anna.hangs_up().await);
    let directory = rig.stop().await;

    let rig = guarded(users()).start_in(directory).await;
    let mut bert = enter(&rig, "bert", "bert").await;
    for topic in ["users/bert/mail", "users/anna/mail"] {
        bert.send(&publish(2, topic, 1, b"x")).await;
        bert.next().await;
    }
    let mut anna = rig.raw().await;
    anna.send(&login("phone", "anna", 0)).await;
    assert_eq!(anna.next().await, Some((0x20, vec![1, 0])), "her session was kept");
    assert_eq!(anna.got().await.topic, "users/anna/mail");
    anna.send(&[0xE0, 0]).await;
    assert!(anna.hangs_up().await);
    bert.send(&publish(2, "users/anna/mail", 1, b"y")).await;
    bert.next().await;

    // Neither by resuming it nor by a clean start.
    for flags in [0, 2] {
        let mut thief = rig.raw().await;
        thief.send(&login("phone", "bert", flags)).await;
        assert_eq!(thief.next().await, Some((0x20, vec![0, 2])), "identifier rejected");
        assert!(thief.hangs_up().await);
    }
    let mut anna = rig.raw().await;
    anna.send(&login("phone", "anna", 0)).await;
    assert_eq!(anna.next().await, Some((0x20, vec![1, 0])), "her session is still there");
    for payload in [b"x", b"y"] {
        assert_eq!(anna.got().await.payload, payload);
    }
}

#[tokio::test]
async fn an_anonymous_session_goes_to_who_has_a_name_and_that_of_a_user_who_is_gone_to_anybody() {
    let listeners = || vec![listener(ListenerKind::Tcp, None, true)];
    let users = || vec![user("anna", None)];
    let rig = Plan { listeners: listeners(), users: users(), ..Plan::default() }.start().await;
    let mut nobody = rig.raw().await;
    nobody.connect("phone", false).await;
    let mut anna = rig.raw().await;
    anna.send(&login("phone", "anna", 0)).await;
    assert_eq!(anna.next().await, Some((0x20, vec![0, 0])), "hers is a new one");
    assert!(nobody.hangs_up().await);
    let mut nobody = rig.raw().await;
    nobody.send(&connect("phone", 0, &[])).await;
    assert_eq!(nobody.next().await, Some((0x20, vec![0, 2])));
    let rig = Plan { listeners: listeners(), ..Plan::default() }.start_in(rig.stop().await).await;
    assert!(!rig.raw().await.connect("phone", false).await, "anna is no user any more");
}

#[tokio::test]
async fn what_the_gateway_publishes_itself_is_closed_to_clients() {
    let closed = vec![Topic::parse("home/toaster").unwrap()];
    let rig = Plan { closed, ..Plan::default() }.start().await;
    let mut client = rig.client("client").await;
    client.subscribe("home/#", 0).await;
    for topic in ["home/toaster", "home/toaster/set"] {
        client.send(&publish(2, topic, 1, b"x")).await;
    }
    let mut answers =
        vec![client.next().await.unwrap(), client.next().await.unwrap(), client.next().await.unwrap()];
    answers.sort();
    let delivered = answers.iter().filter(|(first, _)| *first == 0x30).count();
    assert_eq!(delivered, 1, "only the command: {answers:?}");
    let mut liar = rig.raw().await;
    liar.send(&connect("liar", 0x26, &[&text("home/toaster"), &text("burnt")])).await;
    assert_eq!(liar.next().await, Some((0x20, vec![0, 5])));
}

async fn secure(port: u16, files: &Files, certificate: Option<&str>) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    TlsConnector::from(files.client(certificate)).connect(name, stream).await.unwrap()
}

#[tokio::test]
async fn a_certificate_lets_in_whose_it_is_and_one_of_nobody_does_not() {
    let files = certificates();
    let phone = User { name: "phone".into(), certificate_name: Some("phone.home".into()), ..User::default() };
    let listeners = vec![listener(ListenerKind::Tcp, Some(files.server()), false)];
    let rig = Plan { listeners, users: vec![phone, user("plug", None)], ..Plan::default() }.start().await;
    let name = |name: &str| connect("x", 0x82, &[&text(name)]);
    for (certificate, hello, code) in [
        (Some("client"), connect("x", 2, &[]), 0),
        (Some("client"), name("phone"), 0),
        // Whose certificate it is not.
        (Some("client"), name("plug"), 4),
        (Some("nobody"), connect("x", 2, &[]), 5),
        (Some("nobody"), name("phone"), 4),
        (Some("nobody"), name("nobody.home"), 4),
        (Some("nobody"), login("x", "plug", 2), 0),
        (None, connect("x", 2, &[]), 5),
    ] {
        let mut stream = secure(rig.port(), &files, certificate).await;
        stream.write_all(&hello).await.unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, [0x20, 2, 0, code], "{certificate:?} {hello:?}");
    }
}

#[tokio::test]
async fn whoever_guesses_passwords_waits_and_still_gets_in_with_the_right_one() {
    let mut plan = guarded(vec![user("anna", None)]);
    plan.limits = Limits { handshake_time: Duration::from_secs(4), ..Limits::default() };
    let rig = plan.start().await;
    let start = Instant::now();
    for _ in 0..5 {
        let mut raw = rig.raw().await;
        raw.send(&connect("guesser", 0xC2, &[&text("anna"), &text("guess")])).await;
        assert_eq!(raw.next().await, Some((0x20, vec![0, 4])));
    }
    // 0.1 + 0.2 + 0.4 + 0.8 s between the five.
    assert!(start.elapsed() >= Duration::from_millis(1500), "{:?}", start.elapsed());
    let mut other = Raw::from([127, 0, 0, 2], rig.port()).await;
    other.send(&login("other", "anna", 2)).await;
    assert_eq!(other.next().await, Some((0x20, vec![0, 0])), "another address has nothing to do with it");
    let mut raw = enter(&rig, "phone", "anna").await;
    raw.ping().await;
    assert!(
        start.elapsed() >= Duration::from_millis(3000),
        "the right one waits, too: {:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn one_address_has_so_many_connections_and_others_have_theirs() {
    let limits = Limits { max_clients_per_address: 3, ..Limits::default() };
    let rig = Plan { limits, ..Plan::default() }.start().await;
    let mut client = rig.client("one").await;
    client.ping().await;
    // These two say nothing.
    let (idle, _idle) = (rig.raw().await, rig.raw().await);
    let mut late = rig.raw().await;
    assert!(late.hangs_up().await);
    let mut other = Raw::from([127, 0, 0, 2], rig.port()).await;
    other.connect("other", true).await;
    client.ping().await;
    drop(idle);
    let again = async {
        loop {
            let mut raw = rig.raw().await;
            raw.send(&connect("late", 2, &[])).await;
            if raw.next().await.is_some() {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), again).await.expect("a place that is free again");
    let counted = async {
        while rig.board.snapshot().broker.refused == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), counted).await.expect("it is counted");
}

/// The status of the answer to an upgrade.
async fn upgrade(port: u16, headers: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!(
        "GET /mqtt HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
         Sec-WebSocket-Protocol: mqtt\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    String::from_utf8(answer.to_vec()).unwrap()
}

#[tokio::test]
async fn a_web_page_of_another_host_does_not_get_a_websocket_where_nobody_needs_a_name() {
    let mut plan = guarded(vec![user("anna", None)]);
    let web = |anonymous| listener(ListenerKind::WebSocket, None, anonymous);
    plan.listeners = vec![web(true), web(true), web(false), web(false)];
    plan.listeners[1].origins = vec!["https://panel.example".to_owned()];
    plan.listeners[3].origins = vec!["https://panel.example".to_owned()];
    let rig = plan.start().await;
    let ports: Vec<u16> = rig.ports.iter().map(|(.., at)| at.port()).collect();
    for (origin, expected) in [
        ("", ["101", "101", "101", "101"]),
        ("Origin: http://127.0.0.1:8080\r\n", ["101", "101", "101", "101"]),
        ("Origin: https://panel.example\r\n", ["403", "101", "101", "101"]),
        ("Origin: https://evil.example\r\n", ["403", "403", "101", "403"]),
        ("Origin: null\r\n", ["403", "403", "101", "403"]),
    ] {
        for (port, expected) in ports.iter().zip(expected) {
            let answer = upgrade(*port, origin).await;
            assert!(answer.ends_with(expected), "{origin}: {answer}, not {expected}");
        }
    }
}

#[tokio::test]
async fn new_certificates_are_for_new_clients_and_bad_ones_for_nobody() {
    let (files, renewed) = (certificates(), certificates());
    let listeners = vec![
        listener(ListenerKind::Tcp, Some(files.server()), true),
        listener(ListenerKind::WebSocket, Some(files.server()), true),
    ];
    let rig = Plan { listeners, ..Plan::default() }.start().await;
    let mut old = secure(rig.port(), &files, None).await;
    old.write_all(&connect("old", 2, &[])).await.unwrap();
    let mut answer = [0; 4];
    old.read_exact(&mut answer).await.unwrap();

    for name in ["server.pem", "server.key"] {
        fs::copy(renewed.path(name), files.path(name)).unwrap();
    }
    assert_eq!(rig.handle.reload_certificates().await.unwrap(), 2);
    for (_, _, at) in &rig.ports {
        // Who only trusts the old CA does not come in any more.
        let stream = TcpStream::connect(at).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        assert!(TlsConnector::from(files.client(None)).connect(name, stream).await.is_err());
        secure(at.port(), &renewed, None).await;
    }

    // A key of another certificate, then no certificate at all.
    fs::copy(files.path("client.key"), files.path("server.key")).unwrap();
    let error = rig.handle.reload_certificates().await.unwrap_err().to_string();
    assert!(error.contains("server.pem"), "{error}");
    fs::write(files.path("server.pem"), "nothing").unwrap();
    let error = rig.handle.reload_certificates().await.unwrap_err().to_string();
    assert!(error.contains("server.pem") && error.contains("no certificate"), "{error}");
    fs::remove_file(files.path("ca.pem")).unwrap();
    fs::copy(renewed.path("server.pem"), files.path("server.pem")).unwrap();
    fs::copy(renewed.path("server.key"), files.path("server.key")).unwrap();
    let error = rig.handle.reload_certificates().await.unwrap_err().to_string();
    assert!(error.contains("ca.pem"), "{error}");
    secure(rig.port(), &renewed, None).await;

    old.write_all(&[0xC0, 0]).await.unwrap();
    let mut answer = [0; 2];
    old.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, [0xD0, 0], "the old client has noticed nothing");
}
