//! One field of a peripheral: in which characteristic it stands, what it means, and how it is set.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;
use uuid::Uuid;

use super::super::{
    super::{
        Span,
        ble::{Characteristic, channel},
        serial::framing::Order,
    },
    describe,
    values::{self, Type},
};
use crate::model::Entity;

/// The longest value of an attribute, in bytes (Core Specification 5.3, volume 3, part F, 3.2.9).
const LONGEST: usize = 512;
const TYPES: &str = "`u8`, `i8`, `u16le`, `u16be`, `i16le`, `i16be`, `u32le`, `u32be`, `i32le`, `i32be`, `f32le`, \
                     `f32be`, `bool` or `utf8`";

/// A UUID as people write it: whole, or four digits, in quotes or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written(pub(super) Uuid);

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Written;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(
                    "a UUID in quotes, four digits or whole: `\"2a6e\"`, `\"ebe0ccc1-7a0a-4b0c-8a1a-6ff2997da3a6\"`",
                )
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Written, E> {
                let bad = || E::invalid_value(de::Unexpected::Str(text), &self);
                channel::uuid(text.trim()).map(Written).ok_or_else(bad)
            }
            // `2902` without quotes is a number to YAML.
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Written, E> {
                let bad = || E::invalid_value(de::Unexpected::Unsigned(number), &self);
                channel::uuid(&format!("{number:04}")).map(Written).ok_or_else(bad)
            }
        }
        deserializer.deserialize_any(Text)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Way {
    WithResponse,
    WithoutResponse,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Options {
    /// What it is called in the state.
    field: String,
    /// The characteristic that it stands in.
    uuid: Written,
    /// The service of that, where several have one.
    #[serde(default)]
    service: Option<Written>,
    #[serde(rename = "type")]
    kind: String,
    /// Where it begins in the characteristic's value, in bytes.
    #[serde(default)]
    offset: usize,
    #[serde(default = "one")]
    scale: f64,
    #[serde(default)]
    unit: Option<String>,
    /// What is measured, in Home Assistant's words.
    #[serde(default)]
    device_class: Option<String>,
    /// The peripheral says its changes by itself.
    #[serde(default)]
    notify: bool,
    /// How often it is read.
    #[serde(default)]
    read_every: Option<Span>,
    #[serde(default)]
    writable: bool,
    /// How it is written. Default: with response, where the peripheral gives one.
    #[serde(default)]
    write: Option<Way>,
    /// Whether it is read back after it was written.
    #[serde(default = "yes")]
    confirm: bool,
}

fn one() -> f64 {
    1.0
}

fn yes() -> bool {
    true
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Number(Type, Order),
    Bool,
    Text,
}

impl Format {
    fn parse(text: &str) -> Option<Self> {
        let (name, order) = if let Some(name) = text.strip_suffix("le") {
            (name, Some(Order::Little))
        } else if let Some(name) = text.strip_suffix("be") {
            (name, Some(Order::Big))
        } else {
            (text, None)
        };
        let number = match name {
            "u8" => Type::U8,
            "i8" => Type::I8,
            "u16" => Type::U16,
            "i16" => Type::I16,
            "u32" => Type::U32,
            "i32" => Type::I32,
            "f32" => Type::F32,
            "bool" if order.is_none() => return Some(Format::Bool),
            "utf8" if order.is_none() => return Some(Format::Text),
            _ => return None,
        };
        // One byte has no order, and more have one that must be known.
        (order.is_some() == (number.size() > 1)).then_some(Format::Number(number, order.unwrap_or_default()))
    }
}

#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) uuid: Uuid,
    pub(super) is_confirmed: bool,
    format: Format,
    offset: usize,
    scale: f64,
    is_writable: bool,
    unit: Option<String>,
    device_class: Option<String>,
}

impl Field {
    /// The field, and what it needs of the bus. An error names the option and says what is possible.
    pub(super) fn new(
        options: &Options,
        confirm_within: Duration,
    ) -> Result<(Self, Characteristic), (&'static str, String)> {
        let bad = |option, problem: &str| Err((option, problem.to_owned()));
        let format = Format::parse(&options.kind)
            .ok_or_else(|| ("type", format!("`{}` is no type; write {TYPES}", options.kind)))?;
        if options.field.is_empty() {
            return bad("field", "a field has a name");
        }
        if ["signal", "battery"].contains(&options.field.as_str()) {
            let problem = format!("`{}` comes along by itself; call this one otherwise", options.field);
            return bad("field", &problem);
        }
        if !options.scale.is_finite() || options.scale == 0.0 {
            return bad("scale", "write a number that is not 0");
        }
        if options.scale != 1.0 && !matches!(format, Format::Number(..)) {
            return bad("scale", "only a number has one; leave it out");
        }
        if !matches!(format, Format::Number(..)) && (options.unit.is_some() || options.device_class.is_some())
        {
            let option = if options.unit.is_some() { "unit" } else { "device_class" };
            return bad(option, "only a number has one; leave it out");
        }
        describe::check(options.unit.as_deref(), options.device_class.as_deref())?;
        if options.offset >= LONGEST {
            return bad("offset", "a characteristic has up to 512 bytes");
        }
        if options.writable && options.offset > 0 {
            return bad(
                "writable",
                "a characteristic is written as a whole, so its field must begin at offset 0",
            );
        }
        if options.write.is_some() && !options.writable {
            return bad("write", "this field is not `writable`; add that, or leave `write` out");
        }
        let field = Self {
            name: options.field.clone(),
            uuid: options.uuid.0,
            is_confirmed: options.confirm,
            format,
            offset: options.offset,
            scale: options.scale,
            is_writable: options.writable,
            unit: options.unit.clone(),
            device_class: options.device_class.clone(),
        };
        let characteristic = Characteristic {
            uuid: options.uuid.0,
            service: options.service.map(|service| service.0),
            notify: options.notify,
            read_every: options.read_every.map(|every| every.0),
            with_response: options.write.map(|way| way == Way::WithResponse),
            shows_within: (options.writable && options.confirm).then_some(confirm_within),
        };
        Ok((field, characteristic))
    }

