//! One address that clients connect to.
//!
//! Owns the accepting. Never waits for a client: TLS, WebSocket and MQTT handshakes run in the client's
//! own task, all within the handshake's time, and only so many at once.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    BrokerError, ListenerKind, ListenerOptions,
    connection::Connection,
    core::Core,
    counters::Counters,
    handshake::{CONNECT_LIMIT, Stranger, greet},
    network::{Crowd, Guest},
    options::Acl,
    origins::Origins,
    session::End,
    socket::{Duplex, Socket},
    tls::{self, Tls},
    websocket,
    wire::Wire,
};
use crate::model::Network;

/// A bound address.
pub(super) struct Listener {
    socket: TcpListener,
    pub(super) address: SocketAddr,
    gate: Arc<Gate>,
}

/// What a new connection has to pass.
struct Gate {
    kind: ListenerKind,
    tls: Option<Arc<Tls>>,
    anonymous: bool,
    acl: Option<Acl>,
    origins: Origins,
}

/// What all listeners share.
#[derive(Clone)]
pub(super) struct House {
    pub(super) core: Arc<Core>,
    /// For clients.
    pub(super) places: Arc<Semaphore>,
    /// For those in their handshake.
    pub(super) lobby: Arc<Semaphore>,
    /// By where they come from.
    pub(super) crowd: Arc<Crowd>,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

impl Listener {
    pub(super) async fn bind(options: &ListenerOptions) -> Result<Self, BrokerError> {
        let tls = options.tls.as_ref().map(Tls::load).transpose()?.map(Arc::new);
        let bind_error =
            |error: std::io::Error| BrokerError::Bind { address: options.address, reason: error.to_string() };
        let socket = TcpListener::bind(options.address).await.map_err(bind_error)?;
        let address = socket.local_addr().map_err(bind_error)?;
        let gate = Arc::new(Gate {
            kind: options.kind,
            tls,
            anonymous: options.anonymous,
            acl: options.acl.clone(),
            origins: origins(options),
        });
        Ok(Self { socket, address, gate })
    }

    pub(super) fn kind(&self) -> ListenerKind {
        self.gate.kind
    }

    pub(super) fn has_tls(&self) -> bool {
        self.gate.tls.is_some()
    }

    /// What can be read again while it listens.
    pub(super) fn tls(&self) -> Option<Arc<Tls>> {
        self.gate.tls.clone()
    }

    /// The address as a person would write it down.
    pub(super) fn url(&self) -> String {
        let scheme = match (self.gate.kind, self.has_tls()) {
            (ListenerKind::Tcp, false) => "mqtt",
            (ListenerKind::Tcp, true) => "mqtts",
            (ListenerKind::WebSocket, false) => "ws",
            (ListenerKind::WebSocket, true) => "wss",
        };
        format!("{scheme}://{}", self.address)
    }

    /// Accepts until the house stops.
    pub(super) async fn run(self, house: House) {
        let mut was_failing = false;
        // Cancel safety: a connection that `accept` had not given out stays in the kernel's queue.
        while let Some(accepted) = house.stop.run_until_cancelled(self.socket.accept()).await {
            match accepted {
                Ok((stream, from)) => {
                    was_failing = false;
                    self.take(stream, Network::of(from.ip()), &house);
                    // A crowd at the door is let in one by one: those inside have their turns between.
                    tokio::task::yield_now().await;
                }
                Err(error) => {
                    if !was_failing {
                        tracing::warn!(address = %self.address, %error, "cannot accept connections");
                    }
                    was_failing = true;
                    // Out of file descriptors, most likely: they come back when clients leave.
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn take(&self, stream: TcpStream, from: Network, house: &House) {
        let permit = house.lobby.clone().try_acquire_owned().ok();
        let Some((permit, guest)) = permit.zip(house.crowd.admit(from)) else {
            Counters::count(&house.core.hub.counters.refused);
            house.core.hub.stir.ring();
            return;
        };
        let (gate, house) = (self.gate.clone(), house.clone());
        house.tasks.clone().spawn(async move {
            // In a box that is gone before the client is served: a handshake is larger than a client.
            let connection =
                house.stop.run_until_cancelled(Box::pin(gate.pass(stream, guest, &house))).await.flatten();
            drop((permit, gate));
            let Some(connection) = connection else {
                Counters::count(&house.core.hub.counters.refused);
                house.core.hub.stir.ring();
                return;
            };
            if house.stop.is_cancelled() {
                connection.seat.owner().ask_to_end(End::ShuttingDown);
            }
            drop(house);
            connection.run().await;
        });
    }
}

/// Every page may come where a client must say a password, unless some are named.
fn origins(options: &ListenerOptions) -> Origins {
    let shows_certificates = options.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    match options.anonymous || shows_certificates || !options.origins.is_empty() {
        true => Origins::OwnAnd(options.origins.clone()),
        false => Origins::Any,
    }
}

impl Gate {
    /// All handshakes, within the time that there is for them.
    async fn pass(&self, stream: TcpStream, guest: Guest, house: &House) -> Option<Box<Connection>> {
        let limits = &house.core.hub.limits;
        timeout(limits.handshake_time, async {
            // Small packets are the rule, and they are batched before they are written.
            stream.set_nodelay(true).ok()?;
            let mut stranger = Stranger {
                guest,
                certificate_names: Vec::new(),
                anonymous: self.anonymous,
                acl: self.acl.clone(),
            };
            let Some(stream) = self.speak(stream, &mut stranger).await else {
                stranger.guest.atone().await;
                return None;
            };
            let wire = Wire::new(stream, CONNECT_LIMIT.min(limits.max_packet));
            greet(&house.core, &house.places, wire, stranger).await
        })
        .await
        .ok()
        .flatten()
    }

    /// The stream within TLS and WebSocket, whichever there are. `None`: not what is spoken here.
    async fn speak(&self, stream: TcpStream, stranger: &mut Stranger) -> Option<Socket> {
        let Some(tls) = &self.tls else {
            return match self.kind {
                ListenerKind::Tcp => Some(Socket::Plain(stream)),
                ListenerKind::WebSocket => self.upgrade(stream).await,
            };
        };
        let stream = Box::new(tls.acceptor().accept(stream).await.ok()?);
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        stranger.certificate_names = certificate.map(tls::names).unwrap_or_default();
        match self.kind {
            ListenerKind::Tcp => Some(Socket::Wrapped(stream)),
            ListenerKind::WebSocket => self.upgrade(stream).await,
        }
    }

    async fn upgrade<S: Duplex + 'static>(&self, stream: S) -> Option<Socket> {
        websocket::accept(stream, &self.origins).await.map(Socket::Wrapped)
    }
}
