//! Home Assistant discovery on the real program: a client that subscribes as Home Assistant does finds every device,
//! can command it by what it was told, and sees it leave.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's panic is its verdict; clippy spares only `#[test]` functions"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use rumqttc::{Publish, QoS};
use serde_json::{Value, json};
use tokio::time::timeout;

#[path = "support/house.rs"]
#[allow(dead_code, reason = "shared with the tests of a faulty disk")]
mod house;
#[path = "support/listener.rs"]
mod listener;

use house::{House, PATIENCE};
use listener::{Client, object, stop};

const DEVICES: &str = "devices:
  - {id: toaster, kind: toaster, options: {toasting_time: 1min}}
  - {id: boiler-room, kind: thermometer, options: {interval: 1s}}
  - {id: kettle, kind: tasmota, options: {topic: plug}}
  - {id: fan, kind: lan, options: {state_topic: fan/state, command_topic: fan/set}}
  - {id: lamp, kind: shelly, options: {generation: 2, topic: shellyplus1-a, component: light}}
  - id: attic
    kind: esphome
    options:
      topic_prefix: attic
      components: [{component: sensor, id: humidity, unit: \"%\", device_class: humidity}, {component: cover, id: blind}]
";

/// The announcements that Home Assistant finds, by topic, when there are so many that `enough`.
async fn announced(
    house: &House,
    enough: impl Fn(&BTreeMap<String, Value>) -> bool,
) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    let mut client = Client::connect(house, "reader", &[]).await;
    client.client.subscribe("homeassistant/device/+/config", QoS::AtLeastOnce).await.unwrap();
    while !enough(&found) {
        let publish = client.hear(|publish| publish.topic.starts_with("homeassistant/")).await;
        found.insert(publish.topic.clone(), object(&publish));
    }
    found
}

/// Home Assistant's schema of a device's announcement (its documentation, "MQTT", "Device discovery payload", and the
/// page of each platform): what must be there, and at the root nothing else.
fn is_valid(announcement: &Value) {
    let root = announcement.as_object().unwrap();
    let known = [
        "device",
        "origin",
        "components",
        "availability",
        "availability_mode",
        "qos",
        "state_topic",
        "command_topic",
        "encoding",
    ];
    assert!(root.keys().all(|key| known.contains(&key.as_str())), "{root:?}");
    assert!(!root["device"]["identifiers"].as_array().unwrap().is_empty());
    assert!(root["origin"]["name"].is_string());
    let mut unique = BTreeSet::new();
    for (name, component) in root["components"].as_object().unwrap() {
        let platform = component["platform"].as_str().unwrap();
        assert!(unique.insert(component["unique_id"].as_str().unwrap().to_owned()), "{name} stands twice");
        let required: &[&str] = match platform {
            "sensor" | "binary_sensor" => &["state_topic", "value_template"],
            "event" => &["state_topic", "event_types"],
            "switch" => &["command_topic", "payload_on", "payload_off"],
            "light" => &["command_topic", "schema", "supported_color_modes"],
            "number" => &["command_topic", "command_template", "min", "max"],
            "select" => &["command_topic", "command_template", "options"],
            "button" => &["command_topic", "payload_press"],
            "cover" => &["command_topic", "payload_open", "payload_close"],
            other => panic!("`{other}` is no platform that is announced"),
        };
        for key in required {
            assert!(component.get(*key).is_some_and(|value| !value.is_null()), "{name}: `{key}` is missing");
        }
        let word = |key: &str| component.get(key).and_then(Value::as_str);
        if let Some("total_increasing" | "measurement") = word("state_class") {
            assert_ne!(word("device_class"), Some("enum"), "{name}: a word in statistics");
        }
        if matches!(word("device_class"), Some("energy" | "gas" | "water")) {
            assert_ne!(word("state_class"), Some("measurement"), "{name}: Home Assistant refuses it");
        }
    }
}

#[tokio::test]
async fn home_assistant_finds_every_device_commands_it_and_sees_it_leave() {
    let house = House::new(DEVICES);
    let gateway = house.start().await;

    // Every device, with what it needs; the cover that says nothing and the fan whose state is not known are there.
    let topics = ["toaster", "boiler-room", "kettle", "lamp", "attic", "bridge"];
    let topics: BTreeSet<String> =
        topics.iter().map(|level| format!("homeassistant/device/{level}/config")).collect();
    let found = announced(&house, |found| topics.iter().all(|topic| found.contains_key(topic))).await;
    found.values().for_each(is_valid);
    assert_eq!(found.keys().cloned().collect::<BTreeSet<_>>(), topics, "the fan has shown nothing yet");
    let toaster = &found["homeassistant/device/toaster/config"];
    assert_eq!(toaster["components"]["browning"]["platform"], "number");

    // The gateway itself is one of them, with what is true of it.
    let own = &found["homeassistant/device/bridge/config"];
    assert_eq!(own["availability"], json!([{"topic": "home/bridge/state"}]));
    let problem = &own["components"]["problem"];
    assert_eq!(
        (&problem["state_topic"], &problem["platform"]),
        (&json!("home/bridge/health"), &json!("binary_sensor"))
    );
    let mut reader = Client::connect(&house, "health", &["home/bridge/health"]).await;
    let health = object(&reader.hear(|publish| publish.topic == "home/bridge/health").await);
    assert!(health["problem"].is_boolean(), "{health}");
    let fields = health.as_object().unwrap().keys();
    assert!(own["components"].as_object().unwrap().keys().eq(fields), "{own} {health}");

    // A field that is only known when it is read.
    let mut lan = Client::connect(&house, "fan", &["fan/set"]).await;
    lan.say("fan/state", false, r#"{"state":"on","speed":3}"#).await;
    let fan = "homeassistant/device/fan/config";
    let fan = announced(&house, |found| found.contains_key(fan)).await.remove(fan).unwrap();
    is_valid(&fan);
    assert_eq!(fan["components"]["speed"]["platform"], "sensor");

    // A command, by nothing but what was announced.
    let switch = &fan["components"]["state"];
    assert_eq!((&switch["platform"], &switch["state_off"]), (&json!("switch"), &json!("off")));
    let mut assistant = Client::connect(&house, "assistant", &["home/+/result", "homeassistant/#"]).await;
    let topic = switch["command_topic"].as_str().unwrap();
    assistant.say(topic, false, switch["payload_off"].as_str().unwrap()).await;
    let told = lan.hear(|publish| publish.topic == "fan/set").await;
    assert_eq!(&*told.payload, b"off");
    lan.say("fan/state", false, r#"{"state":"off","speed":0}"#).await;
    let result = assistant.hear(|publish| publish.topic == "home/fan/result").await;
    assert_eq!(object(&result)["status"], "applied");
    // A number by its template, which Home Assistant fills with the value.
    let number = &toaster["components"]["browning"];
    let template = number["command_template"].as_str().unwrap();
    assistant
        .say(number["command_topic"].as_str().unwrap(), false, &template.replace("{{ value }}", "5"))
        .await;
    let result = assistant.hear(|publish| publish.topic == "home/toaster/result").await;
    assert_eq!(object(&result)["status"], "applied");

    // It comes up: everything is announced again, to those who are there already.
    assistant.say("homeassistant/status", false, "online").await;
    let mut again = BTreeSet::new();
    while again.len() < topics.len() + 1 {
        // What was kept when it subscribed has the flag.
        let is_new =
            |publish: &Publish| publish.topic.starts_with("homeassistant/device/") && !publish.retain;
        let publish = assistant.hear(is_new).await;
        is_valid(&object(&publish));
        again.insert(publish.topic);
    }

    // Nobody else announces in the gateway's name.
    assistant.say("homeassistant/device/toaster/config", true, "").await;
    let kept = announced(&house, |found| found.contains_key("homeassistant/device/toaster/config")).await;
    assert_eq!(&kept["homeassistant/device/toaster/config"], toaster);

    // Others' announcements are none of our business, also when they look like ours.
    let other =
        json!({"device": {"identifiers": ["x"]}, "origin": {"name": "zigbee2mqtt"}, "components": {}});
    assistant.say("homeassistant/device/other/config", true, &other.to_string()).await;
    drop(assistant);
    stop(gateway).await;

    // Over a restart with a shorter configuration, what is gone is taken back.
    house.configure("devices:\n  - {id: kettle, kind: tasmota, options: {topic: plug}}\n");
    let gateway = house.start().await;
    let left = ["other", "kettle", "bridge"].map(|level| format!("homeassistant/device/{level}/config"));
    settles(&house, &left).await;
    stop(gateway).await;

    // And all of it when it is switched off.
    house.configure(&format!("home_assistant: {{ enabled: false }}\n{DEVICES}"));
    let gateway = house.start().await;
    settles(&house, &left[..1]).await;
    stop(gateway).await;
}

/// Waits until exactly these announcements are kept.
async fn settles(house: &House, expected: &[String]) {
    let expected: BTreeSet<String> = expected.iter().cloned().collect();
    let wait = async {
        loop {
            let mut client =
                Client::connect(house, "reader", &["homeassistant/device/+/config", "end/of/all"]).await;
            // What is kept comes before what is said now.
            client.client.publish("end/of/all", QoS::AtLeastOnce, false, "x").await.unwrap();
            let mut found = BTreeSet::new();
            loop {
                let publish = client.hear(|_| true).await;
                if publish.topic == "end/of/all" {
                    break;
                }
                if publish.retain && !publish.payload.is_empty() {
                    found.insert(publish.topic);
                }
            }
            if found == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("not exactly {expected:?} are kept"));
}
