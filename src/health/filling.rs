//! How fast the queue fills, and when it will be full.
//!
//! Pure data, in memory. Bounded: [`MOST`] samples, one for five minutes, over a day. The rate is that of the growth since
//! the queue was last at its smallest within that day: what filled it is what a line that is down, or too slow, leaves in
//! it now, and not what was drained before. Nothing is foretold from less than [`LEAST`], nor while the queue shrinks.
//! Rejected: the bytes that come in a day, which say nothing while the line takes them.

use std::{collections::VecDeque, time::Duration};

use super::OutlookReport;

const EVERY: u64 = 5 * 60;
/// A day of samples.
const MOST: u64 = 288;
/// From less time nothing is foretold.
const LEAST: Duration = Duration::from_secs(10 * 60);
/// It must have grown over so long, too.
const LATELY: u64 = 3;

#[derive(Debug, Clone, Copy)]
struct Sample {
    /// Which since the start.
    number: u64,
    at: Duration,
    bytes: u64,
}

/// How much waited when.
#[derive(Debug, Default)]
pub(super) struct Filling {
    samples: VecDeque<Sample>,
}

impl Filling {
    /// So many bytes wait, so long after the start.
    pub(super) fn look(&mut self, at: Duration, bytes: u64) {
        let number = at.as_secs() / EVERY;
        // Of each five minutes the least: a queue that is emptied within them was empty.
        match self.samples.back_mut().filter(|last| last.number == number) {
            Some(last) if last.bytes < bytes => {}
            Some(last) => *last = Sample { number, at, bytes },
            None => self.samples.push_back(Sample { number, at, bytes }),
        }
        while self.samples.front().is_some_and(|sample| sample.number + MOST <= number) {
            self.samples.pop_front();
        }
    }

    /// Whether nobody has looked yet.
    pub(super) fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// What `waiting` bytes of at most `max` come to.
    pub(super) fn outlook(&self, now: Duration, waiting: u64, max: u64) -> OutlookReport {
        let number = now.as_secs() / EVERY;
        let of_the_day = self.samples.iter().filter(|sample| sample.number + MOST > number);
        // Of equals the last.
        let Some(least) = of_the_day.rev().min_by_key(|sample| sample.bytes) else {
            return OutlookReport::default();
        };
        let mut before = self.samples.iter().rev();
        let lately = before.find(|sample| sample.number + LATELY <= number).unwrap_or(least);
        let passed = now.saturating_sub(least.at);
        let grown = waiting.saturating_sub(least.bytes);
        if passed < LEAST || grown == 0 || waiting <= lately.bytes || max == 0 {
            return OutlookReport::default();
        }
        let rate = grown as f64 / passed.as_secs_f64();
        let left = max.saturating_sub(waiting) as f64 / rate;
        // Ten years are for ever.
        let full_in = (left < 3.2e8).then(|| Duration::from_secs_f64(left));
        OutlookReport { full_in, filling_bytes_per_second: Some(rate) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60;
    const HOUR: u64 = 3600;

    struct Queue(Filling, Duration, u64);

    impl Queue {
        /// A look every minute, from `self` to `bytes` at `until`.
        fn goes_to(&mut self, until: u64, bytes: u64) {
            let (from, was, until) = (self.1, self.2 as f64, Duration::from_secs(until));
            while self.1 < until {
                self.1 += Duration::from_secs(MINUTE);
                let share = (self.1 - from).as_secs_f64() / (until - from).as_secs_f64();
                self.2 = (was + (bytes as f64 - was) * share).round() as u64;
                self.0.look(self.1, self.2);
            }
        }

        fn hours_left(&self) -> Option<f64> {
            let outlook = self.0.outlook(self.1, self.2, 100 << 20);
            outlook.full_in.map(|left| (left.as_secs_f64() / 360.0).round() / 10.0)
        }
    }

    fn queue() -> Queue {
        Queue(Filling::default(), Duration::ZERO, 0)
    }

    #[test]
    fn a_queue_that_fills_at_an_even_rate_is_full_when_the_rest_has_come() {
        let mut queue = queue();
        queue.goes_to(10 * HOUR, 0);
        assert_eq!(queue.hours_left(), None, "nothing waits");
        queue.goes_to(10 * HOUR + 5 * MINUTE, 1 << 20);
        assert_eq!(queue.hours_left(), None, "too early to tell");
        queue.goes_to(12 * HOUR, 20 << 20);
        assert_eq!(queue.hours_left(), Some(8.0));
        // Days later it is still the rate of the day that counts.
        queue.goes_to(40 * HOUR, 60 << 20);
        assert_eq!(queue.hours_left(), Some(28.0));
        assert!(queue.0.samples.len() <= MOST as usize);
    }

    #[test]
    fn a_queue_that_shrinks_stands_still_or_is_emptied_again_and_again_does_not_fill() {
        let mut queue = queue();
        queue.goes_to(2 * HOUR, 50 << 20);
        queue.goes_to(3 * HOUR, 40 << 20);
        assert_eq!(queue.hours_left(), None, "the line drains it");
        queue.goes_to(5 * HOUR, 40 << 20);
        assert_eq!(queue.hours_left(), None, "nothing comes");
        queue.goes_to(6 * HOUR, 0);
        for minute in 0..120 {
            queue.goes_to(6 * HOUR + minute * MINUTE, if minute % 3 == 0 { 1000 } else { 0 });
        }
        assert_eq!(queue.hours_left(), None, "what waits for an acknowledgement is no backlog");
        queue.goes_to(9 * HOUR, 10 << 20);
        assert!(queue.hours_left().is_some());
    }
}
