//! What a client costs that is connected and says nothing.
//!
//! The broker's memory before and after, by the number of clients; what the kernel holds for a socket is
//! the same for every broker and not in it.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::Arc,
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use crate::{
    brokers::{Broker, Running},
    client,
};

/// How many clients there are.
pub const CLIENTS: usize = 2_000;
/// For buffers of the handshakes to be given back.
const SETTLE: Duration = Duration::from_secs(2);

/// How a client is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Tcp,
    WebSocket,
    Tls,
}

impl Way {
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::WebSocket => "WebSocket",
            Self::Tls => "TLS",
        }
    }
}

/// Bytes a client.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// The whole process before anybody came.
    pub before: f64,
    pub connected: f64,
    /// With one subscription each, to a topic of its own.
    pub subscribed: f64,
    /// What stays when all have left.
    pub afterwards: f64,
}

trait Duplex: Read + Write {}

impl<T: Read + Write> Duplex for T {}

/// Measures with a broker of its own.
pub fn run(broker: &Broker, way: Way) -> Result<Cost> {
    let running = broker.start()?;
    let before = running.memory()?;
    let mut clients = connect(&running, way)?;
    let each = |now: f64| (now - before) / CLIENTS as f64;
    sleep(SETTLE);
    let connected = each(running.memory()?);
    for (index, client) in clients.iter_mut().enumerate() {
        client::enlist(client, &format!("laboratory/idle/{index}"), 1)?;
    }
    sleep(SETTLE);
    let subscribed = each(running.memory()?);
    drop(clients);
    sleep(SETTLE);
    Ok(Cost { before, connected, subscribed, afterwards: each(running.memory()?) })
}

fn connect(running: &Running, way: Way) -> Result<Vec<Box<dyn Duplex>>> {
    // Mosquitto has no certificate here.
    let tls = if way == Way::Tls { Some(Arc::new(trusting(running)?)) } else { None };
    (0..CLIENTS)
        .map(|index| {
            let mut stream: Box<dyn Duplex> = match (&tls, way) {
                (Some(tls), _) => {
                    let connection = ClientConnection::new(tls.clone(), ServerName::try_from("localhost")?)?;
                    Box::new(StreamOwned::new(connection, client::dial(running.ports.tls)?))
                }
                (None, Way::WebSocket) => Box::new(WebSocket::open(running.ports.websocket)?),
                (None, _) => Box::new(client::dial(running.ports.tcp)?),
            };
            client::greet(&mut stream, &format!("idle-{index}")).context("an idle client is not let in")?;
            Ok(stream)
        })
        .collect()
}

/// TLS that trusts the broker's certificate and nothing else.
fn trusting(running: &Running) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(running.certificate())? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Clients of TCP that were let in and stay as long as this is kept.
pub fn crowd(running: &Running) -> Result<Vec<TcpStream>> {
    let mut streams = Vec::with_capacity(CLIENTS);
    for index in 0..CLIENTS {
        streams.push(client::client(running.ports.tcp, &format!("idle-{index}"))?);
    }
    Ok(streams)
}

/// MQTT in WebSocket frames, as far as a handshake needs it: no frame of 126 bytes or more.
struct WebSocket {
    stream: TcpStream,
    /// Of the last frame, not read yet.
    left: Vec<u8>,
}

impl WebSocket {
    fn open(port: u16) -> Result<Self> {
        let mut stream = client::dial(port)?;
        let request = "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
            Sec-WebSocket-Protocol: mqtt\r\n\r\n";
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            answer.extend_from_slice(&byte);
        }
        ensure!(answer.starts_with(b"HTTP/1.1 101"), "no WebSocket: {}", String::from_utf8_lossy(&answer));
        Ok(Self { stream, left: Vec::new() })
    }
}

impl Read for WebSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left.is_empty() {
            let mut head = [0; 2];
            self.stream.read_exact(&mut head)?;
            self.left = vec![0; usize::from(head[1] & 0x7F)];
            self.stream.read_exact(&mut self.left)?;
        }
        let count = buffer.len().min(self.left.len());
        buffer[..count].copy_from_slice(&self.left[..count]);
        self.left.drain(..count);
        Ok(count)
    }
}

impl Write for WebSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(125);
        // Masked, as a client must, by zeros.
        let mut frame = vec![0x82, 0x80 | count as u8, 0, 0, 0, 0];
        frame.extend_from_slice(&bytes[..count]);
        self.stream.write_all(&frame)?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
