//! How long a message takes from its publisher to its subscriber at home, while something else is in trouble.
//!
//! Rounds alternate, so that what disturbs the machine disturbs all of them. Other topics feed the line to the
//! cloud all the time, 20 messages a second, as a house does. `normal` is a healthy disk and a cloud that takes
//! them. The ratio is judged round by round, and of these the median counts. A test binary of its own, so that no
//! other test runs beside it.
#![cfg(all(feature = "demo", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "support/disk.rs"]
#[allow(dead_code, reason = "shared with the tests of a faulty disk")]
mod disk;
#[path = "support/house.rs"]
#[allow(dead_code, reason = "shared with the other tests of the real program")]
mod house;
#[path = "support/raw.rs"]
#[allow(dead_code, reason = "shared with the tests of the broker")]
mod raw;

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use hearthlink::demo::{
    certificates::{Authority, LOOPBACK_NAMES, Wish},
    cloud::{Cloud, CloudOptions, Dialect},
};

use disk::FaultyDisk;
use house::{House, PATIENCE};
use raw::{packet, publish, text};

/// Between two messages that are measured: they are spread over everything that a slow disk does.
const PAUSE: Duration = Duration::from_millis(2);
/// Between two messages for the cloud.
const LOAD: Duration = Duration::from_millis(50);
const SLOW: Duration = Duration::from_millis(300);
/// The topics that are measured: one that stays at home, one that goes to the cloud as well.
const TOPICS: [&str; 2] = ["lights/hall", "sensors/pair"];
/// What the light judgement takes for normal at least: a busy machine makes that by itself, and nobody sees it.
const FLOOR: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    None,
    CloudRefuses,
    CloudIsSilent,
    NamesHang,
    SyncsSlow,
    SyncsHang,
}

impl Trouble {
    const ALL: [Self; 6] = [
        Self::None,
        Self::CloudRefuses,
        Self::CloudIsSilent,
        Self::NamesHang,
        Self::SyncsSlow,
        Self::SyncsHang,
    ];

    fn words(self) -> &'static str {
        match self {
            Self::None => "normal",
            Self::CloudRefuses => "the cloud refuses connections",
            Self::CloudIsSilent => "the cloud accepts and says nothing",
            Self::NamesHang => "DNS does not answer",
            Self::SyncsSlow => "every fsync takes 300 ms",
            Self::SyncsHang => "fsync hangs",
        }
    }
}

/// A client of the side that measures: blocking, so that no runtime of ours lies in between.
struct Client {
    stream: TcpStream,
}

impl Client {
    fn new(port: u16, id: &str) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Self { stream };
        // Without a keep-alive: a subscriber only listens.
        client.send(&packet(0x10, &[&text("MQTT")[..], &[4, 2, 0, 0], &text(id)].concat()));
        assert_eq!(client.next(), (0x20, vec![0, 0]));
        client
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next packet of fewer than 128 bytes.
    fn next(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).unwrap();
        let mut body = vec![0; usize::from(head[1])];
        self.stream.read_exact(&mut body).unwrap();
        (head[0], body)
    }
}

/// Publishers and their subscriber in one hand. Each topic has a publisher of its own: acknowledgements keep
/// their order, so that one who has 1000 of them to come because of the disk is not read any more.
struct Pair {
    publishers: [Client; TOPICS.len()],
    subscriber: Client,
    id: u16,
}

impl Pair {
    fn new(port: u16) -> Self {
        let mut subscriber = Client::new(port, "pair-subscriber");
        for topic in TOPICS {
            subscriber.send(&packet(0x82, &[&[0, 9][..], &text(topic), &[0]].concat()));
            assert_eq!(subscriber.next().0, 0x90);
        }
        Self { publishers: TOPICS.map(|topic| Client::new(port, topic)), subscriber, id: 0 }
    }

    /// A message with QoS 1, whose acknowledgement may wait for the disk and is not waited for.
    fn message(&mut self, index: usize) -> Duration {
        let topic = TOPICS[index];
        self.id = self.id % 60_000 + 1;
        let message = publish(2, topic, self.id, &[b'x'; 64]);
        let began = Instant::now();
        self.publishers[index].send(&message);
        let (first, body) = self.subscriber.next();
        let took = began.elapsed();
        assert_eq!((first, &body[2..2 + topic.len()]), (0x30, topic.as_bytes()));
        took
    }

    /// What came back to the publishers is of no interest, but must not fill the sockets.
    fn drain(&mut self) {
        for Client { stream } in &mut self.publishers {
            stream.set_nonblocking(true).unwrap();
            while stream.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {}
            stream.set_nonblocking(false).unwrap();
        }
    }
}

/// Feeds the line to the cloud until it is dropped.
struct Load(Arc<AtomicBool>);

impl Load {
    fn start(port: u16) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let stop = is_over.clone();
        let mut client = Client::new(port, "load");
        let mut acks = client.stream.try_clone().unwrap();
        thread::spawn(move || while acks.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {});
        thread::spawn(move || {
            for id in (1..=60_000).cycle() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                // The gateway goes before the load does.
                if client.stream.write_all(&publish(2, "sensors/load", id, &[b'x'; 200])).is_err() {
                    break;
                }
                thread::sleep(LOAD);
            }
        });
        Self(is_over)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What was measured in one round, by topic.
type Samples = [Vec<Duration>; TOPICS.len()];

