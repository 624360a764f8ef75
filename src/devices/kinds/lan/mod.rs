//! The generic LAN kind: any MQTT device of the house, named by its own topics.
//!
//! A state payload is a plain word (it becomes the field `field`), or a JSON object: all its fields,
//! or the one that `state_field` names. A device without a state topic does not confirm: its
//! command counts as applied when a connected subscriber got it. For what is said in other ways there are templates, as
//! in Home Assistant, for the device and for each of its fields.

mod payload;
mod point;
mod settings;
mod simulation;
mod template;

use serde_json::Value;

use self::{
    point::{Point, compile},
    settings::{CommandPayload, Options, check},
    template::Template,
};
use super::{
    super::{Appliance, Changes, Device, DeviceError, DeviceSpec, Frame, Plan, Presence, Wiring, options},
    describe, values,
};
use crate::model::{Availability, DeviceId, Entity, Fields, Request, Timestamp, Topic, TopicFilter};

#[derive(Clone)]
struct LanDevice {
    id: DeviceId,
    options: Options,
    value: Option<Template>,
    command: Option<Template>,
    availability: Option<Template>,
    /// The fields that have topics or templates of their own.
    points: Vec<Point>,
}

pub(super) fn build(spec: &DeviceSpec) -> Result<Box<dyn Device>, DeviceError> {
    let options: Options = options(spec)?;
    let bad = |option: &str, problem: &str| DeviceError::bad_option(&spec.id, option, problem);
    check(&options).map_err(|(option, problem)| bad(option, problem))?;
    let compiled = |option, text: &Option<String>| {
        compile(option, text.as_ref()).map_err(|(option, problem)| bad(option, &problem))
    };
    let value = compiled("value_template", &options.value_template)?;
    let command = compiled("command_template", &options.command_template)?;
    let availability = compiled("availability_template", &options.availability_template)?;
    let mut points: Vec<Point> = Vec::new();
    for (index, field) in options.fields.iter().enumerate() {
        let bad = |(option, problem): (&str, String)| bad(&format!("fields[{index}].{option}"), &problem);
        describe::check(field.unit.as_deref(), field.device_class.as_deref()).map_err(bad)?;
        if options.fields[..index].iter().any(|other| other.name == field.name) {
            return Err(bad(("name", format!("`{}` stands twice", field.name))));
        }
        points
            .extend(field.point(options.state_topic.as_ref(), options.command_topic.as_ref()).map_err(bad)?);
    }
    let mut device = LanDevice { id: spec.id.clone(), options, value, command, availability, points };
    device.read_the_described();
    let (said, obeyed) = (device.state_topics(), device.command_topics());
    if said.is_empty() && obeyed.is_empty() {
        return Err(bad(".", "a LAN device needs `state_topic`, `command_topic` or both"));
    }
    if obeyed.iter().any(|topic| said.contains(topic)) {
        let problem = "it must differ from `state_topic`, or the device would hear itself";
        return Err(bad("command_topic", problem));
    }
    if device.options.offline_after.is_some() && said.is_empty() {
        return Err(bad("offline_after", "without `state_topic` the device is never heard"));
    }
    Ok(Box::new(device))
}

/// Each once.
fn each<'a>(topics: impl Iterator<Item = &'a Topic>) -> Vec<&'a Topic> {
    let mut all = Vec::new();
    topics.for_each(|topic| {
        if !all.contains(&topic) {
            all.push(topic)
        }
    });
    all
}

impl LanDevice {
    fn state_topics(&self) -> Vec<&Topic> {
        let own = self.points.iter().filter_map(|point| point.state_topic.as_ref());
        each(self.options.state_topic.iter().chain(own))
    }

    fn command_topics(&self) -> Vec<&Topic> {
        let own = self.points.iter().filter_map(|point| Some(&point.command.as_ref()?.0));
        each(self.options.command_topic.iter().chain(own))
    }

    fn point(&self, field: &str) -> Option<&Point> {
        self.points.iter().find(|point| point.name == *field)
    }

    /// Whether what comes on the device's own topic is read field by field, and by nothing else.
    fn is_read_by_points(&self) -> bool {
        let is_here = |point: &Point| point.state_topic == self.options.state_topic;
        self.value.is_some() || self.points.iter().any(|point| point.value.is_some() && is_here(point))
    }

    /// Where what comes is read field by field, fields that are only described are members of it.
    fn read_the_described(&mut self) {
        let Some(topic) = self.options.state_topic.clone().filter(|_| self.is_read_by_points()) else {
            return;
        };
        for field in &self.options.fields {
            if self.point(&field.name).is_none() && field.name != self.options.field {
                self.points.push(Point::member(&field.name, topic.clone()));
            }
        }
    }

    /// Whether the device ever shows a field.
    fn is_shown(&self, field: &str) -> bool {
        match self.point(field) {
            Some(point) => point.state_topic.is_some(),
            None => {
                self.options.state_topic.is_some()
                    && (!self.is_read_by_points() || field == self.options.field)
            }
        }
    }

