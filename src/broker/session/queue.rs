//! What waits for a client, on its way in and out.
//!
//! Full: the newest message is dropped and counted, as Mosquitto does; the older ones may be half sent.
//! Before that, publishers to a client that does read are told to pause, so that a burst is slowed to
//! what it takes; one that does not read slows nobody.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::BytesMut;

use super::{Session, State, Waiting, owner::Owner, saving};
use crate::{
    broker::{
        counters::Counters,
        delivery::Delivery,
        inflight::Again,
        packet::{Ack, Encoder, Outgoing, Reason},
        receipt::Pledge,
    },
    model::QoS,
};

/// What a session may hold also when all together hold too much, in bytes.
const SHARE: usize = 16 << 10;

/// How long ago a client must have taken something to count as reading: on a busy Pi its program, or
/// our task for it, may not have its turn for a good part of that.
const READING: Duration = Duration::from_secs(1);

/// How long publishers pause when a queue is more than half full: at most 16 KiB come in meanwhile from
/// each, so a burst is slowed to what is taken, and a lone message not at all.
const REST: Duration = Duration::from_millis(2);

/// The same when it is more than seven eighths full.
const LONG_REST: Duration = Duration::from_millis(20);

/// How much a client has taken off its queue lately.
#[derive(Debug)]
pub(super) struct Drained {
    /// The last time.
    at: Instant,
    /// Bytes in the second that has begun `since`, and in the one before.
    since: Instant,
    now: usize,
    before: usize,
}

impl Drained {
    fn new() -> Self {
        let now = Instant::now();
        Self { at: now, since: now, now: 0, before: 0 }
    }

    fn add(&mut self, bytes: usize) {
        self.at = Instant::now();
        let elapsed = self.at - self.since;
        if elapsed >= READING {
            self.before = if elapsed < 2 * READING { self.now } else { 0 };
            (self.since, self.now) = (self.at, 0);
        }
        self.now += bytes;
    }
}

/// What became of a message for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::broker) enum Offered {
    Queued,
    /// Queued, and its connection was asleep and is woken.
    Woken,
    /// Queued, but the queue is more than half full, of a client that reads: whoever publishes is to
    /// pause for so long.
    Crowded(Duration),
    /// Queued, and the queue is more than half full, of a client that has taken nothing lately: perhaps
    /// its task only needs its turn.
    Unread,
    /// The client is absent and the message QoS 0, it may not read it, or there is no room, which is
    /// counted.
    NotQueued,
}

/// The bounds of a queue.
#[derive(Debug, Clone, Copy)]
pub(in crate::broker) struct Bounds {
    pub(in crate::broker) session: usize,
    pub(in crate::broker) all: usize,
}

/// How much a connection may be given.
#[derive(Debug, Clone, Copy)]
pub(in crate::broker) struct Appetite {
    /// The window: messages on their way at a time.
    pub(in crate::broker) window: usize,
    /// Fill the output up to here, in bytes.
    pub(in crate::broker) until: usize,
}

impl Session {
    /// Queues a message. A persistent session takes a receipt for a QoS 1 or 2 message, until its
    /// client has it or the disk has.
    pub(in crate::broker) fn offer(
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
        if !state.may_read(&delivery) {
            return Offered::NotQueued;
        }
        let size = delivery.size();
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
            true if state.is_draining(bounds) => {
                let is_nearly_full = state.bytes > bounds.session - bounds.session / 8;
                Offered::Crowded(if is_nearly_full { LONG_REST } else { REST })
            }
            true => Offered::Unread,
        };
        match (state.wake(), offered) {
            (true, Offered::Queued) => Offered::Woken,
            (_, offered) => offered,
        }
    }

    /// Writes what waits into `out`; afterwards the owner's bell rings for what comes. Gives whether
    /// there is room for [`State::replays`]. `None`: the session belongs to another connection now.
    pub(in crate::broker) fn fill(
        &self,
        owner: &Arc<Owner>,
        encoder: &mut Encoder,
        out: &mut BytesMut,
        appetite: Appetite,
        bounds: Bounds,
        counters: &Counters,
    ) -> Option<bool> {
        let mut guard = self.owned(owner)?;
        let state = &mut *guard;
        while out.len() < appetite.until {
            match state.inflight.again(appetite.window) {
                None => break,
                Some(Again::Release(id)) => encoder.ack(out, Ack::Release, id, Reason::Success),
                Some(Again::Publish(id, Waiting { delivery, .. })) => {
                    let left = delivery.publication.left();
                    let was_sent = left
                        .is_ok_and(|left| encoder.publish(out, outgoing(delivery, id, true, left)).is_ok());
                    if !was_sent && let Some(waiting) = state.inflight.withdraw(id) {
                        // Its life is over (MQTT-3.3.2-5), or the client takes smaller packets than it did:
                        // as if delivered (MQTT-3.1.2-25).
                        state.done(&waiting, counters);
                    }
                }
            }
        }
        let mut drained = 0;
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
            drained += waiting.delivery.size();
            state.send(encoder, out, (waiting, id), counters);
        }
        if drained > 0 {
            state.drained.get_or_insert_with(Drained::new).add(drained);
        }
        // With output left over the connection comes back by itself.
        state.is_asleep = out.len() < appetite.until;
        let wants_more = state.is_asleep && !state.replays.is_empty() && state.bytes < bounds.session / 4;
        self.list_settled(state);
        Some(wants_more)
    }
}

impl State {
    /// Whether a message of this size would be queued. An empty queue takes any, as far as the house has
    /// room: packets are bounded.
    /// And whoever fills the house's bound with absent sessions leaves the others their share.
    pub(in crate::broker) fn has_room(&self, size: usize, bounds: Bounds, counters: &Counters) -> bool {
        let all = counters.queued_bytes.load(Ordering::Relaxed) + size;
        let own = self.bytes + size;
        (self.bytes == 0 || own <= bounds.session) && (all <= bounds.all || own <= SHARE)
    }

    fn needs_reserve(&self) -> bool {
        self.last_sequence + saving::AHEAD / 2 > self.reserved
    }

    /// Whether the client takes what it is sent, and not merely a sip now and then: a thirty-second of its
    /// queue's bound in a second or two.
    fn is_draining(&self, bounds: Bounds) -> bool {
        self.drained.as_ref().is_some_and(|drained| {
            drained.at.elapsed() < READING && drained.now.max(drained.before) >= bounds.session / 32
        })
    }

    fn send(
        &mut self,
        encoder: &mut Encoder,
        out: &mut BytesMut,
        (waiting, id): (Waiting, u16),
        counters: &Counters,
    ) {
        let Waiting { delivery, sequence, .. } = &waiting;
        let Ok(left) = delivery.publication.left() else { return self.done(&waiting, counters) };
        // Too large for this client: as if delivered (MQTT-3.1.2-25).
        let was_sent = encoder.publish(out, outgoing(delivery, id, false, left)).is_ok();
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
