//! The thermometer: a simulated one, with a smooth curve, a little noise and an interval.
//!
//! State: `temperature` in degrees Celsius, to a tenth. It takes no request.

use std::time::Duration;

use serde::Deserialize;

use super::super::{
    Appliance, Changes, Device, DeviceError, DeviceSpec, Frame, Plan, Presence, Span, StandIn, Waves, Wiring,
    options,
};
use crate::model::{DeviceId, Entity, Fields, Request, Timestamp};

/// How far a day takes it from its mean, in degrees.
const SWING: f64 = 2.0;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// Between two readings.
    interval: Span,
    /// The same seed gives the same curve.
    seed: u64,
    /// What it swings about, in degrees Celsius.
    mean: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { interval: Span(Duration::from_secs(10)), seed: 1, mean: 21.0 }
    }
}

struct Thermometer {
    id: DeviceId,
    options: Options,
}

pub(super) fn build(spec: &DeviceSpec) -> Result<Box<dyn Device>, DeviceError> {
    let options: Options = options(spec)?;
    if !(-50.0..=100.0).contains(&options.mean) {
        return Err(DeviceError::bad_option(&spec.id, "mean", "a room has between -50 and 100 degrees"));
    }
    Ok(Box::new(Thermometer { id: spec.id.clone(), options }))
}

impl Device for Thermometer {
    fn wiring(&self) -> Wiring {
        Wiring::Simulated(self.simulation())
    }

    fn simulation(&self) -> Box<dyn Appliance> {
        let Options { interval: Span(interval), seed, mean } = self.options;
        let says = move |curve: &mut Waves, number| {
            vec![Frame::new("temperature", curve.rounded(number, interval, 1).to_string())]
        };
        Box::new(StandIn::new(Waves::new(seed, mean, SWING)).says(says).every(interval))
    }

    fn presence(&self) -> Presence {
        Presence::Heard(Some(self.options.interval.0 * 3 + Duration::from_secs(1)))
    }

    fn decode(&mut self, frame: &Frame, _now: Timestamp) -> Result<Changes, DeviceError> {
        let degrees = frame.text().and_then(|text| text.parse::<f64>().ok()).filter(|d| d.is_finite());
        let degrees =
            degrees.ok_or_else(|| DeviceError::unreadable(&self.id, &frame.channel, "it is not a number"))?;
        Ok(Changes::field("temperature", degrees))
    }

    fn encode(&self, request: &Request, _state: &Fields) -> Result<Plan, DeviceError> {
        Err(DeviceError::impossible(&self.id, request.first_field(), "a thermometer only measures"))
    }

    fn entities(&self, _state: &Fields) -> Vec<Entity> {
        vec![Entity::measurement("temperature", "temperature", "°C").precision(1)]
    }
}

#[cfg(test)]
mod tests;
