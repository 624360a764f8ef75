//! One client's session: what waits for it, what it is subscribed to, who is connected as it.
//!
//! Owns the queue, the window and the QoS 2 ids of one client id, behind a short mutex. Never does I/O
//! and never takes the hub's lock (the order is hub, then session). Invariants: `bytes` is the sum of
//! what waits and what is on its way, and stays within the bound; at most one connection owns the
//! session, and what any other does to it has no effect.
//!
//! Full: the newest message is dropped and counted, as Mosquitto does; the older ones may be half sent.
//! Before that, publishers to a client that does read are told to pause, so that a burst is slowed to
//! what it takes; one that does not read slows nobody.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::BytesMut;
use futures_util::future::Shared;
use tokio::sync::Notify;

use super::{
    counters::Counters,
    delivery::Delivery,
    inflight::{Again, Inflight, Received},
    packet::{Ack, Encoder, Outgoing, Reason, SubscriptionOptions},
};
use crate::{
    model::{ClientId, Message, QoS, TopicFilter},
    store::Durable,
};

/// What a session may hold also when all together hold too much, in bytes.
const SHARE: usize = 16 << 10;

/// Why a connection is to end, told by others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Another connection came with the same client id.
    TakenOver,
    /// The broker stops.
    ShuttingDown,
}

/// The connection that owns a session, as others see it.
#[derive(Debug, Default)]
pub(super) struct Owner {
    /// Rung when there is something to send or a reason to end.
    pub(super) bell: Notify,
    end: AtomicU8,
}

impl Owner {
    /// Asks the connection to end.
    pub(super) fn ask_to_end(&self, why: End) {
        self.end.store(if why == End::TakenOver { 1 } else { 2 }, Ordering::Release);
        self.bell.notify_one();
    }

    /// Whether it was asked to, and why.
    pub(super) fn end(&self) -> Option<End> {
        match self.end.load(Ordering::Acquire) {
            0 => None,
            1 => Some(End::TakenOver),
            _ => Some(End::ShuttingDown),
        }
    }
}

/// What became of a message for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offered {
    Queued,
    /// Queued, and its connection was asleep and is woken.
    Woken,
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

/// A client's session.
#[derive(Debug)]
pub(super) struct Session {
    /// Its number, never used again.
    pub(super) key: u64,
    pub(super) client: ClientId,
    pub(super) state: Mutex<State>,
}

