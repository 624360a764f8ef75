//! PUBLISH in and out: as the local broker reads and writes it, and as the link does.

use std::{hint::black_box, sync::Arc};

use bytes::{Bytes, BytesMut};
use hearthlink::{
    broker::parts::{Codec, Protocol},
    link,
    model::{Message, MessageId, Properties, QoS, Topic},
};

use super::part::{Part, Work};

pub const PARTS: &[Part] = &[
    Part::pure("packet/decode/3.1.1", || decode(Protocol::V311, false)),
    Part::pure("packet/decode/5", || decode(Protocol::V5, false)),
    Part::pure("packet/decode/5 with properties", || decode(Protocol::V5, true)),
    Part::pure("packet/encode/3.1.1", || encode(Protocol::V311, false)),
    Part::pure("packet/encode/5", || encode(Protocol::V5, false)),
    Part::pure("packet/encode/5 with properties", || encode(Protocol::V5, true)),
    Part::pure("link/decode/3.1.1", || link_decode(false)),
    Part::pure("link/decode/5", || link_decode(true)),
    Part::pure("link/encode/3.1.1", || link_encode(false)),
    Part::pure("link/encode/5", || link_encode(true)),
];

/// A reading as a sensor sends it: 80 bytes of JSON, QoS 1.
pub fn reading(has_properties: bool) -> Message {
    let topic = Topic::parse("zigbee2mqtt/living-room-climate").expect("a topic");
    let payload = Bytes::from_static(
        br#"{"battery":87,"humidity":48.31,"linkquality":112,"temperature":21.42,"v":3000}  "#,
    );
    let mut message = Message::new(topic, payload, QoS::AtLeastOnce);
    if has_properties {
        message.properties = Some(Arc::new(Properties {
            content_type: Some("application/json".to_owned()),
            user: vec![("room".to_owned(), "living-room".to_owned())],
            ..Properties::default()
        }));
    }
    message
}

fn decode(protocol: Protocol, has_properties: bool) -> Box<dyn Work> {
    let message = reading(has_properties);
    let mut codec = Codec::new(protocol);
    let packet = codec.encode(&message, 7).to_vec();
    Box::new(move || {
        let read = codec.decode(black_box(&packet)).expect("it was just written");
        assert_eq!(read.payload.len(), message.payload.len());
    })
}

fn encode(protocol: Protocol, has_properties: bool) -> Box<dyn Work> {
    let message = reading(has_properties);
    let mut codec = Codec::new(protocol);
    Box::new(move || {
        assert!(codec.encode(black_box(&message), 7).len() > message.payload.len());
    })
}

fn link_encode(is_five: bool) -> Box<dyn Work> {
    let (message, id) = (reading(false), MessageId::new("home", 4_711));
    let mut out = BytesMut::new();
    Box::new(move || {
        out.clear();
        assert!(link::parts::encode(is_five, black_box(&message).clone(), id.clone(), 7, &mut out));
    })
}

/// With the copy of the packet into the buffer, as a socket makes one.
fn link_decode(is_five: bool) -> Box<dyn Work> {
    let mut packet = BytesMut::new();
    assert!(link::parts::encode(is_five, reading(false), MessageId::new("home", 4_711), 7, &mut packet));
    let mut read = BytesMut::new();
    Box::new(move || {
        read.extend_from_slice(black_box(&packet));
        link::parts::decode(is_five, &mut read).expect("it was just written");
    })
}
