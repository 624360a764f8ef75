//! The objects of BTHome v2 (bthome.io/format, April 2026, and `0x81` of `bthome-ble` 3.25): what stands in the bytes
//! behind each id, and what it is called.
//!
//! Fields are called as Home Assistant calls them. One field has one unit and one meaning, so where BTHome has two for
//! one name, the second has a name of its own (`mass_lb`, `battery_low`).

use serde_json::Value;

use super::super::{advertiser::rounded, values};
use crate::model::{Entity, Fields, StateClass, Timestamp};

/// What stands behind an id.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    /// So many bytes, the lowest first; a step of so much, and so many decimals.
    Unsigned(usize, f64, usize),
    Signed(usize, f64, usize),
    /// One byte: `OFF` for 0, else `ON`.
    Binary,
    /// Seconds since 1970, four bytes.
    Timestamp,
    /// A byte that says how many follow.
    Text,
    Raw,
    /// One byte.
    Button,
    /// What is done, and by how many steps.
    Dimmer,
    /// How many bytes of arguments there are, what to do, and the arguments.
    Command,
    /// The number of the advertisement.
    PacketId,
    /// So many bytes, the last is the first number.
    Firmware(usize),
}

pub(super) struct Object {
    id: u8,
    field: &'static str,
    form: Form,
    /// Home Assistant's word for what is measured; empty where it has none.
    class: &'static str,
    unit: &'static str,
}

#[cfg(test)]
impl Object {
    pub(super) fn field(&self) -> &'static str {
        self.field
    }
}

const STEPS: [f64; 7] = [1.0, 0.1, 0.01, 0.001, 0.000_1, 0.000_01, 0.000_001];

const fn object(id: u8, field: &'static str, form: Form, class: &'static str, unit: &'static str) -> Object {
    Object { id, field, form, class, unit }
}

/// A number of so many bytes and decimals.
const fn unsigned(
    id: u8,
    field: &'static str,
    shape: (usize, usize),
    class: &'static str,
    unit: &'static str,
) -> Object {
    object(id, field, Form::Unsigned(shape.0, STEPS[shape.1], shape.1), class, unit)
}

const fn signed(
    id: u8,
    field: &'static str,
    shape: (usize, usize),
    class: &'static str,
    unit: &'static str,
) -> Object {
    object(id, field, Form::Signed(shape.0, STEPS[shape.1], shape.1), class, unit)
}

const fn binary(id: u8, field: &'static str, class: &'static str) -> Object {
    object(id, field, Form::Binary, class, "")
}

