//! The thermometer on the simulated bus: slow waves with seeded phases, and noise.
//!
//! The curve depends on the seed and the reading's number alone, so a test knows every value.

use std::{f64::consts::TAU, time::Duration};

use tokio::time::Instant;

use super::super::super::{Appliance, Frame};

/// Periods in seconds and heights in degrees of the waves: the day, the heating, a door.
const WAVES: [(f64, f64); 3] = [(86_400.0, 2.0), (3_600.0, 0.6), (420.0, 0.2)];
/// The noise's height, in degrees to either side.
const NOISE: f64 = 0.08;

pub(super) struct ThermometerOnTheBus {
    interval: Duration,
    mean: f64,
    seed: u64,
    phases: [f64; WAVES.len()],
    next: Option<Instant>,
    readings: u32,
}

impl ThermometerOnTheBus {
    pub(super) fn new(interval: Duration, seed: u64, mean: f64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let phases = std::array::from_fn(|_| random.f64() * TAU);
        Self { interval, mean, seed, phases, next: None, readings: 0 }
    }

    /// The temperature of reading `number`, in degrees Celsius to a tenth.
    fn temperature(&self, number: u32) -> f64 {
        let seconds = self.interval.as_secs_f64() * f64::from(number);
        let waves = WAVES.iter().zip(self.phases);
        let curve: f64 =
            waves.map(|((period, height), phase)| height * (TAU * seconds / period + phase).sin()).sum();
        let mut random = fastrand::Rng::with_seed(self.seed ^ (u64::from(number) << 20));
        let noise = (random.f64() * 2.0 - 1.0) * NOISE;
        ((self.mean + curve + noise) * 10.0).round() / 10.0
    }

    fn read(&mut self, now: Instant) -> Vec<Frame> {
        let frame = Frame::new("temperature", self.temperature(self.readings).to_string());
        self.readings = self.readings.wrapping_add(1);
        self.next = Some(now + self.interval);
        vec![frame]
    }
}

impl Appliance for ThermometerOnTheBus {
    fn start(&mut self, now: Instant) -> Vec<Frame> {
        self.read(now)
    }

    fn next(&self) -> Option<Instant> {
        self.next
    }

    fn tick(&mut self, now: Instant) -> Vec<Frame> {
        self.read(now)
    }

    fn touch(&mut self, _frame: &Frame, _now: Instant) -> Result<Vec<Frame>, String> {
        Err("a thermometer has nothing to press".to_owned())
    }
}
