//! What the disk does not have yet: topics whose retained message changed, sessions that changed.
//!
//! Owns names, never contents: what is written is what the hub holds when it is written. Bounded by the
//! retained messages and sessions there are. Lock order: last.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::Notify;

use super::{receipt::Receipt, session::Session};
use crate::model::{ClientId, Topic};

/// The agenda.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    changes: Mutex<Changes>,
    /// Rung when there is something.
    pub(super) bell: Notify,
    /// Rung when somebody waits for it.
    pub(super) haste: Notify,
    is_down: AtomicBool,
}

/// What was on the agenda.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// With those who wait for the disk to know.
    pub(super) topics: HashMap<Topic, Vec<Receipt>>,
    /// Clients whose session is over, with those who wait for the disk to forget it.
    pub(super) ended: HashMap<ClientId, Vec<Receipt>>,
    pub(super) sessions: Vec<Arc<Session>>,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.topics.is_empty() && self.ended.is_empty() && self.sessions.is_empty()
    }
}

impl Agenda {
    fn lock(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A topic's retained message changed; a receipt makes it urgent.
    pub(super) fn retained(&self, topic: Topic, receipt: Option<Receipt>) {
        let is_urgent = receipt.is_some();
        self.lock().topics.entry(topic).or_default().extend(receipt);
        self.bell.notify_one();
        if is_urgent {
            self.hurry();
        }
    }

    /// A topic that is not retained here was cleared; a disk that could not be read may still have it retained. Not
    /// noted when `most` topics are noted already.
    pub(super) fn cleared_unseen(&self, topic: &Topic, most: usize) {
        let mut changes = self.lock();
        if changes.topics.len() < most {
            changes.topics.entry(topic.clone()).or_default();
            self.bell.notify_one();
        }
    }

    /// Whether what is here of a topic's retained message, or that there is none, is newer than the disk's.
    pub(super) fn has_topic(&self, topic: &Topic) -> bool {
        self.lock().topics.contains_key(topic)
    }

    /// Whether the disk is to forget what it knows of a client's session.
    pub(super) fn has_ended(&self, client: &ClientId) -> bool {
        self.lock().ended.contains_key(client)
    }

    /// A session changed. Called once until the recorder has come by.
    pub(super) fn session(&self, session: Arc<Session>) {
        self.lock().sessions.push(session);
        self.bell.notify_one();
    }

    /// A session is over; a receipt makes it urgent.
    pub(super) fn ended(&self, client: ClientId, receipt: Option<Receipt>) {
        let is_urgent = receipt.is_some();
        self.lock().ended.entry(client).or_default().extend(receipt);
        self.bell.notify_one();
        if is_urgent {
            self.hurry();
        }
    }

    /// Somebody waits for what is on the agenda.
    pub(super) fn hurry(&self) {
        self.haste.notify_one();
    }

    /// Whether the disk is in trouble, so that nobody is to wait for it.
    pub(super) fn is_down(&self) -> bool {
        self.is_down.load(Ordering::Relaxed)
    }

    pub(super) fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::Relaxed);
    }

    /// Takes everything.
    pub(super) fn take(&self) -> Changes {
        std::mem::take(&mut *self.lock())
    }

    /// Puts back what could not be written; what was added meanwhile stays.
    pub(super) fn give_back(&self, topics: Vec<Topic>, ended: Vec<ClientId>) {
        let mut changes = self.lock();
        for topic in topics {
            changes.topics.entry(topic).or_default();
        }
        for client in ended {
            changes.ended.entry(client).or_default();
        }
        self.bell.notify_one();
    }

    /// The disk is in trouble: whoever waits, waits no longer.
    pub(super) fn let_all_go(&self) {
        let sessions = {
            let mut changes = self.lock();
            changes.topics.values_mut().for_each(Vec::clear);
            changes.ended.values_mut().for_each(Vec::clear);
            changes.sessions.clone()
        };
        for session in sessions {
            session.let_all_go();
        }
    }
}
