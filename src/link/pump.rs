//! The store's end of the link: deletes what is settled, reads what comes next.
//!
//! One job at a time, so a read never sees what an earlier job deleted. What gathers meanwhile is
//! bounded: nothing is settled that was not read before, and nothing is read meanwhile. A sick disk
//! is no reason to drop the line: a failed read is tried again.

use std::{collections::VecDeque, future::Future, mem::discriminant, pin::Pin, time::Duration};

use super::window::Fetch;
use crate::{
    model::{Receipts, Stage},
    store::{Born, Record, Store, StoreError},
};

const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);

type Job = Pin<Box<dyn Future<Output = Result<Option<(Fetch, Vec<Record>)>, StoreError>> + Send>>;

/// The pump; jobs run only while [`Pump::next`] is awaited.
pub(super) struct Pump {
    store: Store,
    receipts: Receipts,
    acknowledged: Vec<u64>,
    refused: Vec<u64>,
    /// One for each part of the outbox at most.
    fetches: VecDeque<Fetch>,
    job: Option<Job>,
}

impl Pump {
    pub(super) fn new(store: Store, receipts: Receipts) -> Self {
        Self {
            store,
            receipts,
            acknowledged: Vec::new(),
            refused: Vec::new(),
            fetches: VecDeque::new(),
            job: None,
        }
    }

    /// The cloud has this one.
    pub(super) fn delete(&mut self, sequence: u64) {
        self.issue(Stage::Acknowledged, sequence);
        self.acknowledged.push(sequence);
    }

    /// The cloud will never take this one.
    pub(super) fn discard(&mut self, sequence: u64) {
        self.issue(Stage::Dropped, sequence);
        self.refused.push(sequence);
    }

    /// Reads after all deletions so far; replaces a read of the same part that has not begun. From now on the
    /// outbox is being sent from.
    pub(super) fn fetch(&mut self, fetch: Fetch) {
        self.store.set_line_up(true);
        let part = |fetch: &Fetch| discriminant(&fetch.selection.part);
        self.fetches.retain(|other| part(other) != part(&fetch));
        self.fetches.push_back(fetch);
    }

    /// Nothing is sent any more until the next read.
    pub(super) fn line_is_down(&mut self) {
        self.fetches.clear();
        self.store.set_line_up(false);
    }

    /// Issues the receipt of a record that is settled.
    fn issue(&self, stage: Stage, sequence: u64) {
        if self.receipts.follow_messages() {
            self.receipts.message(stage, &self.store.message_id(sequence), None);
        }
    }

    /// How long ago a record was accepted.
    pub(super) fn age(&self, born: Born) -> Duration {
        self.store.age(born)
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
        self.fetches.clear();
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
        if self.acknowledged.is_empty() && self.refused.is_empty() && self.fetches.is_empty() {
            return false;
        }
        let (acknowledged, refused) =
            (std::mem::take(&mut self.acknowledged), std::mem::take(&mut self.refused));
        self.job = Some(Box::pin(run(self.store.clone(), acknowledged, refused, self.fetches.pop_front())));
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
        match store.select(fetch.selection).await {
            Ok(records) => return Ok(Some((fetch, records))),
            Err(StoreError::Stopped) => return Err(StoreError::Stopped),
            Err(error) => tracing::warn!(%error, "failed to read the outbox; it is tried again"),
        }
        tokio::time::sleep(READ_AGAIN_AFTER).await;
    }
}
