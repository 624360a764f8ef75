//! From a [`Way`] to a stream of MQTT's bytes: name, proxy, TCP, TLS, WebSocket.
//!
//! Owns the order of the steps and what is remembered of each, so that whoever gave up waiting can say at which one,
//! and `hearthlink doctor` can show them all. Never speaks MQTT. rumqttc could dial by itself, but knows no ALPN, no
//! proxy, no second address in time and not what a refused certificate looked like; `line` is given the stream
//! instead.

mod address;
mod metered;
mod proxy;
mod upgrade;

use std::{io, sync::Arc, time::Duration};

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use ws_stream_tungstenite::WsStream;

use super::{
    access::{Grant, Issuer},
    chain,
    diagnose::{self, Scene},
    tls::{Credentials, Witness},
    way::{Transport, Way},
};
use crate::{
    clock::Clock,
    health::Traffic,
    model::{CloudUrl, Fault, FaultKind},
};
use address::Host;
use metered::Metered;
pub use proxy::ProxyOptions;
use upgrade::UpgradeError;

/// What MQTT's bytes go through.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// TCP, and TLS over it.
type Tcp = Metered<TcpStream>;
type Tls = TlsStream<Tcp>;

/// One step of dialling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// What is to be said is put together: files are read, tokens bought.
    Access,
    /// The name is resolved: the cloud's, or the proxy's if there is one.
    Resolve,
    /// TCP is opened to it.
    Tcp,
    /// The proxy is asked for a tunnel.
    Proxy,
    /// TLS, and whatever the server's certificate says.
    Tls,
    /// WebSocket.
    Upgrade,
}

/// What is dialled, and with what.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) way: &'a Way,
    pub(super) proxy: &'a ProxyOptions,
    pub(super) issuer: &'a Issuer,
    pub(super) credentials: &'a Credentials,
    pub(super) clock: &'a Clock,
    pub(super) traffic: &'a Traffic,
    /// How many attempts in a row came to nothing.
    pub(super) turn: usize,
}

/// How far it came.
pub(super) struct Progress {
    /// The step that is under way, or failed.
    pub(super) step: Step,
    /// The steps that are done, each with what was seen.
    pub(super) done: Vec<(Step, String)>,
    /// Whether there is a proxy on this way.
    pub(super) has_proxy: bool,
    /// Of the TLS handshake, once it began.
    pub(super) witness: Option<Arc<Witness>>,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { step: Step::Access, done: Vec::new(), has_proxy: false, witness: None }
    }

    fn next(&mut self, step: Step, seen: String) {
        self.done.push((self.step, seen));
        self.step = step;
    }

    /// Why an attempt failed that had no answer within `limit`.
    fn timeout(&self, limit: Duration) -> Fault {
        let seconds = limit.as_secs_f32();
        let silent = format!("no answer within {seconds} s");
        match self.step {
            Step::Access => {
                Fault::new(FaultKind::NoAnswer, format!("{silent} from whom the credentials come"))
            }
            Step::Resolve => Fault::new(FaultKind::Dns, silent),
            Step::Tcp | Step::Proxy if self.has_proxy => Fault::new(FaultKind::ProxyUnreachable, silent),
            Step::Tcp | Step::Proxy => Fault::new(FaultKind::Tcp, silent),
            Step::Tls => Fault::new(FaultKind::NoAnswer, format!("TCP is open, but TLS had {silent}")),
            Step::Upgrade => {
                Fault::new(FaultKind::NoAnswer, format!("TLS is open, but WebSocket had {silent}"))
            }
        }
    }
}

/// An open connection on which nothing of MQTT was said yet.
pub(super) struct Dialled {
    pub(super) stream: Box<dyn Stream>,
    pub(super) grant: Grant,
    /// What is known if it fails before CONNACK.
    pub(super) scene: Scene,
}

/// Goes all the steps, within `limit` together.
///
/// # Errors
/// One [`Fault`]; `progress` says at which step.
pub(super) async fn dial(
    call: &Call<'_>,
    limit: Duration,
    progress: &mut Progress,
) -> Result<Dialled, Fault> {
    match timeout(limit, go(call, limit, progress)).await {
        Ok(result) => result,
        Err(_) => Err(progress.timeout(limit)),
    }
}

