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
mod tests {
    use std::{io::Write, path::Path, sync::Arc};

    use bytes::Bytes;

    use super::*;
    use crate::{
        clock::Clock,
        model::{CommandId, DeviceId, Message, Outcome, OutcomeStatus, QoS, Timestamp, Topic},
        store::{Entry, Store, StoreOptions},
    };

    const MIB: u64 = 1 << 20;
    const HOUR: i64 = 3_600_000;

    fn flash(least_floor: Duration, budget: Option<u64>) -> Flash {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)").unwrap();
        Flash::load(&connection, least_floor, budget, 0).unwrap()
    }

    /// A day's load: so many commits a second if nothing holds them back, each of `bytes` and a little for each
    /// message in it. Gives what was written, and the floor at the end of each hour.
    fn day(flash: &mut Flash, start: Moment, rate: f64, bytes: u64) -> (u64, Vec<Duration>) {
        let (mut now, mut floors) = (start as f64, Vec::new());
        while now < (start + DAY) as f64 {
            let apart = (1_000.0 / rate).max(flash.floor().as_secs_f64() * 1_000.0);
            let messages = (apart * rate / 1_000.0).round() as u64;
            flash.spend(now as i64, bytes + 300 * messages);
            now += apart;
            while floors.len() as f64 * HOUR as f64 + (start as f64) < now {
                floors.push(flash.floor());
            }
        }
        (flash.days.bytes[0], floors)
    }

    #[test]
    fn a_steady_load_spends_its_budget_evenly_and_not_a_byte_more() {
        let budget = 1_024 * MIB;
        for (rate, bytes) in [(1.0, 30_000), (5.0, 20_000), (20.0, 16_000)] {
            let mut flash = flash(Duration::ZERO, Some(budget));
            let (written, floors) = day(&mut flash, 0, rate, bytes);
            assert!(written <= budget, "{rate}/s: {written}");
            assert!(written > budget / 10 * 9, "{rate}/s: held back more than it must: {written}");
            // Once it has come to rest it stays: nobody's latency swings.
            let calm = &floors[3..24];
            let (least, most) = (calm.iter().min().unwrap(), calm.iter().max().unwrap());
            assert!(*most - *least <= Duration::from_millis(100), "{rate}/s: {calm:?}");
            assert!(!flash.is_exceeded && flash.is_raised);
        }
    }

    #[test]
    fn who_stays_within_the_budget_is_never_held_back() {
        let mut flash = flash(Duration::from_millis(50), Some(500 * MIB));
        // A commit of 20,000 bytes every 4 s is 424 MB a day.
        let (written, floors) = day(&mut flash, 0, 0.25, 20_000);
        assert!(written > 400 * MIB);
        assert!(floors.iter().all(|floor| *floor == Duration::from_millis(50)), "{floors:?}");
    }

    #[test]
    fn the_floor_never_goes_beyond_what_the_broker_bears_and_a_budget_too_small_is_said_to_be_exceeded() {
        let mut flash = flash(Duration::ZERO, Some(10 * MIB));
        let (written, floors) = day(&mut flash, 0, 20.0, 20_000);
        assert!(written > 10 * MIB && flash.is_exceeded);
        assert_eq!(floors.iter().max(), Some(&LONGEST_FLOOR));
        // The next day begins anew.
        flash.spend(DAY, 1);
        assert_eq!((flash.floor(), flash.is_exceeded), (Duration::ZERO, false));
    }

    #[test]
    fn a_burst_is_held_back_and_the_floor_comes_down_by_itself_afterwards() {
        let mut flash = flash(Duration::ZERO, Some(240 * MIB));
        flash.spend(6 * HOUR, 60 * MIB);
        assert_eq!(flash.floor(), Duration::ZERO);
        flash.spend(6 * HOUR, 12 * MIB);
        assert!(flash.floor() > Duration::from_secs(2) && flash.is_raised, "{:?}", flash.floor());
        // Nothing is written, and time passes.
        flash.spend(7 * HOUR, 0);
        assert_eq!((flash.floor(), flash.is_raised), (Duration::ZERO, true));
        flash.spend(8 * HOUR, 0);
        assert!(!flash.is_raised, "and the log says so");
    }

    #[test]
    fn a_configured_floor_stays_the_least_however_long_it_is() {
        let mut flash = flash(Duration::from_secs(600), Some(MIB));
        flash.spend(0, 100 * MIB);
        assert_eq!(flash.floor(), Duration::from_secs(600));
    }

    #[test]
    fn days_move_on_are_forgotten_after_a_week_and_read_back_as_written() {
        let mut days = Days::new(5 * DAY);
        days.bytes[0] = 1;
        assert!(!days.roll(6 * DAY - 1));
        assert!(days.roll(6 * DAY));
        days.bytes[0] = 2;
        assert!(days.roll(8 * DAY));
        assert_eq!(days.bytes, [0, 0, 2, 1, 0, 0, 0]);
        assert_eq!(Days::read(&days.text()), Some(days.clone()));
        assert!(!days.roll(0), "never back");
        assert_eq!(days.today, 8);
        days.roll(400 * DAY);
        assert_eq!(days.bytes, [0; DAYS]);
        assert_eq!(Days::read("today 1 2"), None);
    }

    fn entry() -> Entry {
        Entry::new(Message::new(Topic::parse("t").unwrap(), Bytes::from(vec![b'x'; 100]), QoS::AtLeastOnce))
    }

    async fn commits(store: &Store, count: usize) {
        for _ in 0..count {
            store.append(entry()).await.unwrap().await.unwrap();
        }
    }

    fn options() -> StoreOptions {
        StoreOptions { flash_budget: Some(4 << 30), ..StoreOptions::default() }
    }

    /// Whether the kernel counts what is written below `directory`; on a `tmpfs` it has nothing to count.
    fn is_counted_in(directory: &Path) -> bool {
        let Some(mut meter) = Meter::of_this_thread() else { return false };
        let mut file = File::create(directory.join("probe")).unwrap();
        file.write_all(&[1; 8_192]).unwrap();
        file.sync_all().unwrap();
        meter.take() >= 8_192
    }

    #[tokio::test]
    async fn what_is_counted_agrees_with_what_the_files_have_grown_by() {
        let directory = tempfile::tempdir().unwrap();
        if !is_counted_in(directory.path()) {
            return;
        }
        let path = directory.path().join("store.db");
        let clock = Clock::manual(Timestamp::from_millis(0));
        let store = Store::open(&path, &options(), clock).unwrap();
        commits(&store, 1).await;
        let log = || std::fs::metadata(directory.path().join("store.db-wal")).unwrap().len();
        let (before, counted) = (log(), store.stats().borrow().written.days[0]);
        commits(&store, 100).await;
        let grown = log() - before;
        let counted = store.stats().borrow().written.days[0] - counted;
        // 100 commits stay below the thousand pages at which SQLite folds its log into the file.
        assert!(grown > 100 * 4_096, "{grown}");
        // Frames of 4,120 bytes lie across pages, of which each is written as a whole.
        assert!((grown..=3 * grown).contains(&counted), "the log grew by {grown}, counted were {counted}");
    }

    #[tokio::test]
    async fn the_days_survive_a_restart_and_are_not_written_with_every_commit() {
        let directory = tempfile::tempdir().unwrap();
        if !is_counted_in(directory.path()) {
            return;
        }
        let path = directory.path().join("store.db");
        let clock = Clock::manual(Timestamp::from_millis(12 * HOUR));
        let store = Store::open(&path, &options(), clock.clone()).unwrap();
        commits(&store, 3).await;
        let look = Connection::open(&path).unwrap();
        let text = || -> String {
            look.query_row("SELECT value FROM meta WHERE name = 'written'", [], |row| row.get(0)).unwrap()
        };
        assert_eq!(text(), "0 0 0 0 0 0 0 0", "written with the first commit, before it is counted");
        clock.advance(Duration::from_secs(601));
        commits(&store, 1).await;
        let counted = Days::read(&text()).unwrap().bytes[0];
        assert!(counted > 0);
        drop(store);

        clock.advance(Duration::from_secs(13 * 3600));
        let clock = Clock::manual(clock.now());
        let mut store = Store::open(&path, &options(), clock.clone());
        while matches!(store, Err(StoreError::InUse(_))) {
            std::thread::sleep(Duration::from_millis(10));
            store = Store::open(&path, &options(), clock.clone());
        }
        let store = store.unwrap();
        commits(&store, 1).await;
        let days = store.stats().borrow().written.days.clone();
        assert!(days[0] > 0 && days[1] == counted, "{days:?}, yesterday {counted}");
    }

    #[tokio::test]
    async fn who_only_reads_makes_nobody_wait_for_the_floor() {
        let directory = tempfile::tempdir().unwrap();
        let options = StoreOptions { commit_floor: Duration::from_secs(60), ..StoreOptions::default() };
        let clock = Clock::manual(Timestamp::from_millis(0));
        let store = Store::open(&directory.path().join("store.db"), &options, clock).unwrap();
        assert!(store.pending(0, 1, 1).await.unwrap().is_empty());
        tokio::time::timeout(Duration::from_secs(20), commits(&store, 1)).await.unwrap();
    }

    #[tokio::test]
    async fn a_command_does_not_wait_for_the_floor_and_takes_along_what_does() {
        let directory = tempfile::tempdir().unwrap();
        let options = StoreOptions { commit_floor: Duration::from_secs(60), ..StoreOptions::default() };
        let clock = Clock::manual(Timestamp::from_millis(0));
        let store = Store::open(&directory.path().join("store.db"), &options, clock.clone()).unwrap();
        commits(&store, 1).await;
        let (id, device) = (CommandId::parse("c1").unwrap(), DeviceId::parse("toaster").unwrap());
        let (at, status) = (clock.now(), OutcomeStatus::Applied);
        let told = Outcome {
            id: id.clone(),
            device: device.clone(),
            status,
            reason: None,
            detail: None,
            at,
            duplicate: false,
        };
        let quickly = async {
            let waiting = store.append(entry()).await.unwrap();
            store.begin(&id, &device, at).await.unwrap();
            waiting.await.unwrap();
            store.finish(told, vec![entry()]).await.unwrap().await.unwrap();
        };
        tokio::time::timeout(Duration::from_secs(20), quickly).await.unwrap();
    }

    #[tokio::test]
    async fn who_writes_hears_of_it_when_the_stores_own_rows_cannot_be_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        let store = Store::open(&path, &options(), Clock::manual(Timestamp::from_millis(0))).unwrap();
        Connection::open(&path).unwrap().execute_batch("DROP TABLE meta").unwrap();
        let answer = store.append(entry()).await.unwrap().await;
        assert!(matches!(answer, Err(StoreError::Disk(_))), "{answer:?}");
    }

    #[tokio::test]
    async fn a_budget_that_is_spent_holds_commits_apart() {
        let directory = tempfile::tempdir().unwrap();
        if !is_counted_in(directory.path()) {
            return;
        }
        let clock = Clock::manual(Timestamp::from_millis(0));
        let options = StoreOptions { flash_budget: Some(MIB), ..StoreOptions::default() };
        let store = Arc::new(Store::open(&directory.path().join("store.db"), &options, clock).unwrap());
        let floor = || store.stats().borrow().written.floor;
        for _ in 0..1_000 {
            commits(&store, 1).await;
            if floor() >= Duration::from_millis(500) {
                break;
            }
        }
        let began = std::time::Instant::now();
        commits(&store, 1).await;
        assert!(began.elapsed() >= Duration::from_millis(300), "{:?} at {:?}", began.elapsed(), floor());
    }
}
