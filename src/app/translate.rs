//! The file's shape, put into each room's own words, so that no room below knows the file.

mod access;

use std::sync::Arc;

use bytes::Bytes;

use super::{CloudTopics, cloud_tree::CloudTree, ways};
use crate::{
    broker::{Acl, BrokerOptions, Limits, ListenerKind, ListenerOptions, TlsFiles, User},
    commands::{AllowList, QuietHours, Rate, ReplyTo, Rule, SafeState, Tell, Told, Values},
    config::{self, Config, MqttVersion, Profile},
    devices::DeviceSpec,
    link::{CloudLimits, LinkOptions, ProxyOptions, Versions},
    model::{
        Availability, Fields, GatewayId, Message, Properties, QoS, Receipts, Request, Topic, TopicFilter,
        Wanted,
    },
    store::{Entry, Keep, LaneOptions, StoreOptions, WhenFull},
};

pub(super) fn store(config: &config::Store, lanes: &Lanes, receipts: &Receipts) -> StoreOptions {
    StoreOptions {
        receipts: receipts.clone(),
        lanes: lanes.options.clone(),
        max_bytes: config.max_size,
        max_age: config.max_age,
        when_full: match config.when_full {
            config::WhenFull::DropOldest => WhenFull::DropOldest,
            config::WhenFull::RefuseNew => WhenFull::RefuseNew,
        },
        commit_floor: config.commit_floor,
        flash_budget: config.flash_budget,
        ..StoreOptions::default()
    }
}

pub(super) fn receipts(config: config::Receipts) -> Wanted {
    match config {
        config::Receipts::None => Wanted::Nothing,
        config::Receipts::Commands => Wanted::Commands,
        config::Receipts::All => Wanted::Everything,
    }
}

/// The store's lanes, and which route and whether the devices' states have one.
pub(super) struct Lanes {
    options: Vec<LaneOptions>,
    pub(super) of_routes: Vec<Option<usize>>,
    pub(super) of_states: Option<usize>,
}

/// Whoever has a policy of its own has a lane.
pub(super) fn lanes(config: &Config) -> Lanes {
    let mut options = Vec::new();
    let mut lane = |name: String, queue: &config::Queue| {
        if *queue == config::Queue::default() {
            return None;
        }
        options.push(LaneOptions {
            name,
            keep: match queue.keep {
                config::Keep::All => Keep::All,
                config::Keep::Latest => Keep::Latest,
                config::Keep::Every(time) => Keep::Every(time),
                config::Keep::Nothing => Keep::Nothing,
            },
            max_age: queue.max_age,
            max_bytes: queue.max_size,
            is_live_first: queue.live_first,
        });
        Some(options.len() - 1)
    };
    let of_routes = config.routes.iter().map(|route| lane(route.local.to_string(), &route.queue)).collect();
    // No filter has a space in front.
    let of_states = lane(" states".to_owned(), &config.store.states);
    Lanes { options, of_routes, of_states }
}

pub(super) fn broker(config: &config::Broker, closed: Vec<TopicFilter>) -> BrokerOptions {
    BrokerOptions {
        listeners: config.listeners.iter().map(listener).collect(),
        users: config
            .users
            .iter()
            .map(|user| User {
                name: user.name.clone(),
                password_hash: user.password_hash.as_ref().map(|hash| hash.expose().to_owned()),
                certificate_name: user.certificate_name.clone(),
                acl: user.acl.as_ref().map(acl),
            })
            .collect(),
        limits: limits(&config.limits),
        closed,
    }
}

