//! The task that owns rumqttc's event loop for one attempt and one connection.
//!
//! Every attempt gets a new event loop, so nothing of an earlier connection (`pending`, a packet-id
//! collision, a lost session) can leak into it: the store is the only truth. Dropping the
//! [`Driver`] aborts the task, which closes the socket: that is how a connection is dropped.
//! `EventLoop::poll` is never dropped half-way while its connection is to live.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::task::TaskTracker;

use super::{
    LinkOptions,
    access::Issuer,
    bridge::Bridge,
    diagnose::{self, Breakage, Scene},
    dial::{self, Call, Progress},
    tls::Credentials,
    way::Way,
    wire::{self, Client, Line, LineError, Version, Wire},
};
use crate::{
    clock::Clock,
    health::Traffic,
    model::{Fault, FaultKind, Timestamp},
};

/// Events on their way to the link. Full: the task waits, and with it the socket.
const EVENTS: usize = 64;

/// How long DISCONNECT may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// What an attempt needs.
#[derive(Clone)]
pub(super) struct Errand {
    pub(super) options: Arc<LinkOptions>,
    /// Shared by all attempts, for what it bought.
    pub(super) issuer: Arc<Issuer>,
    pub(super) credentials: Credentials,
    pub(super) clock: Clock,
    /// Where its bytes are counted.
    pub(super) traffic: Traffic,
    /// Which way.
    pub(super) way: Way,
    pub(super) version: Version,
    /// How many attempts in a row came to nothing.
    pub(super) turn: usize,
    /// Whoever carries bytes when the attempt is long over.
    pub(super) tasks: TaskTracker,
}

impl Errand {
    /// What of it is below MQTT.
    pub(super) fn call(&self) -> Call<'_> {
        Call {
            way: &self.way,
            proxy: &self.options.proxy,
            issuer: &self.issuer,
            credentials: &self.credentials,
            clock: &self.clock,
            traffic: &self.traffic,
            turn: self.turn,
        }
    }
}

/// One attempt and, if it succeeds, its connection.
pub(super) struct Driver {
    client: Client,
    events: mpsc::Receiver<Wire>,
    task: JoinHandle<()>,
    renewal: Arc<OnceLock<Timestamp>>,
}

impl Driver {
    /// Begins to dial.
    pub(super) fn start(errand: Errand) -> Self {
        let (sender, events) = mpsc::channel(EVENTS);
        let (client, line) = wire::open(errand.version, &errand.options);
        let renewal = Arc::new(OnceLock::new());
        let task = tokio::spawn(drive(line, sender, errand, renewal.clone()));
        Self { client, events, task, renewal }
    }

    /// The next event; after [`Wire::Broken`] there is none worth waiting for. Cancel-safe.
    pub(super) async fn next(&mut self) -> Wire {
        let ended = || Wire::Broken(Breakage::new(FaultKind::Closed, "the connection's task ended"));
        self.events.recv().await.unwrap_or_else(ended)
    }

    /// Whether the connection is over, and all that is left of it are the events that [`Driver::next`] still has. The
    /// client then takes nothing either, as if it were full: `drive` lets go of the events before the connection.
    pub(super) fn is_over(&self) -> bool {
        self.events.is_closed()
    }

    /// Where commands go.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Says goodbye, so that the cloud does not publish the will; whoever does not take it has hung up by himself.
    pub(super) async fn leave(mut self) {
        if self.client.disconnect().is_ok() {
            let gone =
                async { while !matches!(self.next().await, Wire::DisconnectSent | Wire::Broken(_)) {} };
            let _ = timeout(FAREWELL, gone).await;
        }
    }

