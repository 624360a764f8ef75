//! What MQTT promises to a client that behaves.

use std::time::Duration;

use hearthlink::{
    broker::{Heard, Limits},
    model::{ClientId, Message, QoS, Topic, TopicFilter},
};

use crate::{
    raw::{Raw, connect, packet, publish, text},
    rig::{Plan, Rig},
};

fn topic(text: &str) -> Topic {
    Topic::parse(text).unwrap()
}

#[tokio::test]
async fn delivered_qos_is_the_lesser_of_both() {
    let rig = Rig::start().await;
    for (published, subscribed) in [(0, 0), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)] {
        let mut subscriber = rig.client("subscriber").await;
        let mut publisher = rig.client("publisher").await;
        assert_eq!(subscriber.subscribe("t", subscribed).await, subscribed);
        publisher.send(&publish(published << 1, "t", 5, b"x")).await;
        let got = subscriber.got().await;
        assert_eq!(got.flags >> 1, published.min(subscribed), "{published} {subscribed}");
        match published {
            1 => assert_eq!(publisher.next().await, Some((0x40, vec![0, 5]))),
            2 => {
                assert_eq!(publisher.next().await, Some((0x50, vec![0, 5])));
                publisher.send(&[0x62, 2, 0, 5]).await;
                assert_eq!(publisher.next().await, Some((0x70, vec![0, 5])));
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn qos_2_is_delivered_once_however_often_it_is_sent() {
    let rig = Rig::start().await;
    let mut subscriber = rig.client("subscriber").await;
    subscriber.subscribe("t", 2).await;
    let mut publisher = rig.raw().await;
    publisher.connect("publisher", false).await;
    publisher.send(&publish(4, "t", 5, b"once")).await;
    assert_eq!(publisher.next().await, Some((0x50, vec![0, 5])));
    // The PUBREC was lost, the connection too.
    drop(publisher);
    let mut publisher = rig.raw().await;
    assert!(publisher.connect("publisher", false).await, "the session is there");
    publisher.send(&publish(12, "t", 5, b"once")).await;
    assert_eq!(publisher.next().await, Some((0x50, vec![0, 5])));
    publisher.send(&[0x62, 2, 0, 5]).await;
    assert_eq!(publisher.next().await, Some((0x70, vec![0, 5])));
    let got = subscriber.got().await;
    assert_eq!((got.flags, got.payload), (4, b"once".to_vec()));
    // Without PUBREC and with a lost connection, the other way.
    drop(subscriber);
    assert!(publisher.is_quiet().await);
    // The id is free again: a new message.
    publisher.send(&publish(4, "t", 5, b"twice")).await;
    assert_eq!(publisher.next().await, Some((0x50, vec![0, 5])));
}

#[tokio::test]
async fn an_absent_persistent_client_gets_what_it_missed_and_what_it_did_not_acknowledge() {
    let rig = Rig::start().await;
    let mut subscriber = rig.raw().await;
    assert!(!subscriber.connect("subscriber", false).await);
    subscriber.subscribe("t/#", 2).await;
    rig.handle.publish(&Message::new(topic("t/1"), "1", QoS::AtLeastOnce));
    rig.handle.publish(&Message::new(topic("t/2"), "2", QoS::ExactlyOnce));
    let (first, second) = (subscriber.got().await, subscriber.got().await);
    subscriber.send(&packet(0x50, &second.id.to_be_bytes())).await;
    assert_eq!(subscriber.next().await, Some((0x62, second.id.to_be_bytes().to_vec())));
    drop(subscriber);
    wait_until_absent(&rig).await;
    assert_eq!(rig.handle.publish(&Message::new(topic("t/3"), "3", QoS::AtLeastOnce)), 1);
    assert_eq!(rig.handle.publish(&Message::new(topic("t/0"), "0", QoS::AtMostOnce)), 0);
    let mut subscriber = rig.raw().await;
    assert!(subscriber.connect("subscriber", false).await);
    let again = subscriber.got().await;
    assert_eq!((again.flags, again.id, again.payload), (0x0A, first.id, b"1".to_vec()), "DUP, same id");
    assert_eq!(subscriber.next().await, Some((0x62, second.id.to_be_bytes().to_vec())), "PUBREL again");
    let missed = subscriber.got().await;
    assert_eq!((missed.flags, missed.payload), (2, b"3".to_vec()));
    subscriber.send(&packet(0x40, &first.id.to_be_bytes())).await;
    subscriber.send(&packet(0x40, &missed.id.to_be_bytes())).await;
    subscriber.send(&packet(0x70, &second.id.to_be_bytes())).await;
    subscriber.ping().await;
    // A clean session forgets everything.
    drop(subscriber);
    let mut subscriber = rig.raw().await;
    assert!(!subscriber.connect("subscriber", true).await);
    assert_eq!(rig.handle.publish(&Message::new(topic("t/4"), "4", QoS::AtLeastOnce)), 0);
}

/// Until the broker has seen that every client is gone.
async fn wait_until_absent(rig: &Rig) {
    for _ in 0..100 {
        let probe = Message::new(topic("t/probe"), "", QoS::AtMostOnce);
        if rig.handle.publish(&probe) == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the broker does not see that its client is gone");
}

#[tokio::test]
async fn retained_messages_follow_the_rules() {
    let rig = Rig::start().await;
    let mut publisher = rig.client("publisher").await;
    publisher.send(&publish(1, "r/a", 0, b"kept")).await;
    publisher.send(&publish(0, "r/a", 0, b"not kept")).await;
    // Empty and not retained: the retained one stays.
    publisher.send(&publish(0, "r/a", 0, b"")).await;
    publisher.send(&publish(1, "r/b", 0, b"kept too")).await;
    publisher.ping().await;
    let mut subscriber = rig.client("subscriber").await;
    subscriber.subscribe("r/+", 0).await;
    let kept = [subscriber.got().await, subscriber.got().await];
    assert_eq!(
        kept.each_ref().map(|got| (got.flags, &got.payload[..])),
        [(1, &b"kept"[..]), (1, b"kept too")]
    );
    // As delivered to who is there already: not "this was kept".
    publisher.send(&publish(1, "r/a", 0, b"new")).await;
    let live = subscriber.got().await;
    assert_eq!((live.flags, live.payload), (0, b"new".to_vec()));
    // A second SUBSCRIBE sends them again, and may change the QoS.
    assert_eq!(subscriber.subscribe("r/+", 1).await, 1);
    assert_eq!(
        (subscriber.got().await.payload, subscriber.got().await.payload),
        (b"new".to_vec(), b"kept too".to_vec())
    );
    // Empty and retained: gone, and live subscribers see the empty message.
    publisher.send(&publish(1, "r/a", 0, b"")).await;
    assert_eq!(subscriber.got().await.payload, b"");
    let mut late = rig.client("late").await;
    late.subscribe("#", 0).await;
    assert_eq!(late.got().await.topic, "r/b");
    assert!(late.is_quiet().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_reaches_a_client_that_reads_as_a_whole() {
    const BURST: u16 = 40_000;
    let rig = Rig::start().await;
    let mut subscriber = rig.client("subscriber").await;
    subscriber.subscribe("burst", 1).await;
    let publisher = rig.client("publisher").await;
    let (mut answers, mut publishes) = publisher.0.into_split();
    // Ten megabytes at once, ten times what its queue holds.
    let sending = tokio::spawn(async move {
        for number in 1..=BURST {
            let packet = publish(2, "burst", number, &[0; 250]);
            tokio::io::AsyncWriteExt::write_all(&mut publishes, &packet).await.unwrap();
        }
        publishes
    });
    let answering = tokio::spawn(async move {
        let mut answer = [0; 4];
        for _ in 0..BURST {
            tokio::io::AsyncReadExt::read_exact(&mut answers, &mut answer).await.unwrap();
        }
    });
    for _ in 0..BURST {
        let got = subscriber.got().await;
        subscriber.send(&packet(0x40, &got.id.to_be_bytes())).await;
    }
    answering.await.unwrap();
    sending.await.unwrap();
}

#[tokio::test]
async fn a_will_is_published_when_a_client_is_lost_and_not_when_it_says_goodbye() {
    let rig = Rig::start().await;
    let mut watcher = rig.client("watcher").await;
    watcher.subscribe("w", 1).await;
    let will = [&text("w")[..], &text("gone")].concat();
    let with_will = |id| connect(id, 2 | 4 | 8 | 32, &[&will]);
    for (how, expected) in [("goodbye", false), ("lost", true), ("taken over", true), ("garbage", true)] {
        let mut client = rig.raw().await;
        client.send(&with_will("client")).await;
        client.next().await.unwrap();
        match how {
            "goodbye" => client.send(&[0xE0, 0]).await,
            "garbage" => client.send(&[0x00, 0x00]).await,
            "taken over" => {
                let mut other = rig.client("client").await;
                assert!(client.hangs_up().await);
                other.send(&[0xE0, 0]).await;
            }
            _ => {}
        }
        drop(client);
        if expected {
            let got = watcher.got().await;
            assert_eq!((&got.topic[..], &got.payload[..], got.flags), ("w", &b"gone"[..], 2), "{how}");
            watcher.send(&packet(0x40, &got.id.to_be_bytes())).await;
        } else {
            assert!(watcher.is_quiet().await, "{how}");
        }
    }
    let mut late = rig.client("late").await;
    late.subscribe("w", 0).await;
    assert_eq!(late.got().await.flags, 1, "the will was to be retained");
}

#[tokio::test]
async fn a_client_whose_filters_overlap_gets_a_message_once_with_the_highest_qos() {
    let rig = Rig::start().await;
    let mut subscriber = rig.client("subscriber").await;
    for (filter, qos) in [("a/#", 0), ("a/+", 1), ("#", 0), ("a/b", 0)] {
        subscriber.subscribe(filter, qos).await;
    }
    assert_eq!(rig.handle.publish(&Message::new(topic("a/b"), "x", QoS::ExactlyOnce)), 1);
    assert_eq!(subscriber.got().await.flags, 2);
    assert!(subscriber.is_quiet().await);
    for filter in ["a/#", "a/+", "nobody/asked", "#"] {
        subscriber.send(&packet(0xA2, &[&[0, 3][..], &text(filter)].concat())).await;
        assert_eq!(subscriber.next().await, Some((0xB0, vec![0, 3])));
    }
    rig.handle.publish(&Message::new(topic("a/c"), "x", QoS::AtMostOnce));
    assert!(subscriber.is_quiet().await);
}

#[tokio::test]
async fn what_a_member_of_a_share_group_leaves_behind_goes_to_the_others() {
    let rig = Rig::start().await;
    let mut leaver = rig.client("leaver").await;
    assert_eq!(leaver.subscribe("$share/group/s/#", 2).await, 2);
    assert_eq!(leaver.subscribe("own", 1).await, 1);
    for (name, qos) in [("s/1", QoS::AtLeastOnce), ("s/2", QoS::ExactlyOnce), ("own", QoS::AtLeastOnce)] {
        rig.handle.publish(&Message::new(topic(name), "x", qos));
        leaver.got().await;
    }
    let mut stayer = rig.client("stayer").await;
    assert_eq!(stayer.subscribe("$share/group/s/#", 2).await, 2);
    let mut other = rig.client("other").await;
    assert_eq!(other.subscribe("$share/another/s/#", 2).await, 2);
    leaver.send(&[0xE0, 0]).await;
    // A QoS 2 message that was sent to one may not be sent to another (MQTT-4.8.2-5).
    assert_eq!(stayer.got().await.topic, "s/1");
    assert!(stayer.is_quiet().await && other.is_quiet().await);
}

#[tokio::test]
async fn a_share_group_divides_the_messages_among_its_members() {
    let rig = Rig::start().await;
    let mut members = Vec::new();
    for number in 0..3 {
        let mut member = rig.client(&format!("member{number}")).await;
        assert_eq!(member.subscribe("$share/group/s/#", 1).await, 1);
        members.push(member);
    }
    let mut plain = rig.client("plain").await;
    plain.subscribe("s/#", 0).await;
    for number in 0..30 {
        let message = Message::new(topic(&format!("s/{number}")), "x", QoS::AtMostOnce);
        assert_eq!(rig.handle.publish(&message), 2);
    }
    for member in &mut members {
        for _ in 0..10 {
            member.got().await;
        }
        assert!(member.is_quiet().await);
    }
    // Those who stay get what the others would have got.
    members.truncate(1);
    tokio::time::sleep(Duration::from_millis(200)).await;
    for _ in 0..10 {
        rig.handle.publish(&Message::new(topic("s/x"), "x", QoS::AtMostOnce));
        members[0].got().await;
    }
    for _ in 0..40 {
        plain.got().await;
    }
}

#[tokio::test]
async fn the_gateway_publishes_and_subscribes_without_a_connection() {
    let rig = Rig::start().await;
    rig.handle.publish(&Message::new(topic("home/plug"), "{}", QoS::AtLeastOnce).retained());
    let mut inbox = rig
        .handle
        .subscribe(&[TopicFilter::parse("home/#").unwrap(), TopicFilter::parse("home/plug/+").unwrap()], 2);
    let Heard { message: kept, publisher, .. } = inbox.recv().await.unwrap();
    assert!(kept.retain && publisher.is_none());
    let mut client = rig.client("plug").await;
    client.send(&publish(3, "home/plug/set", 4, b"ON")).await;
    assert_eq!(client.next().await, Some((0x40, vec![0, 4])));
    let Heard { message, publisher, .. } = inbox.recv().await.unwrap();
    assert_eq!(
        (message.topic.as_str(), &message.payload[..], message.retain),
        ("home/plug/set", &b"ON"[..], false)
    );
    assert_eq!(publisher, Some(ClientId::new("plug")));
    // Full: the newest is dropped, nobody waits.
    for number in 0..5 {
        rig.handle.publish(&Message::new(topic("home/x"), number.to_string(), QoS::AtMostOnce));
    }
    assert_eq!(inbox.recv().await.unwrap().message.payload, "0");
    assert_eq!(inbox.recv().await.unwrap().message.payload, "1");
    drop(inbox);
    assert_eq!(rig.handle.publish(&Message::new(topic("home/x"), "", QoS::AtMostOnce)), 0);
}

#[tokio::test]
async fn the_gateways_own_topics_can_be_read_and_not_written_by_clients() {
    let rig = Rig::start().await;
    rig.handle.publish(&Message::new(topic("home/bridge/state"), "online", QoS::AtMostOnce).retained());
    let mut client = rig.client("client").await;
    client.send(&publish(3, "home/bridge/state", 4, b"offline")).await;
    assert_eq!(client.next().await, Some((0x40, vec![0, 4])), "3.1.1 knows no refusal");
    client.send(&publish(2, "$SYS/uptime", 5, b"0")).await;
    assert_eq!(client.next().await, Some((0x40, vec![0, 5])));
    client.subscribe("home/bridge/#", 0).await;
    assert_eq!(client.got().await.payload, b"online");
    client.subscribe("$SYS/#", 0).await;
    client.subscribe("#", 0).await;
    assert_eq!(client.got().await.topic, "home/bridge/state");
    assert!(client.is_quiet().await);
}

#[tokio::test(start_paused = false)]
async fn silence_beyond_the_keep_alive_ends_a_client_and_keep_alive_0_does_not() {
    let rig = Rig::start().await;
    let with_keep_alive =
        |id: &str, seconds: u8| packet(0x10, &[&text("MQTT")[..], &[4, 2, 0, seconds], &text(id)].concat());
    let mut silent = rig.raw().await;
    silent.send(&with_keep_alive("silent", 1)).await;
    silent.next().await.unwrap();
    let mut patient = rig.raw().await;
    patient.send(&with_keep_alive("patient", 0)).await;
    patient.next().await.unwrap();
    let before = tokio::time::Instant::now();
    assert!(silent.hangs_up().await);
    let after = before.elapsed();
    assert!((1_300..2_500).contains(&after.as_millis()), "{after:?} and not 1.5 s");
    patient.ping().await;
}

#[tokio::test]
async fn every_refusal_has_its_code() {
    let limits = Limits { max_clients: 1, ..Limits::default() };
    let rig = Plan { limits, ..Plan::default() }.start().await;
    let mut old = rig.raw().await;
    old.send(&packet(0x10, &[&text("MQTT")[..], &[2, 2, 0, 60], &text("old")].concat())).await;
    assert_eq!(old.next().await, Some((0x20, vec![0, 1])), "unacceptable protocol version");
    let mut new = rig.raw().await;
    new.send(&packet(0x10, &[&text("MQTT")[..], &[6, 2, 0, 60, 0], &text("new")].concat())).await;
    assert_eq!(new.next().await, Some((0x20, vec![0, 0x84, 0])), "unsupported protocol version");
    let mut three = rig.raw().await;
    three.send(&packet(0x10, &[&text("MQIsdp")[..], &[3, 2, 0, 60], &text("three")].concat())).await;
    assert_eq!(three.next().await, Some((0x20, vec![0, 0])), "MQTT 3.1 is taken");
    // The limit, and the refused one tries again and again.
    for _ in 0..20 {
        let mut more = rig.raw().await;
        more.send(&connect("more", 2, &[])).await;
        assert_eq!(more.next().await, Some((0x20, vec![0, 3])), "server unavailable");
        assert!(more.hangs_up().await);
    }
    // A client may replace itself at the limit, and its place is free when it goes.
    let mut again = rig.client("three").await;
    assert!(three.hangs_up().await);
    again.send(&[0xE0, 0]).await;
    assert!(again.hangs_up().await);
    rig.client("more").await.ping().await;
}

#[tokio::test]
async fn the_gateway_hears_that_a_message_was_sent_before_or_is_to_be_kept() {
    let rig = Rig::start().await;
    let mut inbox = rig.handle.subscribe(&[TopicFilter::parse("home/+/set").unwrap()], 8);
    let mut client = rig.client("phone").await;
    // QoS 1; the same again with DUP, as after a lost PUBACK; and one to be retained.
    for (flags, id, expected) in [(2, 1, (false, false)), (10, 1, (true, false)), (3, 2, (false, true))] {
        client.send(&publish(flags, "home/plug/set", id, b"ON")).await;
        assert_eq!(client.next().await, Some((0x40, id.to_be_bytes().to_vec())));
        let heard = inbox.recv().await.unwrap();
        assert_eq!((heard.is_redelivered, heard.is_to_be_retained), expected, "flags {flags}");
    }
}

#[tokio::test]
async fn a_will_is_bound_by_the_same_rules_as_a_publish() {
    let rig = Rig::start().await;
    for topic in ["home/bridge/state", "$SYS/x"] {
        let mut client = Raw::to(rig.port()).await;
        client.send(&connect("stranger", 0x06, &[&text(topic), &text("offline")])).await;
        // "Not authorized", and the end (MQTT 3.1.1 section 3.2.2.3).
        assert_eq!(client.next().await, Some((0x20, vec![0, 5])), "{topic}");
        assert!(client.hangs_up().await);
    }
}
