//! An electricity meter (and the gas and water meters that report through it) on a serial port: P1, SML, IEC 62056-21.
//!
//! Only telegrams that came whole and, where the protocol has one, with the right checksum become readings.

mod mode_c;
mod obis;
mod simulation;
mod sml;
mod telegrams;
mod text;

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use self::{
    mode_c::ModeC,
    obis::Code,
    telegrams::{Envelope, Telegrams},
};
use super::{
    super::{
        Appliance, Changes, Device, DeviceError, DeviceSpec, Frame, Plan, Presence, Span, Wiring,
        bus::serial::PortOptions,
        options::options_of_both,
        serial::{Listener, Parity, PortSettings, Talker, garbled},
    },
    describe,
};
use crate::model::{DeviceId, Entity, Fields, Request, Timestamp};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Protocol {
    /// The customer's port of Dutch, Belgian and Swedish meters (DSMR 4 and 5). In Luxembourg it is encrypted.
    P1,
    /// German meters.
    Sml,
    /// Text that is sent by itself, without a checksum.
    IecModeD,
    /// Text that is asked for.
    IecModeC,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    protocol: Protocol,
    /// Further codes, and the fields that they are to be.
    #[serde(default)]
    obis: Vec<Own>,
    /// How often it is asked, in mode C. Default a minute.
    #[serde(default)]
    interval: Option<Span>,
    /// Its address, in mode C. Default: whichever is there.
    #[serde(default)]
    address: String,
    /// After which silence it counts as offline. Default a minute, in mode C three intervals and a minute.
    #[serde(default)]
    offline_after: Option<Span>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Own {
    code: String,
    field: String,
    #[serde(default)]
    unit: Option<String>,
    #[serde(default)]
    device_class: Option<String>,
}

struct Meter {
    id: DeviceId,
    port: PortSettings,
    own: Vec<(Code, String)>,
    interval: Duration,
    options: Options,
}

const MINUTE: Duration = Duration::from_secs(60);

pub(super) fn build(spec: &DeviceSpec) -> Result<Box<dyn Device>, DeviceError> {
    let (port, options): (PortOptions, Options) = options_of_both(spec)?;
    let habit = match options.protocol {
        Protocol::P1 => (115_200, 8, Parity::None),
        Protocol::Sml => (9600, 8, Parity::None),
        Protocol::IecModeD => (9600, 7, Parity::Even),
        Protocol::IecModeC => (300, 7, Parity::Even),
    };
    let port = PortSettings::new(spec, port, habit)?;
    let bad = |option: &str, problem: &str| Err(DeviceError::bad_option(&spec.id, option, problem));
    if options.protocol != Protocol::IecModeC && (options.interval.is_some() || !options.address.is_empty()) {
        let option = if options.interval.is_some() { "interval" } else { "address" };
        return bad(option, "only `protocol: iec_mode_c` asks; others tell by themselves");
    }
    if options.interval.is_some_and(|interval| interval.0 < Duration::from_secs(5)) {
        return bad(
            "interval",
            "a meter that is asked needs several seconds for an answer; write `5s` or more",
        );
    }
    if options.address.len() > 32 || !options.address.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return bad("address", "it has up to 32 letters and digits");
    }
    let mut own = Vec::new();
    for (index, Own { code, field, unit, device_class }) in options.obis.iter().enumerate() {
        if let Err((option, problem)) = describe::check(unit.as_deref(), device_class.as_deref()) {
            return bad(&format!("obis[{index}].{option}"), &problem);
        }
        let Some(code) = Code::parse(code) else {
            return bad(&format!("obis[{index}].code"), "it is no OBIS code; write it as `1-0:1.8.0`");
        };
        if field.is_empty() || !field.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return bad(&format!("obis[{index}].field"), "a field has letters, digits and `_`");
        }
        own.push((code, field.clone()));
    }
    let interval = options.interval.map_or(MINUTE, |span| span.0);
    Ok(Box::new(Meter { id: spec.id.clone(), port, own, interval, options }))
}

impl Meter {
    fn talker(&self) -> Box<dyn Talker> {
        let listener = |envelope| -> Box<dyn Talker> { Box::new(Listener::new(Telegrams::new(envelope))) };
        match self.options.protocol {
            Protocol::P1 => listener(Envelope::P1),
            Protocol::Sml => listener(Envelope::Sml),
            Protocol::IecModeD => listener(Envelope::ModeD),
            Protocol::IecModeC => Box::new(ModeC::new(&self.options.address, self.port.baud, self.interval)),
        }
    }
}

impl Device for Meter {
    fn wiring(&self) -> Wiring {
        Wiring::Serial { port: self.port.clone(), talker: self.talker() }
    }

    fn simulation(&self) -> Box<dyn Appliance> {
        simulation::simulation(self, self.talker())
    }

    fn presence(&self) -> Presence {
        let habit = match self.options.protocol {
            Protocol::IecModeC => self.interval * 3 + MINUTE,
            Protocol::P1 | Protocol::Sml | Protocol::IecModeD => MINUTE,
        };
        Presence::Heard(Some(self.options.offline_after.map_or(habit, |span| span.0)))
    }

    fn decode(&mut self, frame: &Frame, _now: Timestamp) -> Result<Changes, DeviceError> {
        let unreadable = |problem: &str| DeviceError::unreadable(&self.id, "telegram", problem);
        if let Some(problem) = garbled(frame) {
            return Err(unreadable(problem));
        }
        let items = match self.options.protocol {
            Protocol::Sml => sml::items(&frame.payload),
            Protocol::P1 | Protocol::IecModeC => text::items(&frame.payload, true),
            Protocol::IecModeD => text::items(&frame.payload, false),
        };
        let items = items.map_err(|problem| unreadable(&problem))?;
        Ok(Changes::fields(obis::fields(&items, &self.own)))
    }

    fn encode(&self, request: &Request, _state: &Fields) -> Result<Plan, DeviceError> {
        Err(DeviceError::impossible(&self.id, request.first_field(), "a meter only measures"))
    }

    fn entities(&self, state: &Fields) -> Vec<Entity> {
        let of = |(field, value): (&String, &Value)| match self
            .options
            .obis
            .iter()
            .find(|own| own.field == *field)
        {
            Some(own) if own.unit.is_some() || own.device_class.is_some() => {
                Some(describe::number(field, own.unit.as_deref(), own.device_class.as_deref()))
            }
            Some(_) => Entity::of_value(field, value),
            None => obis::entity(field),
        };
        state.iter().filter_map(of).collect()
    }
}

#[cfg(test)]
mod tests;
