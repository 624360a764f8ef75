//! The sums about the outbox that are too dear to ask the file for; `policies` keep it within its bounds.
//!
//! Owned by the writer's thread. Invariant: after a commit the sums equal the file's; after a
//! failed one they are put back. Every dropped message is counted under the policy that dropped it.

mod policies;

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension, Transaction};
use serde::Serialize;

use super::{
    LaneStats, StoreError, StoreOptions, WhenFull, Written,
    hand::Hand,
    lane::Lanes,
    outbox::Selection,
    recent::Recent,
    timeline::{Anchor, Moment, Timeline, millis},
};
use crate::{clock::Clock, model::Timestamp};

/// What the store holds and has dropped since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StoreStats {
    /// Messages that wait for the cloud.
    pub waiting: u64,
    /// Their size, in bytes.
    pub waiting_bytes: u64,
    /// What they may take, in bytes.
    pub max_bytes: u64,
    /// When the oldest of them was accepted.
    pub oldest: Option<Timestamp>,
    /// Messages taken since the start.
    pub accepted: u64,
    /// Messages that the cloud acknowledged since the start.
    pub acknowledged: u64,
    /// Dropped by the policy `drop_oldest`, since the start.
    pub dropped_full: u64,
    /// Not taken by the policy `refuse_new`, since the start.
    pub refused_full: u64,
    /// Dropped because they were older than the age limit or past their own expiry, since the start.
    pub dropped_expired: u64,
    /// Dropped because the cloud refused them for good, since the start.
    pub dropped_by_cloud: u64,
    /// Dropped because they were beyond what the cloud takes, since the start.
    pub beyond_limits: u64,
    /// Dropped because the disk gave back something that is no message, since the start.
    pub unreadable: u64,
    /// Dropped for a newer one on their topic, by [`Keep::Latest`](super::Keep::Latest), since the start.
    pub superseded: u64,
    /// Not kept between two that are, by [`Keep::Every`](super::Keep::Every), since the start.
    pub thinned: u64,
    /// Not kept while the line was down, by [`Keep::Nothing`](super::Keep::Nothing), since the start.
    pub not_kept: u64,
    /// The lanes with policies of their own.
    pub lanes: Vec<LaneStats>,
    /// What was written to the disk, by day.
    pub written: Written,
    /// What is wrong with the disk, if anything.
    pub fault: Option<String>,
    /// The names of damaged files that were set aside and still lie there, the oldest first.
    pub set_aside: Vec<String>,
}

/// The highest sequences on the disk: they change when there is something new to send.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Highest {
    /// Of all messages.
    pub any: u64,
    /// Of those that go before what waited, since the start.
    pub live: u64,
}

#[cfg(test)]
pub(super) use policies::LAST_KEPT;

/// For whom there is to be room in a full outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// For a message, as the policy says.
    Ordinary,
    /// For an outcome: somebody waits for it, and it is small.
    Reserved,
}

/// What became of a message in the outbox that is there no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gone {
    Acknowledged,
    RefusedByCloud,
    /// Larger, or on a deeper topic, than the cloud takes.
    BeyondLimits,
    Full,
    Expired,
    Superseded,
    Unreadable,
}

/// What a new message's row says beside the message.
#[derive(Default)]
pub(super) struct Terms {
    pub(super) born: Moment,
    pub(super) expires_at: Option<Moment>,
    pub(super) lane: Option<i64>,
    pub(super) is_live: bool,
    pub(super) is_folded: bool,
    pub(super) is_unsure: bool,
    /// It takes the place of those on its topic that wait.
    pub(super) supersedes: bool,
}

#[derive(Clone)]
pub(super) struct Ledger {
    stats: StoreStats,
    highest: Highest,
    lanes: Lanes,
    hand: Hand,
    recent: Recent,
    max_age: i64,
    oldest_born: Option<Moment>,
    journal: u64,
    journal_limit: u64,
    when_full: WhenFull,
    clock: Clock,
    timeline: Timeline,
    anchor: Anchor,
    is_line_up: Arc<AtomicBool>,
}

