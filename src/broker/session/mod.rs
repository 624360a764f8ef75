//! One client's session: what waits for it, what it is subscribed to, who is connected as it.
//!
//! Owns the queue, the window and the QoS 2 ids of one client id, behind a short mutex. Never does I/O
//! (`saving` tells the recorder what the disk is to know) and never takes the hub's lock (the order is
//! hub, session, agenda). Invariants: `bytes` is the sum of what waits and what is on its way, and
//! stays within the bound; sequences rise along the window and then the queue; at most one connection
//! owns the session, and what any other does to it has no effect.
//!
//! Full: the newest message is dropped and counted, as Mosquitto does; the older ones may be half sent.
//! Before that, publishers to a client that does read are told to pause, so that a burst is slowed to
//! what it takes; one that does not read slows nobody.

mod owner;
mod saving;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use futures_util::future::Shared;

pub(super) use self::{
    owner::{End, Owner},
    saving::{Remembered, Work},
};
use super::{
    agenda::Agenda,
    counters::Counters,
    delivery::Delivery,
    inflight::{Again, Inflight, Received},
    packet::{Ack, Encoder, Outgoing, Reason, SubscriptionOptions},
    receipt::{Pledge, Receipt},
};
use crate::{
    model::{ClientId, Message, QoS, Topic, TopicFilter},
    store::{AwaitingChange, Durable},
};

/// What a session may hold also when all together hold too much, in bytes.
const SHARE: usize = 16 << 10;

/// What became of a message for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offered {
    Queued,
    /// Queued, but the queue is more than half full, of a client that reads: whoever publishes does well
    /// to wait a moment.
    Crowded,
    /// Queued, and the queue is more than half full, of a client that has taken nothing lately: perhaps
    /// its task only needs its turn.
    Unread,
    /// The client is absent and the message QoS 0, or there is no room, which is counted.
    NotQueued,
}

/// How long ago a client must have taken something to count as reading.
const READING: Duration = Duration::from_millis(50);

/// What is known of a QoS 2 message between its PUBLISH and its PUBREL.
#[derive(Debug, Clone)]
pub(super) enum Arrived {
    /// Delivered, and nothing to wait for.
    Done,
    /// Delivered at home; not yet handed to the store.
    NotStored,
    /// On its way to the disk; whoever asks again waits for the same answer.
    Storing(Shared<Durable<u64>>),
}

/// A message that waits for a client.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) delivery: Delivery,
    /// Its place among the session's QoS 1 and 2 messages, from 1; with QoS 0 that of the one before.
    pub(super) sequence: u64,
    /// Holds its publisher's acknowledgement back.
    pub(super) receipt: Option<Receipt>,
}

/// The retained messages that a subscription is still to be sent: those behind a topic.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Replay {
    pub(super) filter: TopicFilter,
    pub(super) after: Option<Topic>,
}

/// A client's session.
#[derive(Debug)]
pub(super) struct Session {
    /// Its number, never used again.
    pub(super) key: u64,
    pub(super) client: ClientId,
    pub(super) state: Mutex<State>,
    me: Weak<Session>,
    agenda: Arc<Agenda>,
}

/// What changes in a session.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) owner: Option<Arc<Owner>>,
    /// Whether the owner sleeps until its bell rings.
    is_asleep: bool,
    queue: VecDeque<Waiting>,
    inflight: Inflight,
    /// Of the queue and the window.
    bytes: usize,
    /// When the client last took something off the queue.
    drained: Option<Instant>,
    /// QoS 2 messages from the client.
    pub(super) arrived: HashMap<u16, Arrived>,
    pub(super) subscriptions: BTreeMap<TopicFilter, SubscriptionOptions>,
    /// What subscriptions are still to be sent; at most one a subscription.
    pub(super) replays: VecDeque<Replay>,
    /// How long it outlives its connection; zero: not at all.
    pub(super) expiry: Duration,
    /// When it is over, while its client is absent.
    pub(super) ends_at: Option<Instant>,
    /// A will that waits for its delay.
    pub(super) will: Option<(Instant, Message)>,
    /// The sequence of the last QoS 1 or 2 message.
    last_sequence: u64,
    /// The last one that was sent.
    sent: u64,
    /// The disk has, or is about to have, what waits up to this sequence.
    saving: u64,
    /// The last one when the recorder last came by.
    seen: u64,
    /// The disk keeps the sequences up to this one from being used again after a restart.
    reserved: u64,
    /// What became of messages that the disk has.
    settled: Vec<AwaitingChange>,
    /// Whether the session is on the recorder's agenda.
    is_listed: bool,
    /// Whether what the disk knows beside the messages is out of date.
    is_stale: bool,
    /// Whether the disk knows of it, or is to.
    is_recorded: bool,
    /// Whether it was removed for good.
    is_over: bool,
}

