//! The watchdog of a scan: what is done, and when, while nothing is heard of anyone.
//!
//! Pure: it is told what happened and says what to do next. Invariants: every step waits as long as the one before it
//! was given; whatever is heard, of whomever, leads back to the ground. Above the last step the adapter goes on being
//! switched off and on, ever more seldom: a radio that hangs for good needs a hand, and a house may just be quiet.

use std::time::Duration;

use tokio::time::Instant;

/// The longest wait between two tries above the last step, unless the patience is longer.
const LONGEST: Duration = Duration::from_secs(3600);

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Stop the scan and start it again.
    RestartScan,
    /// Switch the adapter off and on.
    PowerCycle,
    /// Tell people that both were in vain, and that nothing was heard for this long.
    Report(Duration),
}

#[derive(Debug)]
pub(super) struct Ladder {
    patience: Duration,
    /// When something was heard last, or the scan began.
    heard: Instant,
    next: Step,
    at: Instant,
    /// The wait before the next try above the last step.
    wait: Duration,
    is_reported: bool,
}

impl Ladder {
    /// A scan begins.
    pub(super) fn new(patience: Duration, now: Instant) -> Self {
        Self {
            patience,
            heard: now,
            next: Step::RestartScan,
            at: now + patience,
            wait: patience,
            is_reported: false,
        }
    }

    /// Something was heard of someone; whether people must be told that it works again.
    pub(super) fn heard(&mut self, now: Instant) -> bool {
        let was_reported = self.is_reported;
        *self = Self::new(self.patience, now);
        was_reported
    }

    /// When the next step is due.
    pub(super) fn next(&self) -> Instant {
        self.at
    }

    /// The step that is due, if one is.
    pub(super) fn step(&mut self, now: Instant) -> Option<Step> {
        if now < self.at {
            return None;
        }
        let step = self.next;
        self.at = now + self.patience;
        match step {
            Step::RestartScan => self.next = Step::PowerCycle,
            Step::PowerCycle if self.is_reported => {
                self.wait = (self.wait * 2).min(LONGEST.max(self.patience));
                self.at = now + self.wait;
            }
            Step::PowerCycle => self.next = Step::Report(Duration::ZERO),
            Step::Report(_) => {
                (self.next, self.is_reported) = (Step::PowerCycle, true);
                return Some(Step::Report(now.duration_since(self.heard)));
            }
        }
        Some(step)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// The steps of an hour in which nothing is heard, with their minutes.
    fn steps(ladder: &mut Ladder, from: Instant, minutes: u32) -> Vec<(u32, Step)> {
        (0..=minutes).filter_map(|minute| Some((minute, ladder.step(from + MINUTE * minute)?))).collect()
    }

    #[test]
    fn silence_climbs_step_by_step_and_tries_ever_more_seldom_above() {
        let now = Instant::now();
        let mut ladder = Ladder::new(MINUTE, now);
        let climbed = steps(&mut ladder, now, 20);
        assert_eq!(
            climbed,
            [
                (1, Step::RestartScan),
                (2, Step::PowerCycle),
                (3, Step::Report(MINUTE * 3)),
                (4, Step::PowerCycle),
                (6, Step::PowerCycle),
                (10, Step::PowerCycle),
                (18, Step::PowerCycle),
            ]
        );
    }

    #[test]
    fn whatever_is_heard_leads_back_to_the_ground() {
        let now = Instant::now();
        let mut ladder = Ladder::new(MINUTE, now);
        assert!(!ladder.heard(now));
        assert_eq!(steps(&mut ladder, now, 2).len(), 2);
        assert!(!ladder.heard(now + MINUTE * 2), "nobody was told yet");
        let later = now + MINUTE * 2;
        assert_eq!(steps(&mut ladder, later, 3).last(), Some(&(3, Step::Report(MINUTE * 3))));
        assert!(ladder.heard(later + MINUTE * 3));
        assert_eq!(ladder.step(later + MINUTE * 3), None);
        assert_eq!(ladder.step(later + MINUTE * 4), Some(Step::RestartScan));
    }

    proptest! {
        #[test]
        fn steps_never_come_closer_than_the_patience(
            patience in 1_u64..10_000,
            turns in prop::collection::vec((0_u64..20_000, any::<bool>()), 1..200),
        ) {
            let mut now = Instant::now();
            let patience = Duration::from_secs(patience);
            let mut ladder = Ladder::new(patience, now);
            let mut last = now;
            for (seconds, is_heard) in turns {
                now += Duration::from_secs(seconds);
                if is_heard {
                    ladder.heard(now);
                    last = now;
                }
                if ladder.step(now).is_some() {
                    prop_assert!(now.duration_since(last) >= patience);
                    last = now;
                }
                prop_assert!(ladder.next() > now || is_heard || ladder.next() <= now + LONGEST.max(patience));
            }
        }
    }
}
