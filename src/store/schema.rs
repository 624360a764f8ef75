//! The tables of the store's one file, and how a file comes to them.
//!
//! `PRAGMA user_version` holds the version. Invariant: a file of a later version is refused, never
//! changed; steps between versions are only ever added to [`STEPS`].

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};

use super::StoreError;

/// One step a version: step `n` leads from version `n` to `n + 1`.
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
    migrate(connection)
}

fn migrate(connection: &Connection) -> Result<(), StoreError> {
    let version: usize = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version > STEPS.len() {
        return Err(StoreError::FromTheFuture { found: version, known: STEPS.len() });
    }
    for (number, step) in STEPS.iter().enumerate().skip(version) {
        connection.execute_batch(&format!("BEGIN;{step}PRAGMA user_version = {};COMMIT;", number + 1))?;
    }
    Ok(())
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
