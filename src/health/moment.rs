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

    /// When it was on the wall that `uptime` had passed since the start.
    pub(super) fn wall_at(self, uptime: Duration) -> Timestamp {
        let ago = self.uptime.saturating_sub(uptime).as_millis();
        let ago = i64::try_from(ago).unwrap_or(i64::MAX);
        Timestamp::from_millis(self.wall.as_millis().saturating_sub(ago))
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
