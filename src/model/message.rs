//! An application message, the same for MQTT 3.1.1 and MQTT 5.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Topic;

/// Quality of service (MQTT 5 section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum QoS {
    /// 0: at most once.
    AtMostOnce = 0,
    /// 1: at least once.
    AtLeastOnce = 1,
    /// 2: exactly once.
    ExactlyOnce = 2,
}

impl From<QoS> for u8 {
    fn from(qos: QoS) -> u8 {
        qos as u8
    }
}

impl TryFrom<u8> for QoS {
    type Error = &'static str;
    fn try_from(number: u8) -> Result<Self, Self::Error> {
        match number {
            0 => Ok(QoS::AtMostOnce),
            1 => Ok(QoS::AtLeastOnce),
            2 => Ok(QoS::ExactlyOnce),
            _ => Err("a QoS is 0, 1 or 2"),
        }
    }
}

/// What only MQTT 5 carries beside the payload (MQTT 5 section 3.3.2.3).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Properties {
    /// What was left of the message's life when it arrived, in whole seconds.
    pub expiry: Option<Duration>,
    /// Whether the payload is declared to be UTF-8 text.
    pub is_text: Option<bool>,
    /// The payload's content type, any text.
    pub content_type: Option<String>,
    /// Where an answer is wanted.
    pub response_topic: Option<String>,
    /// What an answer must carry back.
    pub correlation_data: Option<Bytes>,
    /// Name and value pairs, in the order sent, names may repeat.
    pub user: Vec<(String, String)>,
}

/// A message on its way: one allocation shared by all who hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it was published.
    pub topic: Topic,
    /// What it says.
    pub payload: Bytes,
    /// How surely it is to be delivered.
    pub qos: QoS,
    /// As published: "keep this as the last known good". As delivered: "this was kept".
    pub retain: bool,
    /// MQTT 5 properties; `None` when there are none, as always with 3.1.1.
    pub properties: Option<Arc<Properties>>,
}

impl Message {
    /// A message that is not retained and carries no properties.
    pub fn new(topic: Topic, payload: impl Into<Bytes>, qos: QoS) -> Self {
        Self { topic, payload: payload.into(), qos, retain: false, properties: None }
    }

    /// The same message, to be retained.
    #[must_use]
    pub fn retained(mut self) -> Self {
        self.retain = true;
        self
    }

    /// What it counts for in every byte-bounded queue: topic, payload and properties, in bytes.
    pub fn size(&self) -> usize {
        let properties = self.properties.as_ref().map_or(0, |properties| {
            properties.user.iter().map(|(name, value)| name.len() + value.len() + 4).sum::<usize>()
                + properties.content_type.as_ref().map_or(0, String::len)
                + properties.response_topic.as_ref().map_or(0, String::len)
                + properties.correlation_data.as_ref().map_or(0, Bytes::len)
        });
        self.topic.as_str().len() + self.payload.len() + properties
    }
}
