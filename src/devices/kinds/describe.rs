//! What a user says of a field: its unit and what is measured, in Home Assistant's words.
//!
//! Owns the list of what Home Assistant takes for a sensor's `device_class` (its documentation, "Sensor", 2026.1),
//! so that a wrong word is found by `hearthlink check` and not by a device that never appears.

use serde::Deserialize;
use serde_json::Value;

use super::{super::options::nearest, values::Type};
use crate::model::{Entity, Fields, Platform, StateClass};

/// What a field of the options says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Described {
    /// The field of the state.
    pub(super) name: String,
    #[serde(default)]
    pub(super) unit: Option<String>,
    #[serde(default)]
    pub(super) device_class: Option<String>,
}

/// The classes that a sensor can have.
const CLASSES: &[&str] = &[
    "absolute_humidity",
    "apparent_power",
    "aqi",
    "area",
    "atmospheric_pressure",
    "battery",
    "blood_glucose_concentration",
    "carbon_dioxide",
    "carbon_monoxide",
    "conductivity",
    "current",
    "data_rate",
    "data_size",
    "distance",
    "duration",
    "energy",
    "energy_distance",
    "energy_storage",
    "frequency",
    "gas",
    "humidity",
    "illuminance",
    "irradiance",
    "moisture",
    "monetary",
    "nitrogen_dioxide",
    "nitrogen_monoxide",
    "nitrous_oxide",
    "ozone",
    "ph",
    "pm1",
    "pm10",
    "pm25",
    "pm4",
    "power",
    "power_factor",
    "precipitation",
    "precipitation_intensity",
    "pressure",
    "reactive_energy",
    "reactive_power",
    "signal_strength",
    "sound_pressure",
    "speed",
    "sulphur_dioxide",
    "temperature",
    "temperature_delta",
    "volatile_organic_compounds",
    "volatile_organic_compounds_parts",
    "voltage",
    "volume",
    "volume_flow_rate",
    "volume_storage",
    "water",
    "weight",
    "wind_direction",
    "wind_speed",
];

/// The longest unit, in characters.
const LONGEST_UNIT: usize = 24;

/// Whether a unit and a class can be announced. An error names the option and says what is possible.
pub(super) fn check(unit: Option<&str>, class: Option<&str>) -> Result<(), (&'static str, String)> {
    if let Some(unit) = unit
        && (unit.is_empty() || unit.chars().count() > LONGEST_UNIT || unit.chars().any(char::is_control))
    {
        return Err(("unit", format!("a unit has from 1 to {LONGEST_UNIT} characters")));
    }
    let Some(class) = class.filter(|class| !CLASSES.contains(class)) else { return Ok(()) };
    let problem = match nearest(class, CLASSES) {
        Some(near) => format!("`{class}` is nothing that is measured; did you mean `{near}`?"),
        None => {
            format!("`{class}` is nothing that is measured; write for example `temperature`, or leave it out")
        }
    };
    Err(("device_class", problem))
}

/// A number that is read: where no class is said, the one of which the unit leaves no doubt.
pub(super) fn number(field: &str, unit: Option<&str>, class: Option<&str>) -> Entity {
    let class = class.or_else(|| unit.and_then(class_of));
    let state_class = match class {
        // Home Assistant takes these as sums only.
        Some("energy" | "gas" | "water" | "volume" | "reactive_energy") => Some(StateClass::TotalIncreasing),
        Some("monetary") => None,
        _ => Some(StateClass::Measurement),
    };
    let entity = Entity { state_class, ..Entity::sensor(field) };
    let entity = match class {
        Some(class) => entity.class(class.to_owned()),
        None => entity,
    };
    match unit {
        Some(unit) => entity.unit(unit.to_owned()),
        None => entity,
    }
}

/// A number that can be set to all that its place can hold; a device may take less, and then refuses.
pub(super) fn settable(
    field: &str,
    unit: Option<&str>,
    class: Option<&str>,
    place: Type,
    scale: f64,
) -> Entity {
    let (least, most) = place.range();
    let (a, b) = (least * scale, most * scale);
    // Home Assistant takes no step below a thousandth.
    let step = if place == Type::F32 { 0.1 } else { scale.abs().max(0.001) };
    let Entity { device_class, unit, .. } = number(field, unit, class);
    Entity { device_class, unit, ..Entity::number(field, a.min(b), a.max(b), step) }
}

