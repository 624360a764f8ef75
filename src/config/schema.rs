//! The file as a whole and its small sections. The larger ones have a file each.
//!
//! Owns names, types and defaults; what must hold between sections is `checks`' business.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Broker, Cloud, Commands, Homie, Names, Queue, Route, RouteIn,
    json_schema::{Address, Size, Span},
    units,
};
use crate::model::{DeviceId, Fields, GatewayId, Topic, TopicFilter};

/// The whole file.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who this gateway is. The only section that must be there.
    pub gateway: Gateway,
    /// The broker that the devices at home speak to.
    #[serde(default)]
    pub broker: Broker,
    /// The one line out; without it everything works at home only.
    #[serde(default)]
    pub cloud: Option<Cloud>,
    /// The devices at home.
    #[serde(default)]
    pub devices: Vec<Device>,
    /// What may come in on the line.
    #[serde(default)]
    pub commands: Commands,
    /// Further local topics that go to the cloud; the first route that matches a topic counts.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// What of the cloud comes into the house beside commands; the first that matches a topic counts.
    #[serde(default)]
    pub routes_in: Vec<RouteIn>,
    /// The queue on disk.
    #[serde(default)]
    pub store: Store,
    /// What Home Assistant is told of the devices.
    #[serde(default)]
    pub home_assistant: HomeAssistant,
    /// What Homie controllers are told of the devices.
    #[serde(default)]
    pub homie: Homie,
    /// The status page; without it there is none.
    #[serde(default)]
    pub web: Option<Web>,
    /// What is written to the log.
    #[serde(default)]
    pub log: Log,
}

impl Config {
    /// A filter of all topics at home to which a route from the cloud may publish; `None` without a cloud.
    pub fn reach_at_home(&self, route: &RouteIn) -> Option<TopicFilter> {
        let prefix = &self.cloud.as_ref()?.prefix;
        let filter = route.cloud.filter(prefix, &self.gateway.id).ok()?;
        route.local.widest(&Names { prefix, gateway: &self.gateway.id, filter: &filter }).ok()
    }
}

/// Who this gateway is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    /// Its name: a level of every cloud topic, and the MQTT client id unless `cloud.client_id` says otherwise.
    pub id: GatewayId,
    /// Where the store lives; made when it is missing. Default `/var/lib/hearthlink`.
    #[serde(default = "default_data_dir")]
    pub data_dir: PathBuf,
    /// Of what receipts are told at home, on `home/bridge/receipt/…` and at `/api/receipts`. Default `commands`.
    #[serde(default)]
    pub receipts: Receipts,
}

/// Of what receipts are told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Receipts {
    /// Of nothing.
    None,
    /// Of every command: received, admitted, and how it ended.
    #[default]
    Commands,
    /// Of every message for the cloud, too: spooled, sent, acknowledged.
    All,
}

fn default_data_dir() -> PathBuf {
    PathBuf::from("/var/lib/hearthlink")
}

/// One device.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Its name, a level of every topic of it; unique.
    pub id: DeviceId,
    /// What it is: the name of a kind, as in `docs/devices.md`.
    pub kind: String,
    /// What its kind needs to know.
    #[serde(default)]
    pub options: Fields,
    /// What it is set to when the line to the cloud has been lost for a time. Default: it is left as it is.
    #[serde(default)]
    pub on_line_lost: Option<OnLineLost>,
}

/// What a device is set to when the line to the cloud has been lost for a time.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OnLineLost {
    /// For how long the line must have been down. 1 s to 7 d.
    #[serde(deserialize_with = "units::duration")]
    #[schemars(with = "Span")]
    pub after: Duration,
    /// The fields of its state, as a command would set them.
    pub set: Fields,
}

/// The queue on disk: readings that the cloud has not acknowledged yet.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// The most that may wait, in bytes of topic and payload. 64 KiB or more, default 256 MiB.
    #[serde(deserialize_with = "units::bytes")]
    #[schemars(with = "Size")]
    pub max_size: u64,
    /// How long a reading may wait. 1 s or more, default 7 d.
    #[serde(deserialize_with = "units::duration")]
    #[schemars(with = "Span")]
    pub max_age: Duration,
    /// What gives way when `max_size` is reached. Default `drop_oldest`.
    pub when_full: WhenFull,
    /// The least time between two commits: saves flash, makes every PUBACK wait up to as long. 0 s to 3 s,
    /// default 0 s.
    #[serde(deserialize_with = "units::duration")]
    #[schemars(with = "Span")]
    pub commit_floor: Duration,
    /// What may be written to the disk a day; whoever would write more commits less often, up to every 3 s.
    /// 1 MiB or more, default none.
    #[serde(deserialize_with = "units::bytes")]
    #[schemars(with = "Option<Size>")]
    pub flash_budget: Option<u64>,
    /// What is kept of the devices' own states (`home/<device>`) until the cloud has them.
    pub states: Queue,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            max_size: 256 * 1024 * 1024,
            max_age: Duration::from_secs(7 * 24 * 3600),
            when_full: WhenFull::DropOldest,
            commit_floor: Duration::ZERO,
            flash_budget: None,
            states: Queue::default(),
        }
    }
}

/// What gives way when the queue is full. What is dropped is counted and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// The oldest readings make room.
    DropOldest,
    /// The new reading is not accepted: its device sees no PUBACK and sends it again.
    RefuseNew,
}

/// What Home Assistant is told of the devices, on the local broker.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HomeAssistant {
    /// Whether devices are announced. Default true: who has no Home Assistant has a retained message a device more.
    pub enabled: bool,
    /// Home Assistant's discovery prefix. Default `homeassistant`, as there.
    pub prefix: Topic,
}

impl Default for HomeAssistant {
    fn default() -> Self {
        Self { enabled: true, prefix: Topic::parse("homeassistant").expect("a plain word") }
    }
}

/// The status page.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Web {
    /// Where it listens; elsewhere than on loopback only with a password. Default `127.0.0.1:8080`.
    #[serde(default = "default_web_address", deserialize_with = "units::address")]
    #[schemars(with = "Address")]
    pub address: SocketAddr,
    /// Names under which it is asked for, beside this machine's addresses and `localhost`; without a port.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// A file with the password in its first line. Default: none.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Whether whoever sees the page may press the buttons of devices that `commands.allow` allows. Default false.
    #[serde(default)]
    pub control: bool,
}

fn default_web_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8080))
}

/// What is written to the log. The environment variable `HEARTHLINK_LOG` overrides the level.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// How much. Default `info`. Taken over by a reload, without a restart.
    pub level: LogLevel,
    /// In which shape. Default `auto`.
    pub format: LogFormat,
}

/// How much is logged, from little to much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Data lost, or a person is needed.
    Error,
    /// Recovered, nothing lost.
    Warn,
    /// A state changed.
    #[default]
    Info,
    /// For whoever looks for a fault.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The word, as the log filter wants it.
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

/// In which shape the log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// The journal when systemd started us, else text.
    #[default]
    Auto,
    /// systemd's journal, with fields.
    Journal,
    /// Lines of text on standard error.
    Text,
    /// Lines of JSON on standard error, for a program that collects them.
    Json,
}