    /// When what was said to be let in should be said anew, on another connection.
    pub(super) fn renew_at(&self) -> Option<Timestamp> {
        self.renewal.get().copied()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is known of a connection when it fails.
struct Evidence {
    bridge: Bridge,
    scene: Scene,
}

impl Evidence {
    fn explain(&self, error: &LineError, is_connected: bool) -> Breakage {
        let scene = Scene { is_connected, ..self.scene };
        match error {
            LineError::V4(error) => diagnose::v4(error, self.bridge.end(), scene),
            LineError::V5(error) => diagnose::v5(error, self.bridge.end(), scene),
        }
    }
}

/// Dials and forwards events until the line breaks or nobody listens.
async fn drive(
    mut line: Line,
    events: mpsc::Sender<Wire>,
    errand: Errand,
    renewal: Arc<OnceLock<Timestamp>>,
) {
    let breakage = match dial(&mut line, &errand, &renewal).await {
        Ok((first, evidence)) => forward(&mut line, first, &events, &evidence).await,
        Err(breakage) => Some(breakage),
    };
    if let Some(breakage) = breakage {
        if matches!(breakage.fault.kind, FaultKind::Credentials | FaultKind::NotAuthorized) {
            errand.issuer.was_refused().await;
        }
        // Nobody listens any more: the link has stopped.
        let _ = events.send(Wire::Broken(breakage)).await;
    }
    // In this order, for `Driver::is_over`.
    drop(events);
    drop(line);
}

/// Up to CONNACK.
async fn dial(
    line: &mut Line,
    errand: &Errand,
    renewal: &OnceLock<Timestamp>,
) -> Result<(Option<Wire>, Evidence), Breakage> {
    let options = &errand.options;
    let deadline = Instant::now() + options.connect_limit;
    let dialled = dial::dial(&errand.call(), options.connect_limit, &mut Progress::new()).await?;
    if let Some(at) = dialled.grant.renew_at {
        let _ = renewal.set(at);
    }
    let bridge = Bridge::open(dialled.stream, &errand.tasks)
        .map_err(|error| Fault::new(FaultKind::Closed, format!("no socket to MQTT: {error}")))?;
    line.aim_at(bridge.socket(), options, &dialled.grant);
    let evidence = Evidence { bridge, scene: dialled.scene };
    match timeout_at(deadline, line.poll()).await {
        Ok(Ok(first)) => {
            line.insist_on_keep_alive(options.keep_alive);
            Ok((first, evidence))
        }
        Ok(Err(error)) => Err(evidence.explain(&error, false)),
        Err(_) => Err(no_connack(options.connect_limit)),
    }
}

fn no_connack(limit: Duration) -> Breakage {
    let detail = format!(
        "the connection is open, but MQTT had no answer within {} s of dialling",
        limit.as_secs_f32()
    );
    Breakage::new(FaultKind::NoAnswer, detail)
}

/// From CONNACK on; `None` when nobody listens any more.
async fn forward(
    line: &mut Line,
    first: Option<Wire>,
    events: &mpsc::Sender<Wire>,
    evidence: &Evidence,
) -> Option<Breakage> {
    let mut next = first;
    loop {
        if let Some(event) = next {
            events.send(event).await.ok()?;
        }
        match line.poll().await {
            Ok(event) => next = event,
            Err(error) => {
                for event in line.rest() {
                    events.send(event).await.ok()?;
                }
                return Some(evidence.explain(&error, true));
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::{Path, PathBuf};

    use tempfile::TempDir;

    use super::*;
    use crate::{
        link::{Access, ProxyOptions, state::tests::settings},
        model::{CloudUrl, Receipts},
    };

    pub(in crate::link) fn ca_file(directory: &TempDir) -> PathBuf {
        let ca = rcgen::generate_simple_self_signed(["ca".to_owned()]).unwrap();
        let ca_file = directory.path().join("ca.pem");
        std::fs::write(&ca_file, ca.cert.pem()).unwrap();
        ca_file
    }

    /// To a cloud on this machine.
    pub(in crate::link) fn options(port: u16, ca_file: &Path) -> LinkOptions {
        let settings = settings();
        LinkOptions {
            brokers: vec![vec![Way::direct(CloudUrl::parse(&format!("wss://localhost:{port}")).unwrap())]],
            proxy: ProxyOptions::None,
            access: Access::default(),
            ca_file: Some(ca_file.to_owned()),
            certificate_file: None,
            key_file: None,
            client_id: "gateway".to_owned(),
            subscriptions: settings.subscriptions,
            hellos: Vec::new(),
            birth: settings.birth,
            will: settings.will,
            fence: settings.fence,
            keep_alive: settings.keep_alive,
            answer_limit: settings.answer_limit,
            connect_limit: Duration::from_secs(30),
            climb_after: settings.climb_after,
            backoff: settings.backoff,
            window: settings.window,
            backlog_rate: None,
            receipts: Receipts::default(),
            version: Default::default(),
            limits: Default::default(),
            session_expiry: Duration::ZERO,
        }
    }
}