pub(super) const OBJECTS: &[Object] = &[
    object(0x00, "packet_id", Form::PacketId, "", ""),
    unsigned(0x01, "battery", (1, 0), "battery", "%"),
    signed(0x02, "temperature", (2, 2), "temperature", "°C"),
    unsigned(0x03, "humidity", (2, 2), "humidity", "%"),
    unsigned(0x04, "pressure", (3, 2), "atmospheric_pressure", "hPa"),
    unsigned(0x05, "illuminance", (3, 2), "illuminance", "lx"),
    unsigned(0x06, "mass", (2, 2), "weight", "kg"),
    unsigned(0x07, "mass_lb", (2, 2), "weight", "lb"),
    signed(0x08, "dew_point", (2, 2), "temperature", "°C"),
    unsigned(0x09, "count", (1, 0), "", ""),
    unsigned(0x0a, "energy", (3, 3), "energy", "kWh"),
    unsigned(0x0b, "power", (3, 2), "power", "W"),
    unsigned(0x0c, "voltage", (2, 3), "voltage", "V"),
    unsigned(0x0d, "pm25", (2, 0), "pm25", "µg/m³"),
    unsigned(0x0e, "pm10", (2, 0), "pm10", "µg/m³"),
    binary(0x0f, "generic", ""),
    binary(0x10, "power_on", "power"),
    binary(0x11, "opening", "opening"),
    unsigned(0x12, "carbon_dioxide", (2, 0), "carbon_dioxide", "ppm"),
    unsigned(0x13, "volatile_organic_compounds", (2, 0), "volatile_organic_compounds", "µg/m³"),
    unsigned(0x14, "moisture", (2, 2), "moisture", "%"),
    binary(0x15, "battery_low", "battery"),
    binary(0x16, "battery_charging", "battery_charging"),
    binary(0x17, "carbon_monoxide", "carbon_monoxide"),
    binary(0x18, "cold", "cold"),
    binary(0x19, "connectivity", "connectivity"),
    binary(0x1a, "door", "door"),
    binary(0x1b, "garage_door", "garage_door"),
    binary(0x1c, "gas_detected", "gas"),
    binary(0x1d, "heat", "heat"),
    binary(0x1e, "light", "light"),
    binary(0x1f, "lock", "lock"),
    binary(0x20, "moisture_detected", "moisture"),
    binary(0x21, "motion", "motion"),
    binary(0x22, "moving", "moving"),
    binary(0x23, "occupancy", "occupancy"),
    binary(0x24, "plug", "plug"),
    binary(0x25, "presence", "presence"),
    binary(0x26, "problem", "problem"),
    binary(0x27, "running", "running"),
    binary(0x28, "safety", "safety"),
    binary(0x29, "smoke", "smoke"),
    binary(0x2a, "sound", "sound"),
    binary(0x2b, "tamper", "tamper"),
    binary(0x2c, "vibration", "vibration"),
    binary(0x2d, "window", "window"),
    unsigned(0x2e, "humidity", (1, 0), "humidity", "%"),
    unsigned(0x2f, "moisture", (1, 0), "moisture", "%"),
    object(0x3a, "button", Form::Button, "button", ""),
    object(0x3b, "command", Form::Command, "", ""),
    object(0x3c, "dimmer", Form::Dimmer, "", ""),
    unsigned(0x3d, "count", (2, 0), "", ""),
    unsigned(0x3e, "count", (4, 0), "", ""),
    signed(0x3f, "rotation", (2, 1), "", "°"),
    unsigned(0x40, "distance_mm", (2, 0), "distance", "mm"),
    unsigned(0x41, "distance", (2, 1), "distance", "m"),
    unsigned(0x42, "duration", (3, 3), "duration", "s"),
    unsigned(0x43, "current", (2, 3), "current", "A"),
    unsigned(0x44, "speed", (2, 2), "speed", "m/s"),
    signed(0x45, "temperature", (2, 1), "temperature", "°C"),
    unsigned(0x46, "uv_index", (1, 1), "", ""),
    unsigned(0x47, "volume", (2, 1), "volume", "L"),
    unsigned(0x48, "volume_ml", (2, 0), "volume", "mL"),
    unsigned(0x49, "volume_flow_rate", (2, 3), "volume_flow_rate", "m³/h"),
    unsigned(0x4a, "voltage", (2, 1), "voltage", "V"),
    unsigned(0x4b, "gas", (3, 3), "gas", "m³"),
    unsigned(0x4c, "gas", (4, 3), "gas", "m³"),
    unsigned(0x4d, "energy", (4, 3), "energy", "kWh"),
    unsigned(0x4e, "volume", (4, 3), "volume", "L"),
    unsigned(0x4f, "water", (4, 3), "water", "L"),
    object(0x50, "timestamp", Form::Timestamp, "timestamp", ""),
    unsigned(0x51, "acceleration", (2, 3), "", "m/s²"),
    unsigned(0x52, "gyroscope", (2, 3), "", "°/s"),
    object(0x53, "text", Form::Text, "", ""),
    object(0x54, "raw", Form::Raw, "", ""),
    unsigned(0x55, "volume_storage", (4, 3), "volume_storage", "L"),
    unsigned(0x56, "conductivity", (2, 0), "conductivity", "µS/cm"),
    signed(0x57, "temperature", (1, 0), "temperature", "°C"),
    // One decimal, as the specification's example has it.
    object(0x58, "temperature", Form::Signed(1, 0.35, 1), "temperature", "°C"),
    signed(0x59, "count", (1, 0), "", ""),
    signed(0x5a, "count", (2, 0), "", ""),
    signed(0x5b, "count", (4, 0), "", ""),
    signed(0x5c, "power", (4, 2), "power", "W"),
    signed(0x5d, "current", (2, 3), "current", "A"),
    unsigned(0x5e, "direction", (2, 2), "", "°"),
    unsigned(0x5f, "precipitation", (2, 1), "precipitation", "mm"),
    unsigned(0x60, "channel", (1, 0), "", ""),
    unsigned(0x61, "rotational_speed", (2, 0), "", "rpm"),
    signed(0x62, "speed", (4, 6), "speed", "m/s"),
    signed(0x63, "acceleration", (4, 6), "", "m/s²"),
    unsigned(0x64, "light_level", (1, 0), "", ""),
    unsigned(0x65, "settings_revision", (1, 0), "", ""),
    unsigned(0xf0, "device_type_id", (2, 0), "", ""),
    object(0xf1, "firmware_version", Form::Firmware(4), "", ""),
    object(0xf2, "firmware_version", Form::Firmware(3), "", ""),
];

