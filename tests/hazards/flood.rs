//! More than somebody reads.

use crate::{
    raw::{Raw, packet, publish, publish5, text},
    target::{Target, is_ended, publish_all},
};

pub async fn a_busy_subscribers_disconnect(at: Target) {
    let mut writer = at.client("writer").await;
    for _ in 0..8 {
        // Behind in its reading by more than the kernel holds, so that the broker has messages in its hand.
        let mut busy = at.client("busy").await;
        busy.subscribe("flood", 0).await;
        publish_all(&mut writer, 1_000, 50, |_, id| publish(2, "flood", id, &[0; 10_000])).await;
        busy.send(&[0xE0, 0]).await;
        assert!(is_ended(&mut busy).await, "DISCONNECT does not end its client");
    }
    for qos in [1, 2] {
        let mut busy = at.client("busy").await;
        busy.subscribe("flood", qos).await;
        let leaving = async {
            busy.got().await;
            busy.send(&[0xE0, 0]).await;
            assert!(is_ended(&mut busy).await, "DISCONNECT does not end its client");
        };
        let flood = publish_all(&mut writer, 3_000, 300, |_, id| publish(2, "flood", id, &[0; 100]));
        tokio::join!(flood, leaving);
    }
}

/// What it costs is measured from inside, in `tests/broker/hostile.rs`.
pub async fn a_subscriber_that_never_reads(at: Target) {
    let mut deaf = Vec::new();
    for qos in [0, 1, 2] {
        let mut client = at.client(&format!("deaf{qos}")).await;
        client.send(&packet(0x82, &[&[0, 9][..], &text("flood"), &[qos]].concat())).await;
        deaf.push(client);
    }
    let mut writer = at.client("writer").await;
    for _ in 0..4 {
        publish_all(&mut writer, 500, 50, |_, id| publish(2, "flood", id, &[7; 10_000])).await;
        at.others_are_well().await;
    }
    // And they can still come back to their senses.
    for client in &mut deaf {
        let (first, _) = client.next().await.expect("SUBACK");
        assert_eq!(first, 0x90, "no SUBACK");
        assert_eq!(client.got().await.payload.len(), 10_000);
    }
}

pub async fn payloads_of_ten_megabytes(at: Target) {
    let payload = vec![7; 10 << 20];
    let mut reader = at.client("reader").await;
    reader.subscribe("large", 0).await;
    for flags in [0, 2] {
        let mut hostile = at.client("hostile").await;
        let mut hostile5 = at.client5("hostile5").await;
        // A broker that refuses it from its length reads no further.
        hostile.send(&publish(flags, "large", 1, &payload)).await;
        hostile5.send(&publish5(flags, "large", 1, &[], &payload)).await;
        assert!(is_refused(&mut hostile).await, "3.1.1: taken");
        assert!(is_refused(&mut hostile5).await, "MQTT 5: taken");
    }
    assert!(reader.is_quiet().await, "it was delivered");
}

/// Ended, with "packet too large" or without a word.
async fn is_refused(raw: &mut Raw) -> bool {
    match raw.next().await {
        None => true,
        Some((0xE0, body)) => body.first() == Some(&0x95) && is_ended(raw).await,
        Some(_) => false,
    }
}
