//! What is kept for those who come later.

use std::collections::BTreeSet;

use crate::{
    raw::{puback, publish},
    target::{Target, publish_all},
};

pub async fn an_empty_publish_that_is_not_retained(at: Target) {
    let mut writer = at.client("writer").await;
    for (flags, payload) in [(3, &b"kept"[..]), (2, b""), (2, b"passing")] {
        writer.send(&publish(flags, "r/a", 1, payload)).await;
        assert_eq!(writer.next().await, Some((0x40, vec![0, 1])), "no PUBACK");
    }
    let mut late = at.client("late").await;
    late.subscribe("r/+", 0).await;
    let got = late.got_or(|| "the retained message is gone".to_owned()).await;
    assert_eq!((&got.payload[..], got.flags), (&b"kept"[..], 1));
    // Retained, it does delete.
    writer.send(&publish(3, "r/a", 1, b"")).await;
    assert_eq!(writer.next().await, Some((0x40, vec![0, 1])), "no PUBACK");
    let mut later = at.client("later").await;
    later.subscribe("r/+", 0).await;
    assert!(later.is_quiet().await, "the retained message is still there");
}

pub async fn a_repeated_subscription(at: Target) {
    let mut writer = at.client("writer").await;
    publish_all(&mut writer, 1, 1, |_, id| publish(3, "r/a", id, b"kept")).await;
    let mut reader = at.client("reader").await;
    for qos in [0, 1, 0] {
        assert_eq!(reader.subscribe("r/+", qos).await, qos, "not granted");
        let got = reader.got_or(|| format!("not sent for the subscription with QoS {qos}")).await;
        assert_eq!((&got.payload[..], got.flags), (&b"kept"[..], 1 | qos << 1));
        publish_all(&mut writer, 1, 1, |_, id| publish(2, "r/a", id, b"live")).await;
        let live = reader.got().await;
        assert_eq!((&live.payload[..], live.flags), (&b"live"[..], qos << 1), "with the QoS of before");
        for got in [got, live].iter().filter(|got| got.id != 0) {
            reader.send(&puback(got.id)).await;
        }
        assert!(reader.is_quiet().await, "there are two subscriptions now");
    }
}

/// 3 MB, three times what a queue of ours holds.
pub async fn five_thousand_retained_messages_for_one_new_subscriber(at: Target) {
    const COUNT: u32 = 5_000;
    let mut writer = at.client("writer").await;
    publish_all(&mut writer, COUNT, 100, |number, id| {
        publish(3, &format!("many/{number}"), id, &[b'x'; 600])
    })
    .await;
    let mut reader = at.client("reader").await;
    reader.subscribe("many/#", 1).await;
    let mut topics = BTreeSet::new();
    while topics.len() < COUNT as usize {
        if topics.len() % 500 == 0 {
            // While they are on their way, others are not held up.
            at.others_are_well().await;
        }
        let got = reader.got_or(|| format!("only {} of {COUNT} came", topics.len())).await;
        assert_eq!((got.flags, got.payload.len()), (3, 600));
        reader.send(&puback(got.id)).await;
        assert!(topics.insert(got.topic), "one came twice");
    }
    assert!(reader.is_quiet().await);
}
