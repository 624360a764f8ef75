//! Who connects, how often, and how it leaves.

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    raw::{Raw, connect, connect5, packet, puback, publish, text},
    target::{Target, is_ended, publish_all},
};

pub async fn client_ids_with_slash_plus_hash_and_dollar(at: Target) {
    let long = "x".repeat(300);
    let ids = ["a/b", "+", "#", "$SYS", "a+b", "a#", "$share/g/x", "a b", "öl/x", &long];
    // Twice each, whatever the broker thinks of it: the second finds what the first has left.
    for id in ids.into_iter().flat_map(|id| [id, id]) {
        let mut raw = at.raw().await;
        raw.send(&connect(id, 2, &[])).await;
        let _ = raw.next().await;
    }
    at.others_are_well().await;
    let mut writer = at.client("writer").await;
    for id in ids {
        let mut first = at.raw().await;
        first.send(&connect(id, 0, &[])).await;
        assert_eq!(first.next().await, Some((0x20, vec![0, 0])), "{id} is not let in");
        first.subscribe("ids", 1).await;
        let mut second = at.raw().await;
        assert!(second.connect(id, false).await, "the session of {id} is lost");
        assert!(is_ended(&mut first).await, "{id} is there twice");
        writer.send(&publish(2, "ids", 1, b"x")).await;
        assert_eq!(writer.next().await, Some((0x40, vec![0, 1])), "no PUBACK");
        let got = second.got().await;
        second.send(&puback(got.id)).await;
        second.send(&packet(0xA2, &[&[0, 3][..], &text("ids")].concat())).await;
        assert_eq!(second.next().await, Some((0xB0, vec![0, 3])), "no UNSUBACK");
    }
}

pub async fn empty_client_ids(at: Target) {
    let (mut one, mut other) = (at.client("").await, at.client("").await);
    one.ping().await;
    other.ping().await;
    let mut refused = at.raw().await;
    refused.send(&connect("", 0, &[])).await;
    assert_eq!(refused.next().await, Some((0x20, vec![0, 2])), "not refused");
    assert!(is_ended(&mut refused).await, "refused and not ended");
    let mut all = Vec::new();
    for is_clean in [true, false, true] {
        let mut client = Raw::to(at.v5).await;
        client.send(&connect5("", if is_clean { 2 } else { 0 }, &[], &[])).await;
        let (first, body) = client.next().await.expect("CONNACK");
        if (first, body[1], is_clean) == (0x20, 0x85, false) {
            // "Client identifier not valid": of no use to the client, but legal.
            continue;
        }
        assert_eq!((first, body[1]), (0x20, 0), "not let in by MQTT 5");
        assert!(body[3..].contains(&0x12), "no assigned client id (MQTT-3.2.2-16)");
        all.push(client);
    }
    for client in &mut all {
        client.ping().await;
    }
}

pub async fn a_second_connect(at: Target) {
    let mut reader = at.client("reader").await;
    let mut client = at.client("client").await;
    client.send(&connect("client", 2, &[])).await;
    assert!(is_ended(&mut client).await, "3.1.1: not ended");
    let mut client = at.client("client").await;
    client.send(&connect("reader", 2, &[])).await;
    assert!(is_ended(&mut client).await, "3.1.1, as another: not ended");
    reader.ping().await;
    let mut client = at.client5("client").await;
    client.send(&connect5("client", 2, &[], &[])).await;
    assert!(is_ended(&mut client).await, "MQTT 5: not ended");
}

pub async fn keep_alive_0(at: Target) {
    let mut patient = at.raw().await;
    patient.send(&packet(0x10, &[&text("MQTT")[..], &[4, 2, 0, 0], &text("patient")].concat())).await;
    assert_eq!(patient.next().await, Some((0x20, vec![0, 0])), "not let in");
    let mut patient5 = Raw::to(at.v5).await;
    patient5.send(&packet(0x10, &[&text("MQTT")[..], &[5, 2, 0, 0, 0], &text("patient5")].concat())).await;
    assert_eq!(patient5.next().await.map(|(first, body)| (first, body[1])), Some((0x20, 0)), "not let in");
    tokio::time::sleep(Duration::from_secs(3)).await;
    patient.ping().await;
    patient5.ping().await;
}

