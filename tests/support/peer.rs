//! A cloud that follows a script: what no well-behaved broker can be made to do.
//!
//! TLS and WebSocket by the same libraries as everywhere; the MQTT packets are bytes written by
//! hand, so that no codec stands on both ends.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_tungstenite::{
    tokio::{TokioAdapter, accept_hdr_async},
    tungstenite::handshake::server::{Callback, ErrorResponse, Request, Response},
    tungstenite::http::{HeaderValue, StatusCode},
};
use hearthlink::demo::certificates::IdentityFiles;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use ws_stream_tungstenite::WsStream;

use super::raw::next_packet;

pub const CONNECT: u8 = 1;
pub const PUBLISH: u8 = 3;
pub const PUBACK: u8 = 4;
pub const SUBSCRIBE: u8 = 8;
pub const DISCONNECT: u8 = 14;

pub struct Peer {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    status: StatusCode,
}

impl Peer {
    pub async fn bind(server: &IdentityFiles) -> Self {
        Self::with_clients_of(server, None, &[&rustls::version::TLS13, &rustls::version::TLS12]).await
    }

    /// Lets in only clients with a certificate of this CA.
    pub async fn with_clients_of(
        server: &IdentityFiles,
        client_ca: Option<&std::path::Path>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Self {
        let acceptor = acceptor(server, client_ca, versions);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener, acceptor, status: StatusCode::OK }
    }

    /// Answers every WebSocket upgrade with this status.
    pub fn refusing(mut self, status: u16) -> Self {
        self.status = StatusCode::from_u16(status).unwrap();
        self
    }

    pub fn url(&self) -> String {
        let address: SocketAddr = self.listener.local_addr().unwrap();
        format!("wss://localhost:{}/mqtt", address.port())
    }

    pub fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }

    pub async fn accept_tcp(&self) -> TcpStream {
        timeout(Duration::from_secs(30), self.listener.accept()).await.expect("a connection").unwrap().0
    }

    /// The next connection, up to the open WebSocket; `None` when it does not get there.
    pub async fn accept(&self) -> Option<Session> {
        let stream = self.acceptor.accept(self.accept_tcp().await).await.ok()?;
        let socket = accept_hdr_async(stream, Upgrade(self.status)).await.ok()?;
        Some(Session(WsStream::new(socket)))
    }

    /// The next connection, CONNECT read.
    pub async fn session(&self) -> Session {
        loop {
            if let Some(mut session) = self.accept().await {
                session.expect(CONNECT).await;
                return session;
            }
        }
    }

    /// A connection on which CONNECT and SUBSCRIBE are answered well, birth and fence acknowledged,
    /// and the fence echoed.
    pub async fn online(&self) -> Session {
        self.online_with(&CONNACK).await
    }

    /// The same with another CONNACK.
    pub async fn online_with(&self, connack: &[u8]) -> Session {
        let mut session = self.session().await;
        session.welcome(connack).await;
        session
    }
}

/// The TLS of a cloud; with a CA it lets in only clients with a certificate of this one.
pub fn acceptor(
    server: &IdentityFiles,
    client_ca: Option<&std::path::Path>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions).unwrap();
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(path).unwrap()).unwrap();
            let roots = Arc::new(roots);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = vec![CertificateDer::from_pem_file(&server.certificate).unwrap()];
    let config = builder.with_single_cert(chain, PrivateKeyDer::from_pem_file(&server.key).unwrap()).unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// CONNACK of MQTT 5: success, no session, no properties.
pub const CONNACK: [u8; 5] = [0x20, 3, 0, 0, 0];

pub fn puback(packet: u16) -> [u8; 4] {
    let [high, low] = packet.to_be_bytes();
    [0x40, 2, high, low]
}

pub fn puback_with(packet: u16, reason: u8) -> [u8; 6] {
    let [high, low] = packet.to_be_bytes();
    [0x40, 4, high, low, reason, 0]
}