    pub(super) fn is_writable(&self) -> bool {
        self.is_writable
    }

    /// What it is for people.
    pub(super) fn entity(&self) -> Entity {
        match self.format {
            Format::Bool if self.is_writable => Entity::switch(&self.name),
            Format::Bool => Entity::binary_sensor(&self.name),
            Format::Text => Entity::sensor(&self.name),
            Format::Number(kind, _) => {
                let (unit, class) = (self.unit.as_deref(), self.device_class.as_deref());
                if self.is_writable {
                    describe::settable(&self.name, unit, class, kind, self.scale)
                } else {
                    describe::number(&self.name, unit, class)
                }
            }
        }
    }

    /// Puts into the value of its characteristic what a peripheral that is only played has there: something like
    /// `number`, as near as the field comes to it.
    pub(super) fn play(&self, number: f64, value: &mut Vec<u8>) {
        let bytes = match self.format {
            Format::Number(kind, order) => {
                let (least, most) = kind.range();
                let steps = number / self.scale;
                let steps = if kind == Type::F32 { steps } else { steps.round() };
                let mut bytes = kind.write(steps.clamp(least, most)).unwrap_or_default();
                if order == Order::Little {
                    bytes.reverse();
                }
                bytes
            }
            Format::Bool => vec![0],
            Format::Text => b"simulated".to_vec(),
        };
        let end = self.offset + bytes.len();
        value.resize(value.len().max(end), 0);
        value[self.offset..end].copy_from_slice(&bytes);
    }

    /// What it is in the value of its characteristic. An error says why it is nothing.
    pub(super) fn read(&self, value: &[u8]) -> Result<Value, String> {
        let part = value.get(self.offset..).unwrap_or_default();
        let enough = |count: usize| {
            let short = || {
                format!("the value has {} bytes, and this field ends at {}", value.len(), self.offset + count)
            };
            part.get(..count).ok_or_else(short)
        };
        match self.format {
            Format::Number(kind, order) => {
                let number = kind.read(enough(kind.size())?, order) * self.scale;
                values::number(number).ok_or_else(|| "it is not a finite number".to_owned())
            }
            Format::Bool => Ok(Value::from(if enough(1)?[0] == 0 { "OFF" } else { "ON" })),
            Format::Text => {
                let text = std::str::from_utf8(part).map_err(|_| "it is no UTF-8".to_owned())?;
                // Some fill the rest of a name with zeros.
                Ok(Value::from(text.trim_end_matches('\0')))
            }
        }
    }

    /// The bytes that set it to `value`. An error says what is possible.
    pub(super) fn bytes(&self, value: &Value) -> Result<Vec<u8>, String> {
        if !self.is_writable {
            return Err("this field is not `writable`".to_owned());
        }
        match self.format {
            Format::Number(kind, order) => {
                let number = value.as_f64().ok_or("write a number")?;
                let mut bytes = kind.write(number / self.scale).ok_or_else(|| {
                    format!("it does not fit: the field is {kind:?} in steps of {}", self.scale)
                        .to_lowercase()
                })?;
                if order == Order::Little {
                    bytes.reverse();
                }
                Ok(bytes)
            }
            Format::Bool => {
                let is_on = values::bit(value).ok_or("write `ON` or `OFF`")?;
                Ok(vec![u8::from(is_on)])
            }
            Format::Text => match value.as_str() {
                Some(text) if text.len() <= LONGEST => Ok(text.as_bytes().to_vec()),
                _ => Err("write a text of up to 512 bytes".to_owned()),
            },
        }
    }

    /// Whether the field that shows `seen` was set to `wanted`: within half a step.
    pub(super) fn shows(&self, seen: &Value, wanted: &Value) -> bool {
        match self.format {
            Format::Number(kind, _) => {
                let (Some(seen), Some(wanted)) = (seen.as_f64(), wanted.as_f64()) else { return false };
                let step = if kind == Type::F32 { wanted.abs() * 1e-6 } else { self.scale.abs() / 2.0 };
                (seen - wanted).abs() <= step
            }
            Format::Bool => values::bit(seen).is_some() && values::bit(seen) == values::bit(wanted),
            Format::Text => seen == wanted,
        }
    }
}

/// Adds what one more field needs of its characteristic. An error names the option.
pub(super) fn merge(
    all: &mut Vec<Characteristic>,
    one: Characteristic,
) -> Result<(), (&'static str, String)> {
    let Some(same) = all.iter_mut().find(|other| other.uuid == one.uuid) else {
        all.push(one);
        return Ok(());
    };
    if same.service != one.service {
        let problem =
            "another field stands in this characteristic of another service; write the same for both";
        return Err(("service", problem.to_owned()));
    }
    same.notify |= one.notify;
    same.read_every = earlier(same.read_every, one.read_every);
    same.with_response = same.with_response.or(one.with_response);
    same.shows_within = same.shows_within.or(one.shows_within);
    Ok(())
}

fn earlier(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
