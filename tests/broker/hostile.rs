//! Clients that keep no rules hurt only themselves.

use std::time::Duration;

use hearthlink::{
    broker::{Limits, ListenerKind},
    model::{Message, QoS, Topic},
};
use tokio::{io::AsyncWriteExt, time::timeout};

use crate::{
    certificates::certificates,
    raw::{connect, packet, publish, text},
    rig::{Plan, Rig, listener},
};

/// Another client is served as if nothing had happened.
async fn others_are_well(rig: &Rig) {
    let work = async {
        let mut subscriber = rig.client("well-subscriber").await;
        let mut publisher = rig.client("well-publisher").await;
        subscriber.subscribe("well/#", 1).await;
        publisher.send(&publish(2, "well/öl", 1, b"x")).await;
        assert_eq!(publisher.next().await, Some((0x40, vec![0, 1])));
        assert_eq!(subscriber.got().await.topic, "well/öl");
    };
    timeout(Duration::from_secs(5), work).await.expect("others are held up");
}

#[tokio::test]
async fn packets_that_break_the_protocol_end_their_client_and_nobody_else() {
    let rig = Rig::start().await;
    for (what, bytes) in [
        ("a second CONNECT", connect("hostile", 2, &[])),
        ("PUBLISH to a wildcard", publish(0, "a/#", 0, b"x")),
        ("PUBLISH to nothing", publish(0, "", 0, b"x")),
        ("PUBLISH with id 0", publish(2, "a", 0, b"x")),
        ("PUBLISH with QoS 3", publish(6, "a", 1, b"x")),
        ("SUBSCRIBE to nothing", packet(0x82, &[0, 1])),
        ("a length that never ends", vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
        ("a packet of 256 MB", vec![0x30, 0xFF, 0xFF, 0xFF, 0x7F]),
        ("an oversize packet", publish(0, "a", 0, &vec![0; 2 << 20])),
        ("garbage", (0..=255).cycle().take(4_000).map(|byte: u16| byte as u8 ^ 0xA5).collect()),
        ("a topic of 1,000 levels", publish(0, &"a/".repeat(1_000), 0, b"x")),
        ("CONNACK", packet(0x20, &[0, 0])),
    ] {
        let mut hostile = rig.client("hostile").await;
        hostile.send(&bytes).await;
        assert!(hostile.hangs_up().await, "{what}");
        others_are_well(&rig).await;
    }
}

#[tokio::test]
async fn first_packets_that_are_no_connect_are_not_answered() {
    let rig = Rig::start().await;
    for bytes in [
        &publish(0, "a", 0, b"x")[..],
        b"GET / HTTP/1.1\r\n\r\n",
        &[0x16, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3],
        &[0x10, 0xFF, 0xFF, 0xFF, 0x7F],
        &packet(0x10, &[&text("HTTP")[..], &[4, 2, 0, 60], &text("x")].concat()),
    ] {
        let mut hostile = rig.raw().await;
        hostile.send(bytes).await;
        hostile.0.shutdown().await.ok();
        assert!(hostile.hangs_up().await);
    }
    others_are_well(&rig).await;
}

#[tokio::test]
async fn odd_filters_are_refused_and_the_client_stays() {
    let rig = Rig::start().await;
    let mut client = rig.client("client").await;
    for filter in ["a/#/b", "a+/b", "", "$share/g", "$share//a", &"a/".repeat(200)] {
        assert_eq!(client.subscribe(filter, 1).await, 0x80, "{filter}");
    }
    assert_eq!(client.subscribe("a/+/b", 1).await, 1);
    client.ping().await;
}

#[tokio::test]
async fn acknowledgements_out_of_order_twice_and_for_nothing_are_harmless() {
    let rig = Rig::start().await;
    let mut client = rig.client("client").await;
    client.subscribe("t", 2).await;
    for kind in [0x40, 0x50, 0x62, 0x70] {
        client.send(&packet(kind, &[0x12, 0x34])).await;
    }
    // PUBREC for nothing is answered by PUBREL, PUBREL for nothing by PUBCOMP.
    assert_eq!(client.next().await, Some((0x62, vec![0x12, 0x34])));
    assert_eq!(client.next().await, Some((0x70, vec![0x12, 0x34])));
    let topic = Topic::parse("t").unwrap();
    for _ in 0..3 {
        rig.handle.publish(&Message::new(topic.clone(), "x", QoS::AtLeastOnce));
    }
    let ids = [client.got().await.id, client.got().await.id, client.got().await.id];
    for id in [ids[2], ids[2], ids[0], ids[1], ids[0]] {
        client.send(&packet(0x40, &id.to_be_bytes())).await;
    }
    rig.handle.publish(&Message::new(topic, "y", QoS::AtLeastOnce));
    assert_eq!(client.got().await.payload, b"y");
    client.ping().await;
}

#[tokio::test]
async fn whoever_says_nothing_is_cut_off_and_holds_up_nobody_on_any_transport() {
    let limits = Limits { handshake_time: Duration::from_secs(2), ..Limits::default() };
    let files = certificates();
    let tls = || Some(files.server());
    let listeners = vec![
        listener(ListenerKind::Tcp, None, true),
        listener(ListenerKind::Tcp, tls(), true),
        listener(ListenerKind::WebSocket, None, true),
        listener(ListenerKind::WebSocket, tls(), true),
    ];
    let rig = Plan { limits, listeners, ..Plan::default() }.start().await;
    let mut silent = Vec::new();
    for (_, _, address) in &rig.ports {
        for _ in 0..10 {
            silent.push(crate::raw::Raw::to(address.port()).await);
        }
    }
    // A drip is no better than silence.
    let mut drip = rig.raw().await;
    let dripping = tokio::spawn(async move {
        for byte in connect("drip", 2, &[]) {
            drip.send(&[byte]).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        drip.hangs_up().await
    });
    others_are_well(&rig).await;
    for (kind, has_tls, address) in rig.ports.clone() {
        let speaks = crate::transports::echo(kind, has_tls.then_some(&files), address.port(), None);
        timeout(Duration::from_secs(5), speaks).await.expect("held up by who says nothing").unwrap();
    }
    for raw in &mut silent {
        assert!(raw.hangs_up().await);
    }
    assert!(dripping.await.unwrap(), "a slow loris was let in");
}

#[tokio::test]
async fn a_subscriber_that_never_reads_costs_at_most_its_queue() {
    let limits = Limits { queue_bytes_per_session: 256 << 10, ..Limits::default() };
    let rig = Plan { limits, ..Plan::default() }.start().await;
    let mut deaf = rig.client("deaf").await;
    deaf.send(&packet(0x82, &[&[0, 9][..], &text("flood"), &[1]].concat())).await;
    let mut well = rig.client("well").await;
    well.subscribe("other", 0).await;
    let topic = Topic::parse("flood").unwrap();
    let payload = vec![7; 10_000];
    for _ in 0..5_000 {
        rig.handle.publish(&Message::new(topic.clone(), payload.clone(), QoS::AtLeastOnce));
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let report = rig.board.snapshot();
    let report = serde_json::to_value(&report).unwrap()["broker"].clone();
    assert!(report["queued_bytes"].as_u64().unwrap() <= 256 << 10, "{report}");
    assert!(report["dropped"].as_u64().unwrap() > 4_000, "{report}");
    rig.handle.publish(&Message::new(Topic::parse("other").unwrap(), "x", QoS::AtMostOnce));
    assert_eq!(well.got().await.payload, b"x");
    // And it can still come back to its senses.
    assert_eq!(deaf.next().await.unwrap().0, 0x90);
    assert_eq!(deaf.got().await.payload.len(), 10_000);
}

#[tokio::test]
async fn a_half_closed_socket_is_a_lost_client() {
    let rig = Rig::start().await;
    let mut client = rig.client("client").await;
    client.0.shutdown().await.unwrap();
    assert!(client.hangs_up().await);
    others_are_well(&rig).await;
}

#[tokio::test]
async fn more_strangers_than_the_lobby_holds_are_turned_away() {
    let limits = Limits { max_handshakes: 5, ..Limits::default() };
    let rig = Plan { limits, ..Plan::default() }.start().await;
    let mut strangers = Vec::new();
    for _ in 0..5 {
        strangers.push(rig.raw().await);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(rig.raw().await.hangs_up().await);
    strangers.clear();
    tokio::time::sleep(Duration::from_millis(100)).await;
    others_are_well(&rig).await;
}
