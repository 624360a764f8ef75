//! A message on its way to subscribers: published once, shared by all who wait for it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::model::{ClientId, Message, QoS, TopicFilter};

/// What a queue entry costs beside the message itself, in bytes, about.
const OVERHEAD: usize = 128;

/// What a user property takes beside its text, in bytes: two strings and what malloc rounds them up by.
const PAIR: usize = 96;

/// A message as published, with what was learned when it arrived.
#[derive(Debug)]
pub(super) struct Publication {
    pub(super) message: Message,
    /// Who published it; `None`: the gateway itself.
    pub(super) publisher: Option<ClientId>,
    /// Whether its publisher says that it sent it before (DUP).
    pub(super) is_redelivered: bool,
    expires: Option<Instant>,
    size: usize,
}

impl Publication {
    /// From the gateway itself, or from before a restart.
    pub(super) fn new(message: Message) -> Arc<Self> {
        Self::received(message, None, false)
    }

    pub(super) fn received(message: Message, publisher: Option<ClientId>, is_redelivered: bool) -> Arc<Self> {
        let life = message.properties.as_ref().and_then(|properties| properties.expiry);
        let expires = life.and_then(|life| Instant::now().checked_add(life));
        let pairs = message.properties.as_ref().map_or(0, |properties| properties.user.len());
        let size = message.size() + OVERHEAD + PAIR * pairs;
        Arc::new(Self { message, publisher, is_redelivered, expires, size })
    }

    /// The message with what is left of its life for its expiry, perhaps nothing.
    pub(super) fn to_message(&self) -> Message {
        let mut message = self.message.clone();
        if let Some(properties) = message.properties.as_mut().filter(|properties| properties.expiry.is_some())
        {
            Arc::make_mut(properties).expiry = self.left().unwrap_or(Some(Duration::ZERO));
        }
        message
    }

    /// What it counts for in a queue, in bytes.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// What is left of its life; `Err`: nothing is.
    pub(super) fn left(&self) -> Result<Option<Duration>, Expired> {
        match self.expires {
            None => Ok(None),
            Some(end) => match end.checked_duration_since(Instant::now()) {
                Some(left) if !left.is_zero() => Ok(Some(left)),
                _ => Err(Expired),
            },
        }
    }
}

/// The message's life is over (MQTT-3.3.2-5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expired;

/// A message for one subscriber.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    pub(super) publication: Arc<Publication>,
    /// The lesser of the publisher's and the subscription's.
    pub(super) qos: QoS,
    pub(super) retain: bool,
    /// The identifiers of all the subscriptions that it is for.
    pub(super) identifiers: Identifiers,
    /// The shared subscription that it came by: another member gets it if this one's session ends.
    pub(super) share: Option<Arc<TopicFilter>>,
}

impl Delivery {
    /// What it counts for in a queue, in bytes.
    pub(super) fn size(&self) -> usize {
        self.publication.size() + size_of_val(self.identifiers.as_slice())
    }
}

/// Subscription identifiers: mostly none, seldom more than one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Identifiers(Vec<u32>);

impl Identifiers {
    pub(super) fn add(&mut self, identifier: Option<u32>) {
        self.0.extend(identifier);
    }

    pub(super) fn as_slice(&self) -> &[u32] {
        &self.0
    }
}
