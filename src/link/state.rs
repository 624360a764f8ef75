//! The state machine of the line: events in, effects out. No I/O, no clock, no task.
//!
//! Owns every decision: when to dial and with which MQTT version, what to send when, when the line
//! is dead, what a refusal means. `run.rs` obeys. Invariants: a record is deleted only after its
//! PUBACK or by the named policy `refused by the cloud`; after every CONNACK everything that is not
//! deleted is sent again, oldest first; nothing is published before every subscription is granted;
//! what arrives before the fence's echo is [`Staleness::MayHaveWaited`].

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::{
    diagnose::{Breakage, VersionHint},
    window::{Fetch, Parcel, Window},
    wire::{self, Arrival, Greeting, RECEIVE_MAXIMUM, Verdict, Version, Wire},
};
use crate::{
    health::LinkCounters,
    model::{
        Fault, FaultKind, LinkState, Message, MessageId, Properties, QoS, Staleness, Topic, TopicFilter,
    },
    retry::{self, Backoff},
    store::Record,
};

/// AWS IoT takes no more filters in one SUBSCRIBE.
const FILTERS_A_SUBSCRIBE: usize = 8;
/// How long the fence's echo may take before messages count as live without it.
const FENCE_LIMIT: Duration = Duration::from_secs(10);
/// How long a stopping link waits for PUBACKs, and then for that of its farewell.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);
const FAREWELL_LIMIT: Duration = Duration::from_secs(1);
/// A slow uplink gets a second more for so many bytes in flight, or one large message would never pass.
const BYTES_A_SECOND: usize = 16 << 10;
/// So many unacknowledged messages break the connection: the cloud sends more than MQTT 5 allows it,
/// or (3.1.1) more than anybody should. Bounds the memory for what came in.
const UNACKNOWLEDGED: usize = 256;
/// So many messages that nobody could handle renew the connection, so that the cloud sends them again.
const UNHANDLED: usize = RECEIVE_MAXIMUM as usize / 2;

/// What the machine needs to know.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) subscriptions: Vec<(TopicFilter, QoS)>,
    pub(super) birth: Message,
    pub(super) will: Message,
    pub(super) fence: Topic,
    pub(super) keep_alive: Duration,
    pub(super) answer_limit: Duration,
    pub(super) backoff: retry::Policy,
    pub(super) window: u16,
}

/// What happened.
#[derive(Debug)]
pub(super) enum Event {
    /// On the connection, or to the attempt to open one.
    Wire(Wire),
    /// The store answered a [`Fetch`].
    Stored(Fetch, Vec<Record>),
    /// The highest sequence in the store.
    Appended(u64),
    /// An arrived message is safe: its acknowledgement is due.
    Handled(u16),
    /// Nobody could handle an arrived message: it must not be acknowledged.
    Unhandled,
    /// [`Machine::deadline`] has passed.
    Tick,
    /// The gateway stops.
    Stop,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Open a connection.
    Dial(Version),
    /// Drop the connection or the attempt.
    HangUp,
    /// Send one SUBSCRIBE.
    Subscribe(Vec<(TopicFilter, QoS)>),
    /// Send a PUBLISH.
    Publish(Message, Option<MessageId>),
    /// Hand a message to the inbox; its acknowledgement, if `packet` is not 0, waits for the handler.
    Deliver { message: Message, redelivered: bool, staleness: Staleness, packet: u16 },
    /// Acknowledge in turn: no handler has to see it.
    AcknowledgeInTurn(u16),
    /// Send a PUBACK.
    Acknowledge(u16),
    /// Read the store.
    Fetch(Fetch),
    /// Delete what the cloud acknowledged.
    Delete(u64),
    /// Delete what the cloud refused for good, counted.
    Discard(u64),
    /// Send DISCONNECT.
    Disconnect,
    /// Nothing more will come.
    Finish,
}

