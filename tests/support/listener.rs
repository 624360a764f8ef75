//! A client of the real program's broker that keeps what it hears until somebody asks for it.

use std::collections::VecDeque;

use rumqttc::{AsyncClient, Event, EventLoop, Incoming, MqttOptions, Publish, QoS};
use serde_json::Value;
use tokio::time::timeout;

use super::house::{House, PATIENCE, Program};

/// A client with what it has heard. Home Assistant is one, and so is a controller or a device on the LAN.
pub struct Client {
    /// For what is not waited for.
    pub client: AsyncClient,
    events: EventLoop,
    /// What came while something else was waited for.
    heard: VecDeque<Publish>,
}

impl Client {
    /// Connected and subscribed to `filters`.
    pub async fn connect(house: &House, id: &str, filters: &[&str]) -> Self {
        let mut options = MqttOptions::new(id, "127.0.0.1", house.port);
        options.set_max_packet_size(1 << 20, 1 << 20);
        let (client, events) = AsyncClient::new(options, 64);
        for filter in filters {
            client.subscribe(*filter, QoS::AtLeastOnce).await.unwrap();
        }
        let mut it = Self { client, events, heard: VecDeque::new() };
        for _ in filters {
            it.until(|event| matches!(event, Incoming::SubAck(_)).then_some(())).await;
        }
        it
    }

    async fn until<T>(&mut self, mut what: impl FnMut(&Incoming) -> Option<T>) -> T {
        let wait = async {
            loop {
                let Event::Incoming(incoming) = self.events.poll().await.unwrap() else { continue };
                if let Some(found) = what(&incoming) {
                    return found;
                }
                if let Incoming::Publish(publish) = incoming {
                    self.heard.push_back(publish);
                }
            }
        };
        timeout(PATIENCE, wait).await.expect("it never came")
    }

    /// The first message that is `what` and was not taken yet; waits for it.
    pub async fn hear(&mut self, what: impl Fn(&Publish) -> bool) -> Publish {
        if let Some(found) = self.heard.iter().position(&what) {
            return self.heard.remove(found).unwrap();
        }
        self.until(|incoming| match incoming {
            Incoming::Publish(publish) if what(publish) => Some(publish.clone()),
            _ => None,
        })
        .await
    }

    /// Publishes, and waits until the broker has it.
    pub async fn say(&mut self, topic: &str, retain: bool, payload: &str) {
        self.client.publish(topic, QoS::AtLeastOnce, retain, payload).await.unwrap();
        self.until(|incoming| matches!(incoming, Incoming::PubAck(_)).then_some(())).await;
    }
}

/// Its payload, a JSON object.
pub fn object(publish: &Publish) -> Value {
    serde_json::from_slice(&publish.payload).unwrap_or_else(|error| panic!("{}: {error}", publish.topic))
}

/// Stops the program as systemd does, and waits for its end.
pub async fn stop(mut gateway: Program) {
    let id = gateway.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert!(gateway.wait().await.success());
}
