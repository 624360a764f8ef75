//! The accept loop: so many connections at a time, each for one request and a limited time.
//!
//! One request a connection makes the time limit simple: whoever is slow, in sending or in reading, is cut
//! off, and nobody can keep others out for longer than that. A stream of events has a rule of its own: it pushes its
//! deadline ahead with every event that the connection takes, so that a reader who has stopped reading is cut off too.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{Router, extract::Request};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    time::{self, Instant},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Connections at a time, streams of events included. Full: further ones wait in the kernel's queue.
const CONNECTIONS: usize = 64;
/// From accept to the last byte of the answer, waiting for one's turn with the password included.
pub(super) const CONNECTION_TIME: Duration = Duration::from_secs(10);
/// After a failed accept (most often: no file descriptors left).
const PAUSE: Duration = Duration::from_millis(250);
/// What waits to be written to one visitor, and the longest head of a request, in bytes.
const BUFFER: usize = 64 << 10;

/// Who asks, and until when the connection may last.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    /// Where the connection comes from.
    pub(super) address: IpAddr,
    deadline: Arc<watch::Sender<Instant>>,
}

impl Visitor {
    /// The connection lasts until then, and no longer.
    pub(super) fn stays_until(&self, deadline: Instant) {
        self.deadline.send_replace(deadline);
    }
}

pub(super) async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        // Cancel safety: an accepted connection or a permit is lost only when we stop.
        let (permit, accepted) = tokio::select! {
            () = stop.cancelled() => break,
            next = async { (free.clone().acquire_owned().await, listener.accept().await) } => next,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "the status page could not accept a connection");
                time::sleep(PAUSE).await;
                continue;
            }
        };
        let (deadline, until) = watch::channel(Instant::now() + CONNECTION_TIME);
        let visitor = Visitor { address: peer.ip(), deadline: Arc::new(deadline) };
        let router = TowerToHyperService::new(router.clone());
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(visitor.clone());
            router.call(request)
        });
        let stop = stop.clone();
        connections.spawn(async move {
            let _permit = permit;
            let answer = http1::Builder::new()
                .keep_alive(false)
                .max_buf_size(BUFFER)
                .serve_connection(TokioIo::new(stream), service);
            // How a visitor's connection ends concerns nobody but the visitor.
            // Cancel safety: a request changes nothing, so it can be cut off anywhere; a press that was handed on
            // runs without it.
            tokio::select! {
                () = stop.cancelled() => {}
                () = over(until) => {}
                _ = answer => {}
            }
        });
    }
    connections.close();
    connections.wait().await;
}

/// Returns when the deadline is over that holds by then.
async fn over(mut deadline: watch::Receiver<Instant>) {
    loop {
        let until = *deadline.borrow_and_update();
        // Cancel safety: the deadline is read anew.
        tokio::select! {
            () = time::sleep_until(until) => return,
            Ok(()) = deadline.changed() => {}
        }
    }
}

/// Who asks this; a router without our accept loop has nobody.
pub(super) fn visitor(request: &Request) -> Option<&Visitor> {
    request.extensions().get()
}
