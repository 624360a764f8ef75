//! A node's messages to a state, requests to its commands. Topics and payloads are those of ESPHome's documentation.

use serde_json::json;

use super::super::testing::{confirms, device, object, plan, read, refuses, sent};
use super::*;

fn node() -> Box<dyn Device> {
    let components = json!([
        {"component": "switch", "id": "relay", "field": "state"},
        {"component": "binary_sensor", "id": "window", "device_class": "window"},
        {"component": "sensor", "id": "attic_temperature", "unit": "°C"},
        {"component": "text_sensor", "id": "version"},
        {"component": "number", "id": "level", "min": 0, "max": 10, "step": 0.5},
        {"component": "select", "id": "mode", "options": ["eco", "comfort"]},
        {"component": "button", "id": "restart"},
        {"component": "cover", "id": "blind", "position": true},
        {"component": "cover", "id": "gate"},
    ]);
    device("esphome", json!({"topic_prefix": "attic", "components": components})).unwrap()
}

fn lamp() -> Box<dyn Device> {
    let components =
        json!([{"component": "light", "id": "lamp", "modes": ["rgb", "color_temp"], "effects": ["Rainbow"]}]);
    device("esphome", json!({"topic_prefix": "lamp", "components": components})).unwrap()
}

#[test]
fn a_bad_option_is_refused_with_what_is_possible() {
    let with = |component: Value| json!({"topic_prefix": "x", "components": [component]});
    refuses(
        "esphome",
        &[
            (json!({"topic_prefix": "x", "components": []}), &["`components`", "at least one"]),
            (json!({"topic_prefix": "x/#", "components": []}), &["`topic_prefix`"]),
            (with(json!({"component": "climate", "id": "a"})), &["components[0].component", "`cover`"]),
            (
                with(json!({"component": "switch", "id": "My Relay"})),
                &["`components[0].id`", "small letters"],
            ),
            (
                with(json!({"component": "switch", "id": "a", "unit": "W"})),
                &["`components[0].unit`", "`sensor`"],
            ),
            (
                with(json!({"component": "sensor", "id": "a", "device_class": "hot"})),
                &["`components[0].device_class`"],
            ),
            (with(json!({"component": "switch", "id": "a", "min": 1})), &["`components[0].min`", "`number`"]),
            (
                with(json!({"component": "number", "id": "a", "min": 1, "max": 0})),
                &["`components[0].min`", "below"],
            ),
            (with(json!({"component": "select", "id": "a"})), &["`components[0].options`"]),
            (
                with(json!({"component": "light", "id": "a", "modes": ["brightness", "rgb"]})),
                &["modes", "alone"],
            ),
            (with(json!({"component": "light", "id": "a", "field": "lamp"})), &["`components[0].field`"]),
            (
                json!({"topic_prefix": "x", "components": [{"component": "light", "id": "a"}, {"component": "light", "id": "b"}]}),
                &["`components[1].id`", "`state` is there already"],
            ),
        ],
    );
}

#[test]
fn it_hears_its_components_and_owns_every_command() {
    let Wiring::Lan { hears, obeys } = node().wiring() else { panic!("it is on the LAN") };
    let matches = |filters: &[TopicFilter], topic: &str| {
        filters.iter().any(|filter| filter.matches(&Topic::parse(topic).unwrap()))
    };
    for topic in [
        "attic/switch/relay/command",
        "attic/cover/blind/position/command",
        "attic/fan/any/speed_level/command",
        "attic/climate/any/mode/command",
    ] {
        assert!(matches(&obeys, topic), "{topic}");
        assert!(!matches(&hears, topic), "{topic}");
    }
    for topic in ["attic/status", "attic/sensor/version/state", "attic/cover/blind/position/state"] {
        assert!(matches(&hears, topic), "{topic}");
    }
}

#[test]
fn a_nodes_messages_become_a_state() {
    for (topic, payload, fields) in [
        ("switch/relay/state", "ON", json!({"state": "ON"})),
        ("binary_sensor/window/state", "OFF", json!({"window": "OFF"})),
        ("sensor/attic_temperature/state", "21.4", json!({"attic_temperature": 21.4})),
        ("sensor/attic_temperature/state", "nan", json!({})),
        ("sensor/version/state", "2026.1", json!({"version": "2026.1"})),
        ("number/level/state", "2.5", json!({"level": 2.5})),
        ("select/mode/state", "eco", json!({"mode": "eco"})),
        ("cover/blind/position/state", "40", json!({"blind": "open", "blind_position": 40})),
        ("cover/blind/position/state", "0", json!({"blind": "closed", "blind_position": 0})),
        ("cover/gate/state", "closed", json!({"gate": "closed"})),
        ("cover/gate/state", "unknown", json!({})),
        ("sensor/other/state", "1", json!({})),
    ] {
        let changes = read(node().as_mut(), &format!("attic/{topic}"), payload).unwrap();
        assert_eq!(changes.fields, object(fields), "{topic} {payload}");
    }
    for (topic, payload) in [
        ("switch/relay/state", "on?"),
        ("sensor/attic_temperature/state", "warm"),
        ("cover/gate/state", "ajar"),
        ("status", "perhaps"),
    ] {
        assert!(read(node().as_mut(), &format!("attic/{topic}"), payload).is_err(), "{topic} {payload}");
    }
    let light = r#"{"effect":"None","effect_index":0,"effect_count":1,"color_mode":"rgb","state":"ON","brightness":200,"color":{"r":255,"g":0,"b":0}}"#;
    let fields = json!({"effect": "None", "color_mode": "rgb", "state": "ON", "brightness": 200,
                        "color": {"r": 255, "g": 0, "b": 0}});
    assert_eq!(read(lamp().as_mut(), "lamp/light/lamp/state", light).unwrap().fields, object(fields));
}

