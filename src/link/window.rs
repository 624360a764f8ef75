//! What is in flight, in the order in which it was sent, and what is ready to follow.
//!
//! Pure. Invariants: a record leaves only by [`Window::answered`]; records go out in the order of
//! their sequences; never more than the limit is sent past the oldest unanswered publish, so that a
//! packet id is free again before rumqttc comes round to it (else it wedges: `state.collision`). What the cloud
//! has and the disk still has too takes room as well, so that a crash sends no more than the limit again.
//! Memory is bounded by the limit plus two reads of the store.

use std::collections::VecDeque;

use crate::store::Record;

/// How much one read of the store may bring: a read waits for the commit before it, so it must be
/// worth it.
const READ_RECORDS: usize = 512;
const READ_BYTES: usize = 1 << 20;
/// With so few records ready it is time to read on.
const LOW: usize = READ_RECORDS / 2;

/// What a publish carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Parcel {
    /// A message of the outbox.
    Record(Record),
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
    /// Records after this sequence.
    pub(super) after: u64,
    /// So many at most.
    pub(super) count: usize,
    /// So many bytes at most.
    pub(super) bytes: usize,
    /// The highest sequence known when it was asked for: an empty answer says that none is left up to it.
    pub(super) up_to: u64,
}

/// The window of one connection; [`Window::open`] begins the next one from the store's oldest record.
#[derive(Debug, Default)]
pub(super) struct Window {
    limit: u64,
    connection: u64,
    ready: VecDeque<Record>,
    flights: VecDeque<Flight>,
    sends: u64,
    bytes: usize,
    read_up_to: u64,
    reading: Option<Fetch>,
    highest_sent: u64,
    sent_before: u64,
    unsettled: u64,
}

impl Window {
    /// Begins a connection on which `limit` publishes, at least one, may be unanswered.
    pub(super) fn open(&mut self, limit: u16) {
        *self = Self {
            limit: u64::from(limit.max(1)),
            connection: self.connection + 1,
            highest_sent: self.highest_sent,
            sent_before: self.highest_sent,
            unsettled: self.unsettled,
            ..Self::default()
        };
    }

    /// Whether one more publish may go out.
    pub(super) fn has_room(&self) -> bool {
        let oldest = self.flights.front().map_or(self.sends, |flight| flight.ordinal);
        self.sends - oldest < self.limit && self.flights.len() as u64 + self.unsettled < self.limit
    }

    /// The cloud has a record: it takes room until it is gone from the disk. Says whether that is urgent, because
    /// half of the room is taken by such records.
    pub(super) fn delete(&mut self) -> bool {
        self.unsettled += 1;
        2 * self.unsettled >= self.limit
    }

    /// So many of these are gone from the disk.
    pub(super) fn settled(&mut self, count: u64) {
        self.unsettled = self.unsettled.saturating_sub(count);
    }

    /// The next record to send, if there is one; ask [`Window::has_room`] first.
    pub(super) fn take_ready(&mut self) -> Option<Record> {
        self.ready.pop_front()
    }

    /// A publish was handed to the connection.
    pub(super) fn send(&mut self, parcel: Parcel, bytes: usize) {
        if let Parcel::Record(record) = &parcel {
            self.highest_sent = self.highest_sent.max(record.sequence);
        }
        self.flights.push_back(Flight { ordinal: self.sends, packet: None, bytes, parcel });
        self.sends += 1;
        self.bytes += bytes;
    }

    /// Whether this record went out on an earlier connection.
    pub(super) fn was_sent_before(&self, record: &Record) -> bool {
        record.sequence <= self.sent_before
    }

    /// The connection gave the oldest publish that had none this packet id.
    pub(super) fn sent(&mut self, packet: u16) {
        if let Some(flight) = self.flights.iter_mut().find(|flight| flight.packet.is_none()) {
            flight.packet = Some(packet);
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
        let at = self.ready.partition_point(|other| other.sequence < record.sequence);
        self.ready.insert(at, record);
    }

    /// What to read from the store, if anything; the read counts as under way from now.
    pub(super) fn fetch(&mut self, highest: u64) -> Option<Fetch> {
        if self.reading.is_some() || self.ready.len() >= LOW || self.read_up_to >= highest {
            return None;
        }
        let fetch = Fetch {
            connection: self.connection,
            after: self.read_up_to,
            count: READ_RECORDS,
            bytes: READ_BYTES,
            up_to: highest,
        };
        self.reading = Some(fetch);
        self.reading
    }

    /// The store's answer. One for an earlier connection is dropped: it is read again.
    pub(super) fn fetched(&mut self, fetch: Fetch, records: Vec<Record>) {
        if self.reading != Some(fetch) {
            return;
        }
        self.reading = None;
        self.read_up_to = records.last().map_or(fetch.up_to, |record| record.sequence);
        self.ready.extend(records);
    }

    /// From now on `limit` publishes may be unanswered.
    pub(super) fn widen(&mut self, limit: u16) {
        self.limit = self.limit.max(u64::from(limit));
    }

    /// The oldest unanswered record that went out on this connection.
    pub(super) fn oldest_sent(&self) -> Option<&Record> {
        self.flights.iter().filter(|flight| flight.packet.is_some()).find_map(|flight| match &flight.parcel {
            Parcel::Record(record) => Some(record),
            Parcel::Birth | Parcel::Fence | Parcel::Farewell => None,
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
