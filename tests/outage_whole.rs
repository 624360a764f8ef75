//! The six hours of `outage.rs` through the whole gateway: readings come in by the broker at home, a scripted cloud
//! takes them.
//!
//! The line is down because the cloud hangs up on everybody. The clock of the gateway is moved; its line, which goes
//! by tokio's time, runs as fast as it is. Alone in its binary, because it looks at the memory of the whole process.
#![cfg(all(feature = "demo", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[allow(dead_code, reason = "tests/link.rs needs more of it")]
#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/memory.rs"]
mod memory;
#[allow(dead_code, reason = "tests/cloud_faults.rs needs more of it")]
#[path = "support/peer.rs"]
mod peer;
#[allow(dead_code, unused_imports, reason = "only the page is asked here")]
#[path = "support/program.rs"]
mod program;
#[allow(dead_code, reason = "shared with the tests of the broker")]
#[path = "support/raw.rs"]
mod raw;

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use gateway::Papers;
use hearthlink::{app::Gateway, clock::Clock, config, model::LinkState};
use memory::{GROWTH, resident};
use peer::{CONNACK, PUBACK, Peer, puback};
use raw::{Raw, publish};
use serde_json::Value;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const HOURS: u64 = 6;
/// In an hour on the moved clock, on each of the two topics.
const AN_HOUR: usize = 1_200;
/// `cloud.backlog_rate`, a second; the queue then takes some seconds.
const RATE: usize = 200;
/// `store.max_size`: about 1,000 readings.
const MOST: usize = 512 * 1024;
const SIZE: usize = 500;
/// What the line may have saved up, in seconds of its rate (`src/link/state/pacer.rs`).
const BUCKET: f64 = 0.1;
/// After so many of those that waited something new is said.
const SOME: usize = 20;
/// So many unacknowledged.
const IN_FLIGHT: usize = 50;
const ORDINARY: &str = "plain/attic";
const LIVE: &str = "quick/hall";

/// A sensor that counts.
struct Sensor {
    line: Raw,
    unacknowledged: VecDeque<u16>,
    packet: u16,
}

impl Sensor {
    async fn publish(&mut self, topic: &str, number: usize) {
        if self.unacknowledged.len() == IN_FLIGHT {
            self.acknowledged().await;
        }
        self.packet = self.packet % 60_000 + 1;
        let payload = format!("{number:0SIZE$}");
        self.line.send(&publish(2, topic, self.packet, payload.as_bytes())).await;
        self.unacknowledged.push_back(self.packet);
    }

    async fn acknowledged(&mut self) {
        let packet = self.unacknowledged.pop_front().unwrap();
        assert_eq!(self.line.next().await, Some((PUBACK << 4, packet.to_be_bytes().to_vec())));
    }

    async fn all_acknowledged(&mut self) {
        while !self.unacknowledged.is_empty() {
            self.acknowledged().await;
        }
    }
}

/// What the cloud got, and when since the line was up.
struct Arrival {
    after: Duration,
    topic: String,
    number: usize,
}

fn arrived(all: &[Arrival], topic: &str) -> Vec<usize> {
    all.iter().filter(|arrival| arrival.topic.ends_with(topic)).map(|arrival| arrival.number).collect()
}

