//! What is said to Home Assistant of one device: one JSON object with all that it has.
//!
//! Pure: from entities to the object. Source: Home Assistant's documentation, "MQTT", section "Device discovery
//! payload", and the pages of its platforms. At the root it takes no key that it does not know, and all that stands
//! there comes into every component: so `state_topic` stands in the components.
//!
//! Invariant: a field's name comes into a template only when it has nothing that a template could take for its own,
//! for some of them are a stranger's (the members of a JSON object on the LAN).

use serde_json::{Map, Value, json};

use super::super::{LocalTopics, bridge_health::bridge};
use crate::model::{Category, ColorMode, DeviceId, Entity, GatewayId, Platform, StateClass};

/// Who announces. By this and the first identifier an announcement is known for ours.
const ORIGIN: &str = "Hearthlink";
/// The longest name of a field that is announced, in characters.
const LONGEST_FIELD: usize = 64;

/// A device, as far as its announcement needs to know it.
pub(super) struct Announced<'a> {
    pub(super) gateway: &'a GatewayId,
    pub(super) device: &'a DeviceId,
    /// What its kind is, for people.
    pub(super) about: &'a str,
    pub(super) topics: &'a LocalTopics,
}

/// The whole announcement; `None` when there is nothing to announce.
pub(super) fn announcement(of: &Announced<'_>, entities: &[Entity]) -> Option<Value> {
    let components: Map<String, Value> =
        entities.iter().filter(|entity| is_plain(&entity.field)).map(|entity| of.component(entity)).collect();
    if components.is_empty() {
        return None;
    }
    // Whether the gateway is there, is told for all of them in one place.
    let mut availability = vec![json!({"topic": of.topics.bridge_state().as_str()})];
    if !of.is_bridge() {
        availability.push(json!({"topic": of.topics.availability(of.device).as_str()}));
    }
    let name = if of.is_bridge() { of.gateway.as_str() } else { of.device.as_str() };
    Some(json!({
        "device": {"identifiers": [of.identifier()], "name": name, "model": of.about},
        "origin": {"name": ORIGIN, "sw_version": env!("CARGO_PKG_VERSION")},
        "availability": availability,
        "availability_mode": "all",
        "qos": 1,
        "components": components,
    }))
}

/// Whether an announcement was made by this gateway.
pub(super) fn is_of(gateway: &GatewayId, announcement: &Value) -> bool {
    let identifier = announcement["device"]["identifiers"][0].as_str();
    announcement["origin"]["name"] == ORIGIN
        && identifier.is_some_and(|identifier| identifier.starts_with(&format!("hearthlink/{gateway}/")))
}

/// What tells Home Assistant that components of the `old` announcement are gone in the `new` one; `None` when none is.
/// It removes what has a platform and nothing else, and keeps what is not there.
pub(super) fn without_the_gone(old: &Value, new: &Value) -> Option<Value> {
    let mut telling = new.clone();
    let components = telling["components"].as_object_mut()?;
    let mut is_gone = false;
    for (name, component) in old["components"].as_object()? {
        if !components.contains_key(name) {
            components.insert(name.clone(), json!({"platform": component["platform"]}));
            is_gone = true;
        } else if components[name]["platform"] != component["platform"] {
            // Another platform under the same name is another entity.
            components[name] = json!({"platform": component["platform"]});
            is_gone = true;
        }
    }
    is_gone.then_some(telling)
}

/// Nothing that ends a text or a template, and nothing that people cannot read.
fn is_plain(field: &str) -> bool {
    let count = field.chars().count();
    (1..=LONGEST_FIELD).contains(&count)
        && field.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | ' '))
}

/// The value as a template of Home Assistant writes it, which is Python's way.
fn rendered(value: &Value) -> String {
    match value {
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    }
}

fn request(field: &str, value: &Value) -> String {
    Value::Object(Map::from_iter([(field.to_owned(), value.clone())])).to_string()
}

