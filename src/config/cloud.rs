//! The section `cloud`: the one line out.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

use super::{
    units,
    ways::{Proxy, Rung},
};
use crate::{
    model::{CloudUrl, Topic},
    retry,
};

/// The line to the cloud.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cloud {
    /// Where: `wss://host[:port][/path]`, without a port 443, without a path `/mqtt`; or `mqtts://host[:port]`,
    /// without a port 8883.
    pub url: CloudUrl,
    /// Further brokers of the same cloud, for when that one is ill; the preferred ones first.
    #[serde(default)]
    pub other_urls: Vec<CloudUrl>,
    /// Further ways to each broker, for when the network blocks the one in its URL; the preferred ones first.
    #[serde(default)]
    pub ladder: Vec<Rung>,
    /// How long the line is up at another broker or by another way than the first before that one is tried again.
    /// 10 s to 1 d, default 10 min; doubled while it comes to nothing.
    #[serde(default = "default_climb_after", deserialize_with = "units::duration")]
    pub climb_after: Duration,
    /// The WebSocket subprotocol. Default `mqtt`.
    #[serde(default = "default_subprotocol")]
    pub subprotocol: String,
    /// What TLS asks for by ALPN where `url` begins with `mqtts`. Default: nothing.
    #[serde(default)]
    pub alpn: Option<String>,
    /// The name that TLS asks for (SNI) and the certificate must have. Default: the host of the URL.
    #[serde(default)]
    pub server_name: Option<String>,
    /// The proxy on the way out. Default: as the environment says.
    #[serde(default)]
    pub proxy: Option<Proxy>,
    /// PEM: the CA that signed the cloud's certificate. Default: the CAs that this machine trusts.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// PEM: the gateway's own certificate, then those between it and its CA.
    #[serde(default)]
    pub certificate_file: Option<PathBuf>,
    /// PEM: its private key; readable by its owner only.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// The MQTT client id. Default: `gateway.id`.
    #[serde(default)]
    pub client_id: Option<String>,
    /// The MQTT user name.
    #[serde(default)]
    pub username: Option<String>,
    /// A file whose first line is the MQTT password; readable by its owner only.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// The first level or levels of every cloud topic. Default `hearthlink`.
    #[serde(default = "default_prefix")]
    pub prefix: Topic,
    /// MQTT keep-alive, in whole seconds from 5 s to 18 h. Default 45 s.
    #[serde(default = "default_keep_alive", deserialize_with = "units::duration")]
    pub keep_alive: Duration,
    /// How long the cloud may take to answer before the line counts as dead. 1 s to 5 min, default 15 s.
    #[serde(default = "default_answer_limit", deserialize_with = "units::duration")]
    pub answer_limit: Duration,
    /// How long name resolution, TCP, TLS, WebSocket and CONNECT may take together. 1 s to 5 min, default 30 s.
    #[serde(default = "default_connect_limit", deserialize_with = "units::duration")]
    pub connect_limit: Duration,
    /// Publishes on their way at a time, 1 to 65,535. Default 64.
    #[serde(default = "default_window")]
    pub window: u16,
    /// How many messages a second of those that waited while the line was down, at most. 1 to 100,000; default:
    /// as fast as the cloud takes them.
    #[serde(default)]
    pub backlog_rate: Option<u32>,
    /// How long the cloud is asked to keep our session while the line is down. Default 1 h.
    #[serde(default = "default_session_expiry", deserialize_with = "units::duration")]
    pub session_expiry: Duration,
    /// How waits between attempts grow.
    #[serde(default)]
    pub backoff: Backoff,
}

fn default_climb_after() -> Duration {
    Duration::from_secs(600)
}

fn default_subprotocol() -> String {
    "mqtt".to_owned()
}

fn default_prefix() -> Topic {
    Topic::parse("hearthlink").expect("a constant without wildcards")
}

fn default_keep_alive() -> Duration {
    Duration::from_secs(45)
}

fn default_answer_limit() -> Duration {
    Duration::from_secs(15)
}

fn default_connect_limit() -> Duration {
    Duration::from_secs(30)
}

fn default_window() -> u16 {
    64
}

fn default_session_expiry() -> Duration {
    Duration::from_secs(3600)
}

/// How waits between attempts grow; see [`retry::Policy`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Backoff {
    /// The upper end of the first wait. Default 1 s.
    #[serde(deserialize_with = "units::duration")]
    pub first: Duration,
    /// The upper end that is never passed. Default 5 min.
    #[serde(deserialize_with = "units::duration")]
    pub longest: Duration,
    /// How long a connection must hold before waits start small again. Default 60 s.
    #[serde(deserialize_with = "units::duration")]
    pub stable_after: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        let retry::Policy { first, longest, stable_after } = retry::Policy::default();
        Self { first, longest, stable_after }
    }
}

impl From<&Backoff> for retry::Policy {
    fn from(backoff: &Backoff) -> Self {
        let Backoff { first, longest, stable_after } = *backoff;
        Self { first, longest, stable_after }
    }
}
