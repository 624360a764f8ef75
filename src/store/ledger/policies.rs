//! The policies that keep the outbox and the journal within their bounds: what is kept while the line is down, who
//! gives way in a full outbox, what is too old. Each counts what it drops in the ledger's sums.

use std::sync::atomic::Ordering;

use rusqlite::{OptionalExtension, Transaction, params};

use super::{Gone, Ledger, Room, Terms};
use crate::store::{
    Entry, Keep, StoreError, WhenFull,
    hand::{self, BEHIND, FREE},
    lane::Lane,
    timeline::{Gap, Moment, millis},
};

/// When the last message of a topic was kept, by the index `outbox_topic` and one row of it.
pub(in crate::store) const LAST_KEPT: &str =
    "SELECT born FROM outbox WHERE is_folded = 1 AND topic = ?1 ORDER BY sequence DESC LIMIT 1";

impl Ledger {
    /// What the entry's lane makes of it now; `None`: its policy does not keep it.
    pub(in crate::store) fn admit(
        &mut self,
        transaction: &Transaction<'_>,
        entry: &Entry,
    ) -> Result<Option<Terms>, StoreError> {
        let born = self.timeline.now();
        let is_unsure = !self.clock.is_trusted();
        let mut terms = Terms { born, is_unsure, ..Terms::default() };
        let mut life = entry.life.map(millis);
        let keep = match entry.lane.and_then(|place| self.lanes.get(place)) {
            None => Keep::All,
            Some(Lane { options, row, .. }) => {
                terms.lane = Some(*row);
                terms.is_live = options.is_live_first;
                terms.is_folded = matches!(options.keep, Keep::Latest | Keep::Every(_));
                life = life.into_iter().chain(options.max_age.map(millis)).min();
                options.keep
            }
        };
        terms.expires_at = life.map(|life| born.saturating_add(life));
        if self.is_line_up.load(Ordering::Relaxed) {
            return Ok(Some(terms));
        }
        let topic = entry.message.topic.as_str();
        match keep {
            Keep::All => {}
            Keep::Nothing => {
                self.stats.not_kept += 1;
                self.count_dropped(terms.lane);
                return Ok(None);
            }
            Keep::Every(time) => {
                let last: Option<Moment> =
                    transaction.prepare_cached(LAST_KEPT)?.query_row([topic], |row| row.get(0)).optional()?;
                if last.is_some_and(|last| born.saturating_sub(last) < millis(time)) {
                    self.stats.thinned += 1;
                    self.count_dropped(terms.lane);
                    return Ok(None);
                }
            }
            Keep::Latest => terms.supersedes = true,
        }
        Ok(Some(terms))
    }

    /// Makes room for `size` bytes, or says that there is none; then nothing has changed.
    pub(in crate::store) fn make_room(
        &mut self,
        transaction: &Transaction<'_>,
        entry: &Entry,
        room: Room,
        terms: &Terms,
    ) -> Result<(), StoreError> {
        let (size, topic) = (entry.message.size() as u64, entry.message.topic.as_str());
        let superseded =
            terms.supersedes.then(|| format!("is_folded = 1 AND topic = ?6 AND lane = ?7 AND {FREE}"));
        let freed: u64 = match &superseded {
            Some(superseded) => {
                let marks = self.marks();
                transaction
                    .prepare_cached(&format!("SELECT coalesce(sum(size), 0) FROM outbox WHERE {superseded}"))?
                    .query_row(&hand::parameters(&marks, params![topic, terms.lane])[..], |row| row.get(0))?
            }
            None => 0,
        };
        let lane = self.lanes.of(terms.lane).map(|lane| (lane.stats.waiting_bytes, lane.options.max_bytes));
        let whole = (self.stats.waiting_bytes, self.stats.max_bytes);
        let of_lane = lane.and_then(|(waiting, max)| Some((waiting, max?)));
        for (waiting, max) in of_lane.into_iter().chain([whole]) {
            self.refuse(size, waiting.saturating_sub(freed), max, room)?;
        }
        if let Some(superseded) = superseded {
            self.drop_free(transaction, &superseded, params![topic, terms.lane], Gone::Superseded)?;
        }
        if let Some((_, max)) = of_lane {
            let is_full = |ledger: &mut Self| {
                ledger.lanes.of(terms.lane).is_some_and(|lane| lane.stats.waiting_bytes + size > max)
            };
            self.drop_oldest(transaction, "lane = ?6 AND", params![terms.lane], is_full)?;
        }
        let is_full = |ledger: &mut Self| ledger.stats.waiting_bytes + size > ledger.stats.max_bytes;
        self.drop_oldest(transaction, "", params![], is_full)
    }

