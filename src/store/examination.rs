//! A look at a store that changes nothing: for `hearthlink doctor`.
//!
//! Owns the questions; never takes the lock for longer than it looks whether somebody has it, never writes, never sets a
//! damaged file aside (the next start does). A store that a gateway has open is not read at all: that gateway knows best.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use super::{StoreError, lock_file, schema};

/// How long another program may keep the file to itself.
const BUSY: Duration = Duration::from_secs(2);

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreFinding {
    /// There is no file yet; the first start makes it in this directory, which can be written.
    NotYet,
    /// A running Hearthlink has it.
    InUse,
    /// It is sound.
    Sound {
        /// The file's size, in bytes.
        size: u64,
        /// Messages that wait for the cloud.
        waiting: u64,
    },
}

/// Looks at the store `path`, whole, by SQLite's `quick_check`: seconds on an SD card with hundreds of MiB. Blocks on the
/// disk.
///
/// # Errors
/// [`StoreError::Open`], `FromTheFuture`, `Damaged` or `Disk`.
pub fn examine_store(path: &Path) -> Result<StoreFinding, StoreError> {
    let open_error = |error: io::Error| StoreError::open(path, &error);
    if !path.try_exists().map_err(open_error)? {
        let directory = nearest(path);
        let is_closed = fs::metadata(&directory).map_err(open_error)?.permissions().readonly();
        if is_closed {
            return Err(open_error(io::ErrorKind::PermissionDenied.into()));
        }
        return Ok(StoreFinding::NotYet);
    }
    if is_in_use(path).map_err(open_error)? {
        return Ok(StoreFinding::InUse);
    }
    let size = fs::metadata(path).map_err(open_error)?.len();
    let (connection, version) = open_to_look(path)?;
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(StoreError::Damaged(verdict));
    }
    let waiting = if version == 0 {
        0
    } else {
        connection.query_row("SELECT count(*) FROM outbox", [], |row| row.get(0))?
    };
    Ok(StoreFinding::Sound { size, waiting })
}

/// Opens the file for reading only; beside it its version. A running gateway is not waited for (WAL).
///
/// # Errors
/// [`StoreError::Open`], `FromTheFuture`, `Damaged` or `Disk`.
pub(super) fn open_to_look(path: &Path) -> Result<(Connection, usize), StoreError> {
    // SQLite would say only that it cannot.
    File::open(path).map_err(|error| StoreError::open(path, &error))?;
    schema::refuse_later(path)?;
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(BUSY)?;
    let found = schema::known_version(path, &connection)?;
    Ok((connection, found))
}

/// Refuses, as a start would, a store of a later version; whatever else there is, or is not, is good enough. Blocks on the
/// disk, for a page or two.
///
/// # Errors
/// [`StoreError::FromTheFuture`].
pub fn refuse_later_store(path: &Path) -> Result<(), StoreError> {
    schema::refuse_later(path)
}

/// Whether somebody has the lock. It is not made here: it would belong to whoever asks the doctor.
fn is_in_use(path: &Path) -> io::Result<bool> {
    match File::open(lock_file(path)) {
        Ok(file) => match file.try_lock() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Room on a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// What is left for us.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

/// The room on the file system of `path`; `None`: it does not say. Blocks on the disk.
pub fn disk_space(path: &Path) -> Option<DiskSpace> {
    let space = rustix::fs::statvfs(nearest(path)).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(space.f_frsize);
    Some(DiskSpace { free: bytes(space.f_bavail), total: bytes(space.f_blocks) })
}

/// What the file system of `path` has left for us, in bytes; `None`: it does not say.
pub fn free_space(path: &Path) -> Option<u64> {
    disk_space(path).map(|space| space.free)
}

/// The nearest directory above that is there.
fn nearest(path: &Path) -> PathBuf {
    let mut above = path.ancestors().skip(1).filter(|directory| !directory.as_os_str().is_empty());
    above.find(|directory| directory.is_dir()).map_or_else(|| PathBuf::from("."), Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Clock,
        model::{Message, QoS, Topic},
        store::{Entry, Store, StoreOptions},
    };

    #[tokio::test]
    async fn a_look_tells_what_is_there_and_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data/hearthlink.db");
        assert_eq!(examine_store(&path).unwrap(), StoreFinding::NotYet);
        assert!(!path.parent().unwrap().exists(), "a look makes no directory");
        assert!(free_space(&path).unwrap() > 0);
        let store = Store::open(&path, &StoreOptions::default(), Clock::system()).unwrap();
        let message = Message::new(Topic::parse("a").unwrap(), "b", QoS::AtLeastOnce);
        store.append(Entry::new(message)).await.unwrap().await.unwrap();
        assert_eq!(examine_store(&path).unwrap(), StoreFinding::InUse);
        store.closed().await;
        let before = fs::read(&path).unwrap();
        assert!(matches!(examine_store(&path).unwrap(), StoreFinding::Sound { waiting: 1, .. }));
        assert_eq!(fs::read(&path).unwrap(), before);
        fs::write(&path, [b"no database ".repeat(400).as_slice()].concat()).unwrap();
        assert!(matches!(examine_store(&path), Err(StoreError::Damaged(_))));
        assert!(path.exists(), "it is not set aside");
    }
}
