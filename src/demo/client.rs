//! A plain MQTT 5 client, by rumqttc: what a program in the cloud or a device at home would use.
//!
//! Owns one connection and its task: keeps it up, subscribes on every connect, hands over what comes
//! in and says when a publish was acknowledged. Never knows what the messages mean. Invariant: an
//! acknowledgement belongs to the publish that it is reported for, matched by packet id.
//! The filters must not overlap: rumqttd delivers once for each filter that matches.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rumqttc::{
    NetworkOptions, Outgoing,
    v5::{
        AsyncClient, Event, EventLoop, Incoming, MqttOptions,
        mqttbytes::{
            QoS,
            v5::{Filter, PubAckReason, Publish},
        },
    },
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// How long a publish may wait for its acknowledgement.
const ACK_LIMIT: Duration = Duration::from_secs(5);
/// Between two attempts to connect: it is loopback, nobody is hurt.
const PAUSE: Duration = Duration::from_millis(100);
/// Requests that may wait for the connection's task. Full: the publish fails, nothing waits.
const REQUESTS: usize = 64;

/// Why a publish is not known to have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// There is no connection, or too much waits for it.
    #[error("there is no connection to the broker")]
    NotSent,
    /// The broker said no.
    #[error("the broker refused the message")]
    Refused,
    /// No acknowledgement came.
    #[error("the broker did not acknowledge the message within 5 seconds")]
    NotAcknowledged,
}

type Acknowledged = oneshot::Sender<bool>;

/// A connection; cheap to clone. It ends with the token given to [`Client::connect`].
#[derive(Clone)]
pub(super) struct Client {
    requests: AsyncClient,
    /// In the order in which the requests were queued; the lock is held while queueing, never longer.
    unsent: Arc<Mutex<VecDeque<Acknowledged>>>,
    connected: watch::Receiver<bool>,
}

impl Client {
    /// Starts connecting. What comes in goes to `incoming`; full, the connection waits and with it the
    /// broker.
    pub(super) fn connect(
        id: &str,
        broker: SocketAddr,
        filters: Vec<String>,
        incoming: mpsc::Sender<Publish>,
        stop: CancellationToken,
    ) -> Self {
        let mut options = MqttOptions::new(id, broker.ip().to_string(), broker.port());
        options.set_keep_alive(Duration::from_secs(10));
        // Else a small packet may wait 40 ms for the other side's delayed TCP acknowledgement.
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
        let (requests, events) = AsyncClient::new(options, REQUESTS);
        let (connection, connected) = watch::channel(false);
        let unsent = Arc::new(Mutex::new(VecDeque::new()));
        let run = Run {
            requests: requests.clone(),
            filters,
            incoming,
            connection,
            unsent: unsent.clone(),
            under_way: HashMap::new(),
        };
        tokio::spawn(async move {
            // Cancel safety: dropping the event loop closes the connection, which is what a stop means.
            tokio::select! {
                () = stop.cancelled() => {}
                () = run.run(events) => {}
            }
        });
        Self { requests, unsent, connected }
    }

    /// Whether there is a connection with every subscription granted; changes wake the receiver.
    pub(super) fn connected(&self) -> watch::Receiver<bool> {
        self.connected.clone()
    }

    /// Publishes with QoS 1 and waits for the acknowledgement.
    pub(super) async fn publish(&self, topic: &str, payload: Vec<u8>) -> Result<(), ClientError> {
        let (sender, acknowledged) = oneshot::channel();
        {
            let mut unsent = self.unsent.lock().unwrap_or_else(PoisonError::into_inner);
            if !*self.connected.borrow() {
                return Err(ClientError::NotSent);
            }
            self.requests
                .try_publish(topic, QoS::AtLeastOnce, false, payload)
                .map_err(|_| ClientError::NotSent)?;
            unsent.push_back(sender);
        }
        match timeout(ACK_LIMIT, acknowledged).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(ClientError::Refused),
            Ok(Err(_)) | Err(_) => Err(ClientError::NotAcknowledged),
        }
    }
}

struct Run {
    requests: AsyncClient,
    filters: Vec<String>,
    incoming: mpsc::Sender<Publish>,
    connection: watch::Sender<bool>,
    unsent: Arc<Mutex<VecDeque<Acknowledged>>>,
    under_way: HashMap<u16, Acknowledged>,
}

impl Run {
    async fn run(mut self, mut events: EventLoop) {
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                    let filters = self.filters.iter().map(|filter| Filter::new(filter, QoS::AtLeastOnce));
                    if self.filters.is_empty() {
                        self.connection.send_replace(true);
                    } else if self.requests.try_subscribe_many(filters).is_err() {
                        events.clean();
                    }
                }
                Ok(Event::Incoming(Incoming::SubAck(_))) => {
                    self.connection.send_replace(true);
                }
                Ok(Event::Incoming(Incoming::Publish(publish))) => {
                    // An error means that nobody listens any more; the stop follows.
                    let _ = self.incoming.send(publish).await;
                }
                Ok(Event::Outgoing(Outgoing::Publish(packet_id))) => {
                    let mut unsent = self.unsent.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(acknowledged) = unsent.pop_front() {
                        self.under_way.insert(packet_id, acknowledged);
                    }
                }
                Ok(Event::Incoming(Incoming::PubAck(ack))) => {
                    if let Some(acknowledged) = self.under_way.remove(&ack.pkid) {
                        let accepted =
                            matches!(ack.reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers);
                        let _ = acknowledged.send(accepted);
                    }
                }
                Ok(_) => {}
                Err(_) => {
                    self.connection.send_replace(false);
                    // Their senders learn that nothing is known; rumqttc must not send them again
                    // under packet ids that mean something else by then.
                    self.under_way.clear();
                    self.unsent.lock().unwrap_or_else(PoisonError::into_inner).clear();
                    events.clean();
                    events.pending.clear();
                    sleep(PAUSE).await;
                }
            }
        }
    }
}
