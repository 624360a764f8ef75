//! How often a permission may be used: so many times in any stretch of a given length.
//!
//! Pure: the caller brings the monotonic clock. The times of the last uses are kept, at most `count` of
//! them. Rejected: a token bucket, which is one number but lets through up to twice as many in a
//! stretch; `5 in 1min` is then not what it says, and a person cannot count along.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// At most `count` times in any stretch of the length `per`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many times. At least 1.
    pub count: u16,
    /// In how long.
    pub per: Duration,
}

/// The last uses of a permission. Empty after a start: what was before it is not known.
#[derive(Debug)]
pub(super) struct Uses {
    rate: Rate,
    /// Oldest first; at most `rate.count`.
    times: VecDeque<Instant>,
}

impl Uses {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, times: VecDeque::new() }
    }

    pub(super) fn rate(&self) -> Rate {
        self.rate
    }

    /// How long until it may be used again; `None` when it may be used now.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        if self.times.len() < usize::from(self.rate.count) {
            return None;
        }
        let free = *self.times.front()? + self.rate.per;
        (free > now).then(|| free - now)
    }

    /// It is used now.
    pub(super) fn add(&mut self, now: Instant) {
        while self.times.len() >= usize::from(self.rate.count.max(1)) {
            self.times.pop_front();
        }
        self.times.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_next_may_come_when_the_oldest_of_the_stretch_is_old_enough() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut uses = Uses::new(Rate { count: 2, per: Duration::from_secs(60) });
        for (second, expected) in
            [(0, None), (10, None), (20, Some(40)), (59, Some(1)), (60, None), (61, Some(9)), (70, None)]
        {
            let wait = uses.wait(at(second));
            assert_eq!(wait.map(|wait| wait.as_secs()), expected, "at second {second}");
            if wait.is_none() {
                uses.add(at(second));
            }
        }
    }

    proptest! {
        #[test]
        fn no_stretch_has_more_than_the_count_and_no_more_is_kept(
            count in 1u16..6, per in 1u64..50, steps in prop::collection::vec(0u64..20, 0..200)
        ) {
            let rate = Rate { count, per: Duration::from_secs(per) };
            let (mut uses, mut now, mut used) = (Uses::new(rate), Instant::now(), Vec::new());
            for step in steps {
                now += Duration::from_secs(step);
                if uses.wait(now).is_none() {
                    uses.add(now);
                    used.push(now);
                }
                prop_assert!(uses.times.len() <= usize::from(count));
            }
            for (index, first) in used.iter().enumerate() {
                let within = used[index..].iter().filter(|time| **time - *first < rate.per).count();
                prop_assert!(within <= usize::from(count), "{within} within {:?}", rate.per);
            }
        }
    }
}
