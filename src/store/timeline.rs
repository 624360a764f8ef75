//! How old what is in the store is, whatever happens to the wall clock.
//!
//! Owns the store's own time, in milliseconds. While the gateway runs it goes with the monotonic clock; what
//! passed while it was off is added from the wall clock, once that can be believed, on both sides of the gap.
//! Invariants: it never goes back, and no setting of the wall clock moves it. So a Pi that wakes up in 1970, or
//! a clock that is an hour wrong, expires nothing and keeps nothing for ever. When what passed is added, what this
//! run has written moves along: it is as old as before. A new store begins at the wall clock's time, so that a
//! person who opens the file reads times. The days of `flash` do not move: what was written stays in its day.
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

/// When something was accepted, on the store's own time: for [`Store::age`](super::Store::age). It stays true while
/// what passed before the start is added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Born {
    /// For what this run has written, how long the clock had been running; else the moment.
    at: i64,
    is_of_this_run: bool,
}

/// The store's own time; cheap to clone, all clones move together.
#[derive(Debug, Clone)]
pub(super) struct Timeline {
    clock: Clock,
    base: Arc<AtomicI64>,
    /// The last message of the runs before.
    last_before: u64,
}

/// A moment of both times, as of when the wall clock could be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pair {
    moment: Moment,
    wall: Timestamp,
}

/// What ties the store's time to the wall clock over a restart. The writer's thread has it; a copy from before a
/// commit puts back what the commit did to the time.
#[derive(Debug, Clone)]
pub(super) struct Anchor {
    /// From before the start; gone once the time that passed meanwhile was added.
    before: Option<Pair>,
    /// When the pair was last written.
    written: Option<Moment>,
    base: i64,
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
        let last_before = connection
            .query_row("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'", [], |row| row.get(0))
            .optional()?
            .unwrap_or(0);
        // Without a pair the store is new, or from a version whose ages were the wall clock's.
        let start = match before {
            Some(Pair { moment, .. }) => moment,
            None => clock.now().as_millis(),
        };
        let start = start.max(newest.unwrap_or(Moment::MIN));
        let base = start - uptime(&clock);
        let timeline = Self { base: Arc::new(AtomicI64::new(base)), clock, last_before };
        let mut anchor = Anchor { before, written: None, base };
        anchor.catch_up(connection, &timeline)?;
        Ok((timeline, anchor))
    }

    /// The last sequence that was given before the start.
    pub(super) fn last_before(&self) -> u64 {
        self.last_before
    }

    /// When the message of this row was accepted. Asked on the writer's thread, where the time stands still between
    /// the row and this.
    pub(super) fn born(&self, sequence: u64, moment: Moment) -> Born {
        let is_of_this_run = sequence > self.last_before;
        let at = if is_of_this_run { moment - self.base.load(Ordering::Relaxed) } else { moment };
        Born { at, is_of_this_run }
    }

    /// How long ago that was, in milliseconds.
    pub(super) fn age(&self, born: Born) -> i64 {
        let now = if born.is_of_this_run { uptime(&self.clock) } else { self.now() };
        now.saturating_sub(born.at)
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
    /// Adds what passed while the gateway was off, as soon as the wall clock can be believed; whether it did. What
    /// this run has written moves along.
    pub(super) fn catch_up(
        &mut self,
        connection: &Connection,
        timeline: &Timeline,
    ) -> Result<bool, StoreError> {
        if !timeline.clock.is_trusted() {
            return Ok(false);
        }
        let Some(Pair { moment, wall }) = self.before.take() else { return Ok(false) };
        let passed = timeline.clock.now().as_millis().saturating_sub(wall.as_millis());
        let missing = moment.saturating_add(passed).saturating_sub(timeline.now());
        if missing <= 0 {
            return Ok(false);
        }
        connection
            .prepare_cached(
                "UPDATE outbox SET born = born + ?1, expires_at = expires_at + ?1 WHERE sequence > ?2",
            )?
            .execute(params![missing, timeline.last_before])?;
        self.base = self.base.saturating_add(missing);
        self.written = None;
        self.put_back(timeline);
        Ok(true)
    }

    /// Makes the time what it was when this copy was made.
    pub(super) fn put_back(&self, timeline: &Timeline) {
        timeline.base.store(self.base, Ordering::Relaxed);
    }

    /// Writes the pair down, from time to time, together with what is written anyway.
    pub(super) fn hold(
        &mut self,
        transaction: &Transaction<'_>,
        timeline: &Timeline,
    ) -> Result<(), StoreError> {
        if self.before.is_some() {
            // It would say that nothing had passed.
            return Ok(());
        }
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
