//! What is published, in which order, and what is left when something goes.

use futures_util::FutureExt;
use tokio::sync::mpsc;

use super::*;
use crate::{
    app::testing::Home,
    broker::InProcess,
    clock::Clock,
    model::{Availability, DeviceEvent, Reading},
    store::StoreOptions,
};

fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}

fn homie(devices: &[&str]) -> Homie {
    Homie {
        is_enabled: true,
        domain: Topic::parse("homie").unwrap(),
        root: Named { kind: "gateway".to_owned(), ..named(GatewayId::parse("Home").unwrap().as_str()) },
        children: devices.iter().map(|device| (id(device), named(device))).collect(),
    }
}

struct House {
    home: Home,
    ear: InProcess,
}

impl House {
    async fn new() -> Self {
        let home = Home::new(&StoreOptions::default(), Clock::system()).await;
        let ear = home.broker.subscribe(&[TopicFilter::parse("+/5/#").unwrap()], 256);
        Self { home, ear }
    }

    fn begin(&self, homie: Homie) -> Option<Speaker> {
        Speaker::begin(homie, self.home.broker.clone(), Clock::system())
    }

    /// What was published since it was last asked, without `homie/5/`; of a document, which nodes and children it has.
    fn said(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(Some(heard)) = self.ear.recv().now_or_never() {
            let message = heard.message;
            let topic = message.topic.as_str().replace("homie/5/", "");
            let mut payload = String::from_utf8(message.payload.to_vec()).unwrap();
            if let Ok(Value::Object(document)) = serde_json::from_str(&payload) {
                let nodes = document.get("nodes").and_then(Value::as_object).cloned().unwrap_or_default();
                let nodes = nodes.into_iter().map(|(node, _)| node);
                let children =
                    document.get("children").and_then(Value::as_array).cloned().unwrap_or_default();
                let children = children.into_iter().map(|child| child.as_str().unwrap().to_owned());
                payload = nodes.chain(children).collect::<Vec<_>>().join(" ");
            }
            all.push(format!("{topic}: {payload}").trim_end().to_owned());
        }
        all
    }

    /// Everything that is kept, as topics.
    fn kept(&self) -> Vec<String> {
        let mut all = Vec::new();
        let mut late = self.home.broker.subscribe(&[TopicFilter::parse("+/5/#").unwrap()], 256);
        while let Some(Some(heard)) = late.recv().now_or_never() {
            all.push(heard.message.topic.to_string());
        }
        all
    }
}

/// Says all of these, and then that there is no more to come.
async fn run(speaker: Speaker, events: impl IntoIterator<Item = DeviceEvent>) {
    let (sender, receiver) = mpsc::channel(64);
    for event in events {
        sender.try_send(event).unwrap();
    }
    drop(sender);
    speaker.run(receiver).await;
}

fn reading(device: &str, fields: &Value) -> Reading {
    let fields = fields.as_object().unwrap().clone();
    Reading { device: id(device), fields, taken_at: Timestamp::from_millis(0) }
}

fn lamp_events() -> Vec<DeviceEvent> {
    vec![
        DeviceEvent::Entities(id("lamp"), vec![Entity::switch("state"), Entity::event("key", ["press"])]),
        DeviceEvent::Availability(id("lamp"), Availability::Online),
        DeviceEvent::Reading(reading("lamp", &json!({"state": "ON"}))),
    ]
}

#[tokio::test]
async fn a_description_changes_only_in_init_and_nothing_is_said_twice() {
    let mut house = House::new().await;
    let speaker = house.begin(homie(&["lamp"])).unwrap();
    assert_eq!(
        house.said(),
        [
            "home/$state: init",
            "lamp/$state: init",
            "lamp/$description:",
            "home/$description: lamp",
            "home/$state: ready"
        ]
    );
    let more = [
        DeviceEvent::Reading(reading("lamp", &json!({"state": "ON"}))),
        DeviceEvent::Happened(reading("lamp", &json!({"state": "ON", "key": "press"}))),
        DeviceEvent::Availability(id("lamp"), Availability::Offline),
        DeviceEvent::Reading(reading("stranger", &json!({"state": "ON"}))),
    ];
    run(speaker, lamp_events().into_iter().chain(more)).await;
    assert_eq!(
        house.said(),
        [
            "lamp/$description: main",
            "lamp/$state: ready",
            "lamp/main/state: true",
            "lamp/main/key: press",
            "lamp/$state: lost",
            "lamp/$state: disconnected",
            "home/$state: disconnected",
        ]
    );

    // The next run knows what is kept.
    let speaker = house.begin(homie(&["lamp"])).unwrap();
    assert_eq!(house.said(), ["home/$state: init", "lamp/$state: init", "home/$state: ready"]);
    run(speaker, lamp_events()).await;
    assert_eq!(
        house.said(),
        ["lamp/$state: ready", "lamp/$state: disconnected", "home/$state: disconnected"]
    );
}

#[tokio::test]
async fn what_is_not_described_any_more_is_cleared_and_of_a_device_its_state_first() {
    let mut house = House::new().await;
    run(house.begin(homie(&["lamp", "fan"])).unwrap(), lamp_events()).await;
    let foreign = "homie/5/other/$description";
    for (topic, payload) in
        [(foreign, r#"{"type":"other","root":"home"}"#), ("homie/5/other/$state", "ready")]
    {
        let message =
            crate::model::Message::new(Topic::parse(topic).unwrap(), payload, crate::model::QoS::AtLeastOnce);
        house.home.broker.publish(&message.retained());
    }
    house.said();

    // Another property, and another shape of it.
    let speaker = house.begin(homie(&["lamp"])).unwrap();
    let said = house.said();
    assert_eq!(&said[..2], ["fan/$state:", "fan/$description:"], "{said:?}");
    assert!(said.contains(&"home/$description: lamp".to_owned()), "{said:?}");
    let others = vec![Entity::sensor("state"), Entity::sensor("mood")];
    let happy = reading("lamp", &json!({"state": "ON", "mood": "good"}));
    run(speaker, [DeviceEvent::Entities(id("lamp"), others), DeviceEvent::Reading(happy)]).await;
    let said = house.said();
    assert!(said.contains(&"lamp/main/state: ON".to_owned()), "{said:?}");
    let speaker = house.begin(homie(&["lamp"])).unwrap();
    run(speaker, [DeviceEvent::Entities(id("lamp"), vec![Entity::sensor("mood")])]).await;
    let kept = house.kept();
    assert!(kept.contains(&"homie/5/lamp/main/mood".to_owned()), "{kept:?}");
    assert!(!kept.contains(&"homie/5/lamp/main/state".to_owned()), "{kept:?}");

    // Below another domain, and then not at all.
    let elsewhere = Homie { domain: Topic::parse("casa").unwrap(), ..homie(&["lamp"]) };
    run(house.begin(elsewhere).unwrap(), lamp_events()).await;
    let kept = house.kept();
    assert!(kept.iter().all(|topic| topic.starts_with("casa/5/") || topic.contains("/other/")), "{kept:?}");
    assert!(house.begin(Homie { is_enabled: false, ..homie(&["lamp"]) }).is_none());
    assert_eq!(house.kept(), [foreign, "homie/5/other/$state"], "others' devices are not ours to clear");
}
