//! Tasmota's telemetry: nested objects with capital names, flattened to fields of a state.

use serde_json::Value;

use crate::model::Fields;

/// The fields of `tele/…/STATE` or `tele/…/SENSOR`.
pub(super) fn fields(what: &str, object: &Fields) -> Fields {
    if what == "STATE" {
        let signal = object.get("Wifi").and_then(|wifi| wifi.get("Signal"));
        return signal.map(|dbm| ("signal".to_owned(), dbm.clone())).into_iter().collect();
    }
    let mut fields = Fields::new();
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