impl Announced<'_> {
    fn identifier(&self) -> String {
        format!("hearthlink/{}/{}", self.gateway, self.device)
    }

    /// Whether this is the gateway itself.
    fn is_bridge(&self) -> bool {
        *self.device == bridge()
    }

    /// Where its state is.
    fn state(&self) -> String {
        let topic = if self.is_bridge() { self.topics.health() } else { self.topics.state(self.device) };
        topic.to_string()
    }

    fn component(&self, entity: &Entity) -> (String, Value) {
        let Entity { field, platform, .. } = entity;
        let state = self.state();
        let set = self.topics.set(self.device).to_string();
        // A field that was never read is unknown, which Home Assistant calls `None`.
        let reads = format!("{{{{ value_json['{field}'] | default('None') }}}}");
        let sets = |value: &str| format!("{{\"{field}\": {{{{ {value} }}}} }}");
        let mut it = match platform {
            Platform::Sensor { options } if options.is_empty() => json!({"platform": "sensor"}),
            Platform::Sensor { options } => {
                json!({"platform": "sensor", "device_class": "enum", "options": options})
            }
            Platform::BinarySensor { on, off } => {
                let (on, off) = (rendered(on), rendered(off));
                json!({"platform": "binary_sensor", "payload_on": on, "payload_off": off})
            }
            Platform::Switch { on, off } => json!({
                "platform": "switch", "command_topic": set,
                "payload_on": request(field, on), "payload_off": request(field, off),
                "state_on": rendered(on), "state_off": rendered(off),
            }),
            Platform::Select { options } => json!({
                "platform": "select", "command_topic": set, "command_template": sets("value | to_json"),
                "options": options,
            }),
            Platform::Number { min, max, step } => json!({
                "platform": "number", "command_topic": set, "command_template": sets("value"),
                "min": min, "max": max, "step": step, "mode": "box",
            }),
            Platform::Button { press } => {
                json!({"platform": "button", "command_topic": set, "payload_press": request(field, press)})
            }
            Platform::Event { types } => json!({"platform": "event", "event_types": types}),
            Platform::DeviceTracker { home, not_home } => {
                // `in_zones` is how it is said from 2026 on; the state's payloads are for those before.
                let zones = format!(
                    "{{{{ {{'in_zones': ['zone.home'] if value_json['{field}'] == {home} else []}} | to_json }}}}"
                );
                json!({
                    "platform": "device_tracker", "source_type": "bluetooth_le",
                    "payload_home": rendered(home), "payload_not_home": rendered(not_home),
                    "json_attributes_topic": state, "json_attributes_template": zones,
                })
            }
            Platform::Light { modes, brightness_scale, effects } => {
                let words: Vec<&str> = modes.iter().map(|mode| color_mode(*mode)).collect();
                json!({
                    "platform": "light", "schema": "json", "command_topic": set,
                    "supported_color_modes": words, "brightness": *modes != [ColorMode::OnOff],
                    "brightness_scale": brightness_scale, "effect": !effects.is_empty(), "effect_list": effects,
                })
            }
            Platform::Cover { position, can_stop } => {
                let mut cover = json!({
                    "platform": "cover", "command_topic": set,
                    "payload_open": request(field, &"OPEN".into()), "payload_close": request(field, &"CLOSE".into()),
                    "payload_stop": if *can_stop { request(field, &"STOP".into()).into() } else { Value::Null },
                });
                if let Some(position) = position {
                    cover["position_topic"] = state.clone().into();
                    cover["position_template"] =
                        format!("{{{{ value_json['{position}'] | default('') }}}}").into();
                    cover["set_position_topic"] = set.clone().into();
                    cover["set_position_template"] =
                        format!("{{\"{position}\": {{{{ position }}}} }}").into();
                }
                cover
            }
        };
        match platform {
            // It reads the whole state by itself.
            Platform::Light { .. } => it["state_topic"] = state.into(),
            Platform::Button { .. } => {}
            Platform::Event { .. } => {
                it["state_topic"] = state.into();
                it["value_template"] = format!(
                    "{{% if value_json['{field}'] is defined %}}\
                     {{{{ {{'event_type': value_json['{field}']}} | to_json }}}}{{% endif %}}"
                )
                .into();
            }
            // Without a state it believes what it has set.
            _ if entity.is_assumed => {}
            Platform::Cover { .. } => {
                it["state_topic"] = state.into();
                it["value_template"] = format!("{{{{ value_json['{field}'] | default('') }}}}").into();
            }
            _ => {
                it["state_topic"] = state.into();
                it["value_template"] = reads.into();
            }
        }
        self.describe(entity, &mut it);
        (field.clone(), it)
    }

    /// What every platform has in the same way.
    fn describe(&self, entity: &Entity, it: &mut Value) {
        let Entity { field, platform, .. } = entity;
        it["unique_id"] = format!("{}/{field}", self.identifier()).into();
        // What a device is for is called as the device is.
        let is_main = field == "state" && !matches!(platform, Platform::Sensor { .. });
        it["name"] = match &entity.name {
            None if is_main => Value::Null,
            _ => entity.title().into(),
        };
        if let Some(class) = &entity.device_class {
            it["device_class"] = class.clone().into();
        }
        if let (Some(unit), Platform::Sensor { .. } | Platform::Number { .. }) = (&entity.unit, platform) {
            it["unit_of_measurement"] = unit.clone().into();
        }
        if let Platform::Sensor { .. } = platform {
            if let Some(class) = entity.state_class {
                let word = match class {
                    StateClass::Measurement => "measurement",
                    StateClass::TotalIncreasing => "total_increasing",
                };
                it["state_class"] = word.into();
            }
            if let Some(digits) = entity.precision {
                it["suggested_display_precision"] = digits.into();
            }
        }
        match (entity.category, platform) {
            (Some(Category::Diagnostic), _) => it["entity_category"] = "diagnostic".into(),
            // What is only read cannot be a setting; Home Assistant refuses it.
            (Some(Category::Config), Platform::Sensor { .. } | Platform::BinarySensor { .. }) | (None, _) => {
            }
            (Some(Category::Config), _) => it["entity_category"] = "config".into(),
        }
    }
}

fn color_mode(mode: ColorMode) -> &'static str {
    match mode {
        ColorMode::OnOff => "onoff",
        ColorMode::Brightness => "brightness",
        ColorMode::ColorTemp => "color_temp",
        ColorMode::Rgb => "rgb",
        ColorMode::Rgbw => "rgbw",
        ColorMode::Rgbww => "rgbww",
    }
}

#[cfg(test)]
#[path = "payload_tests.rs"]
mod tests;
