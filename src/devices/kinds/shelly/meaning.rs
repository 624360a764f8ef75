//! What the fields of a Shelly's state are for people, whichever firmware told them.

use super::Component;
use crate::model::{ColorMode, Entity, Fields, Platform, StateClass};

/// The words that a press can be, for both firmwares.
const ACTIONS: [&str; 8] = ["single", "double", "triple", "long", "short_long", "long_short", "down", "up"];

/// What the component always has.
pub(super) fn main(component: Component, state: &Fields) -> Vec<Entity> {
    match component {
        Component::Switch => vec![Entity::switch("state")],
        Component::Light => {
            let modes = vec![ColorMode::Brightness];
            let light = Platform::Light { modes, brightness_scale: 100, effects: Vec::new() };
            // What its brightness is, the light shows.
            vec![Entity::new("state", light)]
        }
        Component::Cover => {
            // One that was never calibrated has no position.
            let position = state.contains_key("position").then(|| "position".to_owned());
            vec![Entity::new("state", Platform::Cover { position, can_stop: true }).class("shutter")]
        }
        Component::Input => vec![Entity::binary_sensor("input"), Entity::event("action", ACTIONS)],
        Component::Sensor => Vec::new(),
    }
}

/// What a field that it may have is; `None` for one that is a part of another, or only for ourselves.
pub(super) fn of(field: &str) -> Option<Entity> {
    let measured = |class: &'static str, unit: &'static str| Some(Entity::measurement(field, class, unit));
    let alarm = |class: &'static str| Some(Entity::binary_sensor(field).class(class));
    match field {
        "power" => measured("power", "W"),
        "voltage" => measured("voltage", "V"),
        "current" => measured("current", "A"),
        "frequency" => measured("frequency", "Hz"),
        "power_factor" => Some(Entity::sensor(field).class("power_factor").stated(StateClass::Measurement)),
        "energy_total" | "energy_returned_total" => Some(Entity::total(field, "energy", "kWh")),
        // The chip's.
        "device_temperature" => measured("temperature", "°C").map(Entity::diagnostic),
        "temperature" => measured("temperature", "°C"),
        "humidity" => measured("humidity", "%"),
        "illuminance" => measured("illuminance", "lx"),
        "illumination" => Some(Entity::sensor(field)),
        "battery" => measured("battery", "%").map(Entity::diagnostic),
        "battery_voltage" => measured("voltage", "V").map(Entity::diagnostic),
        "overpower" | "overtemperature" => alarm("problem").map(Entity::diagnostic),
        "flood" => alarm("moisture"),
        "smoke" => alarm("smoke"),
        "motion" => alarm("motion"),
        "vibration" => alarm("vibration"),
        "opening" => alarm("opening"),
        "tilt" => Some(Entity::sensor(field).unit("°").stated(StateClass::Measurement)),
        "concentration" => Some(Entity::sensor(field).unit("ppm").stated(StateClass::Measurement)),
        "percent" => Some(Entity::sensor(field).unit("%").stated(StateClass::Measurement)),
        "count" => Some(Entity::sensor(field).stated(StateClass::TotalIncreasing)),
        "input" => Some(Entity::binary_sensor(field)),
        _ => None,
    }
}
