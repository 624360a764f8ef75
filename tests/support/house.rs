//! The real program in a directory of its own: started, looked at, killed.

use std::{
    ffi::OsStr,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use hearthlink::{
    clock::Clock,
    store::{Store, StoreError, StoreOptions},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
    time::timeout,
};

#[path = "port.rs"]
mod port;
use port::Port;

/// How long anything may take before the test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A port that nobody has at this moment.
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// A directory with a configuration `home.yaml`, a port for the broker and one for the page.
pub struct House {
    directory: tempfile::TempDir,
    pub port: u16,
    pub page: u16,
    _reservations: [Port; 2],
}

impl House {
    /// `more` is the configuration but for the gateway, the listener and the page.
    pub fn new(more: &str) -> Self {
        let (broker, web) = (Port::reserve(), Port::reserve());
        let house = Self {
            directory: tempfile::tempdir().unwrap(),
            port: broker.address().port(),
            page: web.address().port(),
            _reservations: [broker, web],
        };
        house.configure(more);
        house
    }

    /// Writes the configuration anew.
    pub fn configure(&self, more: &str) {
        let Self { directory, port, page, .. } = self;
        let text = format!(
            "gateway: {{ id: home, data_dir: data }}\n\
             broker: {{ listeners: [ {{ address: \"127.0.0.1:{port}\" }} ] }}\n\
             web: {{ address: \"127.0.0.1:{page}\" }}\n{more}"
        );
        std::fs::write(directory.path().join("home.yaml"), text).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The store's file.
    pub fn store_file(&self) -> PathBuf {
        self.path().join("data/hearthlink.db")
    }

    /// Starts the program; killed, not stopped, when dropped. Returns when it listens.
    pub async fn start(&self) -> Child {
        self.start_with::<&OsStr>([]).await
    }

    /// The same, with more in its environment.
    pub async fn start_with<V: AsRef<OsStr>>(
        &self,
        environment: impl IntoIterator<Item = (&'static str, V)>,
    ) -> Child {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hearthlink"))
            .args(["run", "--config"])
            .arg(self.path().join("home.yaml"))
            .current_dir(self.path())
            .envs(environment)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let listening = async {
            // The broker listens before the whole house runs; the page comes last.
            while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.is_err()
                || self.status().await.is_none()
            {
                assert_eq!(child.try_wait().unwrap(), None, "the gateway ended");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, listening).await.expect("the gateway listens");
        child
    }

    /// `/api/status`, if the page answers.
    pub async fn status(&self) -> Option<serde_json::Value> {
        let mut page = TcpStream::connect((Ipv4Addr::LOCALHOST, self.page)).await.ok()?;
        let request =
            format!("GET /api/status HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n", self.page);
        page.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        page.read_to_string(&mut answer).await.ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }

    /// Waits until the status is so, and gives it.
    pub async fn status_when(
        &self,
        what: &str,
        holds: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        let mut last = None;
        let wait = async {
            loop {
                if let Some(status) = self.status().await {
                    if holds(&status) {
                        return status;
                    }
                    last = Some(status);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let outcome = timeout(PATIENCE, wait).await;
        outcome.unwrap_or_else(|_| panic!("the status is never that {what}: {last:#?}"))
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

/// `kill -9`, and it is gone.
pub async fn kill(mut program: Child) {
    program.kill().await.unwrap();
}
