//! The wall clock, with the knowledge of whether it can be believed.
//!
//! A Raspberry Pi has no clock at boot. Whoever compares wall-clock times asks [`Clock::is_trusted`]
//! first. Deadlines never use this clock: they are `tokio::time::Instant`s, which tests can pause. How old
//! something is on the disk, [`Clock::uptime`] tells, which does not jump when the wall clock is set.
//!
//! Where systemd-timesyncd keeps the time, as on Raspberry Pi OS, its mark is the judge: a Pi starts
//! with the time of its last shutdown, which looks right and is not. Elsewhere the year must do.
//! Rejected: asking the kernel (adjtimex), which needs `unsafe` or another crate.
//!
//! The hour on the wall ([`Clock::wall_time`]) is the machine's local time, as `date` shows it. It is
//! derived from the moment and never the other way round, so the hour that a change to winter time
//! repeats and the one that summer time leaves out need no decision.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use jiff::tz::TimeZone;

use crate::model::{TimeOfDay, Timestamp, WallTime, Weekday};

/// Before this moment the clock is surely wrong: 2025-01-01T00:00:00Z, before the first release.
const NEVER_BEFORE: Timestamp = Timestamp::from_millis(1_735_689_600_000);

/// systemd-timesyncd makes this directory when it starts, and `synchronized` in it when it knows the
/// time (systemd-timesyncd.service(8), FILES).
const TIMESYNC: &str = "/run/systemd/timesync";

/// Where the machine's time zone is told; without it, it is UTC (localtime(5)).
const LOCALTIME: &str = "/etc/localtime";

