//! How a message lies in a row: the one place for the outbox, retained messages and sessions.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use rusqlite::Row;

use super::{StoreError, timeline::Moment};
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

/// When a life ends of which this is left now.
pub(super) fn end_of(left: Option<Duration>, now: Moment) -> Option<Moment> {
    now.checked_add(i64::try_from(left?.as_millis()).ok()?)
}

/// When a message's life ends, which has as much left of it as its expiry says now.
pub(super) fn expires_at(message: &Message, now: Moment) -> Option<Moment> {
    end_of(message.properties.as_ref()?.expiry, now)
}

/// The message with what is `left` of its life, perhaps nothing. A run whose time is not known yet gives no message
/// more life than it had when it was written.
pub(super) fn aged(mut message: Message, left: Option<Duration>) -> Message {
    if let Some(properties) = message.properties.as_mut()
        && let (Some(written), Some(left)) = (properties.expiry, left)
    {
        Arc::make_mut(properties).expiry = Some(written.min(left));
    }
    message
}
