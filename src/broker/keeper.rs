//! Writes to the store what the hub has marked: retained messages and persistent sessions.
//!
//! One task, so that the disk sees the values in the order in which the hub had them. What changes
//! again before it is written is written once (policy: latest only); what waits is bounded by the
//! number of retained messages and sessions. Publishers do not wait for it.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{connection::Shared, hub::Unsaved};
use crate::store::{Durable, Store, StoreError};

/// Runs until `stop`, then writes what is left.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut is_failing = false;
    loop {
        let is_last = stop.run_until_cancelled(shared.hub.unsaved.notified()).await.is_none();
        let result = write(&shared.store, shared.hub.take_unsaved()).await;
        match result {
            Err(error) if !is_failing => {
                tracing::error!(%error, "retained messages and sessions are not kept over a restart now");
                is_failing = true;
            }
            Err(_) => {}
            Ok(()) => is_failing = false,
        }
        if is_last {
            break;
        }
    }
}

async fn write(store: &Store, unsaved: Unsaved) -> Result<(), StoreError> {
    let mut last: Option<Durable<()>> = None;
    for (topic, message) in unsaved.retained {
        last = Some(match message {
            Some(message) => store.put_retained(message).await?,
            None => store.delete_retained(topic).await?,
        });
    }
    for (client, kept) in unsaved.sessions {
        // Filters, numbers and flags: writing them as JSON cannot fail.
        let state = kept.and_then(|kept| serde_json::to_vec(&kept).ok());
        last = Some(match state {
            Some(state) => store.put_session(client.as_str(), state).await?,
            None => store.delete_session(client.as_str()).await?,
        });
    }
    // The writer keeps the order: when the last is on the disk, all are.
    match last {
        Some(durable) => durable.await,
        None => Ok(()),
    }
}
