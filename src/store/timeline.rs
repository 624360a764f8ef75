//! How old what is in the store is, whatever happens to the wall clock.
//!
//! Owns the store's own time, in milliseconds. While the gateway runs it goes with the monotonic clock; what
//! passed while it was off is added from the wall clock, once that can be believed, on both sides of the gap.
//! Invariants: it never goes back, and no setting of the wall clock moves it. So a Pi that wakes up in 1970, or
//! a clock that is an hour wrong, expires nothing and keeps nothing for ever. When what passed is added, what this
//! run has written moves along: it is as old as before. A new store begins at the wall clock's time, so that a
//! person who opens the file reads times. The days of `flash` do not move: what was written stays in its day.
//!
//! What passed while the gateway was off, the wall clock alone vouches for, and one that is wrong (2099) would make
//! everything too old at once. So a gap that is longer than the age limit ends nothing at once: what only
//! the gap has ended is kept for an hour more ([`GRACE`]), or as long as the age limit if that is less. In that hour
//! the line can send it. Rejected: to leave such a gap out. After a winter without power everything would be as
//! fresh as in autumn.
//!
//! Rejected: ages by the wall clock (one step by NTP would empty the queue), and the kernel's boot time (it
//! does not outlive a restart of the machine).

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::StoreError;
use crate::{clock::Clock, model::Timestamp};

/// How often the pair of both times is written down, in milliseconds. A pair stays true however old it is; what
/// makes it wrong is a wall clock that was wrong when it was written. That shows when the clock is set.
const ANCHOR_EVERY: i64 = 600_000;
/// By how much the wall clock may have been set before the pair is written again, in milliseconds.
const ANCHOR_OFF: i64 = 60_000;
const ANCHOR: &str = "anchor";
/// How long what a long gap has ended is kept, at most, in milliseconds.
const GRACE: i64 = 3_600_000;
/// What ends at a moment beside messages of the outbox: table and column.
const ENDS: [(&str, &str); 3] =
    [("retained", "expires_at"), ("session", "ends_at"), ("session_message", "expires_at")];

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

/// The store's own time; cheap to clone, all clones move together, but for what is not on the disk yet.
#[derive(Debug, Clone)]
pub(super) struct Timeline {
    clock: Clock,
    base: Arc<AtomicI64>,
    /// What a transaction under way has added, for this clone only: [`Anchor::share`].
    added: i64,
    /// The last message of the runs before.
    last_before: u64,
}

/// A moment of both times, as of when the wall clock could be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pair {
    moment: Moment,
    wall: Timestamp,
}

/// What ties the store's time to the wall clock over a restart. The writer's thread has it.
#[derive(Debug, Clone)]
pub(super) struct Anchor {
    /// From before the start; gone once the time that passed meanwhile was added.
    before: Option<Pair>,
    /// What this run last wrote.
    written: Option<Pair>,
    /// The last gap that was longer than the age limit.
    gap: Option<Gap>,
    longest_gap: i64,
}

/// From the moment when the gateway was last on to the first one of which is known what had passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) from: Moment,
    pub(super) to: Moment,
}

impl Timeline {
    /// The time of the store in `connection`, at least as late as anything in it. A gap longer than `longest_gap`,
    /// in milliseconds, has a grace.
    pub(super) fn load(
        connection: &Connection,
        clock: Clock,
        longest_gap: i64,
    ) -> Result<(Self, Anchor), StoreError> {
        let before: Option<String> = connection
            .query_row("SELECT value FROM meta WHERE name = ?1", [ANCHOR], |row| row.get(0))
            .optional()?;
        let (before, gap) = before.as_deref().and_then(read).unzip();
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
        let mut timeline = Self { base: Arc::new(AtomicI64::new(base)), added: 0, clock, last_before };
        let mut anchor = Anchor { before, written: None, gap: gap.flatten(), longest_gap };
        for (table, _) in ENDS {
            // A run whose time was never known counts as part of the gap.
            connection.execute(&format!("UPDATE {table} SET is_early = 0 WHERE is_early = 1"), [])?;
        }
        anchor.catch_up(connection, &mut timeline)?;
        anchor.share(&mut timeline);
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
        let at = if is_of_this_run { moment - self.base() } else { moment };
        Born { at, is_of_this_run }
    }

    /// How long ago that was, in milliseconds.
    pub(super) fn age(&self, born: Born) -> i64 {
        let now = if born.is_of_this_run { uptime(&self.clock) } else { self.now() };
        now.saturating_sub(born.at)
    }

    /// How long the program has been running.
    pub(super) fn running(&self) -> Duration {
        self.clock.uptime()
    }

