//! A node with ESPHome's MQTT client: every component by `<topic_prefix>/<component>/<object_id>/state` and `/command`.
//!
//! The file lists the components that are wanted; each is a field of the state, called as its object id. A light is
//! `state`, `brightness`, `color` …, as in its own JSON, so there is one a device. Requests: the fields of what can be
//! set. Source: ESPHome's documentation, "MQTT Client Component", and its component's source for covers and lights.
//!
//! Out of scope: climate, fan, lock, text, dates, tilt, and components with a `state_topic` of their own.

mod component;
mod simulation;

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use self::component::{Component, Settings};
use super::{
    super::{
        Appliance, Changes, Device, DeviceError, DeviceSpec, Frame, Plan, Presence, Span, Wiring, options,
    },
    values,
};
use crate::model::{Availability, DeviceId, Entity, Fields, Request, Timestamp, Topic, TopicFilter};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// `topic_prefix` of its `mqtt:`; the node's name unless it says otherwise.
    topic_prefix: Topic,
    components: Vec<Settings>,
    /// How long it may take to show what was asked.
    #[serde(default = "confirm_within")]
    confirm_within: Span,
}

fn confirm_within() -> Span {
    Span(Duration::from_secs(2))
}

struct Esphome {
    id: DeviceId,
    prefix: Topic,
    components: Vec<Component>,
    confirm_within: Duration,
}

pub(super) fn build(spec: &DeviceSpec) -> Result<Box<dyn Device>, DeviceError> {
    let options: Options = options(spec)?;
    let bad = |option: &str, problem: &str| DeviceError::bad_option(&spec.id, option, problem);
    if options.components.is_empty() {
        return Err(bad("components", "name at least one"));
    }
    let mut components: Vec<Component> = Vec::new();
    for (index, settings) in options.components.into_iter().enumerate() {
        let at = |option: &str| format!("components[{index}].{option}");
        let component = Component::new(settings).map_err(|(option, problem)| bad(&at(option), &problem))?;
        let taken = component
            .fields()
            .into_iter()
            .find(|field| components.iter().any(|other| other.fields().contains(field)));
        if let Some(field) = taken {
            let problem = format!("`{field}` is there already; give one of them another `field`");
            return Err(bad(&at("id"), &problem));
        }
        // Room for the longest of its topics.
        let longest = format!("{}/position/command", component.point());
        options.topic_prefix.join(&longest).map_err(|error| bad(&at("id"), &error.to_string()))?;
        components.push(component);
    }
    let confirm_within = options.confirm_within.0;
    Ok(Box::new(Esphome { id: spec.id.clone(), prefix: options.topic_prefix, components, confirm_within }))
}

impl Esphome {
    fn topic(&self, below: &str) -> String {
        format!("{}/{below}", self.prefix)
    }

    /// The components that a request sets, each with its part of it.
    fn parts<'a>(&'a self, fields: &Fields) -> Result<Vec<(&'a Component, Fields)>, DeviceError> {
        let mut parts: Vec<(&Component, Fields)> = Vec::new();
        for (name, value) in fields {
            let takes = self.components.iter().find(|component| component.takes(name));
            let takes = takes.ok_or_else(|| {
                let known = self.components.iter().any(|component| component.fields().contains(name));
                let problem = if known { "it can only be read" } else { "the device has no such field" };
                DeviceError::impossible(&self.id, name, problem)
            })?;
            let field = (name.clone(), value.clone());
            match parts.iter_mut().find(|(component, _)| std::ptr::eq(*component, takes)) {
                Some((_, part)) => drop(part.insert(field.0, field.1)),
                None => parts.push((takes, Fields::from_iter([field]))),
            }
        }
        Ok(parts)
    }
}

impl Device for Esphome {
    fn wiring(&self) -> Wiring {
        let filter = |text: String| TopicFilter::parse(&text).ok();
        let states = self.components.iter().flat_map(Component::states);
        let hears = states.map(|below| self.topic(&below)).chain([self.topic("status")]);
        // A component's, and those of a cover's position, a fan's speed, a thermostat's mode.
        let obeys = ["+/+/command", "+/+/+/command"].map(|below| self.topic(below));
        Wiring::Lan {
            hears: hears.filter_map(filter).collect(),
            obeys: obeys.into_iter().filter_map(filter).collect(),
        }
    }

    fn presence(&self) -> Presence {
        Presence::Announced
    }

    fn simulation(&self) -> Box<dyn Appliance> {
        simulation::simulation(&self.prefix, &self.components)
    }

    fn decode(&mut self, frame: &Frame, _now: Timestamp) -> Result<Changes, DeviceError> {
        let unreadable = |problem: &str| DeviceError::unreadable(&self.id, &frame.channel, problem);
        let text = frame.text().ok_or_else(|| unreadable("it is not text"))?;
        let below =
            frame.channel.strip_prefix(self.prefix.as_str()).and_then(|below| below.strip_prefix('/'));
        let Some(below) = below.filter(|_| !text.is_empty()) else { return Ok(Changes::none()) };
        if below == "status" {
            return match text {
                "online" => Ok(Changes::availability(Availability::Online)),
                "offline" => Ok(Changes::availability(Availability::Offline)),
                _ => Err(unreadable("it is neither `online` nor `offline`")),
            };
        }
        let says = |component: &Component| component.states().iter().any(|state| state == below);
        let Some(component) = self.components.iter().find(|component| says(component)) else {
            return Ok(Changes::none());
        };
        component.decode(below, text).map(Changes::fields).map_err(|problem| unreadable(&problem))
    }

    fn encode(&self, request: &Request, state: &Fields) -> Result<Plan, DeviceError> {
        let (mut frames, mut wanted) = (Vec::new(), Fields::new());
        for (component, part) in self.parts(request.fields())? {
            let told = component.tell(&part);
            let told = told.map_err(|(field, problem)| DeviceError::impossible(&self.id, &field, problem))?;
            frames
                .extend(told.commands.into_iter().map(|(below, word)| Frame::new(&self.topic(&below), word)));
            wanted.extend(told.shows);
        }
        let within = self.confirm_within;
        // ESPHome says what has changed, and nothing else.
        let already = |(name, value): (&String, &Value)| {
            let one = Fields::from_iter([(name.clone(), value.clone())]);
            values::shows(one)(state)
        };
        if wanted.is_empty() {
            return Ok(Plan::sent(frames, "delivered; it does not show at once what it does"));
        }
        if wanted.iter().all(already) {
            return Ok(Plan::sent(
                frames,
                "delivered; it was so already, which the device does not say again",
            ));
        }
        wanted.retain(|name, value| !already((name, value)));
        Ok(Plan::confirmed(frames, within, component::shows(wanted)).saying("the device shows it"))
    }

    fn entities(&self, _state: &Fields) -> Vec<Entity> {
        self.components.iter().map(|component| component.entity()).collect()
    }
}

#[cfg(test)]
mod tests;
