//! Gathers a meter's pulses, so that a fast one does not cost a reading each. Pure; the times are handed in.
//!
//! Invariant: a pulse that the kernel dropped is counted by the gap in the numbering; its time is lost.

use std::time::Duration;

use tokio::time::Instant;

use super::Said;

pub(super) struct Counter {
    every: Duration,
    /// When it tells next.
    pub(super) next: Instant,
    /// Pulses that were not told yet.
    count: u64,
    /// The kernel's time of the last pulse, and of the last that was told of, in nanoseconds.
    last: Option<u64>,
    told: Option<u64>,
    heard: Option<Instant>,
}

impl Counter {
    /// One that tells every so often.
    pub(super) fn new(every: Duration, now: Instant) -> Self {
        Self { every, next: now, count: 0, last: None, told: None, heard: None }
    }

    /// The line was claimed anew: the kernel's times may have another zero, and pulses may be missing.
    pub(super) fn begin(&mut self) {
        (self.last, self.told) = (None, None);
    }

    /// Pulses came, the last of them `at` this time of the kernel.
    pub(super) fn add(&mut self, pulses: u64, at: u64, now: Instant) {
        self.count = self.count.saturating_add(pulses);
        (self.last, self.heard) = (Some(at), Some(now));
    }

    /// It is time: what is to be said.
    pub(super) fn tell(&mut self, now: Instant) -> Said {
        let seconds = |nanos: u64| Duration::from_nanos(nanos).as_secs_f64();
        let span = match (self.told, self.last) {
            (Some(told), Some(last)) if self.count > 0 => Some(seconds(last.saturating_sub(told))),
            _ => None,
        };
        let silence = self.heard.map(|heard| now.saturating_duration_since(heard).as_secs_f64());
        self.told = self.last;
        self.next = now + self.every;
        Said::Pulses { count: std::mem::take(&mut self.count), span, silence }
    }
}