fn quantile(samples: &[Duration], share: f64) -> Duration {
    let mut sorted = samples.to_vec();
    sorted.sort();
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// A house with a cloud that works, and everything that can be done to them.
struct Laboratory {
    house: House,
    disk: FaultyDisk,
    cloud: Cloud,
    _gateway: tokio::process::Child,
}

impl Laboratory {
    async fn start() -> Self {
        let (house, disk) = (House::new(""), FaultyDisk::new());
        let authority = Authority::new("latency").unwrap();
        let ca = house.path().join("ca.pem");
        authority.write(&ca).unwrap();
        let issue =
            |wish: &Wish, stem: &str| authority.issue(wish).unwrap().write(house.path(), stem).unwrap();
        issue(&Wish::client("home"), "gateway");
        let server = issue(&Wish::server(LOOPBACK_NAMES), "server");
        let options = CloudOptions {
            certificate: server.certificate,
            key: server.key,
            client_ca: ca,
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            dialect: Dialect::default(),
        };
        let cloud = Cloud::start(options).await.unwrap();
        // By name, so that names matter.
        house.configure(&format!(
            "cloud:\n  url: \"{}\"\n  ca_file: ca.pem\n  certificate_file: gateway.pem\n  key_file: gateway.key\n  \
             connect_limit: 3s\n  backoff: {{ first: 100ms, longest: 300ms }}\n\
             routes: [ {{ local: \"sensors/#\" }} ]\nlog: {{ level: error }}\n",
            cloud.url()
        ));
        let gateway = house.start_with(disk.environment()).await;
        Self { house, disk, cloud, _gateway: gateway }
    }

    async fn line_is(&self, states: &[&str]) {
        let is_so = |status: &serde_json::Value| states.contains(&status["link"]["state"].as_str().unwrap());
        self.house.status_when(&format!("the line is {states:?}"), is_so).await;
    }

    /// Everything well, and then this trouble, when it has been noticed.
    async fn begin(&self, trouble: Trouble) {
        self.disk.heal();
        self.cloud.line().restore();
        self.line_is(&["online", "catchingup"]).await;
        let hung = self.disk.names_hung();
        match trouble {
            Trouble::None => {}
            Trouble::CloudRefuses | Trouble::CloudIsSilent => {
                self.cloud.line().cut();
                self.line_is(&["waiting", "connecting"]).await;
                if trouble == Trouble::CloudIsSilent {
                    self.cloud.line().stall();
                    self.line_is(&["connecting"]).await;
                }
            }
            Trouble::NamesHang => {
                self.disk.hang_names();
                self.cloud.line().cut();
                while self.disk.names_hung() == hung {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            Trouble::SyncsSlow => self.disk.slow_syncs(SLOW),
            Trouble::SyncsHang => {
                self.disk.hang_syncs();
                let is_known = |status: &serde_json::Value| status["store"]["fault"].is_string();
                self.house.status_when("the disk hangs", is_known).await;
            }
        }
    }
}

/// Every trouble's samples, round by round.
async fn measure(rounds: usize, messages: usize) -> BTreeMap<Trouble, Vec<Samples>> {
    let laboratory = Laboratory::start().await;
    let port = laboratory.house.port;
    let _load = Load::start(port);
    let mut pair = Pair::new(port);
    let mut all: BTreeMap<Trouble, Vec<Samples>> = BTreeMap::new();
    for _ in 0..rounds {
        for trouble in Trouble::ALL {
            laboratory.begin(trouble).await;
            let (returned, samples) = tokio::task::spawn_blocking(move || {
                let mut samples = Samples::default();
                for _ in 0..messages {
                    for (topic, samples) in samples.iter_mut().enumerate() {
                        samples.push(pair.message(topic));
                        thread::sleep(PAUSE);
                    }
                    pair.drain();
                }
                (pair, samples)
            })
            .await
            .unwrap();
            pair = returned;
            all.entry(trouble).or_default().push(samples);
        }
    }
    all
}

/// The median of the rounds' ratios to normal at p99.
fn ratio(all: &BTreeMap<Trouble, Vec<Samples>>, trouble: Trouble, topic: usize, floor: Duration) -> f64 {
    let p99 = |samples: &Samples| quantile(&samples[topic], 0.99);
    let rounds = all[&trouble].iter().zip(&all[&Trouble::None]);
    let ratio =
        |(ours, normal): (&Samples, &Samples)| p99(ours).as_secs_f64() / p99(normal).max(floor).as_secs_f64();
    median(rounds.map(ratio).collect())
}

fn show(all: &BTreeMap<Trouble, Vec<Samples>>) {
    println!("| trouble | topic | p50 | p99 | p99 by normal |");
    println!("| --- | --- | --- | --- | --- |");
    for (trouble, rounds) in all {
        for (topic, name) in TOPICS.iter().enumerate() {
            let samples: Vec<Duration> = rounds.iter().flat_map(|round| round[topic].clone()).collect();
            let millis = |share| quantile(&samples, share).as_secs_f64() * 1e3;
            let ratio = ratio(all, *trouble, topic, Duration::ZERO);
            println!(
                "| {} | `{name}` | {:.2} ms | {:.2} ms | {ratio:.2} |",
                trouble.words(),
                millis(0.5),
                millis(0.99)
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_at_home_take_no_longer_while_cloud_dns_or_disk_are_in_trouble() {
    let all = measure(5, 150).await;
    show(&all);
    for trouble in Trouble::ALL {
        for (topic, name) in TOPICS.iter().enumerate() {
            let ratio = ratio(&all, trouble, topic, FLOOR);
            assert!(ratio <= 2.0, "{}, {name}: {ratio:.2} times normal", trouble.words());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the laboratory: some minutes on a quiet machine, for docs/disk.md"]
async fn table_of_latencies_at_home() {
    show(&measure(20, 500).await);
}
