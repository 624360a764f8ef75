//! A simulated device of the network: it says what it is set to and what it measures, in the payloads that its options
//! read.
//!
//! A template cannot be run backwards, so a payload is looked for that says by it what is to be said: the value itself,
//! ten times it, `true` for `ON` … What cannot be found is not said, and its command stays unconfirmed.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    super::{
        super::{Appliance, Frame, StandIn, Waves},
        values,
    },
    CommandPayload, LanDevice, Template,
};
use crate::model::{Fields, Topic};

/// Between two messages.
const PERIOD: Duration = Duration::from_secs(5);
/// What is measured, and how far a day takes it from that.
const NUMBER: (f64, f64) = (21.0, 2.0);
/// Words that switch something.
const SWITCHES: [[&str; 2]; 3] = [["ON", "OFF"], ["on", "off"], ["open", "closed"]];

struct FarEnd {
    device: LanDevice,
    curve: Waves,
    /// What it is set to and measures, in our names.
    values: Fields,
}

/// What may stand in a payload for a value that is read or set.
fn spellings(value: &Value) -> Vec<Value> {
    let mut all = vec![value.clone()];
    if let Some(number) = value.as_f64() {
        all.extend(
            [10.0, 0.1, 100.0, 0.01, 1000.0, 0.001].iter().filter_map(|scale| values::number(number * scale)),
        );
    }
    if let Some(word) = value.as_str() {
        let pair = SWITCHES.iter().flat_map(|pair| [(pair[0], true), (pair[1], false)]);
        if let Some((_, is_on)) = pair.into_iter().find(|(name, _)| *name == word) {
            let words = SWITCHES.map(|pair| pair[usize::from(!is_on)]);
            all.extend([json!(is_on), json!(u8::from(is_on))]);
            all.extend(words.map(Value::from));
        }
    }
    all
}

fn text(payload: &Value) -> String {
    values::word(payload).unwrap_or_else(|| payload.to_string())
}

/// A payload that says `value` by the template.
fn turned(template: &Template, topic: &Topic, value: &Value) -> Option<Value> {
    let mut payloads = spellings(value).into_iter().map(|raw| template.shaped(&raw));
    payloads.find(|payload| {
        let says = template.value(topic.as_str(), &text(payload));
        says.ok().flatten().is_some_and(|says| values::same(&says, value))
    })
}

/// The first of `wishes` that can be said by the template, or else what is said by one of them.
fn fitting(template: Option<&Template>, topic: &Topic, wishes: &[Value]) -> Option<Value> {
    let Some(template) = template else { return wishes.first().cloned() };
    let can_be_said = |wish: &&Value| turned(template, topic, wish).is_some();
    wishes.iter().find(can_be_said).cloned().or_else(|| {
        let raws = wishes.iter().flat_map(spellings);
        let mut said =
            raws.filter_map(|raw| template.value(topic.as_str(), &text(&template.shaped(&raw))).ok()?);
        said.next()
    })
}

/// The value of which the template makes this command. Numbers and switches first: many templates make the same of
/// every other word.
fn meant(template: &Template, field: &str, command: &str) -> Option<Value> {
    let words = command.split(|c: char| !c.is_alphanumeric() && !"._-".contains(c));
    let (numbers, words): (Vec<Value>, Vec<Value>) =
        words.filter(|word| !word.is_empty()).map(values::said).partition(Value::is_number);
    let switches =
        SWITCHES.iter().flatten().map(|word| Value::from(*word)).chain([json!(true), json!(false)]);
    let mut values = numbers.iter().flat_map(spellings).chain(switches).chain(words);
    values.find(|value| {
        let request = Fields::from_iter([(field.to_owned(), value.clone())]);
        template.command(Some(value), &request).is_ok_and(|made| made == command)
    })
}

impl FarEnd {
    /// The fields that are said on a topic, and the template that reads each.
    fn said_on(&self, topic: &Topic) -> Vec<(&str, Option<&Template>)> {
        let device = &self.device;
        let here = device.options.state_topic.as_ref() == Some(topic);
        let whole = (device.options.field.as_str(), device.value.as_ref());
        let whole = Some(whole).filter(|_| here && (device.value.is_some() || !device.is_read_by_points()));
        let points = device.points.iter().filter(|point| point.state_topic.as_ref() == Some(topic));
        whole.into_iter().chain(points.map(|point| (point.name.as_str(), point.value.as_ref()))).collect()
    }

    fn is_settable(&self, field: &str) -> bool {
        match self.device.point(field).map(|point| point.command.is_some()) {
            Some(true) => true,
            _ => self.device.options.command_topic.is_some() && field == self.device.options.field,
        }
    }

