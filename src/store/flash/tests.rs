//! The count against what the files grow by, and the floor against a day's load.

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
