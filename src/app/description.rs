//! What is said in the cloud of what a device is: its fields with names and units, and what may be set from there.
//!
//! Pure: from entities and the allow-list to one JSON object. For a phone that knows nothing of the house. Invariants:
//! `set` stands only where the configuration's allow-list names the field, so nobody is shown a button that is always
//! refused; a description has at most [`MOST_BYTES`], and `left_out` counts what found no room.
//!
//! Rejected: Home Assistant's announcement in the cloud as well. It has topics of the home and templates that a phone
//! would have to run; and it says what the home may do, which is more than the cloud may.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::{
    config::Config,
    devices::KINDS,
    model::{DeviceId, Entity, Platform},
};

/// The longest description, in bytes: an eighth of what the narrowest cloud takes (AWS IoT, 128 KiB).
const MOST_BYTES: usize = 16 * 1024;
/// The longest name of a field, in characters; some are a stranger's.
const LONGEST_FIELD: usize = 64;

/// What descriptions need to know of the configuration.
#[derive(Debug, Clone, Default)]
pub(super) struct Descriptions {
    /// Each device's kind.
    kinds: BTreeMap<DeviceId, &'static str>,
    /// The fields that the cloud may set, to some value, at some time, by somebody.
    settable: BTreeMap<DeviceId, BTreeSet<String>>,
}

impl Descriptions {
    pub(super) fn new(config: &Config) -> Self {
        let kind = |name: &str| KINDS.iter().find(|known| known.name == name).map_or("", |known| known.name);
        let kinds = config.devices.iter().map(|device| (device.id.clone(), kind(&device.kind))).collect();
        let mut settable: BTreeMap<DeviceId, BTreeSet<String>> = BTreeMap::new();
        for allow in &config.commands.allow {
            settable.entry(allow.device.clone()).or_default().extend(allow.set.keys().cloned());
        }
        Self { kinds, settable }
    }

    /// The devices.
    pub(super) fn devices(&self) -> BTreeSet<DeviceId> {
        self.kinds.keys().cloned().collect()
    }

    /// The description of a device that has these entities.
    pub(super) fn of(&self, device: &DeviceId, entities: &[Entity]) -> Value {
        let settable = self.settable.get(device);
        let (mut fields, mut bytes, mut left_out) = (Vec::new(), 0, 0_usize);
        for entity in entities {
            let may_set = settable.is_some_and(|fields| fields.contains(&entity.field));
            let field = Value::Object(field(entity, may_set));
            let size = field.to_string().len();
            if entity.field.chars().count() > LONGEST_FIELD || bytes + size > MOST_BYTES - 1024 {
                left_out += 1;
                continue;
            }
            bytes += size + 1;
            fields.push(field);
        }
        let mut description =
            json!({"kind": self.kinds.get(device).copied().unwrap_or(""), "fields": fields});
        if left_out > 0 {
            description["left_out"] = left_out.into();
        }
        description
    }
}

/// One field, without what it does not have.
fn field(entity: &Entity, may_set: bool) -> Map<String, Value> {
    let Entity { field, platform, .. } = entity;
    let mut it = Map::new();
    let mut say = |name: &str, value: Value| drop(it.insert(name.to_owned(), value));
    say("field", field.as_str().into());
    if let Some(name) = &entity.name {
        say("name", name.as_str().into());
    }
    if let Some(class) = &entity.device_class {
        say("device_class", class.as_ref().into());
    }
    if let Some(unit) = &entity.unit {
        say("unit", unit.as_ref().into());
    }
    if let Some(digits) = entity.precision {
        say("precision", digits.into());
    }
    if entity.category.is_some() {
        say("is_aside", true.into());
    }
    match platform {
        Platform::BinarySensor { on, off } | Platform::Switch { on, off } => {
            say("on", on.clone());
            say("off", off.clone());
        }
        Platform::Event { .. } => say("is_event", true.into()),
        _ => {}
    }
    let set = match platform {
        Platform::Number { min, max, step } => Some(json!({"min": min, "max": max, "step": step})),
        Platform::Button { press } => Some(json!({"press": press})),
        Platform::Switch { .. }
        | Platform::Select { .. }
        | Platform::Light { .. }
        | Platform::Cover { .. } => Some(json!({"one_of": platform.choices()})),
        Platform::Sensor { .. }
        | Platform::BinarySensor { .. }
        | Platform::Event { .. }
        | Platform::DeviceTracker { .. } => None,
    };
    if let Some(set) = set.filter(|_| may_set) {
        say("set", set);
    }
    it
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(field: &str, platform: Platform) -> Entity {
        let (name, device_class, unit, state_class) = (None, None, None, None);
        let (precision, category, is_assumed) = (None, None, false);
        let field = field.to_owned();
        Entity { field, name, platform, device_class, unit, state_class, precision, category, is_assumed }
    }

    fn switch(field: &str) -> Entity {
        entity(field, Platform::Switch { on: "ON".into(), off: "OFF".into() })
    }

    #[test]
    fn only_what_the_allow_list_names_is_offered() {
        let toaster = DeviceId::parse("toaster").unwrap();
        let settable = BTreeMap::from([(toaster.clone(), BTreeSet::from(["state".to_owned()]))]);
        let descriptions = Descriptions { kinds: BTreeMap::from([(toaster.clone(), "toaster")]), settable };
        let browning = entity("browning", Platform::Number { min: 1.0, max: 7.0, step: 1.0 });
        let said = descriptions.of(&toaster, &[switch("state"), browning.clone()]);
        assert_eq!(
            said,
            json!({"kind": "toaster", "fields": [
                {"field": "state", "on": "ON", "off": "OFF", "set": {"one_of": ["ON", "OFF"]}},
                {"field": "browning"},
            ]})
        );
        let lamp = DeviceId::parse("lamp").unwrap();
        assert_eq!(descriptions.of(&lamp, &[browning])["fields"], json!([{"field": "browning"}]));
    }

    #[test]
    fn what_happens_is_told_from_what_is() {
        let bell = DeviceId::parse("bell").unwrap();
        let pressed = entity("pressed", Platform::Event { types: vec!["once".to_owned()] });
        let said = Descriptions::default().of(&bell, &[pressed]);
        assert_eq!(said["fields"], json!([{"field": "pressed", "is_event": true}]));
    }

    #[test]
    fn a_description_is_never_longer_than_it_may_be_and_says_what_is_missing() {
        let lamp = DeviceId::parse("lamp").unwrap();
        let options = vec!["x".repeat(500)];
        let many: Vec<Entity> = (0..Entity::MOST)
            .map(|number| Entity {
                name: Some("n".repeat(200)),
                ..entity(&format!("f{number}"), Platform::Select { options: options.clone() })
            })
            .chain([switch(&"f".repeat(LONGEST_FIELD + 1))])
            .collect();
        let fields = many.iter().map(|entity| entity.field.clone()).collect();
        let descriptions =
            Descriptions { settable: BTreeMap::from([(lamp.clone(), fields)]), ..Descriptions::default() };
        let said = descriptions.of(&lamp, &many);
        assert!(said.to_string().len() <= MOST_BYTES, "{}", said.to_string().len());
        let told = said["fields"].as_array().unwrap().len();
        assert!(told > 10);
        assert_eq!(said["left_out"], many.len() - told);
    }
}
