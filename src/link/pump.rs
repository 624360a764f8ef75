//! The store's end of the link: deletes what is settled, reads what comes next.
//!
//! One job at a time, so a read never sees what an earlier job deleted. What gathers meanwhile is
//! bounded: nothing is settled that was not read before, and nothing is read meanwhile. A sick disk
//! is no reason to drop the line: a failed read or deletion is tried again.

use std::{collections::VecDeque, future::Future, mem::discriminant, pin::Pin, time::Duration};

use super::window::Fetch;
use crate::{
    model::{Receipts, Stage},
    store::{Born, Record, Store, StoreError},
};

const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What the store has done.
#[derive(Debug)]
pub(super) enum Pumped {
    /// These records that the cloud acknowledged are gone from the disk.
    Settled(Vec<u64>),
    /// What was read.
    Read(Fetch, Vec<Record>),
}

/// What one job did.
struct Done {
    settled: Vec<u64>,
    left: Left,
    read: Option<(Fetch, Vec<Record>)>,
}

/// What is to be done again because the disk would not delete.
#[derive(Default)]
struct Left {
    acknowledged: Vec<u64>,
    /// The store has not heard that nothing is being sent, and it is still true.
    is_down: bool,
}

type Job = Pin<Box<dyn Future<Output = Result<Done, StoreError>> + Send>>;

/// The pump; jobs run only while [`Pump::next`] is awaited.
pub(super) struct Pump {
    store: Store,
    receipts: Receipts,
    acknowledged: Vec<u64>,
    refused: Vec<u64>,
    oversize: Vec<u64>,
    /// One for each part of the outbox at most.
    fetches: VecDeque<Fetch>,
    is_hurried: bool,
    /// The store is to hear that nothing is being sent.
    is_down: bool,
    job: Option<Job>,
    done: Vec<Pumped>,
}

impl Pump {
    pub(super) fn new(store: Store, receipts: Receipts) -> Self {
        Self {
            store,
            receipts,
            acknowledged: Vec::new(),
            refused: Vec::new(),
            oversize: Vec::new(),
            fetches: VecDeque::new(),
            is_hurried: false,
            // An earlier link may have ended with something in its hands.
            is_down: true,
            job: None,
            done: Vec::new(),
        }
    }

    /// The cloud has this one.
    pub(super) fn delete(&mut self, sequence: u64) {
        self.issue(Stage::Acknowledged, sequence);
        self.acknowledged.push(sequence);
    }

    /// The line waits for the deletions: those under way and those to come do not wait for the store's floor.
    pub(super) fn hurry(&mut self) {
        self.is_hurried = true;
        self.store.hurry();
    }

    /// The cloud will never take this one.
    pub(super) fn discard(&mut self, sequence: u64) {
        self.issue(Stage::Dropped, sequence);
        self.refused.push(sequence);
    }

    /// The cloud could not take this one, and was not asked.
    pub(super) fn discard_oversize(&mut self, sequence: u64) {
        self.issue(Stage::Dropped, sequence);
        self.oversize.push(sequence);
    }

    /// Reads after all deletions so far; replaces a read of the same part that has not begun.
    pub(super) fn fetch(&mut self, fetch: Fetch) {
        let part = |fetch: &Fetch| discriminant(&fetch.selection.part);
        self.fetches.retain(|other| part(other) != part(&fetch));
        self.fetches.push_back(fetch);
    }

    /// From now on the outbox is being sent from.
    pub(super) fn line_is_up(&self) {
        self.store.set_line_up(true);
    }

