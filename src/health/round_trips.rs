//! How long the cloud takes to answer, over a day.
//!
//! Pure data, in memory only: a restart begins anew, since a chart of 96 points is not worth its flash. Bounded: [`MOST`]
//! quarters of an hour.

use std::{collections::VecDeque, time::Duration};

use super::{RoundTripPoint, RoundTripReport, moment::Now};

const QUARTER: u64 = 15 * 60;
/// A day of quarters.
const MOST: u64 = 96;

#[derive(Debug)]
struct Quarter {
    /// Which since the start.
    number: u64,
    count: u32,
    min: Duration,
    sum: Duration,
    max: Duration,
}

/// The round trips.
#[derive(Debug, Default)]
pub(super) struct RoundTrips {
    last: Option<Duration>,
    quarters: VecDeque<Quarter>,
}

impl RoundTrips {
    pub(super) fn add(&mut self, now: Now, trip: Duration) {
        self.last = Some(trip);
        let number = now.uptime.as_secs() / QUARTER;
        match self.quarters.back_mut().filter(|quarter| quarter.number == number) {
            Some(quarter) => {
                quarter.count = quarter.count.saturating_add(1);
                quarter.min = quarter.min.min(trip);
                quarter.sum = quarter.sum.saturating_add(trip);
                quarter.max = quarter.max.max(trip);
            }
            None => self.quarters.push_back(Quarter { number, count: 1, min: trip, sum: trip, max: trip }),
        }
        self.forget(number);
    }

    fn forget(&mut self, number: u64) {
        while self.quarters.front().is_some_and(|quarter| quarter.number + MOST <= number) {
            self.quarters.pop_front();
        }
    }

    /// There is no connection: what was measured last says nothing of now.
    pub(super) fn line_is_down(&mut self) {
        self.last = None;
    }

    pub(super) fn report(&self, now: Now) -> RoundTripReport {
        let number = now.uptime.as_secs() / QUARTER;
        let of_the_day = self.quarters.iter().filter(|quarter| quarter.number + MOST > number);
        let point = |quarter: &Quarter| RoundTripPoint {
            from: now.wall_at(Duration::from_secs(quarter.number * QUARTER)),
            count: quarter.count,
            min: quarter.min,
            mean: quarter.sum / quarter.count.max(1),
            max: quarter.max,
        };
        RoundTripReport { last: self.last, points: of_the_day.map(point).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    fn now(seconds: u64) -> Now {
        let wall = Timestamp::from_millis(1_000_000_000 + (seconds * 1000) as i64);
        Now { uptime: Duration::from_secs(seconds), wall, is_trusted: true }
    }

    #[test]
    fn a_quarter_has_its_shortest_mean_and_longest_and_a_day_has_no_more_than_its_quarters() {
        let mut trips = RoundTrips::default();
        for (at, millis) in [(0, 30), (10, 10), (899, 50), (1000, 7)] {
            trips.add(now(at), Duration::from_millis(millis));
        }
        let report = trips.report(now(1000));
        assert_eq!(report.last, Some(Duration::from_millis(7)));
        let [first, second] = &report.points[..] else { panic!("{report:?}") };
        let millis = Duration::from_millis;
        assert_eq!((first.count, first.min, first.mean, first.max), (3, millis(10), millis(30), millis(50)));
        assert_eq!(first.from, Timestamp::from_millis(1_000_000_000));
        assert_eq!((second.count, second.from.as_millis()), (1, 1_000_900_000));
        for minute in 0..3 * 24 * 60 {
            trips.add(now(minute * 60), millis(1));
        }
        assert_eq!(trips.quarters.len(), 96);
        assert_eq!(trips.report(now(10 * 24 * 3600)).points, [], "nothing was measured for a day");
        trips.line_is_down();
        assert_eq!(trips.report(now(1000)).last, None);
    }
}