impl Ledger {
    pub(super) fn load(
        connection: &Connection,
        options: &StoreOptions,
        clock: Clock,
        is_line_up: Arc<AtomicBool>,
    ) -> Result<Self, StoreError> {
        let (waiting, waiting_bytes) =
            connection.query_row("SELECT count(*), coalesce(sum(size), 0) FROM outbox", [], |row| {
                Ok((row.get::<_, u64>(0)?, row.get::<_, u64>(1)?))
            })?;
        let (timeline, anchor) = Timeline::load(connection, clock.clone(), millis(options.max_age))?;
        let mut ledger = Self {
            stats: StoreStats {
                waiting,
                waiting_bytes,
                max_bytes: options.max_bytes,
                ..StoreStats::default()
            },
            highest: Highest { any: timeline.last_before(), live: 0 },
            lanes: Lanes::load(connection, &options.lanes)?,
            hand: Hand::default(),
            recent: Recent::new(timeline.last_before()),
            max_age: millis(options.max_age),
            oldest_born: None,
            journal: connection.query_row("SELECT count(*) FROM journal", [], |row| row.get(0))?,
            journal_limit: options.journal_entries,
            when_full: options.when_full,
            clock,
            timeline,
            anchor,
            is_line_up,
        };
        ledger.refresh_oldest(connection)?;
        Ok(ledger)
    }

    pub(super) fn stats(&self) -> StoreStats {
        StoreStats { lanes: self.lanes.stats(), ..self.stats.clone() }
    }

    pub(super) fn highest(&self) -> Highest {
        self.highest
    }

    pub(super) fn recent(&self) -> &Recent {
        &self.recent
    }

    pub(super) fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn has_fault(&self) -> bool {
        self.stats.fault.is_some()
    }

    pub(super) fn set_fault(&mut self, error: Option<&StoreError>) {
        self.stats.fault = error.map(StoreError::reason);
    }

    /// The link has read a part of the outbox, up to `last`: no policy drops that while it has it.
    pub(super) fn hand_out(&mut self, selection: &Selection, last: u64) {
        self.hand.take(selection, last);
    }

    /// The link has nothing in its hands any more.
    pub(super) fn take_back(&mut self) {
        self.hand = Hand::default();
    }

    pub(super) fn has_set_aside(&self) -> bool {
        !self.stats.set_aside.is_empty()
    }

    pub(super) fn set_set_aside(&mut self, names: Vec<String>) {
        self.stats.set_aside = names;
    }

    pub(super) fn enter(&mut self, sequence: u64, size: u64, terms: &Terms) {
        self.highest.any = self.highest.any.max(sequence);
        if terms.is_live {
            self.highest.live = self.highest.live.max(sequence);
        }
        self.stats.waiting += 1;
        self.stats.waiting_bytes += size;
        self.stats.accepted += 1;
        if let Some(lane) = self.lanes.of(terms.lane) {
            lane.stats.waiting += 1;
            lane.stats.waiting_bytes += size;
        }
    }

    /// The journal has one command more.
    pub(super) fn journal_grew(&mut self) {
        self.journal += 1;
    }

    /// The journal has so many commands less.
    pub(super) fn journal_shrank(&mut self, count: u64) {
        self.journal = self.journal.saturating_sub(count);
    }

    /// Deletes messages of the outbox and counts them; gives how many.
    pub(super) fn delete(
        &mut self,
        transaction: &Transaction<'_>,
        which: &str,
        parameters: &[&dyn rusqlite::ToSql],
        gone: Gone,
    ) -> Result<usize, StoreError> {
        let mut statement = transaction
            .prepare_cached(&format!("DELETE FROM outbox WHERE {which} RETURNING size, lane, sequence"))?;
        let mut rows = statement.query(parameters)?;
        let (mut count, mut last) = (0, 0);
        while let Some(row) = rows.next()? {
            self.leave(row.get(0)?, row.get(1)?, gone);
            last = last.max(row.get(2)?);
            count += 1;
        }
        match gone {
            _ if count == 0 => {}
            Gone::Acknowledged => self.recent.acknowledged(last),
            _ => self.recent.clear(),
        }
        Ok(count)
    }

