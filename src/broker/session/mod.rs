//! One client's session: what waits for it, what it is subscribed to, who is connected as it.
//!
//! Owns the queue, the window and the QoS 2 ids of one client id, behind a short mutex. Never does I/O
//! (`saving` tells the recorder what the disk is to know) and never takes the hub's lock (the order is
//! hub, session, agenda). Invariants: `bytes` is the sum of what waits and what is on its way, and
//! stays within the bound; sequences rise along the window and then the queue; at most one connection
//! owns the session, and what any other does to it has no effect.
//!
//! `queue` is what waits, `interests` what it wants to hear, `answers` what is acknowledged, `saving` what the disk is to know.

mod answers;
mod interests;
mod owner;
mod queue;
mod saving;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use self::queue::Drained;
pub(super) use self::{
    answers::Arrived,
    owner::{End, Owner},
    queue::{Appetite, Bounds, Offered},
    saving::{Remembered, Work},
};
use super::{
    agenda::Agenda, counters::Counters, delivery::Delivery, inflight::Inflight, packet::SubscriptionOptions,
    receipt::Receipt, rights::Readable,
};
use crate::{
    model::{ClientId, Message, QoS, Topic, TopicFilter},
    store::AwaitingChange,
};

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
    /// Whose it is; `None`: an anonymous client's.
    pub(super) user: Option<Arc<str>>,
    /// What may be delivered; `None`: everything.
    readable: Option<Readable>,
    /// Whether the owner sleeps until its bell rings.
    is_asleep: bool,
    queue: VecDeque<Waiting>,
    inflight: Inflight,
    /// Of the queue and the window.
    bytes: usize,
    /// What the client has taken off the queue lately.
    drained: Option<Drained>,
    /// QoS 2 messages from the client.
    pub(super) arrived: HashMap<u16, Arrived>,
    pub(super) subscriptions: BTreeMap<TopicFilter, SubscriptionOptions>,
    /// What they are charged for, in bytes.
    subscription_bytes: usize,
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
    /// Of those who wait for the disk to know what changed beside the messages.
    receipts: Vec<Receipt>,
    /// Whether the session is on the recorder's agenda.
    is_listed: bool,
    /// Whether what the disk knows beside the messages is out of date.
    is_stale: bool,
    /// Whether the disk knows of it, or is to.
    is_recorded: bool,
    /// Whether it was removed for good.
    is_over: bool,
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

    fn may_read(&self, delivery: &Delivery) -> bool {
        may_read(self.readable.as_ref(), delivery)
    }

    /// From now on only this may be delivered, what waits already included.
    pub(super) fn restrict(&mut self, readable: Option<Readable>, counters: &Counters) {
        self.readable = readable;
        if self.readable.is_some() {
            let readable = self.readable.as_ref();
            for waiting in self.inflight.withdraw_where(|waiting| !may_read(readable, &waiting.delivery)) {
                self.done(&waiting, counters);
            }
            for waiting in std::mem::take(&mut self.queue) {
                match self.may_read(&waiting.delivery) {
                    true => self.queue.push_back(waiting),
                    false => self.done(&waiting, counters),
                }
            }
        }
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

    /// Rings the owner's bell if it sleeps; whether it did.
    fn wake(&mut self) -> bool {
        let sleeper = self.owner.as_ref().filter(|_| self.is_asleep);
        let was_asleep = sleeper.is_some();
        if let Some(owner) = sleeper {
            owner.bell.notify_one();
            self.is_asleep = false;
        }
        was_asleep
    }

    /// Whether anything waits for the client.
    pub(super) fn has_waiting(&self) -> bool {
        self.bytes > 0
    }

    /// Whether the disk knows of the session.
    pub(super) fn is_recorded(&self) -> bool {
        self.is_recorded
    }

    /// What came by shared subscriptions and others may still be given: a QoS 2 message that was sent
    /// may not (MQTT-4.8.2-5).
    pub(super) fn shared(&mut self) -> Vec<Delivery> {
        let sent = self.inflight.iter_mut().filter(|waiting| waiting.delivery.qos == QoS::AtLeastOnce);
        let all = sent.map(|waiting| &*waiting).chain(&self.queue).map(|waiting| &waiting.delivery);
        all.filter(|delivery| delivery.share.is_some()).cloned().collect()
    }

    /// Empties the session for good, and gives back its room.
    pub(super) fn clear(&mut self, counters: &Counters) {
        Counters::subtract(&counters.queued_bytes, std::mem::take(&mut self.bytes));
        self.end_subscriptions(counters);
        self.queue = VecDeque::new();
        self.inflight = Inflight::default();
        self.arrived = HashMap::new();
        self.replays = VecDeque::new();
        self.settled = Vec::new();
        self.receipts = Vec::new();
        self.is_over = true;
    }

    fn release(&mut self, delivery: &Delivery, counters: &Counters) {
        self.bytes -= delivery.size();
        Counters::subtract(&counters.queued_bytes, delivery.size());
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
}

fn may_read(readable: Option<&Readable>, delivery: &Delivery) -> bool {
    let topic = &delivery.publication.message.topic;
    readable.is_none_or(|readable| readable.iter().any(|filter| filter.matches(topic)))
}

#[cfg(test)]
mod tests;