    /// Drops the oldest free message among those that `which` says while `is_full`, as far as there is one.
    fn drop_oldest(
        &mut self,
        transaction: &Transaction<'_>,
        which: &str,
        parameters: &[&dyn rusqlite::ToSql],
        is_full: impl Fn(&mut Self) -> bool,
    ) -> Result<(), StoreError> {
        // Written only when it is needed: mostly there is room.
        while is_full(self) {
            let oldest = format!(
                "sequence = (SELECT sequence FROM outbox WHERE {which} {BEHIND} AND {FREE} ORDER BY sequence LIMIT 1)"
            );
            if self.drop_free(transaction, &oldest, parameters, Gone::Full)? == 0 {
                break;
            }
        }
        Ok(())
    }

    fn refuse(&mut self, size: u64, waiting: u64, max: u64, room: Room) -> Result<(), StoreError> {
        let is_full = waiting + size > max && (self.when_full, room) == (WhenFull::RefuseNew, Room::Ordinary);
        if size <= max && !is_full {
            return Ok(());
        }
        self.stats.refused_full += 1;
        Err(if is_full && size <= max {
            StoreError::Full { max }
        } else {
            StoreError::TooLarge { size, max }
        })
    }

    /// Drops what is past its age or its own expiry, trims the journal, and looks up the oldest.
    pub(in crate::store) fn sweep(&mut self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        let now = self.timeline.now();
        let too_old = now.saturating_sub(self.max_age);
        // Ages go with the sequence: what is before the first young one is too old, and nothing else is read.
        let grace = self.anchor.grace(now);
        if grace.is_none() && self.oldest_born.is_some_and(|oldest| oldest < too_old) {
            let which = format!(
                "{BEHIND} AND {FREE} AND sequence < coalesce(
                     (SELECT sequence FROM outbox WHERE born >= ?6 ORDER BY sequence LIMIT 1), 9223372036854775807)"
            );
            self.drop_free(transaction, &which, params![too_old], Gone::Expired)?;
        }
        let Gap { from, to } = grace.unwrap_or(Gap { from: Moment::MIN, to: Moment::MIN });
        let which = format!(
            "expires_at IS NOT NULL AND expires_at <= ?6 AND NOT (expires_at > ?7 AND expires_at <= ?8) AND {FREE}"
        );
        self.drop_free(transaction, &which, params![now, from, to], Gone::Expired)?;
        if self.journal > self.journal_limit {
            // Commands that still run stay, however old. By their order and not by the wall clock, which may
            // have been set back: the newest would be forgotten, and could run twice.
            let gone = transaction
                .prepare_cached(
                    "DELETE FROM journal WHERE rowid IN
                       (SELECT rowid FROM journal WHERE outcome IS NOT NULL ORDER BY rowid LIMIT ?1)",
                )?
                .execute([self.journal - self.journal_limit])?;
            self.journal = self.journal.saturating_sub(gone as u64);
        }
        self.refresh_oldest(transaction)
    }

    fn marks(&self) -> [i64; 5] {
        self.hand.marks(self.highest.live)
    }

    /// As [`Ledger::delete`], by a policy: `which` says [`FREE`], and has its own parameters from `?6` on.
    fn drop_free(
        &mut self,
        transaction: &Transaction<'_>,
        which: &str,
        parameters: &[&dyn rusqlite::ToSql],
        gone: Gone,
    ) -> Result<usize, StoreError> {
        let marks = self.marks();
        self.delete(transaction, which, &hand::parameters(&marks, parameters), gone)
    }
}