const PRESSES: &[(u8, &str)] = &[
    (0x01, "press"),
    (0x02, "double_press"),
    (0x03, "triple_press"),
    (0x04, "long_press"),
    (0x05, "long_double_press"),
    (0x06, "long_triple_press"),
    (0x80, "hold_press"),
    (0x81, "hold_release"),
];
const TURNS: &[(u8, &str)] = &[(0x01, "rotate_left"), (0x02, "rotate_right")];
const COMMANDS: &[(u8, &str)] =
    &[(0x00, "off"), (0x01, "on"), (0x02, "toggle"), (0x03, "step_up"), (0x04, "step_down")];

/// What an advertisement says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Said {
    pub(super) fields: Fields,
    pub(super) packet_id: Option<u8>,
    /// What can happen on the device, whether or not it happened now.
    pub(super) events: Vec<String>,
    /// How many objects were known.
    pub(super) objects: usize,
}

/// Reads the objects of a payload, as far as they are known and whole: behind an unknown id nobody knows where the
/// next one begins, and new ids come last.
pub(super) fn read(payload: &[u8]) -> Said {
    let mut said = Said::default();
    // How many there are of each name, by its first object.
    let mut counts: Vec<(&str, usize)> = Vec::new();
    let mut rest = payload;
    while let Some((object, data, behind)) = next(rest) {
        rest = behind;
        said.objects += 1;
        if object.form == Form::PacketId {
            said.packet_id = data.first().copied();
            continue;
        }
        let name = match object.form {
            Form::Text | Form::Raw if data.is_empty() => continue,
            // A device has one of these, so there is no second.
            _ if object.id >= 0xf0 => object.field.to_owned(),
            _ => match counts.iter_mut().find(|(field, _)| *field == object.field) {
                Some((_, count)) => {
                    *count += 1;
                    format!("{}_{count}", object.field)
                }
                None => {
                    counts.push((object.field, 1));
                    object.field.to_owned()
                }
            },
        };
        if matches!(object.form, Form::Button | Form::Dimmer | Form::Command) {
            said.events.push(name.clone());
        }
        put(object, data, name, &mut said.fields);
    }
    said
}

/// The first object, its bytes, and what follows; `None` at the end, and where it cannot be known.
fn next(payload: &[u8]) -> Option<(&'static Object, &[u8], &[u8])> {
    let (id, rest) = payload.split_first()?;
    let object = OBJECTS.iter().find(|object| object.id == *id)?;
    let (length, rest) = match object.form {
        Form::Unsigned(length, ..) | Form::Signed(length, ..) | Form::Firmware(length) => (length, rest),
        Form::Binary | Form::Button | Form::PacketId => (1, rest),
        Form::Dimmer => (2, rest),
        Form::Timestamp => (4, rest),
        Form::Text | Form::Raw => (usize::from(*rest.first()?), &rest[1..]),
        // The upper three bits are reserved; what is to be done is not counted.
        Form::Command => (usize::from(*rest.first()? & 0x1f) + 1, &rest[1..]),
    };
    let (data, rest) = rest.split_at_checked(length)?;
    Some((object, data, rest))
}