    fn leave(&mut self, size: u64, lane: Option<i64>, gone: Gone) {
        let stats = &mut self.stats;
        stats.waiting = stats.waiting.saturating_sub(1);
        stats.waiting_bytes = stats.waiting_bytes.saturating_sub(size);
        *match gone {
            Gone::Acknowledged => &mut stats.acknowledged,
            Gone::RefusedByCloud => &mut stats.dropped_by_cloud,
            Gone::BeyondLimits => &mut stats.beyond_limits,
            Gone::Full => &mut stats.dropped_full,
            Gone::Expired => &mut stats.dropped_expired,
            Gone::Superseded => &mut stats.superseded,
            Gone::Unreadable => &mut stats.unreadable,
        } += 1;
        if let Some(lane) = self.lanes.of(lane) {
            lane.stats.waiting = lane.stats.waiting.saturating_sub(1);
            lane.stats.waiting_bytes = lane.stats.waiting_bytes.saturating_sub(size);
        }
        if gone != Gone::Acknowledged {
            self.count_dropped(lane);
        }
    }

    fn count_dropped(&mut self, lane: Option<i64>) {
        if let Some(lane) = self.lanes.of(lane) {
            lane.stats.dropped += 1;
        }
    }

    /// Adds what passed before the start, once it is known, and writes down what ties the store's time to the wall
    /// clock: at once when something was added or the clock was set, else with `has_company` only, since it is not
    /// worth a commit.
    pub(super) fn keep_time(
        &mut self,
        transaction: &Transaction<'_>,
        has_company: bool,
    ) -> Result<(), StoreError> {
        let is_added = self.anchor.catch_up(transaction, &mut self.timeline)?;
        if is_added {
            // What this run has written has moved along in the file, and not in memory.
            self.recent.clear();
            self.refresh_oldest(transaction)?;
        }
        if is_added || has_company || self.anchor.is_off(&self.timeline) {
            self.anchor.hold(transaction, &self.timeline)?;
        }
        Ok(())
    }

    /// Whether what is written now will have to move along when what passed before the start is added.
    pub(super) fn is_early(&self) -> bool {
        self.anchor.is_early()
    }

    /// What is left now of a life that ends then, perhaps nothing.
    pub(super) fn left_until(&self, end: Moment) -> Duration {
        self.anchor.left_until(end, self.timeline.now())
    }

    /// After a commit that went well: what [`Ledger::keep_time`] added is added for everybody.
    pub(super) fn share_time(&mut self) {
        self.anchor.share(&mut self.timeline);
    }

    fn refresh_oldest(&mut self, connection: &Connection) -> Result<(), StoreError> {
        let oldest = connection
            .prepare_cached("SELECT born, accepted_at, is_unsure FROM outbox ORDER BY sequence LIMIT 1")?
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        self.oldest_born = oldest.map(|(born, ..)| born);
        self.stats.oldest =
            oldest.map(|(born, at, is_unsure)| accepted_at(&self.timeline, &self.clock, born, at, is_unsure));
        Ok(())
    }
}

/// When a message was accepted, by the wall clock as it is known now: what was written before the clock could be
/// believed is put right by how long ago that was.
pub(super) fn accepted_at(
    timeline: &Timeline,
    clock: &Clock,
    born: Moment,
    written: i64,
    is_unsure: bool,
) -> Timestamp {
    if is_unsure && clock.is_trusted() { timeline.wall(born) } else { Timestamp::from_millis(written) }
}
