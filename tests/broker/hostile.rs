//! Clients that keep no rules hurt only themselves: what can only be seen from inside, and what our broker
//! promises beyond the standard. The rest is in `tests/hazards`.

use std::time::{Duration, Instant};

use hearthlink::{
    broker::Limits,
    model::{Message, QoS, Topic},
};

use crate::{
    raw::{packet, publish, text},
    rig::{Plan, Rig},
};

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
async fn a_subscriber_that_never_reads_costs_at_most_its_queue() {
    let limits = Limits { queue_bytes_per_session: 256 << 10, ..Limits::default() };
    let rig = Plan { limits, ..Plan::default() }.start().await;
    let mut deaf = rig.client("deaf").await;
    deaf.send(&packet(0x82, &[&[0, 9][..], &text("flood"), &[1]].concat())).await;
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
    rig.client("well").await.ping().await;
}

#[tokio::test]
async fn large_packets_come_in_as_there_is_room_and_small_ones_of_others_at_once() {
    let limits =
        Limits { incoming_bytes: 1 << 20, longest_packet: Duration::from_secs(3), ..Limits::default() };
    let rig = Plan { limits, ..Plan::default() }.start().await;
    let mut subscriber = rig.client("subscriber").await;
    subscriber.subscribe("t/#", 0).await;
    let large = publish(0, "t/large", 0, &vec![7; 600 << 10]);
    let mut hog = rig.client("hog").await;
    hog.send(&large[..100 << 10]).await;
    // What it has announced is taken into account when the broker has read of it.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut patient = rig.client("patient").await;
    let sending = tokio::spawn(async move {
        patient.send(&large).await;
        patient.ping().await;
    });
    let mut small = rig.client("small").await;
    small.send(&publish(0, "t/small", 0, b"x")).await;
    assert_eq!(subscriber.got().await.topic, "t/small");
    // The hog has its time, and is sent away; then the other has its turn.
    assert_eq!(subscriber.got().await.payload.len(), 600 << 10);
    assert!(hog.hangs_up().await);
    sending.await.unwrap();
}

#[tokio::test]
async fn who_breaks_the_protocol_again_and_again_hangs_longer_and_longer() {
    let rig = Rig::start().await;
    // So that its address is never empty.
    let mut good = rig.client("good").await;
    let start = Instant::now();
    for round in 0..8 {
        let mut bad = rig.raw().await;
        if round % 2 == 0 {
            bad.connect("bad", true).await;
        }
        bad.send(&[0xFF; 64]).await;
        assert!(bad.hangs_up().await);
    }
    // 50, 100, 200, 400, 800, 1,000, 1,000, 1,000 ms, each by chance as little as half.
    assert!(start.elapsed() >= Duration::from_millis(2_275), "{:?}", start.elapsed());
    good.ping().await;
}

#[tokio::test]
async fn topics_and_subscriptions_are_bounded_in_bytes_and_the_others_still_have_room() {
    let limits = Limits { subscription_bytes: 100 << 10, topic_length: 500, ..Limits::default() };
    let rig = Plan { limits, ..Plan::default() }.start().await;
    let mut greedy = rig.client("greedy").await;
    assert_eq!(greedy.subscribe(&"x".repeat(501), 0).await, 0x80);
    assert_eq!(greedy.subscribe(&format!("$share/{}/x", "g".repeat(495)), 0).await, 0x80);
    let mut taken = 0;
    while greedy.subscribe(&format!("{taken:0>400}"), 0).await < 0x80 {
        taken += 1;
    }
    assert!((60..100).contains(&taken), "{taken} of 1,160 bytes");
    // A change of options needs no room, and what is given back can be used again.
    assert_eq!(greedy.subscribe(&format!("{:0>400}", 0), 1).await, 1);
    greedy.send(&packet(0xA2, &[&[0, 3][..], &text(&format!("{:0>400}", 0))].concat())).await;
    assert_eq!(greedy.next().await, Some((0xB0, vec![0, 3])));
    assert_eq!(greedy.subscribe(&"y".repeat(400), 0).await, 0);
    assert_eq!(greedy.subscribe(&"z".repeat(400), 0).await, 0x80);
    let mut modest = rig.client("modest").await;
    for number in 0..40 {
        assert_eq!(modest.subscribe(&format!("{number:0>400}"), 0).await, 0, "within everybody's share");
    }
    // With the client goes what it held.
    greedy.send(&[0xE0, 0]).await;
    assert!(greedy.hangs_up().await);
    let mut next = rig.client("next").await;
    while next.subscribe(&"z".repeat(500), 0).await != 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    next.send(&publish(0, &"z".repeat(501), 0, b"x")).await;
    assert!(next.hangs_up().await);
}

#[tokio::test]
async fn who_fills_the_house_with_absent_sessions_shuts_nobody_out_and_loses_its_own() {
    let limits = Limits { max_sessions: 10, ..Limits::default() };
    let rig = Plan { limits, ..Plan::default() }.start().await;
    let mut good = rig.raw().await;
    good.connect("good", false).await;
    good.subscribe("mail", 1).await;
    good.send(&[0xE0, 0]).await;
    assert!(good.hangs_up().await);
    rig.handle.publish(&Message::new(Topic::parse("mail").unwrap(), "kept", QoS::AtLeastOnce));
    for number in 0..30 {
        let mut junk = rig.raw().await;
        assert!(!junk.connect(&format!("junk-{number}"), false).await);
        junk.send(&[0xE0, 0]).await;
        assert!(junk.hangs_up().await);
    }
    let mut good = rig.raw().await;
    assert!(good.connect("good", false).await, "something waits for it");
    assert_eq!(good.got().await.payload, b"kept");
    while rig.board.snapshot().broker.ended_early != 21 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(rig.board.snapshot().broker.sessions, 10);
}

#[tokio::test]
async fn qos_2_messages_that_are_never_released_are_bounded() {
    let limits = Limits { receive_maximum: 10, ..Limits::default() };
    let rig = Plan { limits, ..Plan::default() }.start().await;
    let mut client = rig.client("client").await;
    for id in 1..=10 {
        client.send(&publish(4, "t", id, b"x")).await;
        assert_eq!(client.next().await, Some((0x50, id.to_be_bytes().to_vec())));
    }
    // Again what is known, and one too many.
    client.send(&publish(12, "t", 10, b"x")).await;
    assert_eq!(client.next().await, Some((0x50, vec![0, 10])));
    client.send(&publish(4, "t", 11, b"x")).await;
    assert!(client.hangs_up().await);
}

#[tokio::test]
async fn more_filters_in_a_packet_than_a_client_may_have_are_refused_at_once() {
    let limits = Limits { subscriptions_per_client: 5, ..Limits::default() };
    let rig = Plan { limits, ..Plan::default() }.start().await;
    let filters = |count: usize| [text("a"), vec![0]].concat().repeat(count);
    let mut client = rig.client("client").await;
    client.send(&packet(0x82, &[&[0, 1][..], &filters(5)].concat())).await;
    assert_eq!(client.next().await, Some((0x90, vec![0, 1, 0, 0, 0, 0, 0])));
    client.send(&packet(0x82, &[&[0, 2][..], &filters(6)].concat())).await;
    assert!(client.hangs_up().await);
}
