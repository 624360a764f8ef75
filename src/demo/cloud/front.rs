//! The cloud's door: TLS with a required client certificate, WebSocket, then bytes to the broker.
//!
//! Owns the public listener and one task a connection. Never looks into MQTT. Invariants: a
//! handshake has [`HANDSHAKE_LIMIT`] and holds up nobody else; at most [`MOST_CONNECTIONS`] at once,
//! the next is closed at once; a cut ends every connection, those in a handshake too.

use std::{io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use async_tungstenite::{
    tokio::{TokioAdapter, accept_hdr_async_with_config},
    tungstenite::{
        handshake::server::{Callback, ErrorResponse, Request, Response},
        http::{HeaderValue, StatusCode, header::SEC_WEBSOCKET_PROTOCOL},
        protocol::WebSocketConfig,
    },
};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use ws_stream_tungstenite::WsStream;

use super::{CloudError, CloudOptions, LineState};

/// The WebSocket's path.
pub(super) const PATH: &str = "/mqtt";
const MOST_CONNECTIONS: usize = 64;
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
const HANG_UP_LIMIT: Duration = Duration::from_secs(1);
const MAX_MESSAGE: usize = 1024 * 1024;

pub(super) struct Front {
    listener: TcpListener,
    address: SocketAddr,
    door: Door,
}

/// What every connection's task needs.
#[derive(Clone)]
struct Door {
    acceptor: TlsAcceptor,
    broker: SocketAddr,
    line: watch::Receiver<LineState>,
    counter: watch::Sender<usize>,
    stop: CancellationToken,
}

impl Front {
    pub(super) async fn bind(
        options: &CloudOptions,
        broker: SocketAddr,
        line: watch::Receiver<LineState>,
        counter: watch::Sender<usize>,
    ) -> Result<Self, CloudError> {
        let acceptor = TlsAcceptor::from(Arc::new(tls(options)?));
        let listen = |source| CloudError::Listen { address: options.address, source };
        let listener = TcpListener::bind(options.address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let door = Door { acceptor, broker, line, counter, stop: CancellationToken::new() };
        Ok(Self { listener, address, door })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) async fn run(self, tasks: TaskTracker, stop: CancellationToken) {
        let seats = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let door = Door { stop: stop.clone(), ..self.door };
        loop {
            // Cancel safety: `accept` loses no connection when it is dropped.
            let stream = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    // Too many open files, most likely: give the others time to end.
                    Err(_) => { sleep(Duration::from_millis(50)).await; continue }
                },
            };
            // While the line is cut, and when all seats are taken, the stream is dropped here.
            if *door.line.borrow() == LineState::Cut {
                continue;
            }
            if let Ok(seat) = seats.clone().try_acquire_owned() {
                tasks.spawn(door.clone().serve(stream, seat));
            }
        }
    }
}

impl Door {
    /// Ends when the cloud stops or the line is cut.
    async fn closed(&self) {
        let mut line = self.line.clone();
        // Cancel safety: both only wait. An error means that the cloud is gone.
        tokio::select! {
            () = self.stop.cancelled() => {}
            _ = line.wait_for(|state| *state == LineState::Cut) => {}
        }
    }

    async fn serve(self, stream: TcpStream, _seat: OwnedSemaphorePermit) {
        // Cancel safety: a handshake that is dropped ends with its connection.
        let ready = tokio::select! {
            () = self.closed() => return,
            ready = self.handshake(stream) => ready,
        };
        // Strangers come and go; what they did wrong, the TLS alert or the HTTP status has told them.
        let Ok((outside, mut inside)) = ready else { return };
        let _counted = Counted::new(&self.counter);
        let (from_home, to_home) = tokio::io::split(outside);
        let (from_broker, to_broker) = inside.split();
        // Cancel safety: whichever ends, the connection is over; what is under way is lost, as on a line.
        tokio::select! {
            () = self.closed() => {}
            _ = pump(from_home, to_broker, self.line.clone()) => {}
            _ = pump(from_broker, to_home, self.line.clone()) => {}
        }
        hang_up(inside).await;
    }

