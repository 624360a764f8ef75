//! What the store writes to its flash, by day, and the budget for it.
//!
//! Owns the counter, its last seven days and the floor between commits that the budget asks for. The writer's
//! thread has it. Never writes by itself: the days go to the disk with what is written anyway, so that a crash
//! loses at most [`RECORD_AFTER`] or [`RECORD_EVERY`] of the count. What opening and closing the file take is
//! not counted.
//!
//! The kernel counts: `/proc/thread-self/io` has what this thread made dirty, in pages, as it goes to the disk: the
//! log, the file at a checkpoint and the log's index. It is nothing on a `tmpfs`, which is true. Rejected: sums over
//! SQLite's log (frames of 4,120 bytes, each of which touches two pages; the index and how many pages a checkpoint
//! writes stay unknown, so that it tells half to two thirds), `/proc/self/io` (counts log files and other rooms,
//! too), a VFS of our own (`unsafe`). What the file system's journal and the card's own housekeeping add, no
//! program can see; docs/flash.md says what was measured.
//!
//! Days are those of the store's own time (`timeline`): no setting of the clock makes one come twice.

use std::{fs::File, os::unix::fs::FileExt, time::Duration};

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::Serialize;

use super::{StoreError, timeline::Moment};

/// How many days are remembered, today included.
const DAYS: usize = 7;
const DAY: i64 = 86_400_000;
/// How often the days are written down, in milliseconds, and after how many bytes at the latest.
const RECORD_EVERY: i64 = 600_000;
const RECORD_AFTER: u64 = 1 << 20;
const NAME: &str = "written";
/// The longest floor: with more, the broker would take the disk for one that hangs (`config` has the same bound).
const LONGEST_FLOOR: Duration = Duration::from_secs(3);
/// How far today's use may be ahead of the day before the floor rises, and where it is at its longest. In seconds.
const FREE: f64 = 1_800.0;
const FULL: f64 = 3_600.0;

/// What was written, and what is done about it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Written {
    /// Bytes by day, today first, seven days at most. Empty: the kernel does not count.
    pub days: Vec<u64>,
    /// What may be written a day.
    pub budget: Option<u64>,
    /// The least time between two commits now.
    pub floor: Duration,
}

/// The counter, its days and the floor.
pub(super) struct Flash {
    meter: Option<Meter>,
    is_counted: bool,
    days: Days,
    /// Not on the disk yet.
    unrecorded: u64,
    recorded: Option<Moment>,
    least_floor: Duration,
    floor: Duration,
    budget: Option<u64>,
    is_raised: bool,
    is_exceeded: bool,
}

impl Flash {
    pub(super) fn load(
        connection: &Connection,
        least_floor: Duration,
        budget: Option<u64>,
        now: Moment,
    ) -> Result<Self, StoreError> {
        let text: Option<String> = connection
            .query_row("SELECT value FROM meta WHERE name = ?1", [NAME], |row| row.get(0))
            .optional()?;
        let mut days = text.as_deref().and_then(Days::read).unwrap_or_else(|| Days::new(now));
        days.roll(now);
        Ok(Self {
            meter: None,
            is_counted: Meter::of_this_thread().is_some(),
            days,
            unrecorded: 0,
            recorded: None,
            least_floor,
            floor: least_floor,
            budget,
            is_raised: false,
            is_exceeded: false,
        })
    }

    /// Counts what the calling thread writes from now on.
    pub(super) fn begin(&mut self) {
        self.meter = Meter::of_this_thread();
        self.is_counted = self.meter.is_some();
        if !self.is_counted && self.budget.is_some() {
            tracing::warn!(
                "this kernel does not count what a thread writes (CONFIG_TASK_IO_ACCOUNTING), so \
                 `store.flash_budget` cannot be kept; set `store.commit_floor`"
            );
        }
    }

    /// The least time between two commits.
    pub(super) fn floor(&self) -> Duration {
        self.floor
    }

    pub(super) fn written(&self) -> Written {
        let days = if self.is_counted { self.days.bytes.to_vec() } else { Vec::new() };
        Written { days, budget: self.budget, floor: self.floor }
    }

    /// Writes the days down, from time to time, together with what is written anyway.
    pub(super) fn hold(&mut self, transaction: &Transaction<'_>, now: Moment) -> Result<(), StoreError> {
        let is_due = self.unrecorded >= RECORD_AFTER
            || self.recorded.is_none_or(|recorded| now - recorded >= RECORD_EVERY);
        if is_due && self.is_counted {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?
                .execute(params![NAME, self.days.text()])?;
            self.recorded = Some(now);
            self.unrecorded = 0;
        }
        Ok(())
    }

