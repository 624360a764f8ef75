//! MQTT 5, rule by rule, where the suites of others look and where they do not.

use std::time::Duration;

use hearthlink::{
    broker::Limits,
    model::{Message, QoS, Topic},
};

use crate::{
    raw::{Raw, connect, connect5, packet, publish, publish5, subscribe5, text},
    rig::{Plan, Rig},
};

const CLEAN: u8 = 2;
const WILL: u8 = 4;
const RETAIN: u8 = 32;
/// Session Expiry Interval: an hour.
const HOUR: &[u8] = &[0x11, 0, 0, 0x0E, 0x10];

async fn five(rig: &Rig, id: &str, properties: &[u8]) -> Raw {
    let mut raw = rig.raw().await;
    raw.connect5_with(id, CLEAN, properties, &[]).await;
    raw
}

async fn with_limits(limits: Limits) -> Rig {
    Plan { limits, ..Plan::default() }.start().await
}

fn says(rig: &Rig, topic: &str, payload: &'static str) -> usize {
    rig.handle.publish(&Message::new(Topic::parse(topic).unwrap(), payload, QoS::AtLeastOnce))
}

#[tokio::test]
async fn a_clients_aliases_stand_for_its_topics_as_long_as_it_is_connected() {
    let rig = Rig::start().await;
    let mut watcher = rig.client("watcher").await;
    watcher.subscribe("t/#", 0).await;
    let mut client = rig.raw().await;
    let (_, offered) = client.connect5_with("client", CLEAN, HOUR, &[]).await;
    assert!(offered.windows(3).any(|property| property == [0x22, 0, 32]), "{offered:?}");
    for (topic, alias, means) in [
        ("t/a", 1, "t/a"),
        ("", 1, "t/a"),
        ("t/b", 32, "t/b"),
        ("", 1, "t/a"),
        ("t/c", 1, "t/c"),
        ("", 1, "t/c"),
    ] {
        client.send(&publish5(0, topic, 0, &[0x23, 0, alias], b"x")).await;
        assert_eq!(watcher.got().await.topic, means);
    }
    // A publish that is refused makes its alias known all the same.
    client.send(&publish5(2, "$SYS/x", 1, &[0x23, 0, 2], b"x")).await;
    assert_eq!(client.next().await.unwrap().1[..3], [0, 1, 0x87]);
    client.send(&publish5(2, "", 2, &[0x23, 0, 2], b"x")).await;
    assert_eq!(client.next().await.unwrap().1[..3], [0, 2, 0x87]);
    drop(client);
    for (alias, reason) in [(1, 0x82), (33, 0x94), (0, 0x82)] {
        let mut client = rig.raw().await;
        client.connect5_with("client", 0, HOUR, &[]).await;
        client.send(&publish5(0, "", 0, &[0x23, 0, alias], b"x")).await;
        assert_eq!(client.is_told_why().await.0, reason, "alias {alias}");
    }
}

#[tokio::test]
async fn a_client_that_takes_aliases_is_told_each_topic_once() {
    let rig = Rig::start().await;
    let mut client = five(&rig, "client", &[&[0x22, 0, 2][..], HOUR].concat()).await;
    client.subscribe5_with(&[], &[("home/#", 1)]).await;
    let mut told = Vec::new();
    for topic in ["home/first", "home/second", "home/third", "home/first", "home/second", "home/third"] {
        assert_eq!(says(&rig, topic, "x"), 1);
        let (got, properties) = client.got5().await;
        assert_eq!(got.payload, b"x");
        told.push((got.topic, properties.last().copied()));
    }
    let expected = [
        ("home/first", Some(1)),
        ("home/second", Some(2)),
        ("home/third", None),
        ("", Some(1)),
        ("", Some(2)),
        ("home/third", None),
    ];
    assert_eq!(told, expected.map(|(topic, alias)| (topic.to_owned(), alias)));
    // What is sent again on another connection is sent in full.
    drop(client);
    let mut client = rig.raw().await;
    client.connect5_with("client", 0, HOUR, &[]).await;
    let (got, properties) = client.got5().await;
    assert_eq!((&got.topic[..], got.flags, properties), ("home/first", 0x0A, vec![]));
}

