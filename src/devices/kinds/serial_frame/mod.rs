//! A device on a serial port that sends binary frames: numbers at fixed places, with a sync word, a length and a
//! checksum if it has them. It takes no request.

mod simulation;

use serde::Deserialize;

use super::{
    super::{
        Appliance, Changes, Device, DeviceError, DeviceSpec, Frame, Plan, Presence, Span, Wiring,
        bus::serial::PortOptions,
        options::options_of_both,
        serial::{
            Listener, Parity, PortSettings, Talker,
            framing::{Checksum, Counts, Covers, Frames, Length, Order, Prefix},
            garbled,
        },
    },
    describe,
    values::{self, Type},
};
use crate::model::{DeviceId, Entity, Fields, Request, Timestamp};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// The bytes that every frame begins with, in hexadecimal.
    #[serde(default)]
    sync: String,
    /// The whole frame's length, with sync word and checksum; or
    #[serde(default)]
    length: Option<usize>,
    /// that every frame says it, behind the sync word.
    #[serde(default)]
    length_prefix: Option<LengthPrefix>,
    /// The longest frame that is believed.
    #[serde(default = "longest")]
    longest: usize,
    #[serde(default)]
    check: Option<Check>,
    /// The order of the bytes of numbers, unless they have one of their own.
    #[serde(default)]
    order: Order,
    fields: Vec<Field>,
    /// After which silence it counts as offline.
    #[serde(default)]
    offline_after: Option<Span>,
}

fn longest() -> usize {
    256
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct LengthPrefix {
    /// 1, 2 or 4.
    bytes: usize,
    #[serde(default)]
    order: Option<Order>,
    #[serde(default)]
    counts: Counts,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Check {
    kind: Checksum,
    #[serde(default)]
    order: Option<Order>,
    #[serde(default)]
    covers: Covers,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Field {
    name: String,
    /// From the first byte of the frame.
    offset: usize,
    #[serde(rename = "type")]
    kind: Type,
    #[serde(default)]
    order: Option<Order>,
    #[serde(default = "one")]
    scale: f64,
    #[serde(default)]
    unit: Option<String>,
    /// What is measured, in Home Assistant's words.
    #[serde(default)]
    device_class: Option<String>,
}

fn one() -> f64 {
    1.0
}

#[derive(Clone)]
struct SerialFrame {
    id: DeviceId,
    port: PortSettings,
    sync: Vec<u8>,
    length: Length,
    options: Options,
}

pub(super) fn build(spec: &DeviceSpec) -> Result<Box<dyn Device>, DeviceError> {
    let (port, options): (PortOptions, Options) = options_of_both(spec)?;
    let port = PortSettings::new(spec, port, (9600, 8, Parity::None))?;
    let bad = |option: &str, problem: &str| Err(DeviceError::bad_option(&spec.id, option, problem));
    let Some(sync) = hexadecimal(&options.sync).filter(|sync| sync.len() <= 8) else {
        return bad("sync", "write up to 8 bytes in hexadecimal, in quotes: `\"AA55\"`");
    };
    if !(1..=4096).contains(&options.longest) {
        return bad("longest", "a frame has from 1 to 4096 bytes");
    }
    let length = match (options.length, options.length_prefix) {
        (Some(length), None) => Length::Fixed(length),
        (None, Some(prefix)) => {
            if ![1, 2, 4].contains(&prefix.bytes) {
                return bad("length_prefix.bytes", "a length has 1, 2 or 4 bytes");
            }
            let order = prefix.order.unwrap_or(options.order);
            Length::Prefixed(Prefix { bytes: prefix.bytes, order, counts: prefix.counts })
        }
        _ => return bad(".", "a frame has a `length`, or a `length_prefix` that says it; write one of them"),
    };
    let check = options.check.map_or(0, |check| check.kind.length());
    let (least, most) = match length {
        Length::Fixed(length) => (sync.len() + check + 1, length),
        Length::Prefixed(prefix) => (sync.len() + prefix.bytes + check, options.longest),
    };
    if most < least || most > 4096 {
        let option = if options.length.is_some() { "length" } else { "longest" };
        let problem = format!("with sync word and checksum a frame has from {least} to 4096 bytes");
        return bad(option, &problem);
    }
    if options.fields.is_empty() {
        return bad("fields", "name at least one");
    }
    for (index, field) in options.fields.iter().enumerate() {
        if field.offset.saturating_add(field.kind.size()) > most - check {
            let problem =
                format!("the frame ends before it: up to {} bytes without the checksum", most - check);
            return bad(&format!("fields[{index}].offset"), &problem);
        }
        if !field.scale.is_finite() || field.scale == 0.0 {
            return bad(&format!("fields[{index}].scale"), "write a number that is not 0");
        }
        if let Err((option, problem)) = describe::check(field.unit.as_deref(), field.device_class.as_deref())
        {
            return bad(&format!("fields[{index}].{option}"), &problem);
        }
    }
    Ok(Box::new(SerialFrame { id: spec.id.clone(), port, sync, length, options }))
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').collect();
    let pair = |pair: &[u8]| {
        let both = pair.len() == 2 && pair.iter().all(u8::is_ascii_hexdigit);
        u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|_| both)?, 16).ok()
    };
    digits.chunks(2).map(pair).collect()
}

impl SerialFrame {
    fn talker(&self) -> Box<dyn Talker> {
        let options = &self.options;
        let check =
            options.check.map(|check| (check.kind, check.order.unwrap_or(options.order), check.covers));
        let longest = if let Length::Fixed(length) = self.length { length } else { options.longest };
        let frames = Frames::new(self.sync.clone(), self.length, check, longest);
        Box::new(Listener::new(frames))
    }
}

impl Device for SerialFrame {
    fn wiring(&self) -> Wiring {
        Wiring::Serial { port: self.port.clone(), talker: self.talker() }
    }

    fn simulation(&self) -> Box<dyn Appliance> {
        simulation::simulation(self, self.talker())
    }

    fn presence(&self) -> Presence {
        Presence::Heard(self.options.offline_after.map(|span| span.0))
    }

    fn decode(&mut self, frame: &Frame, _now: Timestamp) -> Result<Changes, DeviceError> {
        if let Some(problem) = garbled(frame) {
            return Err(DeviceError::unreadable(&self.id, "frame", problem));
        }
        let mut fields = Fields::new();
        let end =
            frame.payload.len().saturating_sub(self.options.check.map_or(0, |check| check.kind.length()));
        for field in &self.options.fields {
            // A frame that says its length may be too short for a field, and then does not have it.
            let Some(bytes) = frame.payload[..end].get(field.offset..field.offset + field.kind.size()) else {
                continue;
            };
            let number = field.kind.read(bytes, field.order.unwrap_or(self.options.order));
            let Some(value) = values::number(number * field.scale) else {
                return Err(DeviceError::unreadable(&self.id, &field.name, "it is not a finite number"));
            };
            fields.insert(field.name.clone(), value);
        }
        Ok(Changes::fields(fields))
    }

    fn encode(&self, request: &Request, _state: &Fields) -> Result<Plan, DeviceError> {
        Err(DeviceError::impossible(&self.id, request.first_field(), "a device with frames only tells"))
    }

    fn entities(&self, _state: &Fields) -> Vec<Entity> {
        let of = |field: &Field| {
            describe::number(&field.name, field.unit.as_deref(), field.device_class.as_deref())
        };
        self.options.fields.iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests;
