//! MQTT as a client sees it: packets out, packets in.

/// A packet from the broker.
#[derive(Debug, PartialEq, Eq)]
pub enum Packet {
    Connack {
        present: bool,
        code: u8,
    },
    Publish(Publish),
    /// First byte's upper half: 4 PUBACK, 5 PUBREC, 6 PUBREL, 7 PUBCOMP.
    Ack {
        kind: u8,
        id: u16,
        code: u8,
    },
    Suback {
        codes: Vec<u8>,
    },
    Unsuback,
    Pong,
    Disconnect,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Publish {
    pub dup: bool,
    pub qos: u8,
    pub retain: bool,
    /// Empty when the alias says it.
    pub topic: String,
    pub alias: Option<u16>,
    pub id: u16,
    pub payload: Vec<u8>,
}

pub fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let (mut out, mut length) = (vec![first], body.len());
    loop {
        let low = (length % 128) as u8;
        length /= 128;
        out.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            break;
        }
    }
    out.extend_from_slice(body);
    out
}

/// Takes a packet off the front; `None`: there is no whole one. Panics when it is none.
pub fn next(input: &mut Vec<u8>, five: bool) -> Option<Packet> {
    let first = *input.first()?;
    let (length, start) = variable(input.get(1..)?)?;
    let whole = 1 + start + length;
    if input.len() < whole {
        return None;
    }
    let bytes: Vec<u8> = input.drain(..whole).collect();
    Some(read(first, &bytes[1 + start..], five))
}

/// A variable byte integer and its own length.
fn variable(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    assert!(bytes.len() < 4, "a remaining length of more than four bytes");
    None
}

fn two(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[0], bytes[1]])
}

fn read(first: u8, body: &[u8], five: bool) -> Packet {
    match first >> 4 {
        2 => Packet::Connack { present: body[0] == 1, code: body[1] },
        3 => Packet::Publish(publish(first, body, five)),
        kind @ 4..=7 => {
            assert_eq!(first & 15, if kind == 6 { 2 } else { 0 });
            assert!(five || body.len() == 2, "a 3.1.1 acknowledgement has two bytes");
            Packet::Ack { kind, id: two(body), code: body.get(2).copied().unwrap_or(0) }
        }
        9 => {
            let skip =
                if five { 2 + variable(&body[2..]).map_or(0, |(length, own)| length + own) } else { 2 };
            Packet::Suback { codes: body[skip..].to_vec() }
        }
        11 => {
            assert!(five || body.len() == 2, "a 3.1.1 UNSUBACK has two bytes");
            Packet::Unsuback
        }
        13 => Packet::Pong,
        14 => {
            assert!(five, "a 3.1.1 server does not send DISCONNECT");
            Packet::Disconnect
        }
        _ => panic!("no server sends {first:02x} {body:02x?}"),
    }
}

fn publish(first: u8, body: &[u8], five: bool) -> Publish {
    let qos = (first >> 1) & 3;
    assert!(qos < 3 && (qos > 0 || first & 8 == 0));
    let length = usize::from(two(body));
    let topic = std::str::from_utf8(&body[2..2 + length]).expect("UTF-8").to_owned();
    let mut rest = &body[2 + length..];
    let mut id = 0;
    if qos > 0 {
        id = two(rest);
        assert_ne!(id, 0, "a packet id is not zero");
        rest = &rest[2..];
    }
    let mut alias = None;
    if five {
        let (length, own) = variable(rest).expect("properties");
        let mut properties = &rest[own..own + length];
        rest = &rest[own + length..];
        while let Some((&property, value)) = properties.split_first() {
            let size = match property {
                0x23 => {
                    alias = Some(two(value));
                    2
                }
                0x02 => 4,
                0x01 => 1,
                other => panic!("nobody gave a property {other:02x}"),
            };
            properties = &value[size..];
        }
    }
    assert!(!topic.is_empty() || alias.is_some());
    let (dup, retain) = (first & 8 != 0, first & 1 != 0);
    Publish { dup, qos, retain, topic, alias, id, payload: rest.to_vec() }
}
