//! What the broker is told: where it listens, who may connect, how much anybody may hold.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::{
    model::{Message, TopicFilter, TopicPattern},
    store,
};

/// Everything that the broker needs to know.
#[derive(Debug, Clone, Default)]
pub struct BrokerOptions {
    /// Where it listens.
    pub listeners: Vec<ListenerOptions>,
    /// Who may connect where anonymous clients may not.
    pub users: Vec<User>,
    /// The bounds.
    pub limits: Limits,
    /// What the gateway publishes itself: closed to all clients, as `home/bridge` and `$…` are.
    pub closed: Vec<TopicFilter>,
}

/// What is spoken at a listener, inside of TLS if it has TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerKind {
    /// MQTT over TCP.
    Tcp,
    /// MQTT over WebSockets, subprotocol `mqtt`.
    WebSocket,
}

/// One address to listen on.
#[derive(Debug, Clone)]
pub struct ListenerOptions {
    /// What is spoken there.
    pub kind: ListenerKind,
    /// Where; port 0 lets the kernel choose.
    pub address: SocketAddr,
    /// Encrypted, if given.
    pub tls: Option<TlsFiles>,
    /// Whether clients without a user may connect.
    pub anonymous: bool,
    /// What these may read and write; `None`: everything ordinary.
    pub acl: Option<Acl>,
    /// Web pages of other hosts that may use a WebSocket listener, as browsers call them: `https://host`.
    pub origins: Vec<String>,
}

/// What somebody may read and write. What a list does not name is closed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Acl {
    /// What may be subscribed to and is delivered.
    pub read: Vec<TopicPattern>,
    /// What may be published to; the gateway's own topics never.
    pub write: Vec<TopicPattern>,
}

/// The PEM files of a listener.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The server's certificate, then its intermediates.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The CA of client certificates: a client may then prove who it is with one of them.
    pub client_ca: Option<PathBuf>,
}

/// Somebody who may connect.
#[derive(Clone, Default)]
pub struct User {
    /// The user name in CONNECT.
    pub name: String,
    /// Argon2 as a PHC string; `None`: this user has no password, only a certificate.
    pub password_hash: Option<String>,
    /// The CN or a SAN of a client certificate that is this user.
    pub certificate_name: Option<String>,
    /// What this user may read and write; `None`: everything ordinary.
    pub acl: Option<Acl>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .field("has_password", &self.password_hash.is_some())
            .field("certificate_name", &self.certificate_name)
            .field("acl", &self.acl)
            .finish()
    }
}

/// Every bound of the broker. What is beyond one is refused or dropped, and counted.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Clients connected at a time. Beyond: CONNACK "server unavailable".
    pub max_clients: usize,
    /// Connections of one address at a time, those in their handshake included. An IPv6 network (/64)
    /// counts as one address. Beyond: closed at once.
    pub max_clients_per_address: usize,
    /// Connections that have not yet sent CONNECT. Beyond: closed at once.
    pub max_handshakes: usize,
    /// From TCP accept to CONNECT; TLS and WebSocket handshakes included.
    pub handshake_time: Duration,
    /// The largest packet, in bytes. Beyond: the connection is closed.
    pub max_packet: usize,
    /// Packets of more than 16 KiB that are coming in, of all clients together, in bytes; at least one of
    /// `max_packet` has room. Beyond: they wait.
    pub incoming_bytes: usize,
    /// How long such a packet may take from its first byte to its last. Beyond: the connection is closed.
    pub longest_packet: Duration,
    /// What waits for one client, sent and not yet acknowledged included, in bytes. Beyond: the newest
    /// message is dropped.
    pub queue_bytes_per_session: usize,
    /// The same for all clients together, in bytes; beyond, each still has 16 KiB.
    pub queue_bytes: usize,
    /// QoS 1 and 2 messages on their way to one client, 1 to 65,535.
    pub inflight: u16,
    /// QoS 1 and 2 messages of one client that are not acknowledged yet, 1 to 65,535. Beyond: a MQTT 5
    /// client is disconnected (Receive Maximum), an older one is not read.
    pub receive_maximum: u16,
    /// Retained messages in all, in bytes. Beyond: delivered, but not retained.
    pub retained_bytes: usize,
    /// How many messages may be retained.
    pub retained_count: usize,
    /// Subscriptions a client. Beyond: refused.
    pub subscriptions_per_client: usize,
    /// What the subscriptions of all clients take, in bytes, by estimate; beyond, each client still has
    /// 64 KiB. Beyond that: refused.
    pub subscription_bytes: usize,
    /// Levels of a topic and of a filter, 1 or more. Beyond: refused.
    pub topic_depth: usize,
    /// The length of a topic and of a filter, in bytes, 1 to 65,535. Beyond: refused.
    pub topic_length: usize,
    /// Sessions, those of absent clients included. Beyond: CONNACK "server unavailable".
    pub max_sessions: usize,
    /// How long a session outlives its connection at most.
    pub longest_session: Duration,
    /// The longest keep-alive, in whole seconds: MQTT 5 clients that ask for more, or for none, are told to
    /// use this. `None`: as the client wants. 3.1.1 clients cannot be told and are left alone.
    pub longest_keep_alive: Option<Duration>,
}

