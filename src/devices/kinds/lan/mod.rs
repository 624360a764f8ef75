//! The generic LAN kind: any MQTT device of the house, named by its own topics.
//!
//! A state payload is a plain word (it becomes the field `field`), or a JSON object: all its fields,
//! or the one that `state_field` names. A device without a state topic does not confirm: its
//! command counts as applied when a connected subscriber got it.

mod payload;

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::{
    super::{Changes, Device, DeviceError, DeviceSpec, Frame, Plan, Presence, Span, Wiring, options},
    describe::{self, Described},
    values,
};
use crate::model::{Availability, DeviceId, Entity, Fields, Request, Timestamp, Topic, TopicFilter};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum CommandPayload {
    Plain,
    Json,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// Where the device says its state.
    state_topic: Option<Topic>,
    /// Where it listens.
    command_topic: Option<Topic>,
    /// Where it says whether it is there.
    availability_topic: Option<Topic>,
    /// What it says when it is there, and when it is not.
    payload_available: String,
    payload_not_available: String,
    /// Our name for what a plain word means.
    field: String,
    /// The device's name for it, in the JSON of its state.
    state_field: Option<String>,
    /// The device's name for it, in the JSON of a command.
    command_field: Option<String>,
    /// Whether a command is a plain word or a JSON object.
    command_payload: Option<CommandPayload>,
    /// What its fields are, as far as somebody must say it.
    fields: Vec<Described>,
    /// How long the device may take to show what was asked.
    confirm_within: Span,
    /// After which silence it counts as offline.
    offline_after: Option<Span>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            state_topic: None,
            command_topic: None,
            availability_topic: None,
            payload_available: "online".to_owned(),
            payload_not_available: "offline".to_owned(),
            field: "state".to_owned(),
            state_field: None,
            command_field: None,
            command_payload: None,
            fields: Vec::new(),
            confirm_within: Span(Duration::from_secs(2)),
            offline_after: None,
        }
    }
}

struct LanDevice {
    id: DeviceId,
    options: Options,
}

pub(super) fn build(spec: &DeviceSpec) -> Result<Box<dyn Device>, DeviceError> {
    let options: Options = options(spec)?;
    let bad = |option: &str, problem: &str| Err(DeviceError::bad_option(&spec.id, option, problem));
    if options.state_topic.is_none() && options.command_topic.is_none() {
        return bad(".", "a LAN device needs `state_topic`, `command_topic` or both");
    }
    if options.command_topic.is_some() && options.command_topic == options.state_topic {
        return bad("command_topic", "it must differ from `state_topic`, or the device would hear itself");
    }
    if options.offline_after.is_some() && options.availability_topic.is_some() {
        return bad(
            "offline_after",
            "the device says it itself on `availability_topic`; leave one of them out",
        );
    }
    if options.offline_after.is_some() && options.state_topic.is_none() {
        return bad("offline_after", "without `state_topic` the device is never heard");
    }
    if options.command_field.is_some() && options.command_payload == Some(CommandPayload::Plain) {
        return bad(
            "command_field",
            "a plain word has no field; leave it out or set `command_payload: json`",
        );
    }
    for (index, Described { unit, device_class, .. }) in options.fields.iter().enumerate() {
        if let Err((option, problem)) = describe::check(unit.as_deref(), device_class.as_deref()) {
            return bad(&format!("fields[{index}].{option}"), &problem);
        }
    }
    Ok(Box::new(LanDevice { id: spec.id.clone(), options }))
}

impl LanDevice {
    fn availability(&self, frame: &Frame) -> Result<Changes, DeviceError> {
        let text = payload::availability(frame);
        let says = |word: &str| text.as_deref().is_some_and(|text| text.eq_ignore_ascii_case(word));
        if says(&self.options.payload_available) {
            Ok(Changes::availability(Availability::Online))
        } else if says(&self.options.payload_not_available) {
            Ok(Changes::availability(Availability::Offline))
        } else {
            let Options { payload_available, payload_not_available, .. } = &self.options;
            let problem = format!("it is neither `{payload_available}` nor `{payload_not_available}`");
            Err(DeviceError::unreadable(&self.id, &frame.channel, problem))
        }
    }

