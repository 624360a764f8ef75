//! The store's end of the link: deletes what is settled, reads what comes next.
//!
//! One job at a time, so a read never sees what an earlier job deleted. What gathers meanwhile is
//! bounded: nothing is settled that was not read before, and nothing is read meanwhile. A sick disk
//! is no reason to drop the line: a failed read is tried again.

use std::{future::Future, pin::Pin, time::Duration};

use super::window::Fetch;
use crate::store::{Record, Store, StoreError};

const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);

type Job = Pin<Box<dyn Future<Output = Result<Option<(Fetch, Vec<Record>)>, StoreError>> + Send>>;

/// The pump; jobs run only while [`Pump::next`] is awaited.
pub(super) struct Pump {
    store: Store,
    acknowledged: Vec<u64>,
    refused: Vec<u64>,
    fetch: Option<Fetch>,
    job: Option<Job>,
}

impl Pump {
    pub(super) fn new(store: Store) -> Self {
        Self { store, acknowledged: Vec::new(), refused: Vec::new(), fetch: None, job: None }
    }

    /// The cloud has this one.
    pub(super) fn delete(&mut self, sequence: u64) {
        self.acknowledged.push(sequence);
    }

    /// The cloud will never take this one.
    pub(super) fn discard(&mut self, sequence: u64) {
        self.refused.push(sequence);
    }

    /// Reads after all deletions so far; replaces a read that has not begun.
    pub(super) fn fetch(&mut self, fetch: Fetch) {
        self.fetch = Some(fetch);
    }

    /// The next read's answer; waits for ever while there is nothing to do. Cancel-safe: the job is kept.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] only.
    pub(super) async fn next(&mut self) -> Result<(Fetch, Vec<Record>), StoreError> {
        loop {
            if self.job.is_none() && !self.begin() {
                std::future::pending::<()>().await;
            }
            if let Some(answer) = self.work().await? {
                return Ok(answer);
            }
        }
    }

    /// Makes the deletions that are left.
    ///
    /// # Errors
    /// [`StoreError::Stopped`].
    pub(super) async fn finish(&mut self) -> Result<(), StoreError> {
        self.fetch = None;
        while self.job.is_some() || self.begin() {
            self.work().await?;
        }
        Ok(())
    }

    async fn work(&mut self) -> Result<Option<(Fetch, Vec<Record>)>, StoreError> {
        let Some(job) = &mut self.job else { return Ok(None) };
        let result = job.await;
        self.job = None;
        result
    }

    fn begin(&mut self) -> bool {
        if self.acknowledged.is_empty() && self.refused.is_empty() && self.fetch.is_none() {
            return false;
        }
        let (acknowledged, refused) =
            (std::mem::take(&mut self.acknowledged), std::mem::take(&mut self.refused));
        self.job = Some(Box::pin(run(self.store.clone(), acknowledged, refused, self.fetch.take())));
        true
    }
}

async fn run(
    store: Store,
    acknowledged: Vec<u64>,
    refused: Vec<u64>,
    fetch: Option<Fetch>,
) -> Result<Option<(Fetch, Vec<Record>)>, StoreError> {
    if !acknowledged.is_empty() {
        store.acknowledge(acknowledged).await?;
    }
    if !refused.is_empty() {
        store.discard(refused).await?;
    }
    let Some(fetch) = fetch else { return Ok(None) };
    loop {
        match store.pending(fetch.after, fetch.count, fetch.bytes).await {
            Ok(records) => return Ok(Some((fetch, records))),
            Err(StoreError::Stopped) => return Err(StoreError::Stopped),
            Err(error) => tracing::warn!(%error, "failed to read the outbox; it is tried again"),
        }
        tokio::time::sleep(READ_AGAIN_AFTER).await;
    }
}
