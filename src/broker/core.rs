//! What all connections of a broker share, and the one way that a message takes into the house.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, time::timeout};

use super::{
    auth::Auth,
    closed::Closed,
    counters::Counters,
    delivery::Publication,
    hub::{Delivered, Hub},
    options::Uplink,
    packet::Publish,
    rights::Rights,
};
use crate::{
    model::{ClientId, Message, Topic},
    store::{Durable, Entry, Kept, Store, StoreError},
};

/// How long a message waits for room in the store's queue: a disk that hangs holds nobody at home.
const STORE_PATIENCE: Duration = Duration::from_secs(5);

/// Hands messages to the store, each to be kept or refused by itself.
///
/// # Errors
/// The store's; [`StoreError::Hangs`] when it takes nothing for [`STORE_PATIENCE`].
pub(super) async fn append_each(
    store: &Store,
    entries: Vec<Entry>,
) -> Result<Durable<Arc<[Kept]>>, StoreError> {
    match timeout(STORE_PATIENCE, store.append_each(entries)).await {
        Ok(result) => result,
        Err(_) => Err(StoreError::Hangs),
    }
}

/// The broker's shared parts.
pub(super) struct Core {
    pub(super) hub: Arc<Hub>,
    pub(super) auth: Auth,
    pub(super) uplink: Arc<dyn Uplink>,
    pub(super) store: Store,
    /// What only the gateway publishes.
    closed: Closed,
    /// Room for the large packets that are coming in, in bytes.
    pub(super) intake: Arc<Semaphore>,
}

impl Core {
    pub(super) fn new(hub: Hub, auth: Auth, uplink: Arc<dyn Uplink>, store: Store, closed: Closed) -> Self {
        // One packet of the largest size has room in any case.
        let room = hub.limits.incoming_bytes.max(hub.limits.max_packet).min(Semaphore::MAX_PERMITS);
        Self { hub: Arc::new(hub), auth, uplink, store, closed, intake: Arc::new(Semaphore::new(room)) }
    }

    /// Whether a client may publish to `topic`; counted if not.
    pub(super) fn may_publish(&self, rights: &Rights, topic: &Topic) -> bool {
        let may = rights.may_publish(topic) && !self.closed.has(topic);
        if !may {
            Counters::count(&self.hub.counters.denied);
            self.hub.stir.ring();
        }
        may
    }

    /// Delivers a client's message at home, at once, and gives what is to be kept for the cloud.
    pub(super) fn take_in(
        &self,
        publish: Publish,
        publisher: &ClientId,
        key: u64,
    ) -> (Option<Entry>, Delivered) {
        let Publish { message, is_duplicate, .. } = publish;
        let entry = self.uplink.route(&message);
        let publication = Publication::received(message, Some(publisher.clone()), is_duplicate);
        (entry, self.hub.publish(&publication, key))
    }

    /// Publishes the will of a client that was lost. Nobody waits for it to be on the disk, and for room in
    /// the store's queue only for [`STORE_PATIENCE`].
    pub(super) async fn publish_will(&self, will: Message, client: &ClientId) {
        if let (Some(entry), _) =
            self.take_in(Publish { message: will, id: 0, is_duplicate: false }, client, 0)
            && let Err(error) = append_each(&self.store, vec![entry]).await
        {
            tracing::error!(client = client.as_str(), %error, "a will does not reach the cloud");
        }
    }
}
