//! How the gateway itself publishes and subscribes, without a connection, and has certificates read again.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::{BrokerError, delivery::Publication, hub::Hub, recorder::Successor, tls::Tls};
use crate::{
    model::{Caller, ClientId, Message, TopicFilter},
    store::{Store, StoreError},
};

/// The broker, for the rest of the gateway; cheap to clone.
#[derive(Debug, Clone)]
pub struct BrokerHandle {
    hub: Arc<Hub>,
    tls: Arc<[Arc<Tls>]>,
    successors: mpsc::Sender<Successor>,
    caller: Caller,
}

/// A subscription of the gateway's own. It ends when this is dropped.
#[derive(Debug)]
pub struct InProcess {
    hub: Arc<Hub>,
    filters: Vec<TopicFilter>,
    key: u64,
    messages: mpsc::Receiver<Heard>,
    /// Keeps the channel open where no filter holds its other end.
    _open: mpsc::Sender<Heard>,
}

/// A message as a part of the gateway hears it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The message; `retain` only when it was kept from before.
    pub message: Message,
    /// Who published it; `None`: the gateway itself.
    pub publisher: Option<ClientId>,
    /// Whether its publisher says that it sent it before (DUP).
    pub is_redelivered: bool,
    /// Whether its publisher wants it kept for those who subscribe later.
    pub is_to_be_retained: bool,
}

impl BrokerHandle {
    pub(super) fn new(
        hub: Arc<Hub>,
        tls: Arc<[Arc<Tls>]>,
        successors: mpsc::Sender<Successor>,
        caller: Caller,
    ) -> Self {
        Self { hub, tls, successors, caller }
    }

    /// Asks whether the broker turns: its task answers once it has been let into the house that all clients share.
    /// Whatever the disk does, it does.
    pub fn caller(&self) -> Caller {
        self.caller.clone()
    }

    /// Keeps retained messages and sessions in `store` from now on, in place of one that keeps nothing
    /// ([`Store::refusing`]). What it knows is added to what is known here; what is newer here is written to it.
    /// Resolves when it has all of that: while its disk fails, not at all.
    ///
    /// # Errors
    /// As [`Store::sessions`]; then nothing has changed.
    pub async fn keep_in(&self, store: Store) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        self.successors.send(Successor { store, answer }).await.map_err(|_| StoreError::Stopped)?;
        answered.await.unwrap_or(Err(StoreError::Stopped))
    }

    /// Reads the certificates, keys and client CAs of all listeners again: for the clients that come from
    /// now on; connected ones stay. Gives how many listeners have some.
    ///
    /// # Errors
    /// [`BrokerError::Certificate`] with the first file that cannot be used; then nothing has changed.
    pub async fn reload_certificates(&self) -> Result<usize, BrokerError> {
        let tls = self.tls.clone();
        let read = move || {
            let fresh = tls.iter().map(|tls| tls.read_again()).collect::<Result<Vec<_>, _>>()?;
            for (tls, fresh) in tls.iter().zip(fresh) {
                tls.replace(fresh);
            }
            Ok(tls.len())
        };
        let done = tokio::task::spawn_blocking(read).await;
        done.map_err(|error| BrokerError::Interrupted(error.to_string()))?
    }

    /// Publishes from the gateway itself, retained if the message says so. It is not offered to the
    /// [`super::Uplink`]. Gives how many it was queued for: connected clients, absent ones with a
    /// persistent session (QoS 1 and 2 only), and parts of the gateway.
    pub fn publish(&self, message: &Message) -> usize {
        self.hub.publish(&Publication::new(message.clone()), 0).taken
    }

    /// As [`BrokerHandle::publish`]; resolves when the message is safe at home: acknowledged by, or on the disk
    /// for, every persistent session that it is for, and on the disk if it is retained. It never fails: with a
    /// disk that hangs it resolves after some seconds.
    pub fn deliver(&self, message: &Message) -> impl Future<Output = ()> + Send + use<> {
        let settling = self.hub.publish(&Publication::new(message.clone()), 0).pledge.settling();
        async move {
            if let Some(settling) = settling {
                settling.await;
            }
        }
    }

    /// Subscribes a part of the gateway to several filters; a message that matches more than one comes
    /// once. The retained messages come first. `capacity` messages may wait; then the newest is dropped,
    /// and counted with those of the clients.
    pub fn subscribe(&self, filters: &[TopicFilter], capacity: usize) -> InProcess {
        let (sender, messages) = mpsc::channel(capacity.max(1));
        let key = self.hub.subscribe_gateway(filters, &sender);
        InProcess { hub: self.hub.clone(), filters: filters.to_vec(), key, messages, _open: sender }
    }

    /// What is retained on these filters now, `most` messages of it.
    pub fn retained(&self, filters: &[TopicFilter], most: usize) -> Vec<Message> {
        let mut kept = self.subscribe(filters, most);
        // All of it is handed in with the subscription.
        std::iter::from_fn(|| kept.messages.try_recv().ok()).map(|heard| heard.message).take(most).collect()
    }
}

impl InProcess {
    /// The next message; for ever nothing when there is no filter. Cancel safe.
    pub async fn recv(&mut self) -> Option<Heard> {
        self.messages.recv().await
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        self.hub.unsubscribe_gateway(&self.filters, self.key);
    }
}
