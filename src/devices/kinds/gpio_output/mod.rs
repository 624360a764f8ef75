//! A relay, lamp or valve on a GPIO line.
//!
//! State: `state` (`ON`, `OFF`) as the line reads, and `cause`, why it is so (`start`, `command`, `max_on`, `pulse`,
//! `watchdog`). Requests: `state`: `ON`, `OFF`, or `PULSE` where it has one. Its rules are kept by the chip's keeper, not
//! here. Rejected: a state that is taken up again after a restart; nobody knows what the gateway slept through, and
//! what is on then should be somebody's wish.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{
    Appliance, Changes, Device, DeviceError, DeviceSpec, Frame, Plan, Presence, Span, Wiring,
    bus::gpio::{
        Cause, Connection, GpioWiring, LineOptions, OnOff, Order, OutputRules, Role, Said, simulated,
    },
    options::options_of_both,
};
use crate::model::{DeviceId, Entity, Fields, Platform, Request, Timestamp};

/// How long the line may take to show that it was driven.
const CONFIRM_WITHIN: Duration = Duration::from_secs(2);

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// What it is at the start, at the stop and after a fault.
    safe: OnOff,
    /// What it becomes once the gateway has started, if not that.
    initial: Option<OnOff>,
    /// The longest time that it is on at a stretch.
    max_on: Option<Span>,
    /// The shortest time that it is off.
    min_off: Option<Span>,
    /// It is on for this long each time.
    pulse: Option<Span>,
    /// The outputs that must not be on when this one is.
    interlock: Vec<DeviceId>,
}

struct GpioOutput {
    id: DeviceId,
    connection: Connection,
    rules: OutputRules,
}

pub(super) fn build(spec: &DeviceSpec) -> Result<Box<dyn Device>, DeviceError> {
    let (line, options): (LineOptions, Options) = options_of_both(spec)?;
    let connection = Connection::new(spec, line)?;
    let rules = OutputRules {
        is_on_safe: options.safe.0,
        is_on_at_first: options.initial.unwrap_or(options.safe).0,
        max_on: options.max_on.map(|span| span.0),
        min_off: options.min_off.map(|span| span.0),
        pulse: options.pulse.map(|span| span.0),
        interlock: options.interlock,
    };
    let bad = |option: &str, problem: &str| Err(DeviceError::bad_option(&spec.id, option, problem));
    if rules.pulse.is_some() && rules.max_on.is_some() {
        return bad("max_on", "its time on is that of its `pulse`; write one of them");
    }
    let has_limits = [rules.max_on, rules.pulse, rules.min_off].iter().any(Option::is_some);
    if rules.is_on_safe && (has_limits || !rules.interlock.is_empty()) {
        return bad(
            "safe",
            "what is on when nobody may decide cannot have `max_on`, `min_off`, `pulse` or `interlock`",
        );
    }
    if rules.is_on_at_first && (rules.min_off.is_some() || rules.pulse.is_some()) {
        return bad("initial", "with `min_off` or `pulse` it is off at first");
    }
    Ok(Box::new(GpioOutput { id: spec.id.clone(), connection, rules }))
}

impl GpioOutput {
    fn gpio(&self) -> GpioWiring {
        GpioWiring { connection: self.connection.clone(), role: Role::Output(self.rules.clone()) }
    }
}

impl Device for GpioOutput {
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
            Some(Said::Output(is_on, cause)) => Ok(Changes::fields(Fields::from_iter([
                ("state".to_owned(), json!(if is_on { "ON" } else { "OFF" })),
                ("cause".to_owned(), json!(cause.as_str())),
            ]))),
            _ => Err(DeviceError::unreadable(&self.id, &frame.channel, "an output says no such thing")),
        }
    }

    fn encode(&self, request: &Request, state: &Fields) -> Result<Plan, DeviceError> {
        let impossible = |field: &str, problem: &str| Err(DeviceError::impossible(&self.id, field, problem));
        let fields = request.fields();
        if let Some(other) = fields.keys().find(|name| *name != "state") {
            return impossible(other, "an output takes `state` alone");
        }
        let word = fields.get("state").and_then(Value::as_str).map(str::to_ascii_uppercase);
        let (order, shown) = match (word.as_deref(), self.rules.pulse.is_some()) {
            (Some("ON"), _) => (Order::On, "ON"),
            (Some("OFF"), _) => (Order::Off, "OFF"),
            (Some("PULSE"), true) => (Order::Pulse, "ON"),
            (_, true) => return impossible("state", "it takes `ON`, `OFF` or `PULSE`"),
            (Some("PULSE"), false) => {
                return impossible("state", "it has no `pulse`; it takes `ON` or `OFF`");
            }
            (_, false) => return impossible("state", "it takes `ON` or `OFF`"),
        };
        let was = state.get("state").and_then(Value::as_str) == Some(shown);
        let lasts = match (self.rules.pulse.or(self.rules.max_on), shown) {
            (Some(longest), "ON") => format!(", for {} at most", Span(longest)),
            _ => String::new(),
        };
        let detail = if was {
            format!("the line reads {shown}, as before")
        } else {
            format!("the line reads {shown}{lasts}")
        };
        let shows = move |seen: &Fields| seen.get("state").and_then(Value::as_str) == Some(shown);
        Ok(Plan::confirmed(vec![order.frame()], CONFIRM_WITHIN, shows).saying(detail))
    }

    fn inquire(&self) -> Vec<Frame> {
        vec![Order::Tell.frame()]
    }

    fn entities(&self, _state: &Fields) -> Vec<Entity> {
        let own = match self.rules.pulse {
            Some(_) => Entity::new("state", Platform::Button { press: "PULSE".into() }),
            None => Entity::switch("state"),
        };
        let causes = Cause::ALL.map(Cause::as_str);
        vec![own, Entity::one_of("cause", causes).diagnostic()]
    }
}

#[cfg(test)]
mod tests;
