//! Devices that were taken out of the configuration: what the cloud keeps of them is cleared.
//!
//! Owns the list of the devices that the cloud may know, a note of the store. Invariant: a device leaves the list after what
//! clears it is in the queue, so that at worst it is cleared twice. Rejected: to read the cloud's retained messages back,
//! as `discovery` does with the broker's: not every cloud lets a gateway subscribe to what it says itself.

use std::collections::BTreeSet;

use tokio_util::sync::CancellationToken;

use super::cloud_tree::CloudTree;
use crate::{
    model::DeviceId,
    store::{Store, StoreError},
};

/// The name of the list in the store.
const DEVICES: &str = "devices";

/// Who has the cloud forget the devices that it may know and that are not among these any more.
pub(super) struct Departed {
    pub(super) store: Store,
    pub(super) tree: CloudTree,
    /// That of states.
    pub(super) lane: Option<usize>,
    pub(super) devices: BTreeSet<DeviceId>,
}

impl Departed {
    /// Once, beside everything else; then waits for `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        // Cancel safety: at worst it is done again at the next start.
        let forgotten = stop.run_until_cancelled(self.store.unless_it_hangs(self.forget())).await;
        if let Some(Err(error)) = forgotten {
            tracing::warn!(%error, "devices that are gone stay in the cloud until the next start");
        }
        stop.cancelled().await;
    }

    async fn forget(&self) -> Result<(), StoreError> {
        let known = self.store.noted(DEVICES).await?;
        let known = known.and_then(|text| serde_json::from_str::<BTreeSet<DeviceId>>(&text).ok());
        let known = known.unwrap_or_default();
        // What is not written now stays on the list.
        let mut listed = self.devices.clone();
        for device in known.difference(&self.devices) {
            tracing::info!(%device, "what the cloud keeps of a device that is gone is cleared");
            let written = self.store.append_all(self.tree.nothing_of(device, self.lane)).await?.await?;
            if written.contains(&None) {
                listed.insert(device.clone());
            }
        }
        // Ids: serialising them cannot fail.
        self.store.note(DEVICES, serde_json::to_string(&listed).unwrap_or_default());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        app::CloudTopics,
        clock::Clock,
        model::{GatewayId, Message, QoS, Topic},
        store::{Entry, StoreOptions, WhenFull},
    };

    #[tokio::test]
    async fn a_device_that_is_gone_from_the_configuration_is_cleared_in_the_cloud_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        let topics = CloudTopics::new(&Topic::parse("p").unwrap(), &GatewayId::parse("g").unwrap()).unwrap();
        let tree = CloudTree::Own(topics);
        let mut waiting = Vec::new();
        for devices in [&["attic", "lamp"][..], &["lamp"], &["lamp"]] {
            let store = Store::open(&path, &StoreOptions::default(), Clock::system()).unwrap();
            let devices = devices.iter().map(|id| DeviceId::parse(id).unwrap()).collect();
            let departed = Departed { store: store.clone(), tree: tree.clone(), lane: None, devices };
            departed.forget().await.unwrap();
            drop(departed);
            let records = store.pending(0, 64, 1 << 20).await.unwrap();
            let is_clearing = records.iter().all(|record| {
                record.message.payload.is_empty()
                    && record.message.retain
                    && record.message.topic.as_str() != "p/g/lamp"
            });
            assert!(is_clearing, "{records:?}");
            waiting.push(records.iter().map(|record| record.message.topic.to_string()).collect::<Vec<_>>());
            store.closed().await;
        }
        let of_attic = ["p/g/attic", "p/g/attic/availability", "p/g/attic/about"].map(str::to_owned).to_vec();
        assert_eq!(waiting, [vec![], of_attic.clone(), of_attic], "and not again at the next start");
    }

    #[tokio::test]
    async fn a_queue_that_takes_nothing_leaves_it_on_the_list() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        let topics = CloudTopics::new(&Topic::parse("p").unwrap(), &GatewayId::parse("g").unwrap()).unwrap();
        let tree = CloudTree::Own(topics);
        let full = StoreOptions { max_bytes: 200, when_full: WhenFull::RefuseNew, ..StoreOptions::default() };
        let roomy = StoreOptions::default;
        for (options, devices, succeeds) in
            [(roomy(), &["attic", "lamp"][..], true), (full, &["lamp"], false), (roomy(), &["lamp"], true)]
        {
            let store = Store::open(&path, &options, Clock::system()).unwrap();
            let devices = devices.iter().map(|id| DeviceId::parse(id).unwrap()).collect();
            let message = Message::new(Topic::parse("t").unwrap(), vec![b'x'; 40], QoS::AtLeastOnce);
            while !succeeds && store.append(Entry::new(message.clone())).await.unwrap().await.is_ok() {}
            let departed = Departed { store: store.clone(), tree: tree.clone(), lane: None, devices };
            assert_eq!(departed.forget().await.is_ok(), succeeds);
            drop(departed);
            store.closed().await;
        }
        let store = Store::open(&path, &StoreOptions::default(), Clock::system()).unwrap();
        let records = store.pending(0, 64, 1 << 20).await.unwrap();
        let cleared = records.iter().filter(|record| record.message.payload.is_empty());
        let cleared: BTreeSet<&str> = cleared.map(|record| record.message.topic.as_str()).collect();
        // What the first of them had room for is there twice.
        assert_eq!(cleared, BTreeSet::from(["p/g/attic", "p/g/attic/about", "p/g/attic/availability"]));
    }
}
