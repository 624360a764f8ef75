//! The toaster: a lever to press, a browning dial, "toast is ready".
//!
//! State: `state` (`ON` while the lever is down), `toast` (`none`, `toasting`, `ready`, `early`),
//! `browning` (the dial, 1 to 6), `progress` (percent). Requests: `state` and `browning`.

mod physics;

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use self::physics::ToasterOnTheBus;
use super::super::{
    Appliance, Changes, Device, DeviceError, DeviceSpec, Frame, Plan, Presence, Span, Wiring, options,
};
use crate::model::{DeviceId, Entity, Fields, Request, StateClass, Timestamp};

/// How long the lever may take to show that it moved.
const CONFIRM_WITHIN: Duration = Duration::from_secs(2);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// How long a toast takes at browning 3; other levels take in proportion.
    toasting_time: Span,
    /// Where the dial stands at first, 1 to 6.
    browning: u8,
}

impl Default for Options {
    fn default() -> Self {
        Self { toasting_time: Span(Duration::from_secs(120)), browning: 3 }
    }
}

struct Toaster {
    id: DeviceId,
    options: Options,
}

pub(super) fn build(spec: &DeviceSpec) -> Result<Box<dyn Device>, DeviceError> {
    let options: Options = options(spec)?;
    if !(1..=6).contains(&options.browning) {
        return Err(DeviceError::bad_option(&spec.id, "browning", "the dial goes from 1 to 6"));
    }
    Ok(Box::new(Toaster { id: spec.id.clone(), options }))
}

impl Device for Toaster {
    fn wiring(&self) -> Wiring {
        Wiring::Simulated(self.simulation())
    }

    fn simulation(&self) -> Box<dyn Appliance> {
        let Options { toasting_time, browning } = self.options;
        Box::new(ToasterOnTheBus::new(toasting_time.0, browning))
    }

    fn presence(&self) -> Presence {
        Presence::Assumed
    }

    fn decode(&mut self, frame: &Frame, _now: Timestamp) -> Result<Changes, DeviceError> {
        let channel = frame.channel.as_ref();
        let unreadable = |problem: &str| DeviceError::unreadable(&self.id, channel, problem);
        let text = frame.text().ok_or_else(|| unreadable("it is not text"))?;
        let lever = |state: &str, toast: &str, progress: u8| {
            let fields = json!({"state": state, "toast": toast, "progress": progress});
            let Value::Object(fields) = fields else { return Changes::none() };
            Changes::fields(fields)
        };
        Ok(match (channel, text) {
            ("lever", "up") => lever("OFF", "none", 0),
            ("lever", "down") => lever("ON", "toasting", 0),
            ("lever", "held") => Changes::field("state", "ON"),
            ("lever", "popped") => lever("OFF", "ready", 100),
            ("lever", "lifted") => Changes::fields(Fields::from_iter([
                ("state".to_owned(), json!("OFF")),
                ("toast".to_owned(), json!("early")),
            ])),
            ("lever", "resting") => Changes::field("state", "OFF"),
            ("browning" | "progress", number) => {
                let number: u8 = number.parse().map_err(|_| unreadable("it is not a small number"))?;
                Changes::field(channel, number)
            }
            _ => return Err(unreadable("the toaster has no such point")),
        })
    }

    fn encode(&self, request: &Request, state: &Fields) -> Result<Plan, DeviceError> {
        let impossible = |field: &str, problem: &str| DeviceError::impossible(&self.id, field, problem);
        let (mut frames, mut wanted) = (Vec::new(), Fields::new());
        let mut browning = state.get("browning").and_then(Value::as_u64);
        if let Some(value) = request.fields().get("browning") {
            let level = value.as_u64().filter(|level| (1..=6).contains(level));
            browning = Some(level.ok_or_else(|| impossible("browning", "the dial goes from 1 to 6"))?);
            let level = browning.unwrap_or_default();
            frames.push(Frame::new("browning", level.to_string()));
            wanted.insert("browning".to_owned(), level.into());
        }
        let mut detail = "the dial is set".to_owned();
        for (field, value) in request.fields() {
            match field.as_str() {
                "browning" => {}
                "state" => {
                    let word = value.as_str().map(str::to_ascii_uppercase);
                    let (word, lever) = match word.as_deref() {
                        Some("ON") => ("ON", "down"),
                        Some("OFF") => ("OFF", "up"),
                        _ => return Err(impossible("state", "a toaster takes `ON` or `OFF`")),
                    };
                    let was = state.get("state").and_then(Value::as_str);
                    detail = match (word, was) {
                        ("ON", Some("ON")) => "it was toasting already and goes on".to_owned(),
                        ("ON", _) => {
                            let level = browning.and_then(|level| u8::try_from(level).ok());
                            let level = level.unwrap_or(self.options.browning);
                            let lasts = physics::lasts(self.options.toasting_time.0, level);
                            format!("the lever is down, the toast is ready in {}", Span(lasts))
                        }
                        (_, Some("ON")) => "the lever is up, the toast came out early".to_owned(),
                        _ => "the lever was up already".to_owned(),
                    };
                    frames.push(Frame::new("lever", lever));
                    wanted.insert("state".to_owned(), word.into());
                }
                other => return Err(impossible(other, "a toaster takes `state` and `browning`")),
            }
        }
        let shows = move |seen: &Fields| wanted.iter().all(|(name, value)| seen.get(name) == Some(value));
        Ok(Plan::confirmed(frames, CONFIRM_WITHIN, shows).saying(detail))
    }

    fn entities(&self, _state: &Fields) -> Vec<Entity> {
        vec![
            Entity::switch("state").named("lever"),
            Entity::one_of("toast", ["none", "toasting", "ready", "early"]),
            Entity::number("browning", 1.0, 6.0, 1.0),
            Entity::sensor("progress").unit("%").stated(StateClass::Measurement),
        ]
    }
}

#[cfg(test)]
mod tests;
