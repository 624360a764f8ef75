//! A field of the options that has topics or templates of its own.

use serde::Deserialize;
use serde_json::Value;

use super::{
    super::{super::Frame, describe::Described, values},
    payload,
    template::Template,
};
use crate::model::{Fields, Topic};

/// What a field of the options says.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Options {
    /// The field of the state.
    pub(super) name: String,
    /// For people and for Home Assistant.
    #[serde(default)]
    pub(super) unit: Option<String>,
    #[serde(default)]
    pub(super) device_class: Option<String>,
    /// Where it is said; default the device's.
    #[serde(default)]
    pub(super) state_topic: Option<Topic>,
    /// What of the payload it is.
    #[serde(default)]
    pub(super) value_template: Option<String>,
    /// Where it is set; default the device's.
    #[serde(default)]
    pub(super) command_topic: Option<Topic>,
    /// How it is set.
    #[serde(default)]
    pub(super) command_template: Option<String>,
}

/// What an option is called, and what is wrong with it.
type Wrong = (&'static str, String);

/// A field with where and how it is said and set.
#[derive(Clone)]
pub(super) struct Point {
    pub(super) name: String,
    /// Where it is said.
    pub(super) state_topic: Option<Topic>,
    pub(super) value: Option<Template>,
    /// Where and how it is set, if not as the device as a whole.
    pub(super) command: Option<(Topic, Option<Template>)>,
}

/// Compiles a template if there is one.
pub(super) fn compile(option: &'static str, text: Option<&String>) -> Result<Option<Template>, Wrong> {
    text.map(|text| Template::new(text)).transpose().map_err(|problem| (option, problem))
}

impl Options {
    /// For what people are told of it.
    pub(super) fn described(&self) -> Described {
        let (unit, device_class) = (self.unit.clone(), self.device_class.clone());
        Described { name: self.name.clone(), unit, device_class }
    }

    /// `None` when it only says what the field is; `state_topic` and `command_topic` are the device's.
    pub(super) fn point(
        &self,
        state_topic: Option<&Topic>,
        command_topic: Option<&Topic>,
    ) -> Result<Option<Point>, Wrong> {
        let value = compile("value_template", self.value_template.as_ref())?;
        let template = compile("command_template", self.command_template.as_ref())?;
        if self.name.is_empty() {
            return Err(("name", "a field has a name".to_owned()));
        }
        let is_described = self.state_topic.is_none() && self.command_topic.is_none();
        if is_described && value.is_none() && template.is_none() {
            return Ok(None);
        }
        let state_topic = self.state_topic.as_ref().or(state_topic).cloned();
        if value.is_some() && state_topic.is_none() {
            return Err((
                "value_template",
                "it needs a `state_topic`, here or for the whole device".to_owned(),
            ));
        }
        let has_way = self.command_topic.is_some() || template.is_some();
        let topic = self.command_topic.as_ref().or(command_topic).filter(|_| has_way).cloned();
        if template.is_some() && topic.is_none() {
            return Err((
                "command_template",
                "it needs a `command_topic`, here or for the whole device".to_owned(),
            ));
        }
        let command = topic.map(|topic| (topic, template));
        Ok(Some(Point { name: self.name.clone(), state_topic, value, command }))
    }
}

impl Point {
    /// A member of what comes on a topic.
    pub(super) fn member(name: &str, topic: Topic) -> Self {
        Self { name: name.to_owned(), state_topic: Some(topic), value: None, command: None }
    }

    /// Its value in a frame from its topic; `None` when the frame says nothing of it.
    pub(super) fn read(&self, frame: &Frame) -> Result<Option<Value>, String> {
        let text = frame.text().ok_or("it is not text")?;
        match &self.value {
            Some(template) if !text.is_empty() => template.value(&frame.channel, text),
            _ => {
                let mut fields = payload::fields(frame, &self.name, None)?;
                Ok(fields.remove(&self.name))
            }
        }
    }

    /// The frame that sets it to `value`, as a part of the request; `None`: it is set as the device as a whole.
    pub(super) fn set(&self, value: &Value, request: &Fields) -> Option<Result<Frame, String>> {
        let (topic, template) = self.command.as_ref()?;
        let payload = match template {
            Some(template) => template.command(Some(value), request),
            None => values::word(value).ok_or("it must be a word or a number".to_owned()),
        };
        Some(payload.map(|payload| Frame::new(topic.as_str(), payload)))
    }
}
