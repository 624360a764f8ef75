//! What is in flight, in the order in which it was sent, and what is ready to follow.
//!
//! Pure. Invariants: a record leaves only by [`Window::answered`]; records go out in the order of
//! their sequences, but that live ones, accepted since the connection began, go before those that waited;
//! never more than the limit is sent past the oldest unanswered publish, so that a packet id is free again
//! before the line comes round to it. A record that the cloud has and the disk still has too is not sent again while we
//! know of it; together with what is in flight such records are never more than the allowance, which is what a crash
//! sends again at most, however few the cloud takes at a time. What is the gateway's own, "online" above all, needs no
//! room on the disk and goes all the same. Memory is bounded by [`IN_FLIGHT`] and one message more, plus three reads of
//! the store.

use std::collections::{BTreeSet, VecDeque};

use crate::store::{Highest, Part, Record, Selection};

/// How much one read of the store may bring: a read waits for the commit before it, so it must be
/// worth it.
const READ_RECORDS: usize = 512;
const READ_BYTES: usize = 1 << 20;
/// So much is in flight at most, in bytes of topic, payload and properties, or one message: what a line needs that
/// carries 5 MB/s over 50 ms, and what one of 16 KB/s has said after 16 s.
const IN_FLIGHT: usize = 256 << 10;
/// With so few records ready it is time to read on.
const LOW: usize = READ_RECORDS / 2;
/// So many records are remembered as sent before; beyond, the oldest are forgotten and not counted as re-sent.
const REMEMBERED: usize = 1 << 16;

/// What a publish carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Parcel {
    /// A message of the outbox.
    Record(Record),
    /// One of those that go before "online".
    Hello(usize),
    /// "online".
    Birth,
    /// The token on our own topic.
    Fence,
    /// "offline", when the link stops.
    Farewell,
}

#[derive(Debug)]
struct Flight {
    ordinal: u64,
    packet: Option<u16>,
    bytes: usize,
    parcel: Parcel,
}

/// A read of the store to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fetch {
    /// The connection that it is for; an answer for an earlier one is stale.
    pub(super) connection: u64,
    /// What to read.
    pub(super) selection: Selection,
    /// The highest sequence known when it was asked for: an empty answer says that none is left up to it.
    pub(super) up_to: u64,
}

/// Records of one part of the outbox that are ready to be sent.
#[derive(Debug, Default)]
struct Queue {
    ready: VecDeque<Record>,
    read_up_to: u64,
    reading: Option<Fetch>,
}

impl Queue {
    fn fetch(&mut self, part: Part, highest: u64, connection: u64) -> Option<Fetch> {
        if self.reading.is_some() || self.ready.len() >= LOW || self.read_up_to >= highest {
            return None;
        }
        let selection =
            Selection { after: self.read_up_to, part, max_count: READ_RECORDS, max_bytes: READ_BYTES };
        self.reading = Some(Fetch { connection, selection, up_to: highest });
        self.reading
    }
}

/// The window of one connection; [`Window::open`] begins the next one from the store's oldest record.
#[derive(Debug, Default)]
pub(super) struct Window {
    limit: u64,
    allowance: u64,
    connection: u64,
    ordinary: Queue,
    live: Queue,
    /// What was accepted up to here waited for this connection.
    backlog: u64,
    flights: VecDeque<Flight>,
    /// How many of them, the last ones, have no packet id yet.
    unsaid: usize,
    sends: u64,
    bytes: usize,
    /// Sent on earlier connections and not answered.
    sent_before: BTreeSet<u64>,
    /// What the cloud has and is still on the disk.
    unsettled: BTreeSet<u64>,
}

impl Window {
    /// Begins a connection on which `limit` publishes, at least one, may be unanswered, and `allowance`, at least as
    /// many, unanswered or not gone from the disk. What is in the store now, up to `highest`, is its backlog.
    pub(super) fn open(&mut self, limit: u16, allowance: u16, highest: Highest) {
        let mut sent_before = std::mem::take(&mut self.sent_before);
        sent_before.extend(self.flights.iter().filter_map(|flight| match &flight.parcel {
            Parcel::Record(record) => Some(record.sequence),
            Parcel::Hello(_) | Parcel::Birth | Parcel::Fence | Parcel::Farewell => None,
        }));
        while sent_before.len() > REMEMBERED {
            sent_before.pop_first();
        }
        *self = Self {
            limit: u64::from(limit.max(1)),
            allowance: u64::from(allowance.max(limit).max(1)),
            connection: self.connection + 1,
            backlog: highest.any,
            live: Queue { read_up_to: highest.any, ..Queue::default() },
            sent_before,
            unsettled: std::mem::take(&mut self.unsettled),
            ..Self::default()
        };
    }

    /// Whether one more publish may go out that is not a record.
    pub(super) fn has_room_for_own(&self) -> bool {
        let oldest = self.flights.front().map_or(self.sends, |flight| flight.ordinal);
        self.sends - oldest < self.limit
    }

