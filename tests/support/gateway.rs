//! A link with everything around it that a gateway has, on short time limits.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use hearthlink::{
    clock::Clock,
    demo::certificates::{Authority, IdentityFiles, LOOPBACK_NAMES, Validity, Wish},
    health::{Board, LinkReport},
    link::{Access, Link, LinkError, LinkOptions, ProxyOptions, Way},
    model::{CloudUrl, Fault, Inbound, LinkState, Message, QoS, Receipts, Topic, TopicFilter},
    retry,
    store::{Entry, Store, StoreOptions},
};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

pub fn topic(text: &str) -> Topic {
    Topic::parse(text).unwrap()
}

/// Certificates for one cloud and one gateway, and for those that must be refused.
pub struct Papers {
    pub directory: tempfile::TempDir,
    pub authority: Authority,
    pub ca: PathBuf,
    pub gateway: IdentityFiles,
    pub server: IdentityFiles,
}

impl Papers {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new("test CA").unwrap();
        let ca = directory.path().join("ca.pem");
        authority.write(&ca).unwrap();
        let issue =
            |wish: &Wish, stem: &str| authority.issue(wish).unwrap().write(directory.path(), stem).unwrap();
        let gateway = issue(&Wish::client("gateway"), "gateway");
        let server = issue(&Wish::server(LOOPBACK_NAMES), "server");
        Self { ca, gateway, server, authority, directory }
    }

    pub fn issue(&self, wish: &Wish, stem: &str) -> IdentityFiles {
        self.authority.issue(wish).unwrap().write(self.directory.path(), stem).unwrap()
    }

    pub fn server_for(&self, name: &str, validity: Validity) -> IdentityFiles {
        self.issue(&Wish::server([name]).valid(validity), &format!("server-{name}-{validity:?}"))
    }

    /// A certificate from a CA that nobody here knows.
    pub fn stranger(&self) -> IdentityFiles {
        let other = Authority::new("another CA").unwrap();
        other.issue(&Wish::client("gateway")).unwrap().write(self.directory.path(), "stranger").unwrap()
    }

    pub fn options(&self, url: &str) -> LinkOptions {
        LinkOptions {
            brokers: vec![vec![Way::direct(CloudUrl::parse(url).unwrap())]],
            proxy: ProxyOptions::None,
            access: Access::default(),
            ca_file: Some(self.ca.clone()),
            certificate_file: Some(self.gateway.certificate.clone()),
            key_file: Some(self.gateway.key.clone()),
            client_id: "gateway".to_owned(),
            subscriptions: vec![(TopicFilter::parse("h/g/+/set").unwrap(), QoS::AtLeastOnce)],
            hellos: Vec::new(),
            birth: Message::new(topic("h/g/bridge/state"), "online", QoS::AtLeastOnce).retained(),
            will: Message::new(topic("h/g/bridge/state"), "offline", QoS::AtLeastOnce).retained(),
            fence: topic("h/g/bridge/fence"),
            keep_alive: Duration::from_secs(5),
            answer_limit: Duration::from_secs(5),
            connect_limit: Duration::from_secs(5),
            climb_after: Duration::from_secs(600),
            backoff: retry::Policy {
                first: Duration::from_millis(50),
                longest: Duration::from_millis(200),
                stable_after: Duration::from_secs(60),
            },
            window: 20,
            backlog_rate: None,
            receipts: Receipts::default(),
            version: Default::default(),
            limits: Default::default(),
            session_expiry: Duration::from_secs(3600),
        }
    }
}

/// A running link.
pub struct Gateway {
    pub store: Store,
    pub board: Board,
    pub inbox: mpsc::Receiver<Inbound>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), LinkError>>,
    _directory: Arc<tempfile::TempDir>,
}

impl Gateway {
    pub fn start(options: LinkOptions) -> Self {
        Self::start_at(options, Clock::system())
    }

    pub fn start_at(options: LinkOptions, clock: Clock) -> Self {
        Self::start_with(options, &StoreOptions::default(), clock)
    }

