//! What the tests of this room share: a house whose broker listens nowhere.

use std::sync::Arc;

use tempfile::TempDir;

use super::uplink::NoCloud;
use crate::{
    broker::{Broker, BrokerHandle, BrokerOptions},
    clock::Clock,
    health::Board,
    store::{Store, StoreOptions},
};

/// A broker, its board, and the store below both, which goes with it.
pub(super) struct Home {
    pub(super) broker: BrokerHandle,
    pub(super) board: Board,
    pub(super) store: Store,
    _directory: TempDir,
}

impl Home {
    pub(super) async fn new(options: &StoreOptions, clock: Clock) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store.db"), options, clock.clone()).unwrap();
        let board = Board::new("g", clock);
        let broker = Broker::bind(BrokerOptions::default(), Arc::new(NoCloud), store.clone(), board.clone());
        Self { broker: broker.await.unwrap().handle(), board, store, _directory: directory }
    }
}
