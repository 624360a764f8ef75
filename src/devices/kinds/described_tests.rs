//! Every kind tells people and Home Assistant what its fields are.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    super::Device,
    KINDS, bthome,
    testing::{device, object},
    values,
};
use crate::model::{Entity, Fields, Platform, Request};

/// Options of each kind with which it has something to show, and a state that it may be in. One line a kind.
fn samples() -> Vec<(&'static str, Value, Value)> {
    let port = "/dev/serial/by-id/x";
    let registers = json!([{"name": "t", "register": 0, "type": "i16", "scale": 0.1, "unit": "°C"},
                           {"name": "s", "register": 1, "writable": true}]);
    let number = json!([{"name": "n", "offset": 0, "type": "u8"}]);
    let characteristics = json!([
        {"field": "temperature", "uuid": "2a6e", "type": "i16le", "scale": 0.01, "unit": "°C"},
        {"field": "target", "uuid": "fff1", "type": "u8", "scale": 0.5, "writable": true},
        {"field": "lock", "uuid": "fff2", "type": "bool", "writable": true},
        {"field": "window", "uuid": "fff3", "type": "bool"},
        {"field": "model", "uuid": "2a24", "type": "utf8"},
    ]);
    let peripheral = json!({"address": "A4:C1:38:01:02:03", "characteristics": characteristics});
    let address = json!({"address": "A4:C1:38:01:02:03"});
    let beacon = json!({"uuid": "2f234454-cf6d-4a0f-adf2-f4911ba9ffa6"});
    let components = json!([{"component": "switch", "id": "relay"}, {"component": "sensor", "id": "t", "unit": "°C"},
                            {"component": "number", "id": "level"}, {"component": "button", "id": "restart"},
                            {"component": "select", "id": "mode", "options": ["a"]}, {"component": "cover", "id": "gate"},
                            {"component": "light", "id": "lamp"}]);
    vec![
        ("ble_gatt", peripheral, json!({"battery": 77})),
        ("atc", address.clone(), json!({"voltage": 2.9})),
        ("bthome", address.clone(), bthome::every_field()),
        ("ibeacon", beacon, json!({})),
        ("esphome", json!({"topic_prefix": "x", "components": components}), json!({})),
        ("gpio_counter", json!({"pin": 4, "unit": "kWh"}), json!({})),
        ("gpio_counter", json!({"pin": 4, "unit": "L", "rate_per": "min"}), json!({})),
        ("gpio_input", json!({"pin": 4, "when_on": "open", "when_off": "closed"}), json!({})),
        ("gpio_output", json!({"pin": 4}), json!({})),
        ("gpio_output", json!({"pin": 4, "pulse": "1s"}), json!({})),
        ("gpio_pwm", json!({"pin": 4}), json!({})),
        ("lan", json!({"state_topic": "a", "command_topic": "b"}), json!({"state": "ON"})),
        ("meter", json!({"port": port, "protocol": "p1"}), json!({"energy_import_total": 1, "power": 2})),
        ("mibeacon", address.clone(), json!({"temperature": 21.5, "opening": "ON", "button_left": "press"})),
        ("modbus", json!({"port": port, "address": 1, "registers": registers}), json!({})),
        ("ruuvi", address, json!({"movement_counter": 1})),
        ("serial_frame", json!({"port": port, "length": 1, "fields": number}), json!({})),
        ("serial_line", json!({"port": port}), json!({"temperature": 21.5})),
        ("shelly", json!({"generation": 1, "topic": "s"}), json!({"state": "ON", "power": 3})),
        ("shelly", json!({"generation": 2, "topic": "s", "component": "light"}), json!({"state": "ON"})),
        ("shelly", json!({"generation": 2, "topic": "s", "component": "cover"}), json!({"position": 3})),
        ("shelly", json!({"generation": 1, "topic": "s", "component": "input"}), json!({"input": "ON"})),
        ("shelly", json!({"generation": 3, "topic": "s", "component": "sensor"}), json!({"temperature": 3})),
        ("tasmota", json!({"topic": "plug"}), json!({"state": "ON", "power": 3, "am2301_temperature": 21})),
        ("thermometer", json!({}), json!({})),
        ("toaster", json!({}), json!({})),
    ]
}

/// A device or more of every kind, with a state that it may be in: for whoever tells the world of them.
pub(crate) fn every_kind() -> Vec<(&'static str, Box<dyn Device>, Fields)> {
    let build = |(kind, options, state)| (kind, device(kind, options).unwrap(), object(state));
    samples().into_iter().map(build).collect()
}

#[test]
fn every_kind_has_entities_that_can_be_announced() {
    let samples = samples();
    for kind in KINDS {
        let mut own = samples.iter().filter(|(name, ..)| *name == kind.name).peekable();
        assert!(own.peek().is_some(), "`{}` has no sample above", kind.name);
        for (_, options, state) in own {
            let device = device(kind.name, options.clone()).unwrap();
            let entities = device.entities(&object(state.clone()));
            assert!(!entities.is_empty(), "`{}` has no entities", kind.name);
            let fields: BTreeSet<&str> = entities.iter().map(|entity| entity.field.as_str()).collect();
            assert_eq!(fields.len(), entities.len(), "`{}`: a field has two entities", kind.name);
            for entity in &entities {
                is_sound(kind.name, entity);
                if let Some(value) = example(entity) {
                    let request = Request::from_fields(object(json!({&*entity.field: value}))).unwrap();
                    let plan = device.encode(&request, &object(state.clone()));
                    assert!(plan.is_ok(), "`{}` does not take `{}`: {value}", kind.name, entity.field);
                }
            }
        }
    }
}

/// What Home Assistant would set it to; `None`: it only reads it.
fn example(entity: &Entity) -> Option<Value> {
    match &entity.platform {
        Platform::Switch { on, .. } => Some(on.clone()),
        Platform::Select { options } => options.last().map(|option| json!(option)),
        // A whole number goes without a point.
        Platform::Number { max, .. } => values::number(*max),
        Platform::Button { press } => Some(press.clone()),
        Platform::Light { .. } => Some(json!("ON")),
        Platform::Cover { .. } => Some(json!("OPEN")),
        Platform::Sensor { .. }
        | Platform::BinarySensor { .. }
        | Platform::Event { .. }
        | Platform::DeviceTracker { .. } => None,
    }
}

fn is_sound(kind: &str, entity: &Entity) {
    let Entity { field, platform, .. } = entity;
    match platform {
        Platform::BinarySensor { on, off } | Platform::Switch { on, off } => {
            assert_ne!(on, off, "`{kind}`: `{field}` is on and off at once");
        }
        Platform::DeviceTracker { home, not_home } => assert_ne!(home, not_home, "`{kind}`: `{field}`"),
        Platform::Select { options } => assert!(!options.is_empty(), "`{kind}`: `{field}`"),
        Platform::Event { types } => assert!(!types.is_empty(), "`{kind}`: `{field}`"),
        Platform::Number { min, max, step } => assert!(min < max && *step > 0.0, "`{kind}`: `{field}`"),
        Platform::Light { modes, brightness_scale, .. } => {
            assert!(!modes.is_empty() && *brightness_scale > 0, "`{kind}`: `{field}`");
        }
        Platform::Sensor { options } => {
            let is_number = entity.unit.is_some() || entity.state_class.is_some();
            assert!(options.is_empty() || !is_number, "`{kind}`: `{field}` is a word and a number");
        }
        Platform::Button { .. } | Platform::Cover { .. } => {}
    }
}
