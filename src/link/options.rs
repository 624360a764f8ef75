//! What the link needs to know; `app/` translates the configuration into it.

use std::{fmt, path::PathBuf, time::Duration};

use super::{access::Access, dial::ProxyOptions, way::Way};
use crate::{
    model::{Message, QoS, Receipts, Topic, TopicFilter},
    retry,
};

/// How to reach the cloud and what to say there.
#[derive(Clone)]
pub struct LinkOptions {
    /// Where the cloud is: its brokers, the preferred one first, and for each the ways to it, the best one first.
    pub brokers: Vec<Vec<Way>>,
    /// Through which proxy.
    pub proxy: ProxyOptions,
    /// What is said beside the certificate.
    pub access: Access,
    /// The CAs to trust, PEM; `None`: the system's.
    pub ca_file: Option<PathBuf>,
    /// Our certificate with its chain, PEM; with `key_file` or not at all.
    pub certificate_file: Option<PathBuf>,
    /// Its private key, PEM.
    pub key_file: Option<PathBuf>,
    /// The MQTT client id.
    pub client_id: String,
    /// What to subscribe to; QoS 2 is asked for as 1.
    pub subscriptions: Vec<(TopicFilter, QoS)>,
    /// Published on every connection, once subscribed, before `birth`: what the cloud must know before anything else.
    pub hellos: Vec<Message>,
    /// Published on every connection, once subscribed: retained `online`.
    pub birth: Message,
    /// The last will, and published when the link stops: retained `offline`.
    pub will: Message,
    /// Our own topic, by which we see that nothing older is still to come.
    pub fence: Topic,
    /// How often the line is tested, 45 s unless the cloud wants it sooner; MQTT 5: at least 5 s.
    pub keep_alive: Duration,
    /// How long the cloud may take to answer anything, 15 s.
    pub answer_limit: Duration,
    /// How long name resolution, proxy, TCP, TLS, WebSocket and CONNACK may take together.
    pub connect_limit: Duration,
    /// How long the line is up at another place than the best before that one is tried again.
    pub climb_after: Duration,
    /// How waits between attempts grow.
    pub backoff: retry::Policy,
    /// How many publishes may be unacknowledged, at least 1; a cloud may allow less.
    pub window: u16,
    /// How many messages a second of those that waited while the line was down, at most; `None`: as fast as
    /// the cloud takes them.
    pub backlog_rate: Option<u32>,
    /// Who is told when a message was sent and when the cloud has it.
    pub receipts: Receipts,
    /// Which MQTT to speak.
    pub version: Versions,
    /// What the cloud takes.
    pub limits: CloudLimits,
    /// How long the cloud is to keep our session while we are away, whole seconds (MQTT 5).
    pub session_expiry: Duration,
}

impl fmt::Debug for LinkOptions {
    /// Without what logs us in.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkOptions")
            .field("brokers", &self.brokers)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// Which MQTT to speak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Versions {
    /// MQTT 5 first, 3.1.1 where the cloud knows no better.
    #[default]
    Any,
    /// MQTT 5 only.
    V5,
    /// MQTT 3.1.1 only.
    V311,
}

/// What the cloud takes, beside what it says itself in MQTT 5; `None`: nobody knows of a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudLimits {
    /// The largest payload, in bytes.
    pub max_payload: Option<usize>,
    /// The most levels of a topic, one more than its slashes.
    pub topic_levels: Option<usize>,
    /// The longest topic, in bytes.
    pub topic_length: Option<usize>,
    /// Characters at which it would end the connection.
    pub not_in_topics: Vec<char>,
    /// The most filters in one SUBSCRIBE, at least 1.
    pub filters_per_subscribe: usize,
    /// The most publishes a second.
    pub publish_rate: Option<u32>,
    /// Whether it takes publishes that are to be retained; where not, they are sent as others.
    pub retain: bool,
    /// Whether what we publish on the fence's topic comes back to us. Where not, what comes in counts as live once the
    /// connection has been subscribed for a while.
    pub echoes: bool,
}

impl Default for CloudLimits {
    /// No limits, and eight filters in a SUBSCRIBE, which every cloud takes.
    fn default() -> Self {
        Self {
            max_payload: None,
            topic_levels: None,
            topic_length: None,
            not_in_topics: Vec::new(),
            filters_per_subscribe: 8,
            publish_rate: None,
            retain: true,
            echoes: true,
        }
    }
}
