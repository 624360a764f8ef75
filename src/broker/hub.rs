//! Where publishers and subscribers meet: the sessions, their subscriptions, the retained messages.
//!
//! Owns the house's shared state behind one `RwLock`, held for microseconds and never across an await.
//! Never does I/O: the disk follows by the recorder. Lock order: house, then a session.
//!
//! Invariants: publishing costs what it matches, never O(sessions); a message that is to be retained is
//! kept and delivered under one write lock, and a subscription is made and sent its retained messages
//! under one, so that no subscriber misses a value or gets an older one after a newer one; every index
//! entry leaves with its session.
//!
//! A lock and not a router task: a task would cost every message a hop through a channel, whose being
//! full would let one flood hold up everybody. Publishes that are not retained share the read lock.

use std::{
    collections::{HashMap, hash_map},
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{
    counters::Counters,
    delivery::{Delivery, Identifiers, Publication},
    handle::Heard,
    options::Limits,
    packet::{Reason, RetainHandling, SubscriptionOptions},
    recorder::Agenda,
    retained::{Kept, Retained},
    session::{Bounds, End, Offered, Owner, Session, State},
    subscriptions::{Match, Tree},
};
use crate::model::{ClientId, Message, QoS, Topic, TopicFilter};

/// The meeting place, shared by all connections.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) limits: Limits,
    pub(super) counters: Counters,
    pub(super) agenda: Agenda,
    house: RwLock<House>,
    last_key: AtomicU64,
}

#[derive(Debug)]
struct House {
    tree: Tree<Subscriber>,
    sessions: HashMap<ClientId, Arc<Session>>,
    retained: Retained,
}

/// Who is behind a subscription.
#[derive(Debug, Clone)]
enum Subscriber {
    Client(Arc<Session>, SubscriptionOptions),
    /// A part of the gateway. Full: the newest is dropped and counted.
    Gateway(mpsc::Sender<Heard>),
}

/// What became of a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Delivered {
    /// How many it was queued for.
    pub(super) taken: usize,
    /// Whether one of them, which does read, has a queue more than half full.
    pub(super) is_crowded: bool,
    /// Whether one of them has, and has not read lately.
    pub(super) is_unread: bool,
    /// Whether one of them slept, and waits for its turn now.
    pub(super) has_woken: bool,
}

impl Delivered {
    fn count(&mut self, offered: Offered) {
        self.taken += usize::from(offered != Offered::NotQueued);
        self.is_crowded |= offered == Offered::Crowded;
        self.is_unread |= offered == Offered::Unread;
        self.has_woken |= offered == Offered::Woken;
    }
}

/// A session that a connection owns.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) session: Arc<Session>,
    pub(super) owner: Arc<Owner>,
    /// Whether it had been there before.
    pub(super) was_present: bool,
    /// Of the session that this one replaces; the caller publishes it.
    pub(super) will: Option<Message>,
}

