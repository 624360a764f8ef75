//! How the gateway and its devices are called in the cloud, and what is said there: our own tree, or ThingsBoard's.
//!
//! Holds names only. One place where the two differ, so that no flow asks which it is.

use std::sync::Arc;

use serde_json::Value;

use super::{CloudTopics, thingsboard, translate};
use crate::{
    commands::Tell,
    config::Tree,
    model::{Availability, DeviceId, Fields, Message, QoS, Timestamp, Topic, TopicFilter},
    store::Entry,
};

/// The tree of one gateway.
#[derive(Clone)]
pub(super) enum CloudTree {
    /// `<prefix>/<gateway>/…`.
    Own(CloudTopics),
    /// `v1/gateway/…`.
    ThingsBoard,
}

/// What a message from the cloud is.
pub(super) enum FromTree {
    /// A command to the device of this name, from the sender of this name.
    Command { device: String, sender: Option<String>, message: Message },
    /// It has no meaning in the tree: a route may want it.
    Other(Message),
    /// What the gateway said itself.
    Echo,
}

impl CloudTree {
    pub(super) fn new(tree: Tree, topics: CloudTopics) -> Self {
        match tree {
            Tree::Own => Self::Own(topics),
            Tree::ThingsBoard => Self::ThingsBoard,
        }
    }

    /// A device's state, or what happened at it; `stamp` is the member in which the store says when.
    pub(super) fn reading(
        &self,
        device: &DeviceId,
        fields: &Fields,
        taken_at: Timestamp,
        stamp: &'static str,
    ) -> Entry {
        match self {
            Self::Own(topics) => {
                let payload = translate::json(fields.clone());
                let message = Message::new(topics.state(device), payload, QoS::AtLeastOnce);
                // It may be sent hours later, by a clock that was set meanwhile.
                Entry { stamp: Some(stamp), ..Entry::new(message) }
            }
            Self::ThingsBoard => Entry::new(thingsboard::telemetry(device, fields, taken_at)),
        }
    }

    /// Whether a device can be reached.
    pub(super) fn availability(&self, device: &DeviceId, availability: Availability) -> Entry {
        Entry::new(match self {
            Self::Own(topics) => {
                Message::new(topics.availability(device), availability.as_str(), QoS::AtLeastOnce).retained()
            }
            Self::ThingsBoard => thingsboard::availability(device, availability),
        })
    }

    /// What a device is, where the cloud has a place for that.
    pub(super) fn about(&self, device: &DeviceId, describe: impl FnOnce() -> Value) -> Option<Entry> {
        match self {
            Self::Own(topics) => {
                let payload = describe().to_string();
                Some(Entry::new(Message::new(topics.about(device), payload, QoS::AtLeastOnce).retained()))
            }
            Self::ThingsBoard => None,
        }
    }

    /// Clears what the cloud keeps of a device that there is not any more; `lane` is that of states.
    pub(super) fn nothing_of(&self, device: &DeviceId, lane: Option<usize>) -> Vec<Entry> {
        let nothing = |topic| Entry::new(Message::new(topic, "", QoS::AtLeastOnce).retained());
        match self {
            Self::Own(topics) => vec![
                // In line behind the last state.
                Entry { lane, ..nothing(topics.state(device)) },
                nothing(topics.availability(device)),
                nothing(topics.about(device)),
            ],
            // It keeps no messages.
            Self::ThingsBoard => Vec::new(),
        }
    }

    /// Whether the gateway is there.
    pub(super) fn presence(&self, availability: Availability) -> Message {
        match self {
            Self::Own(topics) => {
                Message::new(topics.bridge_state(), availability.as_str(), QoS::AtLeastOnce).retained()
            }
            Self::ThingsBoard => thingsboard::presence(availability),
        }
    }

    /// Where the cloud is told how long the gateway's certificate still holds; `None` where it has no place for that.
    pub(super) fn certificate(&self) -> Option<Topic> {
        match self {
            Self::Own(topics) => Some(topics.certificate()),
            Self::ThingsBoard => None,
        }
    }

    /// What is said of a device on every connection, so that the cloud has it there.
    pub(super) fn hello(&self, device: &DeviceId, kind: &str) -> Option<Message> {
        match self {
            Self::Own(_) => None,
            Self::ThingsBoard => Some(thingsboard::connect(device, kind)),
        }
    }

    /// The topic of the fence, where [`CloudTree::echoes`].
    pub(super) fn fence(&self) -> Topic {
        match self {
            Self::Own(topics) => topics.fence(),
            Self::ThingsBoard => thingsboard::no_fence(),
        }
    }

    /// Whether the cloud sends back what we publish on a topic that we subscribe to.
    pub(super) fn echoes(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    /// What the line subscribes to, so that commands come in.
    pub(super) fn commands(&self, asks_who_sends: bool) -> Vec<TopicFilter> {
        match self {
            Self::Own(topics) => {
                let of_senders = asks_who_sends.then(|| topics.sets_of_senders());
                [topics.sets()].into_iter().chain(of_senders).collect()
            }
            Self::ThingsBoard => vec![thingsboard::subscription()],
        }
    }

    /// What must not be published by a route: it would come back as a command.
    pub(super) fn closed(&self, asks_who_sends: bool) -> TopicFilter {
        match self {
            Self::Own(topics) if asks_who_sends => topics.all_sets(),
            Self::Own(topics) => topics.sets(),
            Self::ThingsBoard => thingsboard::closed(),
        }
    }

    /// What a message from the cloud is.
    pub(super) fn understand(&self, message: Message) -> FromTree {
        match self {
            Self::Own(topics) => match topics.command(&message.topic) {
                Some((device, sender)) => {
                    let (device, sender) = (device.to_owned(), sender.map(str::to_owned));
                    FromTree::Command { device, sender, message }
                }
                None => FromTree::Other(message),
            },
            Self::ThingsBoard => match thingsboard::call(&message) {
                Some(thingsboard::Call { device, message }) => {
                    FromTree::Command { device, sender: None, message }
                }
                None if thingsboard::subscription().matches(&message.topic) => FromTree::Echo,
                None => FromTree::Other(message),
            },
        }
    }

    /// How the cloud is told of outcomes.
    pub(super) fn tell(&self) -> Tell {
        match self {
            Self::Own(topics) => translate::tell(topics),
            Self::ThingsBoard => {
                Arc::new(|told, reply_to| vec![Entry::new(thingsboard::answer(told, reply_to))])
            }
        }
    }
}
