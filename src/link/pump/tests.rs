//! The pump against a real store.

use tempfile::TempDir;

use super::*;
use crate::{
    clock::Clock,
    model::{Message, QoS, Timestamp, Topic},
    store::{Entry, Part, Selection, StoreOptions},
};

async fn append(store: &Store) {
    let message = Message::new(Topic::parse("t").unwrap(), vec![b'x'; 99], QoS::AtLeastOnce);
    store.append(Entry::new(message)).await.unwrap().await.unwrap();
}

#[tokio::test]
async fn a_line_that_goes_down_has_what_was_acknowledged_deleted_before_the_rest_can_be_dropped() {
    let directory = TempDir::new().unwrap();
    let options = StoreOptions { max_bytes: 200, ..StoreOptions::default() };
    let clock = Clock::manual(Timestamp::from_millis(0));
    let store = Store::open(&directory.path().join("store.db"), &options, clock).unwrap();
    append(&store).await;
    append(&store).await;
    let mut pump = Pump::new(store.clone(), Receipts::default());
    let part = Part::Ordinary { backlog: 2 };
    let selection = Selection { after: 0, part, max_count: 10, max_bytes: 1 << 20 };
    pump.fetch(Fetch { connection: 1, selection, up_to: 2 });
    let Pumped::Read(_, records) = pump.next().await.unwrap() else { panic!("it was asked to read") };
    assert_eq!(records.len(), 2);

    append(&store).await;
    let stats = || store.stats().borrow().clone();
    assert_eq!((stats().waiting, stats().dropped_full), (3, 0), "both are in the link's hands");
    pump.delete(1);
    pump.line_is_down();
    assert!(matches!(pump.next().await.unwrap(), Pumped::Settled(settled) if settled == [1]));
    append(&store).await;
    let left = store.pending(0, 10, 1 << 20).await.unwrap();
    assert_eq!(left.iter().map(|record| record.sequence).collect::<Vec<_>>(), [3, 4]);
    assert_eq!((stats().acknowledged, stats().dropped_full), (1, 1));
}

/// A store with room for two messages, whose disk can be made to delete nothing.
struct Sick {
    store: Store,
    disk: rusqlite::Connection,
    _directory: TempDir,
}

impl Sick {
    /// With three messages, of which the first two are in the hands of `pump` and the first is to be deleted.
    async fn new() -> (Self, Pump) {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("store.db");
        let options = StoreOptions { max_bytes: 200, ..StoreOptions::default() };
        let store = Store::open(&path, &options, Clock::manual(Timestamp::from_millis(0))).unwrap();
        let sick = Self { store, disk: rusqlite::Connection::open(path).unwrap(), _directory: directory };
        append(&sick.store).await;
        append(&sick.store).await;
        let mut pump = Pump::new(sick.store.clone(), Receipts::default());
        assert_eq!(read(&mut pump, 1).await, [1, 2]);
        append(&sick.store).await;
        let refusal = "BEFORE DELETE ON outbox BEGIN SELECT raise(ABORT, 'sick'); END";
        sick.disk.execute_batch(&format!("CREATE TRIGGER sick {refusal}")).unwrap();
        pump.delete(1);
        pump.line_is_down();
        (sick, pump)
    }

    async fn has_failed(&self) {
        self.store.stats().wait_for(|stats| stats.fault.is_some()).await.unwrap();
    }

    fn heal(&self) {
        self.disk.execute_batch("DROP TRIGGER sick").unwrap();
    }

    /// What waits after one message more.
    async fn left(&self) -> Vec<u64> {
        append(&self.store).await;
        let left = self.store.pending(0, 10, 1 << 20).await.unwrap();
        left.iter().map(|record| record.sequence).collect()
    }
}

async fn read(pump: &mut Pump, connection: u64) -> Vec<u64> {
    let selection =
        Selection { after: 0, part: Part::Ordinary { backlog: 9 }, max_count: 10, max_bytes: 1 << 20 };
    pump.fetch(Fetch { connection, selection, up_to: 9 });
    let Pumped::Read(_, records) = pump.next().await.unwrap() else { panic!("it was asked to read") };
    records.iter().map(|record| record.sequence).collect()
}

#[tokio::test]
async fn what_a_sick_disk_did_not_delete_when_the_line_went_down_is_taken_back_when_it_has() {
    let (sick, mut pump) = Sick::new().await;
    let healed = async {
        sick.has_failed().await;
        sick.heal();
    };
    let (pumped, ()) = tokio::join!(pump.next(), healed);
    assert!(matches!(pumped.unwrap(), Pumped::Settled(settled) if settled == [1]));
    assert_eq!(sick.left().await, [3, 4], "the oldest goes, since nothing is being sent");
}

#[tokio::test]
async fn what_is_being_sent_again_is_not_taken_back_when_a_sick_disk_deletes_at_last() {
    let (sick, mut pump) = Sick::new().await;
    pump.line_is_up();
    assert_eq!(read(&mut pump, 2).await, [1, 2, 3]);
    sick.heal();
    assert!(matches!(pump.next().await.unwrap(), Pumped::Settled(settled) if settled == [1]));
    assert_eq!(sick.left().await, [2, 3, 4]);
}

#[tokio::test]
async fn a_pump_comes_to_its_end_on_a_sick_disk() {
    let (sick, mut pump) = Sick::new().await;
    pump.finish().await.unwrap();
    sick.heal();
    assert_eq!(sick.left().await.first(), Some(&1), "the cloud is sent it again");
}