    /// Nothing is sent any more until the line is up again.
    pub(super) fn line_is_down(&mut self) {
        self.fetches.clear();
        self.is_down = true;
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

    /// What the store did next; waits for ever while there is nothing to do. Cancel-safe: the job is kept.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] only.
    pub(super) async fn next(&mut self) -> Result<Pumped, StoreError> {
        loop {
            if let Some(pumped) = self.done.pop() {
                return Ok(pumped);
            }
            if self.job.is_none() && !self.begin() {
                std::future::pending::<()>().await;
            }
            let left = self.work().await?;
            self.acknowledged.extend(left.acknowledged);
            self.is_down |= left.is_down;
        }
    }

    /// Makes the deletions that are left; one that a sick disk does not make means that the cloud is sent something
    /// again.
    ///
    /// # Errors
    /// [`StoreError::Stopped`].
    pub(super) async fn finish(&mut self) -> Result<(), StoreError> {
        self.fetches.clear();
        self.is_hurried = true;
        self.store.hurry();
        while self.job.is_some() || self.begin() {
            self.work().await?;
        }
        Ok(())
    }

    /// Goes on with the job to its end; what it could not delete.
    async fn work(&mut self) -> Result<Left, StoreError> {
        let Some(job) = &mut self.job else { return Ok(Left::default()) };
        let result = job.await;
        self.job = None;
        let Done { settled, left, read } = result?;
        // The last one is told first.
        self.done.extend(read.map(|(fetch, records)| Pumped::Read(fetch, records)));
        self.done.extend((!settled.is_empty()).then_some(Pumped::Settled(settled)));
        Ok(left)
    }

    fn begin(&mut self) -> bool {
        let has_deletions =
            !self.acknowledged.is_empty() || !self.refused.is_empty() || !self.oversize.is_empty();
        if !has_deletions && !self.is_down && self.fetches.is_empty() {
            return false;
        }
        let (acknowledged, refused) =
            (std::mem::take(&mut self.acknowledged), std::mem::take(&mut self.refused));
        let oversize = std::mem::take(&mut self.oversize);
        let is_hurried = std::mem::take(&mut self.is_hurried);
        let is_down = std::mem::take(&mut self.is_down);
        let deletions = Deletions { acknowledged, refused, oversize, is_hurried, is_down };
        self.job = Some(Box::pin(run(self.store.clone(), deletions, self.fetches.pop_front())));
        true
    }
}

struct Deletions {
    acknowledged: Vec<u64>,
    refused: Vec<u64>,
    oversize: Vec<u64>,
    is_hurried: bool,
    /// These are the last ones of a connection.
    is_down: bool,
}

async fn run(store: Store, deletions: Deletions, fetch: Option<Fetch>) -> Result<Done, StoreError> {
    let Deletions { acknowledged, refused, oversize, is_hurried, is_down } = deletions;
    let mut deleted = None;
    if !acknowledged.is_empty() {
        deleted = Some(store.acknowledge(acknowledged.clone()).await?);
    }
    if !refused.is_empty() {
        store.discard(refused).await?;
    }
    if !oversize.is_empty() {
        store.discard_oversize(oversize).await?;
    }
    if is_hurried || is_down {
        store.hurry();
    }
    let mut outcome = Ok(());
    if is_down {
        if let Some(deleted) = deleted.take() {
            outcome = deleted.await;
        }
        // Not when the disk did not delete: a policy could drop, and count, what the cloud has. Then more is
        // held than is being sent, until it has deleted, or else until the line goes down again.
        if outcome.is_ok() {
            store.take_back().await?;
        }
    }
    // What is read now is being sent: that must not be taken back.
    let is_down = is_down && fetch.is_none();
    // Queued behind the deletions, so that one commit does for both.
    let read = match fetch {
        None => None,
        Some(fetch) => Some((fetch, read(&store, fetch).await?)),
    };
    if let Some(deleted) = deleted {
        outcome = deleted.await;
    }
    match outcome {
        Ok(()) => Ok(Done { settled: acknowledged, left: Left::default(), read }),
        Err(StoreError::Stopped) => Err(StoreError::Stopped),
        // The store's fault is on the board and in the log.
        Err(_) => {
            tokio::time::sleep(AGAIN_AFTER).await;
            Ok(Done { settled: Vec::new(), left: Left { acknowledged, is_down }, read })
        }
    }
}

async fn read(store: &Store, fetch: Fetch) -> Result<Vec<Record>, StoreError> {
    loop {
        match store.select(fetch.selection).await {
            Ok(records) => return Ok(records),
            Err(StoreError::Stopped) => return Err(StoreError::Stopped),
            Err(error) => tracing::warn!(%error, "failed to read the outbox; it is tried again"),
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

#[cfg(test)]
mod tests;
