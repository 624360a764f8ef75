//! Full-jitter backoff whose count resets only after the connection has been stable.
//!
//! Pure: it is told what happened and says how long to wait. The crate `backoff` is unmaintained
//! (RUSTSEC-2025-0012), and the reset after a stable time is ours.
//! Source: "Exponential Backoff And Jitter", AWS Architecture Blog (full jitter).

use std::time::Duration;

/// How waits grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The upper end of the first wait.
    pub first: Duration,
    /// The upper end that is never passed.
    pub longest: Duration,
    /// How long a connection must have held before the next wait starts small again.
    pub stable_after: Duration,
}

impl Policy {
    /// For attempts that are over at once, so that none of them is ever stable.
    pub const fn of_attempts(first: Duration, longest: Duration) -> Self {
        Self { first, longest, stable_after: Duration::MAX }
    }
}

impl Default for Policy {
    /// From 1 s to 5 min, stable after 60 s.
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(300),
            stable_after: Duration::from_secs(60),
        }
    }
}

/// The state of one thing that is tried again and again.
#[derive(Debug, Clone)]
pub struct Backoff {
    policy: Policy,
    failures: u32,
}

impl Backoff {
    /// No failure yet.
    pub fn new(policy: Policy) -> Self {
        Self { policy, failures: 0 }
    }

    /// The wait after a failure: evenly spread between nothing and the current upper end.
    ///
    /// `held` is how long the connection had been up before it failed, zero when it never was;
    /// `random` is in `0.0..1.0`.
    pub fn after_failure(&mut self, held: Duration, random: f64) -> Duration {
        if held >= self.policy.stable_after {
            self.failures = 0;
        }
        let ceiling = self.ceiling();
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(random.clamp(0.0, 1.0))
    }

    /// A wait that is no step of the growth: evenly spread up to the first upper end.
    pub fn short(&self, random: f64) -> Duration {
        self.policy.first.min(self.policy.longest).mul_f64(random.clamp(0.0, 1.0))
    }

    /// The upper end of the wait that a failure now would have.
    pub fn upper_end(&self) -> Duration {
        self.ceiling()
    }

    /// As if it had never failed.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// How often it has failed since it was last stable.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    fn ceiling(&self) -> Duration {
        let doubled = 2u32.checked_pow(self.failures).and_then(|n| self.policy.first.checked_mul(n));
        doubled.map_or(self.policy.longest, |wait| wait.min(self.policy.longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn waits_double_to_the_longest_and_reset_only_after_a_stable_time() {
        let mut backoff = Backoff::new(Policy::default());
        let waits: Vec<u64> = (0..11).map(|_| backoff.after_failure(Duration::ZERO, 1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(backoff.after_failure(Duration::from_secs(59), 1.0).as_secs(), 300);
        assert_eq!(backoff.after_failure(Duration::from_secs(60), 1.0).as_secs(), 1);
    }

    proptest! {
        #[test]
        fn no_wait_passes_the_longest(steps in prop::collection::vec((0u64..200, 0.0f64..1.0), 0..200)) {
            let policy = Policy::default();
            let mut backoff = Backoff::new(policy);
            for (held, random) in steps {
                prop_assert!(backoff.after_failure(Duration::from_secs(held), random) <= policy.longest);
            }
        }
    }
}
