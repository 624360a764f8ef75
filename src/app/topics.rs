//! The two trees of topics: at home below `home/`, in the cloud below `<prefix>/<gateway>/`.
//!
//! The shape is zigbee2mqtt's, so that people find their way. Both trees are built from parsed ids,
//! so every topic here is valid.

use crate::model::{DeviceId, GatewayId, Topic, TopicError, TopicFilter};

const SET: &str = "set";
const AVAILABILITY: &str = "availability";
const RESULT: &str = "result";
const ABOUT: &str = "about";
const BRIDGE: &str = "bridge";

/// A tree of device topics below one root.
#[derive(Debug, Clone)]
struct Tree(Topic);

impl Tree {
    fn device(&self, device: &DeviceId) -> Topic {
        self.below(device.as_str())
    }

    fn of_device(&self, device: &DeviceId, what: &str) -> Topic {
        self.below(&format!("{device}/{what}"))
    }

    fn below(&self, path: &str) -> Topic {
        // The root was checked to leave room for the longest path of the tree.
        self.0.join(path).expect("ids have no wildcards and the root leaves room")
    }

    fn all_below(&self, path: &str) -> TopicFilter {
        TopicFilter::parse(&format!("{}/{path}/#", self.0)).expect("a topic and good levels")
    }

    fn sets(&self) -> TopicFilter {
        self.filter(&format!("+/{SET}"))
    }

    fn filter(&self, below: &str) -> TopicFilter {
        TopicFilter::parse(&format!("{}/{below}", self.0)).expect("a topic and good levels")
    }

    /// The device that a `…/<device>/set` topic of this tree names, and the sender that `…/<device>/set/<sender>`
    /// names, as text.
    fn command<'a>(&self, topic: &'a Topic) -> Option<(&'a str, Option<&'a str>)> {
        let below = topic.as_str().strip_prefix(self.0.as_str())?.strip_prefix('/')?;
        let mut levels = below.split('/');
        let (device, set, sender) = (levels.next()?, levels.next()?, levels.next());
        (set == SET && device != BRIDGE && levels.next().is_none()).then_some((device, sender))
    }

    /// The device that a `…/<device>/set` topic of this tree names, as text.
    fn device_of_set<'a>(&self, topic: &'a Topic) -> Option<&'a str> {
        let device = topic
            .as_str()
            .strip_prefix(self.0.as_str())?
            .strip_prefix('/')?
            .strip_suffix(SET)?
            .strip_suffix('/')?;
        (!device.contains('/')).then_some(device)
    }
}

macro_rules! device_topics {
    () => {
        /// A device's state, retained.
        pub fn state(&self, device: &DeviceId) -> Topic {
            self.0.device(device)
        }

        /// Whether a device can be reached, retained.
        pub fn availability(&self, device: &DeviceId) -> Topic {
            self.0.of_device(device, AVAILABILITY)
        }

        /// Where a device is told what to do.
        pub fn set(&self, device: &DeviceId) -> Topic {
            self.0.of_device(device, SET)
        }

        /// What became of a command.
        pub fn result(&self, device: &DeviceId) -> Topic {
            self.0.of_device(device, RESULT)
        }

        /// Whether the gateway is there: `online` or `offline`, retained.
        pub fn bridge_state(&self) -> Topic {
            self.0.below("bridge/state")
        }

        /// The gateway's own certificate for the cloud and how near its end is: JSON, retained.
        pub fn certificate(&self) -> Topic {
            self.0.below("bridge/certificate")
        }

        /// All that is the gateway's own beside its devices.
        pub fn bridge(&self) -> TopicFilter {
            self.0.all_below(BRIDGE)
        }

        /// Every device's commands.
        pub fn sets(&self) -> TopicFilter {
            self.0.sets()
        }

        /// The device that a command's topic names, as text; `None` when it is no command's topic.
        pub fn device_of_set<'a>(&self, topic: &'a Topic) -> Option<&'a str> {
            self.0.device_of_set(topic).filter(|device| *device != BRIDGE)
        }
    };
}

/// The topics at home.
#[derive(Debug, Clone)]
pub struct LocalTopics(Tree);

impl Default for LocalTopics {
    fn default() -> Self {
        Self(Tree(Topic::parse("home").expect("a plain word")))
    }
}

impl LocalTopics {
    device_topics!();

    /// How the gateway itself fares: JSON, retained.
    pub fn health(&self) -> Topic {
        self.0.below("bridge/health")
    }

    /// Where receipts of messages for the cloud are told.
    pub fn message_receipts(&self) -> Topic {
        self.0.below("bridge/receipt/message")
    }

    /// Where receipts of commands are told.
    pub fn command_receipts(&self) -> Topic {
        self.0.below("bridge/receipt/command")
    }
}

/// The topics in the cloud.
#[derive(Debug, Clone)]
pub struct CloudTopics(Tree);

impl CloudTopics {
    /// The tree of `gateway` below `prefix`.
    ///
    /// # Errors
    /// [`TopicError::TooLong`] when the prefix leaves no room for the longest topic of the tree.
    pub fn new(prefix: &Topic, gateway: &GatewayId) -> Result<Self, TopicError> {
        let root = prefix.join(gateway.as_str())?;
        root.join(&"x".repeat(96))?;
        Ok(Self(Tree(root)))
    }

