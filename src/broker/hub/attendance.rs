//! Who comes and goes: sessions from their first connection to their end.

use std::{
    cmp::Reverse,
    collections::{HashMap, hash_map},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{House, Hub, Subscriber};
use crate::{
    broker::{
        auth::{Auth, Identity},
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
    /// Of sessions that this one replaces, with their clients; the caller publishes them.
    pub(in crate::broker) wills: Vec<(ClientId, Message)>,
    /// Whose place this one takes; its own will comes before anything of ours (section 3.1.4).
    pub(in crate::broker) predecessor: Option<Arc<Owner>>,
    /// What CONNACK waits for, since a crash must not take it back: until the disk has forgotten the
    /// session that this one replaces or that is to end with its connection now, or has one that was to.
    pub(in crate::broker) settling: Option<Settling>,
}

impl Hub {
    /// Gives a session to a new connection: the client's old one, or a new one. A session of another
    /// user with this client id is not the client's: what waits in it is for somebody else, and it stays
    /// as long as there is such a user. What nobody owns by name, whoever comes with a name may replace.
    ///
    /// # Errors
    /// [`Reason::ClientIdNotValid`] when another user's session has this client id;
    /// [`Reason::ServerUnavailable`] at the bound on sessions, when all their clients are connected.
    pub(in crate::broker) fn attach(
        &self,
        client: &ClientId,
        identity: &Identity,
        auth: &Auth,
        (is_clean, expiry): (bool, Option<Duration>),
    ) -> Result<Attached, Reason> {
        let expiry = expiry.unwrap_or(Duration::MAX).min(self.limits.longest_session);
        let owner = Arc::new(Owner::default());
        let (mut wills, mut pledge) = (Vec::new(), Pledge::default());
        let mut house = self.write();
        let old = house.sessions.get(client).cloned();
        if let Some(old) = &old {
            let state = old.lock();
            if state.user != identity.user && auth.is_somebodys(state.user.as_deref()) {
                return Err(Reason::ClientIdNotValid);
            }
        }
        let predecessor = old.as_ref().and_then(|old| old.lock().owner.clone());
        let kept = old.clone().filter(|old| !is_clean && old.lock().user == identity.user);
        let was_present = kept.is_some();
        let session = match kept {
            Some(session) => session,
            None => {
                let replaced = match old {
                    Some(old) => Some(old),
                    None if house.sessions.len() < self.limits.max_sessions => None,
                    None => Some(self.least_missed(&house).ok_or(Reason::ServerUnavailable)?),
                };
                if let Some(replaced) = replaced {
                    let will = self.remove(&mut house, &replaced, &mut pledge);
                    wills.extend(will.map(|will| (replaced.client.clone(), will)));
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
        Ok(Attached { session, owner, was_present, wills, predecessor, settling: pledge.settling() })
    }

    /// Whose session ends early when there are too many: of the user with the most absent clients, one
    /// that nothing waits for, else the one that has been away the longest. `None`: nobody is absent.
    fn least_missed(&self, house: &House) -> Option<Arc<Session>> {
        let mut counts: HashMap<Option<Arc<str>>, usize> = HashMap::new();
        let mut absent = Vec::new();
        for session in house.sessions.values() {
            let state = session.lock();
            if state.owner.is_none() {
                *counts.entry(state.user.clone()).or_default() += 1;
                let left = state.ends_at.and_then(|end| end.checked_sub(state.expiry));
                absent.push((state.user.clone(), state.has_waiting(), left, session));
            }
        }
        let (.., session) = absent
            .into_iter()
            .min_by_key(|(user, has_waiting, left, _)| (Reverse(counts[user]), *has_waiting, *left))?;
        let count = self.counters.ended_early.fetch_add(1, Ordering::Relaxed) + 1;
        // Not a line for each, when somebody does it on purpose.
        if count.is_power_of_two() {
            tracing::warn!(
                count,
                client = session.client.as_str(),
                "an absent client's session ends early: the limit `max_sessions` is reached"
            );
        }
        Some(session.clone())
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
    /// its life; `None`: its client was connected when the gateway went down, and its life begins anew. If the
    /// client has begun a session meanwhile, that one stays, and what waited is added to what waits for it.
    pub(in crate::broker) fn restore(
        &self,
        client: &ClientId,
        (remembered, readable): (Remembered, Option<Readable>),
        rows: Vec<Awaiting>,
        left: Option<Duration>,
    ) {
        let mut house = self.write();
        if self.agenda.has_ended(client) {
            return;
        }
        if let Some(newer) = house.sessions.get(client) {
            newer.inherit(&remembered, rows, self.bounds(), &self.counters);
            self.agenda.ended(client.clone(), None);
            return;
        }
        let expiry = remembered.expiry().min(self.limits.longest_session);
        let session = Session::new(self.next_key(), client.clone(), expiry, self.agenda.clone());
        session.restore(remembered, rows, left, usize::from(self.limits.inflight), &self.counters);
        session.lock().restrict(readable, &self.counters);
        for (filter, options) in &session.lock().subscriptions {
            house.tree.insert(filter, session.key, Subscriber::Client(session.clone(), *options));
        }
        house.sessions.insert(client.clone(), session);
    }

    /// Ends what is over: sessions, delayed wills, retained messages. Gives the wills to publish, and when the next of all
    /// these will be over.
    pub(in crate::broker) fn sweep(&self) -> (Vec<(ClientId, Message)>, Option<Instant>) {
        let now = Instant::now();
        let mut wills = Vec::new();
        let mut next_end = None;
        let mut house = self.write();
        for topic in house.retained.expire(&mut next_end) {
            self.agenda.retained(topic, None);
        }
        let sessions: Vec<Arc<Session>> = house.sessions.values().cloned().collect();
        for session in sessions {
            let mut state = session.lock();
            let is_over = state.ends_at.is_some_and(|end| end <= now);
            let will = state.will.take_if(|(at, _)| is_over || *at <= now).map(|(_, message)| message);
            let ends =
                state.ends_at.filter(|_| !is_over).into_iter().chain(state.will.as_ref().map(|(at, _)| *at));
            next_end = next_end.into_iter().chain(ends).min();
            drop(state);
            wills.extend(will.map(|will| (session.client.clone(), will)));
            if is_over {
                self.remove(&mut house, &session, &mut Pledge::default());
            }
        }
        (wills, next_end)
    }

    /// The wills that wait for their delay: nobody else will publish them.
    pub(in crate::broker) fn waiting_wills(&self) -> Vec<(ClientId, Message)> {
        let house = self.read();
        let wills = house.sessions.values().filter_map(|session| {
            let (_, will) = session.lock().will.take()?;
            Some((session.client.clone(), will))
        });
        wills.collect()
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