#[tokio::test]
async fn a_client_beyond_the_receive_maximum_is_told_so_and_one_within_it_may_go_on_for_ever() {
    let rig = with_limits(Limits { receive_maximum: 2, ..Limits::default() }).await;
    let mut client = five(&rig, "client", &[]).await;
    for id in 1..20 {
        client.send(&publish5(2, "t", id, &[], b"x")).await;
        assert_eq!(client.next().await.unwrap().0, 0x40);
        client.send(&publish5(4, "t", id, &[], b"x")).await;
        assert_eq!(client.next().await.unwrap().0, 0x50);
        client.send(&packet(0x62, &id.to_be_bytes())).await;
        assert_eq!(client.next().await.unwrap().0, 0x70);
        // Refused: done with PUBREC.
        client.send(&publish5(4, "$SYS/x", id, &[], b"x")).await;
        assert_eq!(client.next().await.unwrap().0, 0x50);
    }
    for id in 1..=3 {
        client.send(&publish5(4, "t", id, &[], b"x")).await;
    }
    assert_eq!(client.next().await, Some((0x50, vec![0, 1])));
    assert_eq!(client.next().await, Some((0x50, vec![0, 2])));
    // Whatever it says by now, it can read why: the connection is not reset under its hands.
    for id in 1..=1_000_u16 {
        client.send(&packet(0x62, &id.to_be_bytes())).await;
    }
    assert_eq!(client.is_told_why().await.0, 0x93);
}

#[tokio::test]
async fn a_client_that_comes_back_gets_no_more_at_a_time_than_it_now_takes() {
    let rig = Rig::start().await;
    let mut client = five(&rig, "client", HOUR).await;
    client.subscribe5_with(&[], &[("t", 1)]).await;
    for payload in ["1", "2", "3"] {
        says(&rig, "t", payload);
        client.got5().await;
    }
    drop(client);
    let mut client = rig.raw().await;
    client.connect5_with("client", 0, &[&[0x21, 0, 1][..], HOUR].concat(), &[]).await;
    for payload in ["1", "2", "3"] {
        let (got, _) = client.got5().await;
        assert_eq!((got.flags, &got.payload[..]), (0x0A, payload.as_bytes()));
        assert!(client.is_quiet().await, "more than one at a time");
        client.send(&packet(0x40, &got.id.to_be_bytes())).await;
    }
    // Those that do not fit any more count as delivered.
    says(&rig, "t", "a message that is too large later");
    let (got, _) = client.got5().await;
    assert_eq!(got.payload.len(), 33);
    drop(client);
    let mut client = rig.raw().await;
    client.connect5_with("client", 0, &[&[0x21, 0, 1, 0x27, 0, 0, 0, 25][..], HOUR].concat(), &[]).await;
    says(&rig, "t", "short");
    assert_eq!(client.got5().await.0.payload, b"short");
}

#[tokio::test]
async fn a_longest_keep_alive_is_told_to_mqtt_5_clients_and_kept() {
    let asks = |seconds: u16| {
        let head = [&text("MQTT")[..], &[5, CLEAN], &seconds.to_be_bytes(), &[0]].concat();
        packet(0x10, &[&head[..], &text("client")].concat())
    };
    let rig =
        with_limits(Limits { longest_keep_alive: Some(Duration::from_secs(1)), ..Limits::default() }).await;
    for seconds in [0, 2, 120] {
        let mut client = rig.raw().await;
        client.send(&asks(seconds)).await;
        let told = client.next().await.unwrap().1;
        assert!(told.windows(3).any(|property| property == [0x13, 0, 1]), "{seconds}: {told:?}");
        if seconds == 0 {
            assert_eq!(client.is_told_why().await.0, 0x8D);
        }
    }
    let mut within = rig.raw().await;
    within.send(&asks(1)).await;
    assert!(!within.next().await.unwrap().1.windows(3).any(|property| property == [0x13, 0, 1]));
    // It cannot be said in 3.1.1.
    let mut old = rig.client("old").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    old.ping().await;
}

#[tokio::test]
async fn a_disconnect_cannot_raise_a_session_expiry_of_zero() {
    let rig = Rig::start().await;
    let mut watcher = rig.client("watcher").await;
    watcher.subscribe("w", 0).await;
    let mut client = rig.raw().await;
    client.connect5_with("client", CLEAN | WILL, &[], &[&[0], &text("w"), &text("gone")]).await;
    client.send(&packet(0xE0, &[&[0, 5][..], HOUR].concat())).await;
    let (reason, text) = client.is_told_why().await;
    assert_eq!(reason, 0x82);
    assert!(text.contains("3.14.2.2.2"), "{text}");
    assert_eq!(watcher.got().await.payload, b"gone", "it was no valid goodbye");
    let mut client = five(&rig, "client", &[0x11, 0, 0, 0, 9]).await;
    client.send(&packet(0xE0, &[&[0, 5][..], HOUR].concat())).await;
    assert!(client.hangs_up().await, "from something to more it may");
}