    /// The command's payload.
    fn payload(&self, fields: &Fields) -> Result<String, DeviceError> {
        let Options { field, command_field, command_payload, .. } = &self.options;
        if command_field.is_none() && *command_payload != Some(CommandPayload::Json) {
            if let Some(other) = fields.keys().find(|name| *name != field) {
                let problem = format!("this device takes plain words for `{field}` only");
                return Err(DeviceError::impossible(&self.id, other, problem));
            }
            let word = fields.get(field).and_then(values::word);
            return word
                .ok_or_else(|| DeviceError::impossible(&self.id, field, "it must be a word or a number"));
        }
        let mut object = fields.clone();
        if let (Some(theirs), Some(value)) = (command_field, fields.get(field)) {
            object.remove(field);
            object.insert(theirs.clone(), value.clone());
        }
        Ok(Value::Object(object).to_string())
    }
}

impl Device for LanDevice {
    fn wiring(&self) -> Wiring {
        let topics = [&self.options.state_topic, &self.options.availability_topic];
        Wiring::Lan {
            hears: topics.into_iter().flatten().map(TopicFilter::from).collect(),
            obeys: self.options.command_topic.iter().map(TopicFilter::from).collect(),
        }
    }

    fn presence(&self) -> Presence {
        if self.options.availability_topic.is_some() {
            Presence::Announced
        } else if self.options.state_topic.is_some() {
            Presence::Heard(self.options.offline_after.map(|span| span.0))
        } else {
            Presence::Assumed
        }
    }

    fn decode(&mut self, frame: &Frame, _now: Timestamp) -> Result<Changes, DeviceError> {
        let is_on = |topic: &Option<Topic>| topic.as_ref().is_some_and(|t| t.as_str() == &*frame.channel);
        if is_on(&self.options.availability_topic) && !is_on(&self.options.state_topic) {
            return self.availability(frame);
        }
        let fields = payload::fields(frame, &self.options.field, self.options.state_field.as_deref())
            .map_err(|problem| DeviceError::unreadable(&self.id, &frame.channel, problem))?;
        let mut changes = Changes::fields(fields);
        if is_on(&self.options.availability_topic) {
            // One topic for both: a word that is neither of the two is simply a state.
            changes.availability = self.availability(frame).ok().and_then(|changes| changes.availability);
        }
        Ok(changes)
    }

    fn encode(&self, request: &Request, state: &Fields) -> Result<Plan, DeviceError> {
        let Some(topic) = &self.options.command_topic else {
            let field = request.fields().keys().next().unwrap_or(&self.options.field);
            return Err(DeviceError::impossible(&self.id, field, "the device has no `command_topic`"));
        };
        let frames = vec![Frame::new(topic.as_str(), self.payload(request.fields())?)];
        if self.options.state_topic.is_none() {
            return Ok(Plan::sent(frames, "delivered; this device does not confirm what it does"));
        }
        // What the device is known to show must be shown. Others (`transition`) are never in a state.
        let mut wanted = request.fields().clone();
        if wanted.keys().any(|name| state.contains_key(name)) {
            wanted.retain(|name, _| state.contains_key(name));
        }
        let within = self.options.confirm_within.0;
        Ok(Plan::confirmed(frames, within, values::shows(wanted)).saying("the device shows it"))
    }

    fn entities(&self, state: &Fields) -> Vec<Entity> {
        let Options { state_topic, command_topic, field, command_field, command_payload, fields, .. } =
            &self.options;
        if state_topic.is_none() {
            return vec![Entity::switch(field)];
        }
        let takes_all = command_field.is_some() || *command_payload == Some(CommandPayload::Json);
        let settable = |name: &str| command_topic.is_some() && (takes_all || name == field);
        describe::read_and_set(state, fields, settable)
    }
}

#[cfg(test)]
mod tests;
