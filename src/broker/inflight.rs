//! The window of QoS 1 and 2 messages on their way to one client (sections 4.3 and 4.4).
//!
//! Owns packet ids and what waits for an acknowledgement, in the order sent. Never writes. Invariants:
//! an id is used by one message at a time and is never zero; an acknowledgement out of order, twice
//! or for nothing changes nothing else; after a reconnection everything is sent again in order.

use std::collections::VecDeque;

use super::delivery::Delivery;
use crate::model::QoS;

/// What one id stands for.
#[derive(Debug)]
enum Stage {
    /// PUBLISH was sent.
    Published(Delivery),
    /// QoS 2: PUBREC came, PUBREL was sent; the message itself is no longer needed.
    Released,
}

/// The window.
#[derive(Debug, Default)]
pub(super) struct Inflight {
    flights: VecDeque<(u16, Stage)>,
    last_id: u16,
    /// Flights before this index were sent on this connection.
    sent: usize,
}

/// What is to be sent again.
#[derive(Debug)]
pub(super) enum Again<'a> {
    Publish(u16, &'a Delivery),
    Release(u16),
}

/// What a PUBREC meant.
#[derive(Debug)]
pub(super) enum Received {
    /// To be answered by PUBREL; the message is done with, if this was the first PUBREC.
    Release(Option<Delivery>),
    /// The client refused it: done.
    Refused(Delivery),
    /// Nobody knows the id.
    Unknown,
}

impl Inflight {
    /// How many ids are in use.
    pub(super) fn len(&self) -> usize {
        self.flights.len()
    }

    /// How many of them were sent on this connection.
    pub(super) fn sent(&self) -> usize {
        self.sent
    }