#[tokio::test]
async fn refusals_say_why_to_those_who_want_to_know() {
    let rig = Rig::start().await;
    for (properties, wants) in [(&[][..], true), (&[0x17, 1], true), (&[0x17, 0], false)] {
        let mut client = five(&rig, "client", properties).await;
        client.send(&subscribe5(&[], &[("a/#/b", 1)])).await;
        let suback = client.next().await.unwrap().1;
        assert_eq!((suback[2] > 0, suback.last()), (wants, Some(&0x8F)), "{suback:?}");
        client.send(&publish5(2, "$SYS/x", 1, &[], b"x")).await;
        let puback = client.next().await.unwrap().1;
        assert_eq!(puback, [0, 1, 0x87], "small clients take no more than four bytes");
        let mut other = five(&rig, "client", &[]).await;
        let (reason, text) = client.is_told_why().await;
        assert_eq!((reason, text.contains("same client id")), (0x8E, wants), "{text}");
        other.send(&[0xE0, 0]).await;
        assert!(other.hangs_up().await);
    }
}

#[tokio::test]
async fn nothing_larger_than_the_client_takes_is_sent() {
    let rig = Rig::start().await;
    let mut client = five(&rig, "client", &[0x27, 0, 0, 0, 30]).await;
    client.subscribe5_with(&[], &[("t", 1)]).await;
    says(&rig, "t", "a message of more than thirty bytes");
    says(&rig, "t", "short");
    let (got, _) = client.got5().await;
    assert_eq!(got.payload, b"short");
    client.send(&packet(0x40, &got.id.to_be_bytes())).await;
    let filters: Vec<(&str, u8)> = [("t", 0); 40].to_vec();
    client.send(&subscribe5(&[], &filters)).await;
    assert_eq!(client.next().await, Some((0xE0, vec![0x95])), "its SUBACK is too large");
    assert!(client.hangs_up().await);
    // Too small for CONNACK: nothing can be said.
    let mut client = rig.raw().await;
    client.send(&connect5("tiny", CLEAN, &[0x27, 0, 0, 0, 10], &[])).await;
    assert!(client.hangs_up().await);
}

#[tokio::test]
async fn extended_authentication_is_refused_by_its_code() {
    let rig = Rig::start().await;
    let method = [&[0x15][..], &text("SCRAM-SHA-256")].concat();
    let mut client = rig.raw().await;
    client.send(&connect5("client", CLEAN, &method, &[])).await;
    let (first, connack) = client.next().await.unwrap();
    assert_eq!((first, &connack[..2]), (0x20, &[0, 0x8C][..]));
    assert!(client.hangs_up().await);
    let mut client = five(&rig, "client", &[]).await;
    client.send(&packet(0xF0, &[&[0x19, method.len() as u8][..], &method].concat())).await;
    assert_eq!(client.is_told_why().await.0, 0x82);
}

#[tokio::test]
async fn a_retained_message_ages_from_its_publication() {
    let rig = Rig::start().await;
    let mut publisher = five(&rig, "publisher", &[]).await;
    publisher.send(&publish5(3, "r/long", 1, &[2, 0, 0, 0, 100], b"x")).await;
    publisher.send(&publish5(3, "r/short", 2, &[2, 0, 0, 0, 1], b"x")).await;
    publisher.next().await.unwrap();
    publisher.next().await.unwrap();
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let mut late = five(&rig, "late", &[]).await;
    late.subscribe5_with(&[], &[("r/+", 1)]).await;
    let (got, properties) = late.got5().await;
    assert_eq!((&got.topic[..], got.flags & 1), ("r/long", 1));
    assert!(properties[..4] == [2, 0, 0, 0] && (50..=98).contains(&properties[4]), "{properties:?}");
    assert!(late.is_quiet().await);
}

#[tokio::test]
async fn a_will_waits_for_its_delay_keeps_its_properties_and_is_not_wanted_when_the_client_is_back() {
    let rig = Rig::start().await;
    let mut watcher = five(&rig, "watcher", &[]).await;
    watcher.subscribe5_with(&[], &[("w", 1)]).await;
    // Delay 1 s, expiry 60 s, text, content type, user property.
    let will = [
        &[0x18, 0, 0, 0, 1, 2, 0, 0, 0, 60, 1, 1, 3][..],
        &text("text/plain"),
        &[0x26],
        &text("k"),
        &text("v"),
    ]
    .concat();
    let rest = [&[will.len() as u8][..], &will, &text("w"), &text("gone")].concat();
    let mut client = rig.raw().await;
    client.connect5_with("client", CLEAN | WILL | 8, HOUR, &[&rest]).await;
    drop(client);
    let mut client = rig.raw().await;
    assert!(client.connect5_with("client", WILL | 8, HOUR, &[&rest]).await.0);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(watcher.is_quiet().await, "it came back in time");
    drop(client);
    let (got, properties) = watcher.got5().await;
    assert_eq!((got.flags, &got.payload[..]), (2, &b"gone"[..]));
    assert!(!properties.contains(&0x18), "the delay is not the subscribers' business");
    for property in [&[2, 0, 0, 0, 60][..], &[1, 1], &[&[3][..], &text("text/plain")].concat()] {
        assert!(properties.windows(property.len()).any(|window| window == property), "{properties:?}");
    }
    // A session that ends ends the waiting.
    let mut client = rig.raw().await;
    client.connect5_with("client", WILL | 8, &[], &[&rest]).await;
    drop(client);
    let before = tokio::time::Instant::now();
    watcher.got5().await;
    assert!(before.elapsed() < Duration::from_millis(900), "{:?}", before.elapsed());
}

