//! A cloud that says what no cloud should, or in the wrong moment: each leads to a fault with a name, to a new
//! connection, and to nothing lost. `tests/link.rs` has the rest of the line.
#![cfg(feature = "demo")]

mod support {
    #[allow(dead_code, reason = "the rest is used in tests/link.rs")]
    pub mod gateway;
    #[allow(dead_code, reason = "the rest is used in tests/link.rs")]
    pub mod peer;
    #[allow(dead_code, reason = "the rest is used in tests/broker")]
    pub mod raw;
}

use hearthlink::model::FaultKind;
use support::{
    gateway::{Gateway, Papers},
    peer::{CONNACK, Peer, puback},
};

/// CONNACK of MQTT 5 with a session.
const CONNACK_PRESENT: [u8; 5] = [0x20, 3, 1, 0, 0];

/// Waits for a fault of this kind with these words in its detail.
async fn until_fault(gateway: &Gateway, kind: FaultKind, words: &str) {
    let shows = |report: &hearthlink::health::LinkReport| {
        report.fault.as_ref().is_some_and(|fault| fault.kind == kind && fault.detail.contains(words))
    };
    gateway.until(&format!("{kind:?}: {words}"), shows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_of_what_was_never_sent_ends_the_connection_and_loses_nothing() {
    let papers = Papers::new();
    let peer = Peer::bind(&papers.server).await;
    let gateway = Gateway::start(papers.options(&peer.url()));
    let mut session = peer.online().await;
    gateway.append("22.5").await;
    let publish = session.publish().await;
    session.send(&puback(publish.packet + 7)).await;
    until_fault(&gateway, FaultKind::Protocol, "").await;

    let mut session = peer.online().await;
    let publish = session.publish().await;
    assert_eq!(publish.payload, b"22.5");
    session.send(&puback(publish.packet)).await;
    gateway.until_empty().await;
    let stats = gateway.store.stats().borrow().clone();
    assert_eq!((stats.acknowledged, stats.dropped_by_cloud), (1, 0));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_acknowledgement_is_not_taken_for_that_of_another_message() {
    let papers = Papers::new();
    let peer = Peer::bind(&papers.server).await;
    let gateway = Gateway::start(papers.options(&peer.url()));
    let mut session = peer.online().await;
    gateway.append("first").await;
    gateway.append("second").await;
    let (first, second) = (session.publish().await, session.publish().await);
    assert_eq!((&first.payload[..], &second.payload[..]), (&b"first"[..], &b"second"[..]));
    session.send(&[puback(first.packet), puback(first.packet)].concat()).await;
    until_fault(&gateway, FaultKind::Protocol, "").await;

    let mut session = peer.online().await;
    let publish = session.publish().await;
    assert_eq!(publish.payload, b"second", "only what was not acknowledged comes again");
    session.send(&puback(publish.packet)).await;
    gateway.until_empty().await;
    assert_eq!(gateway.store.stats().borrow().acknowledged, 2);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_comes_and_goes_changes_nothing_about_what_is_sent_again() {
    let papers = Papers::new();
    let peer = Peer::bind(&papers.server).await;
    let gateway = Gateway::start(papers.options(&peer.url()));
    for payload in ["a", "b", "c"] {
        gateway.append(payload).await;
    }
    // With a session, without it though there was one, with one again, which the cloud cannot have.
    for connack in [CONNACK, CONNACK_PRESENT, CONNACK, CONNACK_PRESENT, CONNACK_PRESENT] {
        let mut session = peer.online_with(&connack).await;
        for expected in ["a", "b", "c"] {
            assert_eq!(session.publish().await.payload, expected.as_bytes());
        }
        // A busy cloud, so that nobody suspects the messages.
        session.send(&[0xe0, 2, 0x89, 0]).await;
        until_fault(&gateway, FaultKind::ServerUnavailable, "ServerBusy").await;
    }
    let mut session = peer.online_with(&CONNACK).await;
    for expected in ["a", "b", "c"] {
        let publish = session.publish().await;
        assert_eq!(publish.payload, expected.as_bytes());
        session.send(&puback(publish.packet)).await;
    }
    gateway.until_empty().await;
    assert_eq!(gateway.store.stats().borrow().acknowledged, 3);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_of_connack_has_its_name_and_the_gateway_tries_again() {
    use FaultKind::{
        Banned, ClientId, Credentials, NotAuthorized, Protocol, QuotaExceeded, ServerUnavailable, TooLarge,
    };
    let papers = Papers::new();
    let peer = Peer::bind(&papers.server).await;
    let gateway = Gateway::start(papers.options(&peer.url()));
    gateway.append("22.5").await;
    // Without 0x84, the version, which is answered with the other one: see tests/link.rs.
    for (reason, kind, word) in [
        (0x80, Protocol, "UnspecifiedError"),
        (0x81, Protocol, "MalformedPacket"),
        (0x82, Protocol, "ProtocolError"),
        (0x83, Protocol, "ImplementationSpecificError"),
        (0x85, ClientId, "ClientIdentifierNotValid"),
        (0x86, Credentials, "BadUserNamePassword"),
        (0x87, NotAuthorized, "NotAuthorized"),
        (0x88, ServerUnavailable, "ServerUnavailable"),
        (0x89, ServerUnavailable, "ServerBusy"),
        (0x8a, Banned, "Banned"),
        (0x8c, Credentials, "BadAuthenticationMethod"),
        (0x90, NotAuthorized, "TopicNameInvalid"),
        (0x95, TooLarge, "PacketTooLarge"),
        (0x97, QuotaExceeded, "QuotaExceeded"),
        (0x99, Protocol, "PayloadFormatInvalid"),
        (0x9a, Protocol, "RetainNotSupported"),
        (0x9b, Protocol, "QoSNotSupported"),
        (0x9c, ServerUnavailable, "UseAnotherServer"),
        (0x9d, ServerUnavailable, "ServerMoved"),
        (0x9f, ServerUnavailable, "ConnectionRateExceeded"),
    ] {
        let mut session = peer.session().await;
        session.send(&[0x20, 3, 0, reason, 0]).await;
        until_fault(&gateway, kind, &format!("CONNACK: {word}")).await;
    }
    let mut session = peer.online().await;
    let publish = session.publish().await;
    assert_eq!(publish.payload, b"22.5");
    session.send(&puback(publish.packet)).await;
    gateway.until_empty().await;
    assert_eq!(gateway.store.stats().borrow().acknowledged, 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_reason_of_disconnect_has_its_name_and_what_was_under_way_is_sent_again() {
    use FaultKind::{
        Closed, DuplicateClientId, KeepAlive, NotAuthorized, Protocol, QuotaExceeded, ServerUnavailable,
        TooLarge,
    };
    let papers = Papers::new();
    let peer = Peer::bind(&papers.server).await;
    let gateway = Gateway::start(papers.options(&peer.url()));
    gateway.append("0").await;
    let reasons = [
        (0x00, Closed, "NormalDisconnection"),
        (0x04, Closed, "DisconnectWithWillMessage"),
        (0x80, Closed, "UnspecifiedError"),
        (0x81, Protocol, "MalformedPacket"),
        (0x82, Protocol, "ProtocolError"),
        (0x83, Protocol, "ImplementationSpecificError"),
        (0x87, NotAuthorized, "NotAuthorized"),
        (0x89, ServerUnavailable, "ServerBusy"),
        (0x8b, ServerUnavailable, "ServerShuttingDown"),
        (0x8d, KeepAlive, "KeepAliveTimeout"),
        (0x8e, DuplicateClientId, "SessionTakenOver"),
        (0x8f, NotAuthorized, "TopicFilterInvalid"),
        (0x90, NotAuthorized, "TopicNameInvalid"),
        (0x93, Protocol, "ReceiveMaximumExceeded"),
        (0x94, Protocol, "TopicAliasInvalid"),
        (0x95, TooLarge, "PacketTooLarge"),
        (0x96, QuotaExceeded, "MessageRateTooHigh"),
        (0x97, QuotaExceeded, "QuotaExceeded"),
        (0x98, ServerUnavailable, "AdministrativeAction"),
        (0x99, Protocol, "PayloadFormatInvalid"),
        (0x9a, Protocol, "RetainNotSupported"),
        (0x9b, Protocol, "QoSNotSupported"),
        (0x9c, ServerUnavailable, "UseAnotherServer"),
        (0x9d, ServerUnavailable, "ServerMoved"),
        (0x9e, Protocol, "SharedSubscriptionNotSupported"),
        (0x9f, ServerUnavailable, "ConnectionRateExceeded"),
        (0xa0, ServerUnavailable, "MaximumConnectTime"),
        (0xa1, Protocol, "SubscriptionIdentifiersNotSupported"),
        (0xa2, Protocol, "WildcardSubscriptionsNotSupported"),
    ];
    let mut number = 0u64;
    for (reason, kind, word) in reasons {
        let mut session = peer.online().await;
        // What was under way at the last DISCONNECT; acknowledged now, or its message would come under suspicion.
        let publish = session.publish().await;
        assert_eq!(publish.payload, number.to_string().as_bytes(), "before {word}");
        session.send(&puback(publish.packet)).await;
        number += 1;
        gateway.append(&number.to_string()).await;
        let publish = session.publish().await;
        assert_eq!(publish.payload, number.to_string().as_bytes());
        session.send(&[0xe0, 2, reason, 0]).await;
        until_fault(&gateway, kind, &format!("DISCONNECT: {word}")).await;
    }
    let mut session = peer.online().await;
    let publish = session.publish().await;
    assert_eq!(publish.payload, number.to_string().as_bytes());
    session.send(&puback(publish.packet)).await;
    gateway.until_empty().await;
    let stats = gateway.store.stats().borrow().clone();
    assert_eq!((stats.acknowledged, stats.dropped_by_cloud), (number + 1, 0));
    gateway.stop().await;
}
