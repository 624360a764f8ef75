//! A client's PUBLISH: at home at once, to the store if it is for the cloud, and acknowledged when that has it.

use tokio::time::Instant;

use super::{Connection, Over, PATIENCE};
use crate::{
    broker::{
        held::{HeldBack, Progress},
        packet::{Ack, Publish, Reason, Version},
        receipt::Settling,
        session::Arrived,
    },
    model::QoS,
    store::{Entry, StoreError},
};

impl Connection {
    pub(super) fn publish(&mut self, held: &mut HeldBack, publish: Publish) -> Result<(), Over> {
        let Publish { message, id, .. } = &publish;
        let (id, qos) = (*id, message.qos);
        if !self.core.hub.limits.takes(message.topic.as_str()) {
            return Err(Reason::TopicNameInvalid.into());
        }
        if qos != QoS::AtMostOnce && self.encoder.version == Version::V5 {
            if self.unfinished >= self.core.hub.limits.receive_maximum {
                return Err(Reason::ReceiveMaximumExceeded.into());
            }
            self.unfinished += 1;
        }
        if !self.core.may_publish(&self.identity.rights, &message.topic) {
            // 3.1.1 knows no refusal: acknowledged and dropped (MQTT-3.3.5-2).
            self.answer(held, qos, id, Reason::NotAuthorized);
            return Ok(());
        }
        if qos == QoS::ExactlyOnce {
            let session = self.seat.session();
            match session.arrived(id) {
                None if session.arrived_count() >= usize::from(self.core.hub.limits.receive_maximum) => {
                    return Err(Reason::ReceiveMaximumExceeded.into());
                }
                None => {}
                Some(Arrived::Done) => {
                    self.answer(held, qos, id, Reason::Success);
                    return Ok(());
                }
                Some(Arrived::Storing(storing)) if !storing.has_failed() => {
                    held.hold(Ack::Received, id, storing);
                    return Ok(());
                }
                Some(Arrived::Settling(settling)) => {
                    held.settle(settling, qos, id);
                    return Ok(());
                }
                // Delivered at home before, and never stored: only the store is tried again.
                Some(Arrived::Storing(_) | Arrived::NotStored) => {
                    let entry = self.core.uplink.route(message);
                    self.keep(held, entry, None, qos, id);
                    return Ok(());
                }
            }
        }
        let session = self.seat.session();
        let (entry, delivered) = self.core.take_in(publish, &session.client, session.key);
        if !delivered.rest.is_zero() {
            self.rest = self.rest.max(Some(Instant::now() + delivered.rest));
        }
        self.gives_way |= delivered.is_unread;
        self.has_woken |= delivered.has_woken;
        self.keep(held, entry, delivered.pledge.settling(), qos, id);
        Ok(())
    }

    /// Hands a message to the store, if it is for the cloud, and sees to its acknowledgement, which
    /// waits for `settling` too.
    fn keep(
        &mut self,
        held: &mut HeldBack,
        entry: Option<Entry>,
        settling: Option<Settling>,
        qos: QoS,
        id: u16,
    ) {
        if qos == QoS::ExactlyOnce {
            let arrived = match (&entry, &settling) {
                (Some(_), _) => Arrived::NotStored,
                (None, Some(settling)) => Arrived::Settling(settling.clone()),
                (None, None) => Arrived::Done,
            };
            self.seat.session().set_arrived(self.seat.owner(), id, Some(arrived));
        }
        match (entry, settling) {
            (None, None) => self.answer(held, qos, id, Reason::Success),
            (None, Some(settling)) => held.settle(settling, qos, id),
            (Some(entry), settling) => held.gather(entry, settling, qos, id),
        }
    }

    /// Acknowledges, now or after those before.
    fn answer(&mut self, held: &mut HeldBack, qos: QoS, id: u16, reason: Reason) {
        let kind = match qos {
            QoS::AtMostOnce => return,
            QoS::AtLeastOnce => Ack::Taken,
            QoS::ExactlyOnce => Ack::Received,
        };
        if held.pass(kind, id, reason) {
            self.acknowledge(kind, id, reason);
        }
    }

    /// Goes on with what had waited for the store.
    ///
    /// A message that the store refuses has a reason code in MQTT 5 and nothing in 3.1.1. There it is left
    /// unacknowledged, and after a while the connection is closed, so that the client comes back and sends
    /// it again. Not at once: while the disk is full or broken, a device that does what it should would be
    /// thrown out with every reading, and with it go its commands and its availability at home.
    pub(super) fn progress(&mut self, progress: Progress) {
        let (session, owner) = (self.seat.session(), self.seat.owner());
        match progress {
            Progress::Taken(Some((id, storing))) => {
                session.set_arrived(owner, id, Some(Arrived::Storing(storing)));
            }
            Progress::Taken(None) => {}
            Progress::Bytes(bytes) => self.wire.output.extend_from_slice(&bytes),
            Progress::Answer { kind, id, result: Ok(reason) } => {
                if kind == Ack::Received && reason == Reason::Success {
                    session.set_arrived(owner, id, Some(Arrived::Done));
                }
                self.acknowledge(kind, id, reason);
            }
            Progress::Answer { kind, id, result: Err(error) } if self.encoder.version == Version::V5 => {
                if kind == Ack::Received {
                    session.set_arrived(owner, id, None);
                }
                self.acknowledge(kind, id, refusal(&error));
            }
            Progress::Answer { result: Err(_), .. } => {
                self.is_refused_until.get_or_insert_with(|| Instant::now() + PATIENCE);
            }
        }
    }
}

/// What a MQTT 5 client is told when the store says no.
fn refusal(error: &StoreError) -> Reason {
    match error {
        StoreError::Full { .. } | StoreError::TooLarge { .. } => Reason::QuotaExceeded,
        StoreError::Open { .. }
        | StoreError::InUse(_)
        | StoreError::FromTheFuture { .. }
        | StoreError::NotUpgraded { .. }
        | StoreError::FromThePast { .. }
        | StoreError::Disk(_)
        | StoreError::Hangs
        | StoreError::Damaged(_)
        | StoreError::DamagedAgain { .. }
        | StoreError::Row { .. }
        | StoreError::Stopped => Reason::ImplementationSpecific,
    }
}
