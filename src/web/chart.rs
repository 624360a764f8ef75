//! Small charts: what stands in the attributes of their SVG. Every chart has its content in words beside it.
//!
//! Pure. Coordinates are whole numbers and relative, because 1,000 lines of them are on one page; the browser stretches
//! them. No styles: the page's policy forbids them inline, and classes do.

use std::{fmt::Write, time::Duration};

use crate::{
    health::{OutageReport, RoundTripPoint},
    model::Timestamp,
};

/// The height of a line of numbers, in the chart's own units.
pub(super) const HEIGHT: u16 = 24;
/// A day has so many quarters of an hour.
pub(super) const QUARTERS: usize = 96;
/// What one unit of the strip of outages stands for.
const STEP: Duration = Duration::from_secs(600);
/// The strip's width: seven days.
pub(super) const WEEK: u64 = 7 * 24 * 6;
/// Less than this cannot be seen on a phone.
const NARROWEST: u64 = 4;

/// A line through numbers, from `least` at the bottom to `most`; a gap where there is none. `None`: less than two.
fn path(points: &[Option<f64>], least: f64, most: f64) -> Option<String> {
    if points.iter().flatten().count() < 2 {
        return None;
    }
    let range = if most > least { most - least } else { 1.0 };
    // From 0 to HEIGHT: the cast takes nothing away.
    let y = |value: f64| ((1.0 - (value - least) / range) * f64::from(HEIGHT)).round() as i32;
    let mut path = String::with_capacity(points.len() * 5);
    let mut pen: Option<i32> = None;
    for (x, point) in points.iter().enumerate() {
        let Some(y) = point.map(y) else {
            pen = None;
            continue;
        };
        // Writing to a string cannot fail.
        let _ = match pen {
            Some(before) => write!(path, "l1 {}", y - before),
            // A round cap makes a dot of a point without neighbours.
            None => write!(path, "M{x} {y}h0"),
        };
        pen = Some(y);
    }
    Some(path)
}

fn bounds(numbers: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    numbers.filter(|number| number.is_finite()).fold(None, |bounds, number| match bounds {
        None => Some((number, number)),
        Some((least, most)) => Some((number.min(least), number.max(most))),
    })
}

/// A line of numbers with its least and its most; `None`: less than two are there.
pub(super) fn line(points: &[Option<f64>]) -> Option<(String, f64, f64)> {
    let points: Vec<Option<f64>> =
        points.iter().map(|point| point.filter(|number| number.is_finite())).collect();
    let (least, most) = bounds(points.iter().flatten().copied())?;
    Some((path(&points, least, most)?, least, most))
}

/// Round trips of a day: the longest and the mean of each quarter of an hour, from 0 up.
pub(super) fn round_trips(points: &[RoundTripPoint], now: Timestamp) -> Option<(String, String)> {
    let quarter = |time: Timestamp| time.as_millis().div_euclid(900_000);
    let mut longest = vec![None; QUARTERS];
    let mut mean = longest.clone();
    for point in points {
        let Some(age) =
            usize::try_from(quarter(now) - quarter(point.from)).ok().filter(|age| *age < QUARTERS)
        else {
            continue;
        };
        longest[QUARTERS - 1 - age] = Some(point.max.as_secs_f64());
        mean[QUARTERS - 1 - age] = Some(point.mean.as_secs_f64());
    }
    let (_, most) = bounds(longest.iter().flatten().copied())?;
    Some((path(&longest, 0.0, most)?, path(&mean, 0.0, most)?))
}

/// How much of the strip lies before a moment.
pub(super) fn before(moment: Timestamp, now: Timestamp) -> u64 {
    let step = i64::try_from(STEP.as_millis()).unwrap_or(i64::MAX);
    // The strip moves in steps, so that it is another one only every ten minutes.
    let steps = |time: Timestamp| time.as_millis().div_euclid(step);
    let to_the_end = u64::try_from(steps(now) + 1 - steps(moment)).unwrap_or(0);
    WEEK.saturating_sub(to_the_end)
}

/// Where an outage lies on the strip, and how wide it is; `None`: before it.
pub(super) fn outage(outage: &OutageReport, now: Timestamp) -> Option<(u64, u64)> {
    let (from, to) = (before(outage.from, now), outage.to.map_or(WEEK, |to| before(to, now)));
    if to == 0 {
        return None;
    }
    let width = to.saturating_sub(from).max(NARROWEST);
    let from = from.min(WEEK - NARROWEST);
    Some((from, width.min(WEEK - from)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_from_the_bottom_to_the_top_and_leaves_gaps() {
        let (path, least, most) = line(&[Some(10.0), Some(20.0), None, Some(15.0), Some(f64::NAN)]).unwrap();
        assert_eq!((path.as_str(), least, most), ("M0 24h0l1 -24M3 12h0", 10.0, 20.0));
        assert_eq!(line(&[Some(1.0), None]), None);
        assert_eq!(line(&[]), None);
        // Nothing changes: a level line, and no division by zero.
        assert_eq!(line(&[Some(3.0), Some(3.0)]).unwrap().0, "M0 24h0l1 0");
    }

    #[test]
    fn round_trips_stand_at_their_quarter_of_an_hour() {
        let now = Timestamp::from_millis(900_000 * 1000 + 5);
        let point = |quarter: i64, seconds: u64| RoundTripPoint {
            from: Timestamp::from_millis(900_000 * quarter),
            count: 3,
            min: Duration::ZERO,
            mean: Duration::from_secs(seconds) / 2,
            max: Duration::from_secs(seconds),
        };
        let (longest, mean) =
            round_trips(&[point(900, 9), point(999, 4), point(1000, 2), point(1001, 9)], now).unwrap();
        assert_eq!((longest.as_str(), mean.as_str()), ("M94 0h0l1 12", "M94 12h0l1 6"));
        assert_eq!(round_trips(&[], now), None);
    }

    #[test]
    fn an_outage_is_wide_enough_to_be_seen_and_never_beyond_the_strip() {
        let week = 7 * 24 * 3600 * 1000;
        let now = Timestamp::from_millis(3 * week);
        let of = |from: i64, to: Option<i64>| {
            let at = |ago: i64| Timestamp::from_millis(3 * week - ago);
            outage(&OutageReport { from: at(from), to: to.map(at), fault: None }, now)
        };
        assert_eq!(of(2 * week, Some(week + 1_200_000)), None);
        assert_eq!(of(2 * week, None), Some((0, WEEK)));
        assert_eq!(of(1000, None), Some((WEEK - NARROWEST, NARROWEST)));
        let (from, width) = of(week / 2, Some(week / 2 - 6 * 3_600_000)).unwrap();
        assert_eq!((from, width), (WEEK / 2 - 1, 36));
    }
}
