//! Topic aliases: a number in place of a topic, agreed on by the packets themselves (section 3.3.2.3.4).
//!
//! Owns the two tables of one connection. Never outlives it (MQTT-3.3.2-7). Invariants: an alias is 1 to
//! the maximum of who reads it; a table takes memory only once it is used, and at most [`BYTES`].

use std::collections::HashMap;

use super::{PacketError, Reason};
use crate::model::Topic;

/// Aliases in one direction of a connection; what CONNACK offers.
pub(in crate::broker) const ALIASES: u16 = 32;

/// What the topics behind one table may have, in bytes: a client could otherwise keep two megabytes of
/// topics here without ever being heard of again.
const BYTES: usize = 8 << 10;

/// The aliases that a client has made for what it publishes.
#[derive(Debug)]
pub(in crate::broker) struct TheirAliases {
    /// That of alias 1 comes first.
    topics: Vec<Option<Topic>>,
    bytes: usize,
    maximum: u16,
}

impl TheirAliases {
    /// `maximum` is what CONNACK says; zero for clients that know no aliases.
    pub(in crate::broker) fn new(maximum: u16) -> Self {
        Self { topics: Vec::new(), bytes: 0, maximum }
    }

    /// The topic of a PUBLISH with this alias; a topic that it names is what the alias means from now on.
    pub(super) fn resolve(&mut self, alias: u16, named: Option<Topic>) -> Result<Topic, PacketError> {
        if alias == 0 || alias > self.maximum {
            let rule = "a topic alias is 1 to the Topic Alias Maximum of CONNACK (MQTT-3.3.2-8, -9)";
            return Err(PacketError { reason: Reason::TopicAliasInvalid, rule });
        }
        let index = usize::from(alias) - 1;
        let Some(topic) = named else {
            let known = self.topics.get(index).cloned().flatten();
            return known.ok_or(PacketError::protocol("a topic alias that means nothing yet (3.3.2.3.4)"));
        };
        if self.topics.len() <= index {
            self.topics.resize(index + 1, None);
        }
        let size = |topic: &Topic| topic.as_str().len();
        let old = self.topics[index].as_ref().map_or(0, size);
        let bytes = self.bytes - old + size(&topic);
        if bytes > BYTES {
            let rule = "the topics behind a client's aliases have 8 KiB at most";
            return Err(PacketError { reason: Reason::QuotaExceeded, rule });
        }
        self.bytes = bytes;
        self.topics[index] = Some(topic.clone());
        Ok(topic)
    }
}

/// The aliases that we have made for what a client is sent: first come, first served. Nothing is ever
/// pushed out: a house's chatty topics are few, and an alias that changes hands saves nothing.
#[derive(Debug)]
pub(super) struct OurAliases {
    numbers: HashMap<Topic, u16>,
    maximum: u16,
}

/// How a topic is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    /// As it is.
    Plain,
    /// As it is, with the alias that it has from then on.
    New(u16),
    /// As its alias alone.
    Known(u16),
}

/// Shorter topics are not worth an alias, which takes three bytes.
const WORTH_IT: usize = 4;

impl OurAliases {
    /// `maximum` is what CONNECT says.
    pub(super) fn new(maximum: u16) -> Self {
        Self { numbers: HashMap::new(), maximum: maximum.min(ALIASES) }
    }

    /// How this topic is to be written; [`OurAliases::give`] makes a new alias known.
    pub(super) fn name(&self, topic: &Topic) -> Name {
        let length = topic.as_str().len();
        if self.maximum == 0 || !(WORTH_IT..=BYTES / usize::from(ALIASES)).contains(&length) {
            return Name::Plain;
        }
        match self.numbers.get(topic) {
            Some(number) => Name::Known(*number),
            // At most 32 there are.
            None if self.numbers.len() < usize::from(self.maximum) => {
                Name::New(self.numbers.len() as u16 + 1)
            }
            None => Name::Plain,
        }
    }

    /// The client was told that this is the topic's alias.
    pub(super) fn give(&mut self, topic: &Topic, number: u16) {
        self.numbers.insert(topic.clone(), number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(text: &str) -> Topic {
        Topic::parse(text).unwrap()
    }

    #[test]
    fn an_alias_means_what_it_was_last_given_to_and_nothing_beyond_its_bounds() {
        let mut aliases = TheirAliases::new(2);
        let mut resolve = |alias, named: Option<&str>| {
            let resolved = aliases.resolve(alias, named.map(topic));
            resolved.map(|topic| topic.as_str().to_owned()).map_err(|error| error.reason)
        };
        assert_eq!(resolve(1, None), Err(Reason::ProtocolError));
        assert_eq!(resolve(2, Some("a")).as_deref(), Ok("a"));
        assert_eq!(resolve(2, None).as_deref(), Ok("a"));
        assert_eq!(resolve(1, None), Err(Reason::ProtocolError));
        assert_eq!(resolve(2, Some("b")).as_deref(), Ok("b"));
        assert_eq!(resolve(2, None).as_deref(), Ok("b"));
        assert_eq!(resolve(0, Some("a")), Err(Reason::TopicAliasInvalid));
        assert_eq!(resolve(3, Some("a")), Err(Reason::TopicAliasInvalid));
        assert_eq!(
            TheirAliases::new(0).resolve(1, None).map_err(|e| e.reason),
            Err(Reason::TopicAliasInvalid)
        );
    }

    #[test]
    fn the_topics_behind_aliases_are_bounded_in_bytes() {
        let mut aliases = TheirAliases::new(ALIASES);
        let long = "x".repeat(5_000);
        assert!(aliases.resolve(1, Some(topic(&long))).is_ok());
        assert!(aliases.resolve(1, Some(topic(&long))).is_ok(), "in place of itself");
        let refused = aliases.resolve(2, Some(topic(&long)));
        assert_eq!(refused.map_err(|error| error.reason), Err(Reason::QuotaExceeded));
        assert_eq!(OurAliases::new(9).name(&topic(&long)), Name::Plain);
    }

    #[test]
    fn our_aliases_go_to_the_first_that_come() {
        let mut aliases = OurAliases::new(1);
        assert_eq!(aliases.name(&topic("abc")), Name::Plain, "as short as an alias");
        assert_eq!(aliases.name(&topic("a/long/topic")), Name::New(1));
        aliases.give(&topic("a/long/topic"), 1);
        assert_eq!(aliases.name(&topic("a/long/topic")), Name::Known(1));
        assert_eq!(aliases.name(&topic("another/topic")), Name::Plain);
        assert_eq!(OurAliases::new(0).name(&topic("a/long/topic")), Name::Plain);
    }
}