fn dropped(status: &Value) -> u64 {
    let policies = status["store"]["dropped"].as_array().unwrap();
    assert!(policies.iter().all(|policy| policy[0] == "drop_oldest" || policy[1] == 0), "{policies:?}");
    policies.iter().map(|policy| policy[1].as_u64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_a_line_for_six_hours_counts_what_it_drops_and_brings_the_rest_at_its_pace() {
    let papers = Papers::new();
    let cloud = Arc::new(Peer::bind(&papers.server).await);
    let door = tokio::spawn({
        let cloud = cloud.clone();
        async move {
            loop {
                drop(cloud.accept_tcp().await);
            }
        }
    });
    let file = papers.directory.path().join("home.yaml");
    let text = format!(
        "gateway: {{ id: home, data_dir: data }}\n\
         broker: {{ listeners: [ {{ address: \"127.0.0.1:0\" }} ] }}\n\
         web: {{ address: \"127.0.0.1:0\" }}\n\
         cloud:\n  url: {}\n  ca_file: ca.pem\n  \
         connect_limit: 2s\n  backlog_rate: {RATE}\n  backoff: {{ first: 100ms, longest: 1s }}\n\
         store: {{ max_size: {MOST}, when_full: drop_oldest }}\n\
         routes:\n  - {{ local: \"plain/#\" }}\n  - {{ local: \"quick/#\", queue: {{ live_first: true }} }}\n",
        cloud.url()
    );
    std::fs::write(&file, text).unwrap();
    let clock = Clock::manual(Clock::system().now());
    let gateway = Gateway::build_by(&config::load(&file).unwrap(), clock.clone()).await.unwrap();
    let (page, board) = (gateway.web_address().unwrap(), gateway.board());
    let broker = gateway.broker_addresses()[0].2;
    let stop = CancellationToken::new();
    let token = stop.clone();
    let running = tokio::spawn(async move { gateway.run(token, || {}).await.unwrap() });
    let status = async || program::status(page).await.unwrap();

    let mut line = Raw::to(broker.port()).await;
    line.connect("sensors", true).await;
    let mut sensor = Sensor { line, unacknowledged: VecDeque::new(), packet: 0 };
    let (mut said, mut after_one_hour) = (0, 0);
    for hour in 0..HOURS {
        for _ in 0..AN_HOUR {
            sensor.publish(ORDINARY, said).await;
            sensor.publish(LIVE, said).await;
            said += 1;
            clock.advance(Duration::from_secs(3600) / AN_HOUR as u32);
        }
        sensor.all_acknowledged().await;
        if hour == 0 {
            after_one_hour = resident();
        }
    }
    let grown = resident().saturating_sub(after_one_hour);
    assert!(grown <= GROWTH, "{grown} bytes more after six hours than after one");
    assert_ne!(board.line(), LinkState::Online);
    let before = status().await;
    let waited = before["store"]["waiting"].as_u64().unwrap();
    assert_eq!(before["store"]["accepted"], 2 * said);
    assert_eq!(dropped(&before), 2 * said as u64 - waited, "every one that is gone is counted");
    assert!(before["store"]["waiting_bytes"].as_u64().unwrap() <= MOST as u64);
    assert!(waited > 900, "{waited} wait in {MOST} bytes");

    door.abort();
    let mut line = cloud.session().await;
    // Nothing of the queue can have been sent before this.
    let up = Instant::now();
    line.welcome(&CONNACK).await;
    let mut all = Vec::new();
    let mut to_come = usize::MAX;
    while all.len() < to_come {
        let published = line.publish().await;
        line.send(&puback(published.packet)).await;
        let number = std::str::from_utf8(&published.payload).unwrap().parse().unwrap();
        all.push(Arrival { after: up.elapsed(), topic: published.topic, number });
        if all.len() == SOME {
            sensor.publish(LIVE, said).await;
            sensor.all_acknowledged().await;
            // It may have had to make room for itself; nothing is dropped any more from here on.
            to_come = 2 * said + 1 - dropped(&status().await) as usize;
        }
    }
    let times = all.iter().filter(|arrival| arrival.number == said).count();
    eprintln!("{} arrived of {to_come}, the live one {times} times", all.len());
    // Whatever is counted wrongly would make it wait for too little, or come too late here.
    until_empty(status).await;
    let after = status().await;
    let different: HashSet<(&str, usize)> =
        all.iter().map(|arrival| (&*arrival.topic, arrival.number)).collect();
    assert_eq!(different.len(), all.len(), "something came twice on one connection");
    assert_eq!(after["store"]["accepted"], 2 * said + 1);
    assert_eq!(dropped(&after) as usize, 2 * said + 1 - all.len(), "accepted, and not arrived");

    let made_room = (dropped(&after) - dropped(&before)) as usize;
    let (plain, quick) = (arrived(&all, ORDINARY), arrived(&all, LIVE));
    let overtaken = all.iter().rev().take_while(|arrival| arrival.number != said).count();
    let waited: Vec<usize> = quick.into_iter().filter(|number| *number != said).collect();
    for (topic, numbers) in [(ORDINARY, &plain), (LIVE, &waited)] {
        assert!(numbers.is_sorted(), "{topic} is out of order");
        assert_eq!(numbers.last(), Some(&(said - 1)), "the newest of {topic}");
        let missing = said - numbers[0] - numbers.len();
        assert!(missing <= made_room, "{missing} of {topic} are missing among the newest");
    }
    let backlog = plain.len() + waited.len();
    eprintln!(
        "{backlog} of {} came in {:?}; {overtaken} were overtaken; grown by {grown} bytes",
        2 * said,
        all.last().unwrap().after
    );
    assert!(4 * overtaken >= 3 * backlog, "the live reading overtook only {overtaken} of {backlog}");
    let backlog = all.iter().filter(|arrival| arrival.number != said);
    for (count, arrival) in (1..).zip(backlog) {
        let most = RATE as f64 * (arrival.after.as_secs_f64() + BUCKET) + 1.0;
        assert!(f64::from(count) <= most, "{count} of those that waited within {:?}", arrival.after);
    }
    drop(line);
    stop.cancel();
    running.await.unwrap();
}

async fn until_empty(status: impl AsyncFn() -> Value) {
    let mut last = Value::Null;
    let wait = async {
        loop {
            last = status().await;
            if last["store"]["waiting"] == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let is_empty = timeout(Duration::from_secs(30), wait).await.is_ok();
    assert!(is_empty, "all that was to come has come, and the queue is not empty: {last:#}");
}