/// The bounds of a queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) session: usize,
    pub(super) all: usize,
}

/// How much a connection may be given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Appetite {
    /// The window: messages on their way at a time.
    pub(super) window: usize,
    /// Fill the output up to here, in bytes.
    pub(super) until: usize,
    /// The largest packet that the client takes, in bytes.
    pub(super) packet: usize,
}

impl Session {
    pub(super) fn new(key: u64, client: ClientId, expiry: Duration, agenda: Arc<Agenda>) -> Arc<Self> {
        let state = Mutex::new(State { expiry, ..State::default() });
        Arc::new_cyclic(|me| Self { key, client, state, me: me.clone(), agenda })
    }

    /// The state; a panic while it was held leaves at worst a message uncounted.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a message. A persistent session takes a receipt for a QoS 1 or 2 message, until its
    /// client has it or the disk has.
    pub(super) fn offer(
        &self,
        delivery: Delivery,
        bounds: Bounds,
        counters: &Counters,
        pledge: &mut Pledge,
    ) -> Offered {
        let mut state = self.lock();
        if state.owner.is_none() && (delivery.qos == QoS::AtMostOnce || state.expiry.is_zero()) {
            return Offered::NotQueued;
        }
        let size = delivery.publication.size();
        if !state.has_room(size, bounds, counters) {
            drop(state);
            Counters::count(&counters.dropped);
            return Offered::NotQueued;
        }
        state.bytes += size;
        Counters::add(&counters.queued_bytes, size);
        let mut receipt = None;
        if delivery.qos != QoS::AtMostOnce {
            state.last_sequence += 1;
            if !state.expiry.is_zero() {
                receipt = (!self.agenda.is_down()).then(|| pledge.receipt());
                state.is_stale |= state.needs_reserve();
                let is_absent = state.owner.is_none();
                self.list(&mut state, is_absent);
            }
        }
        let sequence = state.last_sequence;
        state.queue.push_back(Waiting { delivery, sequence, receipt });
        let offered = match state.bytes > bounds.session / 2 && state.owner.is_some() {
            false => Offered::Queued,
            true if state.is_draining() => Offered::Crowded,
            true => Offered::Unread,
        };
        state.wake();
        offered
    }

    /// Writes what waits into `out`; afterwards the owner's bell rings for what comes. Gives whether
    /// there is room for [`State::replays`]. `None`: the session belongs to another connection now.
    pub(super) fn fill(
        &self,
        owner: &Arc<Owner>,
        encoder: Encoder,
        out: &mut BytesMut,
        appetite: Appetite,
        bounds: Bounds,
        counters: &Counters,
    ) -> Option<bool> {
        let mut guard = self.owned(owner)?;
        let state = &mut *guard;
        while out.len() < appetite.until {
            match state.inflight.again() {
                None => break,
                Some(Again::Release(id)) => encoder.ack(out, Ack::Release, id, Reason::Success),
                Some(Again::Publish(id, Waiting { delivery, .. })) => {
                    let left = delivery.publication.left().unwrap_or_default();
                    encoder.publish(out, outgoing(delivery, id, true, left), appetite.packet);
                }
            }
        }
        let mut has_drained = false;
        while out.len() < appetite.until && !state.inflight.has_again() {
            let Some(next) = state.queue.front() else {
                state.queue = VecDeque::new();
                break;
            };
            let id = match next.delivery.qos {
                QoS::AtMostOnce => 0,
                _ if state.inflight.len() >= appetite.window => break,
                _ => match state.inflight.id_for(next.sequence) {
                    Some(id) => id,
                    None => break,
                },
            };
            let Some(waiting) = state.queue.pop_front() else { break };
            has_drained = true;
            state.send(encoder, out, (waiting, id), appetite.packet, counters);
        }
        if has_drained {
            state.drained = Some(Instant::now());
        }
        // With output left over the connection comes back by itself.
        state.is_asleep = out.len() < appetite.until;
        let wants_more = state.is_asleep && !state.replays.is_empty() && state.bytes < bounds.session / 4;
        self.list_settled(state);
        Some(wants_more)
    }