fn put(object: &Object, data: &[u8], name: String, fields: &mut Fields) {
    let whole = || data.iter().rev().fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
    let happened = |words: &[(u8, &'static str)]| {
        let known = words.iter().find(|(code, _)| Some(code) == data.first());
        known.map(|(_, word)| Value::from(*word))
    };
    let value = match object.form {
        Form::Unsigned(_, step, decimals) => values::number(rounded(whole() as f64 * step, decimals)),
        Form::Signed(length, step, decimals) => {
            // The sign is spread over the upper bytes.
            let unused = 64 - 8 * length;
            let number = (whole() << unused).cast_signed() >> unused;
            values::number(rounded(number as f64 * step, decimals))
        }
        Form::Binary => Some(super::super::advertiser::binary(whole() != 0)),
        Form::Timestamp => {
            let moment = i64::try_from(whole() * 1000).ok().map(Timestamp::from_millis);
            moment.map(|moment| moment.to_string().into())
        }
        Form::Text => std::str::from_utf8(data).ok().map(Value::from),
        Form::Raw => Some(hexadecimal(data).into()),
        Form::Button => happened(PRESSES),
        Form::Dimmer => {
            let turn = happened(TURNS);
            if let (Some(_), Some(steps)) = (&turn, data.get(1)) {
                fields.insert(format!("{name}_steps"), (*steps).into());
            }
            turn
        }
        Form::Command => {
            let command = happened(COMMANDS);
            if command.is_some() {
                fields.insert(format!("{name}_args"), hexadecimal(&data[1..]).into());
            }
            command
        }
        Form::Firmware(_) => {
            let numbers: Vec<_> = data.iter().rev().map(u8::to_string).collect();
            Some(numbers.join(".").into())
        }
        Form::PacketId => None,
    };
    if let Some(value) = value {
        fields.insert(name, value);
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a field is for people, with its number if it is not the first of its name.
pub(super) fn entity(field: &str) -> Option<Entity> {
    let is = |object: &&Object| {
        let number = field.strip_prefix(object.field).map(|rest| rest.strip_prefix('_').unwrap_or(rest));
        number.is_some_and(|number| number.bytes().all(|digit| digit.is_ascii_digit()))
    };
    let object = OBJECTS.iter().find(is)?;
    let words = |words: &[(u8, &'static str)]| Entity::event(field, words.iter().map(|(_, word)| *word));
    let entity = match object.form {
        Form::Unsigned(_, _, decimals) | Form::Signed(_, _, decimals) => {
            let class = match object.field {
                "energy" | "gas" | "water" | "volume" | "volume_ml" => StateClass::TotalIncreasing,
                _ => StateClass::Measurement,
            };
            // What is no measure has no mean.
            match object.field {
                "device_type_id" | "settings_revision" | "channel" => Entity::sensor(field),
                _ => Entity::sensor(field).stated(class).precision(u8::try_from(decimals).unwrap_or(0)),
            }
        }
        Form::Binary => Entity::binary_sensor(field),
        Form::Timestamp | Form::Text | Form::Raw | Form::Firmware(_) => Entity::sensor(field),
        Form::Button => words(PRESSES),
        Form::Dimmer => words(TURNS),
        Form::Command => words(COMMANDS),
        Form::PacketId => return None,
    };
    let entity = if object.class.is_empty() { entity } else { entity.class(object.class) };
    let entity = if object.unit.is_empty() { entity } else { entity.unit(object.unit) };
    Some(match object.field {
        "battery" | "battery_low" | "voltage" | "device_type_id" | "settings_revision"
        | "firmware_version" => entity.diagnostic(),
        _ => entity,
    })
}
