//! How a message lies in a row: the one place for the outbox and the retained messages.

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::Row;

use super::StoreError;
use crate::model::{Message, QoS, Topic};

/// The MQTT 5 properties as JSON; `None` when there are none.
pub(super) fn properties_to_text(message: &Message) -> Option<String> {
    // Serialising strings, numbers and byte arrays cannot fail.
    message.properties.as_ref().and_then(|properties| serde_json::to_string(&**properties).ok())
}

/// Reads topic, payload and QoS from three columns beginning at `first`, and the properties.
pub(super) fn from_row(
    row: &Row<'_>,
    first: usize,
    retain: bool,
    properties: usize,
) -> Result<Message, StoreError> {
    let topic: String = row.get(first)?;
    let payload: Vec<u8> = row.get(first + 1)?;
    let qos: u8 = row.get(first + 2)?;
    let properties: Option<String> = row.get(properties)?;
    Ok(Message {
        topic: Topic::parse(&topic).map_err(|error| StoreError::row(&topic, error))?,
        payload: Bytes::from(payload),
        qos: QoS::try_from(qos).map_err(|error| StoreError::row(&topic, error))?,
        retain,
        properties: match properties {
            Some(text) => {
                Some(Arc::new(serde_json::from_str(&text).map_err(|error| StoreError::row(&topic, error))?))
            }
            None => None,
        },
    })
}
