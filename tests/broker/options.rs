//! The subscription options of MQTT 5, on the wire.

use hearthlink::model::{Message, QoS, Topic};

use crate::{
    raw::{Raw, connect5, packet, text},
    rig::Rig,
};

const NO_LOCAL: u8 = 0x04;

async fn client5(rig: &Rig, id: &str) -> Raw {
    let mut raw = rig.raw().await;
    raw.send(&connect5(id, 2, &[], &[])).await;
    assert_eq!(raw.next().await.unwrap().1[1], 0, "refused");
    raw
}

/// PUBLISH with QoS 0 and without properties.
fn publish5(flags: u8, topic: &str, payload: &[u8]) -> Vec<u8> {
    packet(0x30 | flags, &[&text(topic)[..], &[0], payload].concat())
}

#[tokio::test]
async fn a_no_local_subscription_is_sent_what_others_retained_and_not_its_own() {
    let rig = Rig::start().await;
    let mut client = client5(&rig, "client").await;
    client.send(&publish5(1, "r/a-own", b"own")).await;
    client.ping().await;
    let mut other = client5(&rig, "other").await;
    other.send(&publish5(1, "r/b-other", b"other")).await;
    other.ping().await;
    let house = Message::new(Topic::parse("r/c-house").unwrap(), "house", QoS::AtMostOnce);
    rig.handle.publish(&house.retained());

    client.send(&packet(0x82, &[&[0, 9, 0][..], &text("r/+"), &[NO_LOCAL]].concat())).await;
    assert_eq!(client.next().await, Some((0x90, vec![0, 9, 0, 0])));
    for (topic, payload) in [("r/b-other", b"other"), ("r/c-house", b"house")] {
        let expected = publish5(1, topic, payload);
        assert_eq!(client.next().await, Some((0x31, expected[2..].to_vec())), "{topic}");
    }
    client.send(&publish5(1, "r/a-own", b"again")).await;
    assert!(client.is_quiet().await);
}
