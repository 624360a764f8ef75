//! What the tests and the programs that they drive say to each other: one JSON object a line.
//!
//! An order is answered by one piece of news with its number; messages come in between, in the order in which
//! the client's library gave them out. Bytes are written in hexadecimal. Nobody but the tests judges.

use serde::{Deserialize, Serialize};

/// What one client is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    pub n: u64,
    /// The name of the client within its program; `connect` makes it.
    pub client: String,
    #[serde(flatten)]
    pub task: Task,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Task {
    /// Answered with CONNACK's code.
    Connect(Login),
    /// Answered with what SUBACK grants.
    Subscribe(Subscription),
    Unsubscribe {
        filter: String,
    },
    /// Answered when it was acknowledged; with QoS 0, when it was sent.
    Publish(Post),
    /// Publishes the numbers from 0 to `count` - 1, as many at a time as the library likes.
    Burst {
        topic: String,
        qos: u8,
        count: usize,
    },
    /// Says goodbye; answered when the connection is closed.
    Disconnect,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    Tcp,
    Tls,
    Ws,
    Wss,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Login {
    pub transport: Transport,
    pub port: u16,
    /// PEM, for TLS.
    pub ca: String,
    /// 3 is MQTT 3.1, 4 is 3.1.1, 5 is 5.
    pub version: u8,
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    pub clean: bool,
    /// MQTT 5 only, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_expiry: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub will: Option<Post>,
}

/// All but filter and QoS are for MQTT 5.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Subscription {
    pub filter: String,
    pub qos: u8,
    pub no_local: bool,
    pub retain_as_published: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identifier: Option<u32>,
}

/// A message to publish.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Post {
    pub topic: String,
    #[serde(with = "hex")]
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
    pub properties: Properties,
}

/// A message that came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub topic: String,
    #[serde(with = "hex")]
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
    pub properties: Properties,
}

/// The properties of MQTT 5; before, there are none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Properties {
    pub user: Vec<(String, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_topic: Option<String>,
    /// In hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiry: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<u8>,
    /// Of the subscriptions by which it came.
    pub identifiers: Vec<u32>,
}

/// What a program says.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct News {
    /// The number of the order that this answers.
    pub n: Option<u64>,
    /// Why the order could not be followed.
    pub failed: Option<String>,
    pub code: Option<u8>,
    pub session_present: Option<bool>,
    /// Who got `message`.
    pub client: Option<String>,
    pub message: Option<Message>,
}

impl Message {
    /// The payload as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }
}

pub mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn encode(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub fn decode(text: &str) -> Option<Vec<u8>> {
        let pairs = text.as_bytes().chunks(2);
        pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
    }

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        decode(&text).ok_or_else(|| D::Error::custom("not hexadecimal"))
    }
}
