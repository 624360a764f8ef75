//! A dimmed lamp, a fan or a heater on a GPIO line that is switched on and off fast.
//!
//! State: `state` (`ON` unless it is off all the time), `duty` in percent, and `cause`, why it is so. Requests: `duty` from
//! 0 to 100; `state`: `OFF`, or `ON` for the last duty that was not 0. The waveform is made by software: it trembles when the
//! machine is busy. What is told is what the chip was set to; a level that changes so fast is not read back.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    super::{
        Appliance, Changes, Device, DeviceError, DeviceSpec, Frame, Plan, Presence, Wiring,
        bus::gpio::{Cause, Connection, GpioWiring, LineOptions, Order, PwmRules, Role, Said, simulated},
        options::options_of_both,
    },
    values,
};
use crate::model::{DeviceId, Entity, Fields, Request, Timestamp};

/// How long the chip may take to show that it was set.
const CONFIRM_WITHIN: Duration = Duration::from_secs(2);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// In hertz, 10 to 1000.
    frequency: f64,
    /// The duty at the start, at the stop and after a fault, in percent: 0 or 100.
    safe: f64,
    /// The duty once the gateway has started, if not that.
    initial: Option<f64>,
}

impl Default for Options {
    fn default() -> Self {
        Self { frequency: 100.0, safe: 0.0, initial: None }
    }
}

struct GpioPwm {
    id: DeviceId,
    connection: Connection,
    rules: PwmRules,
    /// The last duty that was not 0.
    last: f64,
}

pub(super) fn build(spec: &DeviceSpec) -> Result<Box<dyn Device>, DeviceError> {
    let (line, options): (LineOptions, Options) = options_of_both(spec)?;
    let connection = Connection::new(spec, line)?;
    let bad = |option: &str, problem: &str| Err(DeviceError::bad_option(&spec.id, option, problem));
    if !(10.0..=1000.0).contains(&options.frequency) {
        return bad("frequency", "it is made by software, from 10 to 1000 Hz");
    }
    let initial = options.initial.unwrap_or(options.safe);
    for (option, duty) in [("safe", options.safe), ("initial", initial)] {
        if !(0.0..=100.0).contains(&duty) {
            return bad(option, "it is a part of the time, from 0 to 100 percent");
        }
    }
    if options.safe != 0.0 && options.safe != 100.0 {
        // The waveform ends with the program, at whatever level it was.
        return bad("safe", "nobody makes a waveform when the gateway is gone: write 0 or 100");
    }
    let rules = PwmRules {
        period: Duration::from_secs_f64(1.0 / options.frequency),
        safe: options.safe / 100.0,
        at_first: initial / 100.0,
    };
    Ok(Box::new(GpioPwm { id: spec.id.clone(), connection, rules, last: 100.0 }))
}

/// A part as it is told: in percent, to the tenth.
fn percent(part: f64) -> f64 {
    (part * 1000.0).round() / 10.0
}

impl GpioPwm {
    fn gpio(&self) -> GpioWiring {
        GpioWiring { connection: self.connection.clone(), role: Role::Pwm(self.rules) }
    }
}

impl Device for GpioPwm {
    fn wiring(&self) -> Wiring {
        Wiring::Gpio(self.gpio())
    }

    fn simulation(&self) -> Box<dyn Appliance> {
        simulated(&self.id, self.gpio())
    }

    fn presence(&self) -> Presence {
        Presence::Heard(None)
    }

    fn restore(&mut self, last: &Fields) {
        let duty = last.get("duty").and_then(Value::as_f64);
        self.last = duty.filter(|duty| *duty > 0.0 && *duty <= 100.0).unwrap_or(self.last);
    }

    fn decode(&mut self, frame: &Frame, _now: Timestamp) -> Result<Changes, DeviceError> {
        let Some(Said::Duty(part, cause)) = Said::read(frame) else {
            return Err(DeviceError::unreadable(
                &self.id,
                &frame.channel,
                "a dimmed output says no such thing",
            ));
        };
        let duty = percent(part);
        if duty > 0.0 {
            self.last = duty;
        }
        let mut fields = Fields::from_iter([
            ("state".to_owned(), json!(if part > 0.0 { "ON" } else { "OFF" })),
            ("cause".to_owned(), json!(cause.as_str())),
        ]);
        fields.extend(values::number(duty).map(|duty| ("duty".to_owned(), duty)));
        Ok(Changes::fields(fields))
    }

    fn encode(&self, request: &Request, _state: &Fields) -> Result<Plan, DeviceError> {
        let impossible = |field: &str, problem: &str| Err(DeviceError::impossible(&self.id, field, problem));
        let fields = request.fields();
        if let Some(other) = fields.keys().find(|name| *name != "state" && *name != "duty") {
            return impossible(other, "it takes `state` and `duty`");
        }
        let duty = match fields.get("duty").map(Value::as_f64) {
            Some(Some(duty)) if (0.0..=100.0).contains(&duty) => Some(duty),
            Some(_) => return impossible("duty", "it is from 0 to 100 percent"),
            None => None,
        };
        let word = fields.get("state").map(|word| word.as_str().map(str::to_ascii_uppercase));
        let duty = match (word.as_ref().map(Option::as_deref), duty) {
            (None | Some(Some("ON")), Some(duty)) => duty,
            (Some(Some("ON")) | None, None) => self.last,
            (Some(Some("OFF")), None) => 0.0,
            (Some(Some("OFF")), Some(_)) => {
                return impossible("duty", "off has no `duty`; write one of them");
            }
            (Some(_), _) => return impossible("state", "it takes `ON` or `OFF`"),
        };
        let shown = percent(duty / 100.0);
        let shows = move |seen: &Fields| {
            seen.get("duty").and_then(Value::as_f64).is_some_and(|seen| (seen - shown).abs() < 0.01)
        };
        let frames = vec![Order::Duty(duty / 100.0).frame()];
        Ok(Plan::confirmed(frames, CONFIRM_WITHIN, shows)
            .saying(format!("it is on for {shown} % of the time")))
    }

    fn inquire(&self) -> Vec<Frame> {
        vec![Order::Tell.frame()]
    }

    fn entities(&self, _state: &Fields) -> Vec<Entity> {
        vec![
            Entity::switch("state"),
            Entity::number("duty", 0.0, 100.0, 1.0).unit("%"),
            Entity::one_of("cause", Cause::ALL.map(Cause::as_str)).diagnostic(),
        ]
    }
}

#[cfg(test)]
mod tests;
