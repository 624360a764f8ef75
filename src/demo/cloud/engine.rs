//! rumqttd, embedded: its server in a thread of its own, on a plain loopback port.
//!
//! Owns the thread and the port. Never lets a stranger in: only the front and the cloud's own
//! programs know the port. rumqttd's `Broker` cannot be stopped, so its parts are used: a `Server` is
//! a future that can be dropped. Its router thread stays behind, asleep, until the process ends,
//! because it holds its own sender; about 100 KB a cloud.
//! rumqttd dies for good of: a topic or filter that is not ASCII in a match, a client id with one of
//! `+ $ # /` used twice, more connections than `max_connections`, MQTT 5 properties towards a 3.1.1
//! client, DISCONNECT from a subscriber with 200 messages under way. The front and the phone keep
//! away from all of these.

use std::{
    net::{Ipv4Addr, SocketAddr},
    thread,
    time::Duration,
};

use rumqttd::{
    ConnectionSettings, LinkType, Router, RouterConfig, Server, ServerSettings,
    protocol::{Protocol, v4::V4, v5::V5},
};
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::oneshot,
    time::{Instant, sleep},
};

use super::{CloudError, Dialect};

const START_LIMIT: Duration = Duration::from_secs(10);

pub(super) struct Engine {
    address: SocketAddr,
    /// Its drop ends the thread.
    stop: Option<oneshot::Sender<()>>,
    ended: oneshot::Receiver<Result<(), String>>,
}

impl Engine {
    pub(super) async fn start(dialect: Dialect) -> Result<Self, CloudError> {
        let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let reserve = || {
            let socket = TcpSocket::new_v4()?;
            // Linux lets rumqttd, which sets the same option, listen on the port that we hold without
            // listening; so nobody else can get it in between.
            socket.set_reuseaddr(true)?;
            socket.bind(wanted)?;
            Ok((socket.local_addr()?, socket))
        };
        let (address, reservation) =
            reserve().map_err(|source| CloudError::Listen { address: wanted, source })?;
        #[cfg(not(target_os = "linux"))]
        drop(reservation);

        let (stop, stopped) = oneshot::channel();
        let (end, mut ended) = oneshot::channel();
        thread::Builder::new()
            .name("demo-cloud".to_owned())
            .spawn(move || {
                let result = match dialect {
                    Dialect::Mqtt5 => serve(address, V5, stopped),
                    Dialect::Mqtt311 => serve(address, V4, stopped),
                };
                let _ = end.send(result);
            })
            .map_err(|error| CloudError::Broker(error.to_string()))?;

        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect(address).await.is_err() {
            if let Ok(result) = ended.try_recv() {
                return Err(CloudError::Broker(
                    result.err().unwrap_or_else(|| "it ended at once".to_owned()),
                ));
            }
            if Instant::now() > deadline {
                return Err(CloudError::Broker(format!("nothing listens on {address}")));
            }
            sleep(Duration::from_millis(5)).await;
        }
        #[cfg(target_os = "linux")]
        drop(reservation);
        Ok(Self { address, stop: Some(stop), ended })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes every connection and the port.
    pub(super) async fn stop(&mut self) {
        drop(self.stop.take());
        let _ = (&mut self.ended).await;
    }
}

fn serve<P: Protocol + Clone + Send + 'static>(
    address: SocketAddr,
    protocol: P,
    stopped: oneshot::Receiver<()>,
) -> Result<(), String> {
    let router = RouterConfig {
        // Far above what the front lets in: reaching it kills rumqttd.
        max_connections: 1024,
        max_outgoing_packet_count: 200,
        // A subscriber that falls further behind than 16 segments silently misses messages.
        max_segment_size: 4 * 1024 * 1024,
        max_segment_count: 16,
        ..RouterConfig::default()
    };
    let settings = ServerSettings {
        name: "demo-cloud".to_owned(),
        listen: address,
        tls: None,
        next_connection_delay_ms: 1,
        connections: ConnectionSettings {
            connection_timeout_ms: 5_000,
            max_payload_size: 256 * 1024,
            max_inflight_count: 100,
            auth: None,
            external_auth: None,
            dynamic_filters: true,
        },
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let mut server = Server::new(settings, Router::new(0, router).spawn(), protocol);
    runtime.block_on(async move {
        // Cancel safety: both branches end everything.
        tokio::select! {
            result = server.start(LinkType::Remote) => result.map_err(|error| error.to_string()),
            _ = stopped => Ok(()),
        }
    })
}