    fn list_settled(&self, state: &mut State) {
        if !state.settled.is_empty() {
            self.list(state, false);
        }
    }

    /// Locks the state for its owner.
    fn owned(&self, owner: &Arc<Owner>) -> Option<MutexGuard<'_, State>> {
        let state = self.lock();
        state.owner.as_ref().is_some_and(|current| Arc::ptr_eq(current, owner)).then_some(state)
    }

    /// An acknowledgement from the client. Gives what is to be answered.
    pub(super) fn acknowledge(
        &self,
        owner: &Arc<Owner>,
        (kind, id, is_failure): (Ack, u16, bool),
        counters: &Counters,
    ) -> Option<(Ack, Reason)> {
        let mut guard = self.owned(owner)?;
        let state = &mut *guard;
        let mut is_urgent = false;
        let answer = match kind {
            Ack::Taken => {
                if let Some(waiting) = state.inflight.acknowledged(id) {
                    state.done(&waiting, counters);
                }
                None
            }
            Ack::Received => {
                let saving = if self.agenda.is_down() { 0 } else { state.saving };
                match state.inflight.received(id, is_failure, |sequence| sequence <= saving) {
                    Received::First(waiting) => {
                        state.release(&waiting.delivery, counters);
                        if waiting.sequence <= state.saving {
                            state.settled.push(AwaitingChange::Released(waiting.sequence));
                        }
                        is_urgent = waiting.sequence <= saving;
                        (!is_urgent).then_some((Ack::Release, Reason::Success))
                    }
                    Received::Refused(waiting) => {
                        state.done(&waiting, counters);
                        None
                    }
                    Received::Again => Some((Ack::Release, Reason::Success)),
                    Received::Pending => None,
                    Received::Unknown if is_failure => None,
                    Received::Unknown => Some((Ack::Release, Reason::PacketIdNotFound)),
                }
            }
            Ack::Complete => {
                let sequence = state.inflight.completed(id);
                state.forget(sequence);
                None
            }
            Ack::Release => {
                let known = state.arrived.remove(&id).is_some();
                if known && !state.expiry.is_zero() {
                    state.is_stale = true;
                    self.list(state, false);
                }
                let reason = if known { Reason::Success } else { Reason::PacketIdNotFound };
                Some((Ack::Complete, reason))
            }
        };
        self.list_settled(state);
        if is_urgent {
            self.agenda.hurry();
        }
        answer
    }

    /// What is known of the QoS 2 message with this id.
    pub(super) fn arrived(&self, id: u16) -> Option<Arrived> {
        self.lock().arrived.get(&id).cloned()
    }

    /// Remembers, or forgets, what is known of a QoS 2 message; without effect for who is not the owner.
    pub(super) fn set_arrived(&self, owner: &Arc<Owner>, id: u16, arrived: Option<Arrived>) {
        if let Some(mut state) = self.owned(owner) {
            match arrived {
                Some(arrived) => drop(state.arrived.insert(id, arrived)),
                None => drop(state.arrived.remove(&id)),
            }
            if !state.expiry.is_zero() {
                state.is_stale = true;
                self.list(&mut state, false);
            }
        }
    }

    /// Whether this connection still owns the session.
    pub(super) fn is_owned_by(&self, owner: &Arc<Owner>) -> bool {
        self.owned(owner).is_some()
    }
}

