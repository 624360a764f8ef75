//! A token bucket that keeps a backlog from filling the line after an outage, and all publishes together within what the
//! cloud takes. They are two: what waited goes out at its own pace, and also counts with the rest.
//!
//! Pure. It fills at the rate, and holds a tenth of a second's messages, so that a house that comes back does
//! not begin with a burst.

use std::time::Duration;

use tokio::time::Instant;

/// How much the bucket holds, in seconds of its rate; one message at least.
const HOLDS: f64 = 0.1;

/// The bucket; without a rate it never runs dry.
#[derive(Debug)]
pub(super) struct Pacer {
    rate: Option<f64>,
    tokens: f64,
    filled: Instant,
}

impl Pacer {
    /// A bucket with one token, for so many messages a second.
    pub(super) fn new(rate: Option<u32>, now: Instant) -> Self {
        Self { rate: rate.map(|rate| f64::from(rate.max(1))), tokens: 1.0, filled: now }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// When there will be one.
    #[cfg(test)]
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Instant> {
        self.look(now)?;
        self.spend();
        Ok(())
    }

    /// Takes a token that [`Pacer::look`] has seen; below none when nobody looked.
    pub(super) fn spend(&mut self) {
        if self.rate.is_some() {
            self.tokens -= 1.0;
        }
    }

    /// Whether there is a token.
    ///
    /// # Errors
    /// When there will be one.
    pub(super) fn look(&mut self, now: Instant) -> Result<(), Instant> {
        let Some(rate) = self.rate else { return Ok(()) };
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + passed * rate).min((rate * HOLDS).max(1.0));
        self.filled = now;
        if self.tokens >= 1.0 {
            return Ok(());
        }
        // Rounded up, so that the token is there when the time has come.
        let missing = Duration::from_secs_f64((1.0 - self.tokens) / rate) + Duration::from_micros(1);
        Err(now + missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whoever takes as soon as there is a token takes as many as the rate allows, and a tenth of a second's
        /// more at most.
        #[test]
        fn in_any_time_no_more_than_the_rate_and_what_the_bucket_holds(
            rate in 1u32..5_000,
            idle in 0u64..10_000,
            seconds in 1u64..20,
        ) {
            let start = Instant::now();
            let mut pacer = Pacer::new(Some(rate), start);
            let mut now = start + Duration::from_millis(idle);
            let end = now + Duration::from_secs(seconds);
            let mut taken = 0u64;
            while now <= end {
                match pacer.take(now) {
                    Ok(()) => taken += 1,
                    Err(when) => {
                        prop_assert!(when > now);
                        now = when;
                    }
                }
            }
            let (most, rate) = (u64::from(rate) * seconds, f64::from(rate));
            prop_assert!(taken as f64 <= most as f64 + (rate * HOLDS).max(1.0) + 1.0, "{taken} of {most}");
            prop_assert!(taken as f64 >= most as f64 * 0.98 - 1.0, "{taken} of {most}");
        }
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        let now = Instant::now();
        let mut pacer = Pacer::new(None, now);
        assert!((0..10_000).all(|_| pacer.take(now).is_ok()));
    }
}
