//! A button, contact or detector on a GPIO line.
//!
//! State: `state`, `ON` or `OFF` or the words that the options have for them; `missed`, changes that came so fast that the
//! kernel dropped them, once there were any. It takes no request.

use std::time::Duration;

use serde::Deserialize;

use super::super::{
    Appliance, Changes, Device, DeviceError, DeviceSpec, Frame, Plan, Presence, Span, Wiring,
    bus::gpio::{Connection, GpioWiring, LineOptions, Pull, Role, Said, simulated},
    options::{nearest, options_of_both},
};
use crate::model::{DeviceId, Entity, Fields, Platform, Request, StateClass, Timestamp};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// The resistor in the chip.
    pull: Pull,
    /// How long a level must hold to count.
    debounce: Span,
    /// What `state` says when it is on, and when it is off.
    when_on: String,
    when_off: String,
    /// What it tells of, in Home Assistant's words: `door`, `motion`.
    device_class: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            pull: Pull::None,
            debounce: Span(Duration::from_millis(10)),
            when_on: "ON".to_owned(),
            when_off: "OFF".to_owned(),
            device_class: None,
        }
    }
}

/// What a binary sensor can tell of (Home Assistant's documentation, "Binary sensor", 2026.1).
const CLASSES: &[&str] = &[
    "battery",
    "battery_charging",
    "carbon_monoxide",
    "cold",
    "connectivity",
    "door",
    "garage_door",
    "gas",
    "heat",
    "light",
    "lock",
    "moisture",
    "motion",
    "moving",
    "occupancy",
    "opening",
    "plug",
    "power",
    "presence",
    "problem",
    "running",
    "safety",
    "smoke",
    "sound",
    "tamper",
    "update",
    "vibration",
    "window",
];

struct GpioInput {
    id: DeviceId,
    connection: Connection,
    options: Options,
}

pub(super) fn build(spec: &DeviceSpec) -> Result<Box<dyn Device>, DeviceError> {
    let (line, options): (LineOptions, Options) = options_of_both(spec)?;
    let connection = Connection::new(spec, line)?;
    super::check_debounce(spec, Some(options.debounce))?;
    if options.when_on == options.when_off {
        return Err(DeviceError::bad_option(&spec.id, "when_off", "it is the same word as `when_on`"));
    }
    if let Some(class) = &options.device_class
        && !CLASSES.contains(&class.as_str())
    {
        let problem = match nearest(class, CLASSES) {
            Some(name) => format!("there is no `{class}`; did you mean `{name}`?"),
            None => format!("there is no `{class}`; there are {}", CLASSES.join(", ")),
        };
        return Err(DeviceError::bad_option(&spec.id, "device_class", problem));
    }
    Ok(Box::new(GpioInput { id: spec.id.clone(), connection, options }))
}

impl GpioInput {
    fn gpio(&self) -> GpioWiring {
        let role = Role::Input { pull: self.options.pull, debounce: Some(self.options.debounce.0) };
        GpioWiring { connection: self.connection.clone(), role }
    }
}

impl Device for GpioInput {
    fn wiring(&self) -> Wiring {
        Wiring::Gpio(self.gpio())
    }

    fn simulation(&self) -> Box<dyn Appliance> {
        simulated(&self.id, self.gpio())
    }

    fn presence(&self) -> Presence {
        Presence::Heard(None)
    }

    fn decode(&mut self, frame: &Frame, _now: Timestamp) -> Result<Changes, DeviceError> {
        match Said::read(frame) {
            Some(Said::Input(true)) => Ok(Changes::field("state", self.options.when_on.as_str())),
            Some(Said::Input(false)) => Ok(Changes::field("state", self.options.when_off.as_str())),
            Some(Said::Missed(count)) => Ok(Changes::field("missed", count)),
            _ => Err(DeviceError::unreadable(&self.id, &frame.channel, "an input says no such thing")),
        }
    }

    fn encode(&self, request: &Request, _state: &Fields) -> Result<Plan, DeviceError> {
        Err(DeviceError::impossible(&self.id, request.first_field(), "an input takes nothing"))
    }

    fn entities(&self, _state: &Fields) -> Vec<Entity> {
        let Options { when_on, when_off, device_class, .. } = &self.options;
        let platform = Platform::BinarySensor { on: when_on.as_str().into(), off: when_off.as_str().into() };
        let own =
            Entity { device_class: device_class.clone().map(Into::into), ..Entity::new("state", platform) };
        vec![own, Entity::sensor("missed").stated(StateClass::TotalIncreasing).diagnostic()]
    }
}

#[cfg(test)]
mod tests;
