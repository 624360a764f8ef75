//! The section `broker`: where devices at home connect, who may, and how much they may hold.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    json_schema::{Address, Size, Span},
    units,
};
use crate::model::{Secret, TopicPattern};

/// The local broker.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Broker {
    /// Where it listens. Default: MQTT over TCP on 127.0.0.1:1883.
    pub listeners: Vec<Listener>,
    /// Who may connect where anonymous clients may not.
    pub users: Vec<User>,
    /// Bounds on what clients may hold; what is left out has the broker's own default.
    pub limits: Limits,
}

impl Default for Broker {
    fn default() -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], 1883));
        let listener = Listener {
            address,
            transport: Transport::Tcp,
            tls: None,
            anonymous: None,
            acl: None,
            origins: Vec::new(),
        };
        Self { listeners: vec![listener], users: Vec::new(), limits: Limits::default() }
    }
}

/// One address that the broker listens at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// IP address and port; host names are not looked up.
    #[serde(deserialize_with = "units::address")]
    #[schemars(with = "Address")]
    pub address: SocketAddr,
    /// What is spoken there. Default `tcp`.
    #[serde(default)]
    pub transport: Transport,
    /// Encryption; none when left out.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// Whether clients without a name may connect. Default: on loopback they may, elsewhere they must not.
    #[serde(default)]
    pub anonymous: Option<bool>,
    /// What clients without a name may read and write. Default: everything ordinary.
    #[serde(default)]
    pub acl: Option<Acl>,
    /// Web pages of other hosts that may use a WebSocket listener, as `https://host` with its port if any.
    #[serde(default)]
    pub origins: Vec<String>,
}

impl Listener {
    /// Whether clients without a name may connect, the default worked out.
    pub fn allows_anonymous(&self) -> bool {
        self.anonymous.unwrap_or_else(|| self.address.ip().is_loopback())
    }
}

/// What is spoken at a listener.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// MQTT.
    #[default]
    Tcp,
    /// MQTT in WebSockets, subprotocol `mqtt`.
    WebSocket,
}

/// A listener's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM: the certificate, then those between it and the CA.
    pub certificate_file: PathBuf,
    /// PEM: the private key; readable by its owner only.
    pub key_file: PathBuf,
    /// PEM: the CA of client certificates; when given, clients may prove who they are with one.
    #[serde(default)]
    pub client_ca_file: Option<PathBuf>,
}

/// Somebody who may connect.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The user name in CONNECT; unique.
    pub name: String,
    /// Argon2 in PHC form, as `hearthlink hash-password` prints it.
    #[serde(default)]
    pub password_hash: Option<Secret>,
    /// The CN or a SAN of a client certificate that is this user.
    #[serde(default)]
    pub certificate_name: Option<String>,
    /// What this user may read and write. Default: everything ordinary.
    #[serde(default)]
    pub acl: Option<Acl>,
}

/// What somebody may read and write: filters in which `%u` is the user's name and `%c` the client id.
/// What a list does not name is closed; a list that is left out is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Acl {
    /// What may be subscribed to and is delivered.
    pub read: Vec<TopicPattern>,
    /// What may be published to.
    pub write: Vec<TopicPattern>,
}

/// Bounds on what clients may hold. `None`: the broker's own default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Clients connected at a time, 1 or more. Default 500.
    pub max_clients: Option<u32>,
    /// Connections of one address at a time, those in their handshake included, 1 or more. Default 100.
    pub max_clients_per_address: Option<u32>,
    /// Connections that have not sent CONNECT yet, 1 or more. Default 200.
    pub max_handshakes: Option<u32>,
    /// Sessions, those of absent clients included, 1 or more. Default 1,000.
    pub max_sessions: Option<u32>,
    /// The time from TCP accept to CONNECT, TLS and WebSocket included, 1 s to 5 min. Default 10 s.
    #[serde(deserialize_with = "units::duration")]
    #[schemars(with = "Option<Span>")]
    pub handshake_time: Option<Duration>,
    /// The largest packet, in bytes, 1 KiB to 256 MiB. Default 1 MiB.
    #[serde(deserialize_with = "units::bytes")]
    #[schemars(with = "Option<Size>")]
    pub max_packet: Option<u64>,
    /// Packets of more than 16 KiB that are coming in, of all clients together, in bytes; at least one of
    /// `max_packet` has room. Default 16 MiB.
    #[serde(deserialize_with = "units::bytes")]
    #[schemars(with = "Option<Size>")]
    pub incoming_in_all: Option<u64>,
    /// What may wait for one session, in bytes. Default 1 MiB.
    #[serde(deserialize_with = "units::bytes")]
    #[schemars(with = "Option<Size>")]
    pub queue_per_session: Option<u64>,
    /// What may wait for all sessions together, in bytes. Default 64 MiB.
    #[serde(deserialize_with = "units::bytes")]
    #[schemars(with = "Option<Size>")]
    pub queue_in_all: Option<u64>,
    /// QoS 1 and 2 messages on their way to one client, 1 to 65,535. Default 64.
    pub inflight: Option<u16>,
    /// QoS 1 and 2 messages of one client that are not acknowledged yet, 1 to 65,535. Default 1,000.
    pub receive_maximum: Option<u16>,
    /// What all retained messages may take, in bytes. Default 16 MiB.
    #[serde(deserialize_with = "units::bytes")]
    #[schemars(with = "Option<Size>")]
    pub retained_size: Option<u64>,
    /// How many messages may be retained. Default 10,000.
    pub retained_count: Option<u32>,
    /// Subscriptions a client, 1 or more. Default 1,000.
    pub subscriptions_per_client: Option<u32>,
    /// What the subscriptions of all clients may take, in bytes, by estimate (200 a subscription, 160 a level,
    /// and the filter twice); beyond, each client still has 64 KiB. Default 16 MiB.
    #[serde(deserialize_with = "units::bytes")]
    #[schemars(with = "Option<Size>")]
    pub subscriptions_in_all: Option<u64>,
    /// Levels of a topic, 1 to 128. Default 32.
    pub topic_depth: Option<u16>,
    /// The length of a topic, in bytes, 16 to 65,535. Default 1,024.
    pub topic_length: Option<u16>,
    /// How long an absent client's session is kept at most, 1 s to 10 years. Default 7 days.
    #[serde(deserialize_with = "units::duration")]
    #[schemars(with = "Option<Span>")]
    pub longest_session: Option<Duration>,
    /// MQTT 5 clients that want a longer keep-alive, or none, are told to use this one, 5 s to 65,535 s.
    /// Default: as the client wants.
    #[serde(deserialize_with = "units::duration")]
    #[schemars(with = "Option<Span>")]
    pub longest_keep_alive: Option<Duration>,
}
