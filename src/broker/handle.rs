//! How the gateway itself publishes and subscribes, without a connection.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{
    delivery::Publication,
    hub::{Hub, InProcessMessage},
};
use crate::model::{ClientId, Message, TopicFilter};

/// The broker, for the rest of the gateway; cheap to clone.
#[derive(Debug, Clone)]
pub struct BrokerHandle {
    hub: Arc<Hub>,
}

/// A subscription of the gateway's own. It ends when this is dropped.
#[derive(Debug)]
pub struct InProcess {
    hub: Arc<Hub>,
    filter: TopicFilter,
    key: u64,
    messages: mpsc::Receiver<InProcessMessage>,
}

impl BrokerHandle {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        Self { hub }
    }

    /// Publishes from the gateway itself, retained if the message says so. It is not offered to the
    /// uplink. Gives how many sessions it was queued for, absent ones that keep it included.
    #[expect(clippy::unused_async, reason = "the hub may become a task without its users noticing")]
    pub async fn publish(&self, message: Message) -> usize {
        self.hub.publish(&Publication::new(message, None), 0)
    }

    /// Subscribes a part of the gateway, which is sent the retained messages first. `capacity` messages
    /// may wait; then the newest is dropped, and counted with those of the clients.
    #[expect(clippy::unused_async, reason = "the hub may become a task without its users noticing")]
    pub async fn subscribe(&self, filter: TopicFilter, capacity: usize) -> InProcess {
        let (sender, messages) = mpsc::channel(capacity.max(1));
        let key = self.hub.subscribe_gateway(&filter, sender);
        InProcess { hub: self.hub.clone(), filter, key, messages }
    }
}

impl InProcess {
    /// The next message, and who published it (`None`: the gateway itself). Its `retain` is true only
    /// when it was kept from before. Cancel safe.
    pub async fn recv(&mut self) -> Option<(Message, Option<ClientId>)> {
        self.messages.recv().await
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        self.hub.unsubscribe_gateway(&self.filter, self.key);
    }
}