    /// Now.
    pub(super) fn now(&self) -> Moment {
        self.at(self.clock.uptime())
    }

    /// When the clock had been running for so long.
    pub(super) fn at(&self, uptime: Duration) -> Moment {
        self.base().saturating_add(millis(uptime))
    }

    fn base(&self) -> i64 {
        self.base.load(Ordering::Relaxed).saturating_add(self.added)
    }

    /// By the wall clock, when `moment` was.
    pub(super) fn wall(&self, moment: Moment) -> Timestamp {
        let ago = self.now().saturating_sub(moment);
        Timestamp::from_millis(self.clock.now().as_millis().saturating_sub(ago))
    }
}

impl Anchor {
    /// Adds what passed while the gateway was off, as soon as the wall clock can be believed; whether it did. What
    /// this run has written moves along. Only `timeline` knows of it until [`Anchor::share`]; if the transaction comes
    /// to nothing, it and this are to be forgotten for copies from before.
    pub(super) fn catch_up(
        &mut self,
        connection: &Connection,
        timeline: &mut Timeline,
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
        for (table, end) in ENDS {
            connection.execute(
                &format!("UPDATE {table} SET {end} = {end} + ?1, is_early = 0 WHERE is_early = 1"),
                [missing],
            )?;
        }
        if missing > self.longest_gap {
            let from = timeline.now();
            self.gap = Some(Gap { from, to: from.saturating_add(missing) });
        }
        self.written = None;
        timeline.added = missing;
        Ok(true)
    }

    /// Lets everybody know what [`Anchor::catch_up`] has added, once it is on the disk: how old things are does not go
    /// back and forth with each commit that a sick disk refuses.
    pub(super) fn share(&self, timeline: &mut Timeline) {
        timeline.base.store(timeline.base(), Ordering::Relaxed);
        let added = std::mem::take(&mut timeline.added);
        if added > self.longest_gap {
            tracing::warn!(
                days = added / 86_400_000,
                "by the clock the gateway was off for longer than messages are kept; what is too old by that is \
                 kept for a while, in case the clock is wrong"
            );
        }
    }

    /// Whether it is still to be added what passed: what is written now will have to move along.
    pub(super) fn is_early(&self) -> bool {
        self.before.is_some()
    }

    /// The long gap whose grace lasts.
    pub(super) fn grace(&self, now: Moment) -> Option<Gap> {
        self.gap.filter(|gap| now < self.end_of_grace(*gap))
    }

    /// What is left of a life that ends then, perhaps nothing.
    pub(super) fn left_until(&self, end: Moment, now: Moment) -> Duration {
        let end = match self.gap {
            Some(gap) if gap.from < end && end <= gap.to => self.end_of_grace(gap),
            _ => end,
        };
        Duration::from_millis(u64::try_from(end.saturating_sub(now)).unwrap_or(0))
    }

    fn end_of_grace(&self, gap: Gap) -> Moment {
        gap.to.saturating_add(GRACE.min(self.longest_gap))
    }

    /// Whether the wall clock was set since the pair was written, by more than a correction. A pair that says so is
    /// worth a commit: after a power cut it would make everything as much too old, or add too little.
    pub(super) fn is_off(&self, timeline: &Timeline) -> bool {
        let apart = |pair: Pair| pair.wall.as_millis().saturating_sub(pair.moment);
        self.written.is_some_and(|written| {
            let now = Pair { moment: timeline.now(), wall: timeline.clock.now() };
            apart(now).abs_diff(apart(written)) > ANCHOR_OFF.unsigned_abs()
        })
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
        let (moment, wall) = (timeline.now(), timeline.clock.now());
        let is_due = self.written.is_none_or(|written| moment - written.moment >= ANCHOR_EVERY);
        if (is_due || self.is_off(timeline)) && timeline.clock.is_trusted() {
            let mut text = format!("{moment} {}", wall.as_millis());
            if let Some(Gap { from, to }) = self.grace(moment) {
                text.push_str(&format!(" {from} {to}"));
            }
            transaction
                .prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?
                .execute(params![ANCHOR, text])?;
            self.written = Some(Pair { moment, wall });
        }
        Ok(())
    }
}

fn read(text: &str) -> Option<(Pair, Option<Gap>)> {
    let mut numbers = text.split(' ').map(|word| word.parse().ok());
    let (moment, wall) = (numbers.next()??, numbers.next()??);
    let gap = match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(from), Some(to)) => Some(Gap { from, to }),
        _ => None,
    };
    Some((Pair { moment, wall: Timestamp::from_millis(wall) }, gap))
}

fn uptime(clock: &Clock) -> i64 {
    millis(clock.uptime())
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
