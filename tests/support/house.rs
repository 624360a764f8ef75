//! The real program in a directory of its own, with a broker and a page on reserved ports.

use std::{
    ffi::OsStr,
    fmt::Debug,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use hearthlink::{
    clock::Clock,
    store::{Store, StoreError, StoreOptions},
};
use tokio::{net::TcpStream, time::timeout};

#[allow(dead_code, reason = "shared with the soak")]
#[path = "program.rs"]
pub mod program;

pub use program::Program;
use program::{Port, page, status};

/// How long anything may take before the test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A port that nobody has at this moment.
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

async fn until<T: Debug>(what: &str, ask: impl AsyncFn() -> Option<T>, holds: impl Fn(&T) -> bool) -> T {
    let mut last = None;
    let wait = async {
        loop {
            if let Some(said) = ask().await {
                if holds(&said) {
                    return said;
                }
                last = Some(said);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let outcome = timeout(PATIENCE, wait).await;
    outcome.unwrap_or_else(|_| panic!("it is never said that {what}: {last:#?}"))
}

/// A directory with a configuration `home.yaml`, a port for the broker and one for the page.
pub struct House {
    directory: tempfile::TempDir,
    pub port: u16,
    page: Port,
    _broker: Port,
}

impl House {
    /// `more` is the configuration but for the gateway, the listener and the page.
    pub fn new(more: &str) -> Self {
        let (broker, page) = (Port::reserve(), Port::reserve());
        let port = broker.address().port();
        let house = Self { directory: tempfile::tempdir().unwrap(), port, page, _broker: broker };
        house.configure(more);
        house
    }

    /// Writes the configuration anew.
    pub fn configure(&self, more: &str) {
        let (port, page) = (self.port, self.page.address());
        let text = format!(
            "gateway: {{ id: home, data_dir: data }}\n\
             broker: {{ listeners: [ {{ address: \"127.0.0.1:{port}\" }} ] }}\n\
             web: {{ address: \"{page}\" }}\n{more}"
        );
        std::fs::write(self.config(), text).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    fn config(&self) -> PathBuf {
        self.path().join("home.yaml")
    }

    /// The store's file.
    pub fn store_file(&self) -> PathBuf {
        self.path().join("data/hearthlink.db")
    }

    /// Starts the program; killed, not stopped, when dropped. Returns when it listens.
    pub async fn start(&self) -> Program {
        self.start_with::<&OsStr>([]).await
    }

    /// The same, with more in its environment.
    pub async fn start_with<V: AsRef<OsStr>>(
        &self,
        environment: impl IntoIterator<Item = (&'static str, V)>,
    ) -> Program {
        let mut program = Program::start(&self.config(), environment);
        let listening = async {
            // The broker listens before the whole house runs; the page comes last.
            while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.is_err()
                || self.status().await.is_none()
            {
                program.must_run();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, listening).await.expect("the gateway listens");
        program
    }

    /// `/api/status`, if the page answers.
    pub async fn status(&self) -> Option<serde_json::Value> {
        status(self.page.address()).await
    }

    /// Waits until the status is so, and gives it.
    pub async fn status_when(
        &self,
        what: &str,
        holds: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        until(what, async || self.status().await, holds).await
    }

    /// Waits until the page for people says so.
    pub async fn page_when(&self, what: &str, holds: impl Fn(&String) -> bool) {
        until(what, async || page(self.page.address(), "/").await, holds).await;
    }

    /// Waits until nobody has the store open.
    pub async fn until_free(&self) {
        let lock = std::fs::File::open(self.path().join("data/hearthlink.db.lock")).unwrap();
        while lock.try_lock().is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The store of a gateway that is gone; the kernel lets go of its lock a moment after the process.
    pub async fn open_store(&self) -> Store {
        loop {
            match Store::open(&self.store_file(), &StoreOptions::default(), Clock::system()) {
                Err(StoreError::InUse(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
                other => return other.unwrap(),
            }
        }
    }
}
