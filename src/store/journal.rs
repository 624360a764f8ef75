//! The command journal: a command's id is durable here before it runs, its outcome before it is told.
//! Neither waits for the floor between commits: a person has pressed a button.

use rusqlite::{Transaction, params};

use super::{
    Durable, Entry, Store, StoreError,
    ledger::{Ledger, Room},
    outbox,
    rows::readable,
};
use crate::model::{CommandId, DeviceId, Outcome, Timestamp};

/// What the journal knew of an id when a command with it wanted to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// Nothing: it is written down now, and may run.
    Fresh,
    /// It was begun and has no outcome yet.
    Running,
    /// It has an outcome.
    Finished(Outcome),
}

impl Store {
    /// Writes down that a command begins, unless its id is known for this device. Returns when that is on the disk.
    ///
    /// # Errors
    /// [`StoreError`]: the command must not run.
    pub async fn begin(&self, id: &CommandId, device: &DeviceId, at: Timestamp) -> Result<Begun, StoreError> {
        let (id, device) = (id.clone(), device.clone());
        let cost = id.as_str().len();
        let work = move |transaction: &Transaction<'_>, ledger: &mut Ledger| {
            // Writing first: SQLite waits for somebody else's lock only before it has read anything.
            let fresh = transaction
                .prepare_cached(
                    "INSERT INTO journal (id, device, begun_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                )?
                .execute(params![id.as_str(), device.as_str(), at.as_millis()])?;
            if fresh == 1 {
                ledger.journal_grew();
                return Ok(Begun::Fresh);
            }
            let outcome: Option<String> = transaction
                .prepare_cached("SELECT outcome FROM journal WHERE device = ?1 AND id = ?2")?
                .query_row([device.as_str(), id.as_str()], |row| row.get(0))?;
            match outcome {
                None => Ok(Begun::Running),
                Some(outcome) => serde_json::from_str(&outcome)
                    .map(Begun::Finished)
                    .map_err(|error| StoreError::row(id.as_str(), error)),
            }
        };
        self.write_at_once(cost, work, |_| {}).await?.await
    }

    /// Writes down an outcome and, in the same transaction, what the cloud is told. The first
    /// outcome of an id stays; a later one is told but not written down. An outcome is told even when
    /// the outbox is full and its policy is to refuse new messages: the oldest give way. Resolves with the
    /// sequences of what the cloud is told.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] here, the others from the [`Durable`].
    pub async fn finish(
        &self,
        outcome: Outcome,
        told: Vec<Entry>,
    ) -> Result<Durable<Vec<Option<u64>>>, StoreError> {
        let cost = told.iter().map(|entry| entry.message.size()).sum();
        let spooled = self.spooled(&told);
        let work = move |transaction: &Transaction<'_>, ledger: &mut Ledger| {
            let text = serde_json::to_string(&outcome)
                .map_err(|error| StoreError::row(outcome.id.as_str(), error))?;
            let begun = transaction
                .prepare_cached(
                    "UPDATE journal SET outcome = coalesce(outcome, ?3) WHERE device = ?1 AND id = ?2",
                )?
                .execute(params![outcome.device.as_str(), outcome.id.as_str(), text])?;
            if begun == 0 {
                transaction
                    .prepare_cached(
                        "INSERT INTO journal (id, device, begun_at, outcome) VALUES (?1, ?2, ?3, ?4)",
                    )?
                    .execute(params![
                        outcome.id.as_str(),
                        outcome.device.as_str(),
                        outcome.at.as_millis(),
                        text
                    ])?;
                ledger.journal_grew();
            }
            told.iter().map(|entry| outbox::insert(transaction, ledger, entry, Room::Reserved)).collect()
        };
        self.write_at_once(cost, work, move |sequences: &Vec<Option<u64>>| spooled(sequences)).await
    }

    /// Takes back that a command begins, unless it has an outcome: it was not to run, or not to be remembered,
    /// before the disk said that it was.
    ///
    /// # Errors
    /// [`StoreError`]: the next start reports the command as interrupted.
    pub async fn withdraw(&self, id: &CommandId, device: &DeviceId) -> Result<(), StoreError> {
        let (id, device) = (id.clone(), device.clone());
        let cost = id.as_str().len();
        let work = move |transaction: &Transaction<'_>, ledger: &mut Ledger| {
            let gone = transaction
                .prepare_cached("DELETE FROM journal WHERE device = ?1 AND id = ?2 AND outcome IS NULL")?
                .execute([device.as_str(), id.as_str()])?;
            ledger.journal_shrank(gone as u64);
            Ok(())
        };
        self.write_at_once(cost, work, |()| {}).await?.await
    }

    /// Commands that were begun before the last stop or crash and have no outcome: to be reported
    /// as `unknown`, never to be run again.
    ///
    /// # Errors
    /// [`StoreError::Disk`] or `Stopped`.
    pub async fn interrupted(&self) -> Result<Vec<(CommandId, DeviceId)>, StoreError> {
        self.read(|connection| {
            let mut statement = connection
                .prepare("SELECT id, device FROM journal WHERE outcome IS NULL ORDER BY begun_at")?;
            readable(statement.query([])?, "journal", |row| {
                let (id, device): (String, String) = (row.get(0)?, row.get(1)?);
                Ok((
                    CommandId::parse(&id).map_err(|error| StoreError::row(&id, error))?,
                    DeviceId::parse(&device).map_err(|error| StoreError::row(&id, error))?,
                ))
            })
        })
        .await
    }
}
