//! The window of QoS 1 and 2 messages on their way to one client (sections 4.3 and 4.4).
//!
//! Owns what waits for an acknowledgement, in the order sent. Never writes. Invariants: a packet id
//! follows from the message's place in the session, so that it is the same after a restart; it is used
//! by one message at a time and is never zero; an acknowledgement out of order, twice or for nothing
//! changes nothing else; after a reconnection everything is sent again in order; PUBREL goes out in the
//! order in which PUBREC came (MQTT-4.6.0-4), since many clients give a message out only then.

use std::collections::VecDeque;

use super::session::Waiting;
use crate::model::QoS;

/// How many packet ids there are: 1 to 65,535.
const IDS: u64 = u16::MAX as u64;

/// The packet id of the message with this sequence (1 or more).
fn packet_id(sequence: u64) -> u16 {
    // Less than 65,535 before one is added.
    (sequence.wrapping_sub(1) % IDS) as u16 + 1
}

/// What one id stands for.
#[derive(Debug)]
enum Stage {
    /// PUBLISH was sent.
    Published(Waiting),
    /// QoS 2: PUBREC came; PUBREL waits until the disk knows, or behind one that does.
    Releasing,
    /// QoS 2: PUBREC came, PUBREL was sent; the message itself is no longer needed.
    Released,
}

#[derive(Debug)]
struct Flight {
    sequence: u64,
    stage: Stage,
}

/// The window.
#[derive(Debug, Default)]
pub(super) struct Inflight {
    flights: VecDeque<Flight>,
    /// Flights before this index were sent on this connection.
    sent: usize,
    /// The sequences in [`Stage::Releasing`] in the order of PUBREC, and whether the disk, for its part,
    /// lets them go.
    held: VecDeque<(u64, bool)>,
    /// Packet ids whose PUBREL may go out now.
    releases: VecDeque<u16>,
}

/// What is to be sent again.
#[derive(Debug)]
pub(super) enum Again<'a> {
    Publish(u16, &'a Waiting),
    Release(u16),
}

/// What a PUBREC meant.
#[derive(Debug)]
pub(super) enum Received {
    /// The message is done with; PUBREL is to go out at once, or is seen to later.
    First(Waiting, bool),
    /// To be answered by PUBREL once more.
    Again,
    /// PUBREL waits for the disk already.
    Pending,
    /// The client refused it: done.
    Refused(Waiting),
    /// Nobody knows the id.
    Unknown,
}

impl Inflight {
    /// How many ids are in use.
    pub(super) fn len(&self) -> usize {
        self.flights.len()
    }

    /// The packet id that a message is to have; `None` while another message has it.
    pub(super) fn id_for(&self, sequence: u64) -> Option<u16> {
        match self.flights.front() {
            Some(front) if sequence - front.sequence >= IDS => None,
            _ => Some(packet_id(sequence)),
        }
    }

    /// Takes in a message that was sent, the next in the session's order.
    pub(super) fn launch(&mut self, waiting: Waiting) {
        self.flights.push_back(Flight { sequence: waiting.sequence, stage: Stage::Published(waiting) });
        self.sent = self.flights.len();
    }

    /// Takes in a message that may have been sent before a restart.
    pub(super) fn restore(&mut self, sequence: u64, waiting: Option<Waiting>) {
        let stage = waiting.map_or(Stage::Released, Stage::Published);
        self.flights.push_back(Flight { sequence, stage });
    }

    /// PUBACK: gives back the message that is done with.
    pub(super) fn acknowledged(&mut self, id: u16) -> Option<Waiting> {
        let index = self.find(id)?;
        match &self.flights[index].stage {
            Stage::Published(waiting) if waiting.delivery.qos == QoS::AtLeastOnce => {
                match self.remove(index)?.stage {
                    Stage::Published(waiting) => Some(waiting),
                    Stage::Releasing | Stage::Released => None,
                }
            }
            Stage::Published(_) | Stage::Releasing | Stage::Released => None,
        }
    }

