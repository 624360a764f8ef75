//! Messages that were accepted and wait for the cloud's acknowledgement, oldest first.

use std::{borrow::Cow, sync::Arc, time::Duration};

use bytes::Bytes;
use rusqlite::{Row, Transaction, params};

use super::{
    Durable, Store, StoreError,
    ledger::{Gone, Ledger, Room, accepted_at},
    message,
    recent::Lying,
    timeline::Born,
};
use crate::model::{Message, MessageId, Stage, Timestamp, Topic};

/// A message to be kept for the cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What to publish; its topic is the cloud's.
    pub message: Message,
    /// How long it is worth sending.
    pub life: Option<Duration>,
    /// Its lane, by its place in `StoreOptions::lanes`; `None`: only the outbox's own bounds are for it.
    pub lane: Option<usize>,
    /// The payload is a JSON object of the gateway's own making, to which its `message_id` is added when it is
    /// read, and under this name the time when it was accepted: by then the clock may have been set.
    pub stamp: Option<&'static str>,
}

impl Entry {
    /// An entry without policies of its own.
    pub fn new(message: Message) -> Self {
        Self { message, life: None, lane: None, stamp: None }
    }
}

/// What became of one message of several: its sequence, `None` when the policy of its lane does not keep it, or why the
/// store does not take it.
pub type Kept = Result<Option<u64>, StoreError>;

/// What each of several messages counts for beside its size, in bytes.
const ENTRY_OVERHEAD: usize = 128;

/// A message in the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the order of acceptance.
    pub sequence: u64,
    /// Its stable name, the same on every re-send.
    pub id: MessageId,
    /// What to publish.
    pub message: Message,
    /// When it was accepted, by the wall clock.
    pub accepted_at: Timestamp,
    /// When it was accepted, for [`Store::age`].
    pub born: Born,
    /// Whether it may go before what waited longer.
    pub is_live: bool,
}

/// Which messages to read, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selection {
    /// Only those after this sequence.
    pub after: u64,
    /// What waited, in order, and what is not live; or only what is live, after this sequence.
    pub part: Part,
    /// So many at most.
    pub max_count: usize,
    /// So many bytes at most, but at least one message.
    pub max_bytes: usize,
}

/// Either part of the outbox, when live messages overtake the backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All but live messages after this sequence.
    Ordinary {
        /// The last sequence of the backlog.
        backlog: u64,
    },
    /// Only live messages.
    Live,
}

