//! How a file of an earlier version is brought up to date, and the copy of it that is kept for the way back.
//!
//! Owns the copy: `hearthlink.db.v3` is the file as it was when it left version 3. Invariants: all steps, and what a start
//! reads by them, are one transaction; so whatever comes in between (a step that fails, a full disk, a power cut), the
//! file is as it was, and the earlier program goes on with it. A copy is whole or not there: it is written under another
//! name, synced and renamed. One lies there at most.
//!
//! It is made before anything is changed, if there is room for it and for the upgrade's own log; an earlier copy gives way.
//! Without the room, or on a disk that does not take it, the file is brought up to date all the same, and the log says
//! that there is no way back. Refusing would lose more: the file is whole either way, and a store that is not open takes
//! nothing that the house says. The copy goes [`KEPT`] after the upgrade, by the store's own time, once a run has
//! lasted [`RUN`] without a fault: no clock that is wrong for a moment takes it away. The next upgrade replaces it.
//!
//! Rejected: to copy the file's bytes (the log would have to be folded in first, which anybody who looks into the file
//! holds up), and steps that lead down again (the earlier program, which would need them, does not have them).

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    StoreError,
    damage::{Opened, beside},
    examination::free_space,
    make,
    schema::{self, SCHEMA_VERSION},
    timeline::{Moment, Timeline, millis},
};

/// How long the copy lies there.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a run must have lasted before it takes the copy away.
const RUN: Duration = Duration::from_secs(3600);
/// What is to be left of the disk beside a copy and the upgrade's log, in bytes.
const SPARE: u64 = 16 << 20;
/// Behind the file's name, and before the version.
const COPY: &str = ".v";
/// Behind the file's name: a copy that is being written.
const UNFINISHED: &str = ".copying";
/// What SQLite keeps beside a copy that is being written.
const ITS_JOURNAL: &str = "-journal";
const NOTE: &str = "upgraded";

/// Brings a sound file of version `from` up to date and reads it: both, or neither.
///
/// # Errors
/// [`StoreError::NotUpgraded`], `Damaged`, or `Disk` before anything was tried.
pub(super) fn upgrade(
    path: &Path,
    connection: Connection,
    from: usize,
    read: impl FnOnce(Connection) -> Result<Opened, StoreError>,
) -> Result<Opened, StoreError> {
    schema::prepare(&connection)?;
    let copy = keep(path, &connection, from);
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let opened = in_one(connection, from, read).map_err(|error| match error {
        StoreError::Damaged(_) => error,
        other => StoreError::NotUpgraded {
            path: path.to_owned(),
            from,
            to: SCHEMA_VERSION,
            reason: other.reason(),
        },
    })?;
    let copy = copy.map(|copy| copy.display().to_string());
    tracing::info!(from, to = SCHEMA_VERSION, copy, "the store was brought up to date");
    Ok(opened)
}

/// Ends the transaction that the caller began. Where it fails, the connection is gone, and the transaction with it.
fn in_one(
    connection: Connection,
    from: usize,
    read: impl FnOnce(Connection) -> Result<Opened, StoreError>,
) -> Result<Opened, StoreError> {
    schema::climb(&connection, from)?;
    let opened = read(connection)?;
    let now = opened.ledger.timeline().now();
    opened
        .connection
        .execute("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", params![NOTE, format!("{from} {now}")])?;
    opened.connection.execute_batch("COMMIT")?;
    Ok(opened)
}

/// Keeps a copy, as told above; `None`: there is none, and the log says why.
fn keep(path: &Path, connection: &Connection, from: usize) -> Option<PathBuf> {
    let kept = room(path, connection).and_then(|()| copy(path, connection, from));
    match kept {
        Ok(name) => Some(name),
        Err(reason) => {
            tracing::warn!(
                from,
                reason,
                "no copy of the store is kept for the way back to the earlier version; it is to be brought up to date all the same"
            );
            None
        }
    }
}

/// Makes room as far as earlier copies take it.
fn room(path: &Path, connection: &Connection) -> Result<(), String> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
    let size = || Ok((pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?);
    let size: u64 = size().map_err(|error: rusqlite::Error| error.to_string())?;
    if is_enough(free_space(path), size) {
        return Ok(());
    }
    for (_, earlier) in copies(path) {
        remove(&earlier).map_err(|error| error.to_string())?;
    }
    let free = free_space(path);
    if is_enough(free, size) {
        return Ok(());
    }
    Err(format!(
        "{size} bytes twice, for the copy and for the upgrade, and {} are free",
        free.unwrap_or_default()
    ))
}

