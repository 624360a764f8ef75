//! The sums about the outbox that are too dear to ask the file for, and the policies that keep it
//! within its bounds.
//!
//! Owned by the writer's thread. Invariant: after a commit the sums equal the file's; after a
//! failed one they are put back. Every dropped message is counted under the policy that dropped it.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::Serialize;

use super::{StoreError, StoreOptions, WhenFull};
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
    /// What is wrong with the disk, if anything.
    pub fault: Option<String>,
}

/// For whom there is to be room in a full outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// For a message, as the policy says.
    Ordinary,
    /// For an outcome: somebody waits for it, and it is small.
    Reserved,
}

#[derive(Clone)]
pub(super) struct Ledger {
    stats: StoreStats,
    highest: u64,
    max_age: Duration,
    journal: u64,
    journal_limit: u64,
    when_full: WhenFull,
    clock: Clock,
}

impl Ledger {
    pub(super) fn load(
        connection: &Connection,
        options: &StoreOptions,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let (waiting, waiting_bytes) =
            connection.query_row("SELECT count(*), coalesce(sum(size), 0) FROM outbox", [], |row| {
                Ok((row.get::<_, u64>(0)?, row.get::<_, u64>(1)?))
            })?;
        let highest = connection
            .query_row("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'", [], |row| row.get(0))
            .optional()?
            .unwrap_or(0);
        let mut ledger = Self {
            stats: StoreStats {
                waiting,
                waiting_bytes,
                max_bytes: options.max_bytes,
                ..StoreStats::default()
            },
            highest,
            max_age: options.max_age,
            journal: connection.query_row("SELECT count(*) FROM journal", [], |row| row.get(0))?,
            journal_limit: options.journal_entries,
            when_full: options.when_full,
            clock,
        };
        ledger.refresh_oldest(connection)?;
        Ok(ledger)
    }

    pub(super) fn stats(&self) -> StoreStats {
        self.stats.clone()
    }

    pub(super) fn highest(&self) -> u64 {
        self.highest
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn has_fault(&self) -> bool {
        self.stats.fault.is_some()
    }

    pub(super) fn set_fault(&mut self, error: Option<&StoreError>) {
        self.stats.fault = error.map(ToString::to_string);
    }

    /// Makes room for `size` bytes, or says that there is none.
    pub(super) fn make_room(
        &mut self,
        transaction: &Transaction<'_>,
        size: u64,
        room: Room,
    ) -> Result<(), StoreError> {
        if size > self.stats.max_bytes {
            self.stats.refused_full += 1;
            return Err(StoreError::TooLarge { size, max: self.stats.max_bytes });
        }
        while self.stats.waiting_bytes + size > self.stats.max_bytes {
            match (self.when_full, room) {
                (WhenFull::RefuseNew, Room::Ordinary) => {
                    self.stats.refused_full += 1;
                    return Err(StoreError::Full { max: self.stats.max_bytes });
                }
                (WhenFull::DropOldest, _) | (WhenFull::RefuseNew, Room::Reserved) => {
                    let gone = transaction
                        .prepare_cached(
                            "DELETE FROM outbox WHERE sequence = (SELECT min(sequence) FROM outbox) RETURNING size",
                        )?
                        .query_row([], |row| row.get::<_, u64>(0))
                        .optional()?;
                    let Some(gone) = gone else { break };
                    self.leave(1, gone);
                    self.stats.dropped_full += 1;
                }
            }
        }
        Ok(())
    }

    pub(super) fn enter(&mut self, sequence: u64, size: u64) {
        self.highest = self.highest.max(sequence);
        self.stats.waiting += 1;
        self.stats.waiting_bytes += size;
        self.stats.accepted += 1;
    }

    pub(super) fn acknowledged(&mut self, count: u64, bytes: u64) {
        self.leave(count, bytes);
        self.stats.acknowledged += count;
    }

    pub(super) fn refused_by_cloud(&mut self, count: u64, bytes: u64) {
        self.leave(count, bytes);
        self.stats.dropped_by_cloud += count;
    }

    /// The journal has one command more.
    pub(super) fn journal_grew(&mut self) {
        self.journal += 1;
    }

    fn leave(&mut self, count: u64, bytes: u64) {
        self.stats.waiting = self.stats.waiting.saturating_sub(count);
        self.stats.waiting_bytes = self.stats.waiting_bytes.saturating_sub(bytes);
    }

    /// Drops what is past its age or its own expiry, trims the journal, and looks up the oldest.
    /// A clock that was never set drops nothing.
    pub(super) fn sweep(&mut self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        if self.clock.is_trusted() {
            let now = self.now();
            let too_old = Timestamp::from_millis(
                now.as_millis().saturating_sub(i64::try_from(self.max_age.as_millis()).unwrap_or(i64::MAX)),
            );
            // The oldest record is the first: looking at it alone tells whether there is anything to do.
            if self.stats.oldest.is_some_and(|oldest| oldest < too_old) {
                self.expire(transaction, "accepted_at < ?1", too_old)?;
            }
            self.expire(transaction, "expires_at IS NOT NULL AND expires_at < ?1", now)?;
        }
        if self.journal > self.journal_limit {
            // Commands that still run stay, however old.
            let gone = transaction
                .prepare_cached(
                    "DELETE FROM journal WHERE rowid IN
                       (SELECT rowid FROM journal WHERE outcome IS NOT NULL ORDER BY begun_at LIMIT ?1)",
                )?
                .execute([self.journal - self.journal_limit])?;
            self.journal = self.journal.saturating_sub(gone as u64);
        }
        self.refresh_oldest(transaction)
    }

    fn expire(
        &mut self,
        transaction: &Transaction<'_>,
        which: &str,
        limit: Timestamp,
    ) -> Result<(), StoreError> {
        let mut statement =
            transaction.prepare_cached(&format!("DELETE FROM outbox WHERE {which} RETURNING size"))?;
        let sizes: Vec<u64> =
            statement.query_map(params![limit.as_millis()], |row| row.get(0))?.collect::<Result<_, _>>()?;
        for size in sizes {
            self.leave(1, size);
            self.stats.dropped_expired += 1;
        }
        Ok(())
    }

    fn refresh_oldest(&mut self, connection: &Connection) -> Result<(), StoreError> {
        self.stats.oldest = connection
            .prepare_cached("SELECT accepted_at FROM outbox ORDER BY sequence LIMIT 1")?
            .query_row([], |row| row.get(0))
            .optional()?
            .map(Timestamp::from_millis);
        Ok(())
    }
}