    /// PUBREC, with or without a reason code of failure. `is_on_disk` tells of a sequence whether
    /// PUBREL is to wait for [`Inflight::release`].
    pub(super) fn received(
        &mut self,
        id: u16,
        is_failure: bool,
        is_on_disk: impl Fn(u64) -> bool,
    ) -> Received {
        let Some(index) = self.find(id) else { return Received::Unknown };
        let flight = &mut self.flights[index];
        let (sequence, waits) = (flight.sequence, is_on_disk(flight.sequence));
        let is_held = waits || !self.held.is_empty();
        let next = if is_held { Stage::Releasing } else { Stage::Released };
        match &flight.stage {
            Stage::Published(waiting) if waiting.delivery.qos != QoS::ExactlyOnce => Received::Unknown,
            Stage::Published(_) => {
                let stage = std::mem::replace(&mut flight.stage, next);
                if is_failure {
                    self.remove(index);
                }
                match stage {
                    Stage::Published(waiting) if is_failure => Received::Refused(waiting),
                    Stage::Published(waiting) => {
                        let is_next = !is_held && self.releases.is_empty();
                        if is_held {
                            self.held.push_back((sequence, !waits));
                        } else if !is_next {
                            self.releases.push_back(id);
                        }
                        Received::First(waiting, is_next)
                    }
                    Stage::Releasing | Stage::Released => Received::Unknown,
                }
            }
            Stage::Releasing => Received::Pending,
            Stage::Released => Received::Again,
        }
    }

    /// The disk knows that the client has the message with this sequence: PUBREL may go out, and so may
    /// those that waited behind it.
    pub(super) fn release(&mut self, sequence: u64) {
        if let Some((_, is_known)) = self.held.iter_mut().find(|(held, _)| *held == sequence) {
            *is_known = true;
        }
        while let Some(&(sequence, true)) = self.held.front() {
            self.held.pop_front();
            if let Ok(index) = self.flights.binary_search_by_key(&sequence, |flight| flight.sequence) {
                self.flights[index].stage = Stage::Released;
                if index < self.sent {
                    self.releases.push_back(packet_id(sequence));
                }
            }
        }
    }

    /// PUBCOMP; gives the sequence that is done with.
    pub(super) fn completed(&mut self, id: u16) -> Option<u64> {
        let index = self.find(id)?;
        match self.flights[index].stage {
            Stage::Released => self.remove(index).map(|flight| flight.sequence),
            Stage::Published(_) | Stage::Releasing => None,
        }
    }

    /// A new connection: everything is to be sent again.
    pub(super) fn resume(&mut self) {
        self.sent = 0;
        self.releases.clear();
    }

