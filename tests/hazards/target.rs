//! A broker by its addresses, and whether it stood a hazard.

use std::{
    fmt,
    future::Future,
    panic::panic_any,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_tungstenite::{
    tokio::client_async,
    tungstenite::{ClientRequestBuilder, http::Uri},
};
use hearthlink::broker::{Limits, ListenerKind};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use ws_stream_tungstenite::WsStream;

use crate::{
    certificates::{Files, certificates},
    raw::{Raw, puback, publish, publish5},
    rig::{Plan, Rig, listener},
};

/// How long a hazard may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
/// Whoever is not served within this is held up.
const SERVED: Duration = Duration::from_secs(10);

/// A known way to kill or confuse a broker.
pub struct Hazard {
    pub name: &'static str,
    pub why: &'static str,
    /// How many clients at a time the broker is to be started for.
    pub clients: usize,
    /// Panics when the broker does something else than it must.
    pub run: fn(Target) -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// What became of a broker.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Held,
    Wrong(String),
    /// Nobody is served any more.
    Dead(String),
    NotTried(&'static str),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held => write!(f, "held"),
            Self::Wrong(how) => write!(f, "wrong: {how}"),
            Self::Dead(how) => write!(f, "dead: {how}"),
            Self::NotTried(why) => write!(f, "not tried: {why}"),
        }
    }
}

impl Hazard {
    /// Runs it, and looks whether a fresh pair of clients is served afterwards.
    pub async fn judge(&self, target: &Target) -> Verdict {
        let verdict = match tokio::spawn(timeout(LIMIT, (self.run)(target.clone()))).await {
            Ok(Ok(())) => Verdict::Held,
            Ok(Err(_)) => Verdict::Wrong(format!("not over within {LIMIT:?}")),
            Err(error) => match error.into_panic().downcast::<NotTried>() {
                Ok(not_tried) => Verdict::NotTried(not_tried.0),
                Err(panic) => Verdict::Wrong(
                    panic.downcast::<String>().map(|text| text.to_string()).unwrap_or_else(|panic| {
                        panic
                            .downcast::<&str>()
                            .map_or_else(|_| "a panic".to_owned(), |text| text.to_string())
                    }),
                ),
            },
        };
        let pair = target.clone();
        match (tokio::spawn(async move { pair.others_are_well().await }).await, verdict) {
            (Ok(()), verdict) => verdict,
            (Err(_), Verdict::Wrong(how)) => Verdict::Dead(how),
            (Err(_), _) => Verdict::Dead("nobody is served any more".to_owned()),
        }
    }
}

