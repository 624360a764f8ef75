//! What waits for an absent client: on the disk before its publisher is answered, in order, once.

use std::time::{Duration, Instant};

use hearthlink::{
    model::{Message, QoS, Topic},
    store::{Awaiting, StoreOptions},
};

use crate::{
    raw::{Got, Raw, connect5, packet, publish, text},
    rig::{Plan, Rig},
};

/// The least time between two commits: long enough to see who waits for it.
const SLOW: Duration = Duration::from_millis(1_500);

async fn slow_disk() -> Rig {
    let store = StoreOptions { commit_floor: SLOW, ..StoreOptions::default() };
    Plan { store, ..Plan::default() }.start().await
}

/// A 3.1.1 client with a persistent session that subscribes to `t/#` with QoS 2.
async fn subscriber(rig: &Rig) -> Raw {
    let mut raw = rig.raw().await;
    raw.connect("subscriber", false).await;
    raw.subscribe("t/#", 2).await;
    raw
}

async fn back(rig: &Rig) -> Raw {
    let mut raw = rig.raw().await;
    assert!(raw.connect("subscriber", false).await, "the session is there");
    raw
}

/// Goes, and is gone.
async fn leave(rig: &Rig, mut raw: Raw) {
    raw.send(&[0xE0, 0]).await;
    assert!(raw.hangs_up().await);
    while rig.board.snapshot().broker.clients > 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the disk holds as many messages for the subscriber.
async fn on_disk(rig: &Rig, count: usize) -> Vec<Awaiting> {
    for _ in 0..500 {
        let rows = rig.store.awaiting("subscriber").await.unwrap();
        if rows.len() == count {
            return rows;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{:?}", rig.store.awaiting("subscriber").await);
}

/// Takes `count` messages as a good client does, to the last PUBCOMP.
async fn take(client: &mut Raw, count: usize) -> Vec<Got> {
    let (mut got, mut releases) = (Vec::new(), 0);
    while got.len() < count || releases > 0 {
        let (first, body) = client.next().await.expect("a message");
        if first == 0x62 {
            releases -= 1;
            client.send(&packet(0x70, &body[..2])).await;
            continue;
        }
        let message = Got::parse(first, &body);
        let [high, low] = message.id.to_be_bytes();
        match message.flags & 6 {
            2 => client.send(&[0x40, 2, high, low]).await,
            4 => {
                releases += 1;
                client.send(&[0x50, 2, high, low]).await;
            }
            _ => {}
        }
        got.push(message);
    }
    got
}

#[tokio::test]
async fn what_waits_for_an_absent_client_survives_a_restart_in_order_and_comes_once() {
    let rig = Rig::start().await;
    let absent = subscriber(&rig).await;
    leave(&rig, absent).await;
    let mut publisher = rig.client("publisher").await;
    let flags = |number: u16| if number.is_multiple_of(3) { 4 } else { 2 };
    for number in 1..=300_u16 {
        publisher.send(&publish(flags(number), "t/a", number, &number.to_be_bytes())).await;
    }
    publisher.send(&publish(0, "t/a", 0, b"with QoS 0 it is not kept")).await;
    for _ in 0..300 {
        publisher.next().await.unwrap();
    }
    assert_eq!(rig.store.awaiting("subscriber").await.unwrap().len(), 300, "acknowledged before it was kept");

    let rig = Plan::default().start_in(rig.stop().await).await;
    let mut client = back(&rig).await;
    for (got, number) in take(&mut client, 300).await.into_iter().zip(1_u16..) {
        assert_eq!((got.flags, got.payload), (flags(number), number.to_be_bytes().to_vec()), "{number}");
    }
    assert!(client.is_quiet().await);
    on_disk(&rig, 0).await;
    let rig = Plan::default().start_in(rig.stop().await).await;
    assert!(back(&rig).await.is_quiet().await, "a message came twice");
}

#[tokio::test]
async fn a_publisher_waits_for_the_disk_only_when_a_persistent_subscriber_is_not_quicker() {
    let rig = slow_disk().await;
    let mut client = subscriber(&rig).await;
    let mut publisher = rig.client("publisher").await;
    let start = Instant::now();
    // It keeps up: no disk is needed.
    for number in 1..=20 {
        publisher.send(&publish(2, "t/a", number, b"x")).await;
        take(&mut client, 1).await;
        assert_eq!(publisher.next().await, Some((0x40, number.to_be_bytes().to_vec())));
    }
    assert!(start.elapsed() < SLOW / 2, "{:?}", start.elapsed());
    assert_eq!(rig.store.awaiting("subscriber").await.unwrap(), []);
    // It does not: the disk vouches for it. Somebody with a clean session is not waited for.
    let mut fleeting = rig.client("fleeting").await;
    fleeting.subscribe("t/#", 1).await;
    publisher.send(&publish(2, "t/a", 21, b"kept")).await;
    assert_eq!(fleeting.got().await.payload, b"kept");
    assert_eq!(client.got().await.payload, b"kept");
    assert_eq!(publisher.next().await, Some((0x40, vec![0, 21])));
    assert_eq!(on_disk(&rig, 1).await[0].message.payload, b"kept"[..]);
}

#[tokio::test]
async fn a_persistent_subscription_is_on_the_disk_before_its_suback_and_works_at_once() {
    let rig = slow_disk().await;
    let mut client = rig.raw().await;
    client.connect("subscriber", false).await;
    while rig.store.sessions().await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let start = Instant::now();
    client.send(&packet(0x82, &[&[0, 9][..], &text("t/#"), &[1]].concat())).await;
    client.ping().await;
    rig.handle.publish(&Message::new(Topic::parse("t/a").unwrap(), "x", QoS::AtMostOnce));
    assert_eq!(client.got().await.payload, b"x");
    assert!(start.elapsed() < SLOW / 2, "{:?}", start.elapsed());
    assert_eq!(client.next().await, Some((0x90, vec![0, 9, 1])));
    assert!(start.elapsed() > SLOW / 2, "answered before the disk knew");
}

#[tokio::test]
async fn a_session_that_was_to_end_with_its_connection_is_on_the_disk_before_a_connack_that_keeps_it() {
    let rig = slow_disk().await;
    let mut first = rig.raw().await;
    first.connect("first", false).await;
    let mut fleeting = rig.raw().await;
    fleeting.connect("subscriber", true).await;
    fleeting.subscribe("t/kept", 1).await;
    // The next commit is far away.
    while rig.store.sessions().await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let start = Instant::now();
    let _keeping = back(&rig).await;
    assert!(start.elapsed() > SLOW / 2, "answered before the disk knew");
    let known = rig.store.sessions().await.unwrap();
    let (_, state) = known.iter().find(|(client, _)| client == "subscriber").expect("it is on the disk");
    assert!(String::from_utf8_lossy(&state.bytes).contains("t/kept"));
}

#[tokio::test]
async fn a_session_that_is_to_end_with_its_connection_now_is_forgotten_before_connack() {
    let rig = slow_disk().await;
    let mut lasting = rig.raw().await;
    lasting.connect5("subscriber", true, 3_600).await;
    lasting.subscribe5("t/a", 1).await;
    assert_eq!(rig.store.sessions().await.unwrap().len(), 1);
    let start = Instant::now();
    let mut brief = rig.raw().await;
    brief.connect5("subscriber", false, 0).await;
    assert!(start.elapsed() > SLOW / 2, "answered before the disk knew");
    assert!(rig.store.sessions().await.unwrap().is_empty(), "a power cut would bring it back");
}

#[tokio::test]
async fn a_message_on_its_way_comes_again_with_its_own_packet_id_after_a_restart() {
    let rig = Rig::start().await;
    let mut client = subscriber(&rig).await;
    let mut publisher = rig.client("publisher").await;
    for (number, flags) in [(1, 2), (2, 4), (3, 4)] {
        publisher.send(&publish(flags, "t/a", number, &number.to_be_bytes())).await;
    }
    let sent = [client.got().await, client.got().await, client.got().await];
    // The third is received by the client, and PUBREL comes when the disk knows that.
    on_disk(&rig, 3).await;
    let third = packet(0x50, &sent[2].id.to_be_bytes());
    client.send(&third).await;
    assert_eq!(client.next().await, Some((0x62, sent[2].id.to_be_bytes().to_vec())));
    assert!(on_disk(&rig, 3).await[2].is_released);

    let rig = Plan::default().start_in(rig.stop().await).await;
    let mut client = back(&rig).await;
    for old in &sent[..2] {
        let again = client.got().await;
        assert_eq!((again.flags, again.id, &again.payload), (old.flags | 8, old.id, &old.payload));
    }
    assert_eq!(client.next().await, Some((0x62, sent[2].id.to_be_bytes().to_vec())), "PUBREL comes again");
    client.send(&packet(0x70, &sent[2].id.to_be_bytes())).await;
    // What is new has an id that the client has not seen lately.
    rig.handle.publish(&Message::new(Topic::parse("t/b").unwrap(), "new", QoS::AtLeastOnce));
    let new = client.got().await;
    assert!(new.flags == 2 && sent.iter().all(|old| old.id != new.id), "{new:?}");
    on_disk(&rig, 3).await;
}

#[tokio::test]
async fn a_qos_2_message_from_a_client_is_not_taken_twice_over_a_restart() {
    let rig = Rig::start().await;
    let mut publisher = rig.raw().await;
    publisher.connect("publisher", false).await;
    publisher.send(&publish(4, "up/a", 5, b"once")).await;
    assert_eq!(publisher.next().await, Some((0x50, vec![0, 5])));
    let rig = Plan::default().start_in(rig.stop().await).await;
    let mut publisher = rig.raw().await;
    assert!(publisher.connect("publisher", false).await);
    publisher.send(&publish(12, "up/a", 5, b"once")).await;
    assert_eq!(publisher.next().await, Some((0x50, vec![0, 5])));
    publisher.send(&[0x62, 2, 0, 5]).await;
    assert_eq!(publisher.next().await, Some((0x70, vec![0, 5])));
    assert_eq!(rig.store.pending(0, 10, 1 << 20).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_disk_in_trouble_holds_no_acknowledgement_back_for_ever_and_loses_nothing() {
    let rig = Rig::start().await;
    let absent = subscriber(&rig).await;
    leave(&rig, absent).await;
    let directory = rig.directory();
    let other = rusqlite::Connection::open(directory.path().join("store.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut publisher = rig.client("publisher").await;
    publisher.send(&publish(2, "t/a", 1, b"first")).await;
    assert_eq!(publisher.next().await, Some((0x40, vec![0, 1])), "home goes on");
    publisher.send(&publish(2, "t/a", 2, b"second")).await;
    assert_eq!(publisher.next().await, Some((0x40, vec![0, 2])));
    assert_eq!(rig.store.awaiting("subscriber").await.unwrap(), []);
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(on_disk(&rig, 2).await[1].message.payload, b"second"[..], "the disk is well again");
    assert_eq!(take(&mut back(&rig).await, 2).await[0].payload, b"first");
}

#[tokio::test]
async fn a_session_goes_on_expiring_while_the_gateway_is_down_and_takes_its_messages_along() {
    let rig = Rig::start().await;
    let mut client = rig.raw().await;
    client.send(&connect5("subscriber", 0, &[0x11, 0, 0, 0, 2], &[])).await;
    client.next().await.unwrap();
    client.send(&packet(0x82, &[&[0, 9, 0][..], &text("t/#"), &[1]].concat())).await;
    client.next().await.unwrap();
    leave(&rig, client).await;
    rig.handle.publish(&Message::new(Topic::parse("t/a").unwrap(), "x", QoS::AtLeastOnce));
    on_disk(&rig, 1).await;
    let directory = rig.stop().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let rig = Plan::default().start_in(directory).await;
    on_disk(&rig, 0).await;
    assert!(rig.store.sessions().await.unwrap().is_empty());
    let mut client = rig.raw().await;
    assert!(!client.connect("subscriber", false).await, "the session is over");
}

#[tokio::test]
async fn a_clean_start_forgets_what_waited_on_the_disk_too() {
    let rig = Rig::start().await;
    let absent = subscriber(&rig).await;
    leave(&rig, absent).await;
    rig.handle.publish(&Message::new(Topic::parse("t/a").unwrap(), "old", QoS::AtLeastOnce));
    on_disk(&rig, 1).await;
    let mut client = rig.raw().await;
    assert!(!client.connect("subscriber", true).await);
    on_disk(&rig, 0).await;
    let rig = Plan::default().start_in(rig.stop().await).await;
    let mut client = rig.raw().await;
    assert!(!client.connect("subscriber", false).await);
    assert!(client.is_quiet().await);
}

#[tokio::test]
async fn pubrel_goes_out_in_the_order_of_pubrec_also_when_the_disk_is_to_know_only_of_the_first() {
    let rig = slow_disk().await;
    let absent = subscriber(&rig).await;
    leave(&rig, absent).await;
    let say = |text: &'static str| {
        rig.handle.publish(&Message::new(Topic::parse("t/a").unwrap(), text, QoS::ExactlyOnce));
    };
    say("while it was away");
    on_disk(&rig, 1).await;
    let mut client = back(&rig).await;
    let first = client.got().await;
    client.send(&packet(0x50, &first.id.to_be_bytes())).await;
    // Many clients give a message out when it is released: this one must not overtake the first.
    say("live");
    let second = client.got().await;
    client.send(&packet(0x50, &second.id.to_be_bytes())).await;
    for got in [first, second] {
        assert_eq!(client.next().await, Some((0x62, got.id.to_be_bytes().to_vec())));
        client.send(&packet(0x70, &got.id.to_be_bytes())).await;
    }
}
