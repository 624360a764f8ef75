//! The store that could not be opened at the start, and the wait until it can be.
//!
//! The home runs meanwhile, on a store that keeps nothing. Once the real one can be opened, the gateway ends in order and
//! is built anew. Rejected: to put the real store in place of the other one under everybody who has it: retained
//! messages, sessions, interrupted commands and last states are read at the start, and each of these would
//! have to be merged with what the house has said meanwhile.

use std::{path::PathBuf, time::Duration};

use crate::{
    clock::Clock,
    retry::{Backoff, Policy},
    store::{Store, StoreError, StoreOptions},
};

/// How long it is waited between two looks. A look at a damaged file may read all of it.
const LOOKS: Policy = Policy {
    first: Duration::from_secs(2),
    longest: Duration::from_secs(30),
    // Never: each look is over at once.
    stable_after: Duration::MAX,
};

/// What is needed to open it.
pub(super) struct Unopened {
    pub(super) path: PathBuf,
    pub(super) options: StoreOptions,
    pub(super) clock: Clock,
}

impl Unopened {
    /// Opens it; on a sick disk a store that keeps nothing in its place, with what is to be waited for.
    pub(super) fn open(self) -> Result<(Store, Option<Self>), StoreError> {
        match Store::open(&self.path, &self.options, self.clock.clone()) {
            // Home works while the disk is in trouble, also after a restart.
            Err(error @ (StoreError::Disk(_) | StoreError::DamagedAgain { .. })) => {
                tracing::error!(%error, "the store cannot be opened; home works, and nothing is kept");
                let store = Store::refusing(&self.path, &error, &self.options, self.clock.clone())?;
                Ok((store, Some(self)))
            }
            opened => Ok((opened?, None)),
        }
    }

    /// Returns when the store can be opened.
    pub(super) async fn until_it_can_be(&self) {
        let mut backoff = Backoff::new(LOOKS);
        loop {
            tokio::time::sleep(backoff.after_failure(Duration::ZERO, 1.0)).await;
            let Self { path, options, clock } = self;
            let (path, options, clock) = (path.clone(), options.clone(), clock.clone());
            let look = tokio::task::spawn_blocking(move || Store::probe(&path, &options, &clock));
            match look.await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => tracing::debug!(%error, "the store still cannot be opened"),
                Err(error) => tracing::error!(%error, "the look at the store ended badly"),
            }
        }
    }
}
