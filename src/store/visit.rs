//! The store's file as somebody at a terminal looks into it, and what they have it forget: for `hearthlink queue` and
//! `hearthlink reset`.
//!
//! Invariants: a look opens the file for reading only, and may be taken while a gateway runs, whose writer it does not
//! wait for (WAL); what changes the file has the lock for as long, so the writer is alone with it. Numbers of messages are
//! never used again, whatever is forgotten. Rejected: asking a running gateway to drop something. The page is read-only,
//! and a message may be on its way already.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, chown},
    path::Path,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};

use super::{StoreError, lock_file, message, schema};
use crate::model::{Message, MessageId, Timestamp};

/// How long another program may keep the file to itself.
const BUSY: Duration = Duration::from_secs(2);

/// A message that waits for the cloud.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// Its place in the order of acceptance.
    pub sequence: u64,
    /// Its stable name.
    pub id: MessageId,
    /// What will be published.
    pub message: Message,
    /// When it was accepted, by the wall clock of then.
    pub accepted_at: Timestamp,
    /// The wall clock of then was not known to be right.
    pub is_unsure: bool,
}

/// A part of what waits.
#[derive(Debug, Clone, PartialEq)]
pub struct Queue {
    /// How many wait in all.
    pub count: u64,
    /// What they take, in bytes of topic, payload and properties.
    pub bytes: u64,
    /// The oldest ones that were asked for.
    pub messages: Vec<Waiting>,
    /// How many of these could not be read, and are left out.
    pub unreadable: u64,
}

/// What is to be forgotten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forget {
    /// What waits for the cloud.
    pub queue: bool,
    /// Which commands ran, and their outcomes: one that is sent again would run again.
    pub journal: bool,
    /// The broker's retained messages.
    pub retained: bool,
    /// The broker's sessions, with what waits for their clients.
    pub sessions: bool,
    /// The devices' last known states.
    pub states: bool,
}

impl Forget {
    /// All of it.
    pub const ALL: Self = Self { queue: true, journal: true, retained: true, sessions: true, states: true };

    fn tables(self) -> impl Iterator<Item = &'static str> {
        [
            (self.queue, "outbox"),
            (self.journal, "journal"),
            (self.retained, "retained"),
            (self.sessions, "session_message"),
            (self.sessions, "session"),
            (self.states, "state"),
        ]
        .into_iter()
        .filter_map(|(is_meant, table)| is_meant.then_some(table))
    }
}

const COLUMNS: &str =
    "SELECT sequence, topic, payload, qos, retain, properties, accepted_at, is_unsure FROM outbox";

/// Looks at what waits, the oldest first, `most` messages at most. `None`: there is no store yet. Blocks on the disk.
///
/// # Errors
/// [`StoreError::Open`], `FromTheFuture`, `Damaged` or `Disk`.
pub fn look_at_queue(path: &Path, most: u32) -> Result<Option<Queue>, StoreError> {
    let Some(visit) = Visit::to(path)? else { return Ok(None) };
    let sums = visit.connection.query_row("SELECT count(*), coalesce(sum(size), 0) FROM outbox", [], |row| {
        Ok((row.get(0)?, row.get(1)?))
    });
    let (count, bytes) = sums?;
    let mut statement = visit.connection.prepare(&format!("{COLUMNS} ORDER BY sequence LIMIT ?1"))?;
    let mut rows = statement.query(params![most])?;
    let (mut messages, mut unreadable) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        match visit.read(row) {
            Ok(waiting) => messages.push(waiting),
            Err(StoreError::Row { .. }) => unreadable += 1,
            Err(error) => return Err(error),
        }
    }
    Ok(Some(Queue { count, bytes, messages, unreadable }))
}

/// Looks at one message that waits. `None`: it does not, or there is no store yet. Blocks on the disk.
///
/// # Errors
/// As [`look_at_queue`]; `Row` when it cannot be read.
pub fn look_at_message(path: &Path, sequence: u64) -> Result<Option<Waiting>, StoreError> {
    let Some(visit) = Visit::to(path)? else { return Ok(None) };
    let mut statement = visit.connection.prepare(&format!("{COLUMNS} WHERE sequence = ?1"))?;
    let mut rows = statement.query(params![sequence])?;
    rows.next()?.map(|row| visit.read(row)).transpose()
}

/// Drops messages that wait, while no gateway runs; how many there were. Blocks on the disk.
///
/// # Errors
/// [`StoreError::InUse`] while one does; else as [`look_at_queue`].
pub fn drop_waiting(path: &Path, sequences: &[u64]) -> Result<u64, StoreError> {
    alone(path, |connection| {
        let transaction = connection.unchecked_transaction()?;
        let mut dropped = 0;
        for sequence in sequences {
            dropped += transaction.execute("DELETE FROM outbox WHERE sequence = ?1", params![sequence])?;
        }
        transaction.commit()?;
        Ok(dropped as u64)
    })
}

/// Forgets what is named, while no gateway runs; how many rows of each table there were. Blocks on the disk.
///
/// # Errors
/// [`StoreError::InUse`] while one does; else as [`look_at_queue`].
pub fn forget(path: &Path, what: Forget) -> Result<Vec<(&'static str, u64)>, StoreError> {
    alone(path, |connection| {
        let transaction = connection.unchecked_transaction()?;
        let mut forgotten = Vec::new();
        for table in what.tables() {
            let count = transaction.execute(&format!("DELETE FROM {table}"), [])?;
            forgotten.push((table, count as u64));
        }
        transaction.commit()?;
        // What is forgotten need not stay on the disk either.
        connection.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);")?;
        Ok(forgotten)
    })
}

