//! The local broker: what the devices of the house speak to.
//!
//! Owns listeners, sessions, subscriptions and retained messages. Never talks to the cloud: what is
//! bound for it goes into the store, by the [`Uplink`]'s word. Invariants: every queue is bounded in
//! bytes ([`Limits`]) and counts what it drops; a message bound for the cloud is acknowledged only when
//! it is durable; no client waits for another, nor for the disk.
//!
//! Sessions are ours because no embeddable broker can keep the acknowledgement back until the message
//! is on the disk (the table in DESIGN.md); the packets are `mqtt5-protocol`'s ([`packet`]).

mod auth;
mod connection;
mod handle;
mod handshake;
mod hub;
mod keeper;
mod options;
mod packet;
mod session;
mod subscriptions;
mod tls;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    sync::Semaphore,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use handle::{BrokerHandle, InProcess};
pub use options::{BrokerOptions, Limits, ListenerKind, ListenerOptions, TlsFiles, User};

use crate::{
    health::Board,
    model::{ClientId, Message},
    store::{Entry, Store, StoreError},
};
use auth::Users;
use connection::Shared;
use handshake::Gate;
use hub::{Hub, Kept};

/// How often the board hears of the broker, and sessions are looked through for their end.
const REPORT_EVERY: Duration = Duration::from_secs(2);
/// How long to wait when the system has no more file descriptors or memory for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Which messages go to the cloud, and as what. Asked for every publish, so it must be quick and pure.
pub trait Uplink: Send + Sync + 'static {
    /// What is to be kept for the cloud; `None` when the message stays at home.
    fn route(&self, message: &Message) -> Option<Entry>;
}

/// Why the broker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The address is in use or not ours.
    #[error("failed to listen on {address}: {reason}; is another broker running there?")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        reason: String,
    },
    /// A listener's certificate or key.
    #[error("failed to use `{path}` for the local broker's TLS: {reason}")]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A user's password hash.
    #[error(
        "the password hash of user `{user}` is not one: {reason}; make it with `hearthlink hash-password`"
    )]
    PasswordHash {
        /// The user.
        user: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What the last run kept cannot be read.
    #[error("failed to read the retained messages and sessions: {0}")]
    Store(#[from] StoreError),
}

struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    gate: Arc<Gate>,
}

/// The broker with its addresses bound, not serving yet.
pub struct Broker {
    bound: Vec<Bound>,
    shared: Arc<Shared>,
    board: Board,
    stop: CancellationToken,
}

impl Broker {
    /// Reads what the last run kept and binds every listener.
    ///
    /// # Errors
    /// [`BrokerError`] names the listener, file or user.
    pub async fn bind(
        options: BrokerOptions,
        uplink: Arc<dyn Uplink>,
        store: Store,
        board: Board,
    ) -> Result<Self, BrokerError> {
        let users = Arc::new(Users::new(&options.users)?);
        let hub = Hub::new(options.limits);
        hub.restore(store.retained().await?, kept_sessions(&store).await?);
        let shared = Arc::new(Shared { hub, uplink, store });
        let stop = CancellationToken::new();
        let mut bound = Vec::new();
        for one in options.listeners {
            let failed =
                |error: std::io::Error| BrokerError::Bind { address: one.address, reason: error.to_string() };
            let tls = one.tls.as_ref().map(tls::config).transpose()?.map(TlsAcceptor::from);
            let listener = TcpListener::bind(one.address).await.map_err(failed)?;
            let address = listener.local_addr().map_err(failed)?;
            let gate = Gate {
                kind: one.kind,
                tls,
                anonymous: one.anonymous,
                users: users.clone(),
                shared: shared.clone(),
                stop: stop.clone(),
            };
            bound.push(Bound { listener, address, gate: Arc::new(gate) });
        }
        Ok(Self { bound, shared, board, stop })
    }

    /// A way in for the other parts of the gateway.
    pub fn handle(&self) -> BrokerHandle {
        BrokerHandle(self.shared.clone())
    }

    /// Where it listens: what is spoken, whether in TLS, the address.
    pub fn addresses(&self) -> Vec<(ListenerKind, bool, SocketAddr)> {
        self.bound.iter().map(|one| (one.gate.kind, one.gate.tls.is_some(), one.address)).collect()
    }

    /// Serves until `stop`; then sends every client away and writes what is to be kept.
    pub async fn run(self, stop: CancellationToken) {
        let urls: Vec<String> = self
            .addresses()
            .into_iter()
            .map(|(kind, has_tls, address)| format!("{}://{address}", kind.scheme(has_tls)))
            .collect();
        let clients = TaskTracker::new();
        let room = Arc::new(Semaphore::new(self.shared.hub.limits.max_clients));
        let helpers = TaskTracker::new();
        for bound in self.bound {
            helpers.spawn(accept(bound, clients.clone(), room.clone()));
        }
        let keeper_stop = CancellationToken::new();
        let keeper = tokio::spawn(keeper::run(self.shared.clone(), keeper_stop.clone()));

        let mut ticks = interval(REPORT_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = None;
        // Cancel safety: a tick that is missed comes later.
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.shared.hub.expire_sessions();
            let report = self.shared.hub.report(urls.clone());
            if last.as_ref() != Some(&report) {
                self.board.broker(report.clone());
                last = Some(report);
            }
        }

        self.stop.cancel();
        helpers.close();
        helpers.wait().await;
        clients.close();
        clients.wait().await;
        keeper_stop.cancel();
        if let Err(error) = keeper.await {
            tracing::error!(%error, "what the broker keeps was not written at the end");
        }
    }
}

async fn kept_sessions(store: &Store) -> Result<Vec<(ClientId, Kept)>, StoreError> {
    let mut sessions = Vec::new();
    for (client, state) in store.sessions().await? {
        match serde_json::from_slice(&state) {
            Ok(kept) => sessions.push((ClientId::new(&client), kept)),
            // One session less is better than no broker; its client subscribes again.
            Err(error) => tracing::error!(client, %error, "a kept session cannot be read and is left out"),
        }
    }
    Ok(sessions)
}

/// Accepts and never waits for a client. Full: the newest connection is closed at once, counted.
async fn accept(bound: Bound, clients: TaskTracker, room: Arc<Semaphore>) {
    let stop = bound.gate.stop.clone();
    // Cancel safety: `accept` loses no connection when dropped.
    while let Some(accepted) = stop.run_until_cancelled(bound.listener.accept()).await {
        match accepted {
            Ok((socket, peer)) => match room.clone().try_acquire_owned() {
                Ok(place) => {
                    let gate = bound.gate.clone();
                    clients.spawn(async move {
                        handshake::serve(gate, socket, peer).await;
                        drop(place);
                    });
                }
                Err(_) => {
                    bound.gate.shared.hub.count_refused();
                    tracing::warn!(%peer, "too many clients; this one is closed");
                }
            },
            Err(error) => {
                tracing::warn!(%error, address = %bound.address, "failed to accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