    async fn handshake(&self, stream: TcpStream) -> io::Result<(Socket, TcpStream)> {
        carrying(&mut self.line.clone()).await?;
        stream.set_nodelay(true)?;
        let steps = async {
            let stream = self.acceptor.accept(stream).await?;
            let config = WebSocketConfig::default()
                .max_message_size(Some(MAX_MESSAGE))
                .max_frame_size(Some(MAX_MESSAGE));
            accept_hdr_async_with_config(stream, CheckRequest, Some(config)).await.map_err(io::Error::other)
        };
        let socket = timeout(HANDSHAKE_LIMIT, steps).await.map_err(io::Error::other)??;
        let inside = TcpStream::connect(self.broker).await?;
        inside.set_nodelay(true)?;
        Ok((WsStream::new(socket), inside))
    }
}

type Socket = WsStream<TokioAdapter<TlsStream<TcpStream>>>;

/// Waits until the line is not stalled.
async fn carrying(line: &mut watch::Receiver<LineState>) -> io::Result<()> {
    line.wait_for(|state| *state != LineState::Stalled).await.map(drop).map_err(io::Error::other)
}

/// Carries bytes one way until the sender's end. Holds them back while the line is stalled.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut line: watch::Receiver<LineState>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        carrying(&mut line).await?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..count]).await?;
        to.flush().await?;
    }
}

/// Closes the broker's side in order. A reset in the middle of its CONNACK would poison rumqttd's
/// table of wills and with it every later connection.
async fn hang_up(mut inside: TcpStream) {
    let drain = async {
        inside.shutdown().await?;
        let mut rest = [0; 4096];
        while inside.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = timeout(HANG_UP_LIMIT, drain).await;
}

/// One connection in the count, for as long as this lives.
struct Counted<'a>(&'a watch::Sender<usize>);

impl<'a> Counted<'a> {
    fn new(counter: &'a watch::Sender<usize>) -> Self {
        counter.send_modify(|count| *count += 1);
        Self(counter)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// Lets in what asks for MQTT at the right place.
struct CheckRequest;

impl Callback for CheckRequest {
    fn on_request(self, request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
        let refuse = |status, sentence: &str| {
            let mut refusal = ErrorResponse::new(Some(sentence.to_owned()));
            *refusal.status_mut() = status;
            refusal
        };
        if request.uri().path() != PATH {
            return Err(refuse(StatusCode::NOT_FOUND, "MQTT is at /mqtt\n"));
        }
        let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL).iter();
        let offered = offered.filter_map(|value| value.to_str().ok()).flat_map(|list| list.split(','));
        if !offered.map(str::trim).any(|protocol| protocol == "mqtt") {
            return Err(refuse(StatusCode::BAD_REQUEST, "the WebSocket subprotocol is mqtt\n"));
        }
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("mqtt"));
        Ok(response)
    }
}

fn tls(options: &CloudOptions) -> Result<ServerConfig, CloudError> {
    let file = |path: &Path, detail: String| CloudError::File { path: path.to_owned(), detail };
    let tls = |error: &dyn std::fmt::Display| CloudError::Tls(error.to_string());
    let certificates = read_certificates(&options.certificate)?;
    let key =
        PrivateKeyDer::from_pem_file(&options.key).map_err(|error| file(&options.key, error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(&options.client_ca)? {
        roots.add(certificate).map_err(|error| file(&options.client_ca, error.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| tls(&error))?;
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| tls(&error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates, key)
        .map_err(|error| tls(&error))
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CloudError> {
    let file = |detail: String| CloudError::File { path: path.to_owned(), detail };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| file(error.to_string()))?;
    if certificates.is_empty() { Err(file("it holds no certificate".to_owned())) } else { Ok(certificates) }
}
