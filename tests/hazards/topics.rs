//! Topics and filters that are legal and odd, or illegal.

use crate::{
    raw::{packet, puback, publish, text},
    target::{Target, is_ended},
};

const FILTERS: [&str; 5] = ["öl/heizung", "öl/+", "öl/#", "+/heizung", "#"];

pub async fn a_topic_whose_first_character_is_not_ascii(at: Target) {
    let mut reader = at.client("reader").await;
    reader.subscribe("#", 1).await;
    let mut writer = at.client("writer").await;
    for topic in ["öl/heizung", "öl", "ö", "/öl", "日/本", "🔥/x"] {
        writer.send(&publish(2, topic, 1, b"warm")).await;
        assert_eq!(writer.next().await, Some((0x40, vec![0, 1])), "no PUBACK for {topic}");
        let got = reader.got().await;
        assert_eq!((&got.topic[..], &got.payload[..]), (topic, &b"warm"[..]));
        reader.send(&puback(got.id)).await;
    }
}

pub async fn a_filter_whose_first_character_is_not_ascii(at: Target) {
    let mut writer = at.client("writer").await;
    for filter in FILTERS {
        let mut reader = at.client("reader").await;
        assert_eq!(reader.subscribe(filter, 1).await, 1, "{filter} is refused");
        writer.send(&publish(2, "öl/heizung", 1, b"warm")).await;
        assert_eq!(writer.next().await, Some((0x40, vec![0, 1])), "no PUBACK");
        assert_eq!(reader.got().await.topic, "öl/heizung");
    }
}

pub async fn a_retained_topic_whose_first_character_is_not_ascii(at: Target) {
    let mut writer = at.client("writer").await;
    writer.send(&publish(3, "öl/heizung", 1, b"warm")).await;
    assert_eq!(writer.next().await, Some((0x40, vec![0, 1])), "no PUBACK");
    for filter in FILTERS {
        let mut reader = at.client("reader").await;
        assert_eq!(reader.subscribe(filter, 1).await, 1, "{filter} is refused");
        let got = reader.got().await;
        assert_eq!((&got.topic[..], got.flags), ("öl/heizung", 3), "for {filter}");
    }
}

pub async fn a_publish_to_a_wildcard_topic(at: Target) {
    let mut reader = at.client("reader").await;
    reader.subscribe("a/#", 0).await;
    for topic in ["a/#", "a/+", "a/+/b", "#", "+"] {
        let mut hostile = at.client("hostile").await;
        hostile.send(&publish(2, topic, 1, b"x")).await;
        assert_eq!(hostile.next().await, None, "{topic} does not end its client");
    }
    let mut writer = at.client("writer").await;
    writer.send(&publish(0, "a/b", 0, b"x")).await;
    assert_eq!(reader.got().await.topic, "a/b", "the message to a wildcard was delivered");
}

pub async fn a_subscription_with_a_wildcard_in_the_wrong_place(at: Target) {
    let mut writer = at.client("writer").await;
    for filter in ["a/#/b", "a#", "a+/b", "#/a", "a/#/#"] {
        // Either answer is legal: the one filter is refused, or the client is ended.
        let mut client = at.client("client").await;
        client.send(&packet(0x82, &[&[0, 9][..], &text(filter), &[1]].concat())).await;
        match client.next().await {
            None => continue,
            answer => assert_eq!(answer, Some((0x90, vec![0, 9, 0x80])), "{filter} is not refused"),
        }
        for topic in ["a/x/b", "a/b", "ax/b"] {
            writer.send(&publish(0, topic, 0, b"x")).await;
        }
        writer.ping().await;
        client.ping().await;
    }
}

pub async fn subscriptions_to_sys_and_to_everything(at: Target) {
    let mut reader = at.client("reader").await;
    for filter in ["#", "+/#", "+/x"] {
        reader.subscribe(filter, 0).await;
    }
    // Granted or refused, and what comes of it, is for the broker to decide.
    let mut watcher = at.client("watcher").await;
    watcher.send(&packet(0x82, &[&[0, 9][..], &text("$SYS/#"), &[0]].concat())).await;
    assert!(watcher.next().await.is_some(), "`$SYS/#` ends its client");
    for topic in ["$SYS/x", "$SYS/broker/uptime", "$else/x"] {
        let mut writer = at.client("writer").await;
        writer.send(&publish(0, topic, 0, b"x")).await;
        writer.send(&[0xE0, 0]).await;
        assert!(is_ended(&mut writer).await, "DISCONNECT does not end its client");
    }
    let mut writer = at.client("writer").await;
    writer.send(&publish(0, "plain", 0, b"x")).await;
    assert_eq!(reader.got().await.topic, "plain", "`#` must not match it");
    watcher.send(&[0xC0, 0]).await;
    while watcher.next().await.expect("the watcher was ended").0 != 0xD0 {}
}
