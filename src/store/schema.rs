//! The tables of the store's one file, and which version of them a file has.
//!
//! `PRAGMA user_version` holds the version. Invariants: a file of a later version is refused before anything is done to
//! it, and not a byte of it or of its log is changed; steps between versions are only ever added to [`STEPS`]. How a file
//! that has something in it goes over them is `upgrade`'s.

use std::{
    fs::{self, File},
    io::Read,
    path::Path,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::{StoreError, damage, upgrade};

/// The version of the tables that this program writes.
pub const SCHEMA_VERSION: usize = STEPS.len();

/// How a SQLite file begins.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Where in its header the version stands, in four bytes, the highest first.
const VERSION_AT: usize = 60;

/// One step a version: step `n` leads from version `n` to `n + 1`. They run in one transaction, which is begun and
/// ended elsewhere.
pub(super) const STEPS: &[&str] = &[
    "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    CREATE TABLE outbox (
        sequence    INTEGER PRIMARY KEY AUTOINCREMENT,
        topic       TEXT NOT NULL,
        payload     BLOB NOT NULL,
        qos         INTEGER NOT NULL,
        retain      INTEGER NOT NULL,
        properties  TEXT,
        size        INTEGER NOT NULL,
        accepted_at INTEGER NOT NULL,
        expires_at  INTEGER
    ) STRICT;
    CREATE INDEX outbox_age ON outbox (accepted_at);
    CREATE INDEX outbox_expiry ON outbox (expires_at) WHERE expires_at IS NOT NULL;
    CREATE TABLE journal (
        device   TEXT NOT NULL,
        id       TEXT NOT NULL,
        begun_at INTEGER NOT NULL,
        outcome  TEXT,
        PRIMARY KEY (device, id)
    ) STRICT;
    CREATE INDEX journal_age ON journal (begun_at);
    CREATE TABLE retained (
        topic      TEXT PRIMARY KEY,
        payload    BLOB NOT NULL,
        qos        INTEGER NOT NULL,
        properties TEXT
    ) STRICT;
    CREATE TABLE session (client TEXT PRIMARY KEY, state BLOB NOT NULL) STRICT;
    CREATE TABLE state (device TEXT PRIMARY KEY, fields TEXT NOT NULL, taken_at INTEGER NOT NULL) STRICT;
",
    "
    ALTER TABLE retained ADD COLUMN expires_at INTEGER;
    ALTER TABLE session ADD COLUMN ends_at INTEGER;
    CREATE TABLE session_message (
        client      TEXT NOT NULL,
        sequence    INTEGER NOT NULL,
        topic       TEXT NOT NULL,
        payload     BLOB NOT NULL,
        qos         INTEGER NOT NULL,
        retain      INTEGER NOT NULL,
        properties  TEXT,
        identifiers TEXT,
        is_released INTEGER NOT NULL,
        expires_at  INTEGER,
        PRIMARY KEY (client, sequence)
    ) STRICT;
",
    // `born` and `expires_at` are moments of the store's own time (`timeline`), which began as the wall clock's.
    // Ages go with the sequence, so that no index is needed, and none has to be written for each message.
    "
    DROP INDEX outbox_age;
    ALTER TABLE outbox ADD COLUMN born INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE outbox ADD COLUMN is_unsure INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE outbox ADD COLUMN stamp TEXT;
    ALTER TABLE outbox ADD COLUMN lane INTEGER;
    ALTER TABLE outbox ADD COLUMN is_live INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE outbox ADD COLUMN is_folded INTEGER NOT NULL DEFAULT 0;
    UPDATE outbox SET born = accepted_at;
    CREATE INDEX outbox_lane ON outbox (lane, sequence) WHERE lane IS NOT NULL;
    CREATE INDEX outbox_topic ON outbox (topic, sequence) WHERE is_folded = 1;
    CREATE TABLE lane (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
    DROP INDEX journal_age;
",
    // What ended by the wall clock ends at a moment of the store's own time, too; `anchor` has one pair of both.
    // `is_early`: written before it was known what had passed before the start.
    "
    ALTER TABLE retained ADD COLUMN is_early INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE session ADD COLUMN is_early INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE session_message ADD COLUMN is_early INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE ahead AS SELECT coalesce((
        SELECT CAST(value AS INTEGER) - CAST(substr(value, instr(value, ' ') + 1) AS INTEGER)
        FROM meta WHERE name = 'anchor'), 0) AS by;
    UPDATE retained SET expires_at = expires_at + (SELECT by FROM ahead) WHERE expires_at IS NOT NULL;
    UPDATE session SET ends_at = ends_at + (SELECT by FROM ahead) WHERE ends_at IS NOT NULL;
    UPDATE session_message SET expires_at = expires_at + (SELECT by FROM ahead) WHERE expires_at IS NOT NULL;
    DROP TABLE ahead;
",
];

/// Makes an open file ready for writing: WAL, and a commit is on the disk when it returns (synchronous FULL).
pub(super) fn prepare(connection: &Connection) -> Result<(), StoreError> {
    // Somebody may look into the file with `sqlite3` meanwhile.
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(())
}

/// Makes the tables in a file that is empty.
pub(super) fn make(connection: &Connection) -> Result<(), StoreError> {
    prepare(connection)?;
    let transaction = connection.unchecked_transaction()?;
    climb(&transaction, 0)?;
    transaction.commit()?;
    Ok(())
}

/// Takes all steps from this version on, within the caller's transaction.
pub(super) fn climb(connection: &Connection, from: usize) -> Result<(), StoreError> {
    STEPS.iter().skip(from).try_for_each(|step| connection.execute_batch(step))?;
    connection.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    Ok(())
}

/// The version of an open file; zero: it is empty.
pub(super) fn version(connection: &Connection) -> Result<usize, StoreError> {
    Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

/// Refuses a file of a later version. Nothing is changed by the question: SQLite is asked only where there is a log, in
/// which the version may stand, and then for reading only. What cannot be read is for others to complain of.
///
/// # Errors
/// [`StoreError::FromTheFuture`].
pub(super) fn refuse_later(path: &Path) -> Result<(), StoreError> {
    let has_log = fs::metadata(damage::beside(path, damage::LOG)).is_ok_and(|log| log.len() > 0);
    let found = if has_log { version_with_log(path) } else { version_in_header(path) };
    match found {
        Some(found) if found > SCHEMA_VERSION => Err(later(path, found)),
        _ => Ok(()),
    }
}

/// The version of a file that was opened after [`refuse_later`], which may not have been able to read it.
///
/// # Errors
/// [`StoreError::FromTheFuture`], or what SQLite says.
pub(super) fn known_version(path: &Path, connection: &Connection) -> Result<usize, StoreError> {
    let found = version(connection)?;
    if found > SCHEMA_VERSION { Err(later(path, found)) } else { Ok(found) }
}

fn later(path: &Path, found: usize) -> StoreError {
    let (path, copy) = (path.to_owned(), upgrade::usable_copy(path));
    StoreError::FromTheFuture { path, found, known: SCHEMA_VERSION, copy }
}

fn version_with_log(path: &Path) -> Option<usize> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    version(&connection).ok()
}

fn version_in_header(path: &Path) -> Option<usize> {
    let mut header = [0; VERSION_AT + 4];
    File::open(path).ok()?.read_exact(&mut header).ok()?;
    let version = header.starts_with(MAGIC).then(|| header.last_chunk().copied())??;
    usize::try_from(i32::from_be_bytes(version)).ok()
}

/// The random name that makes this file's message ids differ from every other file's.
pub(super) fn name(connection: &Connection) -> Result<String, StoreError> {
    match known_name(connection)? {
        Some(name) => Ok(name),
        None => Ok(connection.query_row(
            "INSERT INTO meta VALUES ('store', lower(hex(randomblob(6)))) RETURNING value",
            [],
            |row| row.get(0),
        )?),
    }
}

/// The same for whoever only looks.
pub(super) fn known_name(connection: &Connection) -> Result<Option<String>, StoreError> {
    let known = connection.query_row("SELECT value FROM meta WHERE name = 'store'", [], |row| row.get(0));
    Ok(known.optional()?)
}
