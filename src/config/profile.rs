//! What each kind of cloud wants: a table, from the vendors' documentation, of defaults and limits.
//!
//! Pure data. Whatever a person writes goes before it ([`super::Cloud::terms`]); the check says where that lies outside of what
//! the cloud documents. Invariants: `None` means that no number is documented, never that there is none; each
//! number has its source in the docstring of its function; `docs/profiles.md` shows the same table, and a test
//! compares them. Rejected: asking the cloud. MQTT 3.1.1 says nothing, and MQTT 5 speaks of a few of these only.

use std::{ops::RangeInclusive, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;

/// A kind of cloud, as it is written in `cloud.profile`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProfileName {
    /// AWS IoT Core.
    AwsIot,
    /// The MQTT broker of an Azure Event Grid namespace.
    AzureEventGrid,
    /// HiveMQ Cloud.
    HivemqCloud,
    /// EMQX, self-hosted.
    Emqx,
    /// Eclipse Mosquitto 2.
    Mosquitto,
    /// RabbitMQ with the plugin for MQTT over WebSockets.
    Rabbitmq,
    /// NATS with JetStream and a WebSocket listener.
    Nats,
    /// ThingsBoard, by its gateway API.
    Thingsboard,
}

/// Which MQTT to speak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MqttVersion {
    /// MQTT 5 first, 3.1.1 where the cloud knows no better.
    #[default]
    Auto,
    /// MQTT 5 only.
    V5,
    /// MQTT 3.1.1 only.
    V311,
}

/// How topics and payloads in the cloud are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tree {
    /// `<prefix>/<gateway>/<device>`, as everywhere in this documentation.
    #[default]
    Own,
    /// `v1/gateway/…` of ThingsBoard: states as telemetry, commands as remote procedure calls.
    ThingsBoard,
}

/// What a cloud does not take in a topic, although MQTT does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Naming {
    /// The characters.
    pub characters: &'static [char],
    /// What happens to a topic that has one.
    pub why: &'static str,
    /// How bad that is.
    pub harm: Harm,
}

/// What a character in a topic does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// The cloud ends the connection: such a message is never sent.
    EndsTheLine,
    /// It comes out under another topic.
    Elsewhere,
    /// Some versions and some readers are puzzled.
    Puzzles,
}

/// The defaults and limits of a kind of cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The port of `wss://` when the URL has none.
    pub port: u16,
    /// The path when the URL has none.
    pub path: &'static str,
    /// The MQTT to speak.
    pub version: MqttVersion,
    /// The keep-alive when nobody says otherwise.
    pub keep_alive: Duration,
    /// Those that the cloud keeps to.
    pub keep_alives: RangeInclusive<Duration>,
    /// Publishes on their way at a time, when nobody says otherwise.
    pub window: u16,
    /// How many it takes at most.
    pub most_in_flight: Option<u16>,
    /// For how long it is asked to keep a session, when nobody says otherwise.
    pub session_expiry: Duration,
    /// For how long it does at most.
    pub longest_session: Option<Duration>,
    /// The largest payload, in bytes.
    pub max_payload: Option<u64>,
    /// The most levels of a topic: one more than its slashes.
    pub topic_levels: Option<u16>,
    /// The longest topic, in bytes.
    pub topic_length: Option<u16>,
    /// The most filters in one SUBSCRIBE.
    pub filters_per_subscribe: Option<u16>,
    /// The most subscriptions of a connection.
    pub subscriptions: Option<u16>,
    /// The most publishes a second.
    pub publish_rate: Option<u32>,
    /// The longest client id, in bytes.
    pub client_id_length: Option<u16>,
    /// Whether it keeps retained messages for those who come later.
    pub retain: bool,
    /// Its own topics, or ours.
    pub tree: Tree,
    /// What it does not take in a topic.
    pub naming: &'static [Naming],
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const HOUR: Duration = seconds(3600);

impl Profile {
    /// What holds where no profile is named: MQTT's own bounds, and eight filters a SUBSCRIBE as all clouds take.
    pub fn plain() -> Self {
        Self {
            port: 443,
            path: "/mqtt",
            version: MqttVersion::Auto,
            keep_alive: seconds(45),
            keep_alives: seconds(5)..=seconds(18 * 3600),
            window: 2_000,
            most_in_flight: None,
            session_expiry: HOUR,
            longest_session: None,
            max_payload: None,
            topic_levels: None,
            topic_length: None,
            filters_per_subscribe: None,
            subscriptions: None,
            publish_rate: None,
            client_id_length: None,
            retain: true,
            tree: Tree::Own,
            naming: &[],
        }
    }
}

