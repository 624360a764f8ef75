//! Damaged files are found, set aside under names of their own, and not without end.

use std::{io::Write, os::unix::fs::FileExt, time::Duration};

use tempfile::TempDir;

use super::*;
use crate::{
    model::{CommandId, DeviceId, Message, QoS, Topic},
    store::{Begun, Entry, SessionState, Store},
};

fn clock() -> Clock {
    Clock::manual(Timestamp::parse_rfc3339("2026-11-27T09:15:00.5Z").unwrap())
}

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("store.db")
    }

    fn try_open(&self) -> Result<Store, StoreError> {
        // The thread of an earlier handle lets go of its lock a moment after the handle is gone.
        for _ in 0..500 {
            match Store::open(&self.file(), &StoreOptions::default(), clock()) {
                Err(StoreError::InUse(_)) => std::thread::sleep(Duration::from_millis(10)),
                other => return other,
            }
        }
        panic!("the store stayed locked");
    }

    /// Lets the file go, and waits until its thread has, too.
    fn close(&self, store: Store) {
        drop(store);
        let lock = std::fs::File::open(beside(&self.file(), ".lock")).unwrap();
        while lock.try_lock().is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn open(&self) -> Store {
        self.try_open().unwrap()
    }

    /// More than SQLite holds in memory.
    async fn fill(&self) -> Store {
        let store = self.open();
        for number in 0..6000 {
            let message = Message::new(topic(), format!("{number:01000}"), QoS::AtLeastOnce);
            let _later = store.append(Entry::new(message)).await.unwrap();
        }
        let last = Message::new(topic(), "last", QoS::AtLeastOnce);
        store.append(Entry::new(last)).await.unwrap().await.unwrap();
        self.close(store);
        self.open()
    }

    /// Writes nonsense over all but the first pages.
    fn scribble(&self) {
        let file = OpenOptions::new().write(true).open(self.file()).unwrap();
        let length = file.metadata().unwrap().len();
        assert!(length > 4 << 20, "{length}");
        file.write_all_at(&vec![0xA5; usize::try_from(length).unwrap() - 65_536], 65_536).unwrap();
    }

    fn names(&self) -> Vec<String> {
        set_aside_before(&self.file())
    }
}

fn topic() -> Topic {
    Topic::parse("t").unwrap()
}

#[tokio::test]
async fn damage_that_shows_while_it_runs_stays_reported_and_the_next_start_sets_the_file_aside() {
    let place = Place::new();
    let store = place.fill().await;
    place.scribble();
    let result = store.pending(0, 100, usize::MAX).await;
    assert!(matches!(result, Err(StoreError::Damaged(_))), "{result:?}");
    let mut stats = store.stats();
    let is_told =
        stats.wait_for(|stats| stats.fault.as_deref().is_some_and(|fault| fault.contains("damaged")));
    tokio::time::timeout(Duration::from_secs(20), is_told).await.expect("it is told").unwrap();
    // What does not touch a damaged page still goes well, and changes nothing about that.
    let (id, device) = (CommandId::parse("1").unwrap(), DeviceId::parse("d").unwrap());
    assert_eq!(store.begin(&id, &device, clock().now()).await.unwrap(), Begun::Fresh);
    assert!(store.stats().borrow().fault.is_some());
    assert!(beside(&place.file(), SUSPECT).exists());
    let look = Connection::open(place.file()).unwrap();
    let probes: u64 =
        look.query_row("SELECT count(*) FROM meta WHERE name = 'disk probe'", [], |row| row.get(0)).unwrap();
    assert_eq!(probes, 0, "a disk that takes what is written is not tried out");
    drop(look);
    drop(store);

    let store = place.open();
    assert_eq!(store.stats().borrow().fault, None);
    assert_eq!(store.stats().borrow().set_aside, ["store.db.damaged-2026-11-27T09-15-00Z"]);
    assert!(!beside(&place.file(), SUSPECT).exists());
}

#[tokio::test]
async fn a_suspected_file_that_is_sound_is_kept() {
    let place = Place::new();
    place.close(place.fill().await);
    mark(&place.file()).unwrap();
    let store = place.open();
    assert_eq!(store.stats().borrow().waiting, 6001);
    assert!(place.names().is_empty() && !beside(&place.file(), SUSPECT).exists());
}

