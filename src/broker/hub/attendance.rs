//! Who comes and goes: sessions from their first connection to their end.

use std::{
    collections::hash_map,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{House, Hub, Subscriber};
use crate::{
    broker::{
        auth::Identity,
        packet::Reason,
        receipt::{Pledge, Settling},
        rights::Readable,
        session::{End, Owner, Remembered, Session},
    },
    model::{ClientId, Message},
    store::Awaiting,
};

/// A session that a connection owns.
#[derive(Debug)]
pub(in crate::broker) struct Attached {
    pub(in crate::broker) session: Arc<Session>,
    pub(in crate::broker) owner: Arc<Owner>,
    /// Whether it had been there before.
    pub(in crate::broker) was_present: bool,
    /// Of the session that this one replaces; the caller publishes it.
    pub(in crate::broker) will: Option<Message>,
    /// Whose place this one takes; its own will comes before anything of ours (section 3.1.4).
    pub(in crate::broker) predecessor: Option<Arc<Owner>>,
    /// What CONNACK waits for, since a crash must not take it back: until the disk has forgotten the
    /// session that this one replaces or that is to end with its connection now, or has one that was to.
    pub(in crate::broker) settling: Option<Settling>,
}

impl Hub {
    /// Gives a session to a new connection: the client's old one, or a new one. A session of another
    /// user with this client id is not the client's: what waits in it is for somebody else.
    ///
    /// # Errors
    /// [`Reason::ServerUnavailable`] at the bound on sessions.
    pub(in crate::broker) fn attach(
        &self,
        client: &ClientId,
        identity: &Identity,
        is_clean: bool,
        expiry: Option<Duration>,
    ) -> Result<Attached, Reason> {
        let expiry = expiry.unwrap_or(Duration::MAX).min(self.limits.longest_session);
        let owner = Arc::new(Owner::default());
        let (mut will, mut pledge) = (None, Pledge::default());
        let mut house = self.write();
        let old = house.sessions.get(client).cloned();
        let predecessor = old.as_ref().and_then(|old| old.lock().owner.clone());
        let kept = old.clone().filter(|old| !is_clean && old.lock().user == identity.user);
        let was_present = kept.is_some();
        let session = match kept {
            Some(session) => session,
            None => {
                if let Some(old) = old {
                    will = self.remove(&mut house, &old, &mut pledge);
                } else if house.sessions.len() >= self.limits.max_sessions {
                    return Err(Reason::ServerUnavailable);
                }
                let session = Session::new(self.next_key(), client.clone(), expiry, self.agenda.clone());
                house.sessions.insert(client.clone(), session.clone());
                session
            }
        };
        let mut state = session.lock();
        state.take_over(&owner);
        let changes_life = was_present && state.expiry.is_zero() != expiry.is_zero();
        state.expiry = expiry;
        state.user = identity.user.clone();
        state.restrict(identity.rights.readable(), &self.counters);
        session.note_for(&mut state, changes_life.then_some(&mut pledge));
        drop(state);
        Ok(Attached { session, owner, was_present, will, predecessor, settling: pledge.settling() })
    }

    /// The client of this connection wants another life for its session (MQTT 5 DISCONNECT).
    pub(in crate::broker) fn set_expiry(&self, attached: &Attached, expiry: Option<Duration>) {
        if !attached.session.is_owned_by(&attached.owner) {
            return;
        }
        let mut state = attached.session.lock();
        state.expiry = expiry.unwrap_or(Duration::MAX).min(self.limits.longest_session);
        attached.session.note(&mut state);
    }

    /// A connection has ended; `will` waits for its delay. Gives the will if the session is over, for
    /// the caller to publish. Without effect when the connection no longer owned the session.
    pub(in crate::broker) fn detach(
        &self,
        attached: &Attached,
        will: Option<(Duration, Message)>,
    ) -> Option<Message> {
        let Attached { session, owner, .. } = attached;
        let mut house = self.write();
        if !session.is_owned_by(owner) {
            // Taken over in time: a will that was to wait is not wanted any more (MQTT-3.1.3-9).
            let is_resumed = session.lock().owner.is_some();
            return will.filter(|(delay, _)| !is_resumed || delay.is_zero()).map(|(_, message)| message);
        }
        let mut state = session.lock();
        state.leave(&self.counters);
        session.note(&mut state);
        state.will = will.and_then(|(delay, message)| Some((Instant::now().checked_add(delay)?, message)));
        let is_over = state.expiry.is_zero();
        drop(state);
        if is_over { self.remove(&mut house, session, &mut Pledge::default()) } else { None }
    }

    /// Takes a session out of every index; gives the will that had waited for that.
    fn remove(&self, house: &mut House, session: &Arc<Session>, pledge: &mut Pledge) -> Option<Message> {
        let mut state = session.lock();
        if state.is_recorded() {
            let receipt = (!self.agenda.is_down()).then(|| pledge.receipt());
            self.agenda.ended(session.client.clone(), receipt);
        }
        if let Some(owner) = state.owner.take() {
            owner.ask_to_end(End::TakenOver);
        }
        for filter in state.subscriptions.keys() {
            house.tree.remove(filter, session.key);
        }
        state.subscriptions.clear();
        let left = state.shared();
        state.clear(&self.counters);
        if let hash_map::Entry::Occupied(entry) = house.sessions.entry(session.client.clone())
            && entry.get().key == session.key
        {
            entry.remove();
        }
        let will = state.will.take().map(|(_, message)| message);
        drop(state);
        self.hand_on(house, left);
        will
    }

    /// Puts a session back that the store remembers, with what waits for it. `left` is what is left of
    /// its life; `None`: its client was connected when the gateway went down, and its life begins anew.
    pub(in crate::broker) fn restore(
        &self,
        client: &ClientId,
        (remembered, readable): (Remembered, Option<Readable>),
        rows: Vec<Awaiting>,
        left: Option<Duration>,
    ) {
        let expiry = remembered.expiry().min(self.limits.longest_session);
        let session = Session::new(self.next_key(), client.clone(), expiry, self.agenda.clone());
        session.restore(remembered, rows, left, usize::from(self.limits.inflight), &self.counters);
        session.lock().restrict(readable, &self.counters);
        let mut house = self.write();
        for (filter, options) in &session.lock().subscriptions {
            house.tree.insert(filter, session.key, Subscriber::Client(session.clone(), *options));
        }
        house.sessions.insert(client.clone(), session);
    }

    /// Ends what is over: sessions, delayed wills, retained messages. Gives the wills to publish.
    pub(in crate::broker) fn sweep(&self) -> Vec<(ClientId, Message)> {
        let now = Instant::now();
        let mut wills = Vec::new();
        let mut house = self.write();
        for topic in house.retained.expire() {
            self.agenda.retained(topic, None);
        }
        let sessions: Vec<Arc<Session>> = house.sessions.values().cloned().collect();
        for session in sessions {
            let mut state = session.lock();
            let is_over = state.ends_at.is_some_and(|end| end <= now);
            let will = state.will.take_if(|(at, _)| is_over || *at <= now).map(|(_, message)| message);
            drop(state);
            wills.extend(will.map(|will| (session.client.clone(), will)));
            if is_over {
                self.remove(&mut house, &session, &mut Pledge::default());
            }
        }
        wills
    }

    /// Asks every connection to end.
    pub(in crate::broker) fn end_all(&self) {
        for session in self.read().sessions.values() {
            if let Some(owner) = &session.lock().owner {
                owner.ask_to_end(End::ShuttingDown);
            }
        }
    }
}