impl Hub {
    pub(super) fn new(limits: Limits) -> Self {
        let retained = Retained::new(limits.retained_count, limits.retained_bytes);
        let house = House { tree: Tree::default(), sessions: HashMap::new(), retained };
        Self {
            limits,
            counters: Counters::default(),
            agenda: Agenda::default(),
            house: RwLock::new(house),
            last_key: AtomicU64::new(0),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, House> {
        self.house.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, House> {
        self.house.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_key(&self) -> u64 {
        self.last_key.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn bounds(&self) -> Bounds {
        Bounds { session: self.limits.queue_bytes_per_session, all: self.limits.queue_bytes }
    }

    /// Delivers a message to everybody who subscribed. `key` is the publisher's.
    pub(super) fn publish(&self, publication: &Arc<Publication>, key: u64) -> Delivered {
        if !publication.message.retain {
            return self.deliver(&self.read(), publication, key);
        }
        let mut house = self.write();
        match house.retained.keep(publication) {
            Kept::Changed => self.agenda.retained(publication.message.topic.clone()),
            Kept::Unchanged => {}
            Kept::Refused => Counters::count(&self.counters.not_retained),
        }
        self.deliver(&house, publication, key)
    }

    fn deliver(&self, house: &House, publication: &Arc<Publication>, key: u64) -> Delivered {
        let mut done = Delivered::default();
        // A client whose filters overlap gets the message once, with the highest QoS (section 3.3.4):
        // only when several filters match is there anything to merge.
        let mut only: Option<&[(u64, Subscriber)]> = None;
        let mut merged: Vec<(u64, &Subscriber, Delivery)> = Vec::new();
        house.tree.visit(&publication.message.topic, |hit| match hit {
            Match::All(all) if only.is_none() && merged.is_empty() => only = Some(all),
            Match::All(all) => {
                if let Some(first) = only.take() {
                    merge(&mut merged, first, publication, key);
                }
                merge(&mut merged, all, publication, key);
            }
            Match::One(group) => {
                done.count(self.to_one_of(group.in_turn(), publication));
            }
        });
        for (other, subscriber) in only.into_iter().flatten() {
            if let Some(delivery) = delivery(subscriber, *other, publication, key) {
                done.count(self.offer(subscriber, delivery));
            }
        }
        for (_, subscriber, delivery) in merged {
            done.count(self.offer(subscriber, delivery));
        }
        done
    }

    fn offer(&self, subscriber: &Subscriber, delivery: Delivery) -> Offered {
        match subscriber {
            Subscriber::Client(session, _) => session.offer(delivery, self.bounds(), &self.counters),
            Subscriber::Gateway(sender) => {
                let publication = &delivery.publication;
                let mut message = publication.message.clone();
                message.retain = delivery.retain;
                let heard = Heard {
                    message,
                    publisher: publication.publisher.clone(),
                    is_redelivered: publication.is_redelivered,
                    is_to_be_retained: publication.message.retain,
                };
                match sender.try_send(heard) {
                    Ok(()) => Offered::Queued,
                    Err(mpsc::error::TrySendError::Full(_)) => {
                        Counters::count(&self.counters.dropped);
                        Offered::NotQueued
                    }
                    Err(mpsc::error::TrySendError::Closed(_)) => Offered::NotQueued,
                }
            }
        }
    }

    /// One member of a group gets it: the next that is connected, else the next that keeps it.
    fn to_one_of<'a>(
        &self,
        members: impl Iterator<Item = &'a (u64, Subscriber)>,
        publication: &Arc<Publication>,
    ) -> Offered {
        let (present, absent): (Vec<_>, Vec<_>) = members.partition(|(_, subscriber)| match subscriber {
            Subscriber::Client(session, _) => session.lock().owner.is_some(),
            Subscriber::Gateway(sender) => !sender.is_closed(),
        });
        let in_order = present.into_iter().chain(absent);
        let mut offers = in_order.filter_map(|(other, subscriber)| {
            // Key 0 is nobody's: a shared subscription is never `no local`.
            delivery(subscriber, *other, publication, 0).map(|delivery| self.offer(subscriber, delivery))
        });
        offers.find(|offered| *offered != Offered::NotQueued).unwrap_or(Offered::NotQueued)
    }

    /// Gives a session to a new connection: the client's old one, or a new one.
    ///
    /// # Errors
    /// [`Reason::ServerUnavailable`] at the bound on sessions.
    pub(super) fn attach(
        &self,
        client: &ClientId,
        is_clean: bool,
        expiry: Option<Duration>,
    ) -> Result<Attached, Reason> {
        let expiry = expiry.unwrap_or(Duration::MAX).min(self.limits.longest_session);
        let owner = Arc::new(Owner::default());
        let mut will = None;
        let mut house = self.write();
        let old = house.sessions.get(client).cloned();
        let kept = old.clone().filter(|_| !is_clean);
        let was_present = kept.is_some();
        let session = match kept {
            Some(session) => session,
            None => {
                if let Some(old) = old {
                    will = self.remove(&mut house, &old);
                } else if house.sessions.len() >= self.limits.max_sessions {
                    return Err(Reason::ServerUnavailable);
                }
                let session = Session::new(self.next_key(), client.clone(), expiry);
                house.sessions.insert(client.clone(), session.clone());
                session
            }
        };
        let mut state = session.lock();
        state.take_over(&owner);
        state.expiry = expiry;
        self.note(&session, &mut state);
        drop(state);
        Ok(Attached { session, owner, was_present, will })
    }

    /// Puts a session on the recorder's agenda, if the disk knows it or is to know it.
    fn note(&self, session: &Session, state: &mut State) {
        if state.is_recorded || !state.expiry.is_zero() {
            state.is_recorded = true;
            self.agenda.session(session.client.clone());
        }
    }

    /// The client of this connection wants another life for its session (MQTT 5 DISCONNECT).
    pub(super) fn set_expiry(&self, attached: &Attached, expiry: Option<Duration>) {
        if !attached.session.is_owned_by(&attached.owner) {
            return;
        }
        let mut state = attached.session.lock();
        state.expiry = expiry.unwrap_or(Duration::MAX).min(self.limits.longest_session);
        self.note(&attached.session, &mut state);
    }

    /// A connection has ended; `will` waits for its delay. Gives the will if the session is over, for
    /// the caller to publish. Without effect when the connection no longer owned the session.
    pub(super) fn detach(&self, attached: &Attached, will: Option<(Duration, Message)>) -> Option<Message> {
        let Attached { session, owner, .. } = attached;
        let mut house = self.write();
        if !session.is_owned_by(owner) {
            // Taken over in time: a will that was to wait is not wanted any more (MQTT-3.1.3-9).
            let is_resumed = session.lock().owner.is_some();
            return will.filter(|(delay, _)| !is_resumed || delay.is_zero()).map(|(_, message)| message);
        }
        let mut state = session.lock();
        state.owner = None;
        state.absent_since = Some(Instant::now());
        state.will = will.and_then(|(delay, message)| Some((Instant::now().checked_add(delay)?, message)));
        let is_over = state.expiry.is_zero();
        drop(state);
        if is_over { self.remove(&mut house, session) } else { None }
    }

    /// Takes a session out of every index; gives the will that had waited for that.
    fn remove(&self, house: &mut House, session: &Arc<Session>) -> Option<Message> {
        let mut state = session.lock();
        if state.is_recorded {
            self.agenda.session(session.client.clone());
        }
        if let Some(owner) = state.owner.take() {
            owner.ask_to_end(End::TakenOver);
        }
        for filter in state.subscriptions.keys() {
            house.tree.remove(filter, session.key);
        }
        state.subscriptions.clear();
        state.clear(&self.counters);
        if let hash_map::Entry::Occupied(entry) = house.sessions.entry(session.client.clone())
            && entry.get().key == session.key
        {
            entry.remove();
        }
        state.will.take().map(|(_, message)| message)
    }

    /// Subscribes a session to `filter`, and queues the retained messages for it.
    ///
    /// # Errors
    /// [`Reason::QuotaExceeded`] at the bound on subscriptions.
    pub(super) fn subscribe(
        &self,
        attached: &Attached,
        filter: &TopicFilter,
        options: SubscriptionOptions,
    ) -> Result<QoS, Reason> {
        let Attached { session, owner, .. } = attached;
        let mut house = self.write();
        if !session.is_owned_by(owner) {
            return Err(Reason::UnspecifiedError);
        }
        let mut state = session.lock();
        let is_new = !state.subscriptions.contains_key(filter);
        if is_new && state.subscriptions.len() >= self.limits.subscriptions_per_client {
            return Err(Reason::QuotaExceeded);
        }
        state.subscriptions.insert(filter.clone(), options);
        self.note(session, &mut state);
        drop(state);
        let subscriber = Subscriber::Client(session.clone(), options);
        house.tree.insert(filter, session.key, subscriber.clone());
        let wants_retained = match options.retain_handling {
            RetainHandling::Send => true,
            RetainHandling::SendIfNew => is_new,
            RetainHandling::Never => false,
        };
        // A shared subscription is sent none (MQTT 5 section 4.8.2).
        if wants_retained && filter.share().is_none() {
            self.send_retained(&house, filter, &subscriber, |_| true);
        }
        Ok(options.qos)
    }

    fn send_retained(
        &self,
        house: &House,
        filter: &TopicFilter,
        subscriber: &Subscriber,
        is_wanted: impl Fn(&Topic) -> bool,
    ) {
        for publication in house.retained.matching(filter) {
            if is_wanted(&publication.message.topic)
                && let Some(mut delivery) = delivery(subscriber, 0, publication, 0)
            {
                delivery.retain = true;
                self.offer(subscriber, delivery);
            }
        }
    }

    /// Ends a subscription; whether there was one.
    pub(super) fn unsubscribe(&self, attached: &Attached, filter: &TopicFilter) -> bool {
        let Attached { session, owner, .. } = attached;
        let mut house = self.write();
        if !session.is_owned_by(owner) {
            return false;
        }
        house.tree.remove(filter, session.key);
        let mut state = session.lock();
        let was_there = state.subscriptions.remove(filter).is_some();
        self.note(session, &mut state);
        was_there
    }

    /// Subscribes a part of the gateway; the number is for [`Hub::unsubscribe_gateway`].
    pub(super) fn subscribe_gateway(&self, filters: &[TopicFilter], sender: &mpsc::Sender<Heard>) -> u64 {
        let key = self.next_key();
        let subscriber = Subscriber::Gateway(sender.clone());
        let mut house = self.write();
        for (index, filter) in filters.iter().enumerate() {
            house.tree.insert(filter, key, subscriber.clone());
            if filter.share().is_none() {
                // What an earlier filter matches has been sent.
                let earlier = &filters[..index];
                self.send_retained(&house, filter, &subscriber, |topic| {
                    !earlier.iter().any(|filter| filter.share().is_none() && filter.matches(topic))
                });
            }
        }
        key
    }

    /// Ends a subscription of the gateway.
    pub(super) fn unsubscribe_gateway(&self, filters: &[TopicFilter], key: u64) {
        let mut house = self.write();
        for filter in filters {
            house.tree.remove(filter, key);
        }
    }

    /// Puts a session back that the store remembers; its expiry begins anew.
    pub(super) fn restore(
        &self,
        client: &ClientId,
        expiry: Duration,
        subscriptions: impl IntoIterator<Item = (TopicFilter, SubscriptionOptions)>,
    ) {
        let session = Session::new(self.next_key(), client.clone(), expiry.min(self.limits.longest_session));
        let mut house = self.write();
        for (filter, options) in subscriptions {
            house.tree.insert(&filter, session.key, Subscriber::Client(session.clone(), options));
            session.lock().subscriptions.insert(filter, options);
        }
        let mut state = session.lock();
        state.absent_since = Some(Instant::now());
        state.is_recorded = true;
        drop(state);
        house.sessions.insert(client.clone(), session);
    }

    /// Puts a retained message back; false: the bounds have no room for it any more.
    pub(super) fn restore_retained(&self, message: Message) -> bool {
        self.write().retained.keep(&Publication::new(message)) != Kept::Refused
    }

    /// The retained message of a topic, as the disk is to have it.
    pub(super) fn retained(&self, topic: &Topic) -> Option<Message> {
        self.read().retained.get(topic).map(|publication| publication.message.clone())
    }

    /// A client's session.
    pub(super) fn session(&self, client: &ClientId) -> Option<Arc<Session>> {
        self.read().sessions.get(client).cloned()
    }

    /// Whether somebody is connected with this id.
    pub(super) fn is_connected(&self, client: &ClientId) -> bool {
        self.session(client).is_some_and(|session| session.lock().owner.is_some())
    }

    /// How many sessions and retained messages there are.
    pub(super) fn sizes(&self) -> (usize, usize) {
        let house = self.read();
        (house.sessions.len(), house.retained.len())
    }

    /// Ends what is over: sessions, delayed wills, retained messages. Gives the wills to publish.
    pub(super) fn sweep(&self) -> Vec<(ClientId, Message)> {
        let now = Instant::now();
        let mut wills = Vec::new();
        let mut house = self.write();
        for topic in house.retained.expire() {
            self.agenda.retained(topic);
        }
        let sessions: Vec<Arc<Session>> = house.sessions.values().cloned().collect();
        for session in sessions {
            let mut state = session.lock();
            let is_over = state.absent_since.is_some_and(|since| now.duration_since(since) >= state.expiry);
            let will = state.will.take_if(|(at, _)| is_over || *at <= now).map(|(_, message)| message);
            drop(state);
            wills.extend(will.map(|will| (session.client.clone(), will)));
            if is_over {
                self.remove(&mut house, &session);
            }
        }
        wills
    }

    /// Asks every connection to end.
    pub(super) fn end_all(&self) {
        for session in self.read().sessions.values() {
            if let Some(owner) = &session.lock().owner {
                owner.ask_to_end(End::ShuttingDown);
            }
        }
    }
}

/// The message as `subscriber` is to get it; `None`: not at all (`no local`).
fn delivery(
    subscriber: &Subscriber,
    key: u64,
    publication: &Arc<Publication>,
    publisher: u64,
) -> Option<Delivery> {
    let message = &publication.message;
    let mut identifiers = Identifiers::default();
    let (qos, retain) = match subscriber {
        Subscriber::Client(_, options) if options.no_local && key == publisher => return None,
        Subscriber::Client(_, options) => {
            identifiers.add(options.identifier);
            (message.qos.min(options.qos), message.retain && options.retain_as_published)
        }
        Subscriber::Gateway(_) => (message.qos, false),
    };
    Some(Delivery { publication: publication.clone(), qos, retain, identifiers })
}

/// Adds one filter's subscribers to those of others.
fn merge<'a>(
    merged: &mut Vec<(u64, &'a Subscriber, Delivery)>,
    all: &'a [(u64, Subscriber)],
    publication: &Arc<Publication>,
    publisher: u64,
) {
    // Sorted by key, so that thousands of subscribers on two filters are not compared each with each.
    merged.sort_unstable_by_key(|(key, ..)| *key);
    let known = merged.len();
    for (key, subscriber) in all {
        let Some(new) = delivery(subscriber, *key, publication, publisher) else { continue };
        match merged[..known].binary_search_by_key(key, |(key, ..)| *key) {
            Ok(index) => {
                let old = &mut merged[index].2;
                old.qos = old.qos.max(new.qos);
                old.retain |= new.retain;
                for identifier in new.identifiers.as_slice() {
                    old.identifiers.add(Some(*identifier));
                }
            }
            Err(_) => merged.push((*key, subscriber, new)),
        }
    }
}