/// Where the line stands, for the board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    pub(super) state: LinkState,
    /// The connection's number, 0 while there is none.
    pub(super) connection: u64,
    pub(super) protocol: Option<&'static str>,
    pub(super) fault: Option<Fault>,
    pub(super) wait: Option<Duration>,
}

#[derive(Debug)]
enum Phase {
    Waiting { until: Instant, wait: Duration },
    Dialling,
    Up(Box<Up>),
    Ended,
}

#[derive(Debug)]
struct Up {
    version: Version,
    greeting: Greeting,
    since: Instant,
    /// What is still to be asked for, a SUBSCRIBE each; the first one is under way.
    subscribing: VecDeque<Vec<(TopicFilter, QoS)>>,
    asked: Instant,
    urgent: VecDeque<Parcel>,
    token: String,
    fence: Fence,
    heard: Instant,
    pinged: Option<Instant>,
    /// A SUBSCRIBE that stands in for a ping, where the cloud wants pings more seldom than we do.
    probed: Option<Instant>,
    progress: Instant,
    unacknowledged: usize,
    unhandled: usize,
    pause: Option<Pause>,
    refusal: Option<Fault>,
    drain: Option<Drain>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fence {
    NotSent,
    Waiting { until: Instant },
    Passed,
}

#[derive(Debug)]
struct Pause {
    until: Instant,
    fault: Fault,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drain {
    Records { until: Instant },
    Farewell { until: Instant },
    Disconnect { until: Instant },
}

/// The machine; [`Machine::step`] is its only way in.
#[derive(Debug)]
pub(super) struct Machine {
    settings: Settings,
    random: fastrand::Rng,
    phase: Phase,
    version: Version,
    proven: Option<Version>,
    doubts: u8,
    has_just_switched: bool,
    backoff: Backoff,
    pauses: Backoff,
    last_pause: Option<Instant>,
    window: Window,
    highest: u64,
    connections: u64,
    fault: Option<Fault>,
    counters: LinkCounters,
    reported: LinkCounters,
    effects: Vec<Effect>,
}

impl Machine {
    /// A machine that dials at its first tick. `seed` makes its jitter and tokens repeatable.
    pub(super) fn new(settings: Settings, seed: u64, now: Instant) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            phase: Phase::Waiting { until: now, wait: Duration::ZERO },
            version: Version::V5,
            proven: None,
            doubts: 0,
            has_just_switched: false,
            backoff: Backoff::new(settings.backoff),
            pauses: Backoff::new(settings.backoff),
            last_pause: None,
            window: Window::default(),
            highest: 0,
            connections: 0,
            fault: None,
            counters: LinkCounters::default(),
            reported: LinkCounters::default(),
            effects: Vec::new(),
            settings,
        }
    }

    /// What went over the line so far, if it changed since this was last asked.
    pub(super) fn changed_counters(&mut self) -> Option<LinkCounters> {
        (self.reported != self.counters).then(|| {
            self.reported = self.counters.clone();
            self.counters.clone()
        })
    }

    /// Where the line stands.
    pub(super) fn view(&self) -> View {
        let mut view = View {
            state: LinkState::Off,
            connection: 0,
            protocol: None,
            fault: self.fault.clone(),
            wait: None,
        };
        match &self.phase {
            Phase::Waiting { wait, .. } => {
                view.state = LinkState::Waiting;
                view.wait = Some(*wait);
            }
            Phase::Dialling => view.state = LinkState::Connecting,
            Phase::Up(up) => {
                view.state = match up.fence {
                    Fence::NotSent => LinkState::Subscribing,
                    Fence::Waiting { .. } => LinkState::CatchingUp,
                    Fence::Passed => LinkState::Online,
                };
                view.connection = self.connections;
                view.protocol = Some(up.version.name());
                if up.fence != Fence::NotSent {
                    view.fault = up.pause.as_ref().map(|pause| pause.fault.clone()).or(up.refusal.clone());
                }
            }
            Phase::Ended => view.fault = None,
        }
        view
    }

