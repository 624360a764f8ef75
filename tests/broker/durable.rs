//! Accepted means kept: what the disk has to do with an acknowledgement.

use std::time::{Duration, Instant};

use hearthlink::{
    model::{Message, QoS, Topic},
    store::{StoreOptions, WhenFull},
};

use crate::{
    raw::{connect5, packet, publish, text},
    rig::{Plan, Rig},
};

/// The least time between two commits: long enough to see who waits for it.
const SLOW: Duration = Duration::from_millis(1_500);

/// A broker whose next commit is [`SLOW`] away.
async fn slow_disk() -> Rig {
    let store = StoreOptions { commit_floor: SLOW, ..StoreOptions::default() };
    let rig = Plan { store, ..Plan::default() }.start().await;
    let mut first = rig.client("first").await;
    first.send(&publish(2, "up/first", 1, b"x")).await;
    assert_eq!(first.next().await, Some((0x40, vec![0, 1])));
    rig
}

#[tokio::test]
async fn an_acknowledgement_waits_for_the_disk_and_subscribers_and_others_do_not() {
    let rig = slow_disk().await;
    let start = Instant::now();
    let mut subscriber = rig.client("subscriber").await;
    subscriber.subscribe("#", 0).await;
    let mut device = rig.client("device").await;
    device.send(&publish(2, "up/a", 1, b"one")).await;
    device.send(&publish(4, "up/b", 2, b"two")).await;
    device.send(&publish(2, "home/c", 3, b"three")).await;
    for expected in ["up/a", "up/b", "home/c"] {
        assert_eq!(subscriber.got().await.topic, expected);
    }
    let mut other = rig.client("other").await;
    other.send(&publish(2, "home/d", 7, b"x")).await;
    assert_eq!(other.next().await, Some((0x40, vec![0, 7])));
    assert!(start.elapsed() < SLOW / 2, "somebody waited for the disk: {:?}", start.elapsed());
    // In the order of the publishes, the one that needs no disk included.
    assert_eq!(device.next().await, Some((0x40, vec![0, 1])));
    assert!(start.elapsed() > SLOW / 2, "acknowledged before the disk had it");
    assert_eq!(device.next().await, Some((0x50, vec![0, 2])));
    assert_eq!(device.next().await, Some((0x40, vec![0, 3])));
    let kept = rig.store.pending(0, 10, 1 << 20).await.unwrap();
    let topics: Vec<_> = kept.iter().map(|record| record.message.topic.as_str()).collect();
    assert_eq!(topics, ["cloud/first", "cloud/a", "cloud/b"]);
}

#[tokio::test]
async fn a_device_that_waits_for_the_disk_is_still_spoken_to() {
    let rig = slow_disk().await;
    let mut device = rig.client("device").await;
    device.subscribe("cmd", 0).await;
    let start = Instant::now();
    device.send(&publish(2, "up/a", 1, b"one")).await;
    rig.handle.publish(&Message::new(Topic::parse("cmd").unwrap(), "ON", QoS::AtMostOnce));
    assert_eq!(device.got().await.payload, b"ON");
    assert!(start.elapsed() < SLOW / 2);
    assert_eq!(device.next().await, Some((0x40, vec![0, 1])));
}

#[tokio::test]
async fn what_stands_right_before_a_goodbye_or_before_nonsense_goes_to_the_cloud_all_the_same() {
    let rig = Plan::default().start().await;
    for (number, end) in [packet(0xE0, b""), packet(0xF0, b"")].into_iter().enumerate() {
        let mut device = rig.client("device").await;
        // As mosquitto_pub does it: in one segment.
        device.send(&[publish(0, "up/a", 0, b"x"), publish(2, "up/b", 1, b"y"), end].concat()).await;
        let wanted = 2 * (number + 1);
        let arrived = async {
            while rig.store.pending(0, 10, 1 << 20).await.unwrap().len() < wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), arrived).await.expect("both are on the disk");
    }
}

#[tokio::test]
async fn a_qos_2_message_whose_client_comes_back_before_the_disk_is_kept_once() {
    let rig = slow_disk().await;
    let mut device = rig.raw().await;
    device.connect("device", false).await;
    device.send(&publish(4, "up/a", 5, b"once")).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(device);
    let mut device = rig.raw().await;
    device.connect("device", false).await;
    device.send(&publish(12, "up/a", 5, b"once")).await;
    assert_eq!(device.next().await, Some((0x50, vec![0, 5])));
    let kept = rig.store.pending(0, 10, 1 << 20).await.unwrap();
    assert_eq!(kept.iter().filter(|record| record.message.topic.as_str() == "cloud/a").count(), 1);
}