pub async fn an_unsubscribe_of_several_and_of_unknown_filters(at: Target) {
    let filters = [text("a"), text("nobody/asked"), text("b/#"), text("b/+")].concat();
    let mut client = at.client("client").await;
    let mut client5 = at.client5("client5").await;
    for filter in ["a", "b/#", "c"] {
        client.subscribe(filter, 0).await;
        client5.subscribe5(filter, 0).await;
    }
    client.send(&packet(0xA2, &[&[0, 3], &filters[..]].concat())).await;
    assert_eq!(client.next().await, Some((0xB0, vec![0, 3])), "UNSUBACK");
    client5.send(&packet(0xA2, &[&[0, 3, 0], &filters[..]].concat())).await;
    assert_eq!(client5.next().await, Some((0xB0, vec![0, 3, 0, 0, 0x11, 0, 0x11])), "UNSUBACK 5");
    let mut writer = at.client("writer").await;
    for topic in ["a", "b/x", "c"] {
        writer.send(&publish(0, topic, 0, b"x")).await;
    }
    assert_eq!(client.got().await.topic, "c");
    assert_eq!(client5.got().await.topic, "c");
}

/// Connects; whether the broker let it in.
async fn try_connect(at: &Target, id: &str) -> Option<Raw> {
    let mut raw = at.raw().await;
    raw.send(&connect(id, 2, &[])).await;
    match raw.next().await {
        Some((0x20, body)) if body[1] == 0 => Some(raw),
        _ => None,
    }
}

pub async fn the_connection_limit_and_a_refused_client_that_retries(at: Target) {
    let mut clients = Vec::new();
    while clients.len() < at.clients {
        let client = try_connect(&at, &format!("client{}", clients.len())).await;
        clients.push(client.unwrap_or_else(|| panic!("refused below the limit, at {}", clients.len() + 1)));
    }
    for attempt in 1..=30 {
        assert!(try_connect(&at, "more").await.is_none(), "let in beyond the limit, by attempt {attempt}");
    }
    for client in &mut clients {
        client.ping().await;
    }
    // Both ways to go.
    clients.pop().unwrap().send(&[0xE0, 0]).await;
    drop(clients.pop());
    for id in ["more", "most"] {
        let retry = async {
            loop {
                match try_connect(&at, id).await {
                    Some(client) => return client,
                    None => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        };
        let mut client =
            timeout(Duration::from_secs(10), retry).await.expect("the place is never free again");
        client.subscribe("limit", 1).await;
        clients.push(client);
    }
    clients[0].send(&publish(2, "limit", 1, b"x")).await;
    for client in &mut clients[at.clients - 2..] {
        client.got().await;
    }
}

pub async fn strangers_who_leave_and_the_connection_limit(at: Target) {
    for _ in 0..at.clients / 2 {
        drop(at.raw().await);
    }
    let mut clients = Vec::new();
    for number in 0..2 * at.clients {
        clients.extend(try_connect(&at, &format!("client{number}")).await);
    }
    assert_eq!(clients.len(), at.clients, "the limit has moved");
    for client in &mut clients {
        client.ping().await;
    }
}

pub async fn a_client_id_taken_over_a_thousand_times_under_load(at: Target) {
    let stop = CancellationToken::new();
    let load = tokio::spawn({
        let (mut writer, stop) = (at.client("writer").await, stop.clone());
        async move {
            while !stop.is_cancelled() {
                publish_all(&mut writer, 20, 20, |_, id| publish(2, "load", id, &[0; 100])).await;
            }
        }
    });
    let subscribe = packet(0x82, &[&[0, 9][..], &text("load"), &[1]].concat());
    let mut last: Option<Raw> = None;
    for number in 0..1_000 {
        let mut client = at.raw().await;
        // Now and then without the old session: then that has to go too.
        let hello = connect("same", if number % 3 == 0 { 2 } else { 0 }, &[]);
        client.send(&[&hello[..], &subscribe].concat()).await;
        let (first, body) = client.next().await.unwrap_or_else(|| panic!("take-over {number}: not let in"));
        assert_eq!((first, body[1]), (0x20, 0), "take-over {number}: refused");
        if let Some(mut old) = last.replace(client) {
            assert!(is_ended(&mut old).await, "take-over {number}: the old one is still there");
        }
    }
    let mut last = last.unwrap();
    let (mut count, mut granted) = (0, false);
    while count < 200 || !granted {
        match last.next().await.expect("the last one was ended") {
            (0x90, _) => granted = true,
            (_, body) => {
                count += 1;
                // Behind the topic `load`.
                last.send(&packet(0x40, &body[6..8])).await;
            }
        }
    }
    stop.cancel();
    load.await.expect("the load was held up");
}
