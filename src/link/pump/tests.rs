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
