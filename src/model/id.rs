//! Names of gateways, devices, clients, messages and commands, parsed once.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// A gateway or device id that would not survive as one topic level.
    #[error("`{0}` is not an id: use 1 to 64 of a-z, A-Z, 0-9, `_` and `-`")]
    NotALevel(String),
    /// A command id that is empty, too long or not printable.
    #[error("a command id has 1 to 128 printable characters without spaces")]
    NotACommandId,
    /// A sender that cannot be one level of a topic.
    #[error(
        "`{0}` cannot be the sender of a command\na sender is one level of a topic: 1 to 128 characters without `/`, `+` and `#`"
    )]
    NotASender(String),
}

fn is_level(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

macro_rules! level_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses an id: 1 to 64 of `a-z`, `A-Z`, `0-9`, `_`, `-`, so that it is one topic level.
            ///
            /// # Errors
            /// [`IdError::NotALevel`] with the text.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                if is_level(text) { Ok(Self(text.into())) } else { Err(IdError::NotALevel(text.to_owned())) }
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }
    };
}

level_id!(
    /// The gateway's name: the level below the prefix in every cloud topic.
    GatewayId
);
level_id!(
    /// A device's name: the level below `home/` locally, below the gateway in the cloud.
    DeviceId
);

/// A command's name, chosen by whoever sends it; the same id is the same command.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommandId(Arc<str>);

impl CommandId {
    /// Parses a command id: 1 to 128 printable characters without spaces.
    ///
    /// # Errors
    /// [`IdError::NotACommandId`].
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let printable = |c: char| !c.is_control() && !c.is_whitespace();
        if (1..=128).contains(&text.chars().count()) && text.chars().all(printable) {
            Ok(Self(text.into()))
        } else {
            Err(IdError::NotACommandId)
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for CommandId {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        Self::parse(&text)
    }
}

impl From<CommandId> for String {
    fn from(id: CommandId) -> Self {
        id.0.as_ref().to_owned()
    }
}

/// Who sent a command from the cloud: the level behind `set` in its topic, which the cloud's permissions vouch for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sender(Arc<str>);

impl Sender {
    /// Parses a name: 1 to 128 characters that fit into one topic level, none of them a control character.
    ///
    /// # Errors
    /// [`IdError::NotASender`] with the text.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let fits = |c: char| !c.is_control() && !matches!(c, '/' | '+' | '#');
        if (1..=128).contains(&text.chars().count()) && text.chars().all(fits) {
            Ok(Self(text.into()))
        } else {
            Err(IdError::NotASender(text.chars().take(128).collect()))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Sender {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        Self::parse(&text)
    }
}

impl From<Sender> for String {
    fn from(sender: Sender) -> Self {
        sender.0.as_ref().to_owned()
    }
}

/// A client id of the local broker: any text that MQTT allows, `/`, `+`, `#` and `$` included.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(Arc<str>);

impl ClientId {
    /// Takes the text of a CONNECT packet, which the packet codec has checked.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The stable name of a message in the outbox, `<store>-<sequence>`: the same on every re-send, so
/// that a consumer can drop a duplicate (what is sent again has a packet id of its own, and no DUP).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MessageId(Arc<str>);

impl MessageId {
    /// The id of record `sequence` in the store whose random name is `store`.
    pub fn new(store: &str, sequence: u64) -> Self {
        Self(format!("{store}-{sequence}").into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_would_break_a_topic_are_refused() {
        for bad in ["", "a/b", "a+", "#", "a b", "ö", &"x".repeat(65)] {
            assert!(DeviceId::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(DeviceId::parse("toaster-1_A").unwrap().as_str(), "toaster-1_A");
    }

    #[test]
    fn command_ids_are_printable_and_bounded() {
        for bad in ["", "a b", "a\n", &"x".repeat(129)] {
            assert!(CommandId::parse(bad).is_err(), "{bad}");
        }
        assert!(CommandId::parse("7f3c-öl/42").is_ok());
    }

    #[test]
    fn a_sender_is_one_level_of_a_topic() {
        for bad in ["", "a/b", "+", "a#", "a\nb", &"x".repeat(129)] {
            assert!(Sender::parse(bad).is_err(), "{bad}");
        }
        assert!(Sender::parse("anna@example.org").is_ok() && Sender::parse("Annas Handy").is_ok());
    }
}
