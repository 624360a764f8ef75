//! The demonstration's cloud, on loopback: a broker that we did not write behind our own TLS front.
//!
//! Owns the broker's thread (`engine`), the front that demands a client certificate (`front`) and
//! the [`Line`] that a story or a test cuts. Never talks to the gateway but through the front; the
//! cloud's own programs (the phone) use the plain port inside, as they would in a data centre.
//! Invariants: everything listens on loopback, on ports that the kernel gave; connections are
//! bounded. Also the independent peer of the link's tests.

mod engine;
mod front;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use engine::Engine;
use front::Front;

use super::certificates::CertificateFiles;

/// Which MQTT the cloud speaks. One only: rumqttd 0.20 dies when a message with MQTT 5 properties is
/// to reach a 3.1.1 client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// MQTT 5.
    #[default]
    Mqtt5,
    /// MQTT 3.1.1; a CONNECT in MQTT 5 finds the connection closed without a word.
    Mqtt311,
}

/// Why there is no cloud.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    /// A certificate or key file cannot be used.
    #[error("failed to use {}: {detail}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// Certificate and key together make no TLS server.
    #[error("failed to set up the cloud's TLS: {0}")]
    Tls(String),
    /// No port could be had.
    #[error("failed to listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The broker behind the front did not start.
    #[error("the demonstration's broker did not start: {0}")]
    Broker(String),
}

/// What the cloud is made of.
#[derive(Debug, Clone)]
pub struct CloudOptions {
    /// The server's certificate, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// The CA whose client certificates are let in.
    pub client_ca: PathBuf,
    /// Where the front listens; port 0 lets the kernel choose.
    pub address: SocketAddr,
    /// Which MQTT it speaks.
    pub dialect: Dialect,
}

impl CloudOptions {
    /// A cloud with these certificates on a port of the kernel's choice.
    pub fn new(files: &CertificateFiles) -> Self {
        Self {
            certificate: files.server.certificate.clone(),
            key: files.server.key.clone(),
            client_ca: files.ca.clone(),
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            dialect: Dialect::default(),
        }
    }
}

/// What the line between home and cloud does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineState {
    /// It carries.
    Up,
    /// Connections are dropped, new ones closed at once: a cut cable that somebody notices.
    Cut,
    /// Connections stay and carry nothing: a dead line that only an unanswered ping tells.
    Stalled,
}

/// The switch on the line; cheap to clone.
#[derive(Debug, Clone)]
pub struct Line(watch::Sender<LineState>);

impl Line {
    /// Drops every connection through the front and refuses new ones.
    pub fn cut(&self) {
        self.switch(LineState::Cut);
    }

    /// Keeps every connection and carries nothing.
    pub fn stall(&self) {
        self.switch(LineState::Stalled);
    }

    /// Carries again. What a stalled connection held back goes on its way.
    pub fn restore(&self) {
        self.switch(LineState::Up);
    }

    fn switch(&self, wanted: LineState) {
        self.0.send_if_modified(|state| std::mem::replace(state, wanted) != wanted);
    }

    /// Wakes at every change.
    pub fn changes(&self) -> watch::Receiver<LineState> {
        self.0.subscribe()
    }

    /// What it does now.
    pub fn state(&self) -> LineState {
        *self.0.borrow()
    }
}

/// A running cloud. Dropped, it stops without waiting; [`Cloud::stop`] waits.
pub struct Cloud {
    engine: Engine,
    address: SocketAddr,
    line: Line,
    connections: watch::Receiver<usize>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Cloud {
    /// Starts broker and front; both accept when this returns.
    ///
    /// # Errors
    /// [`CloudError`] names the file or the address.
    pub async fn start(options: CloudOptions) -> Result<Self, CloudError> {
        let engine = Engine::start(options.dialect).await?;
        let line = Line(watch::Sender::new(LineState::Up));
        let (counter, connections) = watch::channel(0);
        let front = Front::bind(&options, engine.address(), line.0.subscribe(), counter).await?;
        let (address, stop, tasks) = (front.address(), CancellationToken::new(), TaskTracker::new());
        tasks.spawn(front.run(tasks.clone(), stop.clone()));
        Ok(Self { engine, address, line, connections, stop, tasks })
    }

    /// Where the front listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a gateway's configuration says: `wss://localhost:<port>/mqtt`.
    pub fn url(&self) -> String {
        format!("wss://localhost:{}{}", self.address.port(), front::PATH)
    }

    /// The broker's plain port, for programs that live in the cloud.
    ///
    /// Their client ids must be free of `+ $ # /` and their topics ASCII, or rumqttd dies.
    pub fn broker_address(&self) -> SocketAddr {
        self.engine.address()
    }

    /// The switch.
    pub fn line(&self) -> Line {
        self.line.clone()
    }

    /// How many connections the front carries, WebSocket handshake done; changes wake the receiver.
    pub fn connections(&self) -> watch::Receiver<usize> {
        self.connections.clone()
    }

    /// Ends every connection, the front and the broker.
    pub async fn stop(mut self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.engine.stop().await;
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[cfg(test)]
mod tests;
