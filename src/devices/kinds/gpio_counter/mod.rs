//! A meter that gives pulses: electricity (S0), gas, water, rain, wind.
//!
//! State: `pulses` ever counted, `total` in the meter's unit, and how fast it goes: `power` in W where the unit is an
//! energy, else `rate`. It takes no request. What was counted is taken up from the last state after a restart; pulses while
//! the gateway is off are lost, and those since the last telling (`every`) are when it is killed. `total` is worked out
//! anew from `pulses` each time, so a wrong `initial` can be mended in the file.

mod rate;

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use self::rate::Rate;
use super::{
    super::{
        Appliance, Changes, Device, DeviceError, DeviceSpec, Frame, Plan, Presence, Span, Wiring,
        bus::gpio::{Connection, GpioWiring, LineOptions, Pull, Role, Said, simulated},
        options::options_of_both,
    },
    values,
};
use crate::model::{DeviceId, Entity, Fields, Request, StateClass, Timestamp};

/// The time to which a rate is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Per {
    #[serde(rename = "s")]
    Second,
    #[serde(rename = "min")]
    Minute,
    #[serde(rename = "h")]
    Hour,
}

impl Per {
    fn seconds(self) -> f64 {
        match self {
            Self::Second => 1.0,
            Self::Minute => 60.0,
            Self::Hour => 3600.0,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "min",
            Self::Hour => "h",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// The resistor in the chip.
    pull: Pull,
    /// How long a level must hold to count.
    debounce: Option<Span>,
    /// Pulses of one unit.
    pulses_per_unit: f64,
    /// The unit of the total.
    unit: Option<String>,
    /// The time of the rate.
    rate_per: Per,
    /// What the meter had counted when ours had counted nothing, in its unit.
    initial: f64,
    /// How often it is told.
    every: Span,
    /// After what silence nothing flows.
    idle_after: Span,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            pull: Pull::None,
            debounce: None,
            pulses_per_unit: 1.0,
            unit: None,
            rate_per: Per::Hour,
            initial: 0.0,
            every: Span(Duration::from_secs(10)),
            idle_after: Span(Duration::from_secs(600)),
        }
    }
}

/// Watts of one unit an hour, where the unit is an energy.
fn watts(unit: Option<&str>) -> Option<f64> {
    match unit? {
        "Wh" => Some(1.0),
        "kWh" => Some(1e3),
        "MWh" => Some(1e6),
        _ => None,
    }
}

struct GpioCounter {
    id: DeviceId,
    connection: Connection,
    options: Options,
    pulses: u64,
    rate: Rate,
}

pub(super) fn build(spec: &DeviceSpec) -> Result<Box<dyn Device>, DeviceError> {
    let (line, options): (LineOptions, Options) = options_of_both(spec)?;
    let connection = Connection::new(spec, line)?;
    super::check_debounce(spec, options.debounce)?;
    let bad = |option: &str, problem: &str| Err(DeviceError::bad_option(&spec.id, option, problem));
    if !(options.pulses_per_unit.is_finite() && options.pulses_per_unit > 0.0) {
        return bad("pulses_per_unit", "it is more than 0; it mostly stands on the meter, as `1000 imp/kWh`");
    }
    if !options.initial.is_finite() {
        return bad("initial", "it is a number");
    }
    if options.every.0 < Duration::from_secs(1) {
        return bad("every", "it is a second at least: each telling is kept on the disk");
    }
    let rate = Rate::new(options.idle_after.0);
    Ok(Box::new(GpioCounter { id: spec.id.clone(), connection, options, pulses: 0, rate }))
}

impl GpioCounter {
    fn gpio(&self) -> GpioWiring {
        let Options { pull, debounce, every, .. } = &self.options;
        let role = Role::Counter { pull: *pull, debounce: debounce.map(|span| span.0), every: every.0 };
        GpioWiring { connection: self.connection.clone(), role }
    }

    /// What the flow is called, and a pulse a second in it.
    fn flow(&self) -> (&'static str, f64) {
        let units_per_second = 1.0 / self.options.pulses_per_unit;
        match watts(self.options.unit.as_deref()) {
            Some(watts) => ("power", units_per_second * 3600.0 * watts),
            None => ("rate", units_per_second * self.options.rate_per.seconds()),
        }
    }
}

impl Device for GpioCounter {
    fn wiring(&self) -> Wiring {
        Wiring::Gpio(self.gpio())
    }

    fn simulation(&self) -> Box<dyn Appliance> {
        simulated(&self.id, self.gpio())
    }

    fn presence(&self) -> Presence {
        Presence::Heard(Some(self.options.every.0 * 3 + Duration::from_secs(5)))
    }

    fn restore(&mut self, last: &Fields) {
        self.pulses = last.get("pulses").and_then(Value::as_u64).unwrap_or(self.pulses);
    }

    fn decode(&mut self, frame: &Frame, _now: Timestamp) -> Result<Changes, DeviceError> {
        let Some(Said::Pulses { count, span, silence }) = Said::read(frame) else {
            return Err(DeviceError::unreadable(&self.id, &frame.channel, "a counter says no such thing"));
        };
        self.pulses = self.pulses.saturating_add(count);
        self.rate.hear(count, span, silence);
        let mut fields = Fields::from_iter([("pulses".to_owned(), self.pulses.into())]);
        // Exact up to 2^53.
        let total = self.options.initial + self.pulses as f64 / self.options.pulses_per_unit;
        fields.extend(values::number(total).map(|total| ("total".to_owned(), total)));
        let (name, flow) = self.flow();
        let rate = self.rate.a_second().and_then(|rate| values::number(tidy(rate * flow)));
        fields.extend(rate.map(|rate| (name.to_owned(), rate)));
        Ok(Changes::fields(fields))
    }

    fn encode(&self, request: &Request, _state: &Fields) -> Result<Plan, DeviceError> {
        Err(DeviceError::impossible(&self.id, request.first_field(), "a counter takes nothing"))
    }

    fn entities(&self, _state: &Fields) -> Vec<Entity> {
        let unit = self.options.unit.as_deref();
        let total = match unit {
            Some(unit @ ("Wh" | "kWh" | "MWh")) => Entity::total("total", "energy", unit.to_owned()),
            Some(unit @ ("L" | "m³")) => Entity::total("total", "water", unit.to_owned()),
            Some(unit) => Entity::sensor("total").stated(StateClass::TotalIncreasing).unit(unit.to_owned()),
            None => Entity::sensor("total").stated(StateClass::TotalIncreasing),
        };
        let flow = match (watts(unit), unit) {
            (Some(_), _) => Entity::measurement("power", "power", "W"),
            (None, Some(unit)) => {
                let unit = format!("{unit}/{}", self.options.rate_per.word());
                Entity::sensor("rate").stated(StateClass::Measurement).unit(unit)
            }
            (None, None) => Entity::sensor("rate").stated(StateClass::Measurement),
        };
        vec![total, flow, Entity::sensor("pulses").stated(StateClass::TotalIncreasing).diagnostic()]
    }
}

/// Four digits: more than a time between two pulses is worth.
fn tidy(value: f64) -> f64 {
    if value == 0.0 {
        return 0.0;
    }
    let scale = 10_f64.powf(3.0 - value.abs().log10().floor());
    if scale.is_finite() { (value * scale).round() / scale } else { value }
}

#[cfg(test)]
mod tests;