    /// After each commit: counts what it wrote, and sets the floor for the next.
    pub(super) fn count(&mut self, now: Moment, is_committed: bool) {
        if !is_committed {
            // What was written down may have been rolled back.
            self.recorded = None;
        }
        if let Some(meter) = &mut self.meter {
            let bytes = meter.take();
            self.unrecorded += bytes;
            self.spend(now, bytes);
        }
    }

    fn spend(&mut self, now: Moment, bytes: u64) {
        if self.days.roll(now) {
            self.is_exceeded = false;
        }
        self.days.bytes[0] += bytes;
        let Some(budget) = self.budget else { return };
        let (used, passed) = (self.days.bytes[0], now.rem_euclid(DAY));
        let ahead = ahead(budget, used, passed);
        self.floor = self.least_floor.max(floor(ahead));
        if self.floor > self.least_floor && !self.is_raised {
            self.is_raised = true;
            tracing::info!(used, budget, "the store commits less often, to keep to its flash budget");
        } else if ahead <= FREE / 2.0 && self.is_raised {
            // Well below where it rises, so that the log does not repeat itself.
            self.is_raised = false;
            tracing::info!(used, budget, "the store commits as often as usual again");
        }
        if used > budget && !self.is_exceeded {
            self.is_exceeded = true;
            tracing::warn!(used, budget, "the store has written more today than its flash budget");
        }
    }
}

/// By how many seconds today's use is ahead of a day that spends the budget evenly. Who has just spent all of it when
/// the day ends was an hour ahead: then the floor has been at its longest, and has not been enough.
fn ahead(budget: u64, used: u64, passed: i64) -> f64 {
    let even = DAY as f64 / 1_000.0 + FULL;
    used as f64 / budget.max(1) as f64 * even - passed as f64 / 1_000.0
}

/// In proportion and not by steps, so that it comes to rest where the budget is spent evenly. Stays within
/// [`LONGEST_FLOOR`], and in hundredths of a second, so that what is shown stands still.
fn floor(ahead: f64) -> Duration {
    let share = ((ahead - FREE) / (FULL - FREE)).clamp(0.0, 1.0);
    let hundredths = (share * LONGEST_FLOOR.as_secs_f64() * 100.0).floor();
    Duration::from_millis(hundredths as u64 * 10)
}

/// Bytes a day, today first.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Days {
    today: i64,
    bytes: [u64; DAYS],
}

impl Days {
    fn new(now: Moment) -> Self {
        Self { today: now.div_euclid(DAY), bytes: [0; DAYS] }
    }

    /// Goes on to the day of `now`; whether it is a new one.
    fn roll(&mut self, now: Moment) -> bool {
        let today = now.div_euclid(DAY);
        let passed = usize::try_from(today.saturating_sub(self.today)).unwrap_or(0).min(DAYS);
        self.bytes.rotate_right(passed);
        self.bytes[..passed].fill(0);
        self.today = self.today.max(today);
        passed > 0
    }

    fn text(&self) -> String {
        let bytes = self.bytes.map(|bytes| bytes.to_string()).join(" ");
        format!("{} {bytes}", self.today)
    }

    fn read(text: &str) -> Option<Self> {
        let (today, rest) = text.split_once(' ')?;
        let mut bytes = [0; DAYS];
        for (day, word) in bytes.iter_mut().zip(rest.split(' ')) {
            *day = word.parse().ok()?;
        }
        Some(Self { today: today.parse().ok()?, bytes })
    }
}

/// What one thread has written.
#[derive(Debug)]
struct Meter {
    file: File,
    last: u64,
}

impl Meter {
    fn of_this_thread() -> Option<Self> {
        let file = File::open("/proc/thread-self/io").ok()?;
        let last = write_bytes(&file)?;
        Some(Self { file, last })
    }

    /// Since the last time.
    fn take(&mut self) -> u64 {
        let Some(now) = write_bytes(&self.file) else { return 0 };
        let bytes = now.saturating_sub(self.last);
        self.last = now;
        bytes
    }
}

fn write_bytes(file: &File) -> Option<u64> {
    // Seven lines, each a word and a number.
    let mut buffer = [0; 512];
    let length = file.read_at(&mut buffer, 0).ok()?;
    let text = std::str::from_utf8(&buffer[..length]).ok()?;
    text.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok())
}

#[cfg(test)]
mod tests;