/// Whether there is room for a copy of `size` bytes, a log as large, and something else. A disk that does not say how
/// much it has is tried.
fn is_enough(free: Option<u64>, size: u64) -> bool {
    free.is_none_or(|free| free >= size.saturating_mul(2).saturating_add(SPARE))
}

fn copy(path: &Path, connection: &Connection, from: usize) -> Result<PathBuf, String> {
    let (name, unfinished) = (copy_of(path, from), beside(path, UNFINISHED));
    let written = write(connection, &unfinished).and_then(|()| {
        let placed = fs::rename(&unfinished, &name).and_then(|()| sync_directory(&name));
        placed.map_err(|error| error.to_string())
    });
    if let Err(error) = written {
        // Of a copy that is not whole nobody has anything; if it cannot be removed, the next one does it.
        let _ = remove_unfinished(&unfinished);
        return Err(error);
    }
    for (_, earlier) in copies(path).into_iter().filter(|(version, _)| *version != from) {
        if let Err(error) = remove(&earlier) {
            tracing::warn!(file = %earlier.display(), %error, "an earlier copy of the store cannot be removed");
        }
    }
    Ok(name)
}

/// Writes what the file has, its log included, into another one, and sees it to the disk.
fn write(connection: &Connection, unfinished: &Path) -> Result<(), String> {
    remove_unfinished(unfinished).and_then(|()| make(unfinished)).map_err(|error| error.to_string())?;
    let name = unfinished.to_str().ok_or("its name is no text")?;
    connection.execute("VACUUM INTO ?1", [name]).map_err(|error| error.to_string())?;
    File::open(unfinished).and_then(|file| file.sync_all()).map_err(|error| error.to_string())
}

/// What a start that was cut off has left. A journal without its file would be taken for the next one's.
fn remove_unfinished(unfinished: &Path) -> io::Result<()> {
    remove(&beside(unfinished, ITS_JOURNAL))?;
    remove(unfinished)
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A name is on the disk when its directory is.
fn sync_directory(file: &Path) -> io::Result<()> {
    let directory = file.parent().filter(|directory| !directory.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

fn copy_of(path: &Path, version: usize) -> PathBuf {
    beside(path, &format!("{COPY}{version}"))
}

/// The copies that lie there, the earliest version first.
fn copies(path: &Path) -> Vec<(usize, PathBuf)> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
    else {
        return Vec::new();
    };
    let start = format!("{name}{COPY}");
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some((name.strip_prefix(&start)?.parse().ok()?, entry.path()))
        })
        .collect();
    found.sort();
    found
}

/// The latest copy that this program can go on with.
pub(super) fn usable_copy(path: &Path) -> Option<PathBuf> {
    let usable = copies(path).into_iter().rfind(|(version, _)| *version <= SCHEMA_VERSION);
    usable.map(|(_, copy)| copy)
}

/// The copy from before the last upgrade, and when that was.
pub(super) struct Kept {
    file: PathBuf,
    since: Moment,
}

impl Kept {
    /// What the file says of its last upgrade, if the copy is still there.
    pub(super) fn find(connection: &Connection, path: &Path) -> Result<Option<Self>, StoreError> {
        let note: Option<String> = connection
            .query_row("SELECT value FROM meta WHERE name = ?1", [NOTE], |row| row.get(0))
            .optional()?;
        let words = note.as_deref().and_then(|note| note.split_once(' '));
        let said = words.and_then(|(from, since)| Some((from.parse().ok()?, since.parse().ok()?)));
        let kept = said.map(|(from, since)| Self { file: copy_of(path, from), since });
        Ok(kept.filter(|kept| kept.file.exists()))
    }

    /// Removes the copy when its time is over; called while nothing is wrong with the store.
    pub(super) fn unless_over(self, timeline: &Timeline) -> Option<Self> {
        let age = timeline.now().saturating_sub(self.since);
        if timeline.running() < RUN || age < millis(KEPT) {
            return Some(self);
        }
        let file = self.file.display();
        match remove(&self.file) {
            Ok(()) => {
                tracing::info!(%file, "the store's copy from before the last upgrade is removed: its time is over")
            }
            Err(error) => {
                tracing::warn!(%file, %error, "the store's copy from before the last upgrade cannot be removed")
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
