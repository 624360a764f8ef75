//! The state machine of the line: events in, effects out. No I/O, no clock, no task.
//!
//! Owns every decision: when to dial and with which MQTT version, what to send when, when the line
//! is dead, what a refusal means. `run.rs` obeys. One file each for what goes out, what comes in, how it ends and what
//! ended it. Invariants: a record is deleted only after its PUBACK or by the named policy `refused
//! by the cloud` (by an answer, or, see `suspect`, by a hang-up each time); after every CONNACK everything
//! that is not deleted is sent again, oldest first but for live messages that go before; nothing is published before every subscription is granted;
//! what arrives before the fence's echo is [`Staleness::MayHaveWaited`], for the whole connection if
//! none comes.

mod diagnosis;
mod ending;
mod history;
mod incoming;
mod itinerary;
mod outgoing;
mod pacer;
mod suspect;
mod trial;
mod up;
mod version;

use std::time::Duration;

use tokio::time::Instant;

use super::{
    CloudLimits, Versions,
    diagnose::Breakage,
    origin::Origin,
    window::{Fetch, Parcel, Window},
    wire::{Greeting, Refusal, Version, Wire},
};
use crate::{
    health::{self, LinkCounters, Refused},
    model::{Fault, FaultKind, LinkState, Message, QoS, Staleness, Topic, TopicFilter},
    retry::{self, Backoff},
    store::{Highest, Record},
};
use history::History;
use incoming::FENCE_LIMIT;
use itinerary::Itinerary;
pub(super) use itinerary::Place;
use pacer::Pacer;
use suspect::Suspect;
use trial::Trials;
pub(super) use trial::{Purpose, Which};
use up::{Fence, Up};
use version::Choice;

/// What the machine needs to know.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// How many ways lead to each broker.
    pub(super) ways: Vec<usize>,
    /// How long the line is up at a place that is not the best before that one is tried.
    pub(super) climb_after: Duration,
    pub(super) subscriptions: Vec<(TopicFilter, QoS)>,
    pub(super) hellos: Vec<Message>,
    pub(super) birth: Message,
    pub(super) will: Message,
    pub(super) fence: Topic,
    pub(super) keep_alive: Duration,
    pub(super) answer_limit: Duration,
    pub(super) backoff: retry::Policy,
    pub(super) window: u16,
    /// How many messages a second of those that waited, at most.
    pub(super) backlog_rate: Option<u32>,
    pub(super) version: Versions,
    pub(super) limits: CloudLimits,
}

/// What happened.
#[derive(Debug)]
pub(super) enum Event {
    /// On the connection, or to the attempt to open one.
    Wire(Wire),
    /// The store answered a [`Fetch`].
    Stored(Fetch, Vec<Record>),
    /// These records that were to be deleted are gone from the disk.
    Settled(Vec<u64>),
    /// The highest sequences in the store.
    Appended(Highest),
    /// An arrived message is safe: its acknowledgement is due.
    Handled(u16),
    /// Nobody could handle an arrived message: it must not be acknowledged.
    Unhandled,
    /// [`Machine::deadline`] has passed.
    Tick,
    /// There are other credentials, checked; each set has its number.
    Fresh(u64),
    /// What the line said to be let in runs out.
    Due,
    /// Other credentials that are there cannot be used.
    Stale(Fault),
    /// On the second connection.
    Trial(Wire),
    /// The gateway stops.
    Stop,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Open a connection there.
    Dial(Version, Place, Which),
    /// Open a second connection there.
    Try(Version, Place, Which, Purpose),
    /// The credentials of the connection are the line's from now on.
    Adopt,
    /// Drop the second connection.
    EndTrial,
    /// The second connection takes the first one's place, which is gone.
    ChangeOver,
    /// As `HangUp`, but in order: the cloud does not publish the will.
    Leave,
    /// Drop the connection or the attempt; from now on nothing is sent.
    HangUp,
    /// Every subscription is granted: from now on what is accepted is sent.
    LineUp,
    /// Send one SUBSCRIBE.
    Subscribe(Vec<(TopicFilter, QoS)>),
    /// Send a PUBLISH; a record's with where it comes from.
    Publish(Message, Option<Origin>),
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
    /// Delete on the disk what is to be deleted, without waiting for more: the line waits for it.
    Hurry,
    /// Delete what the cloud refused for good, counted.
    Discard(u64),
    /// Delete what is beyond the cloud's limits, counted.
    DiscardOversize(u64),
    /// Send DISCONNECT.
    Disconnect,
    /// Nothing more will come.
    Finish,
}

/// What is wrong with a cloud that acknowledges nothing.
const ONLY_QOS_0: &str = "it takes QoS 0 only, by which nothing is acknowledged";