/// What the fields of a state are that nobody but the user has described: numbers and words to be read; two words of
/// which one can be set to the other are a switch.
pub(super) fn read_and_set(
    state: &Fields,
    described: &[Described],
    is_settable: impl Fn(&str) -> bool,
) -> Vec<Entity> {
    let of = |(field, value): (&String, &Value)| {
        if let Some((on, off)) = opposites(value).filter(|_| is_settable(field)) {
            return Some(Entity::new(field, Platform::Switch { on, off }));
        }
        match described.iter().find(|described| described.name == *field) {
            Some(Described { unit, device_class, .. }) if unit.is_some() || device_class.is_some() => {
                Some(number(field, unit.as_deref(), device_class.as_deref()))
            }
            _ => Entity::of_value(field, value),
        }
    };
    state.iter().filter_map(of).collect()
}

/// The two values of which `value` is one, if it says that something is on or off.
fn opposites(value: &Value) -> Option<(Value, Value)> {
    let pairs = [("ON", "OFF"), ("on", "off"), ("On", "Off")];
    match value {
        Value::Bool(_) => Some((true.into(), false.into())),
        Value::String(word) => {
            let pair = pairs.iter().find(|(on, off)| word == on || word == off)?;
            Some((pair.0.into(), pair.1.into()))
        }
        _ => None,
    }
}

fn class_of(unit: &str) -> Option<&'static str> {
    Some(match unit {
        "°C" | "°F" | "K" => "temperature",
        "W" | "kW" | "MW" => "power",
        "Wh" | "kWh" | "MWh" => "energy",
        "V" | "mV" => "voltage",
        "A" | "mA" => "current",
        "VA" | "kVA" => "apparent_power",
        "var" | "kvar" => "reactive_power",
        "varh" | "kvarh" => "reactive_energy",
        "Hz" | "kHz" => "frequency",
        "hPa" | "mbar" | "bar" | "kPa" => "pressure",
        "lx" => "illuminance",
        "dBm" => "signal_strength",
        "m³/h" | "L/min" => "volume_flow_rate",
        "W/m²" => "irradiance",
        "kg" => "weight",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_without_doubt_says_what_is_measured_and_sums_are_sums() {
        for (unit, class, expected) in [
            (Some("°C"), None, (Some("temperature"), Some(StateClass::Measurement))),
            (Some("kWh"), None, (Some("energy"), Some(StateClass::TotalIncreasing))),
            (Some("kWh"), Some("energy_storage"), (Some("energy_storage"), Some(StateClass::Measurement))),
            (Some("m³"), Some("gas"), (Some("gas"), Some(StateClass::TotalIncreasing))),
            (Some("%"), None, (None, Some(StateClass::Measurement))),
            (None, None, (None, Some(StateClass::Measurement))),
        ] {
            let entity = number("x", unit, class);
            assert_eq!((entity.device_class.as_deref(), entity.state_class), expected, "{unit:?} {class:?}");
            assert_eq!(entity.unit.as_deref(), unit);
        }
    }

    #[test]
    fn what_is_on_or_off_and_can_be_set_is_a_switch_with_its_own_words() {
        let state = Fields::from_iter([
            ("pump".to_owned(), "on".into()),
            ("valve".to_owned(), "off".into()),
            ("level".to_owned(), 3.into()),
        ]);
        let entities = read_and_set(&state, &[], |field| field == "pump");
        let platforms: Vec<_> = entities.iter().map(|entity| (&*entity.field, &entity.platform)).collect();
        let word = Platform::Sensor { options: Vec::new() };
        let switch = Platform::Switch { on: "on".into(), off: "off".into() };
        assert_eq!(platforms, [("level", &word), ("pump", &switch), ("valve", &word)]);
    }

    #[test]
    fn what_home_assistant_does_not_know_is_refused_with_what_was_meant() {
        assert_eq!(check(Some("°C"), Some("temperature")), Ok(()));
        let (option, problem) = check(None, Some("temprature")).unwrap_err();
        assert!(option == "device_class" && problem.contains("`temperature`"), "{problem}");
        assert_eq!(check(Some(""), None).unwrap_err().0, "unit");
        assert!(CLASSES.is_sorted());
    }
}
