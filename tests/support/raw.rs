//! A MQTT client that does what it is told, legal or not.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Over TCP, or over whatever is wrapped around it.
pub struct Raw<S = TcpStream>(pub S);

pub fn text(text: &str) -> Vec<u8> {
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

/// CONNECT 3.1.1 with a keep-alive of 60 s; `flags` beside what `rest` needs.
pub fn connect(id: &str, flags: u8, rest: &[&[u8]]) -> Vec<u8> {
    packet(0x10, &[&text("MQTT")[..], &[4, flags, 0, 60], &text(id), &rest.concat()].concat())
}

pub fn connect5(id: &str, flags: u8, properties: &[u8], rest: &[&[u8]]) -> Vec<u8> {
    let head = [&text("MQTT")[..], &[5, flags, 0, 60, properties.len() as u8], properties].concat();
    packet(0x10, &[&head[..], &text(id), &rest.concat()].concat())
}

/// PUBLISH 3.1.1; `flags` are DUP, QoS and retain.
pub fn publish(flags: u8, topic: &str, id: u16, payload: &[u8]) -> Vec<u8> {
    let id: &[u8] = if flags & 6 == 0 { &[] } else { &id.to_be_bytes() };
    packet(0x30 | flags, &[&text(topic)[..], id, payload].concat())
}

/// PUBLISH 5.
pub fn publish5(flags: u8, topic: &str, id: u16, properties: &[u8], payload: &[u8]) -> Vec<u8> {
    publish(flags, topic, id, &[&[properties.len() as u8], properties, payload].concat())
}

/// SUBSCRIBE 5 with the id 9.
pub fn subscribe5(properties: &[u8], filters: &[(&str, u8)]) -> Vec<u8> {
    let filters: Vec<u8> =
        filters.iter().flat_map(|(filter, options)| [&text(filter)[..], &[*options]].concat()).collect();
    packet(0x82, &[&[0, 9, properties.len() as u8][..], properties, &filters].concat())
}

pub fn puback(id: u16) -> Vec<u8> {
    packet(0x40, &id.to_be_bytes())
}

/// A PUBLISH 3.1.1 as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Got {
    pub flags: u8,
    pub topic: String,
    pub id: u16,
    /// With MQTT 5 the properties too; [`Got::properties`] takes them off.
    pub payload: Vec<u8>,
}

impl Got {
    pub fn parse(first: u8, body: &[u8]) -> Self {
        assert_eq!(first >> 4, 3, "not a PUBLISH: {first:02x} {body:?}");
        let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let topic = String::from_utf8(body[2..2 + length].to_vec()).unwrap();
        let rest = &body[2 + length..];
        let (id, payload) =
            if first & 6 == 0 { (0, rest) } else { (u16::from_be_bytes([rest[0], rest[1]]), &rest[2..]) };
        Self { flags: first & 15, topic, id, payload: payload.to_vec() }
    }

    /// Of a PUBLISH 5, which are fewer than 128 bytes here.
    pub fn properties(&mut self) -> Vec<u8> {
        let length = usize::from(self.payload[0]);
        let properties = self.payload[1..=length].to_vec();
        self.payload.drain(..=length);
        properties
    }
}

impl Raw {
    pub async fn to(port: u16) -> Self {
        Self(TcpStream::connect(("127.0.0.1", port)).await.unwrap())
    }

    /// From another loopback address.
    pub async fn from(address: [u8; 4], port: u16) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((address, 0).into()).unwrap();
        Self(socket.connect(([127, 0, 0, 1], port).into()).await.unwrap())
    }
}

