//! Which messages of the outbox the link has in its hands: read by it and, as far as the store knows, not settled.
//!
//! No policy drops them, so that nothing is both delivered and counted as dropped: the policy `drop_oldest` takes the
//! oldest that is not in the link's hands. What the link holds is bounded by its window and three reads; by as much,
//! and one message more, the outbox may be larger than its bound when all of it is being sent.
//!
//! The link reads each part of the outbox in order, so three marks say it all, however much it holds. They are taken
//! back when the line has gone down and what was acknowledged by then is deleted. What was sent and not
//! acknowledged by then may be with the cloud or not, which nobody can know: it waits again, and can be dropped.
//!
//! Rejected: to drop it and count it only if no acknowledgement follows. Until then it would be in no sum.

use rusqlite::ToSql;

use super::outbox::{Part, Selection};

/// Which rows are in nobody's hands; [`Hand::marks`] are its first five parameters. Written so that it neither
/// keeps SQLite from an index (`+`) nor makes it read a row whose sequence says enough.
pub(super) const FREE: &str = "NOT (+sequence <= ?2 AND (is_live = 0 OR +sequence <= ?3))
     AND NOT (+sequence > ?4 AND +sequence <= ?5 AND is_live = 1)";
/// Nothing before it is free: for those who look for the first.
pub(super) const BEHIND: &str = "sequence > ?1";

/// What was handed out since the line last went down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Hand {
    /// All but live messages after `backlog`, up to here.
    ordinary: u64,
    backlog: u64,
    /// Live messages after the first, up to the second.
    live: (u64, u64),
}

impl Hand {
    /// The link has read a part up to `last`.
    pub(super) fn take(&mut self, selection: &Selection, last: u64) {
        match selection.part {
            Part::Ordinary { backlog } => {
                self.ordinary = self.ordinary.max(last);
                self.backlog = backlog;
            }
            Part::Live => {
                let first = if self.live.1 == 0 { selection.after } else { self.live.0 };
                self.live = (first, self.live.1.max(last));
            }
        }
    }

    /// For [`FREE`] and [`BEHIND`]; `last_live` is the last live message there is.
    pub(super) fn marks(&self, last_live: u64) -> [i64; 5] {
        let (first, live) = self.live;
        let is_all_live_held = last_live <= live.max(self.backlog);
        let behind = if self.ordinary <= self.backlog || is_all_live_held {
            self.ordinary
        } else {
            self.ordinary.min(self.backlog.max(live))
        };
        [behind, self.ordinary, self.backlog, first, live].map(|mark| i64::try_from(mark).unwrap_or(i64::MAX))
    }
}

/// The marks, and what else a statement needs from `?6` on.
pub(super) fn parameters<'a>(marks: &'a [i64; 5], more: &[&'a dyn ToSql]) -> Vec<&'a dyn ToSql> {
    marks.iter().map(|mark| mark as &dyn ToSql).chain(more.iter().copied()).collect()
}
