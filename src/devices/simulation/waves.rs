//! A smooth curve for what is measured: slow waves with seeded phases, and noise.
//!
//! The curve depends on the seed, the interval and the sample's number alone, so a test knows every value.

use std::{f64::consts::TAU, time::Duration};

use crate::model::DeviceId;

/// Periods in seconds and heights of the waves: the day, the heating, a door. The day's height is 1.
const WAVES: [(f64, f64); 3] = [(86_400.0, 1.0), (3_600.0, 0.3), (420.0, 0.1)];
/// The noise's height, to either side.
const NOISE: f64 = 0.04;

/// Samples of a curve that never leaves `mean` by more than one and a half times `swing`.
#[derive(Debug, Clone)]
pub struct Waves {
    seed: u64,
    mean: f64,
    swing: f64,
    phases: [f64; WAVES.len()],
}

impl Waves {
    /// A curve about `mean`, whose daily wave is `swing` high; the same seed gives the same curve.
    pub fn new(seed: u64, mean: f64, swing: f64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        Self { seed, mean, swing, phases: std::array::from_fn(|_| random.f64() * TAU) }
    }

    /// The same, with a seed of the device's own: two devices of a kind do not move as one.
    pub fn of(device: &DeviceId, mean: f64, swing: f64) -> Self {
        // FNV-1a: the standard library's hash may change with the compiler.
        let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self::new(device.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, step), mean, swing)
    }

    /// Sample `number`, of those that are taken at `interval`.
    pub fn at(&self, number: u32, interval: Duration) -> f64 {
        let seconds = interval.as_secs_f64() * f64::from(number);
        let waves = WAVES.iter().zip(self.phases);
        let curve: f64 =
            waves.map(|((period, height), phase)| height * (TAU * seconds / period + phase).sin()).sum();
        let mut random = fastrand::Rng::with_seed(self.seed ^ (u64::from(number) << 20));
        let noise = (random.f64() * 2.0 - 1.0) * NOISE;
        self.mean + (curve + noise) * self.swing
    }

    /// The same, to `digits` behind the point.
    pub fn rounded(&self, number: u32, interval: Duration, digits: i32) -> f64 {
        let steps = 10_f64.powi(digits);
        (self.at(number, interval) * steps).round() / steps
    }
}
