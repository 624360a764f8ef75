//! The way of a command's id into the journal, and out of it again when the disk was too slow.
//!
//! What a disk that hung still writes after a command was given up is taken back, so that the id is as unknown as if
//! the disk had refused it. Invariant: while an id is on its way back, no command begins with it: it would be
//! taken for a repetition of one that runs, acknowledged, and taken back with it.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use super::insistence::insist;
use crate::{
    clock::Clock,
    model::{CommandId, DeviceId},
    store::{Begun, Store, StoreError},
};

/// So many ids may be on their way back at once. Full: no command begins. Each time that a disk hangs adds the few
/// that were just beginning.
const MOST_LEAVING: usize = 256;
/// How long a command waits for its id to be taken back: what a disk needs that is well again.
const PATIENCE: Duration = Duration::from_secs(1);

type Id = (CommandId, DeviceId);

pub(super) struct Register {
    store: Store,
    clock: Clock,
    /// Ids on their way back, one entry for each begin that was given up.
    leaving: Arc<watch::Sender<Vec<Id>>>,
}

impl Register {
    pub(super) fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock, leaving: Arc::new(watch::Sender::new(Vec::new())) }
    }

    /// Makes the command's id durable, unless the disk hangs. What follows from that is done in `tasks`.
    ///
    /// # Errors
    /// [`StoreError`]: the command must not run, and its id is not known, or will not be.
    pub(super) async fn begin(
        &self,
        id: &CommandId,
        device: &DeviceId,
        tasks: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> Result<Begun, StoreError> {
        if self.store.hangs() || !self.is_free(id, device).await {
            return Err(StoreError::Hangs);
        }
        let (store, id, device) = (self.store.clone(), id.clone(), device.clone());
        let at = self.clock.now();
        let mut beginning = Box::pin({
            let (store, id, device) = (store.clone(), id.clone(), device.clone());
            async move { store.begin(&id, &device, at).await }
        });
        let known = async { Ok(beginning.as_mut().await) };
        match self.store.unless_it_hangs(known).await {
            Ok(begun) => begun,
            Err(error) => {
                let entry = (id.clone(), device.clone());
                self.leaving.send_modify(|leaving| leaving.push(entry.clone()));
                let (leaving, stop) = (self.leaving.clone(), stop.clone());
                tasks.spawn(async move {
                    if let Ok(Begun::Fresh) = beginning.await
                        && let Err(error) = insist(&store, || store.withdraw(&id, &device), &stop).await
                    {
                        tracing::error!(%id, %device, %error, "a command that was not to be kept stays in the journal");
                    }
                    leaving.send_modify(|leaving| {
                        if let Some(at) = leaving.iter().position(|other| *other == entry) {
                            leaving.swap_remove(at);
                        }
                    });
                });
                Err(error)
            }
        }
    }

    /// Whether no command with this id is on its way back, or is so no longer in a moment.
    async fn is_free(&self, id: &CommandId, device: &DeviceId) -> bool {
        let mut leaving = self.leaving.subscribe();
        let is_free = |leaving: &Vec<Id>| {
            leaving.len() < MOST_LEAVING && !leaving.iter().any(|entry| (&entry.0, &entry.1) == (id, device))
        };
        timeout(PATIENCE, leaving.wait_for(is_free)).await.is_ok()
    }
}
