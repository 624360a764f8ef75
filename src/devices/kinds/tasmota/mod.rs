//! A Tasmota plug or relay, by its topics `cmnd/…`, `stat/…` and `tele/…`.
//!
//! State: `state` (`ON`, `OFF`), and from the telemetry `signal` in dBm, `power`, `voltage`,
//! `energy_total` and whatever sensors it has (`am2301_temperature`). Requests: `state`.
//! Source: Tasmota's documentation, "MQTT" and "Commands".

mod simulation;
mod telemetry;

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::super::{
    Appliance, Changes, Device, DeviceError, DeviceSpec, Frame, Plan, Presence, Span, Wiring, options,
};
use crate::model::{Availability, DeviceId, Entity, Fields, Request, Timestamp, Topic, TopicFilter};

/// Tasmota says every change twice, on `RESULT` and on `POWER`; this long an echo is not a reading.
const ECHO: Duration = Duration::from_secs(1);

/// The group that every Tasmota is in unless it is told otherwise (`GroupTopic`); in the shape of its own topics, or
/// with SetOption75 as `cmnd/tasmotas/…`.
const GROUP: &str = "tasmotas";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// The device's own topic: `%topic%` in its console.
    topic: String,
    /// The shape of its topics; `FullTopic` in its console.
    #[serde(default = "full_topic")]
    full_topic: String,
    /// Which relay, 1 to 8; only devices with several number them.
    #[serde(default)]
    relay: Option<u8>,
    /// How long it may take to show what was asked.
    #[serde(default = "confirm_within")]
    confirm_within: Span,
}

fn full_topic() -> String {
    "%prefix%/%topic%/".to_owned()
}

fn confirm_within() -> Span {
    Span(Duration::from_secs(2))
}

struct Tasmota {
    id: DeviceId,
    /// `POWER` or `POWER2`.
    power: String,
    command: Topic,
    /// All that it can be told, by its own topic and by those of its group.
    commands: Vec<TopicFilter>,
    inquiry: Topic,
    /// What stands before `POWER`, `RESULT`; before `LWT`, `STATE`, `SENSOR`.
    stat: String,
    tele: String,
    filters: Vec<TopicFilter>,
    confirm_within: Duration,
    last_word: Option<(String, Timestamp)>,
}

pub(super) fn build(spec: &DeviceSpec) -> Result<Box<dyn Device>, DeviceError> {
    let options: Options = options(spec)?;
    let bad = |option: &str, problem: String| DeviceError::bad_option(&spec.id, option, problem);
    if !options.full_topic.contains("%prefix%") || !options.full_topic.contains("%topic%") {
        return Err(bad("full_topic", "it must contain `%prefix%` and `%topic%`".to_owned()));
    }
    if options.relay.is_some_and(|relay| !(1..=8).contains(&relay)) {
        return Err(bad("relay", "relays are numbered from 1 to 8".to_owned()));
    }
    let power = options.relay.map_or_else(|| "POWER".to_owned(), |relay| format!("POWER{relay}"));
    let of = |prefix: &str, topic: &str| {
        let path = options.full_topic.replace("%prefix%", prefix).replace("%topic%", topic);
        format!("{}/", path.trim_end_matches('/'))
    };
    let below = |prefix: &str| of(prefix, &options.topic);
    let topic = |text: String| Topic::parse(&text).map_err(|error| bad("topic", error.to_string()));
    let (cmnd, stat, tele) = (below("cmnd"), below("stat"), below("tele"));
    let mut obeyed = vec![cmnd.clone(), of("cmnd", GROUP), format!("cmnd/{GROUP}/")];
    obeyed.dedup();
    let commands: Result<Vec<_>, _> =
        obeyed.iter().map(|below| TopicFilter::parse(&format!("{below}#"))).collect();
    let mut filters = Vec::new();
    for heard in [
        format!("{stat}{power}"),
        format!("{stat}RESULT"),
        format!("{tele}LWT"),
        format!("{tele}STATE"),
        format!("{tele}SENSOR"),
    ] {
        filters.push(TopicFilter::from(&topic(heard)?));
    }
    if options.relay.is_none() {
        // A device with one relay may be told to number it all the same (SetOption26).
        filters.push(TopicFilter::from(&topic(format!("{stat}POWER1"))?));
    }
    Ok(Box::new(Tasmota {
        id: spec.id.clone(),
        command: topic(format!("{cmnd}{power}"))?,
        commands: commands.map_err(|error| bad("topic", error.to_string()))?,
        inquiry: topic(format!("{cmnd}STATE"))?,
        power,
        stat,
        tele,
        filters,
        confirm_within: options.confirm_within.0,
        last_word: None,
    }))
}

