//! Which counters of encrypted advertisements are still believed.
//!
//! A recording of an advertisement is as well encrypted as the advertisement. So each has a counter of 32 bits, and
//! what does not count on from the last one is no news. The last counter is a field of the state, which outlives a
//! restart; otherwise a recording of yesterday's press of a button would open the garage after every restart.
//! Rejected: to believe counters below 100, as `bthome-ble` does for batteries that were changed. Whoever has recorded
//! the first hundred advertisements could play them for ever.

use serde::Deserialize;

use crate::model::{Entity, Fields};

/// How long the last counter is remembered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in super::super) enum ReplayProtection {
    /// For good.
    #[default]
    Strict,
    /// Until the gateway starts again: what is heard first is then believed.
    UntilRestart,
}

/// What is to be thought of a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    New,
    /// The same as the last one: a device repeats what it says, for who did not hear it.
    Repeated,
    /// It went back.
    Old,
}

pub(in super::super) struct Freshness {
    protection: ReplayProtection,
    last: Option<u32>,
}

pub(super) const FIELD: &str = "encryption_counter";
/// How near to its end, and after it to its beginning, a counter is believed to have wrapped around.
const NEAR: u32 = 256;

impl Freshness {
    pub(in super::super) fn new(protection: ReplayProtection) -> Self {
        Self { protection, last: None }
    }

    pub(in super::super) fn restore(&mut self, state: &Fields) {
        if self.protection == ReplayProtection::Strict {
            self.last = state.get(FIELD).and_then(|last| last.as_u64()?.try_into().ok());
        }
    }

    /// Takes the counter of an advertisement that was opened, and puts it into the reading.
    pub(super) fn take(&mut self, counter: u32, reading: &mut Fields) -> Verdict {
        let verdict = match self.last {
            Some(last) if counter == last => Verdict::Repeated,
            Some(last) if counter < last && !(last >= u32::MAX - NEAR && counter < NEAR) => Verdict::Old,
            _ => Verdict::New,
        };
        if verdict == Verdict::New {
            self.last = Some(counter);
            reading.insert(FIELD.to_owned(), counter.into());
        }
        verdict
    }
}

/// The counter, for people.
pub(super) fn entity() -> Entity {
    Entity::sensor(FIELD).diagnostic()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::super::testing::object, *};

    fn verdicts(freshness: &mut Freshness, counters: &[u32]) -> Vec<Verdict> {
        counters.iter().map(|counter| freshness.take(*counter, &mut Fields::new())).collect()
    }

    #[test]
    fn only_a_counter_that_goes_on_is_news() {
        use Verdict::{New, Old, Repeated};
        let mut freshness = Freshness::new(ReplayProtection::Strict);
        assert_eq!(
            verdicts(&mut freshness, &[7, 7, 8, 1000, 8, 0, 1000, 1001]),
            [New, Repeated, New, New, Old, Old, Repeated, New]
        );
        let ends = [u32::MAX - 1, u32::MAX, 0, 1, u32::MAX, 5];
        assert_eq!(verdicts(&mut freshness, &ends), [New, New, New, New, New, New], "it wrapped around");
        assert_eq!(verdicts(&mut freshness, &[u32::MAX, NEAR, NEAR - 1]), [New, Old, New]);
    }

    #[test]
    fn a_restart_forgets_the_counter_only_where_it_is_told_to() {
        for (protection, verdict) in
            [(ReplayProtection::Strict, Verdict::Old), (ReplayProtection::UntilRestart, Verdict::New)]
        {
            let mut state = Fields::new();
            assert_eq!(Freshness::new(protection).take(70_000, &mut state), Verdict::New);
            assert_eq!(state, object(json!({"encryption_counter": 70_000})));
            let mut again = Freshness::new(protection);
            again.restore(&state);
            assert_eq!(again.take(69_999, &mut Fields::new()), verdict);
            assert_eq!(again.take(70_001, &mut Fields::new()), Verdict::New);
        }
        let mut freshness = Freshness::new(ReplayProtection::Strict);
        freshness.restore(&object(json!({"encryption_counter": "7"})));
        assert_eq!(freshness.take(0, &mut Fields::new()), Verdict::New);
    }
}
