//! A device's desk: its boxes and what is known of it. It outlives the device's code.
//!
//! Owns the mailbox, the inbox and the last state, and is the one way out to events and board.
//! Never decides anything about a command. Invariant: `told` is what the world was last told.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    bus::{FromBus, Write},
    summary::Summary,
};
use crate::{
    clock::Clock,
    health::{Board, DeviceReport},
    model::{
        Actuation, ActuationReply, Availability, DeviceEvent, DeviceId, Entity, Fields, KeyEvent,
        OutcomeStatus, Platform, Reading, Timestamp,
    },
};

/// How long a stop waits for the command under way, and for a reading on its way out.
pub(super) const DRAIN: Duration = Duration::from_secs(2);
/// What is kept of the bus's words while a device is being restarted. Full: the oldest goes.
const HELD: usize = 64;

pub(super) struct Desk {
    pub(super) id: DeviceId,
    pub(super) kind: String,
    pub(super) mailbox: mpsc::Receiver<Actuation>,
    pub(super) inbox: mpsc::Receiver<FromBus>,
    /// What the bus said while the device's code was down.
    pub(super) held: VecDeque<FromBus>,
    /// To the bus. Full: a command waits, until its deadline.
    pub(super) bus: mpsc::Sender<Write>,
    /// Readings on their way out. Full: the device waits; it slows down rather than lose.
    pub(super) events: mpsc::Sender<DeviceEvent>,
    /// The whole last known state.
    pub(super) state: Fields,
    /// What the world was last told that its fields are.
    pub(super) entities: Option<Vec<Entity>>,
    /// Whether the device is there, by its own word or silence.
    pub(super) own_word: Option<Availability>,
    /// Why its bus cannot reach it.
    pub(super) bus_fault: Option<String>,
    /// What the world was last told.
    pub(super) told: Option<Availability>,
    pub(super) last_seen: Option<Timestamp>,
    /// Restarts of the device's code or its bus.
    pub(super) restarts: u32,
    pub(super) fault: Option<String>,
    /// Why each of these fields is not told. As many as the device has fields at most.
    pub(super) unread: BTreeMap<String, String>,
    pub(super) clock: Clock,
    pub(super) board: Board,
}

impl Desk {
    /// Whether the device can be reached; `None` while nothing is known.
    pub(super) fn availability(&self) -> Option<Availability> {
        if self.bus_fault.is_some() { Some(Availability::Offline) } else { self.own_word }
    }

    /// Tells the world when the device came or went.
    pub(super) async fn tell_availability(&mut self, stop: &CancellationToken) {
        let availability = self.availability();
        let Some(word) = availability.filter(|_| availability != self.told) else { return };
        self.told = availability;
        let event = match word {
            Availability::Online => KeyEvent::DeviceOnline,
            Availability::Offline => KeyEvent::DeviceOffline,
        };
        let fault = self.bus_fault.as_deref();
        info!(message_id = event.id(), device = %self.id, fault, "{}", event.says());
        self.report();
        self.emit(DeviceEvent::Availability(self.id.clone(), word), stop).await;
    }

    /// Tells the world what the fields are for people, if that has changed.
    pub(super) async fn tell_entities(&mut self, mut entities: Vec<Entity>, stop: &CancellationToken) {
        entities.truncate(Entity::MOST);
        if self.entities.as_ref() == Some(&entities) {
            return;
        }
        if entities.len() == Entity::MOST {
            warn!(device = %self.id, most = Entity::MOST, "the device has too many fields; some are not announced");
        }
        self.entities = Some(entities.clone());
        self.forget_events();
        self.emit(DeviceEvent::Entities(self.id.clone(), entities), stop).await;
    }

    fn is_event(&self, field: &str) -> bool {
        let mut entities = self.entities.iter().flatten();
        entities.any(|entity| entity.field == field && matches!(entity.platform, Platform::Event { .. }))
    }

    /// What happened is told once, and is nothing that the device *is*.
    fn forget_events(&mut self) {
        let mut state = std::mem::take(&mut self.state);
        state.retain(|field, _| !self.is_event(field));
        self.state = state;
    }

    /// Tells the world the whole state, into which `fields` were read. What the bus had kept from
    /// earlier is told only when it is new.
    pub(super) async fn tell_reading(
        &mut self,
        mut fields: Fields,
        was_kept: bool,
        now: Timestamp,
        stop: &CancellationToken,
    ) {
        if was_kept {
            // What happened then does not happen now.
            fields.retain(|field, _| !self.is_event(field));
        }
        let is_new = fields.iter().any(|(name, value)| self.state.get(name) != Some(value));
        if fields.is_empty() || (was_kept && !is_new) {
            return;
        }
        self.state.extend(fields);
        if self.state.keys().any(|field| self.is_event(field)) {
            self.emit(DeviceEvent::Happened(self.reading(now)), stop).await;
            self.forget_events();
        }
        if !self.state.is_empty() {
            self.emit(DeviceEvent::Reading(self.reading(now)), stop).await;
        }
    }

    fn reading(&self, taken_at: Timestamp) -> Reading {
        Reading { device: self.id.clone(), fields: self.state.clone(), taken_at }
    }

    async fn emit(&mut self, event: DeviceEvent, stop: &CancellationToken) {
        let too_late = async {
            stop.cancelled().await;
            sleep(DRAIN).await;
        };
        // Cancel safe as a whole: the event is lost only at a stop, and then it was never accepted.
        tokio::select! {
            biased;
            // Nobody listens any more: the gateway is stopping.
            _ = self.events.send(event) => {}
            () = too_late => warn!(device = %self.id, "a reading was not taken before the stop"),
        }
    }

    /// Puts what is known on the board.
    pub(super) fn report(&self) {
        let availability = self.availability().unwrap_or(Availability::Offline);
        let has_state = !self.state.is_empty();
        let Summary { battery, signal, number, units } =
            Summary::of(self.entities.as_deref().unwrap_or_default(), &self.state);
        self.board.device(DeviceReport {
            availability,
            fields: has_state.then(|| self.state.clone()),
            stale: has_state && (availability == Availability::Offline || self.last_seen.is_none()),
            battery_percent: battery,
            signal_dbm: signal,
            number,
            units,
            last_seen: self.last_seen,
            restarts: self.restarts,
            fault: self
                .bus_fault
                .as_ref()
                .or_else(|| self.unread.values().next())
                .or(self.fault.as_ref())
                .cloned(),
            ..DeviceReport::new(self.id.clone(), self.kind.clone())
        });
    }

    /// Answers what waits in the mailbox: nothing of it was sent.
    pub(super) fn refuse_waiting(&mut self, why: &str) {
        while let Ok(actuation) = self.mailbox.try_recv() {
            refuse(actuation, why);
        }
    }

    /// While the device's code is down: answers commands at once and keeps the bus's last words, so
    /// that neither the one who asks nor the bus waits for it. Never ends; dropped when it is enough.
    pub(super) async fn stand_in(&mut self, why: &str) {
        loop {
            // Cancel safe: both are receivers.
            tokio::select! {
                Some(actuation) = self.mailbox.recv() => refuse(actuation, why),
                Some(said) = self.inbox.recv() => {
                    if self.held.len() == HELD {
                        self.held.pop_front();
                    }
                    self.held.push_back(said);
                }
                else => return std::future::pending().await,
            }
        }
    }
}

fn refuse(actuation: Actuation, why: &str) {
    let detail = Some(format!("{why}; nothing was sent"));
    let _ = actuation.reply.send(ActuationReply { status: OutcomeStatus::Failed, detail });
}
