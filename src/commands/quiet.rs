//! Hours in which a permission does not count, by the clock on the wall.

use std::fmt;

use crate::model::{TimeOfDay, WallTime, Weekday};

/// From one time of day to another: over midnight where `to` is the earlier one. `from` is quiet, `to` is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuietHours {
    /// When they begin.
    pub from: TimeOfDay,
    /// When they are over.
    pub to: TimeOfDay,
    /// The days on which they begin; none stands for all.
    pub days: Vec<Weekday>,
}

impl QuietHours {
    /// Whether it is quiet now.
    pub(super) fn contain(&self, now: WallTime) -> bool {
        let begins_on = |day: Weekday| self.days.is_empty() || self.days.contains(&day);
        if self.from < self.to {
            return begins_on(now.day) && (self.from..self.to).contains(&now.time);
        }
        // Over midnight: the evening of the day, or the morning after it.
        (now.time >= self.from && begins_on(now.day)) || (now.time < self.to && begins_on(now.day.before()))
    }
}

impl fmt::Display for QuietHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {} to {}", self.from, self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Clock, model::Timestamp};

    fn hours(from: &str, to: &str, days: &[Weekday]) -> QuietHours {
        let time = |text| TimeOfDay::parse(text).unwrap();
        QuietHours { from: time(from), to: time(to), days: days.to_vec() }
    }

    #[test]
    fn the_first_minute_is_quiet_and_the_last_is_not_also_over_midnight_and_by_days() {
        use Weekday::{Fri, Mon, Sat, Sun, Tue};
        let night = hours("22:00", "06:30", &[]);
        let noon = hours("12:00", "13:00", &[]);
        let weekend = hours("22:00", "06:30", &[Fri, Sat]);
        let sunday = hours("00:00", "24:00", &[Sun]);
        for (hours, day, time, expected) in [
            (&night, Mon, "21:59", false),
            (&night, Mon, "22:00", true),
            (&night, Tue, "00:00", true),
            (&night, Tue, "06:29", true),
            (&night, Tue, "06:30", false),
            (&noon, Mon, "11:59", false),
            (&noon, Mon, "12:00", true),
            (&noon, Mon, "13:00", false),
            (&weekend, Fri, "05:00", false),
            (&weekend, Fri, "23:00", true),
            (&weekend, Sat, "05:00", true),
            (&weekend, Sun, "05:00", true),
            (&weekend, Sun, "23:00", false),
            (&weekend, Mon, "05:00", false),
            (&sunday, Sun, "00:00", true),
            (&sunday, Sun, "23:59", true),
            (&sunday, Mon, "00:00", false),
        ] {
            let now = WallTime { day, time: TimeOfDay::parse(time).unwrap() };
            assert_eq!(hours.contain(now), expected, "{hours} on {day:?} at {time}");
        }
    }

    #[test]
    fn on_the_days_when_the_clocks_change_the_clock_on_the_wall_counts() {
        let clock = Clock::manual_in(Timestamp::from_millis(0), "CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let night = hours("22:00", "02:30", &[]);
        let gap = hours("02:15", "02:45", &[]);
        for (utc, in_night, in_gap) in [
            // Spring: 01:59:59 is followed by 03:00, so the night ends half an hour early and the gap is left out.
            ("2026-03-28T21:00:00Z", true, false),
            ("2026-03-29T00:59:59Z", true, false),
            ("2026-03-29T01:00:00Z", false, false),
            ("2026-03-29T01:20:00Z", false, false),
            // Autumn: the hour from 02:00 comes twice, and so does what is quiet of it.
            ("2026-10-25T00:20:00Z", true, true),
            ("2026-10-25T00:50:00Z", false, false),
            ("2026-10-25T01:20:00Z", true, true),
            ("2026-10-25T01:50:00Z", false, false),
        ] {
            clock.set(Timestamp::parse_rfc3339(utc).unwrap());
            let now = clock.wall_time().unwrap();
            assert_eq!((night.contain(now), gap.contain(now)), (in_night, in_gap), "{utc}: {now:?}");
        }
    }
}
