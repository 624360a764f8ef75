//! Brings retained messages and persistent sessions to the disk.
//!
//! What is written is what the hub holds at that moment, so a topic that changes a thousand times
//! between two commits is written once, and a message that its subscriber acknowledges within
//! [`ROUND`] never. Invariants: the acknowledgement of a publisher waits for its retained message and
//! for the sessions that have not acknowledged it (`receipt`); when the disk fails or hangs, nobody
//! waits for it any longer than [`PATIENCE`]: the home goes on, and what is in memory is written when
//! the disk is well again. A disk that could not even be read at the start comes as a [`Successor`].

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    agenda::Changes,
    auth::Auth,
    core::Core,
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

/// A store that takes the place of one that keeps nothing.
pub(super) struct Successor {
    pub(super) store: Store,
    /// Told when it has all that the disk did not have, or that it cannot be read.
    pub(super) answer: oneshot::Sender<Result<(), StoreError>>,
}

/// Fills the hub with what the disk remembers. What the hub knows already is newer, and stays.
///
/// # Errors
/// As [`Store::retained`].
pub(super) async fn restore(hub: &Hub, auth: &Auth, store: &Store) -> Result<(), StoreError> {
    // All or nothing: whoever tries again must not add the same a second time.
    let retained = store.retained().await?;
    let mut sessions = Vec::new();
    for (name, state) in store.sessions().await? {
        let rows = store.awaiting(&name).await?;
        sessions.push((name, state, rows));
    }
    let mut lost = 0_usize;
    for message in retained {
        lost += usize::from(!hub.restore_retained(message));
    }
    if lost > 0 {
        tracing::error!(lost, "retained messages on the disk exceed the broker's limits");
    }
    for (name, state, rows) in sessions {
        let client = ClientId::new(&name);
        match Remembered::read(&state.bytes) {
            Some(known) => {
                let rights = known.user().map(|user| auth.rights(user, &name));
                let readable = rights.and_then(|rights| rights.readable());
                hub.restore(&client, (known, readable), rows, state.left);
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
pub(super) async fn run(core: Arc<Core>, mut successors: mpsc::Receiver<Successor>, stop: CancellationToken) {
    let (hub, agenda) = (&core.hub, &core.hub.agenda);
    let mut store = core.store.clone();
    let mut succeeded = None;
    loop {
        // Cancel safety: `notified` keeps its permit, `recv` its message, and what changed stays on the agenda.
        tokio::select! {
            () = agenda.bell.notified() => {}
            Some(successor) = successors.recv() => {
                match restore(hub, &core.auth, &successor.store).await {
                    Ok(()) => (store, succeeded) = (successor.store, Some(successor.answer)),
                    // Whoever has gone away does not want to hear.
                    Err(error) => drop(successor.answer.send(Err(error))),
                }
            }
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
            succeed(&mut succeeded);
            if is_last {
                return;
            }
            continue;
        }
        // To a successor too, everything: it is told that it has.
        let is_written = write(hub, &store, changes, is_last || succeeded.is_some()).await;
        if is_written {
            agenda.set_down(false);
            succeed(&mut succeeded);
        } else if is_last {
            return;
        } else {
            stop.run_until_cancelled(sleep(REST)).await;
        }
    }
}

fn succeed(succeeded: &mut Option<oneshot::Sender<Result<(), StoreError>>>) {
    if let Some(answer) = succeeded.take() {
        // Whoever has gone away does not want to hear.
        drop(answer.send(Ok(())));
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
