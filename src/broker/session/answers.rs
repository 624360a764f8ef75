//! What a client acknowledges, and what it has published with QoS 2.

use std::sync::Arc;

use super::{Session, owner::Owner};
use crate::{
    broker::{
        counters::Counters,
        inflight::Received,
        packet::{Ack, Reason},
        receipt::Settling,
        storing::Storing,
    },
    store::AwaitingChange,
};

/// What is known of a QoS 2 message between its PUBLISH and its PUBREL.
#[derive(Debug, Clone)]
pub(in crate::broker) enum Arrived {
    /// Delivered, and kept where it is to be kept: the disk may remember the id.
    Done,
    /// Delivered at home; others have still to keep it.
    Settling(Settling),
    /// Delivered at home; not yet handed to the store.
    NotStored,
    /// On its way to the disk; whoever asks again waits for the same answer.
    Storing(Storing),
}

impl Session {
    /// An acknowledgement from the client. Gives what is to be answered.
    pub(in crate::broker) fn acknowledge(
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
                    Received::First(waiting, is_next) => {
                        state.release(&waiting.delivery, counters);
                        if waiting.sequence <= state.saving {
                            state.settled.push(AwaitingChange::Released(waiting.sequence));
                        }
                        is_urgent = waiting.sequence <= saving;
                        is_next.then_some((Ack::Release, Reason::Success))
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
    pub(in crate::broker) fn arrived(&self, id: u16) -> Option<Arrived> {
        self.lock().arrived.get(&id).cloned()
    }

    /// How many QoS 2 messages wait for their PUBREL.
    pub(in crate::broker) fn arrived_count(&self) -> usize {
        self.lock().arrived.len()
    }

    /// Remembers, or forgets, what is known of a QoS 2 message; without effect for who is not the owner.
    pub(in crate::broker) fn set_arrived(&self, owner: &Arc<Owner>, id: u16, arrived: Option<Arrived>) {
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
}