/// The next packet: first byte and body; `None`: it is over.
pub async fn next_packet<S: AsyncRead + Unpin>(stream: &mut S) -> Option<(u8, Vec<u8>)> {
    let first = stream.read_u8().await.ok()?;
    let (mut length, mut shift) = (0, 0);
    loop {
        let byte = stream.read_u8().await.ok()?;
        length |= usize::from(byte & 0x7F) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((first, body))
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    pub async fn send(&mut self, bytes: &[u8]) {
        // A broker that has hung up is for the test to see by what comes back.
        let _ = self.0.write_all(bytes).await;
        let _ = self.0.flush().await;
    }

    /// The next packet: first byte and body; `None`: the broker hung up.
    pub async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        timeout(PATIENCE, self.read()).await.expect("the broker neither answered nor hung up")
    }

    async fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        next_packet(&mut self.0).await
    }

    /// Nothing comes for a while.
    pub async fn is_quiet(&mut self) -> bool {
        timeout(Duration::from_millis(200), self.read()).await.is_err()
    }

    pub async fn hangs_up(&mut self) -> bool {
        self.next().await.is_none()
    }

    pub async fn connect(&mut self, id: &str, is_clean: bool) -> bool {
        self.send(&connect(id, if is_clean { 2 } else { 0 }, &[])).await;
        let (first, body) = self.next().await.expect("CONNACK");
        assert_eq!((first, body[1]), (0x20, 0), "refused");
        body[0] == 1
    }

    /// Connects by MQTT 5, for good if there is a session expiry; gives the body of CONNACK.
    pub async fn connect5(&mut self, id: &str, is_clean: bool, expiry: u32) -> Vec<u8> {
        let properties = [&[0x11][..], &expiry.to_be_bytes()].concat();
        self.send(&connect5(id, if is_clean { 2 } else { 0 }, &properties, &[])).await;
        let (first, body) = self.next().await.expect("CONNACK");
        assert_eq!((first, body[1]), (0x20, 0), "refused");
        body
    }

    /// Subscribes by MQTT 5; the granted QoS, or a reason above 0x7F.
    pub async fn subscribe5(&mut self, filter: &str, options: u8) -> u8 {
        self.send(&packet(0x82, &[&[0, 9, 0][..], &text(filter), &[options]].concat())).await;
        let (first, body) = self.next().await.expect("SUBACK");
        assert_eq!((first, &body[..2]), (0x90, &[0, 9][..]), "no SUBACK");
        body[body.len() - 1]
    }

    /// Subscribes; the granted QoS, or 0x80.
    pub async fn subscribe(&mut self, filter: &str, qos: u8) -> u8 {
        self.send(&packet(0x82, &[&[0, 9][..], &text(filter), &[qos]].concat())).await;
        let (first, body) = self.next().await.expect("SUBACK");
        assert_eq!((first, &body[..2]), (0x90, &[0, 9][..]), "no SUBACK");
        body[2]
    }

    /// The next PUBLISH.
    pub async fn got(&mut self) -> Got {
        self.got_or(|| "no PUBLISH".to_owned()).await
    }

    /// The same, with what to say when none comes.
    pub async fn got_or(&mut self, otherwise: impl Fn() -> String) -> Got {
        let Ok(packet) = timeout(PATIENCE, self.read()).await else { panic!("{}", otherwise()) };
        let Some((first, body)) = packet else { panic!("{}, the broker hung up", otherwise()) };
        Got::parse(first, &body)
    }

    /// CONNECT 5 that is accepted: whether the session was there, and CONNACK's properties.
    pub async fn connect5_with(
        &mut self,
        id: &str,
        flags: u8,
        properties: &[u8],
        rest: &[&[u8]],
    ) -> (bool, Vec<u8>) {
        self.send(&connect5(id, flags, properties, rest)).await;
        let (first, body) = self.next().await.expect("CONNACK");
        assert_eq!((first, body[1]), (0x20, 0), "refused: {body:?}");
        (body[0] == 1, body[3..].to_vec())
    }

    /// Subscribes with MQTT 5; the reason codes.
    pub async fn subscribe5_with(&mut self, properties: &[u8], filters: &[(&str, u8)]) -> Vec<u8> {
        self.send(&subscribe5(properties, filters)).await;
        let (first, body) = self.next().await.expect("SUBACK");
        assert_eq!((first, &body[..2]), (0x90, &[0, 9][..]));
        body[3 + usize::from(body[2])..].to_vec()
    }

    /// The next PUBLISH 5, and its properties.
    pub async fn got5(&mut self) -> (Got, Vec<u8>) {
        let Got { flags, topic, id, payload } = self.got().await;
        let (properties, payload) = payload[1..].split_at(usize::from(payload[0]));
        (Got { flags, topic, id, payload: payload.to_vec() }, properties.to_vec())
    }

    /// The reason of the DISCONNECT that comes now and is the last, and what it says beside it.
    pub async fn is_told_why(&mut self) -> (u8, String) {
        let (first, body) = self.next().await.expect("DISCONNECT");
        assert_eq!(first, 0xE0, "{body:?}");
        assert!(self.hangs_up().await);
        // A Reason String after its length, 0x1F and its own length.
        (body[0], String::from_utf8(body.get(5..).unwrap_or_default().to_vec()).unwrap())
    }

    /// A PING that is answered: everything before it was handled.
    pub async fn ping(&mut self) {
        self.send(&[0xC0, 0]).await;
        assert_eq!(self.next().await, Some((0xD0, vec![])), "no PINGRESP");
    }
}
