//! What the local broker remembers of its clients over a restart: each persistent session's state,
//! which only the broker understands, and the messages that wait for it.
//!
//! Bounded by the broker, whose queues in memory these rows mirror.

use std::time::Duration;

use rusqlite::{Transaction, params};

use super::{Durable, Store, StoreError, message, rows::readable, timeline::Moment};
use crate::model::Message;

/// A session, as the broker wants it remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionState {
    /// Whatever the broker makes of it.
    pub bytes: Vec<u8>,
    /// What is left of its life while its client is absent; `None`: the client is connected.
    pub left: Option<Duration>,
}

/// A message that waits for a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaiting {
    /// Its place in the session, counted from 1.
    pub sequence: u64,
    /// What is to be delivered, with the QoS and the retain flag that it is delivered with, and the
    /// expiry that is left of it.
    pub message: Message,
    /// MQTT 5 subscription identifiers.
    pub identifiers: Vec<u32>,
    /// QoS 2: the client has it, and waits for PUBREL; the payload is no longer kept.
    pub is_released: bool,
}

/// What changes among the messages of one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AwaitingChange {
    /// It waits from now on; in place of what had its sequence.
    Put(Awaiting),
    /// QoS 2: the client has it, and waits for PUBREL.
    Released(u64),
    /// It is done with.
    Deleted(u64),
}

impl AwaitingChange {
    fn cost(&self) -> usize {
        match self {
            Self::Put(awaiting) => awaiting.message.size() + 64,
            Self::Released(_) | Self::Deleted(_) => 16,
        }
    }
}

impl Store {
    /// Keeps a session's state, and what has changed among its messages, in one transaction.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] here, the others from the [`Durable`].
    pub async fn put_session(
        &self,
        client: &str,
        state: Option<SessionState>,
        changes: Vec<AwaitingChange>,
    ) -> Result<Durable<()>, StoreError> {
        let client = client.to_owned();
        let cost = client.len()
            + state.as_ref().map_or(0, |state| state.bytes.len())
            + changes.iter().map(AwaitingChange::cost).sum::<usize>();
        let asked = self.clock.uptime();
        self.write(cost, move |transaction, ledger| {
            let (now, is_early) = (ledger.timeline().at(asked), ledger.is_early());
            if let Some(state) = state {
                transaction
                    .prepare_cached(
                        "INSERT OR REPLACE INTO session (client, state, ends_at, is_early)
                             VALUES (?1, ?2, ?3, ?4)",
                    )?
                    .execute(params![client, state.bytes, message::end_of(state.left, now), is_early])?;
            }
            for change in changes {
                match change {
                    AwaitingChange::Put(awaiting) => {
                        put(transaction, &client, &awaiting, (now, is_early))?;
                    }
                    AwaitingChange::Released(sequence) => {
                        transaction
                            .prepare_cached(
                                "UPDATE session_message SET is_released = 1, payload = x'', properties = NULL,
                                     expires_at = NULL
                                 WHERE client = ?1 AND sequence = ?2",
                            )?
                            .execute(params![client, sequence])?;
                    }
                    AwaitingChange::Deleted(sequence) => {
                        transaction
                            .prepare_cached(
                                "DELETE FROM session_message WHERE client = ?1 AND sequence = ?2",
                            )?
                            .execute(params![client, sequence])?;
                    }
                }
            }
            Ok(())
        })
        .await
    }

    /// Forgets a session and all that waited for it.
    ///
    /// # Errors
    /// As [`Store::put_session`].
    pub async fn delete_session(&self, client: &str) -> Result<Durable<()>, StoreError> {
        let client = client.to_owned();
        self.write(client.len(), move |transaction, _| {
            transaction.prepare_cached("DELETE FROM session WHERE client = ?1")?.execute([&client])?;
            transaction
                .prepare_cached("DELETE FROM session_message WHERE client = ?1")?
                .execute([&client])?;
            Ok(())
        })
        .await
    }

    /// Every session by its client id, with what is left of its life now.
    ///
    /// # Errors
    /// [`StoreError::Disk`] or `Stopped`.
    pub async fn sessions(&self) -> Result<Vec<(String, SessionState)>, StoreError> {
        self.read_by(|connection, ledger| {
            let mut statement = connection.prepare("SELECT client, state, ends_at FROM session")?;
            readable(statement.query([])?, "session", |row| {
                let left = row.get::<_, Option<Moment>>(2)?.map(|end| ledger.left_until(end));
                Ok((row.get(0)?, SessionState { bytes: row.get(1)?, left }))
            })
        })
        .await
    }

    /// What waits for a session, in order, with what is left of its life: zero when it is over.
    ///
    /// # Errors
    /// [`StoreError::Disk`], `Row` or `Stopped`.
    pub async fn awaiting(&self, client: &str) -> Result<Vec<Awaiting>, StoreError> {
        let client = client.to_owned();
        self.read_by(move |connection, ledger| {
            let mut statement = connection.prepare(
                "SELECT topic, payload, qos, properties, sequence, retain, identifiers, is_released, expires_at
                 FROM session_message WHERE client = ?1 ORDER BY sequence",
            )?;
            readable(statement.query([client])?, "session_message", |row| {
                let message = message::from_row(row, 0, row.get(5)?, 3)?;
                let left = row.get::<_, Option<Moment>>(8)?.map(|end| ledger.left_until(end));
                let message = message::aged(message, left);
                let identifiers = match row.get::<_, Option<String>>(6)? {
                    None => Vec::new(),
                    Some(text) => serde_json::from_str(&text)
                        .map_err(|error| StoreError::row(message.topic.as_str(), error))?,
                };
                Ok(Awaiting { sequence: row.get(4)?, message, identifiers, is_released: row.get(7)? })
            })
        })
        .await
    }
}

fn put(
    transaction: &Transaction<'_>,
    client: &str,
    awaiting: &Awaiting,
    (now, is_early): (Moment, bool),
) -> Result<(), StoreError> {
    let Awaiting { sequence, message, identifiers, is_released } = awaiting;
    // Serialising numbers cannot fail.
    let identifiers = if identifiers.is_empty() { None } else { serde_json::to_string(identifiers).ok() };
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO session_message
                 (client, sequence, topic, payload, qos, retain, properties, identifiers, is_released, expires_at,
                  is_early)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            client,
            sequence,
            message.topic.as_str(),
            &message.payload[..],
            u8::from(message.qos),
            message.retain,
            message::properties_to_text(message),
            identifiers,
            is_released,
            message::expires_at(message, now),
            is_early
        ])?;
    Ok(())
}