/// Where the line stands, for the board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    pub(super) state: LinkState,
    /// The connection's number, 0 while there is none.
    pub(super) connection: u64,
    pub(super) protocol: Option<&'static str>,
    pub(super) fault: Option<Fault>,
    pub(super) wait: Option<Duration>,
    /// How often the line is tested, while connected; the cloud may want it sooner than we do.
    pub(super) keep_alive: Option<Duration>,
    /// Whether the fence's echo came on this connection.
    pub(super) echoed: bool,
    /// Where it is dialled, or open.
    pub(super) place: Place,
    /// Why new credentials are not in use.
    pub(super) refusal: Option<Fault>,
}

#[derive(Debug)]
enum Phase {
    Waiting { until: Instant, wait: Duration },
    Dialling,
    Up(Box<Up>),
    Ended,
}

/// The machine; [`Machine::step`] is its only way in.
#[derive(Debug)]
pub(super) struct Machine {
    settings: Settings,
    random: fastrand::Rng,
    phase: Phase,
    /// For each broker.
    choices: Vec<Choice>,
    itinerary: Itinerary,
    trials: Trials,
    backoff: Backoff,
    pauses: Backoff,
    last_pause: Option<Instant>,
    window: Window,
    suspect: Suspect,
    /// The fault of a message that was given up, until the next connection shows it.
    given_up: Option<Fault>,
    history: History,
    /// What `history` sees: shown while the line is up too, until it is refuted.
    recurring: Option<Fault>,
    /// For what waited.
    pacer: Pacer,
    /// For everything.
    rate: Pacer,
    refusals: Vec<health::Refusal>,
    /// Of the last answer, until somebody takes it.
    round_trip: Option<Duration>,
    highest: Highest,
    connections: u64,
    /// Rounds in a row in which nothing came as far as the subscriptions.
    vain: usize,
    /// Where `fault` was met.
    failed_at: Place,
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
            choices: settings.ways.iter().map(|_| Choice::new(settings.version)).collect(),
            itinerary: Itinerary::new(&settings.ways),
            trials: Trials::new(settings.climb_after),
            backoff: Backoff::new(settings.backoff),
            pauses: Backoff::new(settings.backoff),
            last_pause: None,
            window: Window::default(),
            suspect: Suspect::default(),
            given_up: None,
            history: History::default(),
            recurring: None,
            pacer: Pacer::new(settings.backlog_rate, now),
            rate: Pacer::new(settings.limits.publish_rate, now),
            refusals: Vec::new(),
            round_trip: None,
            highest: Highest::default(),
            connections: 0,
            vain: 0,
            failed_at: Place::default(),
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

    /// How long the cloud took for its last answer, if there was one since this was last asked: from PINGREQ to PINGRESP,
    /// which goes out at every keep-alive and no cloud has to think about; and from SUBSCRIBE to SUBACK, so that there
    /// is a first number soon after CONNACK. Not of PUBLISH and PUBACK: a cloud may wait for its disk, and a full window
    /// waits for our own uplink.
    pub(super) fn take_round_trip(&mut self) -> Option<Duration> {
        self.round_trip.take()
    }

    fn answered_after(&mut self, asked: Option<Instant>, now: Instant) {
        self.round_trip = asked.map(|asked| now.saturating_duration_since(asked)).or(self.round_trip);
    }

    /// What the cloud did not take since this was last asked.
    pub(super) fn take_refusals(&mut self) -> Vec<health::Refusal> {
        std::mem::take(&mut self.refusals)
    }

    fn note(&mut self, what: Refused, topic: &str, reason: impl Into<String>, is_dropped: bool) {
        self.refusals.push(health::Refusal {
            what,
            topic: topic.to_owned(),
            reason: reason.into(),
            is_dropped,
        });
    }

