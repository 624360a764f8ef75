//! A moment of this run that is right on the wall even if the clock was set only afterwards.
//!
//! A Raspberry Pi has no clock at boot: what happens before it is set is remembered by the monotonic clock, and put on
//! the wall when somebody asks. What was remembered before the start has only the wall's time.

use std::time::Duration;

use crate::{clock::Clock, model::Timestamp};

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) uptime: Duration,
    pub(super) wall: Timestamp,
    pub(super) is_trusted: bool,
}

impl Now {
    pub(super) fn of(clock: &Clock) -> Self {
        Self { uptime: clock.uptime(), wall: clock.now(), is_trusted: clock.is_trusted() }
    }

    /// When it was on the wall that `uptime` had passed since the start, to the second: the clocks are read one after the
    /// other, and a moment that is told twice is to be the same one.
    pub(super) fn wall_at(self, uptime: Duration) -> Timestamp {
        let ago = self.uptime.saturating_sub(uptime).as_millis();
        let ago = i64::try_from(ago).unwrap_or(i64::MAX);
        let millis = self.wall.as_millis().saturating_sub(ago);
        Timestamp::from_millis(millis.saturating_add(500).div_euclid(1000) * 1000)
    }
}

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// Of this run, by what had passed since its start.
    OfThisRun(Duration),
    /// Of an earlier one.
    OnTheWall(Timestamp),
}

impl Moment {
    pub(super) fn on_the_wall(self, now: Now) -> Timestamp {
        match self {
            Self::OfThisRun(uptime) => now.wall_at(uptime),
            Self::OnTheWall(moment) => moment,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_same_whenever_the_clocks_are_read_and_however_apart() {
        for (uptime, wall) in [(1700, 1_000_001_700), (9000, 1_000_009_003), (60_001, 1_000_059_999)] {
            let wall = Timestamp::from_millis(wall);
            let now = Now { uptime: Duration::from_millis(uptime), wall, is_trusted: true };
            let told = Moment::OfThisRun(Duration::from_millis(1700)).on_the_wall(now);
            assert_eq!(told, Timestamp::from_millis(1_000_002_000), "{now:?}");
        }
    }
}