    pub fn start_with(options: LinkOptions, store: &StoreOptions, clock: Clock) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let path: &Path = &directory.path().join("store.db");
        let store = Store::open(path, store, clock.clone()).unwrap();
        let board = Board::new("g", clock.clone());
        let (sender, inbox) = mpsc::channel(8);
        let link = Link::prepare(options, store.clone(), sender, board.clone(), clock).unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(link.run(stop.clone()));
        Self { store, board, inbox, stop, task, _directory: directory }
    }

    pub async fn append(&self, payload: &str) {
        self.append_message(Message::new(topic("h/g/toaster"), payload.to_owned(), QoS::AtLeastOnce)).await;
    }

    pub async fn append_message(&self, message: Message) {
        self.store.append(Entry::new(message)).await.unwrap().await.unwrap();
    }

    pub fn report(&self) -> LinkReport {
        self.board.snapshot().link
    }

    /// Waits until the board shows this.
    pub async fn until(&self, what: &str, holds: impl Fn(&LinkReport) -> bool) -> LinkReport {
        let mut changes = self.board.watch();
        let wait = async {
            loop {
                changes.borrow_and_update();
                let report = self.report();
                if holds(&report) {
                    return report;
                }
                changes.changed().await.unwrap();
            }
        };
        match timeout(Duration::from_secs(30), wait).await {
            Ok(report) => report,
            Err(_) => panic!("never {what}: {:?}", self.report()),
        }
    }

    pub async fn until_online(&self) -> LinkReport {
        self.until("online", |report| report.state == LinkState::Online).await
    }

    pub async fn until_fault(&self) -> Fault {
        self.until("a fault", |report| report.fault.is_some()).await.fault.unwrap()
    }

    /// Waits until nothing waits for the cloud.
    pub async fn until_empty(&self) {
        let mut stats = self.store.stats();
        let wait = stats.wait_for(|stats| stats.waiting == 0);
        let result = timeout(Duration::from_secs(60), wait).await.map(drop);
        assert!(result.is_ok(), "{:?} {:?}", self.store.stats().borrow(), self.report());
    }

    pub async fn receive(&mut self) -> Inbound {
        timeout(Duration::from_secs(20), self.inbox.recv()).await.expect("a message from the cloud").unwrap()
    }

    pub async fn stop(self) {
        self.stop.cancel();
        timeout(Duration::from_secs(6), self.task).await.expect("the link stops in time").unwrap().unwrap();
    }
}

/// What the cloud got, seen by a client inside it (MQTT 5 over plain TCP).
pub struct Watcher {
    seen: Arc<Mutex<Vec<(String, String)>>>,
    pub client: rumqttc::v5::AsyncClient,
    task: JoinHandle<()>,
}

impl Watcher {
    pub async fn start(address: std::net::SocketAddr) -> Self {
        use rumqttc::v5::{AsyncClient, Event, MqttOptions, mqttbytes::QoS, mqttbytes::v5::Packet};
        let mut options = MqttOptions::new("watcher", address.ip().to_string(), address.port());
        options.set_max_packet_size(Some(1 << 20));
        let (client, mut line) = AsyncClient::new(options, 100);
        client.try_subscribe("h/g/#", QoS::AtLeastOnce).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        let list = seen.clone();
        let task = tokio::spawn(async move {
            let mut ready = Some(ready);
            loop {
                match line.poll().await.unwrap() {
                    Event::Incoming(Packet::SubAck(_)) => {
                        ready.take().map(|ready| ready.send(()));
                    }
                    Event::Incoming(Packet::Publish(publish)) => {
                        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                        list.lock().unwrap().push((text(&publish.topic), text(&publish.payload)));
                    }
                    _ => {}
                }
            }
        });
        is_ready.await.unwrap();
        Self { seen, client, task }
    }

    pub async fn command(&self, payload: &str) {
        let qos = rumqttc::v5::mqttbytes::QoS::AtLeastOnce;
        self.client.publish("h/g/toaster/set", qos, false, payload.to_owned()).await.unwrap();
    }

    /// The payloads on one topic so far.
    pub fn on(&self, name: &str) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|(topic, _)| topic == name).map(|(_, payload)| payload.clone()).collect()
    }

    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..600 {
            if holds(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("never {what}: {:?}", self.seen.lock().unwrap());
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}