    /// When [`Event::Tick`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Waiting { until, .. } => Some(*until),
            Phase::Dialling | Phase::Ended => None,
            Phase::Up(up) => up.deadline(&self.settings, &self.window),
        }
    }

    /// Takes one event at the moment `now` and says what to do, in order.
    pub(super) fn step(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        match event {
            Event::Wire(wire) => self.on_wire(wire, now),
            Event::Stored(fetch, records) => self.window.fetched(fetch, records),
            Event::Appended(highest) => self.highest = self.highest.max(highest),
            Event::Handled(packet) => {
                if let Phase::Up(up) = &mut self.phase {
                    up.unacknowledged = up.unacknowledged.saturating_sub(1);
                    self.effects.push(Effect::Acknowledge(packet));
                }
            }
            Event::Unhandled => self.on_unhandled(now),
            Event::Tick => self.on_tick(now),
            Event::Stop => self.on_stop(now),
        }
        self.send_what_fits(now);
        std::mem::take(&mut self.effects)
    }

    fn on_wire(&mut self, wire: Wire, now: Instant) {
        match wire {
            Wire::Broken(breakage) => return self.on_broken(breakage, now),
            Wire::Connected(greeting) => return self.on_connected(greeting, now),
            _ => {}
        }
        let Phase::Up(up) = &mut self.phase else { return };
        match wire {
            Wire::Broken(_) | Wire::Connected(_) => {}
            Wire::PublishSent(packet) => self.window.sent(packet),
            Wire::PingSent => up.pinged = Some(now),
            Wire::DisconnectSent => {
                if up.drain.is_some() {
                    self.finish();
                }
            }
            Wire::Heard => up.hear(now),
            Wire::Subscribed(refusals) => {
                up.hear(now);
                self.on_subscribed(&refusals, now);
            }
            Wire::PublishAnswered(packet, verdict) => {
                up.hear(now);
                up.progress = now;
                if let Some(parcel) = self.window.answered(packet) {
                    self.on_answered(parcel, verdict, now);
                }
            }
            Wire::Arrived(arrival) => {
                up.hear(now);
                self.on_arrived(arrival, now);
            }
        }
    }

    fn on_connected(&mut self, greeting: Greeting, now: Instant) {
        self.proven = Some(self.version);
        self.doubts = 0;
        self.has_just_switched = false;
        self.counters.connects += 1;
        self.connections += 1;
        if !greeting.takes_qos_1 {
            let detail = "it takes QoS 0 only, by which nothing is acknowledged";
            return self.break_off(Fault::new(FaultKind::Protocol, detail), now);
        }
        // rumqttc reads no requests, acknowledgements included, while the cloud's receive maximum is in flight.
        let limit = self.settings.window.min(greeting.receive_maximum.saturating_sub(1)).max(1);
        self.window.open(limit);
        let mut filters = vec![(TopicFilter::from(&self.settings.fence), QoS::AtLeastOnce)];
        filters.extend(self.settings.subscriptions.iter().cloned());
        let subscribing: VecDeque<_> = filters.chunks(FILTERS_A_SUBSCRIBE).map(<[_]>::to_vec).collect();
        self.effects.extend(subscribing.front().cloned().map(Effect::Subscribe));
        self.phase = Phase::Up(Box::new(Up {
            version: self.version,
            greeting,
            since: now,
            subscribing,
            asked: now,
            urgent: VecDeque::new(),
            token: format!("{:016x}{:016x}", self.random.u64(..), self.random.u64(..)),
            fence: Fence::NotSent,
            heard: now,
            pinged: None,
            probed: None,
            progress: now,
            unacknowledged: 0,
            unhandled: 0,
            pause: None,
            refusal: None,
            drain: None,
        }));
    }

    fn on_subscribed(&mut self, refusals: &[Option<&'static str>], now: Instant) {
        let Phase::Up(up) = &mut self.phase else { return };
        let Some(asked) = up.subscribing.pop_front() else {
            up.probed = None;
            return;
        };
        let refused =
            asked.iter().zip(refusals).find_map(|((filter, _), refusal)| Some((filter, (*refusal)?)));
        if let Some((filter, reason)) = refused {
            let detail = format!("subscribing to `{filter}`: {reason}");
            return self.break_off(Fault::new(FaultKind::NotAuthorized, detail), now);
        }
        if refusals.len() < asked.len() {
            let detail = "it answered fewer subscriptions than were asked for";
            return self.break_off(Fault::new(FaultKind::Protocol, detail), now);
        }
        if let Some(next) = up.subscribing.front() {
            up.asked = now;
            self.effects.push(Effect::Subscribe(next.clone()));
            return;
        }
        self.fault = None;
        up.fence = Fence::Waiting { until: now + FENCE_LIMIT };
        if up.drain.is_none() {
            up.urgent.extend([Parcel::Birth, Parcel::Fence]);
        }
    }

    fn on_answered(&mut self, parcel: Parcel, verdict: Verdict, now: Instant) {
        let Phase::Up(up) = &mut self.phase else { return };
        match (parcel, verdict) {
            (Parcel::Record(record), Verdict::Accepted) => {
                self.counters.acknowledged += 1;
                self.effects.push(Effect::Delete(record.sequence));
            }
            (Parcel::Record(record), Verdict::Refused(reason)) => self.refuse(&record, reason),
            (Parcel::Record(record), Verdict::Later(reason)) => {
                let topic = record.message.topic.clone();
                self.window.put_back(record);
                self.pause(&topic, reason, now);
            }
            (Parcel::Birth, Verdict::Accepted) | (Parcel::Fence, Verdict::Accepted) => {}
            (Parcel::Birth, Verdict::Refused(reason)) => {
                let topic = &self.settings.birth.topic;
                tracing::warn!(%topic, reason, "the cloud refuses the gateway's own state");
                up.refusal = Some(publish_refused(topic, reason));
            }
            (Parcel::Birth, Verdict::Later(reason)) => {
                up.urgent.push_front(Parcel::Birth);
                let topic = self.settings.birth.topic.clone();
                self.pause(&topic, reason, now);
            }
            (Parcel::Fence, Verdict::Refused(reason) | Verdict::Later(reason)) => {
                up.refusal = Some(publish_refused(&self.settings.fence, reason));
                self.give_up_fence(reason);
            }
            (Parcel::Farewell, _) => self.disconnect(now),
        }
    }

    fn on_arrived(&mut self, arrival: Arrival, now: Instant) {
        let Phase::Up(up) = &mut self.phase else { return };
        let Arrival { message, packet, redelivered } = arrival;
        if packet != 0 {
            up.unacknowledged += 1;
        }
        if up.unacknowledged > UNACKNOWLEDGED {
            let detail =
                format!("it sent {} messages without waiting for acknowledgements", up.unacknowledged);
            return self.break_off(Fault::new(FaultKind::Protocol, detail), now);
        }
        let message = match message {
            Ok(message) => message,
            Err(reason) => {
                tracing::warn!(reason, "dropped a message from the cloud whose topic is not valid");
                self.acknowledge_in_turn(packet);
                return;
            }
        };
        if message.topic == self.settings.fence {
            if !message.retain && message.payload == up.token.as_bytes() {
                up.fence = Fence::Passed;
            }
            self.acknowledge_in_turn(packet);
            return;
        }
        self.counters.received += 1;
        let has_waited = up.fence != Fence::Passed || message.retain || redelivered;
        let staleness = if has_waited { Staleness::MayHaveWaited } else { Staleness::Live };
        self.effects.push(Effect::Deliver { message, redelivered, staleness, packet });
    }

    fn acknowledge_in_turn(&mut self, packet: u16) {
        if packet != 0 {
            self.effects.push(Effect::AcknowledgeInTurn(packet));
        }
    }

    fn on_unhandled(&mut self, now: Instant) {
        let Phase::Up(up) = &mut self.phase else { return };
        up.unhandled += 1;
        if up.unhandled >= UNHANDLED {
            let detail =
                format!("the gateway could not keep {} commands and asks for them again", up.unhandled);
            self.break_off(Fault::new(FaultKind::Closed, detail), now);
        }
    }

    fn on_tick(&mut self, now: Instant) {
        match &mut self.phase {
            Phase::Waiting { until, .. } if now >= *until => {
                self.phase = Phase::Dialling;
                self.effects.push(Effect::Dial(self.version));
            }
            Phase::Waiting { .. } | Phase::Dialling | Phase::Ended => {}
            Phase::Up(up) => {
                if let Some(what) = up.overdue(&self.settings, &self.window, now) {
                    return self.break_off(Fault::new(FaultKind::NoAnswer, what), now);
                }
                if up.pause.as_ref().is_some_and(|pause| now >= pause.until) {
                    up.pause = None;
                }
                if up.probe_due(&self.settings, &self.window).is_some_and(|due| now >= due) {
                    up.probed = Some(now);
                    let fence = (TopicFilter::from(&self.settings.fence), QoS::AtLeastOnce);
                    self.effects.push(Effect::Subscribe(vec![fence]));
                }
                self.on_fence_tick(now);
                self.on_drain_tick(now);
            }
        }
    }

    fn on_fence_tick(&mut self, now: Instant) {
        let Phase::Up(up) = &mut self.phase else { return };
        let Fence::Waiting { until } = &mut up.fence else { return };
        if now < *until {
            return;
        }
        if up.unacknowledged > 0 {
            // The cloud may hold the echo back until we acknowledge what came before it.
            *until = now + FENCE_LIMIT;
            return;
        }
        self.give_up_fence("no echo");
    }

    fn give_up_fence(&mut self, reason: &'static str) {
        let Phase::Up(up) = &mut self.phase else { return };
        if matches!(up.fence, Fence::Waiting { .. }) {
            let topic = &self.settings.fence;
            tracing::warn!(%topic, reason, "old messages cannot be told from new ones; all count as live from now");
            up.fence = Fence::Passed;
        }
    }

    fn on_broken(&mut self, breakage: Breakage, now: Instant) {
        if let Phase::Dialling = self.phase {
            let is_refused = match breakage.version {
                VersionHint::None => false,
                VersionHint::Refused => true,
                VersionHint::PerhapsRefused if self.proven.is_none() => {
                    self.doubts += 1;
                    self.doubts >= 2
                }
                VersionHint::PerhapsRefused => false,
            };
            if is_refused {
                self.version = self.version.other();
                self.proven = None;
                self.doubts = 0;
                if !self.has_just_switched {
                    self.has_just_switched = true;
                    self.counters.failures += 1;
                    self.fault = Some(breakage.fault);
                    self.effects.push(Effect::HangUp);
                    self.effects.push(Effect::Dial(self.version));
                    return;
                }
            }
        }
        self.break_off(breakage.fault, now);
    }

    /// Drops the connection or the attempt and waits, or ends when the link was stopping anyway.
    fn break_off(&mut self, fault: Fault, now: Instant) {
        let held = match &self.phase {
            Phase::Ended => return,
            Phase::Up(up) if up.drain.is_some() => return self.finish(),
            Phase::Up(up) => now.saturating_duration_since(up.since),
            Phase::Waiting { .. } | Phase::Dialling => Duration::ZERO,
        };
        self.has_just_switched = false;
        self.counters.failures += 1;
        self.fault = Some(fault);
        self.effects.push(Effect::HangUp);
        let wait = self.backoff.after_failure(held, self.random.f64());
        self.phase = Phase::Waiting { until: now + wait, wait };
    }

    fn on_stop(&mut self, now: Instant) {
        match &mut self.phase {
            Phase::Up(up) if up.drain.is_none() => {
                up.urgent.clear();
                up.drain = Some(Drain::Records { until: now + DRAIN_LIMIT });
                self.on_drain_tick(now);
            }
            Phase::Up(_) => {}
            Phase::Waiting { .. } | Phase::Dialling | Phase::Ended => {
                self.effects.push(Effect::HangUp);
                self.finish();
            }
        }
    }

    fn on_drain_tick(&mut self, now: Instant) {
        let Phase::Up(up) = &mut self.phase else { return };
        match up.drain {
            Some(Drain::Records { until }) if now >= until || self.window.has_no_record() => {
                up.drain = Some(Drain::Farewell { until: now + FAREWELL_LIMIT });
                // Past the window if need be: it is the last one.
                self.publish(Parcel::Farewell, now);
            }
            Some(Drain::Farewell { until }) if now >= until => self.disconnect(now),
            Some(Drain::Disconnect { until }) if now >= until => self.finish(),
            _ => {}
        }
    }

    fn disconnect(&mut self, now: Instant) {
        let Phase::Up(up) = &mut self.phase else { return };
        up.drain = Some(Drain::Disconnect { until: now + FAREWELL_LIMIT });
        self.effects.push(Effect::Disconnect);
    }

    fn finish(&mut self) {
        if !matches!(self.phase, Phase::Ended) {
            self.phase = Phase::Ended;
            self.effects.push(Effect::Finish);
        }
    }

    fn refuse(&mut self, record: &Record, reason: &str) {
        let Phase::Up(up) = &mut self.phase else { return };
        let topic = &record.message.topic;
        if up.refusal.is_none() {
            // Once a connection: the store counts every one.
            tracing::warn!(%topic, reason, policy = "refused by the cloud", "dropped a message");
        }
        up.refusal = Some(publish_refused(topic, reason));
        self.effects.push(Effect::Discard(record.sequence));
    }

    fn pause(&mut self, topic: &Topic, reason: &str, now: Instant) {
        let Phase::Up(up) = &mut self.phase else { return };
        if up.pause.is_some() {
            return;
        }
        let quiet = self.last_pause.map_or(Duration::MAX, |last| now.saturating_duration_since(last));
        let wait = self.pauses.after_failure(quiet, self.random.f64());
        self.last_pause = Some(now);
        let fault = Fault::new(FaultKind::ServerUnavailable, format!("publishing to `{topic}`: {reason}"));
        up.pause = Some(Pause { until: now + wait, fault });
    }

    fn send_what_fits(&mut self, now: Instant) {
        loop {
            let Phase::Up(up) = &mut self.phase else { return };
            if up.fence == Fence::NotSent
                || up.pause.is_some()
                || up.drain.is_some()
                || !self.window.has_room()
            {
                break;
            }
            if let Some(parcel) = up.urgent.pop_front() {
                self.publish(parcel, now);
                continue;
            }
            let Some(record) = self.window.take_ready() else { break };
            let size = wire::packet_size(up.version, &record.message, Some(&record.id));
            if up.greeting.max_packet.is_some_and(|max| size > max as usize) {
                self.refuse(&record, "packet too large");
                continue;
            }
            if self.window.was_sent_before(&record) {
                self.counters.resent += 1;
            }
            self.publish(Parcel::Record(record), now);
        }
        if let Phase::Up(up) = &self.phase
            && up.fence != Fence::NotSent
            && up.drain.is_none()
            && let Some(fetch) = self.window.fetch(self.highest)
        {
            self.effects.push(Effect::Fetch(fetch));
        }
    }

    fn publish(&mut self, parcel: Parcel, now: Instant) {
        let Phase::Up(up) = &mut self.phase else { return };
        let (mut message, id) = match &parcel {
            Parcel::Record(record) => (record.message.clone(), Some(record.id.clone())),
            Parcel::Birth => (self.settings.birth.clone(), None),
            Parcel::Farewell => (self.settings.will.clone(), None),
            Parcel::Fence => {
                up.fence = Fence::Waiting { until: now + FENCE_LIMIT };
                let mut token = Message::new(self.settings.fence.clone(), up.token.clone(), QoS::AtLeastOnce);
                // An old token helps nobody: the cloud need not keep it while we are away.
                let expiry = Some(Duration::from_secs(60));
                token.properties = Some(std::sync::Arc::new(Properties { expiry, ..Properties::default() }));
                (token, None)
            }
        };
        message.retain &= up.greeting.retain_available;
        if self.window.is_empty() {
            up.progress = now;
        }
        self.counters.published += 1;
        self.window.send(parcel, message.size());
        self.effects.push(Effect::Publish(message, id));
    }
}

