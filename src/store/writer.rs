//! The one thread that touches the file: takes what has gathered, commits it as one transaction,
//! and only then answers.
//!
//! Invariants: an answer `Ok` was fsynced first; reads see committed rows only; what waits for the
//! thread is bounded in bytes by [`Gate`]. Group commit instead of a commit a message: 3 KB instead
//! of 20 KB written to flash (DESIGN.md, SD cards).

use std::{
    fs::File,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::{
    Highest, StoreError, StoreStats, damage::Damage, flash::Flash, ledger::Ledger, notes::Notebook,
    pulse::Pulse, upgrade::Kept,
};
use crate::model::{Call, KeyEvent};

/// How often the age limits are looked at when nothing else happens.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// How often a disk that has failed is tried again when nothing else happens.
const PROBE_EVERY: Duration = Duration::from_secs(2);
/// What one transaction takes at most, in bytes as [`Gate`] counts them, or one job: the first in it does not wait for ever.
const LARGEST_BATCH: usize = 512 << 10;
/// What every job counts for beside its payload, in bytes.
const JOB_OVERHEAD: usize = 128;

type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
pub(super) type Write =
    Box<dyn FnOnce(&Transaction<'_>, &mut Ledger) -> (Result<(), StoreError>, Answer) + Send>;
pub(super) type Read = Box<dyn FnOnce(&Connection, &mut Ledger) + Send>;

pub(super) enum Job {
    Write(Write, OwnedSemaphorePermit),
    Read(Read, OwnedSemaphorePermit),
    /// What has gathered does not wait for the floor.
    Hurry,
    /// Whether the thread turns; costs the disk nothing.
    Call(Call),
}

/// Bounds what waits for the thread, in bytes. Full: callers wait, in order (back-pressure).
#[derive(Clone)]
pub(super) struct Gate {
    room: Arc<Semaphore>,
    whole: usize,
}

impl Gate {
    pub(super) fn new(bytes: usize) -> Self {
        Self { room: Arc::new(Semaphore::new(bytes)), whole: bytes }
    }

    /// Waits for room. A job larger than the whole gate takes all of it.
    pub(super) async fn pass(&self, bytes: usize) -> Result<OwnedSemaphorePermit, StoreError> {
        let wanted = (bytes + JOB_OVERHEAD).min(self.whole);
        let permits = u32::try_from(wanted).unwrap_or(u32::MAX);
        self.room.clone().acquire_many_owned(permits).await.map_err(|_| StoreError::Stopped)
    }
}

/// Whether there is a disk.
pub(super) enum Keeping {
    /// The file is ours while this is locked.
    OnDisk(#[expect(dead_code, reason = "its being dropped is what it does")] File),
    /// There is none; everything is refused with this.
    Nothing(StoreError),
}

/// What the thread owns.
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) jobs: mpsc::Receiver<Job>,
    pub(super) ledger: Ledger,
    pub(super) flash: Flash,
    pub(super) notes: Notebook,
    pub(super) stats: watch::Sender<StoreStats>,
    pub(super) appended: watch::Sender<Highest>,
    pub(super) pulse: Pulse,
    pub(super) damage: Damage,
    /// The copy from before the last upgrade.
    pub(super) kept: Option<Kept>,
    /// The last commit failed: whether the disk has healed is found out by trying. Damage does not heal.
    pub(super) has_failed: bool,
    /// The last field, so that the lock goes after the connection.
    pub(super) keeping: Keeping,
}

impl Writer {
    /// Runs until every handle is gone, then folds the log into the file.
    pub(super) fn run(mut self) {
        self.flash.begin();
        let mut last_commit: Option<Instant> = None;
        let mut last_look = Instant::now();
        let mut due = last_look + self.patience();
        loop {
            let mut writes = Vec::new();
            let mut reads = Vec::new();
            let mut is_open = true;
            match self.jobs.recv_timeout(due.saturating_duration_since(Instant::now())) {
                // Nothing has gathered that would have to hurry.
                Ok(Job::Hurry) => continue,
                // However often it is called, what is due stays so.
                Ok(Job::Call(call)) => {
                    call.answer();
                    continue;
                }
                Ok(job) => sort(job, &mut writes, &mut reads),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => is_open = false,
            }
            if !writes.is_empty() {
                let not_before = last_commit.map_or_else(Instant::now, |last| last + self.flash.floor());
                self.gather(&mut writes, &mut reads, not_before);
            }
            let is_write = !writes.is_empty();
            self.pulse.begin();
            self.commit(writes);
            // Who only read has cost no flash, and nobody need wait for it.
            if is_write {
                last_commit = Some(Instant::now());
            }
            for (read, _room) in reads {
                read(&self.connection, &mut self.ledger);
            }
            if self.damage.seen().is_some() && !self.ledger.has_fault() {
                // A read has shown it.
                self.commit(Vec::new());
            }
            // Behind those who wait, and where it is noticed when the disk hangs.
            if last_look.elapsed() >= SWEEP_EVERY {
                self.look_aside();
                last_look = Instant::now();
            }
            self.pulse.end();
            if !is_open {
                break;
            }
            due = Instant::now() + self.patience();
        }
        if let Err(error) = self.notes.write(&self.connection) {
            tracing::warn!(%error, "what was noted last is not there at the next start");
        }
        if let Err(error) = self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
            tracing::warn!(%error, "the store's log could not be folded into its file; the next start does it");
        }
    }

    /// How long it is waited for work.
    fn patience(&self) -> Duration {
        if self.has_failed { PROBE_EVERY } else { SWEEP_EVERY }
    }

    /// Takes what has gathered, and goes on gathering until the floor between commits is reached or somebody is in
    /// a hurry.
    fn gather(
        &self,
        writes: &mut Vec<(Write, OwnedSemaphorePermit)>,
        reads: &mut Vec<(Read, OwnedSemaphorePermit)>,
        mut not_before: Instant,
    ) {
        let mut taken: usize = writes.iter().map(|(_, room)| room.num_permits()).sum();
        while taken < LARGEST_BATCH {
            let left = not_before.saturating_duration_since(Instant::now());
            let next = if left.is_zero() {
                self.jobs.try_recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected)
            } else {
                self.jobs.recv_timeout(left)
            };
            match next {
                Ok(Job::Hurry) => not_before = Instant::now(),
                Ok(job) => {
                    if let Job::Write(_, room) = &job {
                        taken += room.num_permits();
                    }
                    sort(job, writes, reads);
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                // Nothing more has gathered, or every handle is gone and nobody will wait for the floor.
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// A person may have moved a damaged file away, and with it the report of it. The copy of the last upgrade has its time.
    fn look_aside(&mut self) {
        if self.ledger.has_set_aside() {
            self.ledger.set_set_aside(self.damage.set_aside());
        }
        if !self.ledger.has_fault() {
            self.kept = self.kept.take().and_then(|kept| kept.unless_over(self.ledger.timeline()));
        }
    }

    fn commit(&mut self, writes: Vec<(Write, OwnedSemaphorePermit)>) {
        let before = self.ledger.clone();
        let mut answers = Vec::with_capacity(writes.len());
        let result = self.transact(writes, &mut answers);
        if result.is_ok() {
            self.ledger.share_time();
        }
        self.ledger.recent().settle(result.is_ok());
        let had_failed = std::mem::replace(&mut self.has_failed, result.is_err());
        match &result {
            Err(error) => {
                self.ledger = before;
                if !had_failed {
                    let event = KeyEvent::StoreFails;
                    tracing::error!(message_id = event.id(), %error, "{}", event.says());
                }
            }
            Ok(()) if had_failed => {
                let event = KeyEvent::StoreWorks;
                tracing::warn!(message_id = event.id(), "{}", event.says());
            }
            Ok(()) => {}
        }
        self.damage.notice(&result);
        // A commit may go well beside damage; that a person is needed does not change by it.
        self.ledger.set_fault(result.as_ref().err().or(self.damage.seen()));
        self.appended.send_if_modified(|highest| {
            let changed = *highest != self.ledger.highest();
            *highest = self.ledger.highest();
            changed
        });
        self.notes.settle(result.is_ok());
        self.flash.count(self.ledger.timeline().now(), result.is_ok());
        let stats = StoreStats { written: self.flash.written(), ..self.ledger.stats() };
        self.stats.send_if_modified(|old| {
            let changed = *old != stats;
            *old = stats;
            changed
        });
        for (answer, _room) in answers {
            answer(result.clone());
        }
    }

    fn transact(
        &mut self,
        writes: Vec<(Write, OwnedSemaphorePermit)>,
        answers: &mut Vec<(Answer, OwnedSemaphorePermit)>,
    ) -> Result<(), StoreError> {
        let mut outcome = Ok(());
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
        for (write, room) in writes {
            let (result, answer) = write(&transaction, &mut self.ledger);
            answers.push((answer, room));
            // One failed statement on a sick disk may have rolled back the whole transaction.
            if let Err(error) = result
                && error.is_disk()
                && outcome.is_ok()
            {
                outcome = Err(error);
            }
        }
        outcome?;
        if let Keeping::Nothing(refusal) = &self.keeping {
            return Err(refusal.clone());
        }
        // After the writes: if this fails, each of them hears of it.
        self.ledger.keep_time(&transaction, !answers.is_empty())?;
        if !answers.is_empty() {
            self.flash.hold(&transaction, self.ledger.timeline().now())?;
            self.notes.hold(&transaction, self.ledger.timeline().now())?;
        }
        if self.has_failed {
            // Nobody may be writing any more: find out by ourselves whether the disk has healed.
            transaction.execute("INSERT OR REPLACE INTO meta VALUES ('disk probe', datetime())", [])?;
        }
        self.ledger.sweep(&transaction)?;
        transaction.commit()?;
        Ok(())
    }
}

fn sort(
    job: Job,
    writes: &mut Vec<(Write, OwnedSemaphorePermit)>,
    reads: &mut Vec<(Read, OwnedSemaphorePermit)>,
) {
    match job {
        Job::Write(write, room) => writes.push((write, room)),
        Job::Read(read, room) => reads.push((read, room)),
        Job::Hurry => {}
        Job::Call(call) => call.answer(),
    }
}