    /// What is measured; at first everything.
    fn measure(&mut self, round: u32) {
        let number = json!(self.curve.rounded(round, PERIOD, 1));
        let mut measured = Fields::new();
        for topic in self.device.state_topics() {
            for (field, template) in self.said_on(topic) {
                let is_set = self.is_settable(field);
                if is_set && round > 0 {
                    continue;
                }
                let words = SWITCHES.map(|pair| Value::from(pair[1]));
                let mut wishes = [std::slice::from_ref(&number), &words[..]].concat();
                if is_set {
                    wishes.rotate_left(1);
                }
                measured.extend(fitting(template, topic, &wishes).map(|value| (field.to_owned(), value)));
            }
        }
        self.values.extend(measured);
    }

    /// All that it says of its state.
    fn state(&self) -> Vec<Frame> {
        let said = |topic: &Topic| Some(Frame::new(topic.as_str(), self.payload(topic)?));
        self.device.state_topics().into_iter().filter_map(said).collect()
    }

    fn payload(&self, topic: &Topic) -> Option<String> {
        let options = &self.device.options;
        let is_json =
            options.command_field.is_some() || options.command_payload == Some(CommandPayload::Json);
        let (mut object, mut plain) = (json!({}), None);
        for (field, template) in self.said_on(topic) {
            let Some(value) = self.values.get(field) else { continue };
            let of_device = options.state_topic.as_ref() == Some(topic);
            match (template, &options.state_field) {
                (Some(template), _) => match turned(template, topic, value) {
                    Some(part @ Value::Object(_)) => merge(&mut object, part),
                    part => plain = part.or(plain),
                },
                (None, Some(name)) if of_device && field == options.field => {
                    object[name.as_str()] = value.clone()
                }
                (None, _) if of_device && self.device.is_read_by_points() => object[field] = value.clone(),
                (None, _) if of_device && is_json => object = Value::Object(self.values.clone()),
                (None, _) => plain = Some(value.clone()),
            }
        }
        let has_members = object.as_object().is_some_and(|object| !object.is_empty());
        if has_members { Some(object.to_string()) } else { plain.map(|plain| text(&plain)) }
    }

    /// What a command sets.
    fn obey(&self, frame: &Frame) -> Fields {
        let device = &self.device;
        let command = frame.text().unwrap_or_default();
        let mut set = Fields::new();
        for point in &device.points {
            if let Some((_, template)) =
                point.command.as_ref().filter(|(topic, _)| *topic.as_str() == *frame.channel)
            {
                let value = match template {
                    Some(template) => meant(template, &point.name, command),
                    None => Some(values::said(command)),
                };
                set.extend(value.map(|value| (point.name.clone(), value)));
            }
        }
        if !set.is_empty()
            || device.options.command_topic.as_ref().is_none_or(|topic| *topic.as_str() != *frame.channel)
        {
            return set;
        }
        let field = &device.options.field;
        match (&device.command, serde_json::from_str(command)) {
            (Some(template), _) => {
                set.extend(meant(template, field, command).map(|value| (field.clone(), value)))
            }
            (None, Ok(Value::Object(object))) => {
                let ours = |name: String| {
                    if Some(&name) == device.options.command_field.as_ref() { field.clone() } else { name }
                };
                set.extend(object.into_iter().map(|(name, value)| (ours(name), value)));
            }
            (None, _) => drop(set.insert(field.clone(), values::said(command))),
        }
        set
    }

    /// That it is there.
    fn presence(&self) -> Option<Frame> {
        let options = &self.device.options;
        let topic = options.availability_topic.as_ref()?;
        let word = Value::from(options.payload_available.as_str());
        let payload = match &self.device.availability {
            Some(template) => turned(template, topic, &word)?,
            None => word,
        };
        Some(Frame::new(topic.as_str(), text(&payload)))
    }
}

fn merge(object: &mut Value, part: Value) {
    match (object, part) {
        (Value::Object(object), Value::Object(part)) => {
            for (name, value) in part {
                merge(object.entry(name).or_insert(Value::Null), value);
            }
        }
        (place, part) => *place = part,
    }
}

pub(super) fn simulation(device: &LanDevice) -> Box<dyn Appliance> {
    let curve = Waves::of(&device.id, NUMBER.0, NUMBER.1);
    let far_end = FarEnd { device: device.clone(), curve, values: Fields::new() };
    let says = |far_end: &mut FarEnd, round| {
        far_end.measure(round);
        let presence = far_end.presence().filter(|_| round == 0);
        presence.into_iter().chain(far_end.state()).collect()
    };
    let takes = |far_end: &mut FarEnd, frame: &Frame| {
        let set = far_end.obey(frame);
        far_end.values.extend(set);
        Ok(far_end.state())
    };
    Box::new(StandIn::new(far_end).says(says).every(PERIOD).takes(takes))
}
