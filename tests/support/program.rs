//! The real binary as a child process: killed -9 at any moment and started again on the same files and ports.
//!
//! Invariants: a program that ends by itself is a failed test, and its log says why; one that is dropped is killed.

use std::{fs::File, net::SocketAddr, path::PathBuf, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
    time::timeout,
};

#[path = "port.rs"]
mod port;
pub use port::Port;

/// A gateway's files, and the process while it runs.
pub struct Program {
    config: PathBuf,
    log: PathBuf,
    child: Option<Child>,
}

impl Program {
    /// Writes the configuration into `directory`; relative names in it begin there.
    pub fn new(directory: &std::path::Path, config: &str) -> Self {
        let path = directory.join("hearthlink.yaml");
        std::fs::write(&path, config).unwrap();
        Self { config: path, log: directory.join("gateway.log"), child: None }
    }

    /// Starts it; whether it comes up is for the caller to see.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_hearthlink"))
            .args(["run", "--config"])
            .arg(&self.config)
            .env("HEARTHLINK_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    /// Lets it run for so long; it must not end by itself.
    pub async fn run_for(&mut self, life: Duration) {
        let child = self.child.as_mut().expect("it runs");
        if let Ok(status) = timeout(life, child.wait()).await {
            panic!("the gateway ended by itself, {}:\n{}", status.unwrap(), self.last_words());
        }
    }

    /// SIGKILL, and gone when this returns.
    pub async fn kill(&mut self) {
        self.child.take().expect("it runs").kill().await.unwrap();
    }

    /// The end of its log.
    pub fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

/// What a page of the gateway says; `None`: it does not answer.
pub async fn status(page: SocketAddr) -> Option<serde_json::Value> {
    let ask = async {
        let mut stream = TcpStream::connect(page).await.ok()?;
        let request = b"GET /api/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| serde_json::from_str(body).ok())?
    };
    timeout(Duration::from_secs(5), ask).await.ok()?
}
