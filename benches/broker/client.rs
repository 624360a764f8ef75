//! The load generator's half of MQTT 3.1.1: bytes made beforehand, and a reader that only counts.
//!
//! Owns nothing but a socket and a buffer. Never checks what a conformance test checks: it must cost far
//! less than the broker, or it would be the generator that is measured. Blocking, a thread a
//! connection: no runtime of ours runs on the side that measures.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpStream},
    ops::Range,
    time::Duration,
};

/// How long an answer may take before the measurement is given up.
pub const PATIENCE: Duration = Duration::from_secs(20);

fn text(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u16).to_be_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// A whole packet.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let low = (length % 128) as u8;
        length /= 128;
        bytes.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

/// CONNECT with a clean session and a keep-alive of an hour, so that nothing is sent while idle.
pub fn connect(id: &str) -> Vec<u8> {
    packet(0x10, &[&text("MQTT")[..], &[4, 2, 0x0E, 0x10], &text(id)].concat())
}

/// SUBSCRIBE to one filter.
pub fn subscribe(filter: &str, qos: u8) -> Vec<u8> {
    packet(0x82, &[&[0, 1][..], &text(filter), &[qos]].concat())
}

/// PUBLISH; with QoS 1 the id's two bytes end at `length - payload`.
pub fn publish(topic: &str, qos: u8, id: u16, payload: &[u8]) -> Vec<u8> {
    let id: &[u8] = if qos == 0 { &[] } else { &id.to_be_bytes() };
    packet(0x30 | qos << 1, &[&text(topic)[..], id, payload].concat())
}

/// A TCP connection to a port of this machine, without Nagle's algorithm.
pub fn dial(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A client that the broker has accepted.
pub fn client(port: u16, id: &str) -> io::Result<TcpStream> {
    let mut stream = dial(port)?;
    greet(&mut stream, id)?;
    Ok(stream)
}

/// CONNECT and CONNACK on any stream.
pub fn greet(stream: &mut (impl Read + Write), id: &str) -> io::Result<()> {
    stream.write_all(&connect(id))?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer)?;
    if answer == [0x20, 2, 0, 0] { Ok(()) } else { Err(io::Error::other(format!("CONNACK {answer:?}"))) }
}

/// SUBSCRIBE and SUBACK on any stream.
pub fn enlist(stream: &mut (impl Read + Write), filter: &str, qos: u8) -> io::Result<()> {
    stream.write_all(&subscribe(filter, qos))?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer)?;
    if answer == [0x90, 3, 0, 1, qos] { Ok(()) } else { Err(io::Error::other(format!("SUBACK {answer:?}"))) }
}

/// What was read and not yet looked at.
pub struct Inbox {
    bytes: Box<[u8]>,
    used: Range<usize>,
}

impl Inbox {
    pub fn new() -> Self {
        Self { bytes: vec![0; 256 << 10].into(), used: 0..0 }
    }

    /// Reads once; zero: the broker has hung up.
    pub fn read(&mut self, stream: &mut impl Read) -> io::Result<usize> {
        if self.used.start > 0 {
            self.bytes.copy_within(self.used.clone(), 0);
            self.used = 0..self.used.len();
        }
        let count = stream.read(&mut self.bytes[self.used.end..])?;
        self.used.end += count;
        Ok(count)
    }

    /// The next whole packet: its first byte and its body.
    pub fn next(&mut self) -> Option<(u8, &[u8])> {
        let bytes = &self.bytes[self.used.clone()];
        let (mut length, mut header) = (0, 1);
        loop {
            let byte = *bytes.get(header)?;
            length |= usize::from(byte & 0x7F) << (7 * (header - 1));
            header += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        if bytes.len() < header + length {
            return None;
        }
        let start = self.used.start + header;
        self.used.start = start + length;
        Some((self.bytes[start - header], &self.bytes[start..start + length]))
    }
}

/// The packet id of a PUBLISH with QoS 1.
pub fn id_of(body: &[u8]) -> [u8; 2] {
    let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
    [body[2 + topic], body[3 + topic]]
}
