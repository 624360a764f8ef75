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
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    BrokerError, ListenerKind, ListenerOptions,
    connection::Connection,
    core::Core,
    counters::Counters,
    handshake::{CONNECT_LIMIT, Stranger, greet},
    network::{Crowd, Guest, Network},
    options::Acl,
    session::End,
    socket::{Duplex, Socket},
    tls, websocket,
    wire::Wire,
};

/// A bound address.
pub(super) struct Listener {
    socket: TcpListener,
    pub(super) address: SocketAddr,
    gate: Arc<Gate>,
}

/// What a new connection has to pass.
struct Gate {
    kind: ListenerKind,
    tls: Option<TlsAcceptor>,
    anonymous: bool,
    acl: Option<Acl>,
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
        let tls = options.tls.as_ref().map(tls::acceptor).transpose()?;
        let bind_error =
            |error: std::io::Error| BrokerError::Bind { address: options.address, reason: error.to_string() };
        let socket = TcpListener::bind(options.address).await.map_err(bind_error)?;
        let address = socket.local_addr().map_err(bind_error)?;
        let gate = Arc::new(Gate {
            kind: options.kind,
            tls,
            anonymous: options.anonymous,
            acl: options.acl.clone(),
        });
        Ok(Self { socket, address, gate })
    }

    pub(super) fn kind(&self) -> ListenerKind {
        self.gate.kind
    }

    pub(super) fn has_tls(&self) -> bool {
        self.gate.tls.is_some()
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

impl Gate {
    /// All handshakes, within the time that there is for them.
    async fn pass(&self, stream: TcpStream, guest: Guest, house: &House) -> Option<Connection> {
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
            let stream = match &self.tls {
                None => self.speak(stream, limits.max_packet).await?,
                Some(tls) => {
                    let stream = tls.accept(stream).await.ok()?;
                    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                    stranger.certificate_names = certificate.map(tls::names).unwrap_or_default();
                    self.speak_within(Box::new(stream), limits.max_packet).await?
                }
            };
            let wire = Wire::new(stream, CONNECT_LIMIT.min(limits.max_packet));
            greet(&house.core, &house.places, wire, stranger).await
        })
        .await
        .ok()
        .flatten()
    }

    async fn speak(&self, stream: TcpStream, largest: usize) -> Option<Socket> {
        match self.kind {
            ListenerKind::Tcp => Some(Socket::Plain(stream)),
            ListenerKind::WebSocket => websocket::accept(stream, largest).await.map(Socket::Wrapped),
        }
    }

    async fn speak_within(&self, stream: Box<dyn Duplex>, largest: usize) -> Option<Socket> {
        match self.kind {
            ListenerKind::Tcp => Some(Socket::Wrapped(stream)),
            ListenerKind::WebSocket => websocket::accept(stream, largest).await.map(Socket::Wrapped),
        }
    }
}
