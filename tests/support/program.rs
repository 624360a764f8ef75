//! The real binary as a child process: started, looked at, killed -9 at any moment and started again on the same files
//! and ports.
//!
//! The one place of the integration tests that starts it ([`super::house`] and the soak build on it). Invariants: one
//! that is dropped is killed, and gone when that returns, so that nothing is left running after a test; its log says
//! why it ended by itself.

use std::{
    ffi::OsStr,
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
    time::timeout,
};

#[path = "port.rs"]
mod port;
pub use port::Port;

/// A gateway that runs.
pub struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts it on this configuration; relative names in that begin where it lies, and its log is written beside it.
    /// Whether it comes up is for the caller to see.
    pub fn start<V: AsRef<OsStr>>(
        config: &Path,
        environment: impl IntoIterator<Item = (&'static str, V)>,
    ) -> Self {
        let log = config.with_file_name("gateway.log");
        let stderr = File::options().create(true).append(true).open(&log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_hearthlink"))
            .args(["run", "--config"])
            .arg(config)
            .env("HEARTHLINK_LOG", "warn")
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { child, log }
    }

    /// Its process id.
    #[allow(dead_code, reason = "the tests of a faulty disk ask for it")]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until it ends by itself.
    pub async fn wait(&mut self) -> ExitStatus {
        self.child.wait().await.unwrap()
    }

    /// Lets it run for so long; it must not end by itself.
    pub async fn run_for(&mut self, life: Duration) {
        if let Ok(status) = timeout(life, self.wait()).await {
            panic!("the gateway ended by itself, {status}:\n{}", self.last_words());
        }
    }

    /// It must not have ended by itself.
    #[allow(dead_code, reason = "the soak lets it run instead")]
    pub fn must_run(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("the gateway ended by itself, {status}:\n{}", self.last_words());
        }
    }

    /// SIGTERM, and an end in order.
    #[allow(dead_code, reason = "the soak only kills")]
    pub async fn stop(mut self) {
        let id = self.id().expect("it runs").to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
        let ended = timeout(Duration::from_secs(30), self.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("it does not stop:\n{}", self.last_words()));
        assert!(status.success(), "{status}:\n{}", self.last_words());
    }

    /// SIGKILL, and gone when this returns.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// The end of its log.
    pub fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Program {
    /// `kill_on_drop` leaves the waiting to a runtime that ends with the test: the directory would be deleted under
    /// a process that still writes, and a lock on its store could outlive the test.
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        while matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// What stands on a page of the gateway; `None`: it does not answer.
pub async fn page(address: SocketAddr, path: &str) -> Option<String> {
    let ask = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
    };
    timeout(Duration::from_secs(5), ask).await.ok()?
}

/// What people read where this stands in a page: without its characters' names.
#[allow(dead_code, reason = "for those who look at pages for people")]
pub fn unescaped(html: &str) -> String {
    let entities = [("&#34;", "\""), ("&#39;", "'"), ("&#60;", "<"), ("&#62;", ">"), ("&#38;", "&")];
    entities.iter().fold(html.to_owned(), |text, (entity, character)| text.replace(entity, character))
}

/// What the gateway says of itself; `None`: it does not answer.
pub async fn status(address: SocketAddr) -> Option<serde_json::Value> {
    serde_json::from_str(&page(address, "/api/status").await?).ok()
}
