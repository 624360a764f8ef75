//! The accept loop: so many connections at a time, each for one request and a short time.
//!
//! One request a connection makes the time limit simple: whoever is slow, in sending or in reading, is cut
//! off, and nobody can keep others out for longer than that.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{net::TcpListener, sync::Semaphore, time};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Connections at a time. Full: further ones wait in the kernel's queue.
const CONNECTIONS: usize = 64;
/// From accept to the last byte of the answer.
const CONNECTION_TIME: Duration = Duration::from_secs(10);
/// After a failed accept (most often: no file descriptors left).
const PAUSE: Duration = Duration::from_millis(250);

pub(super) async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        // Cancel safety: an accepted connection or a permit is lost only when we stop.
        let (permit, accepted) = tokio::select! {
            () = stop.cancelled() => break,
            next = async { (free.clone().acquire_owned().await, listener.accept().await) } => next,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the status page could not accept a connection");
                time::sleep(PAUSE).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        let stop = stop.clone();
        connections.spawn(async move {
            let _permit = permit;
            let answer =
                http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
            // How a visitor's connection ends concerns nobody but the visitor.
            // Cancel safety: a request changes nothing, so it can be cut off anywhere.
            tokio::select! {
                () = stop.cancelled() => {}
                _ = time::timeout(CONNECTION_TIME, answer) => {}
            }
        });
    }
    connections.close();
    connections.wait().await;
}
