//! What the house remembers over a restart: the local broker's retained messages, and the last known
//! state of every device.

use std::collections::HashMap;

use rusqlite::params;

use super::{Durable, Store, StoreError, message, rows::readable, timeline::Moment};
use crate::model::{DeviceId, Fields, Message, Timestamp, Topic};

impl Store {
    /// Keeps a retained message, in place of the last one on its topic. Its expiry is what is left of it.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] here, the others from the [`Durable`].
    pub async fn put_retained(&self, message: Message) -> Result<Durable<()>, StoreError> {
        let asked = self.clock.uptime();
        self.write(message.size(), move |transaction, ledger| {
            transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO retained (topic, payload, qos, properties, expires_at, is_early)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute(params![
                    message.topic.as_str(),
                    &message.payload[..],
                    u8::from(message.qos),
                    message::properties_to_text(&message),
                    message::expires_at(&message, ledger.timeline().at(asked)),
                    ledger.is_early()
                ])?;
            Ok(())
        })
        .await
    }

    /// Forgets a topic's retained message.
    ///
    /// # Errors
    /// As [`Store::put_retained`].
    pub async fn delete_retained(&self, topic: Topic) -> Result<Durable<()>, StoreError> {
        self.write(topic.as_str().len(), move |transaction, _| {
            transaction.prepare_cached("DELETE FROM retained WHERE topic = ?1")?.execute([topic.as_str()])?;
            Ok(())
        })
        .await
    }

    /// Every retained message, with what is left of its life: zero when it is over.
    ///
    /// # Errors
    /// [`StoreError::Disk`] or `Stopped`.
    pub async fn retained(&self) -> Result<Vec<Message>, StoreError> {
        self.read_by(|connection, ledger| {
            let mut statement =
                connection.prepare("SELECT topic, payload, qos, properties, expires_at FROM retained")?;
            readable(statement.query([])?, "retained", |row| {
                let left = row.get::<_, Option<Moment>>(4)?.map(|end| ledger.left_until(end));
                Ok(message::aged(message::from_row(row, 0, true, 3)?, left))
            })
        })
        .await
    }

    /// Keeps a device's last known state.
    ///
    /// # Errors
    /// As [`Store::put_retained`].
    pub async fn put_state(
        &self,
        device: DeviceId,
        fields: Fields,
        taken_at: Timestamp,
    ) -> Result<Durable<()>, StoreError> {
        let text = serde_json::Value::Object(fields).to_string();
        self.write(text.len(), move |transaction, _| {
            transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO state (device, fields, taken_at) VALUES (?1, ?2, ?3)",
                )?
                .execute(params![device.as_str(), text, taken_at.as_millis()])?;
            Ok(())
        })
        .await
    }

    /// The last known state of every device.
    ///
    /// # Errors
    /// [`StoreError::Disk`] or `Stopped`.
    pub async fn states(&self) -> Result<HashMap<DeviceId, Fields>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare("SELECT device, fields FROM state")?;
            let states = readable(statement.query([])?, "state", |row| {
                let (device, fields): (String, String) = (row.get(0)?, row.get(1)?);
                Ok((
                    DeviceId::parse(&device).map_err(|error| StoreError::row(&device, error))?,
                    serde_json::from_str(&fields).map_err(|error| StoreError::row(&device, error))?,
                ))
            })?;
            Ok(states.into_iter().collect())
        })
        .await
    }
}
