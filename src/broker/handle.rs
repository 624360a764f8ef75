//! The gateway's own way into its broker: publish and subscribe without a socket.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::connection::Shared;
use crate::model::{ClientId, Message, TopicFilter};

/// A handle for the other parts of the gateway; cheap to clone.
#[derive(Clone)]
pub struct BrokerHandle(pub(super) Arc<Shared>);

impl BrokerHandle {
    /// Publishes from the gateway itself: retained if it says so, delivered at once, not offered to
    /// the [`super::Uplink`]. Gives the number of receivers that it was queued for: connected clients,
    /// absent ones with a persistent session (QoS 1 and 2 only), and parts of the gateway.
    pub fn publish(&self, message: &Message) -> usize {
        self.0.hub.publish(message, None)
    }

    /// Subscribes a part of the gateway to several filters; a message that matches more than one
    /// comes once. Retained messages come first, with their flag. Full: the newest message is dropped
    /// and counted. The subscription ends when the receiver is dropped.
    pub fn subscribe(&self, filters: &[TopicFilter], capacity: usize) -> InProcess {
        InProcess(self.0.hub.subscribe_in_process(filters, capacity))
    }
}

/// Messages for a part of the gateway.
#[derive(Debug)]
pub struct InProcess(mpsc::Receiver<(Message, Option<ClientId>)>);

impl InProcess {
    /// The next message with the client that published it; `None` for the gateway itself. `None` at
    /// all when the broker is gone. Cancel safe.
    pub async fn recv(&mut self) -> Option<(Message, Option<ClientId>)> {
        self.0.recv().await
    }
}
