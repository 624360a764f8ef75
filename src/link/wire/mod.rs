//! One set of events and commands for both MQTT versions of rumqttc.
//!
//! Owns the translation between rumqttc's two unrelated families of types and ours; [`v4`] and
//! [`v5`] hold one family each. Decides nothing. Invariants: QoS 2 is never asked for or sent (a
//! fresh event loop cannot answer a PUBREL left over from an earlier one and would break the
//! connection for ever), and no topic alias is announced (rumqttc 0.25.1 hands an aliased publish
//! out without its topic).

mod v4;
mod v5;

use std::time::Duration;

use super::{LinkOptions, Versions, access::Grant, diagnose::Breakage};
use crate::model::{FaultKind, Message, MessageId, QoS, TopicFilter};

/// What we tell the cloud that we take unacknowledged (MQTT 5 section 3.1.2.11.3).
pub(super) const RECEIVE_MAXIMUM: u16 = 64;
/// The largest packet that we take, in bytes. Commands are small; this bounds memory.
const LARGEST_INCOMING: u32 = 1 << 20;
/// The largest packet that MQTT can express, in bytes.
const LARGEST_OUTGOING: usize = 268_435_460;

/// The MQTT version of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// MQTT 5.
    V5,
    /// MQTT 3.1.1, protocol level 4.
    V4,
}

impl Version {
    /// What is spoken first.
    pub(super) fn first_of(wanted: Versions) -> Self {
        match wanted {
            Versions::Any | Versions::V5 => Version::V5,
            Versions::V311 => Version::V4,
        }
    }

    /// As people write it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Version::V5 => "MQTT 5",
            Version::V4 => "MQTT 3.1.1",
        }
    }

    /// The other one.
    pub(super) fn other(self) -> Self {
        match self {
            Version::V5 => Version::V4,
            Version::V4 => Version::V5,
        }
    }
}

/// What the cloud said in its CONNACK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Greeting {
    /// Whether it remembers our session.
    pub(super) session_present: bool,
    /// How many publishes it takes unacknowledged, at least 1.
    pub(super) receive_maximum: u16,
    /// The largest packet that it takes, in bytes.
    pub(super) max_packet: Option<u32>,
    /// The keep-alive that it wants instead of ours; zero switches its own check off.
    pub(super) keep_alive: Option<Duration>,
    /// Whether it keeps retained messages.
    pub(super) retain_available: bool,
    /// Whether it takes QoS 1.
    pub(super) takes_qos_1: bool,
}

impl Default for Greeting {
    /// What MQTT 3.1.1, which says nothing, allows.
    fn default() -> Self {
        Self {
            session_present: false,
            receive_maximum: u16::MAX,
            max_packet: None,
            keep_alive: None,
            retain_available: true,
            takes_qos_1: true,
        }
    }
}

/// Why the cloud does not want something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) kind: FaultKind,
    /// In the words of the standard.
    pub(super) reason: &'static str,
}

impl Refusal {
    pub(super) const fn new(kind: FaultKind, reason: &'static str) -> Self {
        Self { kind, reason }
    }
}

/// What the cloud says about a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It has it.
    Accepted,
    /// It will never take it.
    Refused(Refusal),
    /// It does not take it now.
    Later(Refusal),
}

/// A publish from the cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Arrival {
    /// The message, or what is wrong with its topic.
    pub(super) message: Result<Message, String>,
    /// What to acknowledge; zero for QoS 0.
    pub(super) packet: u16,
    /// Whether the cloud sent it before.
    pub(super) redelivered: bool,
}

/// What happened on the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wire {
    /// CONNACK with success.
    Connected(Greeting),
    /// SUBACK: for each filter in order `None` when granted, else the reason.
    Subscribed(Vec<Option<Refusal>>),
    /// A publish went out under this packet id.
    PublishSent(u16),
    /// PUBACK.
    PublishAnswered(u16, Verdict),
    /// A publish came in.
    Arrived(Arrival),
    /// PINGREQ went out.
    PingSent,
    /// PINGRESP.
    PingAnswered,
    /// DISCONNECT went out.
    DisconnectSent,
    /// Anything else came in.
    Heard,
    /// The attempt failed or the connection is lost; nothing follows.
    Broken(Breakage),
}

/// rumqttc stops reading *all* requests, acknowledgements too, while as many publishes are in flight as it allows; so it
/// must allow more than our window.
fn inflight(options: &LinkOptions) -> u16 {
    options.window.saturating_add(8)
}

/// Room for everything that can be asked for at once; see [`Full`].
fn requests(options: &LinkOptions) -> usize {
    usize::from(options.window) + 1024
}

/// rumqttc's own limit in whole seconds, behind ours: the driver's limit must strike first.
fn timeout_seconds(options: &LinkOptions) -> u64 {
    options.connect_limit.as_secs() + 5
}

/// rumqttc's request queue is full. It has room for a whole window and for all acknowledgements
/// that can be due, so this means that the connection hangs.
#[derive(Debug)]
pub(super) struct Full;

/// The commands' end of one connection.
pub(super) enum Client {
    V4(rumqttc::AsyncClient),
    V5(rumqttc::v5::AsyncClient),
}

