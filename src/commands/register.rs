//! The way of a command's id into the journal, and out of it again when the disk was too slow.
//!
//! What a disk that hung still writes after a command was given up is taken back, so that the id is as unknown as if
//! the disk had refused it. Invariant: while an id is on its way into the journal or back, no other command begins with
//! it: it would be taken for a repetition of one that runs, acknowledged, and taken back with it.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

use super::insistence::insist;
use crate::{
    clock::Clock,
    model::{CommandId, DeviceId},
    store::{Begun, Store, StoreError},
};

/// So many ids may be on their way back at once. Full: no command begins. Each time that a disk hangs adds those
/// that were just beginning.
const MOST_LEAVING: usize = 256;
/// How long a command waits for its id to be taken back: what a disk needs that is well again.
const PATIENCE: Duration = Duration::from_secs(1);

type Id = (CommandId, DeviceId);

/// The ids that are on their way, each once.
#[derive(Default)]
struct Ways {
    /// Into the journal.
    entering: Vec<Id>,
    /// Back, since their command was given up.
    leaving: Vec<Id>,
}

impl Ways {
    fn lets_in(&self, id: &Id) -> bool {
        self.leaving.len() < MOST_LEAVING && !self.leaving.contains(id)
    }
}

/// An id's place in [`Ways`].
struct Claim {
    ways: Arc<watch::Sender<Ways>>,
    id: Id,
}

impl Claim {
    fn leave(&self) {
        self.ways.send_modify(|ways| {
            ways.entering.retain(|id| *id != self.id);
            ways.leaving.push(self.id.clone());
        });
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.ways.send_modify(|ways| {
            ways.entering.retain(|id| *id != self.id);
            ways.leaving.retain(|id| *id != self.id);
        });
    }
}

/// A command that must not run: its id is not known, or will not be.
pub(super) struct NotBegun {
    pub(super) error: StoreError,
    /// What takes the id back, to be done aside; the id is not free before that has ended.
    pub(super) way_back: Option<BoxFuture<'static, ()>>,
}

impl From<StoreError> for NotBegun {
    fn from(error: StoreError) -> Self {
        Self { error, way_back: None }
    }
}

pub(super) struct Register {
    store: Store,
    clock: Clock,
    ways: Arc<watch::Sender<Ways>>,
}

impl Register {
    pub(super) fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock, ways: Arc::new(watch::Sender::new(Ways::default())) }
    }

    /// Those that the last stop or crash interrupted.
    ///
    /// # Errors
    /// [`StoreError`] when the journal cannot be read.
    pub(super) async fn interrupted(&self) -> Result<Vec<Id>, StoreError> {
        self.store.interrupted().await
    }

    /// Makes the command's id durable, unless the disk hangs. Several may do so at once; who names an id that is just
    /// beginning waits for that one's end.
    ///
    /// # Errors
    /// [`NotBegun`]: the command must not run.
    pub(super) async fn begin(
        &self,
        id: &CommandId,
        device: &DeviceId,
        stop: CancellationToken,
    ) -> Result<Begun, NotBegun> {
        if self.store.hangs() {
            return Err(StoreError::Hangs.into());
        }
        let claim = self.store.unless_it_hangs(self.claim((id.clone(), device.clone()))).await?;
        let (store, id, device) = (self.store.clone(), id.clone(), device.clone());
        let at = self.clock.now();
        let mut beginning = Box::pin({
            let (store, id, device) = (store.clone(), id.clone(), device.clone());
            async move { store.begin(&id, &device, at).await }
        });
        let known = async { Ok(beginning.as_mut().await) };
        let error = match self.store.unless_it_hangs(known).await {
            Ok(begun) => return Ok(begun?),
            Err(error) => error,
        };
        claim.leave();
        let way_back = async move {
            if let Ok(Begun::Fresh) = beginning.await
                && let Err(error) = insist(&store, || store.withdraw(&id, &device), &stop).await
            {
                tracing::error!(%id, %device, %error, "a command that was not to be kept stays in the journal");
            }
            drop(claim);
        };
        Err(NotBegun { error, way_back: Some(Box::pin(way_back)) })
    }

    /// Waits until no other command begins with this id, as long as that takes, and until none is on its way back with
    /// it, for a moment.
    async fn claim(&self, id: Id) -> Result<Claim, StoreError> {
        let mut ways = self.ways.subscribe();
        let gone = |_| StoreError::Stopped;
        loop {
            ways.wait_for(|ways| !ways.entering.contains(&id)).await.map_err(gone)?;
            timeout(PATIENCE, ways.wait_for(|ways| ways.lets_in(&id)))
                .await
                .map_err(|_| StoreError::Hangs)?
                .map_err(gone)?;
            let is_ours = self.ways.send_if_modified(|ways| {
                let is_free = ways.lets_in(&id) && !ways.entering.contains(&id);
                if is_free {
                    ways.entering.push(id.clone());
                }
                is_free
            });
            if is_ours {
                return Ok(Claim { ways: self.ways.clone(), id });
            }
        }
    }
}