/// Thrown by a hazard that has no port to try.
struct NotTried(&'static str);

/// Where a broker listens.
#[derive(Clone)]
pub struct Target {
    pub v311: u16,
    /// The same port as `v311`, unless the broker needs two.
    pub v5: u16,
    pub tls: Option<u16>,
    pub websocket: Option<u16>,
    /// How many clients at a time it takes.
    pub clients: usize,
    /// What its certificate is checked with.
    pub trust: Arc<rustls::ClientConfig>,
}

pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Target {
    pub async fn raw(&self) -> Raw {
        Raw::to(self.v311).await
    }

    /// A 3.1.1 client with a clean session.
    pub async fn client(&self, id: &str) -> Raw {
        let mut raw = self.raw().await;
        raw.connect(id, true).await;
        raw
    }

    /// A MQTT 5 client with a clean session.
    pub async fn client5(&self, id: &str) -> Raw {
        let mut raw = Raw::to(self.v5).await;
        raw.connect5(id, true, 0).await;
        raw
    }

    pub fn tls_port(&self) -> u16 {
        self.tls.unwrap_or_else(|| panic_any(NotTried("it has no TLS port here")))
    }

    pub fn websocket_port(&self) -> u16 {
        self.websocket.unwrap_or_else(|| panic_any(NotTried("it has no WebSocket port here")))
    }

    /// A byte stream through the TLS port.
    pub async fn within_tls(&self) -> Box<dyn Stream> {
        let stream = TcpStream::connect(("127.0.0.1", self.tls_port())).await.unwrap();
        let connector = TlsConnector::from(self.trust.clone());
        Box::new(connector.connect(ServerName::try_from("127.0.0.1").unwrap(), stream).await.unwrap())
    }

    /// A byte stream through the WebSocket port.
    pub async fn within_websocket(&self) -> Box<dyn Stream> {
        let port = self.websocket_port();
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let uri: Uri = format!("ws://127.0.0.1:{port}/mqtt").parse().unwrap();
        let request = ClientRequestBuilder::new(uri).with_sub_protocol("mqtt");
        Box::new(WsStream::new(client_async(request, stream).await.unwrap().0))
    }

    /// A client comes in by this stream and is served.
    pub async fn is_served_by(&self, stream: impl Future<Output = Box<dyn Stream>>) {
        let work = async {
            let mut client = Raw(stream.await);
            client.connect(&innocent(), true).await;
            client.ping().await;
        };
        timeout(SERVED, work).await.expect("others are held up on that port");
    }

    /// Others, who do everything right, are served as if nothing had happened.
    pub async fn others_are_well(&self) {
        let work = async {
            let (id, topic) = (innocent(), innocent());
            let mut subscriber = self.client(&id).await;
            subscriber.subscribe(&topic, 1).await;
            let mut publisher = self.client(&innocent()).await;
            publisher.send(&publish(2, &topic, 1, b"x")).await;
            assert_eq!(publisher.next().await, Some((0x40, vec![0, 1])), "no PUBACK for others");
            let got = subscriber.got().await;
            assert_eq!((got.topic, &got.payload[..]), (topic.clone(), &b"x"[..]));
            subscriber.send(&puback(got.id)).await;

            let mut both = self.client5(&id).await;
            both.subscribe5(&topic, 1).await;
            both.send(&publish5(2, &topic, 1, &[], b"y")).await;
            let mut kinds =
                [both.next().await, both.next().await].map(|packet| packet.expect("a packet").0 & 0xF0);
            kinds.sort_unstable();
            assert_eq!(kinds, [0x30, 0x40], "others are not served by MQTT 5");
        };
        timeout(SERVED, work).await.expect("others are held up");
    }
}

/// A name that no hazard uses and no broker could stumble over.
fn innocent() -> String {
    static LAST: AtomicU32 = AtomicU32::new(0);
    format!("innocent{}", LAST.fetch_add(1, Ordering::Relaxed))
}

/// Whether the broker ends this connection, whatever it still says.
pub async fn is_ended<S: AsyncRead + AsyncWrite + Unpin>(raw: &mut Raw<S>) -> bool {
    // A little less than `Raw` waits, which would panic.
    let patience = SERVED - Duration::from_secs(1);
    timeout(patience, async { while raw.next().await.is_some() {} }).await.is_ok()
}

/// Publishes with QoS 1, `batch` packets at a time, until `count` are acknowledged.
pub async fn publish_all(writer: &mut Raw, count: u32, batch: u32, packet: impl Fn(u32, u16) -> Vec<u8>) {
    let mut sent = 0;
    while sent < count {
        let until = count.min(sent + batch);
        let packets: Vec<u8> =
            (sent..until).flat_map(|number| packet(number, (number - sent) as u16 + 1)).collect();
        writer.send(&packets).await;
        for _ in sent..until {
            let (first, _) = writer.next().await.expect("the publisher was ended");
            assert_eq!(first, 0x40, "no PUBACK");
        }
        sent = until;
    }
}

/// Our broker, with everything that a hazard may want.
pub struct Ours {
    pub target: Target,
    rig: Rig,
    _files: Files,
}

impl Ours {
    pub async fn start(clients: usize) -> Self {
        let files = certificates();
        let listeners = vec![
            listener(ListenerKind::Tcp, None, true),
            listener(ListenerKind::Tcp, Some(files.server()), true),
            listener(ListenerKind::WebSocket, None, true),
        ];
        let limits = Limits {
            max_clients: clients,
            max_clients_per_address: 1_000,
            handshake_time: Duration::from_secs(5),
            ..Limits::default()
        };
        let rig = Plan { limits, listeners, ..Plan::default() }.start().await;
        let port = |index: usize| rig.ports[index].2.port();
        let target = Target {
            v311: port(0),
            v5: port(0),
            tls: Some(port(1)),
            websocket: Some(port(2)),
            clients,
            trust: files.client(None),
        };
        Self { target, rig, _files: files }
    }

    pub async fn stop(self) {
        self.rig.stop().await;
    }
}