#[tokio::test]
async fn what_was_acknowledged_is_in_the_file_when_it_is_opened_again() {
    let rig = Rig::start().await;
    let mut device = rig.client("device").await;
    for number in 1..=50_u16 {
        device.send(&publish(2, "up/a", number, &number.to_be_bytes())).await;
    }
    for number in 1..=50_u16 {
        assert_eq!(device.next().await, Some((0x40, number.to_be_bytes().to_vec())));
    }
    let directory = rig.stop().await;
    let rig = Plan::default().start_in(directory).await;
    assert_eq!(rig.store.pending(0, 100, 1 << 20).await.unwrap().len(), 50);
}

#[tokio::test]
async fn a_store_that_says_no_is_a_reason_code_in_mqtt_5_and_silence_in_3() {
    let store = StoreOptions { max_bytes: 100, when_full: WhenFull::RefuseNew, ..StoreOptions::default() };
    let rig = Plan { store, ..Plan::default() }.start().await;
    let mut three = rig.client("three").await;
    three.subscribe("home/a", 0).await;
    // Neither kept nor acknowledged, and what is for home goes on.
    for (flags, id) in [(2, 1), (4, 2), (2, 3)] {
        three.send(&publish(flags, "up/a", id, &[0; 200])).await;
        three.send(&publish(0, "home/a", 0, b"x")).await;
        assert_eq!(three.got().await.topic, "home/a");
    }
    three.send(&publish(2, "home/b", 4, b"x")).await;
    assert_eq!(three.next().await, Some((0x40, vec![0, 4])));
    three.ping().await;
    let mut five = rig.raw().await;
    five.send(&connect5("five", 2, &[], &[])).await;
    five.next().await.unwrap();
    for (first, ack) in [(0x32, 0x40), (0x34, 0x50)] {
        five.send(&packet(first, &[&text("up/a")[..], &[0, 1, 0], &[0; 200]].concat())).await;
        let (kind, body) = five.next().await.unwrap();
        assert_eq!((kind, &body[..3]), (ack, &[0, 1, 0x97][..]), "quota exceeded");
    }
    // In the end the old client is to come back and to send them again.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    assert!(three.hangs_up().await);
}

#[tokio::test]
async fn retained_messages_and_persistent_sessions_survive_a_restart() {
    let rig = Rig::start().await;
    let mut client = rig.raw().await;
    client.connect("persistent", false).await;
    client.subscribe("t/+", 1).await;
    client.subscribe("u", 1).await;
    client.send(&packet(0xA2, &[&[0, 3][..], &text("u")].concat())).await;
    client.next().await.unwrap();
    let mut fleeting = rig.client("fleeting").await;
    fleeting.subscribe("t/+", 1).await;
    for (name, payload) in [("r/keep", "kept"), ("r/gone", "gone"), ("r/keep", "kept again"), ("r/gone", "")]
    {
        rig.handle.publish(&Message::new(Topic::parse(name).unwrap(), payload, QoS::AtLeastOnce).retained());
    }
    let directory = rig.stop().await;
    assert!(client.hangs_up().await, "the broker stopped");

    let rig = Plan::default().start_in(directory).await;
    // Before the client is back: it is subscribed.
    assert_eq!(rig.handle.publish(&Message::new(Topic::parse("t/1").unwrap(), "x", QoS::AtLeastOnce)), 1);
    assert_eq!(rig.handle.publish(&Message::new(Topic::parse("u").unwrap(), "x", QoS::AtLeastOnce)), 0);
    let mut client = rig.raw().await;
    assert!(client.connect("persistent", false).await);
    assert_eq!(client.got().await.topic, "t/1");
    let mut reader = rig.client("reader").await;
    reader.subscribe("r/#", 0).await;
    let got = reader.got().await;
    assert_eq!((got.topic.as_str(), &got.payload[..], got.flags), ("r/keep", &b"kept again"[..], 1));
    assert!(reader.is_quiet().await);

    // A clean session takes the remembered one away for good.
    let mut client = rig.raw().await;
    assert!(!client.connect("persistent", true).await);
    let rig = Plan::default().start_in(rig.stop().await).await;
    assert_eq!(rig.handle.publish(&Message::new(Topic::parse("t/1").unwrap(), "x", QoS::AtLeastOnce)), 0);
}

#[tokio::test]
async fn a_stopping_broker_tells_mqtt_5_clients_why() {
    let rig = Rig::start().await;
    let mut five = rig.raw().await;
    five.send(&connect5("five", 2, &[], &[])).await;
    five.next().await.unwrap();
    let start = Instant::now();
    rig.stop().await;
    assert_eq!(five.next().await, Some((0xE0, vec![0x8B])));
    assert!(start.elapsed() < Duration::from_secs(3));
}