pub struct Session(WsStream<TokioAdapter<TlsStream<TcpStream>>>);

pub struct Published {
    pub topic: String,
    pub packet: u16,
    pub payload: Vec<u8>,
    pub is_retained: bool,
    /// The message expiry interval, when it is the first property.
    pub expiry: Option<u32>,
}

impl Session {
    /// Answers CONNECT so, SUBSCRIBE well, birth and fence with their acknowledgements, and echoes the fence.
    pub async fn welcome(&mut self, connack: &[u8]) {
        self.send(connack).await;
        self.grant_subscriptions().await;
        for _ in 0..2 {
            let publish = self.publish().await;
            self.send(&puback(publish.packet)).await;
            if publish.topic.ends_with("fence") {
                self.send_publish(&publish.topic, &publish.payload, 0).await;
            }
        }
    }

    /// The next packet: first byte and what follows the length.
    pub async fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        timeout(Duration::from_secs(30), next_packet(&mut self.0)).await.expect("a packet")
    }

    pub async fn expect(&mut self, kind: u8) -> Vec<u8> {
        let (first, body) = self.read().await.expect("a packet");
        assert_eq!(first >> 4, kind, "{body:?}");
        body
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// Answers the next SUBSCRIBE with this reason for each filter from the second on; the first is the fence.
    pub async fn answer_subscriptions(&mut self, reason: u8) {
        let body = self.expect(SUBSCRIBE).await;
        let mut at = 3 + usize::from(body[2]);
        let mut reasons = Vec::new();
        while at < body.len() {
            at += 2 + usize::from(u16::from_be_bytes([body[at], body[at + 1]])) + 1;
            reasons.push(if reasons.is_empty() { 1 } else { reason });
        }
        let mut packet = vec![0x90, 3 + reasons.len() as u8, body[0], body[1], 0];
        packet.extend(reasons);
        self.send(&packet).await;
    }

    pub async fn grant_subscriptions(&mut self) {
        self.answer_subscriptions(1).await;
    }

    /// The next packet, which must be a PUBLISH of QoS 1 in MQTT 5.
    pub async fn publish(&mut self) -> Published {
        let (first, body) = self.read().await.expect("a packet");
        assert_eq!(first >> 4, PUBLISH, "{body:?}");
        let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let topic = String::from_utf8(body[2..2 + length].to_vec()).unwrap();
        let packet = u16::from_be_bytes([body[2 + length], body[3 + length]]);
        let (properties, payload) = body[5 + length..].split_at(body[4 + length].into());
        let expiry = match properties {
            &[2, a, b, c, d, ..] => Some(u32::from_be_bytes([a, b, c, d])),
            _ => None,
        };
        Published { topic, packet, payload: payload.to_vec(), is_retained: first & 1 == 1, expiry }
    }

    /// Sends a publish; packet 0 means QoS 0.
    pub async fn send_publish(&mut self, topic: &str, payload: &[u8], packet: u16) {
        let mut body = (topic.len() as u16).to_be_bytes().to_vec();
        body.extend(topic.as_bytes());
        if packet != 0 {
            body.extend(packet.to_be_bytes());
        }
        body.push(0);
        body.extend(payload);
        let mut bytes = vec![if packet == 0 { 0x30 } else { 0x32 }, body.len() as u8];
        assert!(body.len() < 128);
        bytes.append(&mut body);
        self.send(&bytes).await;
    }
}

/// The answer to a WebSocket upgrade: MQTT, or this refusal.
pub struct Upgrade(StatusCode);

impl Default for Upgrade {
    fn default() -> Self {
        Self(StatusCode::OK)
    }
}

impl Callback for Upgrade {
    fn on_request(self, _request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
        if self.0 != StatusCode::OK {
            let mut refusal = ErrorResponse::new(None);
            *refusal.status_mut() = self.0;
            return Err(refusal);
        }
        response.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("mqtt"));
        Ok(response)
    }
}
