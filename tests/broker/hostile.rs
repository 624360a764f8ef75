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
