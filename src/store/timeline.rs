//! How old what is in the store is, whatever happens to the wall clock.
//!
//! Owns the store's own time, in milliseconds. While the gateway runs it goes with the monotonic clock; what
//! passed while it was off is added from the wall clock, once that can be believed, on both sides of the gap.
//! Invariant: it never goes back, and no setting of the wall clock moves it. So a Pi that wakes up in 1970, or
//! a clock that is an hour wrong, expires nothing and keeps nothing for ever. A new store begins at the wall
//! clock's time, so that a person who opens the file reads times.
//!
//! Rejected: ages by the wall clock (one step by NTP would empty the queue), and the kernel's boot time (it
//! does not outlive a restart of the machine).

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::StoreError;
use crate::{clock::Clock, model::Timestamp};

/// How often the pair of both times is written down, in milliseconds. A pair stays true however old it is; what
/// makes it wrong is a wall clock that was wrong when it was written.
const ANCHOR_EVERY: i64 = 600_000;
const ANCHOR: &str = "anchor";

/// A moment of the store's own time, in milliseconds; only differences mean something.
pub(super) type Moment = i64;

/// The store's own time; cheap to clone, all clones move together.
#[derive(Debug, Clone)]
pub(super) struct Timeline {
    clock: Clock,
    base: Arc<AtomicI64>,
}

/// A moment of both times, as of when the wall clock could be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pair {
    moment: Moment,
    wall: Timestamp,
}

/// What ties the store's time to the wall clock over a restart. The writer's thread has it.
#[derive(Debug, Clone, Default)]
pub(super) struct Anchor {
    /// From before the start; gone once the time that passed meanwhile was added.
    before: Option<Pair>,
    /// When the pair was last written.
    written: Option<Moment>,
}

impl Timeline {
    /// The time of the store in `connection`, at least as late as anything in it.
    pub(super) fn load(connection: &Connection, clock: Clock) -> Result<(Self, Anchor), StoreError> {
        let before: Option<String> = connection
            .query_row("SELECT value FROM meta WHERE name = ?1", [ANCHOR], |row| row.get(0))
            .optional()?;
        let before = before.as_deref().and_then(read);
        let newest: Option<Moment> = connection
            .query_row("SELECT born FROM outbox ORDER BY sequence DESC LIMIT 1", [], |row| row.get(0))
            .optional()?;
        // Without a pair the store is new, or from a version whose ages were the wall clock's.
        let start = match before {
            Some(Pair { moment, .. }) => moment,
            None => clock.now().as_millis(),
        };
        let start = start.max(newest.unwrap_or(Moment::MIN));
        let timeline = Self { base: Arc::new(AtomicI64::new(start - uptime(&clock))), clock };
        let mut anchor = Anchor { before, written: None };
        anchor.catch_up(&timeline);
        Ok((timeline, anchor))
    }

    /// Now.
    pub(super) fn now(&self) -> Moment {
        self.base.load(Ordering::Relaxed).saturating_add(uptime(&self.clock))
    }

    /// By the wall clock, when `moment` was.
    pub(super) fn wall(&self, moment: Moment) -> Timestamp {
        let ago = self.now().saturating_sub(moment);
        Timestamp::from_millis(self.clock.now().as_millis().saturating_sub(ago))
    }
}

impl Anchor {
    /// Adds what passed while the gateway was off, as soon as the wall clock can be believed.
    pub(super) fn catch_up(&mut self, timeline: &Timeline) {
        if !timeline.clock.is_trusted() {
            return;
        }
        let Some(Pair { moment, wall }) = self.before.take() else { return };
        let passed = timeline.clock.now().as_millis().saturating_sub(wall.as_millis());
        let missing = moment.saturating_add(passed).saturating_sub(timeline.now());
        timeline.base.fetch_add(missing.max(0), Ordering::Relaxed);
    }

    /// Writes the pair down, from time to time, together with what is written anyway.
    pub(super) fn hold(
        &mut self,
        transaction: &Transaction<'_>,
        timeline: &Timeline,
    ) -> Result<(), StoreError> {
        let moment = timeline.now();
        let is_due = self.written.is_none_or(|written| moment - written >= ANCHOR_EVERY);
        if is_due && timeline.clock.is_trusted() {
            let text = format!("{moment} {}", timeline.clock.now().as_millis());
            transaction
                .prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?
                .execute(params![ANCHOR, text])?;
            self.written = Some(moment);
        }
        Ok(())
    }
}

fn read(text: &str) -> Option<Pair> {
    let (moment, wall) = text.split_once(' ')?;
    Some(Pair { moment: moment.parse().ok()?, wall: Timestamp::from_millis(wall.parse().ok()?) })
}

fn uptime(clock: &Clock) -> i64 {
    i64::try_from(clock.uptime().as_millis()).unwrap_or(i64::MAX)
}
