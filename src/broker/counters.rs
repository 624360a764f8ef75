//! What the broker counts since its start; each number is written without a lock.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The counters, shared by all connections.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Clients connected now.
    pub(super) clients: AtomicUsize,
    /// What waits in all sessions now, in bytes.
    pub(super) queued_bytes: AtomicUsize,
    /// What the subscriptions of all sessions take now, in bytes, by estimate.
    pub(super) subscription_bytes: AtomicUsize,
    /// Messages not delivered because a queue was full.
    pub(super) dropped: AtomicU64,
    /// Connections refused or closed in their handshake.
    pub(super) refused: AtomicU64,
    /// Sessions of absent clients that ended before their time, for want of room.
    pub(super) ended_early: AtomicU64,
    /// Messages delivered but not retained, for want of room.
    pub(super) not_retained: AtomicU64,
    /// Publishes to a topic that the client may not write, and subscriptions to what it may not read.
    pub(super) denied: AtomicU64,
}

impl Counters {
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(gauge: &AtomicUsize) -> usize {
        gauge.load(Ordering::Relaxed)
    }

    pub(super) fn subtract(gauge: &AtomicUsize, amount: usize) {
        gauge.fetch_sub(amount, Ordering::Relaxed);
    }

    pub(super) fn add(gauge: &AtomicUsize, amount: usize) {
        gauge.fetch_add(amount, Ordering::Relaxed);
    }
}