    /// What a frame from a topic of its state says.
    fn state(&self, frame: &Frame) -> Result<Changes, DeviceError> {
        let is_here =
            |topic: &Option<Topic>| topic.as_ref().is_some_and(|topic| topic.as_str() == &*frame.channel);
        let mut changes = Changes::none();
        let mut take = |field: &str, value: Result<Option<Value>, String>| match value {
            Ok(Some(value)) => drop(changes.fields.insert(field.to_owned(), value)),
            Ok(None) => {}
            Err(problem) => changes.unread.push((field.to_owned(), problem)),
        };
        if is_here(&self.options.state_topic) {
            let text = frame.text();
            match &self.value {
                Some(_) if text == Some("") => {}
                Some(template) => take(
                    &self.options.field,
                    text.ok_or("it is not text".to_owned())
                        .and_then(|text| template.value(&frame.channel, text)),
                ),
                None if self.is_read_by_points() => {}
                None => {
                    let state_field = self.options.state_field.as_deref();
                    let fields = payload::fields(frame, &self.options.field, state_field)
                        .map_err(|problem| DeviceError::unreadable(&self.id, &frame.channel, problem))?;
                    fields.into_iter().for_each(|(field, value)| take(&field, Ok(Some(value))));
                }
            }
        }
        for point in self.points.iter().filter(|point| is_here(&point.state_topic)) {
            take(&point.name, point.read(frame));
        }
        Ok(changes)
    }

    fn availability(&self, frame: &Frame) -> Result<Changes, DeviceError> {
        let text = match &self.availability {
            None => payload::availability(frame),
            Some(template) => {
                let said = template.value(&frame.channel, frame.text().unwrap_or_default());
                let said =
                    said.map_err(|problem| DeviceError::unreadable(&self.id, &frame.channel, problem))?;
                let Some(said) = said else { return Ok(Changes::none()) };
                values::word(&said)
            }
        };
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
        if let Some(template) = &self.command {
            let others = fields.keys().find(|name| *name != field && !template.uses("value_json"));
            if let Some(other) = others {
                let problem = format!("the `command_template` makes a payload of `{field}` only");
                return Err(DeviceError::impossible(&self.id, other, problem));
            }
            let payload = template.command(fields.get(field), fields);
            return payload.map_err(|problem| DeviceError::impossible(&self.id, field, problem));
        }
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
        let heard = each(self.state_topics().into_iter().chain(&self.options.availability_topic));
        Wiring::Lan {
            hears: heard.into_iter().map(TopicFilter::from).collect(),
            obeys: self.command_topics().into_iter().map(TopicFilter::from).collect(),
        }
    }

    fn simulation(&self) -> Box<dyn Appliance> {
        simulation::simulation(self)
    }

    fn presence(&self) -> Presence {
        if self.options.availability_topic.is_some() {
            Presence::Announced
        } else if self.state_topics().is_empty() {
            Presence::Assumed
        } else {
            Presence::Heard(self.options.offline_after.map(|span| span.0))
        }
    }

    fn decode(&mut self, frame: &Frame, _now: Timestamp) -> Result<Changes, DeviceError> {
        let is_presence =
            self.options.availability_topic.as_ref().is_some_and(|topic| topic.as_str() == &*frame.channel);
        if !is_presence {
            return self.state(frame);
        }
        if !self.state_topics().iter().any(|topic| topic.as_str() == &*frame.channel) {
            return self.availability(frame);
        }
        let mut changes = self.state(frame)?;
        // One topic for both: a word that is neither of the two is simply a state.
        changes.availability = self.availability(frame).ok().and_then(|changes| changes.availability);
        Ok(changes)
    }

    fn encode(&self, request: &Request, state: &Fields) -> Result<Plan, DeviceError> {
        let (mut frames, mut rest) = (Vec::new(), Fields::new());
        for (field, value) in request.fields() {
            match self.point(field).and_then(|point| point.set(value, request.fields())) {
                None => drop(rest.insert(field.clone(), value.clone())),
                Some(frame) => {
                    let impossible = |problem| DeviceError::impossible(&self.id, field, problem);
                    frames.push(frame.map_err(impossible)?);
                }
            }
        }
        if let Some(field) = rest.keys().next() {
            let Some(topic) = &self.options.command_topic else {
                return Err(DeviceError::impossible(
                    &self.id,
                    field,
                    "the device has no `command_topic` for it",
                ));
            };
            frames.push(Frame::new(topic.as_str(), self.payload(&rest)?));
        }
        let mut wanted = request.fields().clone();
        wanted.retain(|field, _| self.is_shown(field));
        if wanted.is_empty() {
            return Ok(Plan::sent(frames, "delivered; this device does not confirm what it does"));
        }
        // What the device is known to show must be shown. Others (`transition`) are never in a state.
        if wanted.keys().any(|name| state.contains_key(name)) {
            wanted.retain(|name, _| state.contains_key(name));
        }
        let within = self.options.confirm_within.0;
        Ok(Plan::confirmed(frames, within, values::shows(wanted)).saying("the device shows it"))
    }

    fn entities(&self, state: &Fields) -> Vec<Entity> {
        let Options { command_topic, field, command_field, command_payload, fields, .. } = &self.options;
        let takes_all = command_field.is_some() || *command_payload == Some(CommandPayload::Json);
        let settable = |name: &str| match self.point(name) {
            Some(Point { command: Some(_), .. }) => true,
            _ => command_topic.is_some() && (takes_all || name == field),
        };
        let described: Vec<_> = fields.iter().map(point::Options::described).collect();
        let mut entities = describe::read_and_set(state, &described, settable);
        let points = self.points.iter().filter(|point| point.command.is_some()).map(|point| &point.name);
        let unshown = command_topic.iter().map(|_| field).chain(points).filter(|name| !self.is_shown(name));
        entities.extend(unshown.map(|name| Entity::switch(name).assumed()));
        entities
    }
}

#[cfg(test)]
mod tests;
