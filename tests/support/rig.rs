//! A broker on ports of the kernel's choice, with a store in a directory of its own.

use std::{path::Path, sync::Arc, time::Duration};

use hearthlink::{
    broker::{
        Broker, BrokerHandle, BrokerOptions, Limits, ListenerKind, ListenerOptions, TlsFiles, Uplink, User,
    },
    clock::Clock,
    health::Board,
    model::{Message, Topic, TopicFilter},
    store::{Entry, Store, StoreOptions},
};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::raw::Raw;

/// What is published below `up/` goes to the cloud.
struct UpOnly;

impl Uplink for UpOnly {
    fn route(&self, message: &Message) -> Option<Entry> {
        let below = message.topic.as_str().strip_prefix("up/")?;
        let mut message = message.clone();
        message.topic = Topic::parse(&format!("cloud/{below}")).ok()?;
        Some(Entry::new(message))
    }
}

/// A running broker.
pub struct Rig {
    pub ports: Vec<(ListenerKind, bool, std::net::SocketAddr)>,
    pub handle: BrokerHandle,
    pub store: Store,
    pub board: Board,
    stop: CancellationToken,
    task: JoinHandle<()>,
    directory: Arc<TempDir>,
}

pub struct Plan {
    pub limits: Limits,
    pub users: Vec<User>,
    pub listeners: Vec<ListenerOptions>,
    pub store: StoreOptions,
    pub closed: Vec<Topic>,
}

pub fn listener(kind: ListenerKind, tls: Option<TlsFiles>, anonymous: bool) -> ListenerOptions {
    ListenerOptions {
        kind,
        address: ([127, 0, 0, 1], 0).into(),
        tls,
        anonymous,
        acl: None,
        origins: Vec::new(),
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            users: Vec::new(),
            listeners: vec![listener(ListenerKind::Tcp, None, true)],
            store: StoreOptions::default(),
            closed: Vec::new(),
        }
    }
}

impl Plan {
    pub async fn start(self) -> Rig {
        self.start_in(Arc::new(tempfile::tempdir().unwrap())).await
    }

    pub async fn start_in(self, directory: Arc<TempDir>) -> Rig {
        let clock = Clock::system();
        let store = open(directory.path(), self.store, clock.clone()).await;
        let board = Board::new("test", clock);
        let options = BrokerOptions {
            listeners: self.listeners,
            users: self.users,
            limits: self.limits,
            closed: self.closed.iter().map(TopicFilter::from).collect(),
        };
        let broker = Broker::bind(options, Arc::new(UpOnly), store.clone(), board.clone()).await.unwrap();
        let (ports, handle, stop) = (broker.addresses(), broker.handle(), CancellationToken::new());
        let token = stop.clone();
        let task = tokio::spawn(async move { broker.run(token).await });
        Rig { ports, handle, store, board, stop, task, directory }
    }
}

/// The last user of the file may only just be letting it go.
async fn open(directory: &Path, options: StoreOptions, clock: Clock) -> Store {
    let path = directory.join("store.db");
    for _ in 0..200 {
        match Store::open(&path, &options, clock.clone()) {
            Ok(store) => return store,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    Store::open(&path, &options, clock).unwrap()
}

impl Rig {
    pub async fn start() -> Self {
        Plan::default().start().await
    }

    pub fn port(&self) -> u16 {
        self.ports[0].2.port()
    }

    pub async fn raw(&self) -> Raw {
        Raw::to(self.port()).await
    }

    /// A 3.1.1 client with a clean session.
    pub async fn client(&self, id: &str) -> Raw {
        let mut raw = self.raw().await;
        raw.connect(id, true).await;
        raw
    }

    pub fn directory(&self) -> Arc<TempDir> {
        self.directory.clone()
    }

    /// Stops in order, and gives the directory for the next start.
    pub async fn stop(self) -> Arc<TempDir> {
        self.stop.cancel();
        self.task.await.unwrap();
        self.directory
    }
}
