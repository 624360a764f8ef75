//! The wall clock, with the knowledge of whether it can be believed.
//!
//! A Raspberry Pi has no clock at boot. Whoever compares wall-clock times asks [`Clock::is_trusted`]
//! first. Deadlines never use this clock: they are `tokio::time::Instant`s, which tests can pause.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use crate::model::Timestamp;

/// Before this moment the clock is surely wrong: 2025-01-01T00:00:00Z, before the first release.
const NEVER_BEFORE: Timestamp = Timestamp::from_millis(1_735_689_600_000);

#[derive(Debug)]
enum Source {
    System,
    Manual { millis: AtomicI64, trusted: AtomicBool },
}

/// A source of wall-clock time; cheap to clone.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Source>);

impl Clock {
    /// The machine's clock. It is trusted from 2025 on; a clock behind that was never set.
    pub fn system() -> Self {
        Self(Arc::new(Source::System))
    }

    /// A clock that stands still until it is set, for tests.
    pub fn manual(now: Timestamp) -> Self {
        Self(Arc::new(Source::Manual {
            millis: AtomicI64::new(now.as_millis()),
            trusted: AtomicBool::new(true),
        }))
    }

    /// Sets a manual clock; the machine's clock stays as it is.
    pub fn set(&self, now: Timestamp) {
        if let Source::Manual { millis, .. } = &*self.0 {
            millis.store(now.as_millis(), Ordering::Relaxed);
        }
    }

    /// Says whether a manual clock is to be believed.
    pub fn set_trusted(&self, is_trusted: bool) {
        if let Source::Manual { trusted, .. } = &*self.0 {
            trusted.store(is_trusted, Ordering::Relaxed);
        }
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        match &*self.0 {
            Source::Manual { millis, .. } => Timestamp::from_millis(millis.load(Ordering::Relaxed)),
            Source::System => {
                let millis = match SystemTime::now().duration_since(UNIX_EPOCH) {
                    Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
                    Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
                };
                Timestamp::from_millis(millis)
            }
        }
    }

    /// Whether the time can be compared with another machine's.
    pub fn is_trusted(&self) -> bool {
        match &*self.0 {
            Source::Manual { trusted, .. } => trusted.load(Ordering::Relaxed),
            Source::System => self.now() >= NEVER_BEFORE,
        }
    }
}
