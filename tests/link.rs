//! The link against clouds that we did not write (rumqttd behind the demonstration's front) and
//! against a scripted one for what no broker can be made to do.
#![cfg(feature = "demo")]

mod support {
    pub mod gateway;
    pub mod peer;
    #[allow(dead_code, reason = "the rest is used in tests/broker")]
    pub mod raw;
}

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use hearthlink::{
    clock::Clock,
    demo::{
        certificates::{Authority, Validity},
        cloud::{Cloud, CloudOptions, Dialect},
    },
    health::LineHistoryReport,
    link::{CloudLimits, LinkOptions, Versions},
    model::{Fault, FaultKind, LinkState, Message, Properties, QoS, Staleness, Timestamp},
};
use support::{
    gateway::{Gateway, Papers, Watcher, topic},
    peer::{CONNACK, CONNECT, DISCONNECT, PUBACK, Peer, puback, puback_with},
};
use tokio::time::sleep;

async fn cloud(papers: &Papers, dialect: Dialect) -> Cloud {
    let options = CloudOptions {
        certificate: papers.server.certificate.clone(),
        key: papers.server.key.clone(),
        client_ca: papers.ca.clone(),
        address: ([127, 0, 0, 1], 0).into(),
        dialect,
    };
    Cloud::start(options).await.unwrap()
}

/// The fault of a link with these options, and that it really stays down.
async fn fault_of(options: LinkOptions) -> Fault {
    let gateway = Gateway::start(options);
    let fault = gateway.until_fault().await;
    assert_eq!(gateway.board.snapshot().counters.connects, 0);
    gateway.stop().await;
    fault
}

