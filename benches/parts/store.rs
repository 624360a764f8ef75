//! The outbox on the disk: appended, read and deleted in batches, each durable before the run is over.

use hearthlink::{
    clock::Clock,
    store::{Entry, Part as Which, Selection, Store, StoreOptions},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{
    packet::reading,
    part::{Part, Work},
};

pub const PARTS: &[Part] = &[
    Part::on_disk("store/append/1", 1, || Outbox::appending(1)),
    Part::on_disk("store/append/20", 20, || Outbox::appending(20)),
    Part::on_disk("store/append/200", 200, || Outbox::appending(200)),
    Part::on_disk("store/append/2000", 2_000, || Outbox::appending(2_000)),
    Part::on_disk("store/drain/1", 1, || Outbox::draining(1)),
    Part::on_disk("store/drain/20", 20, || Outbox::draining(20)),
    Part::on_disk("store/drain/200", 200, || Outbox::draining(200)),
    Part::on_disk("store/drain/2000", 2_000, || Outbox::draining(2_000)),
];

/// A runtime for parts that wait. It has no thread of its own.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// A new store on the disk that the build lies on: /tmp is memory on many machines.
pub fn open() -> (Store, TempDir) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let store = Store::open(&directory.path().join("store.db"), &StoreOptions::default(), Clock::system());
    (store.expect("a new store"), directory)
}

struct Outbox {
    runtime: Runtime,
    store: Store,
    _directory: TempDir,
    batch: usize,
    drains: bool,
}

impl Outbox {
    fn appending(batch: usize) -> Box<dyn Work> {
        Box::new(Self::new(batch, false))
    }

    fn draining(batch: usize) -> Box<dyn Work> {
        Box::new(Self::new(batch, true))
    }

    fn new(batch: usize, drains: bool) -> Self {
        let (store, _directory) = open();
        Self { runtime: runtime(), store, _directory, batch, drains }
    }

    fn append(&self) {
        let entries = vec![Entry::new(reading(false)); self.batch];
        let kept = self.runtime.block_on(async { self.store.append_all(entries).await?.await });
        assert_eq!(kept.expect("the disk takes it").len(), self.batch);
    }

    /// The oldest batch, as the link's pump reads and deletes it; how many there were.
    fn drain(&self) -> usize {
        let selection = Selection {
            after: 0,
            part: Which::Ordinary { backlog: u64::MAX },
            max_count: self.batch,
            max_bytes: usize::MAX,
        };
        let drained = self.runtime.block_on(async {
            let records = self.store.select(selection).await?;
            let count = records.len();
            let sequences = records.iter().map(|record| record.sequence).collect();
            self.store.acknowledge(sequences).await?.await?;
            Ok::<_, hearthlink::store::StoreError>(count)
        });
        drained.expect("the disk takes it")
    }
}

impl Work for Outbox {
    fn prepare(&mut self) {
        if self.drains {
            self.append();
        } else {
            while self.drain() > 0 {}
        }
    }

    fn run(&mut self) {
        if self.drains {
            assert_eq!(self.drain(), self.batch);
        } else {
            self.append();
        }
    }
}