impl ProfileName {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AwsIot => "aws-iot",
            Self::AzureEventGrid => "azure-event-grid",
            Self::HivemqCloud => "hivemq-cloud",
            Self::Emqx => "emqx",
            Self::Mosquitto => "mosquitto",
            Self::Rabbitmq => "rabbitmq",
            Self::Nats => "nats",
            Self::Thingsboard => "thingsboard",
        }
    }

    /// All of them, in the order of the documentation.
    pub fn all() -> [Self; 8] {
        use ProfileName::{
            AwsIot, AzureEventGrid, Emqx, HivemqCloud, Mosquitto, Nats, Rabbitmq, Thingsboard,
        };
        [AwsIot, AzureEventGrid, HivemqCloud, Emqx, Mosquitto, Rabbitmq, Nats, Thingsboard]
    }

    /// Its line of the table.
    pub fn profile(self) -> Profile {
        match self {
            Self::AwsIot => aws_iot(),
            Self::AzureEventGrid => azure_event_grid(),
            Self::HivemqCloud => hivemq_cloud(),
            Self::Emqx => emqx(),
            Self::Mosquitto => mosquitto(),
            Self::Rabbitmq => rabbitmq(),
            Self::Nats => nats(),
            Self::Thingsboard => thingsboard(),
        }
    }
}

/// "AWS IoT Core endpoints and quotas", section "message broker and protocol limits and quotas": keep-alive 30 to
/// 1,200 s, 128 KB a payload, 7 slashes and 256 bytes a topic, 8 filters a SUBSCRIBE, 50 subscriptions a connection,
/// 100 publishes a second a connection, 100 unacknowledged publishes, client ids of 128 bytes; the AWS IoT Device
/// SDK's `AwsIotCoreDefaults` enforces the same. "MQTT persistent sessions": an hour unless the account has more.
/// "Protocols, port mappings and authentication": MQTT over WebSockets on 443 at `/mqtt`. QoS 2 is not taken.
fn aws_iot() -> Profile {
    Profile {
        keep_alives: seconds(30)..=seconds(1200),
        window: 64,
        most_in_flight: Some(100),
        longest_session: Some(HOUR),
        max_payload: Some(128 << 10),
        topic_levels: Some(8),
        topic_length: Some(256),
        filters_per_subscribe: Some(8),
        subscriptions: Some(50),
        publish_rate: Some(100),
        client_id_length: Some(128),
        ..Profile::plain()
    }
}

/// "Azure Event Grid quotas and limits", section "MQTT limits in Event Grid namespace": 512 KB a message, 256 bytes and
/// 15 segments a topic (since May 2025; 8 before), 10 filters a SUBSCRIBE, 50 subscriptions a session, keep-alive up
/// to 1,160 s, 1,000 publishes a second a session, 1,000 in flight, sessions up to 8 h as the namespace is
/// configured (1 h by default). "MQTT features supported by Azure Event Grid MQTT broker": WebSockets on 443, the client
/// id is the session's name, the user name the client's authentication name. No QoS 2. Retained messages
/// ("Support for MQTT Retain") are a preview and 64 KB at most.
fn azure_event_grid() -> Profile {
    Profile {
        keep_alives: seconds(5)..=seconds(1160),
        window: 500,
        most_in_flight: Some(1000),
        longest_session: Some(seconds(8 * 3600)),
        max_payload: Some(512 << 10),
        topic_levels: Some(15),
        topic_length: Some(256),
        filters_per_subscribe: Some(10),
        subscriptions: Some(50),
        publish_rate: Some(1000),
        ..Profile::plain()
    }
}

/// HiveMQ Cloud, "Overview" of a cluster: WebSockets on 8884 at `/mqtt`. "MQTT-Specific Configuration" of HiveMQ: the
/// server's receive maximum is 10, clients' ids may have 65,535 bytes. What a plan takes more or less is
/// in its CONNACK, which goes before this.
fn hivemq_cloud() -> Profile {
    Profile { port: 8884, window: 10, most_in_flight: Some(10), ..Profile::plain() }
}

/// EMQX, "MQTT Configuration": `max_packet_size` 1 MB (4 KiB of it left here for topic and properties),
/// `max_topic_levels` 128, `max_inflight` 32, `session_expiry_interval` 2 h. "Listeners": WebSockets in TLS on 8084 at `/mqtt`.
fn emqx() -> Profile {
    Profile {
        port: 8084,
        window: 32,
        most_in_flight: Some(32),
        longest_session: Some(2 * HOUR),
        max_payload: Some((1 << 20) - (4 << 10)),
        topic_levels: Some(128),
        ..Profile::plain()
    }
}

