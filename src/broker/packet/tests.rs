//! The rules that one packet can break, and what passes through unchanged.

use proptest::prelude::*;

use super::*;

fn text(text: &[u8]) -> Vec<u8> {
    let mut bytes = (text.len() as u16).to_be_bytes().to_vec();
    bytes.extend_from_slice(text);
    bytes
}

/// A CONNECT's body with an empty list of properties for MQTT 5.
fn connect_body(level: u8, flags: u8, rest: &[&[u8]]) -> Vec<u8> {
    let name = text(if level == 3 { b"MQIsdp" } else { b"MQTT" });
    let properties: &[u8] = if level == 5 { &[0] } else { &[] };
    [&name[..], &[level, flags, 0, 60], properties, &rest.concat()].concat()
}

fn decoded(version: Version, first: u8, body: &[u8]) -> Result<Packet, Reason> {
    decode(version, first, body.into(), &mut TheirAliases::new(ALIASES)).map_err(|error| error.reason)
}

#[test]
fn connect_is_read_in_all_three_versions() {
    for (level, version) in [(3, Version::V31), (4, Version::V311), (5, Version::V5)] {
        let empty: &[u8] = if level == 5 { &[0] } else { &[] };
        let body = connect_body(
            level,
            0xEE,
            &[&text(b"id"), empty, &text(b"w/t"), &text(b"bye"), &text(b"u"), &text(b"p")],
        );
        let read = connect(0x10, &body).unwrap();
        assert_eq!((read.version, read.is_clean, read.keep_alive.as_secs()), (version, true, 60));
        assert_eq!((read.client_id.as_str(), read.user.as_deref()), ("id", Some("u")));
        assert_eq!(read.password.as_deref(), Some(&b"p"[..]));
        let will = read.will.unwrap().message;
        assert_eq!((will.topic.as_str(), will.qos, will.retain), ("w/t", QoS::AtLeastOnce, true));
    }
}

#[test]
fn connects_that_break_a_rule_are_refused() {
    let id = text(b"id");
    let malformed = Reason::MalformedPacket;
    for (what, body, reason) in [
        ("reserved flag", connect_body(4, 0x03, &[&id]), malformed),
        ("will QoS 3", connect_body(4, 0x1E, &[&id, &text(b"w"), &text(b"m")]), malformed),
        ("will QoS without will", connect_body(4, 0x0A, &[&id]), malformed),
        ("will retain without will", connect_body(4, 0x22, &[&id]), malformed),
        ("password without user", connect_body(4, 0x42, &[&id, &text(b"p")]), malformed),
        ("bytes behind", connect_body(4, 0x02, &[&id, b"x"]), malformed),
        ("NUL in the id", connect_body(4, 0x02, &[&text(b"a\0b")]), malformed),
        ("not UTF-8", connect_body(4, 0x02, &[&text(b"a\xFF")]), malformed),
        ("a surrogate", connect_body(4, 0x02, &[&text(b"a\xED\xA0\x80")]), malformed),
        (
            "will wildcard",
            connect_body(4, 0x06, &[&id, &text(b"w/#"), &text(b"m")]),
            Reason::TopicNameInvalid,
        ),
        (
            "will topic empty",
            connect_body(4, 0x06, &[&id, &text(b""), &text(b"m")]),
            Reason::TopicNameInvalid,
        ),
        ("level 6", connect_body(6, 0x02, &[&id]), Reason::UnsupportedVersion),
        ("level 2", connect_body(2, 0x02, &[&id]), Reason::UnsupportedVersion),
        ("other name", [&text(b"HTTP")[..], &[4, 2, 0, 60], &id].concat(), Reason::ProtocolError),
        ("too short", text(b"MQTT"), malformed),
    ] {
        assert_eq!(connect(0x10, &body).map_err(|(_, error)| error.reason), Err(reason), "{what}");
    }
    assert!(connect(0x30, &[]).is_err(), "the first packet is a CONNECT");
}