    /// Whether one more record may go out.
    pub(super) fn has_room(&self) -> bool {
        let taken = self.flights.len() + self.unsettled.len();
        let is_light = self.flights.is_empty() || self.bytes < IN_FLIGHT;
        self.has_room_for_own() && is_light && (taken as u64) < self.allowance
    }

    /// The cloud has a record: it takes room until it is gone from the disk. Says whether that is urgent, because
    /// half of the allowance is taken by such records.
    pub(super) fn delete(&mut self, sequence: u64) -> bool {
        self.unsettled.insert(sequence);
        2 * self.unsettled.len() as u64 >= self.allowance
    }

    /// These are gone from the disk.
    pub(super) fn settled(&mut self, sequences: &[u64]) {
        for sequence in sequences {
            self.unsettled.remove(sequence);
        }
    }

    /// The next live record to send, if there is one; ask [`Window::has_room`] first.
    pub(super) fn take_live(&mut self) -> Option<Record> {
        self.live.ready.pop_front()
    }

    /// Whether the next other record waited for this connection; `None`: none is ready.
    pub(super) fn is_backlog_next(&self) -> Option<bool> {
        self.ordinary.ready.front().map(|record| record.sequence <= self.backlog)
    }

    /// The next other record; ask [`Window::has_room`] first.
    pub(super) fn take_ordinary(&mut self) -> Option<Record> {
        self.ordinary.ready.pop_front()
    }

    /// A publish was handed to the connection.
    pub(super) fn send(&mut self, parcel: Parcel, bytes: usize) {
        self.flights.push_back(Flight { ordinal: self.sends, packet: None, bytes, parcel });
        self.unsaid += 1;
        self.sends += 1;
        self.bytes += bytes;
    }

    /// Whether this record went out on an earlier connection; asked once, when it is sent again.
    pub(super) fn was_sent_before(&mut self, record: &Record) -> bool {
        self.sent_before.remove(&record.sequence)
    }

    /// The connection gave the oldest publish that had none this packet id.
    pub(super) fn sent(&mut self, packet: u16) {
        let Some(first) = self.flights.len().checked_sub(self.unsaid) else { return };
        if let Some(flight) = self.flights.get_mut(first) {
            flight.packet = Some(packet);
            self.unsaid -= 1;
        }
    }

    /// The cloud answered this packet id: what it carried. `None` when nothing is in flight under it.
    pub(super) fn answered(&mut self, packet: u16) -> Option<Parcel> {
        let at = self.flights.iter().position(|flight| flight.packet == Some(packet))?;
        let flight = self.flights.remove(at)?;
        self.bytes -= flight.bytes;
        Some(flight.parcel)
    }

    /// A record that the cloud did not take now: to be sent again, in its place.
    pub(super) fn put_back(&mut self, record: Record) {
        let is_live = record.is_live && record.sequence > self.backlog;
        let ready = if is_live { &mut self.live.ready } else { &mut self.ordinary.ready };
        let at = ready.partition_point(|other| other.sequence < record.sequence);
        ready.insert(at, record);
    }

    /// What to read from the store, if anything; the reads count as under way from now.
    pub(super) fn fetch(&mut self, highest: Highest) -> impl Iterator<Item = Fetch> {
        let live = self.live.fetch(Part::Live, highest.live, self.connection);
        let part = Part::Ordinary { backlog: self.backlog };
        let ordinary = self.ordinary.fetch(part, highest.any, self.connection);
        live.into_iter().chain(ordinary)
    }

    /// The store's answer. One for an earlier connection is dropped: it is read again. What a sick disk has not
    /// deleted yet is read once more, and is not to be sent.
    pub(super) fn fetched(&mut self, fetch: Fetch, records: Vec<Record>) {
        let queue = match fetch.selection.part {
            Part::Ordinary { .. } => &mut self.ordinary,
            Part::Live => &mut self.live,
        };
        if queue.reading != Some(fetch) {
            return;
        }
        queue.reading = None;
        queue.read_up_to = records.last().map_or(fetch.up_to, |record| record.sequence);
        queue.ready.extend(records.into_iter().filter(|record| !self.unsettled.contains(&record.sequence)));
    }

    /// From now on `limit` publishes may be unanswered.
    pub(super) fn widen(&mut self, limit: u16) {
        self.limit = self.limit.max(u64::from(limit));
        self.allowance = self.allowance.max(self.limit);
    }

    /// The oldest unanswered record that went out on this connection.
    pub(super) fn oldest_sent(&self) -> Option<&Record> {
        self.flights.iter().filter(|flight| flight.packet.is_some()).find_map(|flight| match &flight.parcel {
            Parcel::Record(record) => Some(record),
            Parcel::Hello(_) | Parcel::Birth | Parcel::Fence | Parcel::Farewell => None,
        })
    }

    /// Whether nothing is unanswered.
    pub(super) fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    /// Whether no record is unanswered.
    pub(super) fn has_no_record(&self) -> bool {
        !self.flights.iter().any(|flight| matches!(flight.parcel, Parcel::Record(_)))
    }

    /// How much is unanswered, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