struct Visit {
    connection: Connection,
    name: String,
}

impl Visit {
    fn to(path: &Path) -> Result<Option<Self>, StoreError> {
        let open_error = |error: io::Error| StoreError::open(path, &error);
        if !path.try_exists().map_err(open_error)? {
            return Ok(None);
        }
        // SQLite would say only that it cannot.
        File::open(path).map_err(open_error)?;
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.busy_timeout(BUSY)?;
        let version: usize = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        match version.cmp(&schema::STEPS.len()) {
            std::cmp::Ordering::Greater => {
                Err(StoreError::FromTheFuture { found: version, known: schema::STEPS.len() })
            }
            // The next start brings it up to date; until then nobody has put anything into a new one.
            std::cmp::Ordering::Less if version == 0 => Ok(None),
            std::cmp::Ordering::Less => Err(StoreError::Disk(
                "it was written by an earlier version; start the gateway once, which brings it up to date"
                    .to_owned(),
            )),
            std::cmp::Ordering::Equal => {
                let name = connection
                    .query_row("SELECT value FROM meta WHERE name = 'store'", [], |row| row.get(0))
                    .optional()?
                    .unwrap_or_default();
                Ok(Some(Self { connection, name }))
            }
        }
    }

    fn read(&self, row: &Row<'_>) -> Result<Waiting, StoreError> {
        let sequence = row.get(0)?;
        Ok(Waiting {
            sequence,
            id: MessageId::new(&self.name, sequence),
            message: message::from_row(row, 1, row.get(4)?, 5)?,
            accepted_at: Timestamp::from_millis(row.get(6)?),
            is_unsure: row.get(7)?,
        })
    }
}

/// Does something with the file that nobody else has meanwhile.
fn alone<T>(path: &Path, work: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
    let open_error = |error: io::Error| StoreError::open(path, &error);
    let file = fs::metadata(path).map_err(open_error)?;
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(lock_file(path))
        .map_err(open_error)?;
    // One that is made here must not belong to whoever called, or the gateway could not have it.
    let _ = chown(lock_file(path), Some(file.uid()), Some(file.gid()));
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(StoreError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => return Err(open_error(error)),
    }
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    schema::prepare(&connection)?;
    work(&connection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Clock,
        model::{CommandId, DeviceId, QoS, Topic},
        store::{Entry, Store, StoreOptions},
    };

    async fn with(count: u8) -> (tempfile::TempDir, std::path::PathBuf, Store) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hearthlink.db");
        let store = Store::open(&path, &StoreOptions::default(), Clock::system()).unwrap();
        for number in 0..count {
            let message = Message::new(Topic::parse("a/b").unwrap(), vec![number], QoS::AtLeastOnce);
            store.append(Entry::new(message)).await.unwrap().await.unwrap();
        }
        (directory, path, store)
    }

    #[tokio::test]
    async fn a_look_may_be_taken_while_the_gateway_runs_and_a_change_may_not() {
        let (_directory, path, store) = with(3).await;
        let queue = look_at_queue(&path, 2).unwrap().unwrap();
        assert_eq!((queue.count, queue.messages.len(), queue.unreadable), (3, 2, 0));
        let first = &queue.messages[0];
        assert_eq!(
            (first.id.clone(), &first.message.payload[..]),
            (store.message_id(first.sequence), &[0][..])
        );
        assert_eq!(look_at_message(&path, first.sequence).unwrap().as_ref(), Some(first));
        assert_eq!(look_at_message(&path, 99).unwrap(), None);
        assert!(matches!(drop_waiting(&path, &[first.sequence]), Err(StoreError::InUse(_))));
        assert!(matches!(forget(&path, Forget::ALL), Err(StoreError::InUse(_))));
        assert_eq!(look_at_queue(&path, 9).unwrap().unwrap().count, 3);

        store.closed().await;
        assert_eq!(drop_waiting(&path, &[first.sequence, 99]).unwrap(), 1);
        let left = look_at_queue(&path, 9).unwrap().unwrap();
        assert_eq!(left.messages.iter().map(|waiting| waiting.sequence).collect::<Vec<_>>(), [2, 3]);
    }

    #[tokio::test]
    async fn what_is_not_named_is_not_forgotten_and_no_number_comes_twice() {
        let (_directory, path, store) = with(2).await;
        let (id, device) = (CommandId::parse("x").unwrap(), DeviceId::parse("lamp").unwrap());
        store.begin(&id, &device, Timestamp::from_millis(1)).await.unwrap();
        store.closed().await;
        let queue = Forget { queue: true, ..Forget::default() };
        assert_eq!(forget(&path, queue).unwrap(), [("outbox", 2)]);
        let all = forget(&path, Forget::ALL).unwrap();
        assert!(all.contains(&("journal", 1)) && all.contains(&("outbox", 0)), "{all:?}");
        let store = Store::open(&path, &StoreOptions::default(), Clock::system()).unwrap();
        let message = Message::new(Topic::parse("a/b").unwrap(), "c", QoS::AtLeastOnce);
        let sequence = store.append(Entry::new(message)).await.unwrap().await.unwrap();
        assert_eq!(sequence, Some(3));
    }

    #[test]
    fn where_there_is_no_store_there_is_nothing_to_see_and_none_is_made() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hearthlink.db");
        assert_eq!(look_at_queue(&path, 9).unwrap(), None);
        assert!(matches!(forget(&path, Forget::ALL), Err(StoreError::Open { .. })));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