#[test]
fn connects_of_mqtt_5_obey_the_rules_of_their_properties() {
    let with = |properties: &[u8]| {
        let head = [&text(b"MQTT")[..], &[5, 2, 0, 60, properties.len() as u8]].concat();
        connect(0x10, &[&head[..], properties, &text(b"id")].concat()).map_err(|(_, error)| error.reason)
    };
    let wishes = with(&[0x11, 0, 0, 0, 9, 0x21, 0, 5, 0x27, 0, 0, 1, 0]).unwrap().wishes;
    assert_eq!(wishes.session_expiry, Some(Duration::from_secs(9)));
    assert_eq!((wishes.receive_maximum, wishes.maximum_packet_size), (5, Some(256)));
    assert_eq!(with(&[0x11, 255, 255, 255, 255]).unwrap().wishes.session_expiry, None);
    for (what, properties) in [
        ("twice", &[0x21, 0, 5, 0x21, 0, 5][..]),
        ("receive maximum 0", &[0x21, 0, 0]),
        ("topic alias", &[0x23, 0, 1]),
        ("maximum packet size 0", &[0x27, 0, 0, 0, 0]),
        ("authentication data alone", &[0x16, 0, 1, 9]),
        ("request problem information 2", &[0x17, 2]),
        ("unknown", &[0x7E, 0]),
    ] {
        assert!(with(properties).is_err(), "{what}");
    }
    let password_only = connect_body(5, 0x42, &[&text(b"id"), &text(b"p")]);
    assert!(connect(0x10, &password_only).is_ok(), "MQTT 5 allows a password without a user name");
}

#[test]
fn packets_that_break_a_rule_are_refused() {
    use Version::{V5, V31, V311};
    let name = text(b"a");
    let on = |rest: &[u8]| [&name[..], rest].concat();
    for (what, version, first, body) in [
        ("PUBLISH with QoS 3", V311, 0x36, on(&[0, 1])),
        ("PUBLISH with DUP and QoS 0", V311, 0x38, on(&[])),
        ("PUBLISH with id 0", V311, 0x32, on(&[0, 0])),
        ("PUBLISH to a wildcard", V311, 0x30, text(b"a/#")),
        ("PUBLISH to nothing", V311, 0x30, text(b"")),
        ("PUBLISH with NUL", V311, 0x30, text(b"a\0")),
        ("PUBLISH 5 without properties", V5, 0x30, on(&[])),
        ("PUBLISH 5 with alias 0", V5, 0x30, on(&[3, 0x23, 0, 0])),
        ("PUBLISH 5 with an alias beyond ours", V5, 0x30, on(&[3, 0x23, 0, 33])),
        ("PUBLISH 5 with two aliases", V5, 0x30, on(&[6, 0x23, 0, 1, 0x23, 0, 2])),
        ("PUBLISH 5 with an alias for nothing", V5, 0x30, [&text(b"")[..], &[3, 0x23, 0, 1]].concat()),
        ("PUBLISH 5 to nothing", V5, 0x30, [&text(b"")[..], &[0]].concat()),
        ("PUBLISH 5 with a session expiry", V5, 0x30, on(&[5, 0x11, 0, 0, 0, 1])),
        ("PUBLISH 5 with a subscription id", V5, 0x30, on(&[2, 0x0B, 1])),
        ("PUBLISH 5 answering to a wildcard", V5, 0x30, on(&[5, 8, 0, 2, b'a', b'#'])),
        ("PUBLISH 5 with payload format 2", V5, 0x30, on(&[2, 1, 2])),
        ("SUBSCRIBE with QoS 3", V311, 0x82, [&[0, 1][..], &name, &[3]].concat()),
        ("SUBSCRIBE with reserved bits", V311, 0x82, [&[0, 1][..], &name, &[0x81]].concat()),
        ("SUBSCRIBE with id 0", V311, 0x82, [&[0, 0][..], &name, &[1]].concat()),
        ("SUBSCRIBE to nothing", V311, 0x82, vec![0, 1]),
        ("SUBSCRIBE with wrong flags", V311, 0x80, [&[0, 1][..], &name, &[1]].concat()),
        ("SUBSCRIBE 5 with reserved bits", V5, 0x82, [&[0, 1, 0][..], &name, &[0x41]].concat()),
        ("SUBSCRIBE 5, retain handling 3", V5, 0x82, [&[0, 1, 0][..], &name, &[0x31]].concat()),
        ("SUBSCRIBE 5, two identifiers", V5, 0x82, [&[0, 1, 4, 11, 1, 11, 2][..], &name, &[1]].concat()),
        ("SUBSCRIBE 5, identifier 0", V5, 0x82, [&[0, 1, 2, 11, 0][..], &name, &[1]].concat()),
        ("SUBSCRIBE 5, share and no local", V5, 0x82, [&[0, 1, 0][..], &text(b"$share/g/a"), &[5]].concat()),
        ("UNSUBSCRIBE from nothing", V311, 0xA2, vec![0, 1]),
        ("PUBACK with bytes behind", V311, 0x40, vec![0, 1, 0]),
        ("PUBACK with id 0", V311, 0x40, vec![0, 0]),
        ("PUBACK 5 with an unknown reason", V5, 0x40, vec![0, 1, 0x55]),
        ("PUBREL with wrong flags", V311, 0x60, vec![0, 1]),
        ("PINGREQ with a body", V311, 0xC0, vec![1]),
        ("DISCONNECT with a body", V311, 0xE0, vec![0]),
        ("AUTH", V5, 0xF0, vec![0x18, 0]),
        ("CONNACK", V311, 0x20, vec![0, 0]),
        ("type 0", V311, 0x00, vec![]),
        ("a second CONNECT", V311, 0x10, connect_body(4, 2, &[&name])),
        ("PUBLISH 3.1 to a wildcard", V31, 0x30, text(b"+")),
    ] {
        assert!(decoded(version, first, &body).is_err(), "{what}");
    }
}

