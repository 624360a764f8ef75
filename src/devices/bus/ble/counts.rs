//! What is counted on a Bluetooth adapter since the start, for people who ask why it is so quiet.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counted by the bus and by its peripherals at the same time.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Parts of advertisements that came from anyone.
    pub(super) advertisements: AtomicU64,
    /// Parts of advertisements that their device did not take in time.
    pub(super) not_taken: AtomicU64,
    /// Connections to peripherals.
    pub(super) connections: AtomicU64,
    /// The first rung: the scan was restarted.
    pub(super) scans_restarted: AtomicU64,
    /// The second: the adapter was switched off and on.
    pub(super) power_cycles: AtomicU64,
    /// The third: people were told.
    pub(super) silences_reported: AtomicU64,
    /// The adapter or its daemon went away.
    pub(super) adapter_lost: AtomicU64,
}

impl Counts {
    /// Each by its name.
    pub(super) fn list(&self) -> Vec<(&'static str, u64)> {
        [
            ("advertisements", &self.advertisements),
            ("not_taken", &self.not_taken),
            ("connections", &self.connections),
            ("scans_restarted", &self.scans_restarted),
            ("power_cycles", &self.power_cycles),
            ("silences_reported", &self.silences_reported),
            ("adapter_lost", &self.adapter_lost),
        ]
        .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
        .to_vec()
    }
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
