//! How long a single message takes from its publisher's `write` to its subscriber's `read`.
//!
//! One thread holds both ends, so that nothing but the broker and the kernel lies between them, and the
//! next message leaves when everything about the last one has been said.

use std::{
    io::Write,
    net::TcpStream,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::{
    client::{self, Inbox},
    figures::Rounds,
};

/// A publisher and its subscriber.
pub struct Pair {
    publisher: TcpStream,
    subscriber: TcpStream,
    inbox: Inbox,
    acks: Inbox,
    qos: u8,
    message: Vec<u8>,
}

impl Pair {
    pub fn new(port: u16, qos: u8) -> Result<Self> {
        let topic = "laboratory/pair/latency";
        let mut subscriber = client::client(port, "pair-subscriber")?;
        client::enlist(&mut subscriber, topic, qos)?;
        Ok(Self {
            publisher: client::client(port, "pair-publisher")?,
            subscriber,
            inbox: Inbox::new(),
            acks: Inbox::new(),
            qos,
            message: client::publish(topic, qos, 1, &[b'x'; 64]),
        })
    }

    /// One message there, and everything acknowledged.
    fn message(&mut self) -> Result<Duration> {
        let began = Instant::now();
        self.publisher.write_all(&self.message)?;
        let id = loop {
            if let Some((_, body)) = self.inbox.next() {
                break client::id_of(body);
            }
            ensure!(self.inbox.read(&mut self.subscriber)? > 0, "the broker hung up on a subscriber");
        };
        let took = began.elapsed();
        if self.qos == 1 {
            self.subscriber.write_all(&[0x40, 2, id[0], id[1]])?;
            while self.acks.next().is_none() {
                ensure!(self.acks.read(&mut self.publisher)? > 0, "the broker hung up on a publisher");
            }
        }
        Ok(took)
    }

    /// The latencies of `count` messages in microseconds, with a pause after each.
    pub fn run(&mut self, count: usize, pause: Duration) -> Result<Rounds> {
        let mut all = Vec::with_capacity(count);
        for _ in 0..count {
            all.push(self.message()?.as_secs_f64() * 1e6);
            if !pause.is_zero() {
                sleep(pause);
            }
        }
        Ok(Rounds(all))
    }
}
