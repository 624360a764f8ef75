//! Devices that were taken out of the configuration: what the cloud keeps of them is cleared.
//!
//! Owns the list of the devices that the cloud may know, a note of the store. Invariant: a device leaves the list after what
//! clears it is in the queue, so that at worst it is cleared twice. Rejected: to read the cloud's retained messages back,
//! as `discovery` does with the broker's: not every cloud lets a gateway subscribe to what it says itself.

use std::collections::BTreeSet;

use super::cloud_tree::CloudTree;
use crate::{
    model::DeviceId,
    store::{Store, StoreError},
};

/// The name of the list in the store.
const DEVICES: &str = "devices";

/// Has the cloud forget the devices that it may know and that are not among `devices` any more; `lane` is that of states.
pub(super) async fn forget(
    store: &Store,
    tree: &CloudTree,
    lane: Option<usize>,
    devices: &BTreeSet<DeviceId>,
) {
    if let Err(error) = try_to_forget(store, tree, lane, devices).await {
        tracing::warn!(%error, "devices that are gone stay in the cloud until the next start");
    }
}

async fn try_to_forget(
    store: &Store,
    tree: &CloudTree,
    lane: Option<usize>,
    devices: &BTreeSet<DeviceId>,
) -> Result<(), StoreError> {
    let known = store.noted(DEVICES).await?;
    let known = known.and_then(|text| serde_json::from_str::<BTreeSet<DeviceId>>(&text).ok());
    for device in known.unwrap_or_default().difference(devices) {
        tracing::info!(%device, "what the cloud keeps of a device that is gone is cleared");
        for entry in tree.nothing_of(device, lane) {
            // It is written in the order in which it is handed over: never after the list.
            let _not_waited_for = store.append(entry).await?;
        }
    }
    // Ids: serialising them cannot fail.
    store.note(DEVICES, serde_json::to_string(devices).unwrap_or_default());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        app::CloudTopics,
        clock::Clock,
        model::{GatewayId, Topic},
        store::StoreOptions,
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
            forget(&store, &tree, None, &devices).await;
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
}
