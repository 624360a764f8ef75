//! Messages that were accepted and wait for the cloud's acknowledgement, oldest first.

use rusqlite::{Row, Transaction, params};

use super::{
    Durable, Store, StoreError,
    ledger::{Ledger, Room},
    message,
};
use crate::model::{Message, MessageId, Timestamp};

/// A message to be kept for the cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What to publish; its topic is the cloud's.
    pub message: Message,
    /// When it is no longer worth sending.
    pub expires: Option<Timestamp>,
}

impl Entry {
    /// An entry without an expiry of its own.
    pub fn new(message: Message) -> Self {
        Self { message, expires: None }
    }
}

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
}

impl Store {
    /// Queues a message for the disk. Returns once there is room in the writer's queue; the
    /// [`Durable`] resolves with its sequence when it is on the disk.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] here; from the [`Durable`] also `Full`, `TooLarge` and `Disk`.
    pub async fn append(&self, entry: Entry) -> Result<Durable<u64>, StoreError> {
        let size = entry.message.size();
        self.write(size, move |transaction, ledger| insert(transaction, ledger, &entry, Room::Ordinary)).await
    }

    /// Up to `max_count` records after sequence `after`, oldest first, at most `max_bytes` in all but
    /// at least one.
    ///
    /// # Errors
    /// [`StoreError::Disk`] or `Stopped`.
    pub async fn pending(
        &self,
        after: u64,
        max_count: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let name = self.name.clone();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT sequence, topic, payload, qos, retain, properties, accepted_at
                 FROM outbox WHERE sequence > ?1 ORDER BY sequence LIMIT ?2",
            )?;
            let mut rows = statement.query(params![after, max_count])?;
            let (mut records, mut bytes) = (Vec::new(), 0);
            while let Some(row) = rows.next()? {
                let record = record(row, &name)?;
                bytes += record.message.size();
                if bytes > max_bytes && !records.is_empty() {
                    break;
                }
                records.push(record);
            }
            Ok(records)
        })
        .await
    }

    /// Deletes what the cloud acknowledged. Returns once queued: a crash before the commit, at which the
    /// [`Durable`] resolves, only means that the cloud is sent a message again.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] here; from the [`Durable`] also `Disk`: nothing is deleted.
    pub async fn acknowledge(&self, sequences: Vec<u64>) -> Result<Durable<()>, StoreError> {
        self.remove(sequences, Ledger::acknowledged).await
    }

    /// Deletes what the cloud refused for good (policy `refused by the cloud`), counted.
    ///
    /// # Errors
    /// [`StoreError::Stopped`].
    pub async fn discard(&self, sequences: Vec<u64>) -> Result<(), StoreError> {
        self.remove(sequences, Ledger::refused_by_cloud).await.map(drop)
    }

    async fn remove(
        &self,
        sequences: Vec<u64>,
        count: fn(&mut Ledger, u64, u64),
    ) -> Result<Durable<()>, StoreError> {
        let cost = sequences.len() * size_of::<u64>();
        self.write(cost, move |transaction, ledger| {
            let mut statement =
                transaction.prepare_cached("DELETE FROM outbox WHERE sequence = ?1 RETURNING size")?;
            for sequence in sequences {
                let mut rows = statement.query([sequence])?;
                while let Some(row) = rows.next()? {
                    count(ledger, 1, row.get(0)?);
                }
            }
            Ok(())
        })
        .await
    }
}

/// Inserts an entry under the size policy; also used by the journal, in one transaction with an outcome.
pub(super) fn insert(
    transaction: &Transaction<'_>,
    ledger: &mut Ledger,
    entry: &Entry,
    room: Room,
) -> Result<u64, StoreError> {
    let message = &entry.message;
    let size = message.size() as u64;
    ledger.make_room(transaction, size, room)?;
    let sequence = transaction
        .prepare_cached(
            "INSERT INTO outbox (topic, payload, qos, retain, properties, size, accepted_at, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) RETURNING sequence",
        )?
        .query_row(
            params![
                message.topic.as_str(),
                &message.payload[..],
                u8::from(message.qos),
                message.retain,
                message::properties_to_text(message),
                size,
                ledger.now().as_millis(),
                entry.expires.map(Timestamp::as_millis),
            ],
            |row| row.get(0),
        )?;
    ledger.enter(sequence, size);
    Ok(sequence)
}

fn record(row: &Row<'_>, store: &str) -> Result<Record, StoreError> {
    let sequence = row.get(0)?;
    Ok(Record {
        sequence,
        id: MessageId::new(store, sequence),
        message: message::from_row(row, 1, row.get(4)?, 5)?,
        accepted_at: Timestamp::from_millis(row.get(6)?),
    })
}
