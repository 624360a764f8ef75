//! Homie 5 on the real program: a controller that knows nothing but the convention finds every device, sets a property and
//! sees what became of it, and sees devices and gateway leave.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's panic is its verdict; clippy spares only `#[test]` functions"
)]

use std::{collections::BTreeMap, time::Duration};

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

const HOMIE: &str = "homie: { enabled: true }\n";
const DEVICES: &str = "devices:
  - {id: Toaster_1, kind: toaster, options: {toasting_time: 1min}}
  - {id: boiler-room, kind: thermometer, options: {interval: 1s}}
  - {id: fan, kind: lan, options: {state_topic: fan/state, command_topic: fan/set}}
";

/// A message of Homie's by what is behind `homie/5/`.
fn at(topic: &str) -> impl Fn(&Publish) -> bool {
    let topic = format!("homie/5/{topic}");
    move |publish| publish.topic == topic
}

fn says(topic: &str, payload: &str) -> impl Fn(&Publish) -> bool {
    let (is_there, payload) = (at(topic), payload.to_owned());
    move |publish| is_there(publish) && publish.payload == payload.as_bytes()
}

/// What is kept, by topic.
async fn kept(house: &House) -> BTreeMap<String, String> {
    let mut client = Client::connect(house, "reader", &["+/5/#", "end/of/all"]).await;
    // What is kept comes before what is said now.
    client.client.publish("end/of/all", QoS::AtLeastOnce, false, "x").await.unwrap();
    let mut found = BTreeMap::new();
    loop {
        let publish = client.hear(|_| true).await;
        if publish.topic == "end/of/all" {
            return found;
        }
        if publish.retain {
            found.insert(publish.topic, String::from_utf8(publish.payload.to_vec()).unwrap());
        }
    }
}

/// Waits until what is kept is so.
async fn settles(house: &House, is_so: impl Fn(&BTreeMap<String, String>) -> bool) {
    let mut last = BTreeMap::new();
    let wait = async {
        loop {
            last = kept(house).await;
            if is_so(&last) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    if timeout(PATIENCE, wait).await.is_err() {
        panic!("this is kept: {last:?}");
    }
}

#[tokio::test]
async fn a_homie_controller_finds_every_device_sets_a_property_and_sees_devices_leave() {
    let house = House::new(&format!("{HOMIE}{DEVICES}"));
    let gateway = house.start().await;

    // Discovery, as the convention has it: whoever has a state exists, and the root names its children.
    let mut controller = Client::connect(&house, "controller", &["+/5/+/$state", "home/+/result"]).await;
    for device in ["home", "toaster-1", "boiler-room"] {
        controller.hear(says(&format!("{device}/$state"), "ready")).await;
    }
    controller.client.subscribe("homie/5/#", QoS::ExactlyOnce).await.unwrap();
    let root = object(&controller.hear(at("home/$description")).await);
    assert_eq!(
        (&root["homie"], &root["children"]),
        (&json!("5.0"), &json!(["toaster-1", "boiler-room", "fan"]))
    );
    let settles_on = |document: Value| document["nodes"]["main"]["properties"]["state"].clone();
    let lever = loop {
        let document = object(&controller.hear(at("toaster-1/$description")).await);
        assert_eq!(document["root"], "home");
        let lever = settles_on(document);
        if !lever.is_null() {
            break lever;
        }
    };
    assert_eq!(lever, json!({"name": "lever", "datatype": "boolean", "format": "OFF,ON", "settable": true}));
    let temperature = controller.hear(at("boiler-room/main/temperature")).await;
    let temperature: f64 = std::str::from_utf8(&temperature.payload).unwrap().parse().unwrap();
    assert!((-50.0..100.0).contains(&temperature), "{temperature}");
    // The gateway has properties of its own.
    controller.hear(says("home/diagnostic/problem", "false")).await;

    // It presses the lever: the command's outcome, and its effect.
    controller.hear(says("toaster-1/main/state", "false")).await;
    controller.say("homie/5/toaster-1/main/state/set", false, "true").await;
    let result = object(&controller.hear(|publish| publish.topic == "home/Toaster_1/result").await);
    assert_eq!((&result["status"], &result["origin"]), (&json!("applied"), &json!("local")));
    controller.hear(says("toaster-1/main/state", "true")).await;
    controller.hear(says("toaster-1/main/toast", "toasting")).await;

    // What does not fit is refused in the device's words, and what was kept for later never acts.
    for (topic, retain, payload, reason) in [
        ("toaster-1/main/browning/set", false, "9", "from 1 to 6"),
        ("toaster-1/main/state/set", false, "sometimes", "`ON` or `OFF`"),
        ("toaster-1/main/state/set", true, "false", "retain"),
    ] {
        controller.say(&format!("homie/5/{topic}"), retain, payload).await;
        let result = object(&controller.hear(|publish| publish.topic == "home/Toaster_1/result").await);
        assert_ne!(result["status"], "applied", "{topic} {payload}");
        assert!(result["detail"].as_str().unwrap().contains(reason), "{topic} {payload}: {result}");
    }
    controller.say("homie/5/toaster-1/main/state/set", true, "").await;

    // A device of the network comes and is described anew; the description changes only in `init`.
    controller.say("fan/state", false, r#"{"state":"on","speed":3}"#).await;
    controller.hear(says("fan/main/speed", "3")).await;
    controller.hear(says("fan/$state", "ready")).await;

    // Nobody else speaks for the gateway, and others' devices are theirs.
    controller.say("homie/5/toaster-1/$state", true, "").await;
    controller.say("homie/5/other/$state", true, "ready").await;
    let found = kept(&house).await;
    assert_eq!(found["homie/5/toaster-1/$state"], "ready");
    assert_eq!(found["homie/5/toaster-1/main/state"], "true");
    assert_eq!(found["homie/5/other/$state"], "ready");

    // An orderly stop says goodbye for everybody.
    drop(controller);
    stop(gateway).await;
    let store = house.open_store().await;
    let left = store.retained().await.unwrap();
    let states: BTreeMap<&str, &[u8]> = (left.iter())
        .filter(|message| message.topic.as_str().ends_with("/$state"))
        .map(|message| (message.topic.as_str(), &*message.payload))
        .collect();
    for device in ["toaster-1", "boiler-room", "fan", "home"] {
        assert_eq!(states[&*format!("homie/5/{device}/$state")], b"disconnected", "{device}");
    }
    drop(store);

    // Over a restart with a shorter configuration, what is gone is cleared.
    house.configure(&format!(
        "{HOMIE}devices:\n  - {{id: boiler-room, kind: thermometer, options: {{interval: 1s}}}}\n"
    ));
    let gateway = house.start().await;
    settles(&house, |found| {
        let is_ready = found.get("homie/5/boiler-room/$state").is_some_and(|state| state == "ready");
        is_ready && !found.keys().any(|topic| topic.contains("/toaster-1/") || topic.contains("/fan/"))
    })
    .await;
    stop(gateway).await;

    // And all of it when it is switched off.
    house.configure(DEVICES);
    let gateway = house.start().await;
    settles(&house, |found| found.keys().eq(["homie/5/other/$state"])).await;
    stop(gateway).await;
}
