//! rumqttc as clients of the local broker, in the words that the other programs hear and say.
//!
//! One thread a station follows the orders one after the other; every client has a task that polls its event
//! loop. rumqttc names no publish by itself, so a publish is done when as many were acknowledged as were sent.

mod v4;
mod v5;

use std::{collections::HashMap, sync::Arc, sync::mpsc as orders, thread, time::Duration};

use rumqttc::{TlsConfiguration, Transport as Theirs};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::{runtime::Builder, sync::mpsc};

use super::words::{Login, Message, News, Order, Post, Subscription, Task, Transport};
use crate::process::{Heard, PATIENCE};

/// Requests, packets and bytes that are more than enough for a test.
const ROOM: usize = 1_000;
const LARGEST: usize = 1 << 20;
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// The thread.
pub struct Station {
    orders: Option<orders::SyncSender<String>>,
    heard: Arc<Heard>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Station {
    pub fn start() -> Self {
        // One order at a time is under way.
        let (sender, receiver) = orders::sync_channel(1);
        let heard = Arc::new(Heard::default());
        let says = Arc::clone(&heard);
        let thread = thread::spawn(move || follow(&receiver, &says));
        Self { orders: Some(sender), heard, thread: Some(thread) }
    }

    pub fn heard(&self) -> Arc<Heard> {
        Arc::clone(&self.heard)
    }

    pub fn say(&mut self, line: String) {
        let orders = self.orders.as_ref().expect("open until it is dropped");
        orders.send(line).expect("it follows until it is dropped");
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn follow(orders: &orders::Receiver<String>, says: &Arc<Heard>) {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let mut clients = HashMap::new();
    for line in orders {
        let Order { n, client, task } = serde_json::from_str(&line).expect("our own words");
        let work = async {
            if let Task::Connect(login) = &task {
                clients.insert(client.clone(), Client::new(login, client.clone(), says));
            }
            clients.get_mut(&client).expect("connected before").follow(task).await
        };
        let result = runtime.block_on(async { tokio::time::timeout(PATIENCE / 2, work).await });
        let news = result.unwrap_or_else(|_| Err("no answer".to_owned()));
        let news = news.unwrap_or_else(|failed| News { failed: Some(failed), ..News::default() });
        says.push(serde_json::to_string(&News { n: Some(n), ..news }).expect("news are JSON"));
    }
    // Cuts every connection where it is: nobody says goodbye.
    runtime.shutdown_background();
}

/// What came of a request, or of the connection.
#[derive(Debug)]
enum Happened {
    Connected {
        code: u8,
        session_present: bool,
    },
    Granted(u8),
    Unsubscribed,
    /// A publish was acknowledged, or sent with QoS 0.
    Published,
    Over(String),
}

/// Where a client's task tells what it hears.
struct Report {
    client: String,
    says: Arc<Heard>,
    /// Full: the task waits, and with it the connection.
    happened: mpsc::Sender<Happened>,
}

impl Report {
    async fn happened(&self, what: Happened) {
        // Nobody asks any more when the station ends.
        self.happened.send(what).await.ok();
    }

    fn message(&self, message: Message) {
        let news = News { client: Some(self.client.clone()), message: Some(message), ..News::default() };
        self.says.push(serde_json::to_string(&news).expect("news are JSON"));
    }
}

enum Requests {
    V4(rumqttc::AsyncClient),
    V5(rumqttc::v5::AsyncClient),
}

struct Client {
    requests: Requests,
    happened: mpsc::Receiver<Happened>,
}

impl Client {
    /// To be called within the runtime.
    fn new(login: &Login, client: String, says: &Arc<Heard>) -> Self {
        let (sender, happened) = mpsc::channel(ROOM);
        let report = Report { client, says: Arc::clone(says), happened: sender };
        let requests = if login.version == 5 {
            Requests::V5(v5::connect(login, report))
        } else {
            Requests::V4(v4::connect(login, report))
        };
        Self { requests, happened }
    }

    async fn next(&mut self) -> Result<Happened, String> {
        match self.happened.recv().await {
            Some(Happened::Over(why)) => Err(why),
            Some(happened) => Ok(happened),
            None => Err("the connection is over".to_owned()),
        }
    }

    async fn follow(&mut self, task: Task) -> Result<News, String> {
        let mut sent = 1;
        match task {
            Task::Connect(_) => {}
            Task::Subscribe(subscription) => self.subscribe(subscription).await?,
            Task::Unsubscribe { filter } => match &self.requests {
                Requests::V4(client) => client.unsubscribe(filter).await.map_err(text)?,
                Requests::V5(client) => client.unsubscribe(filter).await.map_err(text)?,
            },
            Task::Publish(post) => self.publish(post).await?,
            Task::Burst { topic, qos, count } => {
                sent = count;
                for number in 0..count {
                    let payload = number.to_string().into_bytes();
                    self.publish(Post { topic: topic.clone(), payload, qos, ..Post::default() }).await?;
                }
            }
            Task::Disconnect => return self.disconnect().await,
        }
        loop {
            match self.next().await? {
                Happened::Connected { code, session_present } => {
                    let session_present = Some(session_present);
                    return Ok(News { code: Some(code), session_present, ..News::default() });
                }
                Happened::Granted(code) => return Ok(News { code: Some(code), ..News::default() }),
                Happened::Unsubscribed => return Ok(News::default()),
                Happened::Published if sent > 1 => sent -= 1,
                Happened::Published => return Ok(News::default()),
                Happened::Over(why) => return Err(why),
            }
        }
    }

    async fn subscribe(&self, subscription: Subscription) -> Result<(), String> {
        match &self.requests {
            Requests::V4(client) => {
                client.subscribe(subscription.filter, v4::qos(subscription.qos)).await.map_err(text)
            }
            Requests::V5(client) => v5::subscribe(client, subscription).await.map_err(text),
        }
    }

    async fn publish(&self, post: Post) -> Result<(), String> {
        match &self.requests {
            Requests::V4(client) => {
                let Post { topic, payload, qos, retain, .. } = post;
                client.publish(topic, v4::qos(qos), retain, payload).await.map_err(text)
            }
            Requests::V5(client) => v5::publish(client, post).await.map_err(text),
        }
    }

    async fn disconnect(&mut self) -> Result<News, String> {
        match &self.requests {
            Requests::V4(client) => client.disconnect().await.map_err(text)?,
            Requests::V5(client) => client.disconnect().await.map_err(text)?,
        }
        // The broker hangs up.
        while self.next().await.is_ok() {}
        Ok(News::default())
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Host and transport, as rumqttc wants them: a WebSocket's host is its URL.
fn address(login: &Login) -> (String, Theirs) {
    let host = "127.0.0.1".to_owned();
    let url = |scheme: &str| format!("{scheme}://{host}:{}/mqtt", login.port);
    match login.transport {
        Transport::Tcp => (host, Theirs::Tcp),
        Transport::Tls => (host, Theirs::tls_with_config(tls(&login.ca))),
        Transport::Ws => (url("ws"), Theirs::Ws),
        Transport::Wss => (url("wss"), Theirs::wss_with_config(tls(&login.ca))),
    }
}

fn tls(ca: &str) -> TlsConfiguration {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).expect("a certificate")).expect("a CA");
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .expect("ring knows them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConfiguration::Rustls(Arc::new(config))
}
