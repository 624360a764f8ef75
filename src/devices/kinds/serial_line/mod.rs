//! A device on a serial port that speaks in lines: `T=21.5 H=40`, or a JSON object each.
//!
//! A pattern's named groups become fields, or all fields of the object. A command is a line by a template:
//! `SET {level}`. Lines have no checksum: what is garbled on the wire and still matches is believed.

mod example;
mod simulation;
mod template;

use regex_lite::Regex;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use self::template::Template;
use super::{
    super::{
        Appliance, Changes, Device, DeviceError, DeviceSpec, Frame, Plan, Presence, Span, Wiring,
        bus::serial::PortOptions,
        options::options_of_both,
        serial::{Heard, Listener, Parity, PortSettings, Talker, framing::Lines, garbled},
    },
    describe::{self, Described},
    values,
};
use crate::model::{DeviceId, Entity, Fields, Request, Timestamp};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// What ends a line.
    delimiter: String,
    /// The longest line that is believed, in bytes.
    longest: usize,
    /// Named groups of this are fields; without it lines are JSON objects.
    pattern: Option<String>,
    /// What its fields are, as far as somebody must say it.
    fields: Vec<Described>,
    /// Lines that are not like the pattern are somebody else's on this port.
    skip_others: bool,
    /// Lines to send, one for each set of fields that may be asked for together.
    commands: Vec<String>,
    /// How long it may take to show what was asked; without it, it shows nothing.
    confirm_within: Option<Span>,
    /// A line that asks for the state, sent when the port is opened.
    inquiry: Option<String>,
    /// After which silence it counts as offline.
    offline_after: Option<Span>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            delimiter: "\n".to_owned(),
            longest: 1024,
            pattern: None,
            fields: Vec::new(),
            skip_others: false,
            commands: Vec::new(),
            confirm_within: None,
            inquiry: None,
            offline_after: None,
        }
    }
}

struct SerialLine {
    id: DeviceId,
    port: PortSettings,
    pattern: Option<Regex>,
    templates: Vec<Template>,
    options: Options,
}

pub(super) fn build(spec: &DeviceSpec) -> Result<Box<dyn Device>, DeviceError> {
    let (port, options): (PortOptions, Options) = options_of_both(spec)?;
    let port = PortSettings::new(spec, port, (9600, 8, Parity::None))?;
    let bad = |option: &str, problem: String| Err(DeviceError::bad_option(&spec.id, option, problem));
    if options.delimiter.is_empty() || options.delimiter.len() > 8 {
        return bad("delimiter", "write from 1 to 8 characters, in double quotes: `\"\\r\\n\"`".to_owned());
    }
    if !(1..=65_536).contains(&options.longest) {
        return bad("longest", "a line has from 1 to 65536 bytes".to_owned());
    }
    let pattern = match options.pattern.as_deref().map(Regex::new).transpose() {
        Ok(pattern) => pattern,
        Err(error) => return bad("pattern", format!("it is no regular expression: {error}")),
    };
    if pattern.as_ref().is_some_and(|pattern| pattern.capture_names().flatten().next().is_none()) {
        return bad("pattern", "it has no named group; write `(?P<temperature>…)` around a value".to_owned());
    }
    if options.skip_others && pattern.is_none() {
        return bad("skip_others", "only a `pattern` tells whose line it is".to_owned());
    }
    for (index, Described { unit, device_class, .. }) in options.fields.iter().enumerate() {
        if let Err((option, problem)) = describe::check(unit.as_deref(), device_class.as_deref()) {
            return bad(&format!("fields[{index}].{option}"), problem);
        }
    }
    let mut templates = Vec::new();
    for (index, text) in options.commands.iter().enumerate() {
        match Template::parse(text) {
            Ok(_) if text.contains(&options.delimiter) => {
                return bad(
                    &format!("commands[{index}]"),
                    "it has the `delimiter` in it, which is added behind it; a command is one line"
                        .to_owned(),
                );
            }
            Ok(template) => templates.push(template),
            Err(problem) => return bad(&format!("commands[{index}]"), problem),
        }
    }
    Ok(Box::new(SerialLine { id: spec.id.clone(), port, pattern, templates, options }))
}

