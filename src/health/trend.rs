//! A device's number over a day, for a small line.
//!
//! Pure data, in memory only. Bounded: [`MOST`] means of half an hour, a few hundred bytes a device.

use std::{collections::VecDeque, time::Duration};

const HALF_HOUR: u64 = 30 * 60;
/// A day of them.
const MOST: u64 = 48;

/// The number's means.
#[derive(Debug)]
pub(super) struct Trend {
    /// Of which field.
    field: String,
    /// Half hours in which it was heard, by their number since the start: how often, and the sum.
    means: VecDeque<(u64, u32, f64)>,
}

impl Trend {
    pub(super) fn of(field: &str) -> Self {
        Self { field: field.to_owned(), means: VecDeque::new() }
    }

    pub(super) fn is_of(&self, field: &str) -> bool {
        self.field == field
    }

    pub(super) fn add(&mut self, at: Duration, value: f64) {
        let number = at.as_secs() / HALF_HOUR;
        match self.means.back_mut().filter(|(last, ..)| *last == number) {
            Some((_, count, sum)) => {
                *count = count.saturating_add(1);
                *sum += value;
            }
            None => self.means.push_back((number, 1, value)),
        }
        while self.means.front().is_some_and(|(first, ..)| first + MOST <= number) {
            self.means.pop_front();
        }
    }

    /// From the first half hour of the last day in which it was heard up to this one.
    pub(super) fn history(&self, now: Duration) -> Vec<Option<f64>> {
        let this = now.as_secs() / HALF_HOUR;
        let of_the_day = self.means.iter().filter(|(number, ..)| number + MOST > this);
        let mut history = Vec::new();
        let mut next = None;
        for &(number, count, sum) in of_the_day {
            history.extend((next.unwrap_or(number)..number).map(|_| None));
            history.push(Some(rounded(sum / f64::from(count.max(1)))));
            next = Some(number + 1);
        }
        history.extend((next.unwrap_or(this + 1)..=this).map(|_| None));
        history
    }
}

/// To five digits: a line on a page shows no more, and a thousand devices are sent a thousand of them.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let digits = 4 - value.abs().log10().floor() as i32;
    // Powers of ten below 1 are not exact.
    let scale = 10f64.powi(digits.abs());
    if digits >= 0 { (value * scale).round() / scale } else { (value / scale).round() * scale }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_has_five_digits_wherever_its_point_is() {
        for (value, expected) in [
            (64.0 / 3.0, "21.333"),
            (-200_000.0 / 3.0, "-66667"),
            (1e-7 / 3.0, "0.000000033333"),
            (123_456_789.0, "123460000"),
            (0.0, "0"),
        ] {
            assert_eq!(rounded(value).to_string(), expected);
        }
    }

    #[test]
    fn means_of_half_hours_with_gaps_where_nothing_was_heard_and_no_more_than_a_day() {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        let mut trend = Trend::of("temperature");
        assert_eq!(trend.history(minutes(0)), []);
        for (at, value) in [(0, 20.0), (29, 22.0), (95, 19.0)] {
            trend.add(minutes(at), value);
        }
        assert_eq!(trend.history(minutes(130)), [Some(21.0), None, None, Some(19.0), None]);
        for at in 0..5 * 24 * 60 {
            trend.add(minutes(at), 1.0);
        }
        assert_eq!((trend.means.len(), trend.history(minutes(5 * 24 * 60 - 1)).len()), (48, 48));
        assert_eq!(trend.history(minutes(9 * 24 * 60)), []);
    }
}