/// What changes in a session.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) owner: Option<Arc<Owner>>,
    /// Whether the owner sleeps until its bell rings.
    is_asleep: bool,
    queue: VecDeque<Delivery>,
    inflight: Inflight,
    /// Of the queue and the window.
    bytes: usize,
    /// When the client last took something off the queue.
    drained: Option<Instant>,
    /// QoS 2 messages from the client.
    pub(super) arrived: HashMap<u16, Arrived>,
    pub(super) subscriptions: BTreeMap<TopicFilter, SubscriptionOptions>,
    /// How long it outlives its connection; zero: not at all.
    pub(super) expiry: Duration,
    pub(super) absent_since: Option<Instant>,
    /// Whether the disk knows of it, or is to.
    pub(super) is_recorded: bool,
    /// A will that waits for its delay.
    pub(super) will: Option<(Instant, Message)>,
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
    pub(super) fn new(key: u64, client: ClientId, expiry: Duration) -> Arc<Self> {
        Arc::new(Self { key, client, state: Mutex::new(State { expiry, ..State::default() }) })
    }

    /// The state; a panic while it was held leaves at worst a message uncounted.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a message.
    pub(super) fn offer(&self, delivery: Delivery, bounds: Bounds, counters: &Counters) -> Offered {
        let mut state = self.lock();
        if state.owner.is_none() && (delivery.qos == QoS::AtMostOnce || state.expiry.is_zero()) {
            return Offered::NotQueued;
        }
        let size = delivery.publication.size();
        let all = counters.queued_bytes.load(Ordering::Relaxed) + size;
        let own = state.bytes + size;
        // A queue that is empty takes any message: packets are bounded. And whoever fills the house's
        // bound with absent sessions leaves the others their share.
        let is_full = state.bytes > 0 && (own > bounds.session || (all > bounds.all && own > SHARE));
        if is_full {
            drop(state);
            Counters::count(&counters.dropped);
            return Offered::NotQueued;
        }
        state.bytes += size;
        counters.queued_bytes.fetch_add(size, Ordering::Relaxed);
        state.queue.push_back(delivery);
        let offered = match state.bytes > bounds.session / 2 && state.owner.is_some() {
            false => Offered::Queued,
            true if state.is_draining() => Offered::Crowded,
            true => Offered::Unread,
        };
        if state.is_asleep
            && let Some(owner) = state.owner.clone()
        {
            state.is_asleep = false;
            drop(state);
            owner.bell.notify_one();
            return if offered == Offered::Queued { Offered::Woken } else { offered };
        }
        offered
    }

    /// Writes what waits into `out`; afterwards the owner's bell rings for what comes. `None`: the
    /// session belongs to another connection now.
    pub(super) fn fill(
        &self,
        owner: &Arc<Owner>,
        encoder: Encoder,
        out: &mut BytesMut,
        appetite: Appetite,
        counters: &Counters,
    ) -> Option<()> {
        let mut guard = self.owned(owner)?;
        let state = &mut *guard;
        while out.len() < appetite.until {
            match state.inflight.again() {
                None => break,
                Some(Again::Release(id)) => encoder.ack(out, Ack::Release, id, Reason::Success),
                Some(Again::Publish(id, delivery)) => {
                    let left = delivery.publication.left().unwrap_or_default();
                    encoder.publish(out, outgoing(delivery, id, true, left), appetite.packet);
                }
            }
        }
        let mut has_drained = false;
        while out.len() < appetite.until && !state.inflight.has_again() {
            let Some(delivery) = state.queue.front() else {
                state.queue = VecDeque::new();
                break;
            };
            if delivery.qos != QoS::AtMostOnce && state.inflight.len() >= appetite.window {
                break;
            }
            let Some(delivery) = state.queue.pop_front() else { break };
            has_drained = true;
            state.send(encoder, out, delivery, appetite.packet, counters);
        }
        if has_drained {
            state.drained = Some(Instant::now());
        }
        // With output left over the connection comes back by itself.
        state.is_asleep = out.len() < appetite.until;
        Some(())
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
        let mut state = self.owned(owner)?;
        let (done, answer) = match kind {
            Ack::Taken => (state.inflight.acknowledged(id), None),
            Ack::Received => match state.inflight.received(id, is_failure) {
                Received::Release(done) => (done, Some((Ack::Release, Reason::Success))),
                Received::Refused(done) => (Some(done), None),
                Received::Unknown if is_failure => (None, None),
                Received::Unknown => (None, Some((Ack::Release, Reason::PacketIdNotFound))),
            },
            Ack::Complete => {
                state.inflight.completed(id);
                (None, None)
            }
            Ack::Release => {
                let known = state.arrived.remove(&id).is_some();
                let reason = if known { Reason::Success } else { Reason::PacketIdNotFound };
                (None, Some((Ack::Complete, reason)))
            }
        };
        if let Some(done) = done {
            state.release(&done, counters);
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
        self.absent_since = None;
        self.will = None;
        self.inflight.resume();
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
    }

    fn release(&mut self, delivery: &Delivery, counters: &Counters) {
        self.bytes -= delivery.publication.size();
        counters.queued_bytes.fetch_sub(delivery.publication.size(), Ordering::Relaxed);
    }

    fn send(
        &mut self,
        encoder: Encoder,
        out: &mut BytesMut,
        delivery: Delivery,
        limit: usize,
        counters: &Counters,
    ) {
        let Ok(left) = delivery.publication.left() else { return self.release(&delivery, counters) };
        if delivery.qos == QoS::AtMostOnce {
            // Too large for this client: as if delivered (MQTT-3.1.2-25).
            encoder.publish(out, outgoing(&delivery, 0, false, left), limit);
            return self.release(&delivery, counters);
        }
        let Some(id) = self.inflight.launch(delivery.clone()) else {
            return self.queue.push_front(delivery);
        };
        if !encoder.publish(out, outgoing(&delivery, id, false, left), limit) {
            self.inflight.withdraw(id);
            self.release(&delivery, counters);
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
mod tests {
    use super::*;
    use crate::{
        broker::delivery::{Identifiers, Publication},
        model::Topic,
    };

    fn offer(session: &Session, bounds: Bounds, counters: &Counters, size: usize) -> bool {
        let message = Message::new(Topic::parse("t").unwrap(), vec![0; size], QoS::AtLeastOnce);
        let publication = Publication::new(message);
        let delivery = Delivery {
            publication,
            qos: QoS::AtLeastOnce,
            retain: false,
            identifiers: Identifiers::default(),
        };
        session.offer(delivery, bounds, counters) != Offered::NotQueued
    }

    fn sessions(count: u64) -> Vec<Arc<Session>> {
        (0..count).map(|key| Session::new(key, ClientId::new("x"), Duration::from_secs(60))).collect()
    }

    #[test]
    fn a_queue_stays_within_its_bound_and_counts_what_it_drops() {
        let (counters, bounds) = (Counters::default(), Bounds { session: 10_000, all: usize::MAX });
        let session = &sessions(1)[0];
        let taken = (0..50).filter(|_| offer(session, bounds, &counters, 1_000)).count();
        let state = session.lock();
        assert!(state.bytes <= 10_000 && taken == state.queue.len() && taken > 5, "{taken}");
        assert_eq!(counters.dropped.load(Ordering::Relaxed), 50 - taken as u64);
        drop(state);
        session.lock().clear(&counters);
        assert_eq!(counters.queued_bytes.load(Ordering::Relaxed), 0);
        assert!(offer(session, bounds, &counters, 20_000), "an empty queue takes any message");
    }

    #[test]
    fn who_fills_the_house_leaves_the_others_their_share() {
        let (counters, bounds) = (Counters::default(), Bounds { session: 100_000, all: 150_000 });
        let sessions = sessions(3);
        for hog in &sessions[..2] {
            while offer(hog, bounds, &counters, 1_000) {}
        }
        let taken = (0..50).filter(|_| offer(&sessions[2], bounds, &counters, 1_000)).count();
        assert!((10..=16).contains(&taken), "{taken}");
    }
}
