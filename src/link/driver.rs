//! The task that owns rumqttc's event loop for one attempt and one connection.
//!
//! Every attempt gets a new event loop, so nothing of an earlier connection (`pending`, a packet-id
//! collision, a lost session) can leak into it: the store is the only truth. Dropping the
//! [`Driver`] aborts the task, which closes the socket: that is how a connection is dropped.
//! `EventLoop::poll` is never dropped half-way while its connection is to live.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use super::{
    LinkOptions, diagnose,
    diagnose::{Breakage, Scene},
    dial,
    tls::{Credentials, Witness},
    wire::{self, Attempt, Client, Line, LineError, Version, Wire},
};
use crate::{clock::Clock, model::FaultKind};

/// Events on their way to the link. Full: the task waits, and with it the socket.
const EVENTS: usize = 64;

/// One attempt and, if it succeeds, its connection.
pub(super) struct Driver {
    client: Client,
    events: mpsc::Receiver<Wire>,
    task: JoinHandle<()>,
}

impl Driver {
    /// Begins to dial.
    pub(super) fn start(
        version: Version,
        options: &Arc<LinkOptions>,
        credentials: &Credentials,
        clock: &Clock,
    ) -> Self {
        let (sender, events) = mpsc::channel(EVENTS);
        let (tls, witness) = credentials.for_attempt();
        let is_tcp_open = Arc::new(AtomicBool::new(false));
        let on_tcp_open = {
            let is_tcp_open = is_tcp_open.clone();
            Arc::new(move || is_tcp_open.store(true, Ordering::Relaxed))
        };
        let attempt = Attempt { options: options.clone(), tls, on_tcp_open };
        let (client, line) = wire::open(version, &attempt);
        let evidence = Evidence { witness, is_tcp_open, has_expired: credentials.has_expired(clock) };
        let task = tokio::spawn(drive(line, sender, attempt, evidence));
        Self { client, events, task }
    }

    /// The next event; after [`Wire::Broken`] there is none worth waiting for. Cancel-safe.
    pub(super) async fn next(&mut self) -> Wire {
        let ended = || Wire::Broken(Breakage::new(FaultKind::Closed, "the connection's task ended"));
        self.events.recv().await.unwrap_or_else(ended)
    }

    /// Where commands go.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Evidence {
    witness: Arc<Witness>,
    is_tcp_open: Arc<AtomicBool>,
    has_expired: bool,
}

impl Evidence {
    fn explain(&self, error: &LineError, is_connected: bool) -> Breakage {
        match error {
            LineError::V4(error) => diagnose::v4(error, self.scene(is_connected)),
            LineError::V5(error) => diagnose::v5(error, self.scene(is_connected)),
        }
    }

    fn scene(&self, is_connected: bool) -> Scene {
        Scene {
            is_connected,
            is_tcp_open: self.is_tcp_open.load(Ordering::Relaxed),
            was_asked: self.witness.was_asked(),
            has_certificate: self.witness.has_certificate(),
            has_expired: self.has_expired,
        }
    }
}

/// Dials and forwards events until the line breaks or nobody listens.
async fn drive(mut line: Line, events: mpsc::Sender<Wire>, attempt: Attempt, evidence: Evidence) {
    let breakage = match dial(&mut line, &attempt, &evidence).await {
        Ok(first) => forward(&mut line, first, &events, &evidence).await,
        Err(breakage) => Some(breakage),
    };
    if let Some(breakage) = breakage {
        // Nobody listens any more: the link has stopped.
        let _ = events.send(Wire::Broken(breakage)).await;
    }
}

/// Up to CONNACK, at the first of the addresses where TCP opens.
async fn dial(line: &mut Line, attempt: &Attempt, evidence: &Evidence) -> Result<Option<Wire>, Breakage> {
    let limit = attempt.options.connect_limit;
    let deadline = Instant::now() + limit;
    let mut addresses = dial::resolve(&attempt.options.url, limit).await?.into_iter();
    while let Some(address) = addresses.next() {
        let is_last = addresses.len() == 0;
        line.aim_at(address, attempt);
        // Before CONNACK there is nothing that a poll dropped half-way could lose.
        let result = tokio::select! {
            result = timeout_at(deadline, line.poll()) => result,
            () = dial::turn_is_over(&evidence.is_tcp_open), if !is_last => continue,
        };
        match result {
            Ok(Ok(first)) => {
                line.insist_on_keep_alive(attempt.options.keep_alive);
                return Ok(first);
            }
            Ok(Err(_)) if !is_last && !evidence.scene(false).is_tcp_open => {}
            Ok(Err(error)) => return Err(evidence.explain(&error, false)),
            Err(_) => break,
        }
    }
    Err(diagnose::dial_timeout(limit, evidence.scene(false)))
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
