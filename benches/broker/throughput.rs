//! How many messages a second arrive.
//!
//! Publishers send for a while as fast as the broker takes it, QoS 1 with a window; what counts is what the
//! subscribers received, from the first byte sent to the last message received. With QoS 1 everything must
//! arrive; with QoS 0 a broker may drop, and then only what arrived counts for it.

use std::{
    io::{ErrorKind, Write},
    net::TcpStream,
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::client::{self, Inbox};

/// QoS 1 messages of a publisher on their way at a time.
const WINDOW: usize = 100;
/// QoS 0 messages are written this many bytes at a time: a publisher in a hurry.
const BATCH: usize = 32 << 10;
/// How often a waiting subscriber looks whether there is anything left to wait for.
const LOOK: Duration = Duration::from_millis(50);
/// A silence of this length after the last publisher has ended means that nothing more comes.
const SILENCE: Duration = Duration::from_secs(2);

/// Who publishes to whom.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub publishers: usize,
    pub subscribers: usize,
    pub payload: usize,
    pub qos: u8,
    /// Whether publishers write several messages at a time.
    pub is_batched: bool,
}

impl Shape {
    pub fn name(&self) -> String {
        let Self { publishers, subscribers, payload, qos, is_batched } = self;
        let singly = if *is_batched { "" } else { ", singly" };
        format!("{publishers} to {subscribers}, {payload} B, QoS {qos}{singly}")
    }

    /// Several publishers have a subscriber each; one has all of them.
    fn topic(&self, subscriber: usize) -> String {
        format!("laboratory/room-{}/throughput", subscriber % self.publishers)
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub struct Flow {
    /// Messages received a second, by all together.
    pub rate: f64,
    /// What arrived of what was to arrive, 0 to 1.
    pub arrived: f64,
}

/// Runs one round.
pub fn run(port: u16, shape: Shape, length: Duration) -> Result<Flow> {
    let mut subscribers = Vec::new();
    for index in 0..shape.subscribers {
        let mut stream = client::client(port, &format!("subscriber-{index}"))?;
        client::enlist(&mut stream, &shape.topic(index), shape.qos)?;
        stream.set_read_timeout(Some(LOOK))?;
        subscribers.push(stream);
    }
    let publishers = (0..shape.publishers).map(|index| client::client(port, &format!("publisher-{index}")));
    let publishers = publishers.collect::<std::io::Result<Vec<_>>>()?;
    // Everybody is there before anybody begins.
    let start = Barrier::new(shape.publishers + shape.subscribers + 1);
    let sent: Vec<_> = (0..shape.publishers).map(|_| AtomicU64::new(0)).collect();
    let has_ended = AtomicBool::new(false);
    let (began, received, ended) = thread::scope(|scope| -> Result<_> {
        let (start, sent, has_ended) = (&start, &sent, &has_ended);
        let subscribers: Vec<_> = subscribers
            .into_iter()
            .enumerate()
            .map(|(index, stream)| {
                scope.spawn(move || {
                    start.wait();
                    receive(stream, &sent[index % shape.publishers], has_ended)
                })
            })
            .collect();
        let publishers: Vec<_> = publishers
            .into_iter()
            .enumerate()
            .map(|(index, stream)| {
                let message = client::publish(&shape.topic(index), shape.qos, 1, &vec![b'x'; shape.payload]);
                scope.spawn(move || {
                    start.wait();
                    let count = send(stream, shape, &message, Instant::now() + length);
                    count.inspect(|count| sent[index].store(*count, Ordering::Relaxed))
                })
            })
            .collect();
        start.wait();
        let began = Instant::now();
        let ends: Vec<_> = publishers.into_iter().map(|publisher| publisher.join()).collect();
        has_ended.store(true, Ordering::Release);
        let mut received = 0;
        let mut ended = began;
        for subscriber in subscribers {
            let (count, last) = subscriber.join().expect("a subscriber does not panic")?;
            received += count;
            ended = ended.max(last);
        }
        for end in ends {
            end.expect("a publisher does not panic").context("a publisher failed")?;
        }
        Ok((began, received, ended))
    })?;
    let copies = (shape.subscribers / shape.publishers) as u64;
    let sent: u64 = sent.into_iter().map(AtomicU64::into_inner).sum();
    let arrived = received as f64 / (sent * copies) as f64;
    ensure!(shape.qos == 0 || arrived >= 1.0, "QoS 1 messages were lost: {:.4} arrived", arrived);
    Ok(Flow { rate: received as f64 / (ended - began).as_secs_f64(), arrived })
}

/// Publishes until `end`; how many.
fn send(mut stream: TcpStream, shape: Shape, message: &[u8], end: Instant) -> Result<u64> {
    if shape.qos == 0 {
        let batch = message.repeat(if shape.is_batched { (BATCH / message.len()).max(1) } else { 1 });
        let mut count = 0;
        while Instant::now() < end {
            stream.write_all(&batch)?;
            count += (batch.len() / message.len()) as u64;
        }
        return Ok(count);
    }
    let id_at = message.len() - shape.payload - 2;
    let mut inbox = Inbox::new();
    let (mut count, mut taken, mut id) = (0, 0, 0_u16);
    let mut batch = Vec::with_capacity(message.len() * WINDOW);
    loop {
        batch.clear();
        while (count - taken) < WINDOW as u64 && Instant::now() < end {
            id = id.checked_add(1).unwrap_or(1);
            let start = batch.len();
            batch.extend_from_slice(message);
            batch[start + id_at..start + id_at + 2].copy_from_slice(&id.to_be_bytes());
            count += 1;
        }
        let at_a_time = if shape.is_batched { batch.len() } else { message.len() };
        for part in batch.chunks(at_a_time.max(1)) {
            stream.write_all(part)?;
        }
        if taken == count {
            return Ok(count);
        }
        ensure!(inbox.read(&mut stream)? > 0, "the broker hung up on a publisher");
        while let Some((first, _)) = inbox.next() {
            taken += u64::from(first == 0x40);
        }
    }
}

/// Receives until nothing is left; how many, and when the last one came.
fn receive(mut stream: TcpStream, sent: &AtomicU64, has_ended: &AtomicBool) -> Result<(u64, Instant)> {
    let mut inbox = Inbox::new();
    let mut acks = Vec::new();
    let (mut count, mut last) = (0, Instant::now());
    loop {
        if has_ended.load(Ordering::Acquire)
            && (count >= sent.load(Ordering::Relaxed) || last.elapsed() > SILENCE)
        {
            return Ok((count, last));
        }
        match inbox.read(&mut stream) {
            Ok(0) => anyhow::bail!("the broker hung up on a subscriber"),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(error) => return Err(error.into()),
        }
        acks.clear();
        while let Some((first, body)) = inbox.next() {
            if first & 0xF0 != 0x30 {
                continue;
            }
            count += 1;
            if first & 0x06 == 0x02 {
                let [high, low] = client::id_of(body);
                acks.extend_from_slice(&[0x40, 2, high, low]);
            }
        }
        last = Instant::now();
        stream.write_all(&acks)?;
    }
}
