//! OBIS codes: what `1-0:1.8.0` is called here, and in which unit it is told.
//!
//! Energies are in kWh, powers in W, volumes in m³; the rest is as the meter has it. Source of the codes: IEC
//! 62056-61 and the P1 companion standard 5.0.2.

use std::fmt;

use serde_json::Value;

use super::super::values;
use crate::model::{Entity, Fields, StateClass};

/// A code in one spelling: `1-0:1.8.0`, with `*F` only where it is not 255.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Code(String);

impl Code {
    /// Reads `1-0:1.8.0*255`, `1-0:1.8.0` or, as small meters have it, `1.8.0` (electricity); `None` for what is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (medium, rest) = text.split_once(':').unwrap_or(("1-0", text));
        let (rest, last) = rest.split_once('*').unwrap_or((rest, "255"));
        let is_number = |text: &str| text.parse::<u8>().is_ok();
        let is_group = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let (a, b) = medium.split_once('-')?;
        let groups = rest.split('.').count();
        let is_code = is_number(a)
            && is_number(b)
            && (2..=4).contains(&groups)
            && rest.split('.').all(is_group)
            && is_group(last)
            && text.len() <= 32;
        let last = if last == "255" { String::new() } else { format!("*{last}") };
        is_code.then(|| Self(format!("{medium}:{rest}{last}")))
    }

    /// The six numbers of a binary code.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, d, e, f] = *bytes else { return None };
        Self::parse(&format!("{a}-{b}:{c}.{d}.{e}*{f}"))
    }

    /// The field that it is by itself.
    fn name(&self, mediums: &[(String, u64)]) -> Option<String> {
        let (medium, rest) = self.0.split_once(':')?;
        if medium.starts_with("1-") {
            return electricity(rest).map(str::to_owned);
        }
        if rest == "96.14.0" {
            return Some("tariff".to_owned());
        }
        // A meter that reports through this one, on a channel of its own.
        let channel = medium.strip_prefix("0-")?;
        if !matches!(rest, "24.2.1" | "24.2.3" | "24.3.0") {
            return None;
        }
        let what = mediums.iter().find(|(known, _)| known == medium).map(|(_, what)| *what);
        Some(match what {
            Some(3) => "gas_total".to_owned(),
            Some(4) => "heat_total".to_owned(),
            Some(7) => "water_total".to_owned(),
            _ => format!("channel{channel}_total"),
        })
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn electricity(code: &str) -> Option<&'static str> {
    Some(match code {
        "1.8.0" => "energy_import_total",
        "1.8.1" => "energy_import_t1",
        "1.8.2" => "energy_import_t2",
        "2.8.0" => "energy_export_total",
        "2.8.1" => "energy_export_t1",
        "2.8.2" => "energy_export_t2",
        "16.7.0" => "power",
        "1.7.0" => "power_import",
        "2.7.0" => "power_export",
        "21.7.0" => "power_import_l1",
        "41.7.0" => "power_import_l2",
        "61.7.0" => "power_import_l3",
        "22.7.0" => "power_export_l1",
        "42.7.0" => "power_export_l2",
        "62.7.0" => "power_export_l3",
        "36.7.0" => "power_l1",
        "56.7.0" => "power_l2",
        "76.7.0" => "power_l3",
        "32.7.0" => "voltage_l1",
        "52.7.0" => "voltage_l2",
        "72.7.0" => "voltage_l3",
        "31.7.0" => "current_l1",
        "51.7.0" => "current_l2",
        "71.7.0" => "current_l3",
        "14.7.0" => "frequency",
        "13.7.0" => "power_factor",
        _ => return None,
    })
}

/// What a field that is told by itself is for people; `None` for another.
pub(super) fn entity(field: &str) -> Option<Entity> {
    let measured = |class: &'static str, unit: &'static str| Some(Entity::measurement(field, class, unit));
    match field {
        "tariff" => Some(Entity::sensor(field)),
        "frequency" => measured("frequency", "Hz"),
        "power_factor" => Some(Entity::sensor(field).class("power_factor").stated(StateClass::Measurement)),
        "gas_total" => Some(Entity::total(field, "gas", "m³")),
        "water_total" => Some(Entity::total(field, "water", "m³")),
        // In what it counts, only the meter knows.
        _ if field.ends_with("_total") && !field.starts_with("energy") => {
            Some(Entity::sensor(field).stated(StateClass::TotalIncreasing))
        }
        _ => match field.split('_').next()? {
            "energy" => Some(Entity::total(field, "energy", "kWh")),
            "power" => measured("power", "W"),
            "voltage" => measured("voltage", "V"),
            "current" => measured("current", "A"),
            _ => None,
        },
    }
}

/// One value of a telegram.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub(super) code: Code,
    pub(super) value: Value,
    /// As the telegram writes it; empty for none.
    pub(super) unit: String,
}

impl Item {
    /// The value in our unit.
    fn told(&self) -> Option<Value> {
        let Some(number) = self.value.as_f64() else {
            return Some(self.value.clone()).filter(|value| value.as_str() != Some(""));
        };
        // Some meters write `kVAr`.
        values::number(match self.unit.to_ascii_lowercase().as_str() {
            "wh" | "varh" | "vah" => number / 1000.0,
            "mwh" | "kw" | "kvar" | "kva" => number * 1000.0,
            _ => number,
        })
    }
}

/// The fields of a telegram: `own` names first, then those that everybody has. Where a meter tells tariffs and no
/// total, the total is their sum; where it tells power each way, `power` is the difference.
pub(super) fn fields(items: &[Item], own: &[(Code, String)]) -> Fields {
    let medium = |item: &Item| {
        let medium = item.code.0.strip_suffix(":24.1.0")?;
        Some((medium.to_owned(), item.value.as_u64()?))
    };
    let mediums: Vec<_> = items.iter().filter_map(medium).collect();
    let mut fields = Fields::new();
    for item in items {
        let Some(value) = item.told() else { continue };
        for (_, field) in own.iter().filter(|(code, _)| *code == item.code) {
            fields.insert(field.clone(), value.clone());
        }
        // What has a name of ours is a measure, even if it is written like a name: `(0000230)`.
        let measure = value.as_str().map_or(Some(value.clone()), values::measured);
        if let (Some(name), Some(measure)) = (item.code.name(&mediums), measure.filter(Value::is_number)) {
            fields.insert(name, measure);
        }
    }
    for (total, parts) in [
        ("energy_import_total", [("energy_import_t1", 1.0), ("energy_import_t2", 1.0)]),
        ("energy_export_total", [("energy_export_t1", 1.0), ("energy_export_t2", 1.0)]),
        ("power", [("power_import", 1.0), ("power_export", -1.0)]),
    ] {
        let part = |(name, sign): (&str, f64)| Some(fields.get(name)?.as_f64()? * sign);
        if let (Some(one), other) = (part(parts[0]), part(parts[1]))
            && !fields.contains_key(total)
            && let Some(sum) = values::number(one + other.unwrap_or(0.0))
        {
            fields.insert(total.to_owned(), sum);
        }
    }
    fields
}