async fn go(call: &Call<'_>, limit: Duration, progress: &mut Progress) -> Result<Dialled, Fault> {
    let way = call.way;
    // Whoever sells keys has half the time: the rest is for what they are bought for.
    let to_provider = |url| elsewhere(call, url);
    let grant = call.issuer.grant(&way.url, call.clock.now(), limit / 2, to_provider).await?;
    progress.next(Step::Resolve, String::new());
    let tcp = open(call, progress).await?;
    let (tls, witness) = handshake(call, tcp, progress).await?;
    let mut scene = call.scene(&witness);
    let stream: Box<dyn Stream> = match &way.transport {
        Transport::Tls { .. } => {
            progress.next(Step::Tls, seen_of_tls(&tls));
            // It may have been refused, and the alert been lost; but there are many other reasons to hang up, so only a
            // missing or expired one is blamed.
            scene.was_asked &= !scene.has_certificate || scene.has_expired;
            Box::new(tls)
        }
        Transport::WebSocket { subprotocol } => {
            progress.next(Step::Upgrade, seen_of_tls(&tls));
            let upgraded = upgrade::upgrade(tls, &way.url, subprotocol, &grant).await;
            let socket = upgraded.map_err(|error| match error {
                UpgradeError::Fault(fault) => fault,
                UpgradeError::WebSocket(error) => diagnose::websocket_fault(&error, scene),
            })?;
            // It was opened after our certificate was seen: a hang-up has another cause.
            scene.was_asked = false;
            progress.done.push((Step::Upgrade, format!("`{subprotocol}` at {}", way.url)));
            Box::new(WsStream::new(socket))
        }
    };
    Ok(Dialled { stream, grant, scene })
}

/// A connection as to the cloud, with TLS and the certificate, but to another host and not for MQTT.
async fn elsewhere(call: &Call<'_>, url: CloudUrl) -> Result<Tls, Fault> {
    let (way, mut progress) = (Way::direct(url), Progress::new());
    let call = Call { way: &way, ..*call };
    let tcp = open(&call, &mut progress).await?;
    Ok(handshake(&call, tcp, &mut progress).await?.0)
}

/// TCP to the cloud, through the proxy if there is one.
async fn open(call: &Call<'_>, progress: &mut Progress) -> Result<Tcp, Fault> {
    let url = &call.way.url;
    let proxy = call.proxy.towards(url)?;
    progress.has_proxy = proxy.is_some();
    let host = proxy.as_ref().map_or(Host { name: url.host(), port: url.port() }, |proxy| proxy.host());
    let unreachable = |kind, detail: String| match &proxy {
        Some(proxy) => Fault::new(FaultKind::ProxyUnreachable, format!("the proxy {proxy}: {detail}")),
        None => Fault::new(kind, detail),
    };
    let addresses = address::resolve(host).await.map_err(|fault| unreachable(fault.kind, fault.detail))?;
    progress.next(Step::Tcp, format!("`{}` is {}", host.name, list(&addresses)));
    let raced = address::race(address::in_turn(addresses, call.turn)).await;
    let (stream, address) = raced.map_err(|error| unreachable(FaultKind::Tcp, error.to_string()))?;
    let mut stream = Metered::new(stream, call.traffic.clone());
    if let Some(proxy) = &proxy {
        progress.next(Step::Proxy, address.to_string());
        proxy.tunnel(&mut stream, url).await?;
        progress.next(Step::Tls, format!("{proxy} opens a tunnel to {}", url.host_and_port()));
    } else {
        progress.next(Step::Tls, address.to_string());
    }
    Ok(stream)
}

fn list(addresses: &[std::net::SocketAddr]) -> String {
    let texts: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
    texts.join(", ")
}

async fn handshake(call: &Call<'_>, tcp: Tcp, progress: &mut Progress) -> Result<(Tls, Arc<Witness>), Fault> {
    let alpn = match &call.way.transport {
        Transport::Tls { alpn } => alpn.as_deref(),
        Transport::WebSocket { .. } => None,
    };
    let attempt = call.credentials.for_attempt(alpn);
    let (config, witness) = attempt.map_err(|error| Fault::new(FaultKind::Tls, error.to_string()))?;
    progress.witness = Some(witness.clone());
    let has_proxy = progress.has_proxy;
    let name = call.way.name();
    let server_name = ServerName::try_from(name.to_owned()).map_err(|_| {
        Fault::new(FaultKind::ServerNameMismatch, format!("`{name}` is no name that a certificate can have"))
    })?;
    let stream = TlsConnector::from(config).connect(server_name, tcp).await;
    let stream = stream.map_err(|error: io::Error| {
        let fault = diagnose::io_fault(&error, call.scene(&witness));
        chain::judged(fault, witness.shown(), witness.trust(), has_proxy)
    })?;
    match alpn {
        Some(alpn) if stream.get_ref().1.alpn_protocol() != Some(alpn.as_bytes()) => {
            let detail =
                format!("the server does not speak the protocol `{alpn}` that was asked for by ALPN");
            Err(Fault::new(FaultKind::Tls, detail))
        }
        _ => Ok((stream, witness)),
    }
}

fn seen_of_tls(stream: &Tls) -> String {
    let version = stream.get_ref().1.protocol_version();
    version.map_or(String::new(), |version| format!("{version:?}").replace("TLSv1_", "TLS 1."))
}

impl Call<'_> {
    /// What is known when TLS or WebSocket fails.
    fn scene(&self, witness: &Witness) -> Scene {
        Scene {
            is_connected: false,
            was_asked: witness.was_asked(),
            has_certificate: witness.has_certificate(),
            has_expired: self.credentials.has_expired(self.clock),
            is_clock_trusted: self.clock.is_trusted(),
        }
    }
}
