//! What becomes of a file that is damaged: it is set aside with its log under a name with the date, and a
//! new one is begun. Never deleted, never overwritten: what can be read of it is a person's business
//! (`sqlite3 FILE .recover`).
//!
//! Looked for when the file is opened, before anything is written: always in everything but the outbox, which is
//! read through in any case; in the outbox too when the file is small, when the last stop was not an orderly one (its
//! log is still there), or when an error while it ran left a mark.
//! Damage that shows while the program runs is not mended there: ids that are on their way to the cloud belong
//! to the old file. It is reported, and the next start sets the file aside.
//!
//! Rejected: to look through the whole file at every start. With 258 MiB in memory SQLite's `quick_check` takes
//! 0.4 s (2026-11-27), and an SD card reads them in three to seven.

use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock, atomic::AtomicBool},
};

use rusqlite::{Connection, config::DbConfig};

use super::{
    StoreError, StoreOptions,
    ledger::Ledger,
    schema::{self, SCHEMA_VERSION},
    upgrade::{self, Kept},
};
use crate::{
    clock::Clock,
    model::{KeyEvent, Timestamp},
};

/// What a look takes no time for.
const SMALL: u64 = 32 << 20;
/// How many damaged files may lie there. Beyond it the disk itself is broken, and a program that is started
/// again and again must not fill it up.
const MOST_SET_ASIDE: usize = 5;
/// Behind the file's name, and before the date.
const SET_ASIDE: &str = ".damaged-";
/// Behind the file's name: an error while it ran left this.
const SUSPECT: &str = ".suspect";
/// What SQLite keeps beside the file.
pub(super) const LOG: &str = "-wal";
const LOG_INDEX: &str = "-shm";

/// A file that is open, with what was read of it.
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) name: String,
    pub(super) ledger: Ledger,
    pub(super) is_line_up: Arc<AtomicBool>,
    /// The copy that lies beside it since it was last brought up to date.
    pub(super) kept: Option<Kept>,
}

/// Opens the file; one that is damaged is set aside and a new one is made.
pub(super) fn open(path: &Path, options: &StoreOptions, clock: &Clock) -> Result<Opened, StoreError> {
    match open_and_read(path, options, clock) {
        Err(StoreError::Damaged(reason)) => {
            let name = set_aside(path, clock.now())?;
            let event = KeyEvent::StoreSetAside;
            tracing::error!(message_id = event.id(), reason, file = %name.display(), "{}", event.says());
            let connection = Connection::open(path)?;
            schema::make(&connection)?;
            read(connection, options, clock)
        }
        other => other,
    }
}

/// A file that is none, for a store that keeps nothing.
pub(super) fn open_in_memory(options: &StoreOptions, clock: &Clock) -> Result<Opened, StoreError> {
    let connection = Connection::open_in_memory()?;
    schema::make(&connection)?;
    read(connection, options, clock)
}

/// Opens the file and looks whether it is sound, as far as every start does; one of a later version is not looked into,
/// since this SQLite may take for damage what a later one has written. Until somebody has said [`trust`], its log is not
/// written into it when it is closed.
pub(super) fn look_and_open(path: &Path) -> Result<Connection, StoreError> {
    let size = |name: &Path| fs::metadata(name).map_or(0, |metadata| metadata.len());
    let has_log = size(&beside(path, LOG)) > 0;
    if size(path) == 0 && has_log {
        // SQLite would take it for a new one and delete the log.
        return Err(StoreError::Damaged("it is empty and its log is not".to_owned()));
    }
    schema::refuse_later(path)?;
    let is_suspect = beside(path, SUSPECT).exists();
    let connection = Connection::open(path)?;
    // Until it is known to be sound: the log of a damaged file must not be written into it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    if is_suspect {
        look(&connection, "PRAGMA integrity_check(1)")?;
    } else if has_log || size(path) <= SMALL {
        look(&connection, "PRAGMA quick_check(1)")?;
    } else {
        look_beside_the_outbox(&connection)?;
    }
    Ok(connection)
}

/// The file is sound.
pub(super) fn trust(connection: &Connection) -> Result<(), StoreError> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok(())
}

fn open_and_read(path: &Path, options: &StoreOptions, clock: &Clock) -> Result<Opened, StoreError> {
    let connection = look_and_open(path)?;
    let opened = schema::known_version(path, &connection).and_then(|version| match version {
        0 => schema::make(&connection).and_then(|()| read(connection, options, clock)),
        SCHEMA_VERSION => schema::prepare(&connection).and_then(|()| read(connection, options, clock)),
        from => {
            // What an upgrade goes through anyway; and a copy of what is damaged is of no use.
            look(&connection, "PRAGMA quick_check(1)")?;
            upgrade::upgrade(path, connection, from, |connection| read(connection, options, clock))
        }
    });
    // Without the store's own name and sums there is nothing to go on with.
    let mut opened = opened.map_err(|error| match error {
        StoreError::Row { .. } => StoreError::Damaged(error.to_string()),
        other => other,
    })?;
    opened.kept = Kept::find(&opened.connection, path)?;
    trust(&opened.connection)?;
    if beside(path, SUSPECT).exists() {
        remove_mark(path)?;
        tracing::warn!("the store's file was suspected of damage and is sound");
    }
    Ok(opened)
}

