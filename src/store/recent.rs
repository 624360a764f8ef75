//! The last messages that were committed, for a link that is at the end of the outbox: it need not have them read back.
//!
//! Owned by the writer's thread; no message is here that is not on the disk, but for those of the transaction under
//! way, which nobody is given. Invariants: every message of the outbox behind [`Ring::start`] is here, in order, so that
//! whoever asks for those behind an earlier one has the file read; what a policy drops is never given out; at most
//! [`COUNT`] and [`BYTES`], the oldest go first, so that memory does not grow with the backlog. Rejected: to hand each
//! message to the link by a channel of its own. Two orders, the channel's and the file's, would have to be made one again.

use std::{
    borrow::Cow,
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    outbox::{Part, Selection},
    timeline::Moment,
};
use crate::model::Message;

/// Two reads of the link, and as many as a commit of a busy house.
const COUNT: usize = 2_048;
/// What they may take, in bytes of topic, payload and properties.
const BYTES: usize = 512 << 10;

/// What a row of the outbox says.
#[derive(Debug, Clone)]
pub(super) struct Lying {
    pub(super) sequence: u64,
    pub(super) message: Message,
    /// By the wall clock, in milliseconds.
    pub(super) accepted_at: i64,
    pub(super) born: Moment,
    pub(super) is_unsure: bool,
    pub(super) stamp: Option<Cow<'static, str>>,
    pub(super) is_live: bool,
}

#[derive(Debug)]
struct Ring {
    start: u64,
    last: u64,
    bytes: usize,
    committed: VecDeque<Lying>,
    fresh: Vec<Lying>,
}

/// The ring; a clone is the same one.
#[derive(Debug, Clone)]
pub(super) struct Recent(Arc<Mutex<Ring>>);

