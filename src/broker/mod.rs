//! The local broker: what the house sees of the gateway.
//!
//! Owns listeners, sessions, subscriptions, retained messages and who may do what. Never talks to the
//! cloud: what goes there is handed to the store, and the client's acknowledgement waits for the disk.
//! Invariants: every queue is bounded in bytes with a counted policy; nobody but a client itself waits
//! for it, for its handshake, for its socket or for its disk; whatever bytes come in, nothing else stops.
//!
//! Our own and not an embedded one, because none of those that were tried (DESIGN.md, "Facts") can hold
//! an acknowledgement back, bound its queues in bytes and survive the traffic of a house.
//!
//! `handle` is for the gateway, `listener` → `handshake` → `connection` is a client's way in, `hub`
//! is where they all meet, `recorder` brings what must survive a restart to the disk.

mod agenda;
mod auth;
mod closed;
mod connection;
mod core;
mod counters;
mod delivery;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod handle;
mod handshake;
mod held;
mod hub;
mod inflight;
mod listener;
mod network;
mod options;
mod origins;
mod packet;
#[cfg(feature = "parts")]
#[doc(hidden)]
pub mod parts;
mod receipt;
mod recorder;
mod retained;
mod rights;
mod rounds;
mod seat;
mod session;
mod socket;
mod storing;
mod subscriptions;
mod tls;
mod websocket;
mod wire;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use handle::{BrokerHandle, Heard, InProcess};
pub use options::{Acl, BrokerOptions, Limits, ListenerKind, ListenerOptions, TlsFiles, Uplink, User};

use self::core::Core;
use crate::{
    health::Board,
    model::{Caller, Calls},
    store::{Store, StoreError},
};
use auth::Auth;
use hub::Hub;
use listener::{House, Listener};
use network::Crowd;
use recorder::Successor;
use rounds::{report, rounds};

/// Why the broker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// An address cannot be listened on.
    #[error("failed to listen on {address}: {reason}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        reason: String,
    },
    /// A listener's certificate, key or client CA cannot be used.
    #[error("failed to use `{path}` for a listener: {reason}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A user's password hash is none.
    #[error(
        "failed to read the password hash of the user `{user}`: {reason}; make one with `hearthlink hash-password`"
    )]
    PasswordHash {
        /// Whose.
        user: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The thread that reads certificates ended early.
    #[error("failed to read the listeners' certificates: {0}")]
    Interrupted(String),
    /// What is remembered cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How long clients may take to leave when the broker stops.
const FAREWELL: Duration = Duration::from_secs(4);

/// The broker, bound and not yet running.
pub struct Broker {
    core: Arc<Core>,
    listeners: Vec<Listener>,
    board: Board,
    successors: (mpsc::Sender<Successor>, mpsc::Receiver<Successor>),
    calls: (Caller, Calls),
}

impl Broker {
    /// Loads what is remembered and binds every listener.
    ///
    /// # Errors
    /// [`BrokerError`], which names the address, the file or the user.
    pub async fn bind(
        options: BrokerOptions,
        uplink: Arc<dyn Uplink>,
        store: Store,
        board: Board,
    ) -> Result<Self, BrokerError> {
        let auth = Auth::new(&options.users, options.limits.handshake_time)?;
        let hub = Hub::new(options.limits);
        recorder::restore(&hub, &auth, &store).await?;
        // Of a store that keeps nothing it is known at once that nobody is to wait for it.
        hub.agenda.set_down(store.stats().borrow().fault.is_some());
        let mut listeners = Vec::new();
        for listener in &options.listeners {
            listeners.push(Listener::bind(listener).await?);
        }
        let core = Arc::new(Core::new(hub, auth, uplink, store, options.closed.into_iter().collect()));
        let broker = Self { core, listeners, board, successors: mpsc::channel(1), calls: Calls::channel() };
        broker.board.broker(report(&broker.core, broker.urls()));
        Ok(broker)
    }

    /// For the rest of the gateway; works from now on.
    pub fn handle(&self) -> BrokerHandle {
        let tls = self.listeners.iter().filter_map(Listener::tls).collect();
        BrokerHandle::new(self.core.hub.clone(), tls, self.successors.0.clone(), self.calls.0.clone())
    }

    /// Where it listens: what is spoken, whether in TLS, the address.
    pub fn addresses(&self) -> Vec<(ListenerKind, bool, SocketAddr)> {
        self.listeners
            .iter()
            .map(|listener| (listener.kind(), listener.has_tls(), listener.address))
            .collect()
    }

    fn urls(&self) -> Vec<String> {
        self.listeners.iter().map(Listener::url).collect()
    }

    /// Serves until `stop`; returns when every client was told and what is remembered is on the disk.
    pub async fn run(self, stop: CancellationToken) {
        let urls = self.urls();
        let Self { core, listeners, board, successors: (_, successors), calls: (_, mut calls) } = self;
        let tasks = TaskTracker::new();
        let recorder_stop = CancellationToken::new();
        let recorder = tokio::spawn(recorder::run(core.clone(), successors, recorder_stop.clone()));
        let limits = &core.hub.limits;
        let house = House {
            core: core.clone(),
            places: Arc::new(Semaphore::new(limits.max_clients.min(Semaphore::MAX_PERMITS))),
            lobby: Arc::new(Semaphore::new(limits.max_handshakes.min(Semaphore::MAX_PERMITS))),
            crowd: Crowd::new(limits.max_clients_per_address),
            tasks: tasks.clone(),
            stop: stop.clone(),
        };
        for listener in listeners {
            tracing::info!(address = listener.url(), "the local broker listens");
            tasks.spawn(listener.run(house.clone()));
        }
        drop(house);
        let turning =
            async { tokio::join!(rounds(&core, &board, &urls), answer(&core, &recorder, &mut calls)) };
        let _ = stop.run_until_cancelled(turning).await;
        core.hub.end_all();
        tasks.close();
        if timeout(FAREWELL, tasks.wait()).await.is_err() {
            tracing::warn!(clients = tasks.len(), "clients did not leave in time");
        }
        for (client, will) in core.hub.waiting_wills() {
            core.publish_will(will, &client).await;
        }
        recorder_stop.cancel();
        if recorder.await.is_err() {
            tracing::error!("the recorder of retained messages and sessions has panicked");
        }
        board.broker(report(&core, Vec::new()));
    }
}

/// Answers who asks whether the broker turns, for ever. Beside the rounds and not in them: a will may wait for a disk
/// that hangs, and that stops nobody.
async fn answer(core: &Core, recorder: &JoinHandle<()>, calls: &mut Calls) {
    loop {
        let call = calls.next().await;
        // Waits for the house, and for ever if somebody does not let go of it.
        core.hub.sizes();
        // Without it nobody is told any more that his message is kept.
        if !recorder.is_finished() {
            call.answer();
        }
    }
}