    /// Takes a message in and gives it an id; `None` when all 65,535 are in use.
    pub(super) fn launch(&mut self, delivery: Delivery) -> Option<u16> {
        if self.flights.len() >= usize::from(u16::MAX) {
            return None;
        }
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.flights.iter().any(|(id, _)| *id == self.last_id) {
                break;
            }
        }
        self.flights.push_back((self.last_id, Stage::Published(delivery)));
        self.sent = self.flights.len();
        Some(self.last_id)
    }

    /// PUBACK: gives back the message that is done with.
    pub(super) fn acknowledged(&mut self, id: u16) -> Option<Delivery> {
        let index = self.find(id)?;
        match &self.flights[index].1 {
            Stage::Published(delivery) if delivery.qos == QoS::AtLeastOnce => self.remove(index),
            Stage::Published(_) | Stage::Released => None,
        }
    }

    /// PUBREC, with or without a reason code of failure.
    pub(super) fn received(&mut self, id: u16, is_failure: bool) -> Received {
        let Some(index) = self.find(id) else { return Received::Unknown };
        match &self.flights[index].1 {
            Stage::Published(delivery) if delivery.qos != QoS::ExactlyOnce => Received::Unknown,
            Stage::Published(_) if is_failure => match self.remove(index) {
                Some(delivery) => Received::Refused(delivery),
                None => Received::Unknown,
            },
            Stage::Published(_) => match std::mem::replace(&mut self.flights[index].1, Stage::Released) {
                Stage::Published(delivery) => Received::Release(Some(delivery)),
                Stage::Released => Received::Release(None),
            },
            Stage::Released => Received::Release(None),
        }
    }

    /// PUBCOMP.
    pub(super) fn completed(&mut self, id: u16) {
        if let Some(index) = self.find(id)
            && matches!(self.flights[index].1, Stage::Released)
        {
            self.remove(index);
        }
    }

    /// A new connection: everything is to be sent again.
    pub(super) fn resume(&mut self) {
        self.sent = 0;
    }

    /// The next one to send again, if any.
    pub(super) fn again(&mut self) -> Option<Again<'_>> {
        let (id, stage) = self.flights.get(self.sent)?;
        self.sent += 1;
        Some(match stage {
            Stage::Published(delivery) => Again::Publish(*id, delivery),
            Stage::Released => Again::Release(*id),
        })
    }

    /// Whether something is still to be sent again.
    pub(super) fn has_again(&self) -> bool {
        self.sent < self.flights.len()
    }

    /// Takes a message out that could not be sent.
    pub(super) fn withdraw(&mut self, id: u16) {
        if let Some(index) = self.find(id) {
            self.remove(index);
        }
    }

    fn find(&self, id: u16) -> Option<usize> {
        self.flights.iter().position(|(other, _)| *other == id)
    }

    fn remove(&mut self, index: usize) -> Option<Delivery> {
        let (_, stage) = self.flights.remove(index)?;
        if index < self.sent {
            self.sent -= 1;
        }
        match stage {
            Stage::Published(delivery) => Some(delivery),
            Stage::Released => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        broker::delivery::{Identifiers, Publication},
        model::{Message, Topic},
    };

    fn delivery(qos: QoS) -> Delivery {
        let message = Message::new(Topic::parse("t").unwrap(), "x", qos);
        let publication = Publication::new(message);
        Delivery { publication, qos, retain: false, identifiers: Identifiers::default() }
    }

    #[test]
    fn acknowledgements_out_of_order_twice_and_for_nothing_are_harmless() {
        let mut window = Inflight::default();
        let ids: Vec<u16> = (0..3).filter_map(|_| window.launch(delivery(QoS::AtLeastOnce))).collect();
        assert_eq!(ids, [1, 2, 3]);
        assert!(window.acknowledged(3).is_some());
        assert!(window.acknowledged(3).is_none());
        assert!(window.acknowledged(77).is_none());
        assert!(matches!(window.received(1, false), Received::Unknown));
        window.completed(1);
        assert!(window.acknowledged(1).is_some());
        assert!(window.acknowledged(2).is_some());
        assert_eq!(window.len(), 0);
    }

    #[test]
    fn a_resumed_window_is_sent_again_in_order_as_far_as_it_had_come() {
        let mut window = Inflight::default();
        window.launch(delivery(QoS::ExactlyOnce));
        window.launch(delivery(QoS::AtLeastOnce));
        assert!(matches!(window.received(1, false), Received::Release(Some(_))));
        assert!(!window.has_again());
        window.resume();
        assert!(matches!(window.again(), Some(Again::Release(1))));
        assert!(matches!(window.again(), Some(Again::Publish(2, _))));
        assert!(window.again().is_none());
    }

    #[test]
    fn an_id_in_use_is_not_given_out_again() {
        let mut window = Inflight { last_id: u16::MAX - 1, ..Inflight::default() };
        assert_eq!(window.launch(delivery(QoS::AtLeastOnce)), Some(u16::MAX));
        assert_eq!(window.launch(delivery(QoS::AtLeastOnce)), Some(1));
        window.last_id = u16::MAX - 1;
        assert_eq!(window.launch(delivery(QoS::AtLeastOnce)), Some(2));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Launch(bool),
        PubAck(u16),
        PubRec(u16, bool),
        PubComp(u16),
        Resume,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => any::<bool>().prop_map(Step::Launch),
            2 => (1_u16..12).prop_map(Step::PubAck),
            2 => (1_u16..12, any::<bool>()).prop_map(|(id, failure)| Step::PubRec(id, failure)),
            2 => (1_u16..12).prop_map(Step::PubComp),
            1 => Just(Step::Resume),
        ]
    }

    proptest! {
        /// The model: an id is unused, waits for PUBACK, for PUBREC, or for PUBCOMP.
        #[test]
        fn every_sequence_of_acknowledgements_ends_where_the_model_says(
            steps in prop::collection::vec(step(), 0..60),
        ) {
            let mut window = Inflight::default();
            let mut model: BTreeMap<u16, u8> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Launch(twice) => {
                        let qos = if twice { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
                        let id = window.launch(delivery(qos)).unwrap();
                        prop_assert!(model.insert(id, qos.into()).is_none(), "id {} was in use", id);
                    }
                    Step::PubAck(id) => {
                        let expected = model.get(&id) == Some(&1);
                        prop_assert_eq!(window.acknowledged(id).is_some(), expected);
                        if expected { model.remove(&id); }
                    }
                    Step::PubRec(id, failure) => match (window.received(id, failure), model.get(&id)) {
                        (Received::Refused(_), Some(2)) if failure => { model.remove(&id); }
                        (Received::Release(Some(_)), Some(2)) if !failure => { model.insert(id, 3); }
                        (Received::Release(None), Some(3)) | (Received::Unknown, None | Some(1)) => {}
                        (got, known) => prop_assert!(false, "{:?} for {:?}", got, known),
                    },
                    Step::PubComp(id) => {
                        window.completed(id);
                        if model.get(&id) == Some(&3) { model.remove(&id); }
                    }
                    Step::Resume => {
                        window.resume();
                        let mut again = 0;
                        while window.again().is_some() { again += 1; }
                        prop_assert_eq!(again, model.len());
                    }
                }
                prop_assert_eq!(window.len(), model.len());
                prop_assert!(!window.has_again());
            }
        }
    }
}