#[test]
fn birth_and_will_are_its_availability() {
    for (word, availability) in [("online", Availability::Online), ("offline", Availability::Offline)] {
        let changes = read(node().as_mut(), "attic/status", word).unwrap();
        assert_eq!(changes, Changes::availability(availability));
    }
}

#[test]
fn requests_become_its_commands() {
    for (request, commands) in [
        (json!({"state": "on"}), &["attic/switch/relay/command ON"][..]),
        (json!({"level": 2.5}), &["attic/number/level/command 2.5"]),
        (json!({"mode": "comfort"}), &["attic/select/mode/command comfort"]),
        (json!({"restart": "PRESS"}), &["attic/button/restart/command PRESS"]),
        (json!({"blind_position": 30}), &["attic/cover/blind/position/command 30"]),
        (json!({"gate": "open"}), &["attic/cover/gate/command OPEN"]),
        (
            json!({"state": "OFF", "level": 1}),
            &["attic/number/level/command 1", "attic/switch/relay/command OFF"],
        ),
    ] {
        let mut frames = sent(&plan(&*node(), request.clone(), json!({})).unwrap());
        frames.sort();
        assert_eq!(frames, commands, "{request}");
    }
    let request = json!({"state": "ON", "color": {"r": 0, "g": 255, "b": 0}, "transition": 2});
    let green = plan(&*lamp(), request.clone(), json!({})).unwrap();
    let payload: Value = serde_json::from_str(green.frames[0].text().unwrap()).unwrap();
    assert_eq!((&*green.frames[0].channel, payload), ("lamp/light/lamp/command", request));
    assert!(confirms(&green, json!({"state": "ON", "color": {"r": 0, "g": 255, "b": 0, "w": 3}})));
    assert!(!confirms(&green, json!({"state": "ON", "color": {"r": 9, "g": 255, "b": 0}})));
}

#[test]
fn what_it_shows_already_it_does_not_say_again() {
    let sent = |request: Value, state: Value| {
        matches!(plan(&*node(), request, state).unwrap().confirm, super::super::super::Confirm::Sent)
    };
    assert!(sent(json!({"state": "ON"}), json!({"state": "ON"})));
    assert!(!sent(json!({"state": "ON"}), json!({"state": "OFF"})));
    assert!(sent(json!({"restart": "press"}), json!({})), "a button shows nothing");
    assert!(sent(json!({"gate": "CLOSE"}), json!({})), "a cover is on its way for long");
    let mixed =
        plan(&*node(), json!({"state": "ON", "level": 3}), json!({"state": "ON", "level": 1})).unwrap();
    assert!(confirms(&mixed, json!({"level": 3})), "only what changes is waited for");
}

#[test]
fn what_it_cannot_do_is_refused_with_what_it_can() {
    for (request, part) in [
        (json!({"state": "TOGGLE"}), "`ON` or `OFF`"),
        (json!({"level": 11}), "from 0 to 10"),
        (json!({"mode": "party"}), "eco, comfort"),
        (json!({"restart": "ON"}), "`PRESS`"),
        (json!({"blind": "OPEN", "blind_position": 3}), "not both"),
        (json!({"blind_position": 101}), "0 (closed) to 100"),
        (json!({"gate_position": 3}), "only be read"),
        (json!({"window": "ON"}), "only be read"),
        (json!({"brightness": 3}), "no such field"),
    ] {
        let error = plan(&*node(), request.clone(), json!({})).err().unwrap().to_string();
        assert!(error.contains(part), "{request}: {error}");
    }
}

#[test]
fn a_simulated_node_does_what_it_is_told_and_shows_it() {
    let now = tokio::time::Instant::now();
    for (mut device, request) in [
        (node(), json!({"state": "ON"})),
        (node(), json!({"blind": "OPEN"})),
        (node(), json!({"blind_position": 40})),
        (node(), json!({"gate": "OPEN"})),
        (node(), json!({"level": 3, "mode": "comfort"})),
        (lamp(), json!({"state": "ON", "brightness": 3})),
    ] {
        let mut thing = device.simulation();
        let mut state = Fields::new();
        let mut hear = |device: &mut dyn Device, frames: Vec<Frame>| -> Fields {
            let now = Timestamp::from_millis(0);
            let read =
                frames.iter().flat_map(|frame| device.decode(frame, now).unwrap().fields).collect::<Fields>();
            state.extend(read.clone());
            read
        };
        let first = hear(device.as_mut(), thing.start(now));
        let plan = plan(&*device, request.clone(), Value::Object(first)).unwrap();
        let frames: Vec<Frame> =
            plan.frames.iter().flat_map(|frame| thing.touch(frame, now).unwrap()).collect();
        let seen = hear(device.as_mut(), frames);
        match &plan.confirm {
            super::super::super::Confirm::Sent => assert!(!seen.is_empty(), "{request}"),
            super::super::super::Confirm::State { .. } => {
                assert!(confirms(&plan, Value::Object(seen.clone())), "{request}: {seen:?}");
            }
        }
    }
}