impl Store {
    /// Queues a message for the disk. Returns once there is room in the writer's queue; the
    /// [`Durable`] resolves with its sequence when it is on the disk, or with `None` when the policy of its
    /// lane does not keep it.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] here; from the [`Durable`] also `Full`, `TooLarge` and `Disk`.
    pub async fn append(&self, entry: Entry) -> Result<Durable<Option<u64>>, StoreError> {
        let size = entry.message.size();
        let spooled = self.spooled(std::slice::from_ref(&entry));
        let work = move |transaction: &Transaction<'_>, ledger: &mut Ledger| {
            insert(transaction, ledger, &entry, Room::Ordinary)
        };
        self.write_then(size, work, move |sequence| spooled(&[*sequence])).await
    }

    /// As [`Store::append`], for several messages in one commit.
    ///
    /// # Errors
    /// As [`Store::append`]; when one of them is too much, those before it are kept.
    pub async fn append_all(&self, entries: Vec<Entry>) -> Result<Durable<Vec<Option<u64>>>, StoreError> {
        let size = entries.iter().map(|entry| entry.message.size()).sum();
        let spooled = self.spooled(&entries);
        let work = move |transaction: &Transaction<'_>, ledger: &mut Ledger| {
            entries.iter().map(|entry| insert(transaction, ledger, entry, Room::Ordinary)).collect()
        };
        self.write_then(size, work, move |sequences: &Vec<Option<u64>>| spooled(sequences)).await
    }

    /// As [`Store::append`], for several messages in one commit, each to be kept or refused by itself.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] here; from the [`Durable`] also `Disk`, which is all of them. Of one: `Full` and `TooLarge`.
    pub async fn append_each(&self, entries: Vec<Entry>) -> Result<Durable<Arc<[Kept]>>, StoreError> {
        let size = entries.iter().map(|entry| entry.message.size() + ENTRY_OVERHEAD).sum();
        let spooled = self.spooled(&entries);
        let work = move |transaction: &Transaction<'_>, ledger: &mut Ledger| {
            let one = |entry: &Entry| match insert(transaction, ledger, entry, Room::Ordinary) {
                Err(error) if error.is_disk() => Err(error),
                kept => Ok(kept),
            };
            entries.iter().map(one).collect()
        };
        self.write_then(size, work, move |all: &Arc<[Kept]>| {
            spooled(&all.iter().map(|kept| kept.as_ref().ok().copied().flatten()).collect::<Vec<_>>());
        })
        .await
    }

    /// The stable name of a message in the outbox.
    pub fn message_id(&self, sequence: u64) -> MessageId {
        MessageId::new(&self.name, sequence)
    }

    /// Issues the receipts of entries, once it is known under which sequences they are on the disk.
    pub(super) fn spooled(&self, entries: &[Entry]) -> impl FnOnce(&[Option<u64>]) + Send + use<> {
        let topics: Vec<Topic> = if self.receipts.follow_messages() {
            entries.iter().map(|entry| entry.message.topic.clone()).collect()
        } else {
            Vec::new()
        };
        let (receipts, name) = (self.receipts.clone(), self.name.clone());
        move |sequences| {
            for (topic, sequence) in topics.iter().zip(sequences) {
                if let Some(sequence) = sequence {
                    receipts.message(Stage::Spooled, &MessageId::new(&name, *sequence), Some(topic));
                }
            }
        }
    }

    /// Up to `max_count` records after sequence `after`, oldest first, at most `max_bytes` in all but
    /// at least one: a look, after which they can be dropped as before.
    ///
    /// # Errors
    /// As [`Store::select`].
    pub async fn pending(
        &self,
        after: u64,
        max_count: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let part = Part::Ordinary { backlog: u64::MAX };
        self.look(Selection { after, part, max_count, max_bytes }, |_, _| {}).await
    }

    /// The oldest records of a selection, to be sent: until [`Store::take_back`] no policy drops them. One that
    /// cannot be read would stop the queue for ever: it is dropped, and counted.
    ///
    /// # Errors
    /// [`StoreError::Disk`] or `Stopped`.
    pub async fn select(&self, selection: Selection) -> Result<Vec<Record>, StoreError> {
        self.look(selection, move |ledger, last| ledger.hand_out(&selection, last)).await
    }

    /// Says that nothing of what was selected is being sent any more: what is not deleted by now waits, and can be
    /// dropped. Writes nothing.
    ///
    /// # Errors
    /// [`StoreError::Stopped`].
    pub async fn take_back(&self) -> Result<(), StoreError> {
        self.read_by(|_, ledger| {
            ledger.take_back();
            Ok(())
        })
        .await
    }

    async fn look(
        &self,
        selection: Selection,
        found: impl FnOnce(&mut Ledger, u64) + Send + 'static,
    ) -> Result<Vec<Record>, StoreError> {
        let Selection { after, part, max_count, max_bytes } = selection;
        let store = self.clone();
        let read = self.read_by(move |connection, ledger| {
            if let Some(recent) = ledger.recent().select(&selection) {
                let records: Vec<_> = recent.into_iter().map(|lying| store.handed(lying)).collect();
                if let Some(last) = records.last() {
                    found(ledger, last.sequence);
                }
                return Ok((records, Vec::new()));
            }
            const COLUMNS: &str =
                "SELECT sequence, topic, payload, qos, retain, properties, accepted_at, born,
                 is_unsure, stamp, is_live FROM outbox WHERE sequence > ?1";
            let (which, backlog) = match part {
                Part::Ordinary { backlog } => ("(is_live = 0 OR sequence <= ?2)", backlog),
                Part::Live => ("is_live = 1 AND ?2 = 0", 0),
            };
            let mut statement =
                connection.prepare_cached(&format!("{COLUMNS} AND {which} ORDER BY sequence"))?;
            let backlog = i64::try_from(backlog).unwrap_or(i64::MAX);
            let mut rows = statement.query(params![after, backlog])?;
            let (mut records, mut unreadable, mut bytes) = (Vec::new(), Vec::new(), 0);
            // Counted here and not by SQLite, so that what cannot be read hides nothing of what lies behind it.
            while records.len() < max_count
                && let Some(row) = rows.next()?
            {
                let record = match store.record(row) {
                    Ok(record) => record,
                    Err(error @ StoreError::Row { .. }) => {
                        let sequence: u64 = row.get(0)?;
                        tracing::error!(sequence, %error, "a message for the cloud cannot be read and is dropped");
                        unreadable.push(sequence);
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                bytes += record.message.size();
                if bytes > max_bytes && !records.is_empty() {
                    break;
                }
                records.push(record);
            }
            if let Some(last) = records.last() {
                found(ledger, last.sequence);
            }
            Ok((records, unreadable))
        });
        let (records, unreadable) = read.await?;
        if !unreadable.is_empty() {
            drop(self.remove(unreadable, Gone::Unreadable).await?);
        }
        Ok(records)
    }

    /// How long ago something was accepted. Setting the wall clock does not change it.
    pub fn age(&self, born: Born) -> Duration {
        Duration::from_millis(u64::try_from(self.timeline.age(born)).unwrap_or(0))
    }

    /// Deletes what the cloud acknowledged. Returns once queued: a crash before the commit, at which the
    /// [`Durable`] resolves, only means that the cloud is sent a message again.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] here; from the [`Durable`] also `Disk`: nothing is deleted.
    pub async fn acknowledge(&self, sequences: Vec<u64>) -> Result<Durable<()>, StoreError> {
        self.remove(sequences, Gone::Acknowledged).await
    }

    /// Deletes what the cloud refused for good (policy `refused by the cloud`), counted.
    ///
    /// # Errors
    /// [`StoreError::Stopped`].
    pub async fn discard(&self, sequences: Vec<u64>) -> Result<(), StoreError> {
        self.remove(sequences, Gone::RefusedByCloud).await.map(drop)
    }

    /// Deletes what is beyond the limits of the cloud and cannot be sent (policy `beyond_limits`), counted.
    ///
    /// # Errors
    /// [`StoreError::Stopped`].
    pub async fn discard_oversize(&self, sequences: Vec<u64>) -> Result<(), StoreError> {
        self.remove(sequences, Gone::BeyondLimits).await.map(drop)
    }

    async fn remove(&self, mut sequences: Vec<u64>, gone: Gone) -> Result<Durable<()>, StoreError> {
        let cost = sequences.len() * size_of::<u64>();
        self.write(cost, move |transaction, ledger| {
            // Mostly they follow one another, and one statement does for all that do.
            sequences.sort_unstable();
            for run in sequences.chunk_by(|one, next| next - one <= 1) {
                let ends = params![run[0], run[run.len() - 1]];
                ledger.delete(transaction, "sequence BETWEEN ?1 AND ?2", ends, gone)?;
            }
            Ok(())
        })
        .await
    }

    fn record(&self, row: &Row<'_>) -> Result<Record, StoreError> {
        Ok(self.handed(Lying {
            sequence: row.get(0)?,
            message: message::from_row(row, 1, row.get(4)?, 5)?,
            accepted_at: row.get(6)?,
            born: row.get(7)?,
            is_unsure: row.get(8)?,
            stamp: row.get::<_, Option<String>>(9)?.map(Cow::Owned),
            is_live: row.get(10)?,
        }))
    }

    /// What lies there, as it is to be sent.
    fn handed(&self, lying: Lying) -> Record {
        let Lying { sequence, mut message, accepted_at: written, born, is_unsure, stamp, is_live } = lying;
        let accepted_at = accepted_at(&self.timeline, &self.clock, born, written, is_unsure);
        let id = self.message_id(sequence);
        if let Some(name) = stamp {
            message.payload = stamped(&message.payload, &id, &name, accepted_at);
        }
        Record { sequence, id, message, accepted_at, born: self.timeline.born(sequence, born), is_live }
    }
}

/// A JSON object with two members more, at its end.
fn stamped(object: &[u8], id: &MessageId, name: &str, at: Timestamp) -> Bytes {
    // Ours, and written by serde_json: it ends with its brace.
    let Some(members) = object.strip_suffix(b"}") else { return Bytes::copy_from_slice(object) };
    let comma = if members.ends_with(b"{") { "" } else { "," };
    let stamp = format!(r#"{comma}"{name}":"{at}","message_id":"{}"}}"#, id.as_str());
    [members, stamp.as_bytes()].concat().into()
}

/// Inserts an entry under its policies; also used by the journal, in one transaction with an outcome. `None`: the
/// policy of its lane does not keep it.
pub(super) fn insert(
    transaction: &Transaction<'_>,
    ledger: &mut Ledger,
    entry: &Entry,
    room: Room,
) -> Result<Option<u64>, StoreError> {
    let message = &entry.message;
    let size = message.size() as u64;
    let Some(terms) = ledger.admit(transaction, entry)? else { return Ok(None) };
    ledger.make_room(transaction, entry, room, &terms)?;
    let accepted_at = ledger.now().as_millis();
    let sequence = transaction
        .prepare_cached(
            "INSERT INTO outbox (topic, payload, qos, retain, properties, size, accepted_at, expires_at, born,
                 is_unsure, stamp, lane, is_live, is_folded)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?
        .insert(
            params![
                message.topic.as_str(),
                &message.payload[..],
                u8::from(message.qos),
                message.retain,
                message::properties_to_text(message),
                size,
                accepted_at,
                terms.expires_at,
                terms.born,
                terms.is_unsure,
                entry.stamp,
                terms.lane,
                terms.is_live,
                terms.is_folded,
            ],
        )?;
    let sequence = u64::try_from(sequence).map_err(|error| StoreError::row("outbox", error))?;
    ledger.enter(sequence, size, &terms);
    ledger.recent().add(Lying {
        sequence,
        message: message.clone(),
        accepted_at,
        born: terms.born,
        is_unsure: terms.is_unsure,
        stamp: entry.stamp.map(Cow::Borrowed),
        is_live: terms.is_live,
    });
    Ok(Some(sequence))
}
