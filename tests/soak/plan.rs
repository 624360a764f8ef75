//! What the seed decides: how long each gateway lives under which sky, and when the cloud dies for how long.
//!
//! The plan is the same for the same seed; what meets what in the processes' threads is not.

use std::time::Duration;

use crate::proxy::{End, Proxy, Way, Weather};
use tokio::time::sleep;

/// The line to the cloud during one life of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sky {
    Up,
    Down,
    Flapping,
    Hung,
    HalfOpen(Way),
    Slow,
    Dripping,
    Lossy,
}

/// One life of the gateway, from its start to its kill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    pub sky: Sky,
    pub length: Duration,
    seed: u64,
}

/// One death of the cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    pub after: Duration,
    pub down: Duration,
    pub keeps_session: bool,
}

/// The lives and deaths that follow from a seed, without end.
pub struct Plan {
    lives: fastrand::Rng,
    deaths: fastrand::Rng,
    /// In a long run a few gateways live for long.
    longest: Duration,
}

impl Plan {
    pub fn new(seed: u64, longest: Duration) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        Self { lives: random.fork(), deaths: random.fork(), longest }
    }

    pub fn life(&mut self) -> Life {
        let random = &mut self.lives;
        let sky = match random.u8(..100) {
            0..36 => Sky::Up,
            36..56 => Sky::Down,
            56..80 => Sky::Flapping,
            80..84 => Sky::Hung,
            84..86 => Sky::HalfOpen(Way::Out),
            86..88 => Sky::HalfOpen(Way::Back),
            88..92 => Sky::Slow,
            92..96 => Sky::Dripping,
            _ => Sky::Lossy,
        };
        let millis = match (sky, random.u8(..100)) {
            // Long enough for the gateway to notice, most of the time.
            (Sky::Hung | Sky::HalfOpen(_), _) => random.u64(500..4500),
            // Long enough for commands that wait in the cloud to be over when the gateway gets them.
            (Sky::Down, 0..9) => random.u64(4000..9000),
            // While it starts: before it listens, while it opens its store, while it settles what was interrupted.
            (_, 0..10) => random.u64(0..40),
            (_, 10..22) => random.u64(40..400),
            (_, 22..95) => random.u64(400..1200),
            _ => random.u64(1200..u64::try_from(self.longest.as_millis()).unwrap()),
        };
        Life { sky, length: Duration::from_millis(millis), seed: random.u64(..) }
    }

    pub fn death(&mut self) -> Death {
        let random = &mut self.deaths;
        Death {
            after: Duration::from_millis(random.u64(200..5000)),
            down: Duration::from_millis(random.u64(20..1200)),
            keeps_session: random.bool(),
        }
    }
}

impl Life {
    /// Makes the weather; never ends by itself.
    pub async fn blow(&self, proxy: &Proxy) {
        let mut random = fastrand::Rng::with_seed(self.seed);
        let millis = |random: &mut fastrand::Rng, from, to| Duration::from_millis(random.u64(from..to));
        let end = |random: &mut fastrand::Rng| if random.bool() { End::Reset } else { End::Fin };
        let after = match self.sky {
            Sky::Up => Weather::Clear,
            Sky::Down => Weather::Shut,
            Sky::Slow => Weather::Delayed(millis(&mut random, 1, 60)),
            Sky::Dripping => Weather::Dripping(random.usize(20..300)),
            Sky::Lossy => Weather::EveryNth(random.u64(2..4)),
            Sky::Flapping => loop {
                proxy.set(Weather::Clear);
                sleep(millis(&mut random, 20, 900)).await;
                proxy.set(Weather::Shut);
                proxy.cut(end(&mut random));
                sleep(millis(&mut random, 10, 300)).await;
            },
            Sky::Hung | Sky::HalfOpen(_) => {
                proxy.set(Weather::Clear);
                sleep(millis(&mut random, 200, 1500)).await;
                if let Sky::HalfOpen(way) = self.sky { Weather::HalfOpen(way) } else { Weather::Hung }
            }
        };
        proxy.set(after);
        if after == Weather::Shut {
            proxy.cut(end(&mut random));
        }
        std::future::pending().await
    }
}