#[test]
fn a_message_of_mqtt_5_keeps_its_properties_on_its_way_through() {
    let mut body = text("öl/heizung".as_bytes());
    body.extend([0, 7]);
    let properties = [
        &[0x01, 1, 0x02, 0, 0, 0, 60, 0x03][..],
        &text(b"text/plain"),
        &[0x08],
        &text(b"answer/here"),
        &[0x09],
        &text(&[0, 1, 255]),
        &[0x26],
        &text(b"k"),
        &text(b"1"),
        &[0x26],
        &text(b"k"),
        &text(b"2"),
    ]
    .concat();
    body.push(properties.len() as u8);
    body.extend(&properties);
    body.extend(b"warm");
    let Ok(Packet::Publish(publish)) = decoded(Version::V5, 0x33, &body) else { panic!("it is legal") };
    let mut out = bytes::BytesMut::new();
    let outgoing = Outgoing {
        message: &publish.message,
        qos: QoS::AtLeastOnce,
        retain: true,
        id: 7,
        is_duplicate: false,
        left: Some(Duration::from_millis(59_001)),
        identifiers: &[],
    };
    assert!(Encoder::new(Version::V5).publish(&mut out, outgoing).is_ok());
    assert_eq!(out[..2], [0x33, body.len() as u8]);
    assert_eq!(out[2..], body[..]);
    out.clear();
    assert!(Encoder::new(Version::V311).publish(&mut out, outgoing).is_ok());
    assert_eq!(out[2..], [&text("öl/heizung".as_bytes())[..], &[0, 7], b"warm"].concat());
    out.clear();
    let wishes = Wishes { maximum_packet_size: Some(19), ..Wishes::default() };
    let refused = Encoder::as_wished(Version::V311, &wishes).publish(&mut out, outgoing);
    assert_eq!(refused, Err(TooLarge), "larger than wanted");
    assert!(out.is_empty());
}

