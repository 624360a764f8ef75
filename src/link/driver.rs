//! The task that owns rumqttc's event loop for one attempt and one connection.
//!
//! Every attempt gets a new event loop, so nothing of an earlier connection (`pending`, a packet-id
//! collision, a lost session) can leak into it: the store is the only truth. Dropping the
//! [`Driver`] aborts the task, which closes the socket: that is how a connection is dropped.
//! `EventLoop::poll` is never dropped half-way while its connection is to live.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
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
    /// Begins to dial; `turn` counts the attempts that came to nothing.
    pub(super) fn start(
        version: Version,
        options: &Arc<LinkOptions>,
        credentials: &Credentials,
        clock: &Clock,
        turn: usize,
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
        let evidence = Evidence {
            witness,
            is_tcp_open,
            has_expired: credentials.has_expired(clock),
            is_clock_trusted: clock.is_trusted(),
        };
        let task = tokio::spawn(drive(line, sender, attempt, evidence, turn));
        Self { client, events, task }
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
    is_clock_trusted: bool,
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
            is_clock_trusted: self.is_clock_trusted,
        }
    }
}

/// Dials and forwards events until the line breaks or nobody listens.
async fn drive(
    mut line: Line,
    events: mpsc::Sender<Wire>,
    attempt: Attempt,
    evidence: Evidence,
    turn: usize,
) {
    let limit = attempt.options.connect_limit;
    let deadline = Instant::now() + limit;
    let dialled = match dial::resolve(&attempt.options.url, limit).await {
        Ok(addresses) => {
            let addresses = dial::in_turn(addresses, turn);
            dial(&mut line, addresses, &attempt, &evidence, deadline).await
        }
        Err(fault) => Err(fault.into()),
    };
    let breakage = match dialled {
        Ok(first) => forward(&mut line, first, &events, &evidence).await,
        Err(breakage) => Some(breakage),
    };
    if let Some(breakage) = breakage {
        // Nobody listens any more: the link has stopped.
        let _ = events.send(Wire::Broken(breakage)).await;
    }
    // In this order, for `Driver::is_over`.
    drop(events);
    drop(line);
}

/// Up to CONNACK, at the first of the addresses where TCP opens.
async fn dial(
    line: &mut Line,
    addresses: Vec<SocketAddr>,
    attempt: &Attempt,
    evidence: &Evidence,
    deadline: Instant,
) -> Result<Option<Wire>, Breakage> {
    let mut addresses = addresses.into_iter();
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
    Err(diagnose::dial_timeout(attempt.options.connect_limit, evidence.scene(false)))
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
    use std::{
        net::Ipv4Addr,
        path::{Path, PathBuf},
        time::Duration,
    };

    use tempfile::TempDir;
    use tokio::net::TcpListener;

    use super::*;
    use crate::{
        link::state::tests::settings,
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
            url: CloudUrl::parse(&format!("wss://localhost:{port}")).unwrap(),
            ca_file: Some(ca_file.to_owned()),
            certificate_file: None,
            key_file: None,
            client_id: "gateway".to_owned(),
            username: None,
            password: None,
            subscriptions: settings.subscriptions,
            birth: settings.birth,
            will: settings.will,
            fence: settings.fence,
            keep_alive: settings.keep_alive,
            answer_limit: settings.answer_limit,
            connect_limit: Duration::from_secs(30),
            backoff: settings.backoff,
            window: settings.window,
            backlog_rate: None,
            receipts: Receipts::default(),
            session_expiry: Duration::ZERO,
        }
    }

    /// Two addresses with the same port.
    async fn two_listeners() -> [TcpListener; 2] {
        loop {
            let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let port = first.local_addr().unwrap().port();
            if let Ok(second) = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), port)).await {
                return [first, second];
            }
        }
    }

    #[tokio::test]
    async fn an_address_that_opens_tcp_and_says_nothing_has_its_turn_and_then_the_other_one() {
        let listeners = two_listeners().await;
        let addresses: Vec<SocketAddr> =
            listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        let directory = tempfile::tempdir().unwrap();
        let ca_file = ca_file(&directory);
        let credentials = Credentials::load(Some(&ca_file), None, &Clock::system()).unwrap();
        let options = Arc::new(options(addresses[0].port(), &ca_file));
        let mut dialled = Vec::new();
        for turn in 0..3 {
            let is_tcp_open = Arc::new(AtomicBool::new(false));
            let (tls, witness) = credentials.for_attempt();
            let attempt = Attempt { options: options.clone(), tls, on_tcp_open: Arc::new(|| ()) };
            let (_client, mut line) = wire::open(Version::V5, &attempt);
            let evidence = Evidence {
            witness,
            is_tcp_open,
            has_expired: false, is_clock_trusted: true };
            let deadline = Instant::now() + Duration::from_secs(30);
            let in_turn = dial::in_turn(addresses.clone(), turn);
            tokio::select! {
                result = dial(&mut line, in_turn, &attempt, &evidence, deadline) => {
                    panic!("somebody answered: {:?}", result.err());
                }
                accepted = listeners[0].accept() => dialled.push(accepted.map(|_| 0).unwrap()),
                accepted = listeners[1].accept() => dialled.push(accepted.map(|_| 1).unwrap()),
            }
        }
        assert_eq!(dialled, [0, 1, 0]);
    }
}