#[derive(Debug)]
enum Source {
    System { timesync: PathBuf, was_trusted: AtomicBool, made: Instant },
    Manual { millis: AtomicI64, trusted: AtomicBool, uptime: AtomicU64, zone: TimeZone },
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
        let timesync = timesync.to_owned();
        Self(Arc::new(Source::System { timesync, was_trusted, made: Instant::now() }))
    }

    /// A clock that stands still until it is set, for tests. Its time zone is UTC.
    pub fn manual(now: Timestamp) -> Self {
        Self::manual_with(now, TimeZone::UTC)
    }

    /// As [`Clock::manual`], in the time zone of a POSIX rule such as `CET-1CEST,M3.5.0,M10.5.0/3`; `None`
    /// when it is no such rule.
    pub fn manual_in(now: Timestamp, rule: &str) -> Option<Self> {
        Some(Self::manual_with(now, TimeZone::posix(rule).ok()?))
    }

    fn manual_with(now: Timestamp, zone: TimeZone) -> Self {
        Self(Arc::new(Source::Manual {
            millis: AtomicI64::new(now.as_millis()),
            trusted: AtomicBool::new(true),
            uptime: AtomicU64::new(0),
            zone,
        }))
    }

    /// Sets a manual clock, as somebody sets the time: nothing becomes older by it. The machine's clock stays
    /// as it is.
    pub fn set(&self, now: Timestamp) {
        if let Source::Manual { millis, .. } = &*self.0 {
            millis.store(now.as_millis(), Ordering::Relaxed);
        }
    }

    /// Lets time pass on a manual clock, in whole milliseconds.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual { millis, uptime, .. } = &*self.0 {
            let by = by.as_millis();
            millis.fetch_add(i64::try_from(by).unwrap_or(i64::MAX), Ordering::Relaxed);
            uptime.fetch_add(u64::try_from(by).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// How long ago this clock was made, by the monotonic clock: setting the time does not change it.
    pub fn uptime(&self) -> Duration {
        match &*self.0 {
            Source::System { made, .. } => made.elapsed(),
            Source::Manual { uptime, .. } => Duration::from_millis(uptime.load(Ordering::Relaxed)),
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

    /// The hour on the wall; `None` when it cannot be known, because the clock is not to be believed or the
    /// machine's time zone cannot be read.
    pub fn wall_time(&self) -> Option<WallTime> {
        if !self.is_trusted() {
            return None;
        }
        let zone = match &*self.0 {
            Source::Manual { zone, .. } => zone.clone(),
            // Kept for five minutes, so this reads no file for every command.
            Source::System { .. } => match TimeZone::try_system() {
                Ok(zone) => zone,
                Err(_) if std::env::var_os("TZ").is_none() && !Path::new(LOCALTIME).exists() => TimeZone::UTC,
                Err(error) => {
                    tracing::debug!(%error, "the machine's time zone cannot be read");
                    return None;
                }
            },
        };
        wall_time(&zone, self.now())
    }

    /// Whether systemd-timesyncd has set the machine's clock; `None` where it does not keep the time, and nobody else can
    /// be asked. A manual clock is set when it is trusted.
    pub fn is_synchronised(&self) -> Option<bool> {
        match &*self.0 {
            Source::Manual { trusted, .. } => Some(trusted.load(Ordering::Relaxed)),
            Source::System { timesync, .. } => {
                timesync.exists().then(|| timesync.join("synchronized").exists())
            }
        }
    }

    /// Whether the time can be compared with another machine's.
    pub fn is_trusted(&self) -> bool {
        match &*self.0 {
            Source::Manual { trusted, .. } => trusted.load(Ordering::Relaxed),
            Source::System { timesync, was_trusted, .. } => {
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

fn wall_time(zone: &TimeZone, now: Timestamp) -> Option<WallTime> {
    let moment = jiff::Timestamp::from_millisecond(now.as_millis()).ok()?;
    let local = zone.to_datetime(moment);
    let day = usize::try_from(local.weekday().to_monday_zero_offset()).ok()?;
    let minutes = u16::try_from(i32::from(local.hour()) * 60 + i32::from(local.minute())).ok()?;
    Some(WallTime { day: *Weekday::ALL.get(day)?, time: TimeOfDay::from_minutes(minutes) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_makes_nothing_older() {
        let clock = Clock::manual(Timestamp::from_millis(0));
        clock.advance(Duration::from_secs(5));
        clock.set(NEVER_BEFORE);
        assert_eq!((clock.uptime(), clock.now()), (Duration::from_secs(5), NEVER_BEFORE));
        clock.set(Timestamp::from_millis(-1));
        assert_eq!(clock.uptime(), Duration::from_secs(5));
    }

    #[test]
    fn the_hour_on_the_wall_follows_summer_time_and_is_not_told_by_a_clock_that_is_wrong() {
        let moment = |text: &str| Timestamp::parse_rfc3339(text).unwrap();
        let clock = Clock::manual_in(moment("2026-03-29T00:59:59Z"), "CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        for (utc, day, wall) in [
            // Spring: from 02:00 to 03:00 at once.
            ("2026-03-29T00:59:59Z", Weekday::Sun, "01:59"),
            ("2026-03-29T01:00:00Z", Weekday::Sun, "03:00"),
            // Autumn: from 02:00 to 03:00 twice.
            ("2026-10-25T00:30:00Z", Weekday::Sun, "02:30"),
            ("2026-10-25T01:30:00Z", Weekday::Sun, "02:30"),
            ("2026-10-25T02:00:00Z", Weekday::Sun, "03:00"),
            // Another day than in Greenwich.
            ("2026-12-31T23:30:00Z", Weekday::Fri, "00:30"),
        ] {
            clock.set(moment(utc));
            let expected = WallTime { day, time: TimeOfDay::parse(wall).unwrap() };
            assert_eq!(clock.wall_time(), Some(expected), "{utc}");
        }
        clock.set_trusted(false);
        assert_eq!(clock.wall_time(), None);
        assert!(Clock::manual_in(moment("2026-03-29T00:59:59Z"), "Moon/Base").is_none());
    }

    /// By another program's word, which reads the same files in its own way.
    #[test]
    fn the_hour_on_the_wall_of_this_machine_is_what_date_shows() {
        let date = || {
            let output = std::process::Command::new("date").arg("+%u %H:%M").output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        // Again, when a minute ended in between.
        for _ in 0..3 {
            let before = date();
            let wall = Clock::judged_by(Path::new("/nowhere")).wall_time().unwrap();
            if before == date() {
                assert_eq!(format!("{} {}", wall.day as u8 + 1, wall.time), before);
                return;
            }
        }
        panic!("three minutes ended");
    }

    #[test]
    fn a_clock_that_timesyncd_has_not_set_yet_is_not_trusted_however_right_it_looks() {
        let run = tempfile::tempdir().unwrap();
        let timesync = run.path().join("timesync");
        assert!(Clock::judged_by(&timesync).is_trusted(), "nobody keeps it: the year must do");
        assert_eq!(Clock::judged_by(&timesync).is_synchronised(), None, "and nobody can be asked");
        std::fs::create_dir(&timesync).unwrap();
        let clock = Clock::judged_by(&timesync);
        assert!(!clock.is_trusted());
        assert_eq!(clock.is_synchronised(), Some(false));
        std::fs::write(timesync.join("synchronized"), "").unwrap();
        assert!(clock.is_trusted());
        assert_eq!(clock.is_synchronised(), Some(true));
        std::fs::remove_dir_all(&timesync).unwrap();
        std::fs::create_dir(&timesync).unwrap();
        assert!(clock.is_trusted(), "a restart of timesyncd does not unset the clock");
    }
}
