//! A moment as a clock on the wall shows it: a day of the week and a time of day, in minutes.
//!
//! Where a time zone changes its clocks, a wall time happens twice or not at all. So there is no way
//! back from here to a [`Timestamp`](super::Timestamp): whoever needs one would have to guess.

use std::fmt;

use serde::{Deserialize, Serialize};

const MINUTES_OF_A_DAY: u16 = 24 * 60;

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weekday {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

impl Weekday {
    /// All of them, from Monday on.
    pub const ALL: [Self; 7] = [Self::Mon, Self::Tue, Self::Wed, Self::Thu, Self::Fri, Self::Sat, Self::Sun];

    /// The day before.
    #[must_use]
    pub fn before(self) -> Self {
        Self::ALL[(self as usize + 6) % 7]
    }
}

/// Why a text is no time of day.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time of day\nwrite hours and minutes in quotes, from \"00:00\" to \"24:00\"")]
pub struct TimeOfDayError(String);

/// A time of day in whole minutes, from 00:00 to 24:00, the end of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeOfDay(u16);

impl TimeOfDay {
    /// Reads `hh:mm`.
    ///
    /// # Errors
    /// [`TimeOfDayError`] with the text.
    pub fn parse(text: &str) -> Result<Self, TimeOfDayError> {
        let digits = |part: &str| {
            let is_short = (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
            is_short.then(|| part.parse::<u16>().ok()).flatten()
        };
        let minutes = text.split_once(':').and_then(|(hours, minutes)| {
            let minutes = digits(minutes).filter(|_| minutes.len() == 2).filter(|minutes| *minutes < 60)?;
            Some(digits(hours)? * 60 + minutes)
        });
        match minutes {
            Some(minutes) if minutes <= MINUTES_OF_A_DAY => Ok(Self(minutes)),
            _ => Err(TimeOfDayError(text.to_owned())),
        }
    }

    /// So many minutes after midnight; at most the end of the day.
    pub fn from_minutes(minutes: u16) -> Self {
        Self(minutes.min(MINUTES_OF_A_DAY))
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl TryFrom<String> for TimeOfDay {
    type Error = TimeOfDayError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<TimeOfDay> for String {
    fn from(time: TimeOfDay) -> Self {
        time.to_string()
    }
}

/// What the clock on the wall shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WallTime {
    /// The day.
    pub day: Weekday,
    /// The time of that day, before 24:00.
    pub time: TimeOfDay,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day_are_hours_and_minutes() {
        for (text, minutes) in [("00:00", 0), ("6:30", 390), ("06:30", 390), ("23:59", 1439), ("24:00", 1440)]
        {
            assert_eq!(TimeOfDay::parse(text), Ok(TimeOfDay(minutes)), "{text}");
        }
        for bad in ["", "6", "6:5", "6:60", "24:01", "25:00", "-1:00", "+6:30", "006:30", "6:30 pm", "6.30"] {
            assert!(TimeOfDay::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(TimeOfDay::from_minutes(65).to_string(), "01:05");
    }

    #[test]
    fn the_day_before_monday_is_sunday() {
        assert_eq!((Weekday::Mon.before(), Weekday::Sun.before()), (Weekday::Sun, Weekday::Sat));
    }
}