/// `mosquitto.conf(5)`: `max_inflight_messages` 20 (a client with more waits), `message_size_limit` none,
/// `max_keepalive` 65,535; its source: 200 levels a topic (`TOPIC_HIERARCHY_LIMIT`). No port of a WebSocket is its
/// own, so 443 stays; any path is taken.
fn mosquitto() -> Profile {
    Profile {
        keep_alives: seconds(5)..=seconds(65_535),
        window: 20,
        most_in_flight: Some(20),
        topic_levels: Some(200),
        ..Profile::plain()
    }
}

/// RabbitMQ, "Web MQTT Plugin": WebSockets in TLS on 15676 at `/ws`. "MQTT Plugin": QoS 2 is not kept, topics become
/// routing keys in which `/` is `.` (which AMQP's readers see up to 255 bytes), sessions 24 h at most
/// (`max_session_expiry_interval_seconds`). "Release 4.1": 16 MiB a packet by default (4 KiB of it left here for topic and properties).
/// A retained message is found by its very topic, not by a wildcard, before 4.2, and on the node that took it.
fn rabbitmq() -> Profile {
    Profile {
        port: 15_676,
        path: "/ws",
        longest_session: Some(24 * HOUR),
        max_payload: Some((16 << 20) - (4 << 10)),
        naming: &[Naming {
            characters: &['.'],
            why: "RabbitMQ writes a `.` of a topic as `/`, so that others see another topic",
            harm: Harm::Elsewhere,
        }],
        ..Profile::plain()
    }
}

/// NATS, "MQTT": 3.1.1 only, MQTT over WebSockets at `/mqtt` of the WebSocket port (`websocket { port }`, 443 in the
/// documentation's example). `max_payload` 1 MB (4 KiB left for the headers it adds). Its source: a topic with white space is
/// refused and ends the connection (`errMQTTUnsupportedCharacters`); before 2.10 one with a `.`, too. Sessions and
/// retained messages lie in JetStream and end with clean sessions only.
fn nats() -> Profile {
    Profile {
        version: MqttVersion::V311,
        max_payload: Some((1 << 20) - (4 << 10)),
        naming: &[
            Naming {
                characters: &[' ', '\t', '\n', '\r', '\x0c', '\x7f'],
                why: "NATS ends the connection at a topic with white space",
                harm: Harm::EndsTheLine,
            },
            Naming {
                characters: &['.'],
                why: "NATS before 2.10 refuses a topic with a `.`, and later ones show it to its own clients as `//`",
                harm: Harm::Puzzles,
            },
        ],
        ..Profile::plain()
    }
}

/// ThingsBoard, "MQTT Gateway API" and "MQTT Device API": the topics, the access token as user name. Its `thingsboard.yml`:
/// `NETTY_MAX_PAYLOAD_SIZE` 65,536 a packet (1 KiB of it left here), and per device the tenant profile's rate, which
/// is unlimited by default. It speaks MQTT over TLS on 8883; WebSockets need TBMQ or a proxy before it (8084 at
/// `/mqtt`, as TBMQ has it). It keeps neither retained messages nor sessions.
fn thingsboard() -> Profile {
    Profile {
        port: 8084,
        max_payload: Some((64 << 10) - (1 << 10)),
        retain: false,
        tree: Tree::ThingsBoard,
        ..Profile::plain()
    }
}

impl<'de> Deserialize<'de> for MqttVersion {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(VersionVisitor)
    }
}

struct VersionVisitor;

impl serde::de::Visitor<'_> for VersionVisitor {
    type Value = MqttVersion;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("`auto`, `\"5\"` or `\"3.1.1\"`")
    }

    fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<MqttVersion, E> {
        match word {
            "auto" => Ok(MqttVersion::Auto),
            "5" | "5.0" => Ok(MqttVersion::V5),
            "3.1.1" => Ok(MqttVersion::V311),
            _ => Err(super::units::advise(
                &format!("`{word}` is no version of MQTT that the line speaks"),
                "write `auto`, `\"5\"` or `\"3.1.1\"`",
            )),
        }
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<MqttVersion, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<MqttVersion, E> {
        self.visit_str(&format!("{number:.1}"))
    }
}

impl std::fmt::Display for MqttVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::V5 => "5",
            Self::V311 => "3.1.1",
        })
    }
}
