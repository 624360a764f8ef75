//! The collector: a program in the cloud that counts what arrives from the home.
//!
//! Owns the cloud side of the count: how often each message id and each of the meter's numbers came.
//! Never talks to the gateway.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
};

use rumqttc::v5::mqttbytes::v5::Publish;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{CLOUD_ROOT, client::Client, home::METER_TOPIC};

/// Messages that wait to be counted. Full: the connection waits, and the broker keeps them.
const INCOMING: usize = 256;
/// The user property that names a message; a message that is sent again keeps its name.
const MESSAGE_ID: &str = "message-id";

/// What arrived in the cloud.
#[derive(Debug, Clone, Default)]
pub(super) struct Arrived {
    /// How often each message id came.
    pub(super) ids: HashMap<String, u32>,
    /// How often each of the meter's readings came.
    pub(super) readings: BTreeMap<u64, u32>,
}

impl Arrived {
    fn take(&mut self, publish: &Publish) {
        let properties = publish.properties.iter().flat_map(|properties| &properties.user_properties);
        if let Some((_, id)) = properties.filter(|(name, _)| name == MESSAGE_ID).last() {
            *self.ids.entry(id.clone()).or_default() += 1;
        }
        if publish.topic == format!("{CLOUD_ROOT}/{METER_TOPIC}") {
            let reading: Option<Value> = serde_json::from_slice(&publish.payload).ok();
            if let Some(sequence) = reading.and_then(|reading| reading.get("sequence")?.as_u64()) {
                *self.readings.entry(sequence).or_default() += 1;
            }
        }
    }

    /// How many messages came more often than once, each counted as often as it was too many.
    pub(super) fn duplicates(&self) -> u32 {
        self.ids.values().map(|count| count - 1).sum()
    }
}

/// A running collector.
pub(super) struct Collector {
    client: Client,
    arrived: watch::Receiver<Arrived>,
}

impl Collector {
    /// Subscribes to everything that the gateway publishes.
    pub(super) fn start(broker: SocketAddr, stop: &CancellationToken) -> Self {
        let (sender, mut incoming) = mpsc::channel(INCOMING);
        let everything = vec![format!("{CLOUD_ROOT}/#")];
        let client = Client::connect("demo-collector", broker, everything, sender, stop.clone());
        let (writer, arrived) = watch::channel(Arrived::default());
        tokio::spawn(async move {
            while let Some(publish) = incoming.recv().await {
                writer.send_modify(|arrived| arrived.take(&publish));
            }
        });
        Self { client, arrived }
    }

    /// Waits until nothing more can be missed.
    pub(super) async fn listening(&self) {
        let _ = self.client.connected().wait_for(|is| *is).await;
    }

    /// What arrived; changes wake the receiver.
    pub(super) fn arrived(&self) -> watch::Receiver<Arrived> {
        self.arrived.clone()
    }
}

#[cfg(test)]
mod tests {
    use rumqttc::v5::mqttbytes::{QoS, v5::PublishProperties};

    use super::*;

    fn message(below: &str, payload: &str, id: Option<&str>) -> Publish {
        let mut publish =
            Publish::new(format!("{CLOUD_ROOT}/{below}"), QoS::AtLeastOnce, payload.to_owned(), None);
        publish.properties = id.map(|id| PublishProperties {
            user_properties: vec![(MESSAGE_ID.to_owned(), id.to_owned())],
            ..PublishProperties::default()
        });
        publish
    }

    #[test]
    fn what_comes_twice_is_one_message_and_one_duplicate() {
        let mut arrived = Arrived::default();
        for publish in [
            message(METER_TOPIC, r#"{"sequence":1}"#, Some("a")),
            message(METER_TOPIC, r#"{"sequence":2}"#, Some("b")),
            message(METER_TOPIC, r#"{"sequence":2}"#, Some("b")),
            message("toaster", "{}", Some("c")),
            message("toaster/set", "ON", None),
        ] {
            arrived.take(&publish);
        }
        assert_eq!((arrived.ids.len(), arrived.duplicates()), (3, 1));
        assert_eq!(arrived.readings, BTreeMap::from([(1, 1), (2, 2)]));
    }
}