/// Keeps the lines of others away.
struct OwnLines {
    listener: Listener,
    pattern: Option<Regex>,
}

impl Talker for OwnLines {
    fn begin(&mut self, now: Instant) {
        self.listener.begin(now);
    }

    fn hear(&mut self, bytes: &[u8], now: Instant) -> Heard {
        let mut heard = self.listener.hear(bytes, now);
        if let Some(pattern) = &self.pattern {
            heard.frames.retain(|frame| frame.text().is_some_and(|line| pattern.is_match(line)));
        }
        heard
    }
}

impl SerialLine {
    fn talker(&self) -> Box<dyn Talker> {
        let lines = Lines::new(self.options.delimiter.as_bytes(), self.options.longest);
        let pattern = self.pattern.clone().filter(|_| self.options.skip_others);
        Box::new(OwnLines { listener: Listener::new(lines), pattern })
    }
}

impl Device for SerialLine {
    fn wiring(&self) -> Wiring {
        Wiring::Serial { port: self.port.clone(), talker: self.talker() }
    }

    fn simulation(&self) -> Box<dyn Appliance> {
        simulation::simulation(self, self.talker())
    }

    fn presence(&self) -> Presence {
        Presence::Heard(self.options.offline_after.map(|span| span.0))
    }

    fn decode(&mut self, frame: &Frame, _now: Timestamp) -> Result<Changes, DeviceError> {
        let unreadable = |problem: &str| Err(DeviceError::unreadable(&self.id, "line", problem));
        if let Some(problem) = garbled(frame) {
            return unreadable(problem);
        }
        let Some(line) = frame.text() else { return unreadable("it is not text; check `baud` and `parity`") };
        let Some(pattern) = &self.pattern else {
            return match serde_json::from_str(line) {
                Ok(Value::Object(fields)) => Ok(Changes::fields(fields)),
                _ => unreadable("it is not a JSON object"),
            };
        };
        let Some(groups) = pattern.captures(line) else { return unreadable("it is not like the pattern") };
        let field = |name| Some((str::to_owned(name), values::said(groups.name(name)?.as_str())));
        Ok(Changes::fields(pattern.capture_names().flatten().filter_map(field).collect()))
    }

    fn encode(&self, request: &Request, _state: &Fields) -> Result<Plan, DeviceError> {
        let fields = request.fields();
        let Some(template) = self.templates.iter().find(|template| template.is_for(fields)) else {
            let problem = if self.templates.is_empty() {
                "the device has no `commands`"
            } else {
                "none of its `commands` is for this and nothing else"
            };
            return Err(DeviceError::impossible(&self.id, request.first_field(), problem));
        };
        let mut line = template
            .fill(fields, &self.options.delimiter)
            .map_err(|(field, problem)| DeviceError::impossible(&self.id, &field, problem))?;
        line.push_str(&self.options.delimiter);
        let frames = vec![Frame::new("line", line)];
        let Some(within) = self.options.confirm_within else {
            return Ok(Plan::sent(frames, "written to the port; this device does not confirm what it does"));
        };
        let shows = values::shows(fields.clone());
        Ok(Plan::confirmed(frames, within.0, shows).saying("the device shows it"))
    }

    fn inquire(&self) -> Vec<Frame> {
        let inquiry = self.options.inquiry.iter();
        inquiry.map(|line| Frame::new("line", format!("{line}{}", self.options.delimiter))).collect()
    }

    fn entities(&self, state: &Fields) -> Vec<Entity> {
        let settable = |field: &str| {
            let request = Fields::from_iter([(field.to_owned(), Value::Null)]);
            self.templates.iter().any(|template| template.is_for(&request))
        };
        describe::read_and_set(state, &self.options.fields, settable)
    }
}

#[cfg(test)]
mod tests;
