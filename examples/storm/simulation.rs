//! A cloud that comes back, and all its gateways at once: a simulation in discrete events.
//!
//! Owns the time, the cloud's front door and the ways of waiting that are compared; ours is the code of the
//! product. Deterministic: the same seed gives the same storm. What is left out: the time that a connection
//! takes once it was let in, connections that hang instead of being refused, and other reasons to reconnect.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use hearthlink::retry::{Backoff, Policy};

/// How a gateway waits before it tries again.
#[derive(Debug, Clone, Copy)]
pub enum Waits {
    /// As Hearthlink does, with this policy.
    Ours(Policy),
    /// Doubling from the first to the longest, without jitter.
    Doubling(Duration, Duration),
    /// Always the same.
    Fixed(Duration),
}

/// What happens.
#[derive(Debug, Clone, Copy)]
pub struct Storm {
    /// How many gateways were connected.
    pub gateways: u32,
    /// For how long the cloud is gone.
    pub down: Duration,
    /// How many connections a second it lets in afterwards; it refuses the others at once.
    pub door: u32,
    /// Seed of all that is random.
    pub seed: u64,
}

/// What came of it; times count from the moment when the cloud is back.
#[derive(Debug, Clone)]
pub struct Course {
    /// Connections that the cloud saw, for each second.
    pub connects: Vec<u32>,
    /// How many gateways were still missing at the end.
    pub missing: u32,
    /// When half of all were back.
    pub half: Option<Duration>,
    /// When all were back.
    pub all: Option<Duration>,
}

impl Course {
    /// The most connections in one second.
    pub fn peak(&self) -> u32 {
        self.connects.iter().copied().max().unwrap_or(0)
    }

    /// All connections that the cloud saw.
    pub fn connects_in_all(&self) -> u64 {
        self.connects.iter().copied().map(u64::from).sum()
    }
}

/// Nobody waits longer for the end of a storm.
pub const PATIENCE: Duration = Duration::from_secs(3600);
/// How long a packet takes to the cloud or back, at least and at most: what makes even those who wait without
/// jitter arrive one after the other.
const LATENCY: (f64, f64) = (0.01, 0.06);

enum Waiter {
    Ours(Backoff),
    Doubling { next: Duration, longest: Duration },
    Fixed(Duration),
}

impl Waiter {
    fn new(waits: Waits) -> Self {
        match waits {
            Waits::Ours(policy) => Self::Ours(Backoff::new(policy)),
            Waits::Doubling(first, longest) => Self::Doubling { next: first, longest },
            Waits::Fixed(wait) => Self::Fixed(wait),
        }
    }

    /// The wait after a failure of a connection that had been up for `held`.
    fn wait(&mut self, held: Duration, random: f64) -> Duration {
        match self {
            Self::Ours(backoff) => backoff.after_failure(held, random),
            Self::Doubling { next, longest } => {
                let wait = *next;
                *next = (wait * 2).min(*longest);
                wait
            }
            Self::Fixed(wait) => *wait,
        }
    }
}

/// The front door: so many a second, and no more than a tenth of that at once.
struct Door {
    per_second: f64,
    free: f64,
    last: f64,
}

impl Door {
    fn lets_in(&mut self, now: f64) -> bool {
        self.free = (self.free + (now - self.last) * self.per_second).min(self.per_second / 10.0);
        self.last = now;
        let is_free = self.free >= 1.0;
        if is_free {
            self.free -= 1.0;
        }
        is_free
    }
}

/// Runs a storm until all are back or [`PATIENCE`] is over.
pub fn run(storm: Storm, waits: Waits) -> Course {
    let mut random = fastrand::Rng::with_seed(storm.seed);
    let mut latency = {
        let mut random = fastrand::Rng::with_seed(storm.seed ^ 1);
        move || LATENCY.0 + random.f64() * (LATENCY.1 - LATENCY.0)
    };
    // Nanoseconds since the cloud went away: whole numbers can be put in order.
    let mut arrivals: BinaryHeap<Reverse<(u64, u32)>> = BinaryHeap::new();
    let nanos = |seconds: f64| Duration::from_secs_f64(seconds).as_nanos() as u64;
    let mut waiters: Vec<Waiter> = (0..storm.gateways).map(|_| Waiter::new(waits)).collect();
    for (gateway, waiter) in (0..).zip(&mut waiters) {
        // The line had held for a day; its end takes a moment to be seen, the next packet one to arrive.
        let wait = waiter.wait(Duration::from_secs(86_400), random.f64());
        arrivals.push(Reverse((nanos(latency() + wait.as_secs_f64() + latency()), gateway)));
    }
    let back = storm.down.as_secs_f64();
    let per_second = f64::from(storm.door);
    let mut door = Door { per_second, free: per_second / 10.0, last: back };
    let mut course = Course { connects: Vec::new(), missing: storm.gateways, half: None, all: None };
    while let Some(Reverse((at, gateway))) = arrivals.pop() {
        let now = Duration::from_nanos(at).as_secs_f64();
        if now >= back {
            let since = Duration::from_secs_f64(now - back);
            if since > PATIENCE {
                break;
            }
            let second = since.as_secs() as usize;
            course.connects.resize(course.connects.len().max(second + 1), 0);
            course.connects[second] += 1;
            if door.lets_in(now) {
                course.missing -= 1;
                if course.missing == storm.gateways / 2 {
                    course.half = Some(since);
                }
                if course.missing == 0 {
                    course.all = Some(since);
                }
                continue;
            }
        }
        let wait = waiters[gateway as usize].wait(Duration::ZERO, random.f64());
        arrivals.push(Reverse((nanos(now + latency() + wait.as_secs_f64() + latency()), gateway)));
    }
    course
}
