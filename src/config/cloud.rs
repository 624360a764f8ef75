//! The section `cloud`: the one line out.

use std::{path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    CloudLimits, MqttVersion, ProfileName,
    access::{Aws, Azure, Header},
    json_schema::Span,
    units,
    ways::{Proxy, Rung},
};
use crate::{
    model::{CloudUrl, Topic},
    retry,
};

/// The line to the cloud.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cloud {
    /// Where: `wss://host[:port][/path]`, without a port 443, without a path `/mqtt`, or what the profile says; or
    /// `mqtts://host[:port]`, without a port 8883.
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
    #[schemars(with = "Span")]
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
    /// A file whose first line is a bearer token; readable by its owner only.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// What the WebSocket's upgrade says in addition.
    #[serde(default)]
    pub headers: Vec<Header>,
    /// Logging in at AWS IoT otherwise than by the certificate.
    #[serde(default)]
    pub aws: Option<Aws>,
    /// Logging in at Azure by a shared access signature.
    #[serde(default)]
    pub azure: Option<Azure>,
    /// The first level or levels of every cloud topic. Default `hearthlink`.
    #[serde(default = "default_prefix")]
    pub prefix: Topic,
    /// What kind of cloud it is: defaults for the rest of this section, and limits that the check applies.
    #[serde(default)]
    pub profile: Option<ProfileName>,
    /// The MQTT to speak. Default: the profile's, else `auto`.
    #[serde(default)]
    pub version: Option<MqttVersion>,
    /// What the cloud takes. Default: what the profile says.
    #[serde(default)]
    pub limits: CloudLimits,
    /// MQTT keep-alive, in whole seconds from 5 s to 18 h. Default: the profile's, else 45 s.
    #[serde(default, deserialize_with = "units::duration")]
    #[schemars(with = "Option<Span>")]
    pub keep_alive: Option<Duration>,
    /// How long the cloud may take to answer before the line counts as dead. 1 s to 5 min, default 15 s.
    #[serde(default = "default_answer_limit", deserialize_with = "units::duration")]
    #[schemars(with = "Span")]
    pub answer_limit: Duration,
    /// How long name resolution, TCP, TLS, WebSocket and CONNECT may take together. 1 s to 5 min, default 30 s.
    #[serde(default = "default_connect_limit", deserialize_with = "units::duration")]
    #[schemars(with = "Span")]
    pub connect_limit: Duration,
    /// Publishes on their way at a time, 1 to 65,535. Default: the profile's, else 2,000.
    #[serde(default)]
    pub window: Option<u16>,
    /// How many messages a second of those that waited while the line was down, at most. 1 to 100,000; default:
    /// as fast as the cloud takes them.
    #[serde(default)]
    pub backlog_rate: Option<u32>,
    /// How long the cloud is asked to keep our session while the line is down. Default: the profile's, else 1 h.
    #[serde(default, deserialize_with = "units::duration")]
    #[schemars(with = "Option<Span>")]
    pub session_expiry: Option<Duration>,
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

fn default_answer_limit() -> Duration {
    Duration::from_secs(15)
}

fn default_connect_limit() -> Duration {
    Duration::from_secs(30)
}

/// How waits between attempts grow; see [`retry::Policy`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Backoff {
    /// The upper end of the first wait. Default 1 s.
    #[serde(deserialize_with = "units::duration")]
    #[schemars(with = "Span")]
    pub first: Duration,
    /// The upper end that is never passed. Default 5 min.
    #[serde(deserialize_with = "units::duration")]
    #[schemars(with = "Span")]
    pub longest: Duration,
    /// How long a connection must hold before waits start small again. Default 60 s.
    #[serde(deserialize_with = "units::duration")]
    #[schemars(with = "Span")]
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
