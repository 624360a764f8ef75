//! Several clients and a broker that loses its power now and then, against a model of what each client
//! may see and must see.
//!
//! Invariants that are checked: what comes was published, on its topic, and subscribed to, with at most
//! the lesser QoS; a packet id is not used twice at a time, and no more are on their way than the client
//! takes; messages of one publisher on one topic come in order; QoS 2 comes once; what a publisher was
//! acknowledged reaches every persistent session, over crashes too; a ping is answered; when all have
//! left nothing is held, in memory or on the disk.
#![no_main]

mod client;
mod model;
mod wire;

use std::sync::OnceLock;

use arbitrary::Arbitrary;
use hearthlink::{
    clock::Clock,
    store::{Store, StoreOptions},
};
use tokio::runtime::Builder;

/// What happens next. Small numbers are taken modulo what there is.
#[derive(Debug, Arbitrary)]
pub enum Step {
    Connect {
        client: u8,
        version: u8,
        clean: bool,
        persistent: bool,
        receive_maximum: u8,
        aliases: u8,
        will: bool,
    },
    Drop {
        client: u8,
    },
    Disconnect {
        client: u8,
    },
    Subscribe {
        client: u8,
        filter: u8,
        qos: u8,
        retain_handling: u8,
    },
    Unsubscribe {
        client: u8,
        filter: u8,
    },
    Publish {
        client: u8,
        topic: u8,
        qos: u8,
        retain: bool,
        empty: bool,
    },
    Acknowledge {
        client: u8,
        which: u8,
    },
    WildAcknowledge {
        client: u8,
        kind: u8,
        id: u8,
    },
    Ping {
        client: u8,
    },
    Raw {
        client: u8,
        bytes: [u8; 8],
    },
    Save {
        all: bool,
    },
    FailToSave,
    PullThePlug,
}

/// Never written to; one a process.
fn store() -> Store {
    static STORE: OnceLock<(tempfile::TempDir, Store)> = OnceLock::new();
    let (_, store) = STORE.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("store.db");
        let store = Store::open(&path, &StoreOptions::default(), Clock::system()).expect("a store");
        (directory, store)
    });
    store.clone()
}

libfuzzer_sys::fuzz_target!(|steps: Vec<Step>| {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let mut model = model::Model::new(store());
        for step in steps.into_iter().take(100) {
            model.step(step).await;
        }
        model.end().await;
    });
});
