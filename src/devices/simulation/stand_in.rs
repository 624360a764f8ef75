//! A thing that says something at an interval, and does what is written to it.
//!
//! Pure: what it says depends on what it was told and on the number of the round alone.

use std::time::Duration;

use tokio::time::Instant;

use super::super::{Appliance, Frame};

type Says<T> = Box<dyn FnMut(&mut T, u32) -> Vec<Frame> + Send>;
type Takes<T> = Box<dyn FnMut(&mut T, &Frame) -> Result<Vec<Frame>, String> + Send>;

/// An appliance of two closures around a `T`: what it remembers. Without either it is silent, and cannot be touched.
pub struct StandIn<T> {
    thing: T,
    says: Option<Says<T>>,
    every: Option<Duration>,
    takes: Option<Takes<T>>,
    next: Option<Instant>,
    round: u32,
}

impl<T: Send + 'static> StandIn<T> {
    /// One that remembers `thing`, also when its bus starts again.
    pub fn new(thing: T) -> Self {
        Self { thing, says: None, every: None, takes: None, next: None, round: 0 }
    }

    /// What it says when it is plugged in (round 0), and in each round of [`StandIn::every`].
    #[must_use]
    pub fn says(mut self, says: impl FnMut(&mut T, u32) -> Vec<Frame> + Send + 'static) -> Self {
        self.says = Some(Box::new(says));
        self
    }

    /// It says it again at this interval.
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Self {
        self.every = Some(interval);
        self
    }

    /// What it does with a frame that is written to it, and says to that; an error: why it did nothing.
    #[must_use]
    pub fn takes(
        mut self,
        takes: impl FnMut(&mut T, &Frame) -> Result<Vec<Frame>, String> + Send + 'static,
    ) -> Self {
        self.takes = Some(Box::new(takes));
        self
    }

    fn say(&mut self, now: Instant) -> Vec<Frame> {
        self.next = self.every.map(|interval| now + interval);
        let round = self.round;
        self.round = round.wrapping_add(1);
        self.says.as_mut().map_or_else(Vec::new, |says| says(&mut self.thing, round))
    }
}

impl<T: Send + 'static> Appliance for StandIn<T> {
    fn start(&mut self, now: Instant) -> Vec<Frame> {
        self.round = 0;
        self.say(now)
    }

    fn next(&self) -> Option<Instant> {
        self.next
    }

    fn tick(&mut self, now: Instant) -> Vec<Frame> {
        self.say(now)
    }

    fn touch(&mut self, frame: &Frame, _now: Instant) -> Result<Vec<Frame>, String> {
        match &mut self.takes {
            Some(takes) => takes(&mut self.thing, frame),
            None => Err("there is nothing on it to set".to_owned()),
        }
    }
}