/// What the house needs for its start.
fn look_beside_the_outbox(connection: &Connection) -> Result<(), StoreError> {
    let mut statement = connection.prepare(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'outbox' AND name NOT LIKE 'sqlite_%'",
    )?;
    let tables: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    tables.iter().try_for_each(|table| look(connection, &format!("PRAGMA quick_check(\"{table}\")")))
}

fn look(connection: &Connection, pragma: &str) -> Result<(), StoreError> {
    let verdict: String = connection.query_row(pragma, [], |row| row.get(0))?;
    if verdict == "ok" { Ok(()) } else { Err(StoreError::Damaged(verdict)) }
}

fn read(connection: Connection, options: &StoreOptions, clock: &Clock) -> Result<Opened, StoreError> {
    let name = schema::name(&connection)?;
    let is_line_up = Arc::new(AtomicBool::new(true));
    let ledger = Ledger::load(&connection, options, clock.clone(), is_line_up.clone())?;
    Ok(Opened { connection, name, ledger, is_line_up, kept: None })
}

/// The file's name with something behind it.
pub(super) fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(what);
    PathBuf::from(name)
}

/// Moves the file and its log. Cut off anywhere, the next start goes on: the mark goes last, and the file
/// after its log, which SQLite would delete if it found it alone.
fn set_aside(path: &Path, now: Timestamp) -> Result<PathBuf, StoreError> {
    let found = set_aside_before(path);
    if found.len() >= MOST_SET_ASIDE {
        return Err(StoreError::DamagedAgain { path: path.to_owned(), count: found.len() });
    }
    let failed = |error: std::io::Error| StoreError::open(path, &error);
    mark(path).map_err(failed)?;
    let new = new_name(path, now);
    for what in [LOG, LOG_INDEX, ""] {
        let old = beside(path, what);
        if old.exists() {
            fs::rename(old, beside(&new, what)).map_err(failed)?;
        }
    }
    // The same mode as before, and before SQLite makes it with another.
    super::make(path).map_err(failed)?;
    remove_mark(path)?;
    Ok(new)
}

/// A name that nothing has. A second one is enough for a person; a clock that stands still is not.
fn new_name(path: &Path, now: Timestamp) -> PathBuf {
    let whole_seconds = Timestamp::from_millis(now.as_millis().div_euclid(1000) * 1000);
    let date = whole_seconds.to_string().replace(':', "-");
    let mut number = 1;
    loop {
        let more = if number == 1 { String::new() } else { format!("-{number}") };
        let name = beside(path, &format!("{SET_ASIDE}{date}{more}"));
        if [LOG, LOG_INDEX, ""].iter().all(|what| !beside(&name, what).exists()) {
            return name;
        }
        number += 1;
    }
}

/// The names of the damaged files that lie there, the oldest first, without their logs.
pub(super) fn set_aside_before(path: &Path) -> Vec<String> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
    else {
        return Vec::new();
    };
    let start = format!("{name}{SET_ASIDE}");
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(&start) && !name.ends_with(LOG) && !name.ends_with(LOG_INDEX))
        .collect();
    names.sort();
    names
}

fn mark(path: &Path) -> std::io::Result<()> {
    OpenOptions::new().create(true).append(true).open(beside(path, SUSPECT)).map(drop)
}

fn remove_mark(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(beside(path, SUSPECT)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(StoreError::open(path, &error)),
        _ => Ok(()),
    }
}

/// Damage that shows while the program runs: what was first seen of it stays known until the next start.
#[derive(Debug, Clone)]
pub(super) struct Damage {
    path: Arc<Path>,
    seen: Arc<OnceLock<StoreError>>,
}

impl Damage {
    pub(super) fn of(path: &Path) -> Self {
        Self { path: path.into(), seen: Arc::default() }
    }

    /// Looks at a result on its way by.
    pub(super) fn notice<T>(&self, result: &Result<T, StoreError>) {
        if let Err(error @ StoreError::Damaged(_)) = result
            && self.seen.set(error.clone()).is_ok()
        {
            let event = KeyEvent::StoreDamaged;
            tracing::error!(message_id = event.id(), %error, "{}", event.says());
            // On a disk that takes no mark either, the next start looks at a small file all the same.
            if let Err(error) = mark(&self.path) {
                tracing::warn!(%error, "the damaged file could not be marked");
            }
        }
    }

    pub(super) fn seen(&self) -> Option<&StoreError> {
        self.seen.get()
    }

    /// The damaged files that lie there.
    pub(super) fn set_aside(&self) -> Vec<String> {
        set_aside_before(&self.path)
    }
}

#[cfg(test)]
mod tests;