#[test]
fn an_alias_is_told_once_and_stands_for_the_topic_from_then_on() {
    let wishes = Wishes { topic_alias_maximum: 1, maximum_packet_size: Some(30), ..Wishes::default() };
    let mut encoder = Encoder::as_wished(Version::V5, &wishes);
    let mut sent = |topic: &str, payload: &'static [u8]| {
        let message = Message::new(Topic::parse(topic).unwrap(), payload, QoS::AtMostOnce);
        let mut out = bytes::BytesMut::new();
        let outgoing = Outgoing {
            message: &message,
            qos: QoS::AtMostOnce,
            retain: false,
            id: 0,
            is_duplicate: false,
            left: None,
            identifiers: &[],
        };
        encoder.publish(&mut out, outgoing).map(|()| out[2..].to_vec())
    };
    let whole = |topic: &[u8], rest: &[u8]| Ok([&text(topic)[..], rest].concat());
    assert_eq!(sent("abc", b"x"), whole(b"abc", b"\0x"), "as short as an alias");
    assert_eq!(
        sent("a/fairly/long/topic", b"text"),
        whole(b"a/fairly/long/topic", b"\0text"),
        "no room for one"
    );
    assert_eq!(sent("a/fairly/long/topic", &[0; 9]), Err(TooLarge));
    assert_eq!(sent("a/long/topic", b"1"), whole(b"a/long/topic", b"\x03\x23\0\x011"));
    assert_eq!(sent("a/long/topic", b"2"), whole(b"", b"\x03\x23\0\x012"));
    assert_eq!(sent("other/topic", b"3"), whole(b"other/topic", b"\x003"), "there is but one");
    assert_eq!(sent("a/long/topic", &[0; 20]).map(|_| ()), Ok(()), "fits by its alias");
}

#[test]
fn reasons_are_told_to_those_who_want_them_and_where_they_fit() {
    let told = |wishes: &Wishes| {
        let (mut out, encoder) = (bytes::BytesMut::new(), Encoder::as_wished(Version::V5, wishes));
        encoder.disconnect(&mut out, Reason::ProtocolError, "a rule");
        encoder.suback(&mut out, 1, &[Err(Reason::NotAuthorized)]).unwrap();
        out.to_vec()
    };
    let silent = [&[0xE0, 1, 0x82][..], &[0x90, 4, 0, 1, 0, 0x87]].concat();
    assert_eq!(told(&Wishes { wants_reasons: false, ..Wishes::default() }), silent);
    assert_eq!(told(&Wishes { maximum_packet_size: Some(10), ..Wishes::default() }), silent);
    let reasons = told(&Wishes::default());
    for text in [&b"\x82\x09\x1F\x00\x06a rule"[..], Reason::NotAuthorized.explanation().as_bytes()] {
        assert!(reasons.windows(text.len()).any(|window| window == text), "{reasons:?}");
    }
    let many = [Ok(QoS::AtMostOnce); 20];
    let narrow =
        Encoder::as_wished(Version::V5, &Wishes { maximum_packet_size: Some(20), ..Wishes::default() });
    let mut out = bytes::BytesMut::new();
    assert_eq!(narrow.suback(&mut out, 1, &many), Err(TooLarge));
    assert!(out.is_empty());
}

#[test]
fn a_length_is_known_before_anything_is_stored() {
    assert_eq!(frame(&[], 100), Ok(Frame::Partial { needed: 2 }));
    assert_eq!(frame(&[0x30, 0x80], 100), Ok(Frame::Partial { needed: 3 }));
    assert_eq!(frame(&[0x30, 5, 1], 100), Ok(Frame::Partial { needed: 7 }));
    assert_eq!(frame(&[0xC0, 0], 100), Ok(Frame::Whole { first: 0xC0, header: 2, length: 0 }));
    assert_eq!(
        frame(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F], 100).map_err(|e| e.reason),
        Err(Reason::PacketTooLarge)
    );
    assert!(frame(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF], 100).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(
        first in any::<u8>(),
        body in prop::collection::vec(any::<u8>(), 0..80),
        version in prop::sample::select(vec![Version::V31, Version::V311, Version::V5]),
    ) {
        let _ = decode(version, first, body.as_slice().into(), &mut TheirAliases::new(ALIASES));
        let _ = connect(0x10, &body);
        let _ = connect(0x10, &[connect_body(5, body.first().copied().unwrap_or(2), &[]), body.clone()].concat());
        let _ = frame(&body, 1000);
    }

    #[test]
    fn a_length_that_was_written_is_read_back(length in 0_usize..268_435_456) {
        let mut out = bytes::BytesMut::new();
        bytes::BufMut::put_u8(&mut out, 0x30);
        super::frame::put_length(&mut out, length);
        prop_assert_eq!(out.len(), 1 + super::frame::length_size(length));
        let whole = out.len() + length;
        let expected = if length == 0 {
            Frame::Whole { first: 0x30, header: 2, length: 0 }
        } else {
            Frame::Partial { needed: whole }
        };
        prop_assert_eq!(frame(&out, usize::MAX).unwrap(), expected);
    }
}
