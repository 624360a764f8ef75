//! One client's session: what waits for it, what is on its way, what it sent and has not released.
//!
//! Pure: no I/O, no lock, no clock of its own. Invariants: what waits and what is on its way is
//! bounded in bytes; a packet id is in use once at a time; QoS 1 and 2 messages leave in the order
//! in which they came (MQTT-4.6.0-6); a QoS 2 packet id that was received is handed on once.

use std::collections::{HashMap, HashSet, VecDeque};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::model::{Message, QoS, TopicFilter};

/// What a client asked for with one filter (MQTT 5 section 3.8.3.1; 3.1.1 has the QoS alone).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Subscription {
    pub(super) qos: QoS,
    pub(super) no_local: bool,
    pub(super) retain_as_published: bool,
    pub(super) id: Option<u32>,
}

/// A message for one session, its QoS and retain flag as this session is to see them.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    pub(super) message: Message,
    pub(super) subscription_ids: Vec<u32>,
    pub(super) since: Instant,
}

impl Delivery {
    /// What it counts for, in bytes: the payload is shared, but may outlive every other holder.
    fn size(&self) -> usize {
        self.message.size() + size_of::<Self>()
    }

    /// Whether its MQTT 5 life is over.
    fn is_expired(&self) -> bool {
        let life = self.message.properties.as_ref().and_then(|properties| properties.expiry);
        life.is_some_and(|life| self.since.elapsed() >= life)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Sent, waiting for PUBACK or PUBREC.
    Sent,
    /// QoS 2: received there, PUBREL sent, waiting for PUBCOMP.
    Released,
}

#[derive(Debug)]
struct InFlight {
    packet_id: u16,
    stage: Stage,
    delivery: Delivery,
}

/// What the connection is to send next.
#[derive(Debug, Clone)]
pub(super) enum Outgoing {
    Publish { packet_id: Option<u16>, is_again: bool, delivery: Delivery },
    Release { packet_id: u16 },
}

/// The state of a session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) subscriptions: HashMap<TopicFilter, Subscription>,
    queue: VecDeque<Delivery>,
    in_flight: VecDeque<InFlight>,
    again: VecDeque<Outgoing>,
    received: HashSet<u16>,
    bytes: usize,
    last_packet_id: u16,
    window: u16,
}

impl Session {
    pub(super) fn new() -> Self {
        Self {
            subscriptions: HashMap::new(),
            queue: VecDeque::new(),
            in_flight: VecDeque::new(),
            again: VecDeque::new(),
            received: HashSet::new(),
            bytes: 0,
            last_packet_id: 0,
            window: 1,
        }
    }

    /// A connection takes over: at most `window` messages on their way; what was on its way goes again.
    pub(super) fn resume(&mut self, window: u16) {
        self.window = window.max(1);
        self.again = self
            .in_flight
            .iter()
            .map(|one| match one.stage {
                Stage::Sent => Outgoing::Publish {
                    packet_id: Some(one.packet_id),
                    is_again: true,
                    delivery: one.delivery.clone(),
                },
                Stage::Released => Outgoing::Release { packet_id: one.packet_id },
            })
            .collect();
    }

    /// Takes a message, or drops it (policy: the newest gives way) when `limit` bytes are reached.
    pub(super) fn offer(&mut self, delivery: Delivery, limit: usize) -> bool {
        if self.bytes + delivery.size() > limit {
            return false;
        }
        self.bytes += delivery.size();
        self.queue.push_back(delivery);
        true
    }

    /// The next packet to send, if the window allows one.
    pub(super) fn next(&mut self) -> Option<Outgoing> {
        if let Some(again) = self.again.pop_front() {
            return Some(again);
        }
        loop {
            let head = self.queue.front()?;
            if head.message.qos != QoS::AtMostOnce && self.in_flight.len() >= usize::from(self.window) {
                return None;
            }
            let delivery = self.queue.pop_front()?;
            if delivery.is_expired() {
                self.bytes -= delivery.size();
                continue;
            }
            if delivery.message.qos == QoS::AtMostOnce {
                self.bytes -= delivery.size();
                return Some(Outgoing::Publish { packet_id: None, is_again: false, delivery });
            }
            let packet_id = self.free_packet_id();
            self.in_flight.push_back(InFlight { packet_id, stage: Stage::Sent, delivery: delivery.clone() });
            return Some(Outgoing::Publish { packet_id: Some(packet_id), is_again: false, delivery });
        }
    }

    fn free_packet_id(&mut self) -> u16 {
        // The window is smaller than the space of ids, so one is free.
        loop {
            self.last_packet_id = self.last_packet_id.checked_add(1).unwrap_or(1);
            if !self.in_flight.iter().any(|one| one.packet_id == self.last_packet_id) {
                return self.last_packet_id;
            }
        }
    }

    fn finish(&mut self, packet_id: u16, qos: QoS, stage: Stage) -> bool {
        let found = self.in_flight.iter().position(|one| {
            one.packet_id == packet_id && one.delivery.message.qos == qos && one.stage == stage
        });
        match found.and_then(|at| self.in_flight.remove(at)) {
            Some(done) => {
                self.bytes -= done.delivery.size();
                true
            }
            None => false,
        }
    }

