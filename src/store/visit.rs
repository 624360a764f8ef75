//! The store's file as somebody at a terminal looks into it, and what they have it forget: for `hearthlink queue` and
//! `hearthlink reset`.
//!
//! Invariants: a look opens the file for reading only, and may be taken while a gateway runs, whose writer it does not
//! wait for (WAL); what changes the file has the lock for as long, so the writer is alone with it. Numbers of messages are
//! never used again, whatever is forgotten. Rejected: asking a running gateway to drop something. The page is read-only,
//! and a message may be on its way already.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, fchown},
    path::Path,
};

use rusqlite::{Connection, Row, params};

use super::{
    StoreError, damage,
    examination::open_to_look,
    lock, lock_file, message,
    schema::{self, SCHEMA_VERSION},
};
use crate::model::{Message, MessageId, Timestamp};

/// A message that waits for the cloud.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// Its place in the order of acceptance.
    pub sequence: u64,
    /// Its stable name.
    pub id: MessageId,
    /// What was accepted; what the gateway says itself gets its time and its name when it is sent.
    pub message: Message,
    /// When it was accepted, by the wall clock of then.
    pub accepted_at: Timestamp,
    /// The wall clock of then was not known to be right.
    pub is_unsure: bool,
}

/// A part of what waits.
#[derive(Debug, Clone, Default, PartialEq)]
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
/// [`StoreError::Open`], `FromTheFuture`, `FromThePast`, `Damaged` or `Disk`.
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
        if !path.try_exists().map_err(|error| StoreError::open(path, &error))? {
            return Ok(None);
        }
        let (connection, found) = open_to_look(path)?;
        match found {
            // Nobody has put anything into a new one.
            0 => Ok(None),
            found if found < SCHEMA_VERSION => Err(StoreError::FromThePast { found, known: SCHEMA_VERSION }),
            _ => Ok(Some(Self { name: schema::known_name(&connection)?.unwrap_or_default(), connection })),
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

/// Does something with the file that nobody else has meanwhile, and that is as sound as every start wants it.
fn alone<T>(path: &Path, work: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
    let open_error = |error: io::Error| StoreError::open(path, &error);
    make_lock(path).map_err(open_error)?;
    let _lock = lock(path, &open_error)?;
    let connection = damage::look_and_open(path)?;
    match schema::known_version(path, &connection)? {
        0 => schema::make(&connection)?,
        SCHEMA_VERSION => schema::prepare(&connection)?,
        // The copy that is kept of it would belong to whoever called.
        found => return Err(StoreError::FromThePast { found, known: SCHEMA_VERSION }),
    }
    damage::trust(&connection)?;
    work(&connection)
}

/// A lock that is made here must not belong to whoever called, or the gateway could not have it. Nothing that is there
/// already is given away, and no link is followed: in the directory of the gateway's user a name may lead anywhere.
fn make_lock(path: &Path) -> io::Result<()> {
    let store = fs::symlink_metadata(path)?;
    if store.is_symlink() {
        return Err(io::Error::other(
            "it is a link, which may lead anywhere; name the directory that it leads to as `gateway.data_dir`",
        ));
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(lock_file(path)) {
        // Only root may give a file away; what others make is theirs.
        Ok(file) => drop(fchown(&file, Some(store.uid()), Some(store.gid()))),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    Ok(())
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

    #[tokio::test]
    async fn a_lock_that_leads_elsewhere_is_neither_taken_nor_given_away() {
        let (directory, path, store) = with(1).await;
        store.closed().await;
        let elsewhere = directory.path().join("elsewhere");
        fs::write(&elsewhere, "").unwrap();
        fs::remove_file(lock_file(&path)).unwrap();
        std::os::unix::fs::symlink(&elsewhere, lock_file(&path)).unwrap();
        assert!(matches!(drop_waiting(&path, &[1]), Err(StoreError::Open { .. })));
        assert_eq!(look_at_queue(&path, 9).unwrap().unwrap().count, 1);
    }

    #[tokio::test]
    async fn a_damaged_file_is_not_touched() {
        let (directory, path, store) = with(40).await;
        store.closed().await;
        fs::write(directory.path().join("hearthlink.db-wal"), "x").unwrap();
        fs::write(&path, "").unwrap();
        assert!(matches!(forget(&path, Forget::ALL), Err(StoreError::Damaged(_))));
        assert!(directory.path().join("hearthlink.db-wal").exists(), "SQLite would have deleted it");
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
