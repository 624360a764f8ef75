//! Brings retained messages and persistent sessions to the disk.
//!
//! What is written is what the hub holds at that moment, so a topic that changes a thousand times
//! between two commits is written once, and a message that its subscriber acknowledges within
//! [`ROUND`] never. Invariants: the acknowledgement of a publisher waits for its retained message and
//! for the sessions that have not acknowledged it (`receipt`); when the disk fails or hangs, nobody
//! waits for it any longer than [`PATIENCE`]: the home goes on, and what is in memory is written when
//! the disk is well again.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    agenda::Changes,
    auth::Auth,
    hub::Hub,
    receipt::Receipt,
    session::{Remembered, Work},
};
use crate::{
    model::{ClientId, Topic},
    store::{Store, StoreError},
};

/// How long a message may be on its way to a connected client before it is written.
const ROUND: Duration = Duration::from_millis(25);
/// How long publishers wait for the disk.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a failing disk is left alone.
const REST: Duration = Duration::from_secs(1);

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
    for (name, state) in store.sessions().await? {
        let client = ClientId::new(&name);
        match Remembered::read(&state.bytes) {
            Some(known) => {
                let rights = known.user().map(|user| auth.rights(user, &name));
                let readable = rights.and_then(|rights| rights.readable());
                hub.restore(&client, (known, readable), store.awaiting(&name).await?, state.left);
            }
            None => {
                tracing::warn!(
                    client = name,
                    "a session on the disk cannot be read; the client will subscribe anew"
                );
                hub.agenda.ended(client, None);
            }
        }
    }
    Ok(())
}

/// Writes until `stop`, and then what is left.
pub(super) async fn run(hub: Arc<Hub>, store: Store, stop: CancellationToken) {
    let agenda = &hub.agenda;
    loop {
        // Cancel safety: `notified` keeps its permit, and what changed stays on the agenda.
        tokio::select! {
            () = agenda.bell.notified() => {}
            () = stop.cancelled() => {}
        }
        tokio::select! {
            () = agenda.haste.notified() => {}
            () = sleep(ROUND) => {}
            () = stop.cancelled() => {}
        }
        let is_last = stop.is_cancelled();
        let changes = agenda.take();
        if changes.is_empty() {
            if is_last {
                return;
            }
            continue;
        }
        let is_written = write(&hub, &store, changes, is_last).await;
        if is_written {
            agenda.set_down(false);
        } else if is_last {
            return;
        } else {
            stop.run_until_cancelled(sleep(REST)).await;
        }
    }
}

/// Writes one round; whether the disk has it.
async fn write(hub: &Hub, store: &Store, changes: Changes, all: bool) -> bool {
    let Changes { topics, ended, sessions } = changes;
    let mut works: Vec<Work> = sessions.iter().filter_map(|session| session.collect(all)).collect();
    let (topics, mut receipts): (Vec<Topic>, Vec<Vec<Receipt>>) = topics.into_iter().unzip();
    let (ended, more): (Vec<ClientId>, Vec<Vec<Receipt>>) = ended.into_iter().unzip();
    receipts.extend(more);
    receipts.extend(works.iter_mut().map(Work::take_receipts));
    let result = {
        let mut writing = pin!(write_all(hub, store, (&topics, &ended, &works)));
        let mut is_slow = false;
        loop {
            if let Ok(result) = timeout(if is_slow { REST } else { PATIENCE }, writing.as_mut()).await {
                break result;
            }
            if !is_slow {
                tracing::error!("the disk hangs; retained messages and sessions are kept in memory only");
            }
            is_slow = true;
            hub.agenda.set_down(true);
            receipts.clear();
            works.iter().for_each(|work| work.session.let_go(work));
            hub.agenda.let_all_go();
        }
    };
    drop(receipts);
    match result {
        Ok(()) => {
            works.iter().for_each(|work| work.session.let_go(work));
            true
        }
        Err(error) => {
            if !hub.agenda.is_down() {
                tracing::error!(%error, "retained messages and sessions do not reach the disk");
            }
            hub.agenda.set_down(true);
            for work in works {
                work.session.clone().not_saved(work);
            }
            hub.agenda.give_back(topics, ended);
            hub.agenda.let_all_go();
            false
        }
    }
}

async fn write_all(
    hub: &Hub,
    store: &Store,
    (topics, ended, works): (&[Topic], &[ClientId], &[Work]),
) -> Result<(), StoreError> {
    let mut on_their_way = Vec::new();
    // First, so that a new session of the same client is not forgotten with the old one.
    for client in ended {
        on_their_way.push(store.delete_session(client.as_str()).await?);
    }
    for topic in topics {
        on_their_way.push(match hub.retained(topic) {
            Some(message) => store.put_retained(message).await?,
            None => store.delete_retained(topic.clone()).await?,
        });
    }
    for work in works {
        let client = work.session.client.as_str();
        on_their_way.push(if work.is_over {
            store.delete_session(client).await?
        } else {
            store.put_session(client, work.state.clone(), work.changes.clone()).await?
        });
    }
    for durable in on_their_way {
        durable.await?;
    }
    Ok(())
}
