//! Short texts of other rooms that are to be there again at the next start, such as the line's past.
//!
//! Owns when they are written: with what is written anyway, every [`EVERY`] at most, as the days of `flash`, so that
//! they cost a page now and then and no commit of their own; and once more when the store is closed, if the process lasts so
//! long. So a crash loses ten minutes of them in a house that says something, and in a quiet one what came since it last
//! did. Never looks into them. Bounded: one text a name, names stand in the program.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{Store, StoreError, timeline::Moment};

/// In milliseconds.
const EVERY: i64 = 600_000;

struct Note {
    text: String,
    is_on_disk: bool,
}

/// The texts; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Notes(Arc<Mutex<BTreeMap<&'static str, Note>>>);

/// The writer's side of them.
pub(super) struct Notebook {
    notes: Notes,
    written: Option<Moment>,
    /// In a transaction that is not committed yet.
    under_way: Vec<(&'static str, String)>,
}

impl Notes {
    fn all(&self) -> MutexGuard<'_, BTreeMap<&'static str, Note>> {
        // A note is replaced as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer's side.
    pub(super) fn book(&self) -> Notebook {
        Notebook { notes: self.clone(), written: None, under_way: Vec::new() }
    }
}

impl Notebook {
    /// Writes what is new, if it is time.
    pub(super) fn hold(&mut self, transaction: &Transaction<'_>, now: Moment) -> Result<(), StoreError> {
        if self.written.is_none_or(|written| now - written >= EVERY) {
            self.write(transaction)?;
            self.written = Some(now);
        }
        Ok(())
    }

    /// Writes what is new.
    pub(super) fn write(&mut self, connection: &Connection) -> Result<(), StoreError> {
        let fresh =
            |(name, note): (&&'static str, &Note)| (!note.is_on_disk).then(|| (*name, note.text.clone()));
        self.under_way = self.notes.all().iter().filter_map(fresh).collect();
        for (name, text) in &self.under_way {
            connection
                .prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?
                .execute(params![format!("note {name}"), text])?;
        }
        Ok(())
    }

    /// Whether what was written is on the disk.
    pub(super) fn settle(&mut self, is_committed: bool) {
        let under_way = std::mem::take(&mut self.under_way);
        if under_way.is_empty() {
            return;
        }
        if !is_committed {
            self.written = None;
            return;
        }
        let mut notes = self.notes.all();
        for (name, text) in under_way {
            if let Some(note) = notes.get_mut(name).filter(|note| note.text == text) {
                note.is_on_disk = true;
            }
        }
    }
}

impl Store {
    /// Keeps a text of some kilobytes at most for the next start, in place of the last one of this name. It is not
    /// durable at once.
    pub fn note(&self, name: &'static str, text: String) {
        let mut notes = self.notes.all();
        if notes.get(name).is_none_or(|note| note.text != text) {
            notes.insert(name, Note { text, is_on_disk: false });
        }
    }

    /// What an earlier run has kept under this name.
    ///
    /// # Errors
    /// [`StoreError::Disk`] or `Stopped`.
    pub async fn noted(&self, name: &'static str) -> Result<Option<String>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare("SELECT value FROM meta WHERE name = ?1")?;
            Ok(statement.query_row([format!("note {name}")], |row| row.get(0)).optional()?)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        clock::Clock,
        model::{Message, QoS, Timestamp, Topic},
        store::{Entry, StoreOptions},
    };

    async fn write_something(store: &Store) {
        let message = Message::new(Topic::parse("a").unwrap(), "b", QoS::AtLeastOnce);
        store.append(Entry::new(message)).await.unwrap().await.unwrap();
    }

    #[tokio::test]
    async fn a_note_goes_to_the_disk_with_other_things_every_ten_minutes_and_at_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
        let store = Store::open(&path, &StoreOptions::default(), clock.clone()).unwrap();
        store.note("line", "first".to_owned());
        assert_eq!(store.noted("line").await.unwrap(), None, "nothing is written for its sake");
        write_something(&store).await;
        assert_eq!(store.noted("line").await.unwrap().as_deref(), Some("first"));
        store.note("line", "second".to_owned());
        write_something(&store).await;
        assert_eq!(store.noted("line").await.unwrap().as_deref(), Some("first"), "too soon");
        clock.advance(Duration::from_secs(601));
        write_something(&store).await;
        assert_eq!(store.noted("line").await.unwrap().as_deref(), Some("second"));
        store.note("line", "third".to_owned());
        store.closed().await;
        let store = Store::open(&path, &StoreOptions::default(), clock).unwrap();
        assert_eq!(store.noted("line").await.unwrap().as_deref(), Some("third"));
        assert_eq!(store.noted("other").await.unwrap(), None);
    }
}
