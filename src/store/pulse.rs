//! Whether the disk answers: since when the writer's thread has been waiting for it.
//!
//! A disk that hangs fails nothing, so no error tells of it, and the thread that would tell is the one
//! that hangs. Asked by looking again and again while the thread is at the disk, by those who wait and by the status board.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// From here on a disk hangs. Far above what a worn SD card takes for a commit.
const HANGS_AFTER: Duration = Duration::from_secs(2);
/// How often those who wait look.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The pulse; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Pulse {
    origin: Instant,
    /// Milliseconds from `origin` to the moment at which the thread turned to the disk, and one; zero: it waits
    /// for work.
    busy_since: Arc<AtomicU64>,
    /// Rung when the thread turns to the disk, for the one who watches.
    begun: Arc<Notify>,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self { origin: Instant::now(), busy_since: Arc::default(), begun: Arc::default() }
    }

    /// The thread turns to the disk.
    pub(super) fn begin(&self) {
        self.busy_since.store(self.now() + 1, Ordering::Relaxed);
        self.begun.notify_one();
    }

    /// The disk has answered.
    pub(super) fn end(&self) {
        self.busy_since.store(0, Ordering::Relaxed);
    }

    /// Whether the thread is at the disk.
    pub(super) fn is_at_disk(&self) -> bool {
        self.busy_since.load(Ordering::Relaxed) != 0
    }

    /// Whether the disk has not answered for [`HANGS_AFTER`].
    pub(super) fn is_missed(&self) -> bool {
        match self.busy_since.load(Ordering::Relaxed) {
            0 => false,
            since => u128::from(self.now().saturating_sub(since - 1)) >= HANGS_AFTER.as_millis(),
        }
    }

    /// Resolves when the disk hangs. Cancel safe.
    pub(super) async fn missed(&self) {
        while !self.is_missed() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Resolves when the thread is at the disk, or was since this was last asked. For one at a time. Cancel safe.
    pub(super) async fn at_disk(&self) {
        if !self.is_at_disk() {
            self.begun.notified().await;
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }
}
