//! The devices at home and the app at the cloud, as cheap as they can be.
//!
//! Devices: ten clients with ten topics each, 64 bytes a message. A payload begins with the message's number within its
//! topic and the time it left, in nanoseconds of [`now`]; both ends are this process. Never more than ten threads.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, sleep},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    client::{self, Inbox},
    relay::PREFIX,
};

pub const DEVICES: usize = 10;
pub const TOPICS: usize = 10;
pub const PAYLOAD: usize = 64;
/// Publishes of a device that are not acknowledged yet, at most.
const WINDOW: u64 = 100;
/// QoS 0 messages on their way between all devices and the app, at most.
const ON_THEIR_WAY: u64 = 2_000;
/// Nothing for so long: nothing comes any more.
const SILENCE: Duration = Duration::from_secs(20);

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Nanoseconds since this process first asked.
pub fn now() -> u64 {
    START.elapsed().as_nanos() as u64
}

/// A device and its prepared publishes.
pub struct Device {
    pub stream: TcpStream,
    topics: Vec<Vec<u8>>,
    /// Sent so far, which is where the next goes, too.
    sent: u64,
    qos: u8,
}

impl Device {
    pub fn connect(lan: u16, number: usize, qos: u8) -> Result<Self> {
        let stream = client::client(lan, &format!("device-{number}"))?;
        let topic = |topic| client::publish(&format!("sensors/{number}/{topic}"), qos, 1, &[b'x'; PAYLOAD]);
        Ok(Self { stream, topics: (0..TOPICS).map(topic).collect(), sent: 0, qos })
    }

    /// All ten.
    pub fn all(lan: u16, qos: u8) -> Result<Vec<Self>> {
        (0..DEVICES).map(|number| Self::connect(lan, number, qos)).collect()
    }

    /// Appends the next publish.
    fn next(&mut self, batch: &mut Vec<u8>, time: u64) {
        let turn = self.sent / TOPICS as u64;
        let message = &mut self.topics[self.sent as usize % TOPICS];
        let payload = message.len() - PAYLOAD;
        if self.qos > 0 {
            let id = (self.sent % 60_000) as u16 + 1;
            message[payload - 2..payload].copy_from_slice(&id.to_be_bytes());
        }
        message[payload..payload + 8].copy_from_slice(&turn.to_be_bytes());
        message[payload + 8..payload + 16].copy_from_slice(&time.to_be_bytes());
        batch.extend_from_slice(message);
        self.sent += 1;
    }

    /// Publishes one.
    pub fn send(&mut self) -> Result<()> {
        let mut one = Vec::with_capacity(128);
        self.next(&mut one, now());
        Ok(self.stream.write_all(&one)?)
    }

    /// QoS 1 as fast as it is acknowledged; how many were, which is all.
    fn flood(mut self, length: Duration) -> Result<u64> {
        let end = Instant::now() + length;
        let (mut inbox, mut batch, mut taken) = (Inbox::new(), Vec::new(), 0);
        loop {
            batch.clear();
            while self.sent - taken < WINDOW && Instant::now() < end {
                self.next(&mut batch, 0);
            }
            self.stream.write_all(&batch)?;
            if taken == self.sent {
                return Ok(taken);
            }
            ensure!(inbox.read(&mut self.stream)? > 0, "the gateway hung up on a device");
            while let Some((first, _)) = inbox.next() {
                taken += u64::from(first == 0x40);
            }
        }
    }