fn publish_refused(topic: &Topic, reason: &str) -> Fault {
    Fault::new(FaultKind::NotAuthorized, format!("publishing to `{topic}`: {reason}"))
}

impl Up {
    fn hear(&mut self, now: Instant) {
        self.heard = now;
        self.pinged = None;
    }

    /// How often rumqttc pings: the cloud's wish goes before ours; zero is answered with ours.
    fn keep_alive(&self, settings: &Settings) -> Duration {
        self.greeting.keep_alive.filter(|wish| !wish.is_zero()).unwrap_or(settings.keep_alive)
    }

    fn patience(&self, settings: &Settings, window: &Window) -> Duration {
        settings.answer_limit + Duration::from_secs((window.bytes() / BYTES_A_SECOND) as u64)
    }

    /// Until when each thing that must be answered is answered, with what to say when it is not.
    fn limits(&self, settings: &Settings, window: &Window) -> [(Option<Instant>, &'static str); 5] {
        let patience = self.patience(settings, window);
        let is_subscribing = !self.subscribing.is_empty();
        let is_publishing = !window.is_empty();
        [
            (is_subscribing.then(|| self.asked + settings.answer_limit), "SUBSCRIBE was not answered"),
            (self.pinged.map(|pinged| pinged + patience), "nothing came after a PINGREQ"),
            (self.probed.map(|probed| probed + patience), "nothing came after a test of the line"),
            (is_publishing.then(|| self.progress + patience), "PUBLISH was not acknowledged"),
            // Also when rumqttc hangs in a write and cannot even ping.
            (
                Some(self.heard + self.keep_alive(settings) + patience),
                "nothing came for longer than the keep-alive",
            ),
        ]
    }

    fn overdue(&self, settings: &Settings, window: &Window, now: Instant) -> Option<&'static str> {
        self.limits(settings, window).into_iter().find_map(|(limit, what)| (limit? <= now).then_some(what))
    }

    fn probe_due(&self, settings: &Settings, window: &Window) -> Option<Instant> {
        let is_idle = self.probed.is_none() && window.is_empty() && self.subscribing.is_empty();
        (is_idle && self.keep_alive(settings) > settings.keep_alive).then(|| self.heard + settings.keep_alive)
    }

    fn deadline(&self, settings: &Settings, window: &Window) -> Option<Instant> {
        let fence = match self.fence {
            Fence::Waiting { until } => Some(until),
            Fence::NotSent | Fence::Passed => None,
        };
        let drain = self.drain.map(|drain| match drain {
            Drain::Records { until } | Drain::Farewell { until } | Drain::Disconnect { until } => until,
        });
        let pause = self.pause.as_ref().map(|pause| pause.until);
        let limits = self.limits(settings, window).map(|(limit, _)| limit);
        limits.into_iter().chain([fence, drain, pause, self.probe_due(settings, window)]).flatten().min()
    }
}

#[cfg(test)]
mod tests;