    /// A PUBACK. One for nothing changes nothing.
    pub(super) fn puback(&mut self, packet_id: u16) -> bool {
        self.finish(packet_id, QoS::AtLeastOnce, Stage::Sent)
    }

    /// A PUBREC; whether a PUBREL is to answer it. With an error code the delivery ends there.
    pub(super) fn pubrec(&mut self, packet_id: u16, is_error: bool) -> bool {
        if is_error {
            return self.finish(packet_id, QoS::ExactlyOnce, Stage::Sent);
        }
        let found = self
            .in_flight
            .iter_mut()
            .find(|one| one.packet_id == packet_id && one.delivery.message.qos == QoS::ExactlyOnce);
        match found {
            Some(one) => {
                one.stage = Stage::Released;
                true
            }
            None => false,
        }
    }

    /// A PUBCOMP.
    pub(super) fn pubcomp(&mut self, packet_id: u16) -> bool {
        self.finish(packet_id, QoS::ExactlyOnce, Stage::Released)
    }

    /// A message that the client cannot take, as if it had been delivered.
    pub(super) fn discard(&mut self, packet_id: u16) {
        let found = self.in_flight.iter().position(|one| one.packet_id == packet_id);
        if let Some(gone) = found.and_then(|at| self.in_flight.remove(at)) {
            self.bytes -= gone.delivery.size();
        }
    }

    /// A QoS 2 PUBLISH from the client; whether it is the first with this id.
    pub(super) fn receive(&mut self, packet_id: u16) -> bool {
        self.received.insert(packet_id)
    }

    /// A PUBREL from the client; whether the id was known.
    pub(super) fn release(&mut self, packet_id: u16) -> bool {
        self.received.remove(&packet_id)
    }

    /// How many QoS 2 messages the client has not released.
    pub(super) fn unreleased(&self) -> usize {
        self.received.len()
    }

    /// What waits and is on its way, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Topic;
    use proptest::prelude::*;

    fn delivery(number: usize, qos: QoS) -> Delivery {
        let message = Message::new(Topic::parse("t").unwrap(), number.to_string(), qos);
        Delivery { message, subscription_ids: Vec::new(), since: Instant::now() }
    }

    fn sent(outgoing: Option<Outgoing>) -> Option<(Option<u16>, bool, String)> {
        match outgoing? {
            Outgoing::Publish { packet_id, is_again, delivery } => {
                Some((packet_id, is_again, String::from_utf8_lossy(&delivery.message.payload).into_owned()))
            }
            Outgoing::Release { packet_id } => Some((Some(packet_id), true, "release".into())),
        }
    }

    #[test]
    fn the_window_holds_the_rest_back_and_acknowledgements_for_nothing_change_nothing() {
        let mut session = Session::new();
        session.resume(2);
        for number in 0..3 {
            assert!(session.offer(delivery(number, QoS::AtLeastOnce), 1 << 20));
        }
        assert_eq!(sent(session.next()), Some((Some(1), false, "0".into())));
        assert_eq!(sent(session.next()), Some((Some(2), false, "1".into())));
        assert!(session.next().is_none());
        assert!(!session.puback(7) && !session.pubcomp(1) && !session.pubrec(1, false));
        assert!(session.puback(2) && !session.puback(2), "out of order is fine, twice is not");
        assert_eq!(sent(session.next()), Some((Some(3), false, "2".into())));
    }

    #[test]
    fn what_was_on_its_way_goes_again_first_and_a_received_one_is_only_released() {
        let mut session = Session::new();
        session.resume(10);
        session.offer(delivery(0, QoS::AtLeastOnce), 1 << 20);
        session.offer(delivery(1, QoS::ExactlyOnce), 1 << 20);
        session.next();
        session.next();
        assert!(session.pubrec(2, false));
        session.offer(delivery(2, QoS::AtLeastOnce), 1 << 20);
        session.resume(10);
        assert_eq!(sent(session.next()), Some((Some(1), true, "0".into())));
        assert_eq!(sent(session.next()), Some((Some(2), true, "release".into())));
        assert_eq!(sent(session.next()), Some((Some(3), false, "2".into())));
        assert!(session.pubcomp(2) && session.puback(1) && session.puback(3));
        assert_eq!(session.bytes(), 0);
    }

    proptest! {
        #[test]
        fn bytes_stay_within_the_limit_and_return_to_nothing(
            steps in prop::collection::vec((0u8..6, 0u8..3, 1u16..12), 0..300)
        ) {
            let mut session = Session::new();
            session.resume(3);
            let limit = 8 * delivery(0, QoS::AtMostOnce).size();
            for (number, (step, qos, id)) in steps.into_iter().enumerate() {
                match step {
                    0 | 1 => { session.offer(delivery(number, QoS::try_from(qos).unwrap()), limit); }
                    2 => { session.next(); }
                    3 => { session.puback(id); }
                    4 => { session.pubrec(id, qos == 0); }
                    _ => { session.pubcomp(id); }
                }
                prop_assert!(session.bytes() <= limit);
                prop_assert!(session.in_flight.len() <= 3);
            }
            for _ in 0..1000 {
                session.next();
                let ids: Vec<u16> = session.in_flight.iter().map(|one| one.packet_id).collect();
                for id in ids {
                    session.puback(id);
                    session.pubrec(id, false);
                    session.pubcomp(id);
                }
            }
            prop_assert_eq!(session.bytes(), 0);
        }
    }
}