#[tokio::test]
async fn one_message_for_several_filters_carries_all_their_identifiers() {
    let rig = Rig::start().await;
    let mut client = five(&rig, "client", &[]).await;
    for (identifier, filter) in [(1, "a/b"), (2, "a/+"), (3, "#"), (4, "elsewhere")] {
        client.subscribe5_with(&[0x0B, identifier], &[(filter, 0)]).await;
    }
    client.subscribe5_with(&[], &[("+/b", 1)]).await;
    assert_eq!(says(&rig, "a/b", "x"), 1);
    let (got, properties) = client.got5().await;
    assert_eq!(got.flags, 2, "the highest QoS");
    let mut identifiers: Vec<u8> = properties.chunks(2).map(|property| property[1]).collect();
    identifiers.sort_unstable();
    assert_eq!(identifiers, [1, 2, 3]);
    assert!(client.is_quiet().await);
}

#[tokio::test]
async fn shared_subscriptions_that_cannot_be_are_refused() {
    let rig = Rig::start().await;
    for filter in ["$share", "$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a", "$share/g#/a"] {
        let mut client = five(&rig, "client", &[]).await;
        client.send(&subscribe5(&[], &[(filter, 1)])).await;
        match client.next().await {
            Some((0x90, suback)) => assert_eq!(suback.last(), Some(&0x8F), "{filter}"),
            Some((0xE0, disconnect)) => assert_eq!(disconnect[0], 0x81, "{filter}"),
            other => panic!("{filter}: {other:?}"),
        }
    }
    let mut client = five(&rig, "client", &[]).await;
    assert_eq!(client.subscribe5_with(&[], &[("$share/g/a", 1)]).await, [1]);
    client.send(&subscribe5(&[], &[("$share/g/b", 1 | 4)])).await;
    assert_eq!(client.is_told_why().await.0, 0x82, "no local");
}

#[tokio::test]
async fn a_will_comes_before_the_first_word_of_whoever_takes_over() {
    let rig = Rig::start().await;
    let mut watcher = rig.client("watcher").await;
    watcher.subscribe("w", 0).await;
    let mut old = rig.raw().await;
    for round in 0..20 {
        let will = [&text("w")[..], &text("gone")].concat();
        let mut new = rig.raw().await;
        new.send(&[connect("client", CLEAN | WILL, &[&will]), publish(0, "w", 0, b"here")].concat()).await;
        if round > 0 {
            assert_eq!(watcher.got().await.payload, b"gone");
            assert!(old.hangs_up().await);
        }
        assert_eq!(watcher.got().await.payload, b"here");
        new.next().await.unwrap();
        old = new;
    }
}

#[tokio::test]
async fn the_wills_of_those_whom_a_stopping_broker_sends_away_are_known_after_it() {
    let rig = Rig::start().await;
    let mut absent = rig.raw().await;
    absent.connect("absent", false).await;
    absent.subscribe("w/#", 1).await;
    let will = [&text("w/client")[..], &text("gone")].concat();
    let mut client = rig.raw().await;
    client.send(&connect("client", CLEAN | WILL | RETAIN, &[&will])).await;
    client.next().await.unwrap();
    // With a delay of an hour: one is connected, one has been lost.
    let (mut connected, mut lost) = (rig.raw().await, rig.raw().await);
    for (client, topic) in [(&mut connected, "w/connected"), (&mut lost, "w/lost")] {
        let rest = [&[5, 0x18, 0, 0, 14, 16][..], &text(topic), &text("gone")].concat();
        client.connect5_with(topic, CLEAN | WILL | RETAIN, HOUR, &[&rest]).await;
    }
    drop(lost);
    while rig.board.snapshot().broker.clients > 2 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let rig = Plan::default().start_in(rig.stop().await).await;
    let mut late = rig.client("late").await;
    late.subscribe("w/#", 0).await;
    for topic in ["w/client", "w/connected", "w/lost"] {
        let got = late.got().await;
        assert_eq!((got.topic.as_str(), &got.payload[..]), (topic, &b"gone"[..]));
    }
}
