//! What the broker is told by `app/`: listeners, users, and a bound for everything that can grow.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// The local broker's settings.
#[derive(Debug, Clone)]
pub struct BrokerOptions {
    /// Where it listens.
    pub listeners: Vec<ListenerOptions>,
    /// Who may connect where anonymous clients may not.
    pub users: Vec<User>,
    /// The bounds.
    pub limits: Limits,
}

/// What is spoken at a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerKind {
    /// MQTT.
    Tcp,
    /// MQTT in WebSockets, subprotocol `mqtt` (MQTT 5 section 6).
    WebSocket,
}

impl ListenerKind {
    /// The scheme of its URLs.
    pub fn scheme(self, has_tls: bool) -> &'static str {
        match (self, has_tls) {
            (ListenerKind::Tcp, false) => "mqtt",
            (ListenerKind::Tcp, true) => "mqtts",
            (ListenerKind::WebSocket, false) => "ws",
            (ListenerKind::WebSocket, true) => "wss",
        }
    }
}

/// One listener.
#[derive(Debug, Clone)]
pub struct ListenerOptions {
    /// What is spoken.
    pub kind: ListenerKind,
    /// Where; port 0 lets the kernel choose.
    pub address: SocketAddr,
    /// Encryption; `None` for none.
    pub tls: Option<TlsFiles>,
    /// Whether clients without a name may connect.
    pub anonymous: bool,
}

/// A listener's certificate.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// PEM: the certificate with its chain.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
    /// PEM: the CA of client certificates, which are optional then.
    pub client_ca: Option<PathBuf>,
}

/// Somebody who may connect.
#[derive(Debug, Clone)]
pub struct User {
    /// The user name in CONNECT.
    pub name: String,
    /// Argon2 in PHC form.
    pub password_hash: Option<String>,
    /// The common name or a DNS name of a client certificate that is this user.
    pub certificate_name: Option<String>,
}

/// The bounds of everything that a client can make grow. Each has its policy beside it.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at a time, handshakes included. Full: new ones are closed at once.
    pub max_clients: usize,
    /// Sessions, those of absent clients included. Full: CONNACK "server unavailable".
    pub max_sessions: usize,
    /// From TCP accept to CONNECT, TLS and WebSocket included. Over: closed.
    pub handshake_time: Duration,
    /// The largest packet in, in bytes. Over: closed.
    pub max_packet: usize,
    /// What waits for a session and is on its way to it, in bytes. Full: the newest is dropped, counted.
    pub queue_bytes_per_session: usize,
    /// QoS 1 and 2 messages on their way to a client. Full: the others wait.
    pub inflight: u16,
    /// Retained messages, in bytes. Full: delivered but not retained.
    pub retained_bytes: usize,
    /// Retained messages. Full: delivered but not retained.
    pub retained_count: usize,
    /// Subscriptions of a client. Full: refused in SUBACK.
    pub subscriptions_per_client: usize,
    /// Levels of a topic or filter. Over: refused.
    pub topic_depth: usize,
    /// How long an absent client's session is kept at most. Over: forgotten.
    pub longest_session: Duration,
}

impl Default for Limits {
    /// A house: 500 clients, 1 MiB a queue and a packet, 10,000 retained messages in 16 MiB, a week.
    fn default() -> Self {
        Self {
            max_clients: 500,
            max_sessions: 1000,
            handshake_time: Duration::from_secs(10),
            max_packet: 1 << 20,
            queue_bytes_per_session: 1 << 20,
            inflight: 32,
            retained_bytes: 16 << 20,
            retained_count: 10_000,
            subscriptions_per_client: 200,
            topic_depth: 32,
            longest_session: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

impl Limits {
    /// The life that a session gets which asks for `seconds`.
    pub(super) fn session_expiry(&self, seconds: u64) -> Duration {
        Duration::from_secs(seconds).min(self.longest_session)
    }
}