impl Tasmota {
    fn power_of(&self, object: &Fields) -> Option<String> {
        let value = object.get(&self.power);
        let value = value.or_else(|| object.get("POWER1").filter(|_| self.power == "POWER"));
        value.and_then(Value::as_str).map(str::to_ascii_uppercase)
    }

    fn word(&mut self, word: &str, now: Timestamp) -> Changes {
        self.last_word = Some((word.to_owned(), now));
        Changes::field("state", word)
    }

    fn is_echo(&self, word: &str, now: Timestamp) -> bool {
        self.last_word
            .as_ref()
            .is_some_and(|(last, at)| last == word && now.since(*at).is_some_and(|age| age < ECHO))
    }

    fn stat(&mut self, what: &str, text: &str, now: Timestamp) -> Result<Changes, DeviceError> {
        let unreadable = |problem: &str| DeviceError::unreadable(&self.id, what, problem);
        if let Ok(Value::Object(object)) = serde_json::from_str(text) {
            if let Some(problem @ ("Unknown" | "Error")) = object.get("Command").and_then(Value::as_str) {
                return Ok(Changes::refusal(format!("Tasmota answered: command {problem}")));
            }
            return Ok(match self.power_of(&object) {
                Some(word) => self.word(&word, now),
                None => Changes::none(),
            });
        }
        match (what, text.to_ascii_uppercase()) {
            ("RESULT", _) => Err(unreadable("it is not a JSON object")),
            (_, word) if self.is_echo(&word, now) => Ok(Changes::none()),
            (_, word) if word == "ON" || word == "OFF" => Ok(self.word(&word, now)),
            _ => Err(unreadable("it is neither `ON` nor `OFF`")),
        }
    }

    fn tele(&mut self, what: &str, text: &str, now: Timestamp) -> Result<Changes, DeviceError> {
        if what == "LWT" {
            return match text {
                "Online" => Ok(Changes::availability(Availability::Online)),
                "Offline" => Ok(Changes::availability(Availability::Offline)),
                _ => Err(DeviceError::unreadable(&self.id, what, "it is neither `Online` nor `Offline`")),
            };
        }
        let Ok(Value::Object(object)) = serde_json::from_str(text) else {
            return Err(DeviceError::unreadable(&self.id, what, "it is not a JSON object"));
        };
        let mut fields = telemetry::fields(what, &object);
        if let Some(word) = self.power_of(&object) {
            fields.append(&mut self.word(&word, now).fields);
        }
        Ok(Changes::fields(fields))
    }
}

impl Device for Tasmota {
    fn wiring(&self) -> Wiring {
        Wiring::Lan { hears: self.filters.clone(), obeys: self.commands.clone() }
    }

    fn presence(&self) -> Presence {
        Presence::Announced
    }

    fn simulation(&self) -> Box<dyn Appliance> {
        simulation::simulation(self)
    }

    fn decode(&mut self, frame: &Frame, now: Timestamp) -> Result<Changes, DeviceError> {
        let channel = &*frame.channel;
        let text =
            frame.text().ok_or_else(|| DeviceError::unreadable(&self.id, channel, "it is not text"))?;
        if text.is_empty() {
            return Ok(Changes::none());
        }
        if let Some(what) = channel.strip_prefix(&self.stat) {
            let what = what.to_owned();
            self.stat(&what, text, now)
        } else if let Some(what) = channel.strip_prefix(&self.tele) {
            let what = what.to_owned();
            self.tele(&what, text, now)
        } else {
            Ok(Changes::none())
        }
    }

    fn encode(&self, request: &Request, _state: &Fields) -> Result<Plan, DeviceError> {
        let impossible = |field: &str, problem: &str| DeviceError::impossible(&self.id, field, problem);
        if let Some(other) = request.fields().keys().find(|name| *name != "state") {
            return Err(impossible(other, "a Tasmota relay takes `state` only"));
        }
        let word = request.fields().get("state").and_then(Value::as_str).map(str::to_ascii_uppercase);
        let word = word
            .filter(|word| word == "ON" || word == "OFF")
            .ok_or_else(|| impossible("state", "a Tasmota relay takes `ON` or `OFF`"))?;
        let frames = vec![Frame::new(self.command.as_str(), word.clone())];
        let detail = format!("the relay shows {word}");
        let shows = move |seen: &Fields| seen.get("state").and_then(Value::as_str) == Some(&word);
        Ok(Plan::confirmed(frames, self.confirm_within, shows).saying(detail))
    }

    fn inquire(&self) -> Vec<Frame> {
        vec![Frame::new(self.inquiry.as_str(), "")]
    }

    fn entities(&self, state: &Fields) -> Vec<Entity> {
        let sensors = state.keys().filter_map(|field| telemetry::entity(field, state));
        [Entity::switch("state")].into_iter().chain(sensors).collect()
    }
}

#[cfg(test)]
mod tests;