    device_topics!();

    /// What a device is and what may be set from the cloud: JSON, retained.
    pub fn about(&self, device: &DeviceId) -> Topic {
        self.0.of_device(device, ABOUT)
    }

    /// Every device's commands whose topic ends in the sender's name.
    pub fn sets_of_senders(&self) -> TopicFilter {
        self.0.filter(&format!("+/{SET}/+"))
    }

    /// Every command, with and without a sender: what must never be published by ourselves.
    pub fn all_sets(&self) -> TopicFilter {
        self.0.filter(&format!("+/{SET}/#"))
    }

    /// The device that a command's topic names and, where it ends in one, the sender, as text; `None` when it is
    /// no command's topic.
    pub fn command<'a>(&self, topic: &'a Topic) -> Option<(&'a str, Option<&'a str>)> {
        self.0.command(topic)
    }

    /// Whether an answer may go to this topic, which a sender chose: it is nobody's command, and none on which the
    /// gateway speaks of itself and its devices. A sender may do less in the cloud than the gateway may.
    pub fn may_be_answered_on(&self, topic: &Topic) -> bool {
        let root = self.0.0.as_str();
        let above = root.rsplit_once('/').map_or(String::new(), |(above, _)| format!("{above}/"));
        let of_all = |below: &str| TopicFilter::parse(&format!("{above}+/{below}"));
        let ours = |below: &str| TopicFilter::parse(&format!("{root}/{below}"));
        let closed =
            [of_all("+/set/#"), ours("+"), ours("+/availability"), ours("+/about"), ours("bridge/#")];
        !topic.is_reserved() && !closed.into_iter().flatten().any(|closed| closed.matches(topic))
    }

    /// The topic whose echo tells that everything that waited has been delivered.
    pub fn fence(&self) -> Topic {
        self.0.below("bridge/fence")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_topic_names_its_device_and_nothing_else_does() {
        let gateway = GatewayId::parse("g").unwrap();
        let cloud = CloudTopics::new(&Topic::parse("a/b").unwrap(), &gateway).unwrap();
        for (topic, expected) in [
            ("a/b/g/toaster/set", Some("toaster")),
            ("a/b/g/öl heizung/set", Some("öl heizung")),
            ("a/b/g/toaster", None),
            ("a/b/g/toaster/x/set", None),
            ("a/b/gg/toaster/set", None),
            ("a/b/g/bridge/set", None),
            ("a/b/g/set", None),
        ] {
            assert_eq!(cloud.device_of_set(&Topic::parse(topic).unwrap()), expected, "{topic}");
        }
        assert!(cloud.sets().matches(&Topic::parse("a/b/g/toaster/set").unwrap()));
    }

    #[test]
    fn the_level_behind_set_is_the_sender_and_nothing_deeper_is_a_command() {
        let gateway = GatewayId::parse("g").unwrap();
        let cloud = CloudTopics::new(&Topic::parse("a/b").unwrap(), &gateway).unwrap();
        for (topic, expected) in [
            ("a/b/g/toaster/set", Some(("toaster", None))),
            ("a/b/g/toaster/set/anna", Some(("toaster", Some("anna")))),
            ("a/b/g/toaster/set/", Some(("toaster", Some("")))),
            ("a/b/g/toaster/set/anna/x", None),
            ("a/b/g/toaster/get/anna", None),
            ("a/b/g/bridge/set/anna", None),
            ("a/b/gg/toaster/set/anna", None),
            ("a/b/g/toaster", None),
        ] {
            let topic = Topic::parse(topic).unwrap();
            assert_eq!(cloud.command(&topic), expected, "{topic}");
            let is_for_us = cloud.sets().matches(&topic) || cloud.sets_of_senders().matches(&topic);
            assert!(expected.is_none() || is_for_us, "{topic}");
            assert!(expected.is_none() || cloud.all_sets().matches(&topic), "{topic}");
        }
    }

    #[test]
    fn an_answer_is_no_command_and_not_the_gateways_own_word_whatever_topic_the_sender_chose() {
        let gateway = GatewayId::parse("g").unwrap();
        let cloud = CloudTopics::new(&Topic::parse("a/b").unwrap(), &gateway).unwrap();
        for (topic, expected) in [
            ("a/b/g/toaster/set", false),
            ("a/b/g/toaster/set/anna", false),
            ("a/b/other/lamp/set", false),
            ("a/b/g/toaster", false),
            ("a/b/g/toaster/availability", false),
            ("a/b/g/bridge/state", false),
            ("a/b/g/bridge/fence", false),
            ("$aws/things/x/shadow/update", false),
            ("a/b/g/phones/anna", true),
            ("a/b/g/toaster/result", true),
            ("phones/anna", true),
        ] {
            assert_eq!(cloud.may_be_answered_on(&Topic::parse(topic).unwrap()), expected, "{topic}");
        }
    }

    #[test]
    fn a_prefix_that_leaves_no_room_is_refused() {
        let gateway = GatewayId::parse("g").unwrap();
        let long = Topic::parse(&"p".repeat(65_500)).unwrap();
        assert!(matches!(CloudTopics::new(&long, &gateway), Err(TopicError::TooLong(_))));
    }
}