#[tokio::test]
async fn no_damaged_file_takes_anothers_name_and_beyond_a_number_nothing_is_set_aside_any_more() {
    let place = Place::new();
    // The clock stands still, so that all have the same date.
    for number in 1..=MOST_SET_ASIDE {
        std::fs::write(place.file(), format!("garbage {number}")).unwrap();
        let store = place.open();
        assert_eq!(store.stats().borrow().set_aside.len(), number);
        place.close(store);
    }
    let names = place.names();
    for (number, name) in (1..).zip(&names) {
        let text = std::fs::read_to_string(place.file().with_file_name(name)).unwrap();
        assert_eq!(text, format!("garbage {number}"));
    }
    place.close(place.open());
    std::fs::write(place.file(), "once more").unwrap();
    let refused = place.try_open().map(drop);
    assert!(matches!(refused, Err(StoreError::DamagedAgain { count: MOST_SET_ASIDE, .. })), "{refused:?}");
    assert_eq!(std::fs::read_to_string(place.file()).unwrap(), "once more", "it is left where it was");
    std::fs::remove_file(place.file().with_file_name(&names[0])).unwrap();
    place.open();
}

#[tokio::test]
async fn a_start_that_was_cut_off_while_it_set_a_file_aside_goes_on() {
    let place = Place::new();
    place.close(place.fill().await);
    // Cut off after the log, before the file.
    mark(&place.file()).unwrap();
    let mut other = std::fs::File::create(beside(&new_name(&place.file(), clock().now()), LOG)).unwrap();
    other.write_all(b"its log").unwrap();
    place.scribble();
    let store = place.open();
    assert_eq!(store.stats().borrow().set_aside, ["store.db.damaged-2026-11-27T09-15-00Z-2"]);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_hides_no_other() {
    let place = Place::new();
    let store = place.open();
    let device = DeviceId::parse("d").unwrap();
    for name in ["a", "b"] {
        let message = Message::new(Topic::parse(name).unwrap(), "x", QoS::AtMostOnce).retained();
        store.put_retained(message).await.unwrap().await.unwrap();
        let id = CommandId::parse(name).unwrap();
        store.begin(&id, &device, clock().now()).await.unwrap();
        let session = SessionState { bytes: vec![1], left: None };
        store.put_session(name, Some(session), Vec::new()).await.unwrap().await.unwrap();
        let device = DeviceId::parse(name).unwrap();
        store.put_state(device, Default::default(), clock().now()).await.unwrap().await.unwrap();
    }
    place.close(store);
    let broken = "
        UPDATE retained SET properties = '{' WHERE topic = 'a';
        UPDATE journal SET id = CAST(x'C328' AS TEXT) WHERE id = 'a';
        UPDATE session SET client = CAST(x'C328' AS TEXT) WHERE client = 'a';
        UPDATE state SET fields = 'x' WHERE device = 'a';
    ";
    Connection::open(place.file()).unwrap().execute_batch(broken).unwrap();
    let store = place.open();
    assert_eq!(store.retained().await.unwrap().len(), 1);
    assert_eq!(store.interrupted().await.unwrap().len(), 1);
    assert_eq!(store.sessions().await.unwrap().len(), 1);
    assert_eq!(store.states().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_file_without_its_own_name_is_damaged() {
    let place = Place::new();
    place.close(place.open());
    let broken = "UPDATE meta SET value = CAST(x'C328' AS TEXT) WHERE name = 'store'";
    Connection::open(place.file()).unwrap().execute_batch(broken).unwrap();
    assert_eq!(place.open().stats().borrow().set_aside.len(), 1);
}

#[tokio::test]
async fn damage_beside_the_outbox_is_found_in_files_of_every_size() {
    let place = Place::new();
    let store = place.open();
    for number in 0..100 {
        let topic = Topic::parse(&format!("t/{number}")).unwrap();
        let message = Message::new(topic, "x".repeat(500), QoS::AtMostOnce).retained();
        let _later = store.put_retained(message).await.unwrap();
    }
    let message = Message::new(topic(), "last", QoS::AtLeastOnce);
    store.append(Entry::new(message)).await.unwrap().await.unwrap();
    place.close(store);
    let connection = Connection::open(place.file()).unwrap();
    look_beside_the_outbox(&connection).unwrap();
    let root = "SELECT rootpage FROM sqlite_master WHERE name = 'retained'";
    let page: u64 = connection.query_row(root, [], |row| row.get(0)).unwrap();
    drop(connection);
    let file = OpenOptions::new().write(true).open(place.file()).unwrap();
    file.write_all_at(&[0xA5; 4096], (page - 1) * 4096).unwrap();

    let connection = Connection::open(place.file()).unwrap();
    let found = look_beside_the_outbox(&connection);
    assert!(matches!(found, Err(StoreError::Damaged(_))), "{found:?}");
    drop(connection);
    assert_eq!(place.open().stats().borrow().set_aside.len(), 1);
}
