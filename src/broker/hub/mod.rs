//! Where publishers and subscribers meet: the sessions, their subscriptions, the retained messages.
//!
//! Owns the house's shared state behind one `RwLock`, held for microseconds and never across an await.
//! Never does I/O: the disk follows by the recorder. Lock order: house, session, agenda.
//!
//! Invariants: publishing costs what it matches, never O(sessions); a message that is to be retained is
//! kept and delivered under one write lock, and retained messages are sent to a subscription under a
//! lock that keeps it out, so that no subscriber misses a value or gets an older one after a newer one;
//! every index entry leaves with its session.
//!
//! `attendance` is who comes and goes, `subscribing` what they want to hear, `fanout` how one message
//! becomes each subscriber's own.
//!
//! A lock and not a router task: a task would cost every message a hop through a channel, whose being
//! full would let one flood hold up everybody. Publishes that are not retained share the read lock.

mod attendance;
mod fanout;
mod subscribing;

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::mpsc;

pub(super) use self::attendance::Attached;
use self::fanout::{delivery, merge};
use super::{
    agenda::Agenda,
    counters::Counters,
    delivery::{Delivery, Publication},
    handle::Heard,
    options::Limits,
    packet::SubscriptionOptions,
    receipt::Pledge,
    retained::{Kept, Retained},
    rounds::Stir,
    session::{Bounds, Offered, Session},
    subscriptions::{Group, Match, Tree},
};
use crate::model::{ClientId, Message, QoS, Topic};

/// The meeting place, shared by all connections.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) limits: Limits,
    pub(super) counters: Counters,
    pub(super) agenda: Arc<Agenda>,
    pub(super) stir: Stir,
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
#[derive(Debug, Default)]
pub(super) struct Delivered {
    /// How many it was queued for.
    pub(super) taken: usize,
    /// How long its publisher is to pause, because one of them who does read cannot keep up.
    pub(super) rest: Duration,
    /// Whether one of them has, and has not read lately.
    pub(super) is_unread: bool,
    /// Whether one of them slept, and waits for its turn now.
    pub(super) has_woken: bool,
    /// What its publisher's acknowledgement is to wait for.
    pub(super) pledge: Pledge,
}

impl Delivered {
    fn count(&mut self, offered: Offered) {
        self.taken += usize::from(offered != Offered::NotQueued);
        if let Offered::Crowded(rest) = offered {
            self.rest = self.rest.max(rest);
        }
        self.is_unread |= offered == Offered::Unread;
        self.has_woken |= offered == Offered::Woken;
    }
}

impl Hub {
    pub(super) fn new(limits: Limits) -> Self {
        let retained = Retained::new(limits.retained_count, limits.retained_bytes);
        let house = House { tree: Tree::default(), sessions: HashMap::new(), retained };
        Self {
            limits,
            counters: Counters::default(),
            agenda: Arc::default(),
            stir: Stir::default(),
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

    pub(super) fn bounds(&self) -> Bounds {
        Bounds { session: self.limits.queue_bytes_per_session, all: self.limits.queue_bytes }
    }

    /// Delivers a message to everybody who subscribed. `key` is the publisher's.
    pub(super) fn publish(&self, publication: &Arc<Publication>, key: u64) -> Delivered {
        let mut done = Delivered::default();
        if !publication.message.retain {
            self.deliver(&self.read(), publication, key, &mut done);
            self.stir.ring();
            return done;
        }
        let mut house = self.write();
        let kept = house.retained.keep(publication);
        match kept {
            Kept::Changed | Kept::Removed => {
                let is_promised = publication.message.qos != QoS::AtMostOnce && !self.agenda.is_down();
                let receipt = is_promised.then(|| done.pledge.receipt());
                self.agenda.retained(publication.message.topic.clone(), receipt);
            }
            Kept::Unchanged | Kept::Refused if self.agenda.is_down() => {
                self.agenda.cleared_unseen(&publication.message.topic, self.limits.retained_count);
            }
            Kept::Unchanged | Kept::Refused => {}
        }
        if matches!(kept, Kept::Refused | Kept::Removed) {
            Counters::count(&self.counters.not_retained);
        }
        self.deliver(&house, publication, key, &mut done);
        drop(house);
        self.stir.ring();
        done
    }

    fn deliver(&self, house: &House, publication: &Arc<Publication>, key: u64, done: &mut Delivered) {
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
            Match::One(group) => self.to_one_of(group, publication, done),
        });
        for (other, subscriber) in only.into_iter().flatten() {
            if let Some(delivery) = delivery(subscriber, *other, publication, key) {
                self.offer(subscriber, delivery, done);
            }
        }
        for (_, subscriber, delivery) in merged {
            self.offer(subscriber, delivery, done);
        }
    }

    fn offer(&self, subscriber: &Subscriber, delivery: Delivery, done: &mut Delivered) -> bool {
        let offered = match subscriber {
            Subscriber::Client(session, _) => {
                session.offer(delivery, self.bounds(), &self.counters, &mut done.pledge)
            }
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
        };
        done.count(offered);
        offered != Offered::NotQueued
    }

    /// One member of a group gets it: the next that is connected, else the next that keeps it.
    fn to_one_of(&self, group: &Group<Subscriber>, publication: &Arc<Publication>, done: &mut Delivered) {
        let (present, absent): (Vec<_>, Vec<_>) =
            group.in_turn().partition(|(_, subscriber)| match subscriber {
                Subscriber::Client(session, _) => session.lock().owner.is_some(),
                Subscriber::Gateway(sender) => !sender.is_closed(),
            });
        let mut in_order = present.into_iter().chain(absent);
        in_order.any(|(other, subscriber)| {
            // Key 0 is nobody's: a shared subscription is never `no local`.
            delivery(subscriber, *other, publication, 0).is_some_and(|mut delivery| {
                delivery.share = Some(group.filter.clone());
                self.offer(subscriber, delivery, done)
            })
        });
    }

    /// Gives what a member of shared subscriptions leaves behind to the others (MQTT 5 section 4.8.2).
    fn hand_on(&self, house: &House, left: Vec<Delivery>) {
        for delivery in left {
            house.tree.visit(&delivery.publication.message.topic, |hit| {
                if let Match::One(group) = hit
                    && delivery.share.as_ref() == Some(&group.filter)
                {
                    self.to_one_of(group, &delivery.publication, &mut Delivered::default());
                }
            });
        }
    }

    /// Puts a retained message back, unless its topic has changed meanwhile; false: the bounds have no room for it
    /// any more.
    pub(super) fn restore_retained(&self, message: Message) -> bool {
        let mut house = self.write();
        self.agenda.has_topic(&message.topic)
            || house.retained.get(&message.topic).is_some()
            || house.retained.keep(&Publication::new(message)) == Kept::Changed
    }

    /// The retained message of a topic, as the disk is to have it.
    pub(super) fn retained(&self, topic: &Topic) -> Option<Message> {
        self.read().retained.get(topic).map(|publication| publication.to_message())
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
}