    /// The next one to send again, or to release, if any. A client that came back may take fewer at a
    /// time than it did: no more than `window`.
    pub(super) fn again(&mut self, window: usize) -> Option<Again<'_>> {
        if let Some(id) = self.releases.pop_front() {
            return Some(Again::Release(id));
        }
        loop {
            let index = self.sent;
            if index >= window {
                return None;
            }
            let stage = &self.flights.get(index)?.stage;
            self.sent += 1;
            if !matches!(stage, Stage::Releasing) {
                break;
            }
        }
        let Flight { sequence, stage } = self.flights.get(self.sent - 1)?;
        match stage {
            Stage::Published(waiting) => Some(Again::Publish(packet_id(*sequence), waiting)),
            Stage::Releasing | Stage::Released => Some(Again::Release(packet_id(*sequence))),
        }
    }

    /// Whether something is still to be sent again or to be released.
    pub(super) fn has_again(&self) -> bool {
        self.sent < self.flights.len() || !self.releases.is_empty()
    }

    /// Takes a message out that cannot be sent again.
    pub(super) fn withdraw(&mut self, id: u16) -> Option<Waiting> {
        let index = self.find(id)?;
        match self.remove(index)?.stage {
            Stage::Published(waiting) => Some(waiting),
            Stage::Releasing | Stage::Released => None,
        }
    }

    /// Takes those messages out that are not to be sent again.
    pub(super) fn withdraw_where(&mut self, is_out: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
        let mut out = Vec::new();
        for index in (0..self.flights.len()).rev() {
            if matches!(&self.flights[index].stage, Stage::Published(waiting) if is_out(waiting))
                && let Some(Flight { stage: Stage::Published(waiting), .. }) = self.remove(index)
            {
                out.push(waiting);
            }
        }
        out
    }

    /// The messages without an acknowledgement, in order.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Waiting> {
        self.flights.iter_mut().filter_map(|flight| match &mut flight.stage {
            Stage::Published(waiting) => Some(waiting),
            Stage::Releasing | Stage::Released => None,
        })
    }

    fn find(&self, id: u16) -> Option<usize> {
        let front = self.flights.front()?.sequence;
        // The distance on the circle of ids, which all that is in flight lies on once.
        let distance = (u64::from(id) + IDS - u64::from(packet_id(front))) % IDS;
        if id == 0 {
            return None;
        }
        self.flights.binary_search_by_key(&(front + distance), |flight| flight.sequence).ok()
    }

    fn remove(&mut self, index: usize) -> Option<Flight> {
        let flight = self.flights.remove(index)?;
        if index < self.sent {
            self.sent -= 1;
        }
        Some(flight)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        broker::delivery::{Delivery, Identifiers, Publication},
        model::{Message, Topic},
    };

    fn waiting(sequence: u64, qos: QoS) -> Waiting {
        let publication = Publication::new(Message::new(Topic::parse("t").unwrap(), "x", qos));
        let delivery =
            Delivery { publication, qos, retain: false, identifiers: Identifiers::default(), share: None };
        Waiting { delivery, sequence, receipt: None }
    }

    fn launch(window: &mut Inflight, sequence: u64, qos: QoS) -> Option<u16> {
        let id = window.id_for(sequence)?;
        window.launch(waiting(sequence, qos));
        Some(id)
    }

    fn never(_: u64) -> bool {
        false
    }

    #[test]
    fn acknowledgements_out_of_order_twice_and_for_nothing_are_harmless() {
        let mut window = Inflight::default();
        let ids: Vec<u16> =
            (1..4).filter_map(|sequence| launch(&mut window, sequence, QoS::AtLeastOnce)).collect();
        assert_eq!(ids, [1, 2, 3]);
        assert!(window.acknowledged(3).is_some());
        assert!(window.acknowledged(3).is_none());
        assert!(window.acknowledged(77).is_none());
        assert!(window.acknowledged(0).is_none());
        assert!(matches!(window.received(1, false, never), Received::Unknown));
        assert_eq!(window.completed(1), None);
        assert!(window.acknowledged(1).is_some());
        assert!(window.acknowledged(2).is_some());
        assert_eq!(window.len(), 0);
    }

    #[test]
    fn a_resumed_window_is_sent_again_in_order_as_far_as_it_had_come() {
        let mut window = Inflight::default();
        launch(&mut window, 1, QoS::ExactlyOnce);
        launch(&mut window, 2, QoS::AtLeastOnce);
        assert!(matches!(window.received(1, false, never), Received::First(..)));
        assert!(!window.has_again());
        window.resume();
        assert!(matches!(window.again(usize::MAX), Some(Again::Release(1))));
        assert!(matches!(window.again(usize::MAX), Some(Again::Publish(2, _))));
        assert!(window.again(usize::MAX).is_none());
    }

    #[test]
    fn a_release_that_waits_for_the_disk_goes_out_when_the_disk_knows() {
        let mut window = Inflight::default();
        launch(&mut window, 1, QoS::ExactlyOnce);
        assert!(matches!(window.received(1, false, |_| true), Received::First(..)));
        assert!(matches!(window.received(1, false, |_| true), Received::Pending));
        assert!(window.again(usize::MAX).is_none());
        assert_eq!(window.completed(1), None, "PUBREL was not sent yet");
        window.release(1);
        assert!(matches!(window.again(usize::MAX), Some(Again::Release(1))));
        assert!(matches!(window.received(1, false, |_| true), Received::Again));
        // Over a new connection before the disk knew.
        launch(&mut window, 2, QoS::ExactlyOnce);
        assert!(matches!(window.received(2, false, |_| true), Received::First(..)));
        window.resume();
        assert!(matches!(window.again(usize::MAX), Some(Again::Release(1))));
        assert!(window.again(usize::MAX).is_none());
        window.release(2);
        assert!(matches!(window.again(usize::MAX), Some(Again::Release(2))));
        assert_eq!((window.completed(1), window.completed(2)), (Some(1), Some(2)));
    }

    #[test]
    fn a_release_waits_for_those_before_it() {
        let mut window = Inflight::default();
        for sequence in 1..4 {
            launch(&mut window, sequence, QoS::ExactlyOnce);
        }
        assert!(matches!(window.received(1, false, |_| true), Received::First(_, false)));
        assert!(matches!(window.received(2, false, never), Received::First(_, false)));
        assert!(window.again(usize::MAX).is_none());
        window.release(1);
        // Those two may go, and have not gone yet.
        assert!(matches!(window.received(3, false, never), Received::First(_, false)));
        for id in 1..4 {
            assert!(matches!(window.again(usize::MAX), Some(Again::Release(next)) if next == id));
        }
        launch(&mut window, 4, QoS::ExactlyOnce);
        assert!(matches!(window.received(4, false, never), Received::First(_, true)));
    }

    #[test]
    fn an_id_in_use_is_not_given_out_again() {
        let mut window = Inflight::default();
        assert_eq!(launch(&mut window, 65_535, QoS::AtLeastOnce), Some(65_535));
        assert_eq!(launch(&mut window, 65_536, QoS::AtLeastOnce), Some(1));
        assert_eq!(launch(&mut window, 131_069, QoS::AtLeastOnce), Some(65_534));
        assert_eq!(window.id_for(131_070), None, "65,535 is in use");
        assert!(window.acknowledged(65_535).is_some());
        assert_eq!(launch(&mut window, 131_070, QoS::AtLeastOnce), Some(65_535));
        assert!(window.acknowledged(1).is_some() && window.acknowledged(65_534).is_some());
    }

    #[derive(Debug, Clone)]
    enum Step {
        Launch(bool, u64),
        PubAck(u16),
        PubRec(u16, bool, bool),
        PubComp(u16),
        Release(u64),
        Resume,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (any::<bool>(), 1_u64..3).prop_map(|(twice, gap)| Step::Launch(twice, gap)),
            2 => (0_u16..12).prop_map(Step::PubAck),
            2 => (0_u16..12, any::<bool>(), any::<bool>())
                .prop_map(|(id, failure, disk)| Step::PubRec(id, failure, disk)),
            2 => (0_u16..12).prop_map(Step::PubComp),
            1 => (0_u64..12).prop_map(Step::Release),
            1 => Just(Step::Resume),
        ]
    }

    proptest! {
        /// The model: an id is unused, waits for PUBACK (1), for PUBREC (2), for the disk or behind one
        /// that does (4), or for PUBCOMP (3).
        #[test]
        fn every_sequence_of_acknowledgements_ends_where_the_model_says(
            steps in prop::collection::vec(step(), 0..60),
        ) {
            let mut window = Inflight::default();
            let mut model: BTreeMap<u16, u8> = BTreeMap::new();
            let mut held: VecDeque<(u16, bool)> = VecDeque::new();
            let mut last = 0;
            for step in steps {
                match step {
                    Step::Launch(twice, gap) => {
                        let qos = if twice { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
                        last += gap;
                        let id = launch(&mut window, last, qos).unwrap();
                        prop_assert!(model.insert(id, qos.into()).is_none(), "id {} was in use", id);
                    }
                    Step::PubAck(id) => {
                        let expected = model.get(&id) == Some(&1);
                        prop_assert_eq!(window.acknowledged(id).is_some(), expected);
                        if expected { model.remove(&id); }
                    }
                    Step::PubRec(id, failure, disk) => {
                        match (window.received(id, failure, |_| disk), model.get(&id)) {
                            (Received::Refused(_), Some(2)) if failure => { model.remove(&id); }
                            (Received::First(_, is_next), Some(2)) if !failure => {
                                let is_held = disk || !held.is_empty();
                                prop_assert_eq!(is_next, !is_held);
                                if is_held { held.push_back((id, !disk)); }
                                model.insert(id, if is_held { 4 } else { 3 });
                            }
                            (Received::Again, Some(3)) | (Received::Pending, Some(4))
                            | (Received::Unknown, None | Some(1)) => {}
                            (got, known) => prop_assert!(false, "{:?} for {:?}", got, known),
                        }
                    }
                    Step::PubComp(id) => {
                        let expected = model.get(&id) == Some(&3);
                        prop_assert_eq!(window.completed(id).is_some(), expected);
                        if expected { model.remove(&id); }
                    }
                    Step::Release(sequence) => {
                        window.release(sequence);
                        for (id, is_known) in &mut held {
                            *is_known |= u64::from(*id) == sequence;
                        }
                        while let Some(&(id, true)) = held.front() {
                            held.pop_front();
                            model.insert(id, 3);
                            let sent = matches!(window.again(usize::MAX), Some(Again::Release(told)) if told == id);
                            prop_assert!(sent);
                        }
                    }
                    Step::Resume => {
                        window.resume();
                        let mut again = 0;
                        while window.again(usize::MAX).is_some() { again += 1; }
                        prop_assert_eq!(again, model.values().filter(|stage| **stage != 4).count());
                    }
                }
                prop_assert_eq!(window.len(), model.len());
                prop_assert!(!window.has_again());
            }
        }
    }
}