    /// Reads acknowledgements on a thread of its own, and counts them in `taken`.
    pub fn count_acknowledgements(&self, taken: &Arc<AtomicU64>) -> Result<()> {
        let (mut stream, taken) = (self.stream.try_clone()?, taken.clone());
        stream.set_read_timeout(None)?;
        thread::spawn(move || {
            let mut inbox = Inbox::new();
            while inbox.read(&mut stream).is_ok_and(|count| count > 0) {
                while let Some((first, _)) = inbox.next() {
                    taken.fetch_add(u64::from(first == 0x40), Ordering::Relaxed);
                }
            }
        });
        Ok(())
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

/// Ten devices publish at QoS 1 as fast as they can; how many messages were acknowledged.
pub fn flood(lan: u16, length: Duration) -> Result<u64> {
    let devices = Device::all(lan, 1)?;
    let threads: Vec<_> =
        devices.into_iter().map(|device| thread::spawn(move || device.flood(length))).collect();
    let mut sum = 0;
    for thread in threads {
        sum += thread.join().expect("a device does not panic")?;
    }
    Ok(sum)
}

/// Ten devices publish at QoS 0, never more than `ON_THEIR_WAY` beyond what has arrived; how many were sent.
pub fn trickle(lan: u16, length: Duration, arrived: impl Fn() -> u64) -> Result<u64> {
    let mut devices = Device::all(lan, 0)?;
    let end = Instant::now() + length;
    let (mut sent, mut turn, mut batch) = (0, 0, Vec::new());
    while Instant::now() < end {
        let room = ON_THEIR_WAY - (sent - arrived().min(sent));
        if room == 0 {
            sleep(Duration::from_micros(100));
            continue;
        }
        let device = &mut devices[turn % DEVICES];
        turn += 1;
        batch.clear();
        for _ in 0..room.min(50) {
            device.next(&mut batch, 0);
            sent += 1;
        }
        device.stream.write_all(&batch)?;
    }
    // They hang up after the last has arrived only.
    wait_for(sent, || Ok(arrived()))?;
    Ok(sent)
}

/// Waits until so many have arrived; fails after a silence.
pub fn wait_for(wanted: u64, mut arrived: impl FnMut() -> Result<u64>) -> Result<()> {
    let (mut before, mut since) = (0, Instant::now());
    loop {
        let count = arrived()?;
        if count >= wanted {
            return Ok(());
        }
        if count > before {
            (before, since) = (count, Instant::now());
        }
        ensure!(since.elapsed() < SILENCE, "{count} of {wanted} arrived, then nothing for {SILENCE:?}");
        sleep(Duration::from_millis(2));
    }
}

/// Publishes at a steady rate until told otherwise, device by device; absolute times, so that no pause adds up.
pub struct Steady {
    is_over: Arc<std::sync::atomic::AtomicBool>,
    thread: thread::JoinHandle<Result<u64>>,
    /// How many were sent so far.
    pub sent: Arc<AtomicU64>,
}

impl Steady {
    pub fn start(lan: u16, a_second: u32) -> Result<Self> {
        let mut devices = Device::all(lan, 1)?;
        let taken = Arc::new(AtomicU64::new(0));
        for device in &devices {
            device.count_acknowledgements(&taken)?;
        }
        let is_over = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let (stop, mine) = (is_over.clone(), sent.clone());
        let thread = thread::spawn(move || {
            let (start, mut count) = (Instant::now(), 0_u64);
            while !stop.load(Ordering::Acquire) {
                let due = start + Duration::from_secs(count) / a_second;
                sleep(due.saturating_duration_since(Instant::now()));
                devices[count as usize % DEVICES].send()?;
                count += 1;
                mine.store(count, Ordering::Release);
            }
            // Gone only when all was acknowledged.
            sleep(Duration::from_millis(300));
            Ok(count)
        });
        Ok(Self { is_over, thread, sent })
    }

    /// How many were sent.
    pub fn stop(self) -> Result<u64> {
        self.is_over.store(true, Ordering::Release);
        self.thread.join().expect("the devices do not panic")
    }
}

/// What the app makes of a reading: its topic's number, its own number, and the time it left.
pub struct Reading {
    pub topic: usize,
    pub number: u64,
    pub left: u64,
}

fn reading(body: &[u8]) -> Option<Reading> {
    let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
    let topic = std::str::from_utf8(body.get(2..2 + length)?).ok()?;
    let (device, topic) = topic.strip_prefix(PREFIX)?.strip_prefix("sensors/")?.split_once('/')?;
    let topic = device.parse::<usize>().ok()? * TOPICS + topic.parse::<usize>().ok()?;
    let payload = body.get(2 + length..)?;
    let word = |at: usize| payload.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
    Some(Reading { topic, number: word(0)?, left: word(8)? })
}

/// The app: a QoS 0 subscriber of the cloud for all readings.
pub struct App<S> {
    stream: S,
    inbox: Inbox,
}

impl<S: Read + Write> App<S> {
    pub fn new(mut stream: S) -> Result<Self> {
        client::greet(&mut stream, "app")?;
        client::enlist(&mut stream, &format!("{PREFIX}sensors/#"), 0)?;
        Ok(Self { stream, inbox: Inbox::new() })
    }

    /// Reads once and hands over what came; how many probes were among it.
    pub fn read(&mut self, mut each: impl FnMut(Reading)) -> Result<u64> {
        if self.inbox.read(&mut self.stream)? == 0 {
            bail!("the cloud hung up on the app");
        }
        let mut probes = 0;
        while let Some((first, body)) = self.inbox.next() {
            if first >> 4 == 3 {
                match reading(body) {
                    Some(reading) => each(reading),
                    None => probes += 1,
                }
            }
        }
        Ok(probes)
    }
}

/// What came through, counted by a thread of its own.
pub struct Counter {
    pub readings: Arc<AtomicU64>,
    pub probes: Arc<AtomicU64>,
}

impl Counter {
    /// Hands every reading to `each`, too.
    pub fn start<S: Read + Write + Send + 'static>(
        mut app: App<S>,
        mut each: impl FnMut(Reading) + Send + 'static,
    ) -> Self {
        let counter = Self { readings: Arc::default(), probes: Arc::default() };
        let (readings, probes) = (counter.readings.clone(), counter.probes.clone());
        thread::spawn(move || {
            loop {
                let mut count = 0;
                // Ends with the cloud.
                let Ok(found) = app.read(|reading| {
                    count += 1;
                    each(reading);
                }) else {
                    return;
                };
                readings.fetch_add(count, Ordering::Relaxed);
                probes.fetch_add(found, Ordering::Relaxed);
            }
        });
        counter
    }
}

/// A device says something until the cloud has heard it; when it first had, from `start` on.
pub fn wait_for_line(lan: u16, start: Instant, mut probes: impl FnMut() -> Result<u64>) -> Result<Duration> {
    let probe = client::publish("sensors/probe", 0, 0, b"?");
    let mut stream = None;
    while start.elapsed() < Duration::from_secs(30) {
        if stream.is_none() {
            stream = client::client(lan, "prober").ok();
        }
        if let Some(open) = &mut stream {
            open.write_all(&probe).context("the gateway hung up on the prober")?;
        }
        for _ in 0..2 {
            sleep(Duration::from_millis(1));
            if probes()? > 0 {
                return Ok(start.elapsed());
            }
        }
    }
    bail!("nothing gets through")
}
