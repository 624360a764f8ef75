//! Clients that keep no rules hurt only themselves: what can only be seen from inside, and what our broker
//! promises beyond the standard. The rest is in `tests/hazards`.

use std::time::Duration;

use hearthlink::{
    broker::Limits,
    model::{Message, QoS, Topic},
};

use crate::{
    raw::{packet, text},
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