impl State {
    /// Hands the session to a new connection; the old one is asked to end.
    pub(super) fn take_over(&mut self, owner: &Arc<Owner>) {
        if let Some(old) = self.owner.replace(owner.clone()) {
            old.ask_to_end(End::TakenOver);
        }
        self.is_asleep = false;
        self.ends_at = None;
        self.will = None;
        self.inflight.resume();
    }

    /// Its connection is gone. What came with QoS 0 is not kept for later (section 4.1: need not be).
    pub(super) fn leave(&mut self, counters: &Counters) {
        self.owner = None;
        self.ends_at = Instant::now().checked_add(self.expiry);
        let (kept, gone): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.queue)
            .into_iter()
            .partition(|waiting| waiting.delivery.qos != QoS::AtMostOnce);
        self.queue = kept;
        for waiting in gone {
            self.release(&waiting.delivery, counters);
        }
    }

    /// Rings the owner's bell if it sleeps.
    fn wake(&mut self) {
        if self.is_asleep
            && let Some(owner) = &self.owner
        {
            owner.bell.notify_one();
            self.is_asleep = false;
        }
    }

    /// Whether a message of this size would be queued. An empty queue takes any: packets are bounded.
    /// And whoever fills the house's bound with absent sessions leaves the others their share.
    pub(super) fn has_room(&self, size: usize, bounds: Bounds, counters: &Counters) -> bool {
        let all = counters.queued_bytes.load(Ordering::Relaxed) + size;
        let own = self.bytes + size;
        self.bytes == 0 || (own <= bounds.session && (all <= bounds.all || own <= SHARE))
    }

    /// Whether the disk knows of the session.
    pub(super) fn is_recorded(&self) -> bool {
        self.is_recorded
    }

    fn needs_reserve(&self) -> bool {
        self.last_sequence + saving::AHEAD / 2 > self.reserved
    }

    fn is_draining(&self) -> bool {
        self.drained.is_some_and(|at| at.elapsed() < READING)
    }

    /// Empties the session for good, and gives back its room.
    pub(super) fn clear(&mut self, counters: &Counters) {
        counters.queued_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = 0;
        self.queue = VecDeque::new();
        self.inflight = Inflight::default();
        self.arrived = HashMap::new();
        self.replays = VecDeque::new();
        self.settled = Vec::new();
        self.is_over = true;
    }

    fn release(&mut self, delivery: &Delivery, counters: &Counters) {
        self.bytes -= delivery.publication.size();
        counters.queued_bytes.fetch_sub(delivery.publication.size(), Ordering::Relaxed);
    }

    /// A message is delivered, or will not be.
    fn done(&mut self, waiting: &Waiting, counters: &Counters) {
        self.release(&waiting.delivery, counters);
        if waiting.delivery.qos != QoS::AtMostOnce {
            self.forget(Some(waiting.sequence));
        }
    }

    /// The disk is to forget a message that it has.
    fn forget(&mut self, sequence: Option<u64>) {
        self.settled
            .extend(sequence.filter(|sequence| *sequence <= self.saving).map(AwaitingChange::Deleted));
    }

    fn send(
        &mut self,
        encoder: Encoder,
        out: &mut BytesMut,
        (waiting, id): (Waiting, u16),
        limit: usize,
        counters: &Counters,
    ) {
        let Waiting { delivery, sequence, .. } = &waiting;
        let Ok(left) = delivery.publication.left() else { return self.done(&waiting, counters) };
        // Too large for this client: as if delivered (MQTT-3.1.2-25).
        let was_sent = encoder.publish(out, outgoing(delivery, id, false, left), limit);
        if was_sent && delivery.qos != QoS::AtMostOnce {
            self.sent = *sequence;
            self.inflight.launch(waiting);
        } else {
            self.done(&waiting, counters);
        }
    }
}

fn outgoing(delivery: &Delivery, id: u16, is_duplicate: bool, left: Option<Duration>) -> Outgoing<'_> {
    Outgoing {
        message: &delivery.publication.message,
        qos: delivery.qos,
        retain: delivery.retain,
        id,
        is_duplicate,
        left,
        identifiers: delivery.identifiers.as_slice(),
    }
}

#[cfg(test)]
mod tests;
