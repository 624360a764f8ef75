//! Six hours without a line, on a clock that the test moves: what a bounded queue makes of it, in memory and on the
//! disk, and how it goes out afterwards. Here store and line by themselves; the whole gateway in `outage_whole.rs`.
//! Alone in its binary, because it looks at the memory of the whole process.
#![cfg(all(feature = "demo", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[allow(dead_code, reason = "tests/link.rs needs more of it")]
#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/memory.rs"]
mod memory;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use gateway::{Gateway, Papers, Watcher, topic};
use hearthlink::{
    clock::Clock,
    demo::cloud::{Cloud, CloudOptions, Dialect},
    model::{LinkState, Message, QoS},
    store::{Entry, Keep, LaneOptions, Store, StoreOptions},
};
use memory::{GROWTH, resident};

const HOURS: usize = 6;
/// A reading every second on each of two topics.
const AN_HOUR: usize = 3600;
/// What waits afterwards is sent at this pace, in messages a second.
const PACE: u32 = 1_000;
/// What one reading takes in the queue: `h/g/…` and its payload.
const READING: u64 = 9 + 91;

const ORDINARY: &str = "h/g/plain";
const LIVE: &str = "h/g/quick";

fn entry(name: &str, number: usize) -> Entry {
    let message = Message::new(topic(name), format!("{number:091}"), QoS::AtLeastOnce);
    Entry { lane: (name == LIVE).then_some(0), ..Entry::new(message) }
}

/// An hour's readings, as many at a time as gather while the disk is busy.
async fn an_hour(store: &Store, clock: &Clock, hour: usize) {
    for minute in 0..60 {
        let mut accepted = Vec::new();
        for second in 0..60 {
            let number = hour * AN_HOUR + minute * 60 + second;
            for name in [ORDINARY, LIVE] {
                accepted.push(store.append(entry(name, number)).await.unwrap());
            }
            clock.advance(Duration::from_secs(1));
        }
        for accepted in join_all(accepted).await {
            accepted.unwrap().expect("the policy is to keep all");
        }
    }
}

fn number(payload: &str) -> usize {
    payload.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn six_hours_without_a_line_take_no_memory_lose_only_what_the_policy_says_and_come_back_at_their_pace()
{
    let papers = Papers::new();
    let cloud = Cloud::start(CloudOptions {
        certificate: papers.server.certificate.clone(),
        key: papers.server.key.clone(),
        client_ca: papers.ca.clone(),
        address: ([127, 0, 0, 1], 0).into(),
        dialect: Dialect::Mqtt5,
    })
    .await
    .unwrap();
    let watcher = Watcher::start(cloud.broker_address()).await;
    cloud.line().cut();
    let clock = Clock::manual(Clock::system().now());
    let quick = LaneOptions {
        name: "quick".to_owned(),
        keep: Keep::All,
        max_age: None,
        max_bytes: Some(1_000 * READING),
        is_live_first: true,
    };
    let bounded = StoreOptions { max_bytes: 5_000 * READING, lanes: vec![quick], ..StoreOptions::default() };
    let mut options = papers.options(&cloud.url());
    options.backlog_rate = Some(PACE);
    let gateway = Gateway::start_with(options, &bounded, clock.clone());
    gateway.until("down", |report| report.state != LinkState::Online && report.fault.is_some()).await;

    an_hour(&gateway.store, &clock, 0).await;
    let before = resident();
    for hour in 1..HOURS {
        an_hour(&gateway.store, &clock, hour).await;
    }
    let grown = resident().saturating_sub(before);
    assert!(grown <= GROWTH, "{grown} bytes more after six hours than after one");

    let all = HOURS * AN_HOUR;
    let stats = gateway.store.stats().borrow().clone();
    assert_eq!(stats.accepted, 2 * all as u64);
    assert_eq!((stats.waiting, stats.waiting_bytes), (5_000, 5_000 * READING));
    assert_eq!(stats.dropped_full, stats.accepted - stats.waiting, "every one that is gone is counted");
    assert_eq!((stats.lanes[0].waiting, stats.lanes[0].dropped), (1_000, all as u64 - 1_000));

    cloud.line().restore();
    let begun = Instant::now();
    gateway.until_online().await;
    for extra in 0..10 {
        gateway.store.append(entry(LIVE, all + extra)).await.unwrap().await.unwrap();
    }
    let newest = |watcher: &Watcher| watcher.on(LIVE).iter().any(|payload| number(payload) == all + 9);
    watcher.until("the newest live reading", newest).await;
    let overtaken = 5_000 - watcher.on(ORDINARY).len() - watcher.on(LIVE).len() + 10;
    gateway.until_empty().await;
    let took = begun.elapsed();
    // The new ones found their part of the queue full: so many of the oldest made room for them.
    let gone = (gateway.store.stats().borrow().dropped_full - stats.dropped_full) as usize;
    let drained = |watcher: &Watcher| watcher.on(ORDINARY).len() + watcher.on(LIVE).len() >= 5_010 - gone;
    watcher.until("everything that waited", drained).await;
    eprintln!("grown by {grown} bytes; live readings overtook {overtaken}; 5,000 that waited took {took:?}");
    // They were appended within the first moments of the 5 s that the backlog takes.
    assert!(overtaken >= 2_000, "live readings overtook only {overtaken} of those that waited");
    // A token bucket lets no more through than its pace and what it holds, however quick the machine is.
    let least = Duration::from_secs_f64((5_000.0 - gone as f64) / f64::from(PACE) - 0.1);
    assert!(took >= least, "5,000 at {PACE} a second within {took:?}");

    let ordinary: Vec<usize> = watcher.on(ORDINARY).iter().map(|payload| number(payload)).collect();
    assert_eq!(ordinary, (all - 4_000..all).collect::<Vec<_>>(), "the newest of them, in order");
    let mut live: Vec<usize> = watcher.on(LIVE).iter().map(|payload| number(payload)).collect();
    live.sort_unstable();
    assert_eq!(live, (all - 1_000 + gone..all + 10).collect::<Vec<_>>());
    gateway.stop().await;
    cloud.stop().await;
}
