//! The broker's inner parts for `benches/`, by the feature `parts`: packages are built without it.
//!
//! Owns a packet codec and a meeting of sessions, without sockets and without a disk. Repeats nothing of the broker and
//! decides nothing: each call is the calls that a connection makes. Not `fuzzing`, which asks for a build of everything
//! with a `cfg` of its own, and whose streams in memory would be most of what is measured.

use std::time::Duration;

use bytes::BytesMut;

use super::{
    auth::{Auth, Identity},
    delivery::Publication,
    hub::{Attached, Hub},
    options::Limits,
    packet::{
        Ack, Body, Encoder, Frame, Outgoing, Packet, RetainHandling, SubscriptionOptions, TheirAliases,
        Version, decode, frame,
    },
    receipt::Pledge,
    rights::Rights,
    session::Appetite,
};
use crate::model::{ClientId, Message, QoS, TopicFilter};

/// Up to how many bytes of output a session is asked for more.
const FILL: usize = 64 << 10;
/// How many packet ids there are.
const IDS: u16 = u16::MAX;

/// The version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// 3.1.1.
    V311,
    /// 5.
    V5,
}

impl Protocol {
    fn version(self) -> Version {
        match self {
            Self::V311 => Version::V311,
            Self::V5 => Version::V5,
        }
    }
}

/// Reads and writes PUBLISH as one connection does.
pub struct Codec {
    version: Version,
    aliases: TheirAliases,
    encoder: Encoder,
    out: BytesMut,
}

impl Codec {
    /// Of a new connection without topic aliases.
    pub fn new(protocol: Protocol) -> Self {
        let version = protocol.version();
        Self { version, aliases: TheirAliases::new(0), encoder: Encoder::new(version), out: BytesMut::new() }
    }

    /// The message of a whole PUBLISH; `None`: it is none.
    pub fn decode(&mut self, bytes: &[u8]) -> Option<Message> {
        let Ok(Frame::Whole { first, header, length }) = frame(bytes, 1 << 20) else { return None };
        let body = bytes.get(header..header + length)?;
        match decode(self.version, first, Body::from(body), &mut self.aliases) {
            Ok(Packet::Publish(publish)) => Some(publish.message),
            _ => None,
        }
    }

    /// PUBLISH with this packet id; empty when it is larger than any packet may be.
    pub fn encode(&mut self, message: &Message, id: u16) -> &[u8] {
        self.out.clear();
        let left = message.properties.as_ref().and_then(|properties| properties.expiry);
        let wanted = Outgoing {
            message,
            qos: message.qos,
            retain: message.retain,
            id,
            is_duplicate: false,
            left,
            identifiers: &[],
        };
        if self.encoder.publish(&mut self.out, wanted).is_err() {
            self.out.clear();
        }
        &self.out
    }
}

/// Connected clients in one house, each with a subscription.
pub struct Meeting {
    hub: Hub,
    seats: Vec<(Attached, Encoder)>,
    out: BytesMut,
    publisher: ClientId,
    last_id: u16,
}

impl Meeting {
    /// So many clients with a clean session, subscribed with QoS 1: client `n` to filter `n` modulo their number. `None`:
    /// there is no filter, or the default limits have no room for so many.
    pub fn new(protocol: Protocol, clients: usize, filters: &[TopicFilter]) -> Option<Self> {
        let mut limits = Limits::default();
        limits.max_sessions = limits.max_sessions.max(clients);
        let auth = Auth::new(&[], limits.handshake_time).ok()?;
        let hub = Hub::new(limits);
        let options = SubscriptionOptions {
            qos: QoS::AtLeastOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Send,
            identifier: None,
        };
        let mut seats = Vec::new();
        for (number, filter) in (0..clients).zip(filters.iter().cycle()) {
            let client = ClientId::new(&format!("client-{number}"));
            let identity = Identity { user: None, rights: Rights::of(None, None, client.as_str()) };
            let attached = hub.attach(&client, &identity, &auth, (true, Some(Duration::ZERO))).ok()?;
            hub.subscribe(&attached, filter, options, &mut Pledge::default()).ok()?;
            seats.push((attached, Encoder::new(protocol.version())));
        }
        (seats.len() == clients).then(|| Self {
            hub,
            seats,
            out: BytesMut::new(),
            publisher: ClientId::new("publisher"),
            last_id: 0,
        })
    }

    /// One message from its publisher into the output of every client whose filter matches, acknowledged by them where it
    /// has QoS 1. Gives how many bytes that were. All filters are to match all messages with QoS 1, or the packet ids
    /// of clients drift apart.
    pub fn relay(&mut self, message: Message) -> usize {
        let qos = message.qos;
        self.publish(message);
        if qos == QoS::AtLeastOnce {
            self.last_id = self.last_id % IDS + 1;
        }
        let mut written = 0;
        for number in 0..self.seats.len() {
            written += self.take(number);
            if qos == QoS::AtLeastOnce {
                let Attached { session, owner, .. } = &self.seats[number].0;
                session.acknowledge(owner, (Ack::Taken, self.last_id, false), &self.hub.counters);
            }
        }
        written
    }

    /// Publishes, and gives how many it was queued for.
    pub fn publish(&self, message: Message) -> usize {
        self.hub.publish(&Publication::received(message, Some(self.publisher.clone()), false), 0).taken
    }

    /// What waits for client `number`, as its connection writes it; gives how many bytes that are, none for who is not
    /// here.
    pub fn take(&mut self, number: usize) -> usize {
        let Some((Attached { session, owner, .. }, encoder)) = self.seats.get_mut(number) else { return 0 };
        self.out.clear();
        let appetite = Appetite { window: usize::from(self.hub.limits.inflight), until: FILL };
        session.fill(owner, encoder, &mut self.out, appetite, self.hub.bounds(), &self.hub.counters);
        self.out.len()
    }
}
