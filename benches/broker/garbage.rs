//! What 2,000 idle clients and 50 that send garbage do to the others.
//!
//! A pair of well-behaved clients sends a message every few milliseconds, first in peace, then in the
//! flood. The flood is a process of its own with the lowest priority: it takes what processor is left
//! over, so that what is measured is what the broker makes of it, and not who wins two cores from whom.

use std::{
    io::{Read, Write},
    process::{Child, Command, Stdio},
    thread::{self, sleep},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::{
    brokers::{Broker, Running},
    client,
    figures::Rounds,
    idle,
    latency::Pair,
};

/// How many send garbage.
pub const HOSTILE: usize = 50;
const PAUSE: Duration = Duration::from_millis(2);
const MESSAGES: usize = 1_000;

/// What was seen, latencies in microseconds.
#[derive(Debug, Clone, Copy)]
pub struct Harm {
    pub peace: (f64, f64),
    /// With the flood at another broker of this machine: what only the processors and the kernel do.
    pub elsewhere: (f64, f64),
    pub flood: (f64, f64),
    /// The most that the process grew in the flood, the 2,000 clients included, in bytes.
    pub growth: f64,
    /// Attempts of hostile clients a second.
    pub attempts: f64,
}

/// How much garbage there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// Each hostile client comes back 20 times a second.
    Steady,
    /// Each comes back at once: as much as the processors give.
    Unbounded,
}

impl Rate {
    pub fn name(self) -> &'static str {
        match self {
            Self::Steady => "1,000 attempts/s",
            Self::Unbounded => "without end",
        }
    }

    fn pause(self) -> Duration {
        match self {
            Self::Steady => Duration::from_millis(50),
            Self::Unbounded => Duration::ZERO,
        }
    }
}

/// Measures with brokers of its own.
pub fn run(broker: &Broker, rate: Rate) -> Result<Harm> {
    let running = broker.start()?;
    let before = running.memory()?;
    let crowd = idle::crowd(&running)?;
    let mut pair = Pair::new(running.ports.tcp, 1)?;
    pair.run(200, PAUSE)?;
    let peace = pair.run(MESSAGES, PAUSE)?;
    let other = broker.start()?;
    let flood = Flood::start(&other, rate)?;
    sleep(Duration::from_millis(500));
    let elsewhere = pair.run(MESSAGES, PAUSE)?;
    flood.stop()?;
    drop(other);
    let flood = Flood::start(&running, rate)?;
    sleep(Duration::from_millis(500));
    let mut most: f64 = 0.0;
    let mut troubled = Rounds::default();
    let began = Instant::now();
    for _ in 0..10 {
        troubled.0.extend(pair.run(MESSAGES / 10, PAUSE)?.0);
        most = most.max(running.memory()?);
    }
    let length = began.elapsed() + Duration::from_millis(500);
    let attempts = flood.stop()? / length.as_secs_f64();
    drop(crowd);
    let both = |rounds: &Rounds| (rounds.quantile(0.5), rounds.quantile(0.99));
    let (peace, elsewhere, flood) = (both(&peace), both(&elsewhere), both(&troubled));
    Ok(Harm { peace, elsewhere, flood, growth: most - before, attempts })
}

/// The process that sends garbage; it ends when its standard input does.
struct Flood(Child);

impl Flood {
    fn start(running: &Running, rate: Rate) -> Result<Self> {
        let mut command = Command::new("nice");
        command.args(["-n", "19"]).arg(std::env::current_exe()?);
        let pause = rate.pause().as_millis().to_string();
        command.args(["--bench", "flood", &running.ports.tcp.to_string(), &pause]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Ok(Self(command.spawn().context("failed to start the flood (is there a `nice`?)")?))
    }

    /// How many attempts it made.
    fn stop(mut self) -> Result<f64> {
        drop(self.0.stdin.take());
        let mut said = String::new();
        self.0.stdout.take().context("no output")?.read_to_string(&mut said)?;
        Ok(said.trim().parse()?)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The flood itself, until standard input ends; prints how many attempts there were.
pub fn flood(port: u16, pause: Duration) {
    let (sender, receiver) = std::sync::mpsc::sync_channel(1_000);
    for hostile in 0..HOSTILE {
        let sender = sender.clone();
        thread::spawn(move || {
            // The same garbage in every run.
            let mut state = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(hostile as u64 + 1);
            // Not all in the same moment.
            sleep(pause * hostile as u32 / HOSTILE as u32);
            let began = Instant::now();
            for attempt in 0_usize.. {
                sleep((began + pause * attempt as u32).saturating_duration_since(Instant::now()));
                attack(port, hostile, attempt, &mut state);
                if sender.send(()).is_err() {
                    return;
                }
            }
        });
    }
    drop(sender);
    let counter = thread::spawn(move || {
        let mut count = 0_u64;
        let (ends, end) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            let _ = ends.send(());
        });
        while end.try_recv().is_err() {
            count += u64::from(receiver.recv_timeout(Duration::from_millis(50)).is_ok());
        }
        count
    });
    println!("{}", counter.join().unwrap_or_default());
}

/// One connection's worth of garbage, of four kinds in turn.
fn attack(port: u16, hostile: usize, attempt: usize, state: &mut u64) {
    let Ok(mut stream) = client::dial(port) else {
        // Out of ports, most likely.
        return sleep(Duration::from_millis(10));
    };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    let _ = stream.set_write_timeout(Some(Duration::from_secs(1)));
    let mut noise: Vec<u8> = (0..512).flat_map(|_| random(state).to_le_bytes()).collect();
    match attempt % 4 {
        // Noise at once.
        0 => {}
        // Noise from a client that was let in.
        1 => {
            if client::greet(&mut stream, &format!("hostile-{hostile}")).is_err() {
                return;
            }
        }
        // Pings as fast as they go, and then noise.
        2 => {
            if client::greet(&mut stream, &format!("hostile-{hostile}")).is_err() {
                return;
            }
            let pings = [0xC0, 0].repeat(2_000);
            if stream.write_all(&pings).is_err() {
                return;
            }
        }
        // A CONNECT whose length lies.
        _ => noise[..4].copy_from_slice(&[0x10, 0xFF, 0xFF, 0x03]),
    }
    for _ in 0..16 {
        if stream.write_all(&noise).is_err() {
            return;
        }
    }
    let _ = stream.shutdown(std::net::Shutdown::Write);
    while matches!(stream.read(&mut noise), Ok(count) if count > 0) {}
}

/// Xorshift: enough for garbage.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}