impl Default for Limits {
    /// A house: 500 clients, 100 of them at an address, 1 MiB a packet and a queue, 64 MiB of queues, 10,000 retained, a week.
    fn default() -> Self {
        Self {
            max_clients: 500,
            max_clients_per_address: 100,
            max_handshakes: 200,
            handshake_time: Duration::from_secs(10),
            max_packet: 1 << 20,
            incoming_bytes: 16 << 20,
            longest_packet: Duration::from_secs(30),
            queue_bytes_per_session: 1 << 20,
            queue_bytes: 64 << 20,
            inflight: 64,
            receive_maximum: 1_000,
            retained_bytes: 16 << 20,
            retained_count: 10_000,
            subscriptions_per_client: 1_000,
            subscription_bytes: 16 << 20,
            topic_depth: 32,
            topic_length: 1 << 10,
            max_sessions: 1_000,
            longest_session: Duration::from_secs(7 * 24 * 3600),
            longest_keep_alive: None,
        }
    }
}

impl Limits {
    /// Whether a topic or a filter is neither too deep nor too long.
    pub(super) fn takes(&self, topic: &str) -> bool {
        topic.len() <= self.topic_length && topic.split('/').count() <= self.topic_depth
    }

    /// What the broker takes at most for its clients, in bytes, when every one of these bounds is reached
    /// at once: buffers of connections and handshakes, wills, queues, subscriptions, retained messages,
    /// packets coming in, and two passwords that are checked. What the sockets hold in the kernel is not in it.
    pub fn memory(&self) -> usize {
        /// A connection: its task and session, a full reading, output up to where it is not read, and a
        /// will, which is a CONNECT at most.
        const CONNECTION: usize = (8 << 10) + (16 << 10) + (64 << 10) + (32 << 10) + (64 << 10);
        /// A handshake: CONNECT, and TLS.
        const HANDSHAKE: usize = 96 << 10;
        /// An absent client's session, and its shares of queues and subscriptions beyond their bounds.
        const SESSION: usize = (2 << 10) + (16 << 10) + (64 << 10);
        /// Argon2 with its defaults.
        const PASSWORDS: usize = 2 * (19 << 20);
        let parts = [
            self.max_clients.saturating_mul(CONNECTION),
            self.max_handshakes.saturating_mul(HANDSHAKE),
            self.max_sessions.saturating_mul(SESSION),
            self.incoming_bytes.max(self.max_packet),
            self.queue_bytes,
            self.retained_bytes,
            self.subscription_bytes,
            PASSWORDS,
        ];
        parts.into_iter().fold(0, usize::saturating_add)
    }
}

/// Which messages go to the cloud.
pub trait Uplink: Send + Sync + 'static {
    /// What to keep for the cloud of a message that a client published; `None`: nothing. Called once a
    /// message, on the client's task: pure and quick.
    fn route(&self, message: &Message) -> Option<store::Entry>;
}