/// The events' end of one connection: an event loop that must be polled in its own task, because a
/// poll dropped half-way loses what it had taken.
pub(super) enum Line {
    V4(Box<rumqttc::EventLoop>),
    V5(Box<rumqttc::v5::EventLoop>),
}

/// Both ends of a connection that is yet to be opened; [`Line::aim_at`] says where.
pub(super) fn open(version: Version, options: &LinkOptions) -> (Client, Line) {
    let nowhere = Grant::default();
    match version {
        Version::V4 => {
            let made = v4::options(options, "", &nowhere);
            let (client, line) = rumqttc::AsyncClient::new(made, requests(options));
            (Client::V4(client), Line::V4(Box::new(v4::prepared(line, options))))
        }
        Version::V5 => {
            let made = v5::options(options, "", &nowhere);
            let (client, line) = rumqttc::v5::AsyncClient::new(made, requests(options));
            (Client::V5(client), Line::V5(Box::new(line)))
        }
    }
}

impl Client {
    /// Asks for subscriptions in one SUBSCRIBE.
    pub(super) fn subscribe(&self, filters: &[(TopicFilter, QoS)]) -> Result<(), Full> {
        match self {
            Client::V4(client) => client.try_subscribe_many(v4::filters(filters)).map_err(|_| Full),
            Client::V5(client) => client.try_subscribe_many(v5::filters(filters)).map_err(|_| Full),
        }
    }

    /// Publishes with QoS 1.
    pub(super) fn publish(&self, message: &Message, id: Option<&MessageId>) -> Result<(), Full> {
        match self {
            Client::V4(client) => {
                let qos = rumqttc::QoS::AtLeastOnce;
                let (topic, payload) = (message.topic.as_str(), message.payload.to_vec());
                client.try_publish(topic, qos, message.retain, payload).map_err(|_| Full)
            }
            Client::V5(client) => {
                let qos = rumqttc::v5::mqttbytes::QoS::AtLeastOnce;
                let (topic, payload) = (message.topic.as_str(), message.payload.clone());
                match v5::properties(message, id) {
                    Some(properties) => client
                        .try_publish_with_properties(topic, qos, message.retain, payload, properties)
                        .map_err(|_| Full),
                    None => client.try_publish(topic, qos, message.retain, payload).map_err(|_| Full),
                }
            }
        }
    }

    /// Acknowledges a publish of QoS 1.
    pub(super) fn acknowledge(&self, packet: u16) -> Result<(), Full> {
        match self {
            Client::V4(client) => client.try_ack(&v4::to_acknowledge(packet)).map_err(|_| Full),
            Client::V5(client) => client.try_ack(&v5::to_acknowledge(packet)).map_err(|_| Full),
        }
    }

    /// Ends the connection in order: the cloud does not publish the will.
    pub(super) fn disconnect(&self) -> Result<(), Full> {
        match self {
            Client::V4(client) => client.try_disconnect().map_err(|_| Full),
            Client::V5(client) => client.try_disconnect().map_err(|_| Full),
        }
    }
}

/// The size of the PUBLISH packet that `message` becomes, in bytes.
pub(super) fn packet_size(version: Version, message: &Message, id: Option<&MessageId>) -> usize {
    match version {
        Version::V4 => v4::packet_size(message),
        Version::V5 => v5::packet_size(message, id),
    }
}

/// An error of either event loop.
pub(super) enum LineError {
    V4(rumqttc::ConnectionError),
    V5(rumqttc::v5::ConnectionError),
}

impl Line {
    /// Which socket the next [`Line::poll`] opens, as long as there is no connection, and what it says there.
    pub(super) fn aim_at(&mut self, socket: &str, options: &LinkOptions, grant: &Grant) {
        match self {
            Line::V4(line) => line.mqtt_options = v4::options(options, socket, grant),
            Line::V5(line) => line.options = v5::options(options, socket, grant),
        }
    }

    /// Connects at first, and then the next event; `None` for one that means nothing to us. NOT
    /// cancel-safe: dropped half-way, the connection must be dropped with it.
    pub(super) async fn poll(&mut self) -> Result<Option<Wire>, LineError> {
        match self {
            Line::V4(line) => line.poll().await.map(v4::map).map_err(LineError::V4),
            Line::V5(line) => line.poll().await.map(v5::map).map_err(LineError::V5),
        }
    }

    /// What was read together with the end still counts: acknowledgements above all.
    pub(super) fn rest(&mut self) -> Vec<Wire> {
        match self {
            Line::V4(line) => line.state.events.drain(..).filter_map(v4::map).collect(),
            Line::V5(line) => line.state.events.drain(..).filter_map(v5::map).collect(),
        }
    }

    /// To be called once connected: a server that wants no keep-alive makes rumqttc's MQTT 5 ping
    /// without a pause; ours is the truth of the line.
    pub(super) fn insist_on_keep_alive(&mut self, keep_alive: Duration) {
        if let Line::V5(line) = self
            && line.options.keep_alive().is_zero()
        {
            line.options.set_keep_alive(v5::at_least_the_shortest(keep_alive));
        }
    }
}