fn limits(config: &config::Limits) -> Limits {
    let default = Limits::default();
    let count = |wanted: Option<u32>, default: usize| wanted.map_or(default, |count| count as usize);
    // On a 32-bit machine a bound beyond its memory is no bound.
    let bytes = |wanted: Option<u64>, default: usize| {
        wanted.map_or(default, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
    };
    Limits {
        max_clients: count(config.max_clients, default.max_clients),
        max_clients_per_address: count(config.max_clients_per_address, default.max_clients_per_address),
        max_sessions: count(config.max_sessions, default.max_sessions),
        handshake_time: config.handshake_time.unwrap_or(default.handshake_time),
        max_packet: bytes(config.max_packet, default.max_packet),
        incoming_bytes: bytes(config.incoming_in_all, default.incoming_bytes),
        longest_packet: default.longest_packet,
        queue_bytes_per_session: bytes(config.queue_per_session, default.queue_bytes_per_session),
        inflight: config.inflight.unwrap_or(default.inflight),
        retained_bytes: bytes(config.retained_size, default.retained_bytes),
        retained_count: count(config.retained_count, default.retained_count),
        subscriptions_per_client: count(config.subscriptions_per_client, default.subscriptions_per_client),
        subscription_bytes: bytes(config.subscriptions_in_all, default.subscription_bytes),
        topic_depth: config.topic_depth.map_or(default.topic_depth, usize::from),
        topic_length: config.topic_length.map_or(default.topic_length, usize::from),
        longest_session: config.longest_session.unwrap_or(default.longest_session),
        longest_keep_alive: config.longest_keep_alive,
        max_handshakes: count(config.max_handshakes, default.max_handshakes),
        queue_bytes: bytes(config.queue_in_all, default.queue_bytes),
        receive_maximum: config.receive_maximum.unwrap_or(default.receive_maximum),
    }
}

fn listener(config: &config::Listener) -> ListenerOptions {
    ListenerOptions {
        kind: match config.transport {
            config::Transport::Tcp => ListenerKind::Tcp,
            config::Transport::WebSocket => ListenerKind::WebSocket,
        },
        address: config.address,
        tls: config.tls.as_ref().map(|tls| TlsFiles {
            certificate: tls.certificate_file.clone(),
            key: tls.key_file.clone(),
            client_ca: tls.client_ca_file.clone(),
        }),
        anonymous: config.allows_anonymous(),
        acl: config.acl.as_ref().map(acl),
        origins: config.origins.clone(),
    }
}

fn acl(config: &config::Acl) -> Acl {
    Acl { read: config.read.clone(), write: config.write.clone() }
}

pub(super) fn devices(config: &[config::Device]) -> Vec<DeviceSpec> {
    config
        .iter()
        .map(|device| DeviceSpec {
            id: device.id.clone(),
            kind: device.kind.clone(),
            options: serde_json::Value::Object(device.options.clone()),
        })
        .collect()
}

pub(super) fn allow_list(config: &config::Commands) -> AllowList {
    AllowList::new(config.allow.iter().map(|allow| Rule {
        device: allow.device.clone(),
        set: allow.set.iter().map(|(field, values)| (field.clone(), self::values(values))).collect(),
        senders: allow.senders.clone().unwrap_or_default(),
        quiet: allow.quiet.iter().map(quiet).collect(),
        rate: allow.rate.map(|config::Rate { count, per }| Rate { count, per }),
    }))
}

fn quiet(config: &config::Quiet) -> QuietHours {
    QuietHours { from: config.from, to: config.to, days: config.days.clone() }
}

/// Whether some entry wants to know who asks, so that topics with a sender are to be subscribed.
pub(super) fn asks_who_sends(config: &config::Commands) -> bool {
    config.allow.iter().any(|allow| allow.senders.is_some())
}

pub(super) fn safe_states(config: &[config::Device]) -> Vec<SafeState> {
    let states = config.iter().filter_map(|device| {
        let config::OnLineLost { after, set } = device.on_line_lost.as_ref()?;
        // The check of the configuration has refused one that sets nothing.
        let set = Request::from_fields(set.clone()).ok()?;
        Some(SafeState { device: device.id.clone(), after: *after, set })
    });
    states.collect()
}

fn values(config: &config::Values) -> Values {
    match config {
        config::Values::OneOf(values) => Values::OneOf(values.clone()),
        config::Values::Range { min, max } => Values::Range(*min, *max),
        config::Values::Any => Values::Any,
    }
}

pub(super) fn link(config: &config::Cloud, gateway: &GatewayId, tree: &CloudTree) -> LinkOptions {
    let client_id = config.client_id.clone().unwrap_or_else(|| gateway.to_string());
    let terms = config.terms();
    LinkOptions {
        brokers: ways::brokers(config),
        proxy: ProxyOptions::default(),
        ca_file: config.ca_file.clone(),
        certificate_file: config.certificate_file.clone(),
        key_file: config.key_file.clone(),
        access: access::access(config, &client_id),
        client_id,
        subscriptions: Vec::new(),
        hellos: Vec::new(),
        birth: tree.presence(Availability::Online),
        will: tree.presence(Availability::Offline),
        fence: tree.fence(),
        keep_alive: terms.keep_alive,
        answer_limit: config.answer_limit,
        connect_limit: config.connect_limit,
        climb_after: config.climb_after,
        backoff: (&config.backoff).into(),
        window: terms.window,
        backlog_rate: config.backlog_rate,
        receipts: Receipts::default(),
        session_expiry: terms.session_expiry,
        version: version(terms.version),
        limits: CloudLimits { echoes: tree.echoes(), ..link_limits(&terms) },
    }
}

fn version(config: MqttVersion) -> Versions {
    match config {
        MqttVersion::Auto => Versions::Any,
        MqttVersion::V5 => Versions::V5,
        MqttVersion::V311 => Versions::V311,
    }
}

fn link_limits(terms: &Profile) -> CloudLimits {
    // On a 32-bit machine a bound beyond its memory is no bound.
    let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let unknown = CloudLimits::default();
    let ending = terms.naming.iter().filter(|naming| naming.harm == config::Harm::EndsTheLine);
    CloudLimits {
        max_payload: terms.max_payload.map(bytes),
        topic_levels: terms.topic_levels.map(usize::from),
        topic_length: terms.topic_length.map(usize::from),
        not_in_topics: ending.flat_map(|naming| naming.characters).copied().collect(),
        filters_per_subscribe: terms
            .filters_per_subscribe
            .map_or(unknown.filters_per_subscribe, |most| usize::from(most.max(1))),
        publish_rate: terms.publish_rate,
        retain: terms.retain,
        ..unknown
    }
}

/// The member that the store adds to what is the gateway's own, with the record's name.
const MESSAGE_ID: &str = "message_id";

/// A state, as JSON.
pub(super) fn json(mut fields: Fields) -> String {
    // It is the store's to say, and a member must not stand twice.
    fields.remove(MESSAGE_ID);
    serde_json::Value::Object(fields).to_string()
}

/// An outcome, with what the payload of its command gave to tell it from others.
pub(super) fn outcome(told: &Told, reply_to: &ReplyTo) -> serde_json::Value {
    // Ids, words, a text and a time: serialising them cannot fail.
    let mut outcome = serde_json::to_value(told).unwrap_or_default();
    if let (Some(fields), Some(said)) = (outcome.as_object_mut(), &reply_to.said) {
        fields.insert("correlation".to_owned(), said.clone());
    }
    outcome
}

/// How the cloud is told of an outcome: on the device's own topic and where the sender wants it. A topic on which the
/// answer would be a command, to us or to another gateway, or would speak in our own name, is not served.
pub(super) fn tell(topics: &CloudTopics) -> Tell {
    let topics = topics.clone();
    Arc::new(move |told, reply_to| {
        // The time is added when it is sent, by a clock that may be set by then; a repeated outcome keeps its own.
        let mut payload = outcome(told, reply_to);
        let is_repeated = told.outcome.duplicate;
        let stamp = if is_repeated { "told_at" } else { "at" };
        if let Some(fields) = payload.as_object_mut()
            && !is_repeated
        {
            fields.remove("at");
        }
        let payload = Bytes::from(payload.to_string());
        let entry = |topic: Topic, correlation: Option<Bytes>| {
            let mut message = Message::new(topic, payload.clone(), QoS::AtLeastOnce);
            message.properties = correlation
                .map(|data| Arc::new(Properties { correlation_data: Some(data), ..Properties::default() }));
            Entry { stamp: Some(stamp), ..Entry::new(message) }
        };
        let answer = reply_to.topic.clone().filter(|topic| topics.may_be_answered_on(topic));
        let mut entries = vec![entry(topics.result(&told.outcome.device), reply_to.correlation.clone())];
        entries.extend(answer.map(|topic| entry(topic, reply_to.correlation.clone())));
        entries
    })
}