impl Recent {
    /// Of an outbox whose last sequence is `last`.
    pub(super) fn new(last: u64) -> Self {
        let ring = Ring { start: last, last, bytes: 0, committed: VecDeque::new(), fresh: Vec::new() };
        Self(Arc::new(Mutex::new(ring)))
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // Only the writer's thread comes here, and it ends when it panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The transaction under way has this message, too.
    pub(super) fn add(&self, lying: Lying) {
        let mut ring = self.ring();
        ring.last = ring.last.max(lying.sequence);
        ring.fresh.push(lying);
    }

    /// The transaction is on the disk, or is known not to be.
    pub(super) fn settle(&self, is_committed: bool) {
        let mut ring = self.ring();
        let fresh = std::mem::take(&mut ring.fresh);
        if is_committed {
            ring.bytes += fresh.iter().map(|lying| lying.message.size()).sum::<usize>();
            ring.committed.extend(fresh);
            while ring.committed.len() > COUNT || ring.bytes > BYTES {
                ring.drop_first();
            }
        }
    }

    /// The cloud has this one: until the next connection, which begins with the file, nobody asks for those up to it.
    pub(super) fn acknowledged(&self, sequence: u64) {
        let mut ring = self.ring();
        while ring.committed.front().is_some_and(|lying| lying.sequence <= sequence) {
            ring.drop_first();
        }
    }

    /// Some of them may be gone from the disk.
    pub(super) fn clear(&self) {
        let mut ring = self.ring();
        ring.start = ring.last;
        ring.bytes = 0;
        ring.committed.clear();
        ring.fresh.clear();
    }

    /// What the file would say; `None`: it must be asked.
    pub(super) fn select(&self, selection: &Selection) -> Option<Vec<Lying>> {
        let ring = self.ring();
        if selection.after < ring.start {
            return None;
        }
        let first = ring.committed.partition_point(|lying| lying.sequence <= selection.after);
        let mut bytes = 0;
        let selected = ring.committed.range(first..).filter(|lying| match selection.part {
            Part::Ordinary { backlog } => !lying.is_live || lying.sequence <= backlog,
            Part::Live => lying.is_live,
        });
        let fitting = selected.take(selection.max_count).enumerate().take_while(|(place, lying)| {
            bytes += lying.message.size();
            *place == 0 || bytes <= selection.max_bytes
        });
        Some(fitting.map(|(_, lying)| lying.clone()).collect())
    }
}

impl Ring {
    fn drop_first(&mut self) {
        if let Some(first) = self.committed.pop_front() {
            self.start = self.start.max(first.sequence);
            self.bytes -= first.message.size();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{QoS, Topic};

    fn lying(sequence: u64, is_live: bool, size: usize) -> Lying {
        let message = Message::new(Topic::parse("t").unwrap(), vec![b'x'; size], QoS::AtLeastOnce);
        Lying { sequence, message, accepted_at: 0, born: 0, is_unsure: false, stamp: None, is_live }
    }

    fn select(recent: &Recent, after: u64, part: Part) -> Option<Vec<u64>> {
        let selection = Selection { after, part, max_count: 3, max_bytes: 100 };
        Some(recent.select(&selection)?.iter().map(|lying| lying.sequence).collect())
    }

    const ALL: Part = Part::Ordinary { backlog: u64::MAX };

    #[test]
    fn only_what_is_committed_is_given_and_only_behind_what_it_knows() {
        let recent = Recent::new(10);
        recent.add(lying(11, false, 1));
        recent.add(lying(12, true, 1));
        assert_eq!(select(&recent, 10, ALL), Some(vec![]), "not on the disk yet");
        recent.settle(true);
        assert_eq!(select(&recent, 9, ALL), None, "10 is in the file only");
        assert_eq!(select(&recent, 10, ALL), Some(vec![11, 12]));
        assert_eq!(select(&recent, 11, ALL), Some(vec![12]));
        assert_eq!(select(&recent, 10, Part::Live), Some(vec![12]));
        assert_eq!(select(&recent, 10, Part::Ordinary { backlog: 11 }), Some(vec![11]));
        recent.add(lying(13, false, 1));
        recent.settle(false);
        assert_eq!(select(&recent, 12, ALL), Some(vec![]), "the commit failed");
    }

    #[test]
    fn as_many_are_given_as_are_asked_for_but_at_least_one() {
        let recent = Recent::new(0);
        for (sequence, size) in [(1, 500), (2, 50), (3, 48), (4, 1), (5, 1), (6, 1)] {
            recent.add(lying(sequence, false, size));
        }
        recent.settle(true);
        assert_eq!(select(&recent, 0, ALL), Some(vec![1]), "larger than a read may bring");
        assert_eq!(select(&recent, 1, ALL), Some(vec![2, 3]), "by bytes");
        assert_eq!(select(&recent, 3, ALL), Some(vec![4, 5, 6]), "by number");
    }

    #[test]
    fn what_may_be_gone_is_asked_of_the_file() {
        let recent = Recent::new(0);
        for sequence in 1..=3 {
            recent.add(lying(sequence, false, 1));
        }
        recent.settle(true);
        recent.acknowledged(1);
        assert_eq!(select(&recent, 0, ALL), None);
        assert_eq!(select(&recent, 1, ALL), Some(vec![2, 3]));
        recent.add(lying(4, false, 1));
        recent.clear();
        recent.add(lying(5, false, 1));
        recent.settle(true);
        assert_eq!(select(&recent, 3, ALL), None);
        assert_eq!(select(&recent, 4, ALL), Some(vec![5]));
    }

    #[test]
    fn memory_has_a_bound_and_the_oldest_go_first() {
        let recent = Recent::new(0);
        for sequence in 1..=2 * COUNT as u64 {
            recent.add(lying(sequence, false, 1));
        }
        recent.settle(true);
        assert_eq!(select(&recent, COUNT as u64 - 1, ALL), None);
        let first = COUNT as u64 + 1;
        assert_eq!(select(&recent, COUNT as u64, ALL), Some(vec![first, first + 1, first + 2]));
        recent.add(lying(first + COUNT as u64, false, BYTES));
        recent.settle(true);
        assert_eq!(recent.ring().committed.len(), 0, "larger than all of it");
        assert_eq!(recent.ring().bytes, 0);
    }
}