    /// Where the line stands.
    pub(super) fn view(&self) -> View {
        let mut view = View {
            state: LinkState::Off,
            connection: 0,
            protocol: None,
            fault: self.fault.clone(),
            wait: None,
            keep_alive: None,
            echoed: false,
            place: match self.phase {
                Phase::Waiting { .. } if self.fault.is_some() => self.failed_at,
                _ => self.itinerary.at(),
            },
            refusal: self.trials.refusal.clone(),
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
                    Fence::Missed | Fence::Passed => LinkState::Online,
                };
                view.connection = self.connections;
                view.protocol = Some(up.version.name());
                view.echoed = up.fence == Fence::Passed;
                view.keep_alive = Some(up.keep_alive(&self.settings));
                if up.fence != Fence::NotSent {
                    let pause = up.pause.as_ref().map(|pause| &pause.fault).or(up.held_up.as_ref());
                    let refusal = up.refusal.as_ref().map(|(fault, _)| fault);
                    view.fault = pause.or(refusal).or(self.recurring.as_ref()).cloned();
                }
            }
            Phase::Ended => view.fault = None,
        }
        view
    }

    /// How many rounds in a row have come to nothing: the next one begins with other addresses.
    pub(super) fn turn(&self) -> usize {
        self.vain
    }

    /// When [`Event::Tick`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Waiting { until, .. } => Some(*until),
            Phase::Dialling | Phase::Ended => None,
            Phase::Up(up) => {
                let trial = self.trials.due().filter(|_| up.drain.is_none());
                up.deadline(&self.settings, &self.window).into_iter().chain(trial).min()
            }
        }
    }

    fn choice_at(&mut self, place: Place) -> &mut Choice {
        self.choices.get_mut(place.broker).expect("the itinerary knows only brokers that are there")
    }

    fn dial(&mut self) {
        let (place, which) = (self.itinerary.at(), self.trials.dials_with());
        let version = self.choice_at(place).version();
        self.effects.push(Effect::Dial(version, place, which));
    }

    /// Takes one event at the moment `now` and says what to do, in order.
    pub(super) fn step(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        match event {
            Event::Wire(wire) => self.on_wire(wire, now),
            Event::Stored(fetch, records) => self.window.fetched(fetch, records),
            Event::Settled(sequences) => self.window.settled(&sequences),
            Event::Appended(highest) => self.highest = highest,
            Event::Handled(packet) => {
                if let Phase::Up(up) = &mut self.phase {
                    up.unacknowledged = up.unacknowledged.saturating_sub(1);
                    self.effects.push(Effect::Acknowledge(packet));
                }
            }
            Event::Unhandled => self.on_unhandled(now),
            Event::Tick => self.on_tick(now),
            Event::Fresh(number) => self.on_fresh(number, now),
            Event::Due => self.on_due(now),
            Event::Stale(fault) => self.on_stale(fault),
            Event::Trial(wire) => self.on_trial(wire, now),
            Event::Stop => self.on_stop(now),
        }
        self.send_what_fits(now);
        self.refute(now);
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
            Wire::PingSent => {
                up.pinged = Some(now);
                up.ping_sent = Some(now);
                up.ask(now);
            }
            Wire::PingAnswered => {
                up.hear(now);
                let sent = up.ping_sent.take();
                self.answered_after(sent, now);
            }
            Wire::DisconnectSent => {
                if up.drain.is_some() {
                    self.finish();
                }
            }
            Wire::Heard => up.hear(now),
            Wire::Subscribed(refusals) => {
                up.hear(now);
                let asked = if up.subscribing.is_empty() { up.probed } else { Some(up.asked) };
                self.answered_after(asked, now);
                self.on_subscribed(&refusals, now);
            }
            Wire::PublishAnswered(packet, verdict) => {
                up.hear(now);
                up.progress = now;
                match self.window.answered(packet) {
                    Some(parcel) => self.on_answered(parcel, verdict, now),
                    None => {
                        let detail = format!("it acknowledged packet {packet}, which it was not sent");
                        self.break_off(Fault::new(FaultKind::Protocol, detail), now);
                    }
                }
            }
            Wire::Arrived(arrival) => {
                up.hear(now);
                self.on_arrived(arrival, now);
            }
        }
    }

    fn on_connected(&mut self, greeting: Greeting, now: Instant) {
        let here = self.itinerary.at();
        self.choice_at(here).proved();
        let version = self.choice_at(here).version();
        self.choices.iter_mut().for_each(|choice| choice.hint(version));
        self.counters.connects += 1;
        self.connections += 1;
        if !greeting.takes_qos_1 {
            return self.break_off(Fault::new(FaultKind::Protocol, ONLY_QOS_0), now);
        }
        let limit = if self.suspect.is_alone() { 1 } else { self.window_limit(&greeting) };
        self.window.open(limit, self.settings.window, self.highest);
        let token = format!("{:016x}{:016x}", self.random.u64(..), self.random.u64(..));
        let mut up = Up::new(version, greeting, &self.settings, token, now);
        up.refusal = self.given_up.take().map(|fault| (fault, now));
        up.ask(now);
        self.effects.extend(up.subscribing.front().cloned().map(Effect::Subscribe));
        self.phase = Phase::Up(Box::new(up));
    }

    fn window_limit(&self, greeting: &Greeting) -> u16 {
        // One place is left for the farewell, which does not wait for an answer to anything else.
        self.settings.window.min(greeting.receive_maximum.saturating_sub(1)).max(1)
    }

    fn on_subscribed(&mut self, refusals: &[Option<Refusal>], now: Instant) {
        let Phase::Up(up) = &mut self.phase else { return };
        let Some(asked) = up.subscribing.pop_front() else {
            up.probed = None;
            return;
        };
        let refused =
            asked.iter().zip(refusals).find_map(|((filter, _), refusal)| Some((filter, (*refusal)?)));
        if let Some((filter, Refusal { kind, reason })) = refused {
            let detail = format!("subscribing to `{filter}`: {reason}");
            let filter = filter.to_string();
            self.note(Refused::Subscribe, &filter, reason, false);
            return self.break_off(Fault::new(kind, detail), now);
        }
        if refusals.len() < asked.len() {
            let detail = "it answered fewer subscriptions than were asked for";
            return self.break_off(Fault::new(FaultKind::Protocol, detail), now);
        }
        if let Some(next) = up.subscribing.front().cloned() {
            up.asked = now;
            up.ask(now);
            self.effects.push(Effect::Subscribe(next));
            return;
        }
        self.fault = None;
        self.itinerary.proved();
        self.plan_trials(now);
        let Phase::Up(up) = &mut self.phase else { return };
        self.effects.push(Effect::LineUp);
        up.fence = Fence::Waiting { until: now + FENCE_LIMIT };
        if up.drain.is_none() {
            up.urgent.extend((0..self.settings.hellos.len()).map(Parcel::Hello));
            up.urgent.push_back(Parcel::Birth);
            up.urgent.extend(self.settings.limits.echoes.then_some(Parcel::Fence));
        }
    }

    fn on_tick(&mut self, now: Instant) {
        match &mut self.phase {
            Phase::Waiting { until, .. } if now >= *until => {
                self.phase = Phase::Dialling;
                self.dial();
            }
            Phase::Waiting { .. } | Phase::Dialling | Phase::Ended => {}
            Phase::Up(up) => {
                if let Some((kind, what)) = up.overdue(&self.settings, &self.window, now) {
                    let fault = self.judged(Fault::new(kind, what), now);
                    return self.break_off(fault, now);
                }
                if up.pause.as_ref().is_some_and(|pause| now >= pause.until) {
                    up.held_up = up.pause.take().map(|pause| pause.fault);
                }
                if up.probe_due(&self.settings, &self.window).is_some_and(|due| now >= due) {
                    up.probed = Some(now);
                    up.ask(now);
                    let fence = (TopicFilter::from(&self.settings.fence), QoS::AtLeastOnce);
                    let first = self.settings.subscriptions.first().filter(|_| !self.settings.limits.echoes);
                    self.effects.push(Effect::Subscribe(vec![first.cloned().unwrap_or(fence)]));
                }
                self.on_fence_tick(now);
                self.on_drain_tick(now);
                self.on_trial_tick(now);
            }
        }
    }

    fn on_broken(&mut self, breakage: Breakage, now: Instant) {
        let here = self.itinerary.at();
        if matches!(self.phase, Phase::Dialling) && self.choice_at(here).failed(breakage.version) {
            self.counters.failures += 1;
            self.fault = Some(breakage.fault);
            self.effects.push(Effect::HangUp);
            self.dial();
            return;
        }
        if self.falls_to_trial(&breakage.fault) {
            return;
        }
        self.suspect_the_oldest(breakage.fault.kind, now);
        let fault = self.judged(breakage.fault, now);
        self.break_off(fault, now);
    }

    /// Drops the connection or the attempt and waits, or ends when the link was stopping anyway.
    fn break_off(&mut self, fault: Fault, now: Instant) {
        let held = match &self.phase {
            Phase::Ended => return,
            Phase::Up(up) if up.drain.is_some() => return self.finish(),
            Phase::Up(up) => now.saturating_duration_since(up.since),
            Phase::Waiting { .. } | Phase::Dialling => Duration::ZERO,
        };
        let was_up = matches!(&self.phase, Phase::Up(up) if up.fence != Fence::NotSent);
        let here = self.itinerary.at();
        self.counters.failures += 1;
        let is_round = if was_up {
            self.note_hold(held);
            self.itinerary.lost();
            true
        } else {
            self.choice_at(here).is_in_doubt() || self.itinerary.failed(fault.kind)
        };
        self.vain = if was_up { 0 } else { self.vain.wrapping_add(usize::from(is_round)) };
        if is_round && !was_up {
            self.trials.take_turns();
        }
        self.fault = Some(fault);
        self.failed_at = here;
        self.end_trial();
        self.effects.push(Effect::HangUp);
        let random = self.random.f64();
        let wait =
            if is_round { self.backoff.after_failure(held, random) } else { self.backoff.short(random) };
        self.phase = Phase::Waiting { until: now + wait, wait };
    }
}

#[cfg(test)]
pub(super) mod tests;
