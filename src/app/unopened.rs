//! The store that could not be opened at the start, and the wait until it can be.
//!
//! The home runs meanwhile, on a store that keeps nothing. Once the real one is open, it is given what the broker has
//! acknowledged, which merges its retained messages and sessions with those of before; when it has all of that, the
//! gateway ends in order and is built anew. Rejected: to put it in place of the other one under everybody who has it:
//! interrupted commands and last states are read at the start, too, and each of these would have to be merged
//! with what the house has said meanwhile.

use std::{path::PathBuf, time::Duration};

use crate::{
    broker::BrokerHandle,
    clock::Clock,
    model::KeyEvent,
    retry::{Backoff, Policy},
    store::{Store, StoreError, StoreOptions},
};

/// How long it is waited between two looks. A look at a damaged file may read all of it.
const LOOKS: Policy = Policy::of_attempts(Duration::from_secs(2), Duration::from_secs(30));
/// How long after a store could not be brought up to date. Each try may write as much as the file is large.
const UPGRADES: Duration = Duration::from_secs(3600);

/// What is needed to open it.
pub(super) struct Unopened {
    path: PathBuf,
    options: StoreOptions,
    clock: Clock,
    /// How often it was looked for already. Also before the last start: a disk that is sick and well by turns does
    /// not end the home every two seconds.
    pub(super) looks: Backoff,
    /// The last time it was its upgrade that failed.
    is_not_upgraded: bool,
}

impl Unopened {
    pub(super) fn new(path: PathBuf, options: StoreOptions, clock: Clock) -> Self {
        Self { path, options, clock, looks: Backoff::new(LOOKS), is_not_upgraded: false }
    }

    /// Opens it; a store that keeps nothing in its place, with what is to be waited for, where the disk is sick or the
    /// file is not for this version.
    pub(super) fn open(mut self) -> Result<(Store, Option<Self>), StoreError> {
        match Store::open(&self.path, &self.options, self.clock.clone()) {
            // Home works while the disk is in trouble, also after a restart, and whatever was installed.
            Err(
                error @ (StoreError::Disk(_)
                | StoreError::DamagedAgain { .. }
                | StoreError::FromTheFuture { .. }
                | StoreError::NotUpgraded { .. }),
            ) => {
                let event = KeyEvent::StoreFails;
                tracing::error!(message_id = event.id(), %error, "{}", event.says());
                self.is_not_upgraded = matches!(error, StoreError::NotUpgraded { .. });
                let store = Store::refusing(&self.path, &error, &self.options, self.clock.clone())?;
                Ok((store, Some(self)))
            }
            opened => Ok((opened?, None)),
        }
    }

    /// Returns the store when it is open and has what the broker could not write meanwhile.
    pub(super) async fn until_caught_up(&mut self, broker: &BrokerHandle) -> Store {
        loop {
            let wait = self.looks.after_failure(Duration::ZERO, 1.0);
            tokio::time::sleep(if self.is_not_upgraded { UPGRADES } else { wait }).await;
            let (path, options, clock) = (self.path.clone(), self.options.clone(), self.clock.clone());
            let look = tokio::task::spawn_blocking(move || Store::open(&path, &options, clock));
            let caught_up = match look.await {
                Ok(Ok(store)) => broker.keep_in(store.clone()).await.map(|()| store),
                Ok(Err(error)) => Err(error),
                Err(error) => {
                    tracing::error!(%error, "the look at the store ended badly");
                    continue;
                }
            };
            match caught_up {
                Ok(store) => return store,
                Err(error) => {
                    self.is_not_upgraded = matches!(error, StoreError::NotUpgraded { .. });
                    tracing::debug!(%error, "the store still cannot be opened");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use crate::{
        app::{Gateway, RunError},
        config,
    };

    #[tokio::test]
    async fn a_store_that_is_sick_again_after_a_restart_is_looked_for_as_seldom_as_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hearthlink.yaml");
        std::fs::write(&path, "gateway: {id: x, data_dir: data}\nbroker: {listeners: []}\n").unwrap();
        let config = config::load(&path).unwrap();
        let data = directory.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let set_aside = |number| data.join(format!("hearthlink.db.damaged-{number}"));
        let damage = || {
            std::fs::write(data.join("hearthlink.db"), [7; 8192]).unwrap();
            (0..5).for_each(|number| std::fs::write(set_aside(number), "").unwrap());
        };
        damage();
        let gateway = Gateway::build(&config).await.unwrap();
        (0..5).for_each(|number| std::fs::remove_file(set_aside(number)).unwrap());
        let Err(RunError::StoreIsBack(looks)) = gateway.run(CancellationToken::new(), || {}).await else {
            panic!("the store can be opened");
        };
        assert!(looks.failures() > 0);
        damage();
        let again = Gateway::build(&config).await.unwrap().looking_on(looks.clone());
        assert_eq!(again.parts.unopened.unwrap().looks.failures(), looks.failures());
    }
}
