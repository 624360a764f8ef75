//! What a subscriber costs that never reads while somebody publishes a gigabyte to it.

use std::{
    io::Write,
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, sleep},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::{
    brokers::Broker,
    client::{self, Inbox},
};

/// What is published, in bytes of payload.
pub const FLOOD: usize = 1 << 30;
const PAYLOAD: usize = 1 << 10;
/// Messages written at a time, and on their way at a time with QoS 1.
const BATCH: u16 = 32;
const TOPIC: &str = "laboratory/unread";

/// What was seen.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// The most that the process grew, in bytes.
    pub growth: f64,
    /// What the same flood without any subscriber makes it grow: the publisher's own buffers.
    pub without: f64,
    /// Messages a second that the publisher got rid of.
    pub rate: f64,
}

/// Measures with brokers of its own.
pub fn run(broker: &Broker, qos: u8, flood: usize) -> Result<Cost> {
    let (without, _) = flooded(broker, qos, flood, false)?;
    let (growth, rate) = flooded(broker, qos, flood, true)?;
    Ok(Cost { growth, without, rate })
}

fn flooded(broker: &Broker, qos: u8, flood: usize, has_subscriber: bool) -> Result<(f64, f64)> {
    let running = broker.start()?;
    let subscriber = if has_subscriber {
        let mut subscriber = client::client(running.ports.tcp, "never-reads")?;
        client::enlist(&mut subscriber, TOPIC, qos)?;
        Some(subscriber)
    } else {
        None
    };
    let mut publisher = client::client(running.ports.tcp, "flood")?;
    let before = running.memory()?;
    let is_over = AtomicBool::new(false);
    let (most, rate) = thread::scope(|scope| -> Result<_> {
        let watch = scope.spawn(|| -> Result<f64> {
            let mut most = before;
            while !is_over.load(Ordering::Acquire) {
                most = running.memory()?.max(most);
                sleep(Duration::from_millis(5));
            }
            Ok(most)
        });
        let began = Instant::now();
        let count = publish(&mut publisher, qos, flood);
        let rate = count.map(|count| count as f64 / began.elapsed().as_secs_f64());
        is_over.store(true, Ordering::Release);
        let most = watch.join().expect("the watch does not panic")?;
        Ok((most, rate?))
    })?;
    drop(subscriber);
    Ok((most - before, rate))
}

/// Publishes it all; how many messages.
fn publish(stream: &mut (impl std::io::Read + Write), qos: u8, flood: usize) -> Result<usize> {
    // The same ids in every batch: the one before has been acknowledged.
    let payload = vec![b'x'; PAYLOAD];
    let batch: Vec<u8> = (1..=BATCH).flat_map(|id| client::publish(TOPIC, qos, id, &payload)).collect();
    let mut inbox = Inbox::new();
    let batches = flood / (usize::from(BATCH) * PAYLOAD);
    for _ in 0..batches {
        stream.write_all(&batch)?;
        let mut taken = 0;
        while qos == 1 && taken < BATCH {
            ensure!(inbox.read(stream)? > 0, "the broker hung up on the publisher");
            while inbox.next().is_some() {
                taken += 1;
            }
        }
    }
    // Whoever answers this has read all before it.
    stream.write_all(&[0xC0, 0])?;
    while inbox.next().is_none() {
        ensure!(inbox.read(stream)? > 0, "the broker hung up on the publisher");
    }
    Ok(batches * usize::from(BATCH))
}
