//! One register, or a pair of them: where it is, what it means, and how it is set.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::{
    super::{
        super::{Span, serial::framing::Order},
        describe,
        values::{self, Type},
    },
    rtu::Pdu,
};
use crate::model::Entity;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Table {
    /// A bit that can be set.
    Coil,
    /// A bit that can be read.
    Discrete,
    /// A number that can be set.
    Holding,
    /// A number that can be read.
    Input,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Options {
    /// The field that it is.
    name: String,
    #[serde(default = "holding")]
    table: Table,
    /// Its number on the wire, from 0.
    register: u16,
    #[serde(default, rename = "type")]
    kind: Option<Type>,
    /// Which of two registers is the higher half: `big`, the first.
    #[serde(default)]
    words: Order,
    #[serde(default = "one")]
    scale: f64,
    #[serde(default)]
    unit: Option<String>,
    /// What is measured, in Home Assistant's words.
    #[serde(default)]
    device_class: Option<String>,
    /// How often it is asked for.
    #[serde(default)]
    every: Option<Span>,
    /// Whether it may be set.
    #[serde(default)]
    writable: bool,
}

fn holding() -> Table {
    Table::Holding
}

fn one() -> f64 {
    1.0
}

#[derive(Debug, Clone)]
pub(super) struct Register {
    pub(super) name: String,
    pub(super) every: Duration,
    table: Table,
    first: u16,
    /// `None`: a bit.
    kind: Option<Type>,
    words: Order,
    scale: f64,
    pub(super) is_writable: bool,
    unit: Option<String>,
    device_class: Option<String>,
}

impl Register {
    /// An error names the option and says what is possible.
    pub(super) fn new(options: &Options, every: Span) -> Result<Self, (&'static str, String)> {
        let is_bit = matches!(options.table, Table::Coil | Table::Discrete);
        let kind = match options.kind {
            Some(_) if is_bit => {
                return Err(("type", "a coil or a discrete input is a bit; leave it out".to_owned()));
            }
            Some(Type::U8 | Type::I8) => {
                return Err((
                    "type",
                    "a register has 16 bits: `u16`, `i16`, or with the next one `u32`, `i32`, `f32`"
                        .to_owned(),
                ));
            }
            kind => kind.or((!is_bit).then_some(Type::U16)),
        };
        let count = kind.map_or(1, |kind| kind.size() / 2);
        if usize::from(options.register) + count > 0x1_0000 {
            return Err((
                "register",
                "registers are numbered up to 65535, and this one needs two".to_owned(),
            ));
        }
        if options.name.is_empty() {
            return Err(("name", "a field has a name".to_owned()));
        }
        if !options.scale.is_finite() || options.scale == 0.0 {
            return Err(("scale", "write a number that is not 0".to_owned()));
        }
        if is_bit && (options.unit.is_some() || options.device_class.is_some()) {
            let option = if options.unit.is_some() { "unit" } else { "device_class" };
            return Err((option, "a coil or a discrete input is a bit; leave it out".to_owned()));
        }
        describe::check(options.unit.as_deref(), options.device_class.as_deref())?;
        if options.writable && matches!(options.table, Table::Discrete | Table::Input) {
            return Err((
                "writable",
                "inputs can only be read; set a `coil` or a `holding` register".to_owned(),
            ));
        }
        Ok(Self {
            name: options.name.clone(),
            every: options.every.unwrap_or(every).0,
            table: options.table,
            first: options.register,
            kind,
            words: options.words,
            scale: options.scale,
            is_writable: options.writable,
            unit: options.unit.clone(),
            device_class: options.device_class.clone(),
        })
    }

    /// What it is for people.
    pub(super) fn entity(&self) -> Entity {
        let Some(kind) = self.kind else {
            return if self.is_writable {
                Entity::switch(&self.name)
            } else {
                Entity::binary_sensor(&self.name)
            };
        };
        let (unit, class) = (self.unit.as_deref(), self.device_class.as_deref());
        if self.is_writable {
            describe::settable(&self.name, unit, class, kind, self.scale)
        } else {
            describe::number(&self.name, unit, class)
        }
    }

    /// What asks for it.
    pub(super) fn question(&self) -> Pdu {
        let function = match self.table {
            Table::Coil => 1,
            Table::Discrete => 2,
            Table::Holding => 3,
            Table::Input => 4,
        };
        let count = self.kind.map_or(1, |kind| if kind.size() == 4 { 2 } else { 1 });
        Pdu::Read(function, self.first, count)
    }

    /// The value that the data of an answer says; `None` when it is none.
    pub(super) fn read(&self, data: &[u8]) -> Option<Value> {
        let Some(kind) = self.kind else {
            return Some(Value::from(if data.first()? & 1 == 1 { "ON" } else { "OFF" }));
        };
        let data = data.get(..kind.size())?;
        values::number(kind.read(&self.turned(data), Order::Big) * self.scale)
    }

    /// What sets it to `value`. An error says what is possible.
    pub(super) fn order(&self, value: &Value) -> Result<Pdu, String> {
        if !self.is_writable {
            return Err("this register is not `writable`".to_owned());
        }
        let Some(kind) = self.kind else {
            return values::bit(value)
                .map(|is_on| Pdu::WriteCoil(self.first, is_on))
                .ok_or("write `ON` or `OFF`".to_owned());
        };
        let number = value.as_f64().ok_or("write a number")?;
        let data = kind.write(number / self.scale).ok_or_else(|| {
            format!("it does not fit: the register is {kind:?} in steps of {}", self.scale).to_lowercase()
        })?;
        Ok(Pdu::WriteRegisters(self.first, self.turned(&data)))
    }

    /// What a device has in it that says `number`, before the scale, or `is_on`: two bytes for each register.
    pub(super) fn data(&self, number: f64, is_on: bool) -> Vec<u8> {
        let data = self.kind.and_then(|kind| kind.write(number)).map(|data| self.turned(&data));
        data.unwrap_or_else(|| vec![0, u8::from(is_on)])
    }

    /// Whether the register that shows `seen` was set to `wanted`: within half a step.
    pub(super) fn shows(&self, seen: &Value, wanted: &Value) -> bool {
        match self.kind {
            None => values::bit(seen).is_some() && values::bit(seen) == values::bit(wanted),
            Some(kind) => {
                let (Some(seen), Some(wanted)) = (seen.as_f64(), wanted.as_f64()) else { return false };
                let step = if kind == Type::F32 { wanted.abs() * 1e-6 } else { self.scale.abs() / 2.0 };
                (seen - wanted).abs() <= step
            }
        }
    }

    /// The bytes with the higher half first, or from there to how they are sent: the same turn both ways.
    fn turned(&self, bytes: &[u8]) -> Vec<u8> {
        match (self.words, bytes) {
            (Order::Little, [a, b, c, d]) => vec![*c, *d, *a, *b],
            _ => bytes.to_vec(),
        }
    }
}
