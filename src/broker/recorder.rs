//! Brings retained messages and persistent sessions to the disk, behind the clients' backs.
//!
//! Owns the agenda of what has changed; what is written is what the hub holds at that moment, so a topic
//! that changes a thousand times between two commits is written once. Nobody waits for it: the agenda
//! is a set of names, bounded by the retained messages and sessions there are. A crash loses the
//! changes of the last commit's time; what was PUBACKed for the cloud is in the outbox, not here.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{auth::Auth, hub::Hub, packet::SubscriptionOptions};
use crate::{
    model::{ClientId, Topic, TopicFilter},
    store::{Store, StoreError},
};

/// What the disk does not have yet.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    changes: Mutex<Changes>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct Changes {
    topics: HashSet<Topic>,
    clients: HashSet<ClientId>,
}

impl Agenda {
    fn lock(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A topic's retained message changed.
    pub(super) fn retained(&self, topic: Topic) {
        if self.lock().topics.insert(topic) {
            self.bell.notify_one();
        }
    }

    /// A session's subscriptions or life changed.
    pub(super) fn session(&self, client: ClientId) {
        if self.lock().clients.insert(client) {
            self.bell.notify_one();
        }
    }

    fn give_back(&self, changes: Changes) {
        let mut agenda = self.lock();
        agenda.topics.extend(changes.topics);
        agenda.clients.extend(changes.clients);
    }

    fn take(&self) -> Option<Changes> {
        let changes = std::mem::take(&mut *self.lock());
        (!changes.topics.is_empty() || !changes.clients.is_empty()).then_some(changes)
    }
}

/// A session on the disk.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    version: u8,
    expiry_seconds: u64,
    /// Whose it is; layout 1 knew none at first.
    #[serde(default)]
    user: Option<String>,
    subscriptions: Vec<(TopicFilter, SubscriptionOptions)>,
}

/// The layout of [`Remembered`] in this version.
const LAYOUT: u8 = 1;

/// Fills the hub with what the disk remembers.
///
/// # Errors
/// As [`Store::retained`].
pub(super) async fn restore(hub: &Hub, auth: &Auth, store: &Store) -> Result<(), StoreError> {
    let mut lost = 0_usize;
    for message in store.retained().await? {
        lost += usize::from(!hub.restore_retained(message));
    }
    if lost > 0 {
        tracing::error!(lost, "retained messages on the disk exceed the broker's limits");
    }
    for (client, state) in store.sessions().await? {
        match serde_json::from_slice::<Remembered>(&state) {
            Ok(known) if known.version == LAYOUT => {
                let expiry = Duration::from_secs(known.expiry_seconds);
                let rights = known.user.as_deref().map(|user| auth.rights(user, &client));
                let whose = (known.user.map(Arc::from), rights.and_then(|rights| rights.readable()));
                hub.restore(&ClientId::new(&client), whose, expiry, known.subscriptions);
            }
            _ => {
                tracing::warn!(client, "a session on the disk cannot be read; the client will subscribe anew")
            }
        }
    }
    Ok(())
}

/// Writes until `stop`, and then what is left.
pub(super) async fn run(hub: Arc<Hub>, store: Store, stop: CancellationToken) {
    let mut is_failing = false;
    loop {
        // Cancel safety: `notified` keeps its permit, and what changed stays on the agenda.
        tokio::select! {
            () = hub.agenda.bell.notified() => {}
            () = stop.cancelled() => {}
        }
        while let Some(changes) = hub.agenda.take() {
            match write(&hub, &store, &changes).await {
                Ok(()) => is_failing = false,
                Err(error) => {
                    if !is_failing {
                        tracing::error!(%error, "retained messages and sessions do not reach the disk");
                    }
                    is_failing = true;
                    if stop.is_cancelled() {
                        return;
                    }
                    hub.agenda.give_back(changes);
                    // The disk is in trouble: do not turn in circles.
                    stop.run_until_cancelled(tokio::time::sleep(Duration::from_secs(1))).await;
                }
            }
        }
        if stop.is_cancelled() {
            return;
        }
    }
}

async fn write(hub: &Hub, store: &Store, changes: &Changes) -> Result<(), StoreError> {
    let mut last = None;
    for topic in &changes.topics {
        last = Some(match hub.retained(topic) {
            Some(message) => store.put_retained(message).await?,
            None => store.delete_retained(topic.clone()).await?,
        });
    }
    for client in &changes.clients {
        last = Some(match state_of(hub, client) {
            Some(state) => store.put_session(client.as_str(), state).await?,
            None => store.delete_session(client.as_str()).await?,
        });
    }
    // Writes are committed in order.
    match last {
        Some(durable) => durable.await,
        None => Ok(()),
    }
}

/// What is remembered of a client; `None`: nothing, its session ends with its connection.
fn state_of(hub: &Hub, client: &ClientId) -> Option<Vec<u8>> {
    let session = hub.session(client)?;
    let state = session.lock();
    if state.expiry.is_zero() {
        return None;
    }
    let subscriptions = state.subscriptions.iter().map(|(filter, options)| (filter.clone(), *options));
    let remembered = Remembered {
        version: LAYOUT,
        expiry_seconds: state.expiry.as_secs(),
        user: state.user.as_deref().map(str::to_owned),
        subscriptions: subscriptions.collect(),
    };
    drop(state);
    serde_json::to_vec(&remembered).ok()
}