#[tokio::test(flavor = "multi_thread")]
async fn readings_reach_the_cloud_in_order_and_commands_come_back_over_mqtt_5() {
    let papers = Papers::new();
    let cloud = cloud(&papers, Dialect::Mqtt5).await;
    let watcher = Watcher::start(cloud.broker_address()).await;
    let mut gateway = Gateway::start(papers.options(&cloud.url()));
    let report = gateway.until_online().await;
    assert_eq!(report.protocol, Some("MQTT 5"));
    assert!(report.connected_since.is_some());
    for number in 0..200 {
        gateway.append(&number.to_string()).await;
    }
    gateway.until_empty().await;
    watcher.until("all readings", |watcher| watcher.on("h/g/toaster").len() >= 200).await;
    let expected: Vec<String> = (0..200).map(|number: u32| number.to_string()).collect();
    assert_eq!(watcher.on("h/g/toaster"), expected);

    watcher.command("ON").await;
    let inbound = gateway.receive().await;
    assert_eq!((&inbound.message.payload[..], inbound.staleness), (&b"ON"[..], Staleness::Live));
    inbound.ack.send();

    gateway.stop().await;
    watcher.until("farewell", |watcher| watcher.on("h/g/bridge/state") == ["online", "offline"]).await;
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_without_mqtt_5_is_spoken_to_in_3_1_1() {
    let papers = Papers::new();
    let cloud = cloud(&papers, Dialect::Mqtt311).await;
    let gateway = Gateway::start(papers.options(&cloud.url()));
    let report = gateway.until_online().await;
    assert_eq!(report.protocol, Some("MQTT 3.1.1"));
    gateway.append("22.5").await;
    gateway.until_empty().await;
    gateway.stop().await;
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cuts_under_load_lose_nothing() {
    let papers = Papers::new();
    let cloud = cloud(&papers, Dialect::Mqtt5).await;
    let watcher = Watcher::start(cloud.broker_address()).await;
    let gateway = Gateway::start(papers.options(&cloud.url()));
    gateway.until_online().await;
    for number in 0..600 {
        gateway.append(&number.to_string()).await;
        if number % 200 == 100 {
            cloud.line().cut();
            sleep(Duration::from_millis(200)).await;
            cloud.line().restore();
        }
    }
    gateway.until_empty().await;
    let all: BTreeSet<String> = (0..600).map(|number: u32| number.to_string()).collect();
    watcher
        .until("all readings", |watcher| {
            watcher.on("h/g/toaster").into_iter().collect::<BTreeSet<_>>() == all
        })
        .await;
    let counters = gateway.board.snapshot().counters;
    assert!(counters.connects >= 3 && counters.failures >= 3, "{counters:?}");
    gateway.stop().await;
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_board_knows_the_lines_round_trip_bytes_and_outages() {
    let papers = Papers::new();
    let cloud = cloud(&papers, Dialect::Mqtt5).await;
    let gateway = Gateway::start(papers.options(&cloud.url()));
    gateway.until_online().await;
    let past = || gateway.board.snapshot().line_history;
    let first = past();
    assert!(first.round_trip.last.is_some_and(|trip| !trip.is_zero()), "SUBSCRIBE was answered: {first:?}");
    assert_eq!(first.round_trip.points.len(), 1);
    let [start] = &first.outages[..] else { panic!("{:?}", first.outages) };
    assert!(start.to.is_some_and(|to| to >= start.from) && start.fault.is_none(), "{start:?}");
    let sums = |past: &LineHistoryReport| (past.traffic.received_bytes, past.traffic.sent_bytes);
    let ((received, sent), large) = (sums(&first), "x".repeat(50_000));
    // A handshake of TLS with two certificates is no less.
    assert!(received > 500 && sent > 500, "{received} {sent}");
    gateway.append(&large).await;
    gateway.until_empty().await;
    let second = past();
    let grown = (sums(&second).0 - received, sums(&second).1 - sent);
    assert!(grown.1 >= 50_000 && grown.1 < 60_000, "once, with what TLS adds: {grown:?}");
    assert!(grown.0 > 0 && grown.0 < 5_000, "its acknowledgement: {grown:?}");
    let today = second.traffic.days[0];
    assert_eq!((today.received_bytes, today.sent_bytes), sums(&second));

    cloud.line().cut();
    gateway.until("down", |report| report.state == LinkState::Waiting).await;
    let down = past();
    let last = down.outages.last().unwrap();
    assert_eq!((down.outages.len(), last.to), (2, None));
    assert!(last.fault.is_some() && down.round_trip.last.is_none(), "{down:?}");
    cloud.line().restore();
    gateway.until_online().await;
    let up = past();
    assert!(up.outages.len() == 2 && up.outages[1].to.is_some() && up.round_trip.last.is_some(), "{up:?}");
    gateway.stop().await;
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_sent_while_the_line_was_down_may_have_waited_and_a_later_one_is_live() {
    let papers = Papers::new();
    let cloud = cloud(&papers, Dialect::Mqtt5).await;
    let watcher = Watcher::start(cloud.broker_address()).await;
    let mut gateway = Gateway::start(papers.options(&cloud.url()));
    gateway.until_online().await;
    cloud.line().cut();
    gateway.until("down", |report| report.state != LinkState::Online).await;
    // The cloud, too, has to notice that the line is gone before it queues.
    sleep(Duration::from_millis(500)).await;
    watcher.command("while away").await;
    sleep(Duration::from_millis(200)).await;
    cloud.line().restore();
    let waited = gateway.receive().await;
    assert_eq!(
        (&waited.message.payload[..], waited.staleness),
        (&b"while away"[..], Staleness::MayHaveWaited)
    );
    waited.ack.send();
    gateway.until_online().await;
    watcher.command("now").await;
    let live = gateway.receive().await;
    assert_eq!((&live.message.payload[..], live.staleness), (&b"now"[..], Staleness::Live));
    live.ack.send();
    gateway.stop().await;
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_carries_nothing_any_more_is_found_dead_and_dialled_again() {
    let papers = Papers::new();
    let cloud = cloud(&papers, Dialect::Mqtt5).await;
    let mut options = papers.options(&cloud.url());
    options.answer_limit = Duration::from_secs(2);
    let gateway = Gateway::start(options);
    gateway.until_online().await;
    cloud.line().stall();
    let report = gateway.until("down", |report| report.state == LinkState::Waiting).await;
    assert_eq!(report.fault.unwrap().kind, FaultKind::HalfOpen);
    cloud.line().restore();
    gateway.until_online().await;
    gateway.stop().await;
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_certificate_trouble_has_its_own_sentence() {
    let papers = Papers::new();
    let cloud = cloud(&papers, Dialect::Mqtt5).await;

    let other_ca = papers.directory.path().join("other-ca.pem");
    Authority::new("other CA").unwrap().write(&other_ca).unwrap();
    let wrong_ca = fault_of(LinkOptions { ca_file: Some(other_ca), ..papers.options(&cloud.url()) }).await;
    assert_eq!(wrong_ca.kind, FaultKind::ServerCertificateUntrusted);

    let stranger = papers.stranger();
    let unknown = fault_of(LinkOptions {
        certificate_file: Some(stranger.certificate),
        key_file: Some(stranger.key),
        ..papers.options(&cloud.url())
    });
    let unknown = unknown.await;
    assert_eq!(unknown.kind, FaultKind::ClientCertificateRefused);

    let none = LinkOptions { certificate_file: None, key_file: None, ..papers.options(&cloud.url()) };
    assert_eq!(fault_of(none).await.kind, FaultKind::ClientCertificateRefused);
    cloud.stop().await;

    let elsewhere = Peer::bind(&papers.server_for("elsewhere.example", Validity::Now)).await;
    let (wrong_name, _) = tokio::join!(fault_of(papers.options(&elsewhere.url())), elsewhere.accept());
    assert_eq!(wrong_name.kind, FaultKind::ServerNameMismatch);

    let old = Peer::bind(&papers.server_for("localhost", Validity::Expired)).await;
    let (expired, _) = tokio::join!(fault_of(papers.options(&old.url())), old.accept());
    assert_eq!(expired.kind, FaultKind::ServerCertificateExpired);

    let young = Peer::bind(&papers.server_for("localhost", Validity::NotYet)).await;
    let (not_yet, _) = tokio::join!(fault_of(papers.options(&young.url())), young.accept());
    assert_eq!(not_yet.kind, FaultKind::ServerCertificateNotYetValid);

    let faults = [wrong_ca, unknown, wrong_name, expired, not_yet];
    let sentences: BTreeSet<String> = faults.iter().map(|fault| fault.kind.sentence().to_owned()).collect();
    assert_eq!(sentences.len(), faults.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_client_certificate_is_named_over_tls_1_2_and_when_the_alert_is_lost() {
    let papers = Papers::new();
    let stranger = papers.stranger();
    let options = |url: &str| LinkOptions {
        certificate_file: Some(stranger.certificate.clone()),
        key_file: Some(stranger.key.clone()),
        ..papers.options(url)
    };
    let old = Peer::with_clients_of(&papers.server, Some(&papers.ca), &[&rustls::version::TLS12]).await;
    let (fault, _) = tokio::join!(fault_of(options(&old.url())), old.accept());
    assert_eq!(fault.kind, FaultKind::ClientCertificateRefused, "{fault}");

    // A server that takes the certificate in the handshake and then closes without a word.
    let mute = Peer::with_clients_of(&papers.server, Some(&papers.ca), &[&rustls::version::TLS13]).await;
    let close = async {
        let stream = mute.accept_tcp().await;
        stream.set_zero_linger().unwrap();
        let _ = mute.acceptor().accept(stream).await;
    };
    let (fault, ()) = tokio::join!(fault_of(papers.options(&mute.url())), close);
    assert_eq!(fault.kind, FaultKind::ClientCertificateRefused, "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hinders_before_tls_is_told_apart() {
    let papers = Papers::new();
    let nowhere = fault_of(papers.options("wss://nowhere.invalid:8443")).await;
    assert_eq!(nowhere.kind, FaultKind::Dns);

    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let refused = fault_of(papers.options(&format!("wss://127.0.0.1:{port}"))).await;
    assert_eq!(refused.kind, FaultKind::Tcp);

    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = papers.options(&format!("wss://127.0.0.1:{}", silent.local_addr().unwrap().port()));
    options.connect_limit = Duration::from_secs(1);
    assert_eq!(fault_of(options).await.kind, FaultKind::NoAnswer);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_the_upgrade_and_to_connect_is_named() {
    let papers = Papers::new();
    for (status, kind) in [
        (401, FaultKind::Credentials),
        (403, FaultKind::NotAuthorized),
        (404, FaultKind::WrongPath),
        (503, FaultKind::ServerUnavailable),
    ] {
        let peer = Peer::bind(&papers.server).await.refusing(status);
        let (fault, _) = tokio::join!(fault_of(papers.options(&peer.url())), peer.accept());
        assert_eq!(fault.kind, kind, "{status}: {fault}");
    }
    for (code, kind) in [
        (0x85, FaultKind::ClientId),
        (0x86, FaultKind::Credentials),
        (0x87, FaultKind::NotAuthorized),
        (0x88, FaultKind::ServerUnavailable),
        (0x89, FaultKind::ServerUnavailable),
    ] {
        let peer = Peer::bind(&papers.server).await;
        let answer = async {
            let mut session = peer.session().await;
            session.send(&[0x20, 3, 0, code, 0]).await;
            sleep(Duration::from_millis(100)).await;
        };
        let (fault, ()) = tokio::join!(fault_of(papers.options(&peer.url())), answer);
        assert_eq!(fault.kind, kind, "{code:#x}: {fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_refused_by_connack_is_changed_at_once() {
    let papers = Papers::new();
    // In MQTT 5's form, and twice in the form of a 3.1.1 server that then hangs up.
    for refusals in [vec![&[0x20, 3, 0, 0x84, 0][..]], vec![&[0x20, 2, 0, 1][..]; 2]] {
        let peer = Peer::bind(&papers.server).await;
        let gateway = Gateway::start(papers.options(&peer.url()));
        for refusal in refusals {
            let mut session = peer.session().await;
            session.send(refusal).await;
        }
        let mut session = peer.accept().await.unwrap();
        let connect = session.expect(CONNECT).await;
        session.send(&[0x20, 2, 0, 0]).await;
        gateway.until("connected", |report| report.protocol.is_some()).await;
        assert_eq!(&connect[..7], b"\x00\x04MQTT\x04");
        assert_eq!(gateway.report().protocol, Some("MQTT 3.1.1"));
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_subscription_is_shown_with_its_filter() {
    let papers = Papers::new();
    let peer = Peer::bind(&papers.server).await;
    let gateway = Gateway::start(papers.options(&peer.url()));
    let mut session = peer.session().await;
    session.send(&CONNACK).await;
    session.answer_subscriptions(0x87).await;
    let fault = gateway.until_fault().await;
    assert_eq!(fault.kind, FaultKind::SubscriptionRefused);
    assert!(fault.detail.contains("h/g/+/set"), "{fault}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_that_does_not_answer_connect_subscribe_or_ping_is_left() {
    let papers = Papers::new();
    let peer = Peer::bind(&papers.server).await;
    let mut options = papers.options(&peer.url());
    options.connect_limit = Duration::from_secs(2);
    options.answer_limit = Duration::from_secs(1);
    let gateway = Gateway::start(options);
    let no_answer = |report: &hearthlink::health::LinkReport| {
        report.state == LinkState::Waiting
            && report.fault.as_ref().is_some_and(|fault| fault.kind == FaultKind::NoAnswer)
    };
    let _mute = peer.session().await;
    gateway.until("no CONNACK", no_answer).await;

    let mut session = peer.session().await;
    session.send(&CONNACK).await;
    gateway.until("connected", |report| report.state == LinkState::Subscribing).await;
    gateway.until("no SUBACK", no_answer).await;

    let _session = peer.online().await;
    gateway.until_online().await;
    let is_half_open = |report: &hearthlink::health::LinkReport| {
        report.fault.as_ref().is_some_and(|fault| fault.kind == FaultKind::HalfOpen)
    };
    let report = gateway.until("no PINGRESP", is_half_open).await;
    let fault = report.fault.unwrap();
    assert!(fault.detail.contains("PINGREQ"), "{fault}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_refused_for_good_is_dropped_counted_and_does_not_stop_the_others() {
    let papers = Papers::new();
    let peer = Peer::bind(&papers.server).await;
    let gateway = Gateway::start(papers.options(&peer.url()));
    let mut session = peer.online().await;
    gateway.until_online().await;
    gateway.append("bad").await;
    let publish = session.publish().await;
    session.send(&puback_with(publish.packet, 0x87)).await;
    gateway.append("good").await;
    let publish = session.publish().await;
    assert_eq!(publish.payload, b"good");
    session.send(&puback(publish.packet)).await;
    gateway.until_empty().await;
    let stats = gateway.store.stats().borrow().clone();
    assert_eq!((stats.dropped_by_cloud, stats.acknowledged), (1, 1));
    let fault = gateway.report().fault.unwrap();
    assert_eq!(fault.kind, FaultKind::NotAuthorized);
    assert!(fault.detail.contains("h/g/toaster"), "{fault}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_cloud_refuses_is_shown_by_topic_with_reason_and_count() {
    let papers = Papers::new();
    let peer = Peer::bind(&papers.server).await;
    let gateway = Gateway::start(papers.options(&peer.url()));
    let mut session = peer.online().await;
    gateway.until_online().await;
    for (name, reason) in [("h/g/lamp", 0x87), ("h/g/fan", 0x90), ("h/g/lamp", 0x87), ("h/g/toaster", 0)] {
        gateway.append_message(Message::new(topic(name), "x", QoS::AtLeastOnce)).await;
        let publish = session.publish().await;
        assert_eq!(publish.topic, name);
        session.send(&puback_with(publish.packet, reason)).await;
    }
    gateway.until_empty().await;
    let snapshot = gateway.board.snapshot();
    let shown: Vec<_> = snapshot
        .refusals
        .topics
        .iter()
        .map(|refusal| (&*refusal.topic, &*refusal.reason, refusal.count, refusal.dropped))
        .collect();
    assert_eq!(shown, [("h/g/lamp", "not authorized", 2, 2), ("h/g/fan", "topic name invalid", 1, 1)]);
    let sentence = &snapshot.verdict.sentence;
    assert!(sentence.contains("`h/g/lamp`") && sentence.contains("not authorized"), "{sentence}");
    assert_eq!(gateway.store.stats().borrow().dropped_by_cloud, 3);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_beyond_the_limits_of_a_cloud_is_never_sent_in_either_version() {
    for (dialect, version) in [(Dialect::Mqtt5, Versions::V5), (Dialect::Mqtt311, Versions::V311)] {
        let papers = Papers::new();
        let cloud = cloud(&papers, dialect).await;
        let limits = CloudLimits { max_payload: Some(1000), topic_levels: Some(4), ..CloudLimits::default() };
        let options = LinkOptions { limits, version, ..papers.options(&cloud.url()) };
        let gateway = Gateway::start(options);
        gateway.until_online().await;
        gateway.append(&"x".repeat(1001)).await;
        gateway.append_message(Message::new(topic("h/g/a/b/c"), "x", QoS::AtLeastOnce)).await;
        gateway.append(&"x".repeat(1000)).await;
        gateway.until_empty().await;
        let stats = gateway.store.stats().borrow().clone();
        assert_eq!(
            (stats.beyond_limits, stats.dropped_by_cloud, stats.acknowledged),
            (2, 0, 1),
            "{version:?}"
        );
        let snapshot = gateway.board.snapshot();
        let shown: Vec<_> = snapshot.refusals.topics.iter().map(|refusal| &*refusal.topic).collect();
        assert_eq!(shown, ["h/g/a/b/c", "h/g/toaster"]);
        assert_eq!(snapshot.counters.published, 3, "birth, fence and the one that fits");
        gateway.stop().await;
        cloud.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_was_chosen_is_the_only_one_that_is_spoken() {
    let papers = Papers::new();
    for (dialect, version, name) in
        [(Dialect::Mqtt311, Versions::V311, Some("MQTT 3.1.1")), (Dialect::Mqtt311, Versions::V5, None)]
    {
        let cloud = cloud(&papers, dialect).await;
        let gateway = Gateway::start(LinkOptions { version, ..papers.options(&cloud.url()) });
        match name {
            Some(name) => assert_eq!(gateway.until_online().await.protocol, Some(name)),
            None => {
                let tried = |_: &_| gateway.board.snapshot().counters.failures >= 4;
                gateway.until("four attempts", tried).await;
                assert_eq!(gateway.board.snapshot().counters.connects, 0);
            }
        }
        gateway.stop().await;
        cloud.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_that_exceeds_a_quota_is_kept_and_sent_again() {
    let papers = Papers::new();
    let peer = Peer::bind(&papers.server).await;
    let gateway = Gateway::start(papers.options(&peer.url()));
    let mut session = peer.online().await;
    gateway.until_online().await;
    gateway.append("much").await;
    for _ in 0..3 {
        let publish = session.publish().await;
        assert_eq!(publish.payload, b"much");
        session.send(&puback_with(publish.packet, 0x97)).await;
    }
    let publish = session.publish().await;
    session.send(&puback(publish.packet)).await;
    gateway.until_empty().await;
    assert_eq!(gateway.store.stats().borrow().acknowledged, 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_that_the_cloud_answers_with_a_hang_up_does_not_stop_the_queue_for_ever() {
    let papers = Papers::new();
    let peer = Peer::bind(&papers.server).await;
    let gateway = Gateway::start(papers.options(&peer.url()));
    gateway.append("bad").await;
    gateway.append("good").await;
    for _ in 0..4 {
        let mut session = peer.online().await;
        assert_eq!(session.publish().await.payload, b"bad");
        drop(session);
    }
    let mut session = peer.online().await;
    let publish = session.publish().await;
    assert_eq!(publish.payload, b"good");
    session.send(&puback(publish.packet)).await;
    gateway.until_empty().await;
    let stats = gateway.store.stats().borrow().clone();
    assert_eq!((stats.dropped_by_cloud, stats.acknowledged), (1, 1));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_breaks_while_readings_go_out_says_why_it_broke() {
    const ROUNDS: usize = 40;
    let papers = Papers::new();
    let peer = Peer::bind(&papers.server).await;
    let gateway = Gateway::start(papers.options(&peer.url()));
    for number in 0..2 * ROUNDS * 20 {
        gateway.append(&number.to_string()).await;
    }
    for _ in 0..ROUNDS {
        let mut session = peer.online().await;
        let mut acknowledgements = Vec::new();
        for _ in 0..20 {
            acknowledgements.extend(puback(session.publish().await.packet));
        }
        // As many readings go out as the end of the connection comes in.
        session.send(&acknowledgements).await;
        drop(session);
        let fault = gateway.until("down", |report| report.state != LinkState::Online).await.fault;
        assert_ne!(fault.map(|fault| fault.kind), Some(FaultKind::NoAnswer), "nobody was waited for");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_acknowledged_is_sent_again_on_the_next_connection() {
    let papers = Papers::new();
    let peer = Peer::bind(&papers.server).await;
    let gateway = Gateway::start(papers.options(&peer.url()));
    let mut session = peer.online().await;
    gateway.until_online().await;
    for payload in ["a", "b", "c"] {
        gateway.append(payload).await;
    }
    let packets =
        [session.publish().await.packet, session.publish().await.packet, session.publish().await.packet];
    session.send(&puback(packets[1])).await;
    sleep(Duration::from_millis(200)).await;
    drop(session);
    let mut session = peer.online().await;
    for expected in ["a", "c"] {
        let publish = session.publish().await;
        assert_eq!(publish.payload, expected.as_bytes());
        session.send(&puback(publish.packet)).await;
    }
    gateway.until_empty().await;
    assert_eq!(gateway.board.snapshot().counters.resent, 2);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_reading_waited_here_is_taken_from_its_life() {
    let papers = Papers::new();
    let peer = Peer::bind(&papers.server).await;
    let clock = Clock::manual(Timestamp::from_millis(1_790_000_000_000));
    let gateway = Gateway::start_at(papers.options(&peer.url()), clock.clone());
    let expiry = Some(Duration::from_secs(60));
    let mut message = Message::new(topic("h/g/toaster"), "22.5", QoS::AtLeastOnce);
    message.properties = Some(Arc::new(Properties { expiry, ..Properties::default() }));
    gateway.append_message(message).await;
    clock.advance(Duration::from_secs(50));
    // Setting the time changes nothing.
    clock.set(Timestamp::from_millis(0));
    for left in [10, 3] {
        let mut session = peer.online().await;
        let publish = session.publish().await;
        assert_eq!((&publish.payload[..], publish.expiry), (&b"22.5"[..], Some(left)));
        clock.advance(Duration::from_secs(7));
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_acknowledged_in_order_of_receipt_and_only_when_they_are_safe() {
    let papers = Papers::new();
    let peer = Peer::bind(&papers.server).await;
    let mut gateway = Gateway::start(papers.options(&peer.url()));
    let mut session = peer.online().await;
    gateway.until_online().await;
    for packet in [5, 6] {
        session.send_publish("h/g/toaster/set", b"ON", packet).await;
    }
    let (first, second) = (gateway.receive().await, gateway.receive().await);
    second.ack.send();
    sleep(Duration::from_millis(200)).await;
    first.ack.send();
    assert_eq!(&session.expect(PUBACK).await[..2], [0, 5]);
    assert_eq!(&session.expect(PUBACK).await[..2], [0, 6]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_inbox_stops_neither_pings_nor_readings() {
    let papers = Papers::new();
    let peer = Peer::bind(&papers.server).await;
    let mut gateway = Gateway::start(papers.options(&peer.url()));
    let mut session = peer.online().await;
    gateway.until_online().await;
    for packet in 1..=60 {
        session.send_publish("h/g/toaster/set", b"ON", packet).await;
    }
    gateway.append("22.5").await;
    let publish = session.publish().await;
    session.send(&puback(publish.packet)).await;
    assert_eq!(session.read().await.unwrap().0, 0xc0, "a PINGREQ");
    session.send(&[0xd0, 0]).await;
    for packet in 1..=60u16 {
        gateway.receive().await.ack.send();
        assert_eq!(session.expect(PUBACK).await[..2], packet.to_be_bytes());
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_gateway_with_our_client_id_is_named() {
    let papers = Papers::new();
    let peer = Peer::bind(&papers.server).await;
    let gateway = Gateway::start(papers.options(&peer.url()));
    let mut session = peer.online().await;
    gateway.until_online().await;
    session.send(&[0xe0, 2, 0x8e, 0]).await;
    assert_eq!(gateway.until_fault().await.kind, FaultKind::DuplicateClientId);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_publishes_offline_and_disconnects() {
    let papers = Papers::new();
    let peer = Peer::bind(&papers.server).await;
    let gateway = Gateway::start(papers.options(&peer.url()));
    let mut session = peer.online().await;
    gateway.until_online().await;
    let rest = async {
        let farewell = session.publish().await;
        assert_eq!((&farewell.payload[..], farewell.is_retained), (&b"offline"[..], true));
        session.send(&puback(farewell.packet)).await;
        session.expect(DISCONNECT).await;
    };
    tokio::join!(gateway.stop(), rest);
}
