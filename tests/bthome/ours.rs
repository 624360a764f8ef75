//! What our kinds make of a case.

use hearthlink::{
    devices::{DeviceSpec, Frame, KINDS},
    model::{DeviceId, Fields, Timestamp},
};
use serde_json::{Value, json};

use super::adverts::Case;

/// What is known after an advertisement.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// All that was read so far.
    pub state: Fields,
    /// What happened now.
    pub events: Fields,
}

fn is_event(field: &str) -> bool {
    ["button", "dimmer", "command", "cube", "motion_event"].iter().any(|event| field.starts_with(event))
}

fn channel(kind: &str) -> &'static str {
    match kind {
        "bthome" => "service_data/fcd2",
        "mibeacon" => "service_data/fe95",
        "atc" => "service_data/181a",
        "ruuvi" => "manufacturer_data/0499",
        other => panic!("{other} is not compared"),
    }
}

/// A device of its own hears the case's advertisements. One that cannot be built, as its key is no key, knows nothing.
pub fn hear(case: &Case) -> Vec<Known> {
    let mut options = json!({"address": case.adverts[0].address});
    if let Some(key) = &case.key {
        options["bind_key"] = json!(key);
    }
    let kind = KINDS.iter().find(|kind| kind.name == case.kind).unwrap();
    let spec = DeviceSpec { id: DeviceId::parse("d").unwrap(), kind: case.kind.to_owned(), options };
    let mut device = match (kind.build)(&spec) {
        Ok(device) => device,
        Err(error) => {
            let (text, key) = (error.to_string(), case.key.as_deref().unwrap());
            assert!(key.len() != 32 && text.contains("`bind_key`") && !text.contains(key), "{text}");
            return vec![Known::default(); case.adverts.len()];
        }
    };
    let mut known = Known::default();
    let hear = |advert: &super::adverts::Advert| {
        let payload = [&[-60i8 as u8], &advert.data[..]].concat();
        let now = Timestamp::from_millis(1_700_000_000_000 + (advert.at * 1000.0) as i64);
        known.events.clear();
        let heard = device.decode(&Frame::new(channel(case.kind), payload), now);
        for (field, value) in heard.map(|changes| changes.fields).unwrap_or_default() {
            match field.as_str() {
                "signal" => assert_eq!(value, json!(-60)),
                "encryption_counter" => assert!(value.is_u64() && case.key.is_some()),
                field if is_event(field) => drop(known.events.insert(field.to_owned(), value)),
                _ => drop(known.state.insert(field, value)),
            }
        }
        known.clone()
    };
    case.adverts.iter().map(hear).collect()
}

/// Whether two values are the same, numbers within a tolerance.
pub fn same(ours: &Value, theirs: &Value, tolerance: f64) -> bool {
    match (ours.as_f64(), theirs.as_f64()) {
        (Some(ours), Some(theirs)) => ours == theirs || (ours - theirs).abs() <= tolerance,
        _ => ours == theirs,
    }
}
