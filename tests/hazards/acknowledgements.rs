//! Acknowledgements that nobody asked for, and MQTT 5 properties on their way to 3.1.1.

use crate::{
    raw::{Got, Raw, packet, puback, publish, publish5, text},
    target::{Target, publish_all},
};

/// A subscriber of `t1` with QoS 1 and `t2` with QoS 2, and a publisher.
async fn pair(at: &Target) -> (Raw, Raw) {
    let mut reader = at.client("reader").await;
    assert_eq!(reader.subscribe("t1", 1).await, 1, "not granted QoS 1");
    assert_eq!(reader.subscribe("t2", 2).await, 2, "not granted QoS 2");
    (reader, at.client("writer").await)
}

/// Publishes one message to the reader.
async fn one(reader: &mut Raw, writer: &mut Raw, qos: u8) -> Got {
    writer.send(&publish(qos << 1, &format!("t{qos}"), 7, b"x")).await;
    match qos {
        1 => assert_eq!(writer.next().await, Some((0x40, vec![0, 7])), "no PUBACK"),
        _ => {
            assert_eq!(writer.next().await, Some((0x50, vec![0, 7])), "no PUBREC");
            writer.send(&[0x62, 2, 0, 7]).await;
            assert_eq!(writer.next().await, Some((0x70, vec![0, 7])), "no PUBCOMP");
        }
    }
    let got = reader.got().await;
    assert_eq!(got.flags >> 1, qos, "delivered with another QoS");
    got
}

/// Both kinds still come, and are taken.
async fn still_works(mut reader: Raw, mut writer: Raw) {
    let got = one(&mut reader, &mut writer, 1).await;
    reader.send(&puback(got.id)).await;
    let id = one(&mut reader, &mut writer, 2).await.id.to_be_bytes();
    reader.send(&packet(0x50, &id)).await;
    assert_eq!(reader.next().await, Some((0x62, id.to_vec())), "no PUBREL");
    reader.send(&packet(0x70, &id)).await;
    reader.ping().await;
}

pub async fn acknowledgements_out_of_order(at: Target) {
    let (mut reader, mut writer) = pair(&at).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(one(&mut reader, &mut writer, 1).await.id);
    }
    for id in [ids[2], ids[0], ids[1]] {
        reader.send(&puback(id)).await;
    }
    reader.ping().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(one(&mut reader, &mut writer, 2).await.id.to_be_bytes());
    }
    for kind in [0x50, 0x70] {
        for id in [ids[1], ids[2], ids[0]] {
            reader.send(&packet(kind, &id)).await;
            if kind == 0x50 {
                assert_eq!(reader.next().await, Some((0x62, id.to_vec())), "no PUBREL");
            }
        }
    }
    still_works(reader, writer).await;
}

pub async fn acknowledgements_twice(at: Target) {
    let (mut reader, mut writer) = pair(&at).await;
    let got = one(&mut reader, &mut writer, 1).await;
    reader.send(&[puback(got.id), puback(got.id)].concat()).await;
    reader.ping().await;
    let id = one(&mut reader, &mut writer, 2).await.id.to_be_bytes();
    for _ in 0..2 {
        reader.send(&packet(0x50, &id)).await;
        assert_eq!(reader.next().await, Some((0x62, id.to_vec())), "no PUBREL");
    }
    reader.send(&[packet(0x70, &id), packet(0x70, &id)].concat()).await;
    reader.ping().await;
    // The other way: PUBREL for what is completed.
    writer.send(&[0x62, 2, 0, 7]).await;
    assert_eq!(writer.next().await, Some((0x70, vec![0, 7])), "no PUBCOMP");
    still_works(reader, writer).await;
}

pub async fn acknowledgements_for_nothing(at: Target) {
    let (mut reader, writer) = pair(&at).await;
    for id in [[0, 1], [0x12, 0x34], [0xFF, 0xFF]] {
        reader.send(&packet(0x40, &id)).await;
        reader.send(&packet(0x70, &id)).await;
        reader.ping().await;
        reader.send(&packet(0x62, &id)).await;
        assert_eq!(reader.next().await, Some((0x70, id.to_vec())), "no PUBCOMP");
        // Answered by PUBREL, or not at all: 3.1.1 does not say.
        reader.send(&[&packet(0x50, &id)[..], &[0xC0, 0]].concat()).await;
        let mut answer = reader.next().await;
        if answer == Some((0x62, id.to_vec())) {
            answer = reader.next().await;
        }
        assert_eq!(answer, Some((0xD0, vec![])), "PUBREC for nothing");
    }
    still_works(reader, writer).await;
}

/// Payload format, expiry, content type, response topic, correlation data, a user property.
fn properties() -> Vec<u8> {
    [
        &[1, 1, 2, 0, 0, 1, 0][..],
        &[&[3][..], &text("text/plain")].concat(),
        &[&[8][..], &text("answer")].concat(),
        &[9, 0, 3, 0, 1, 255],
        &[&[0x26][..], &text("room"), &text("attic")].concat(),
    ]
    .concat()
}

async fn reach_both_versions(at: Target, is_retained: bool) {
    let message = publish5(u8::from(is_retained), "t", 0, &properties(), b"22.5");
    // First as it happens: the client that it ended comes back by the same name.
    for _ in 0..2 {
        let mut old = at.client("old0").await;
        old.send(&packet(0x82, &[&[0, 9][..], &text("t"), &[0]].concat())).await;
        let _ = old.next().await;
        at.client5("writer").await.send(&message).await;
        let _ = old.next().await;
    }
    at.others_are_well().await;
    let mut writer = at.client5("writer").await;
    let mut readers = Vec::new();
    let write = async |writer: &mut Raw| {
        let flags = 2 | u8::from(is_retained);
        publish_all(writer, 1, 1, |_, id| publish5(flags, "t", id, &properties(), b"22.5")).await;
    };
    if is_retained {
        write(&mut writer).await;
    }
    for qos in [1, 0] {
        let (mut old, mut new) =
            (at.client(&format!("old{qos}")).await, at.client5(&format!("new{qos}")).await);
        old.subscribe("t", qos).await;
        new.subscribe5("t", qos).await;
        readers.push((old, new));
    }
    if !is_retained {
        write(&mut writer).await;
    }
    for (old, new) in &mut readers {
        let got = old.got().await;
        assert_eq!((&got.topic[..], &got.payload[..]), ("t", &b"22.5"[..]), "3.1.1 has no properties");
        let mut got = new.got().await;
        let properties = got.properties();
        assert!(properties.windows(5).any(|part| part == b"attic"), "the properties are lost");
        assert_eq!((&got.payload[..], got.flags & 1), (&b"22.5"[..], u8::from(is_retained)));
    }
}

pub async fn properties_towards_a_3_1_1_subscriber(at: Target) {
    reach_both_versions(at, false).await;
}

pub async fn retained_properties_towards_a_3_1_1_subscriber(at: Target) {
    reach_both_versions(at, true).await;
}
