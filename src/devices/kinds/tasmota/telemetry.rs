//! Tasmota's telemetry: nested objects with capital names, flattened to fields of a state.

use serde_json::Value;

use crate::model::{Entity, Fields, StateClass};

/// How Tasmota calls the units that can be set (`SetOption8`, `SetOption24`), and those that are usual.
const UNITS: [(&str, &str, &str); 2] =
    [("TempUnit", "temperature_unit", "C"), ("PressureUnit", "pressure_unit", "hPa")];

/// The fields of `tele/…/STATE` or `tele/…/SENSOR`.
pub(super) fn fields(what: &str, object: &Fields) -> Fields {
    if what == "STATE" {
        let signal = object.get("Wifi").and_then(|wifi| wifi.get("Signal"));
        return signal.map(|dbm| ("signal".to_owned(), dbm.clone())).into_iter().collect();
    }
    let mut fields = Fields::new();
    for (unit, field, usual) in UNITS {
        let said = object.get(unit).and_then(Value::as_str);
        if let Some(said) = said.filter(|said| *said != usual) {
            fields.insert(field.to_owned(), said.into());
        }
    }
    for (group, value) in object {
        let Value::Object(leaves) = value else { continue };
        for (leaf, value) in leaves {
            // Only single values: `TotalStartTime` and identifiers are texts, lists are per relay.
            if !value.is_number() {
                continue;
            }
            fields.insert(name(group, leaf), value.clone());
        }
    }
    fields
}

/// What a field of the telemetry is for people; `None` for one that is none.
///
/// Tasmota's units are those of its documentation ("Power Monitoring"); where temperature and pressure have another
/// than usual, the state says so.
pub(super) fn entity(field: &str, state: &Fields) -> Option<Entity> {
    if field == "state" || UNITS.iter().any(|(_, unit, _)| *unit == field) {
        return None;
    }
    let measured = |class: &'static str, unit: &'static str| Some(Entity::measurement(field, class, unit));
    let said = |unit: &str| state.get(unit).and_then(Value::as_str);
    match field {
        "signal" => measured("signal_strength", "dBm").map(Entity::diagnostic),
        "power" => measured("power", "W"),
        "apparent_power" => measured("apparent_power", "VA"),
        "reactive_power" => measured("reactive_power", "var"),
        "voltage" => measured("voltage", "V"),
        "current" => measured("current", "A"),
        "frequency" => measured("frequency", "Hz"),
        "factor" => Some(Entity::sensor(field).class("power_factor").stated(StateClass::Measurement)),
        "energy_total" | "energy_today" => Some(Entity::total(field, "energy", "kWh")),
        "energy_yesterday" => Some(Entity::sensor(field).class("energy").unit("kWh")),
        "energy_period" => Some(Entity::sensor(field).class("energy").unit("Wh")),
        _ => match field.rsplit_once('_').map_or(field, |(_, leaf)| leaf) {
            "temperature" => {
                measured("temperature", if said("temperature_unit") == Some("F") { "°F" } else { "°C" })
            }
            "humidity" => measured("humidity", "%"),
            "pressure" => {
                let unit = said("pressure_unit").unwrap_or("hPa").to_owned();
                Some(Entity::measurement(field, "pressure", unit))
            }
            "illuminance" => measured("illuminance", "lx"),
            _ => Entity::of_value(field, state.get(field)?),
        },
    }
}

fn name(group: &str, leaf: &str) -> String {
    match (group, leaf) {
        ("ENERGY", "Total" | "Today" | "Yesterday" | "Period") => format!("energy_{}", snake(leaf)),
        ("ENERGY", _) => snake(leaf),
        _ => format!("{}_{}", snake(group), snake(leaf)),
    }
}

/// `ApparentPower` as `apparent_power`, `AM2301` as `am2301`.
fn snake(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    let mut after_small = false;
    for c in name.chars() {
        if c.is_ascii_uppercase() && after_small {
            snake.push('_');
        }
        after_small = c.is_ascii_lowercase();
        snake.push(if c == '-' || c == ' ' { '_' } else { c.to_ascii_lowercase() });
    }
    snake
}
