//! The wall clock, with the knowledge of whether it can be believed.
//!
//! A Raspberry Pi has no clock at boot. Whoever compares wall-clock times asks [`Clock::is_trusted`]
//! first. Deadlines never use this clock: they are `tokio::time::Instant`s, which tests can pause.
//!
//! Where systemd-timesyncd keeps the time, as on Raspberry Pi OS, its mark is the judge: a Pi starts
//! with the time of its last shutdown, which looks right and is not. Elsewhere the year must do.
//! Rejected: asking the kernel (adjtimex), which needs `unsafe` or another crate.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use crate::model::Timestamp;

/// Before this moment the clock is surely wrong: 2025-01-01T00:00:00Z, before the first release.
const NEVER_BEFORE: Timestamp = Timestamp::from_millis(1_735_689_600_000);

/// systemd-timesyncd makes this directory when it starts, and `synchronized` in it when it knows the
/// time (systemd-timesyncd.service(8), FILES).
const TIMESYNC: &str = "/run/systemd/timesync";

#[derive(Debug)]
enum Source {
    System { timesync: PathBuf, was_trusted: AtomicBool },
    Manual { millis: AtomicI64, trusted: AtomicBool },
}

/// A source of wall-clock time; cheap to clone.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Source>);

impl Clock {
    /// The machine's clock. It is trusted once systemd-timesyncd has set it or, where that does not
    /// run, from 2025 on; and from then on.
    pub fn system() -> Self {
        Self::judged_by(Path::new(TIMESYNC))
    }

    fn judged_by(timesync: &Path) -> Self {
        let was_trusted = AtomicBool::new(false);
        Self(Arc::new(Source::System { timesync: timesync.to_owned(), was_trusted }))
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
            Source::System { .. } => {
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
            Source::System { timesync, was_trusted } => {
                if was_trusted.load(Ordering::Relaxed) {
                    return true;
                }
                let is_kept_but_not_set = timesync.exists() && !timesync.join("synchronized").exists();
                let is_trusted = self.now() >= NEVER_BEFORE && !is_kept_but_not_set;
                was_trusted.store(is_trusted, Ordering::Relaxed);
                is_trusted
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_timesyncd_has_not_set_yet_is_not_trusted_however_right_it_looks() {
        let run = tempfile::tempdir().unwrap();
        let timesync = run.path().join("timesync");
        assert!(Clock::judged_by(&timesync).is_trusted(), "nobody keeps it: the year must do");
        std::fs::create_dir(&timesync).unwrap();
        let clock = Clock::judged_by(&timesync);
        assert!(!clock.is_trusted());
        std::fs::write(timesync.join("synchronized"), "").unwrap();
        assert!(clock.is_trusted());
        std::fs::remove_dir_all(&timesync).unwrap();
        std::fs::create_dir(&timesync).unwrap();
        assert!(clock.is_trusted(), "a restart of timesyncd does not unset the clock");
    }
}
