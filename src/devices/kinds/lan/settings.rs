//! What a user may say of a device of the network, and what of it does not go together.

use std::time::Duration;

use serde::Deserialize;

use super::{super::super::Span, point};
use crate::model::Topic;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum CommandPayload {
    Plain,
    Json,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Options {
    /// Where the device says its state.
    pub(super) state_topic: Option<Topic>,
    /// Where it listens.
    pub(super) command_topic: Option<Topic>,
    /// Where it says whether it is there.
    pub(super) availability_topic: Option<Topic>,
    /// What it says when it is there, and when it is not.
    pub(super) payload_available: String,
    pub(super) payload_not_available: String,
    /// Our name for what a plain word means.
    pub(super) field: String,
    /// The device's name for it, in the JSON of its state.
    pub(super) state_field: Option<String>,
    /// The device's name for it, in the JSON of a command.
    pub(super) command_field: Option<String>,
    /// Whether a command is a plain word or a JSON object.
    pub(super) command_payload: Option<CommandPayload>,
    /// What of its state's payload the field is.
    pub(super) value_template: Option<String>,
    /// How a command's payload is made of what is asked for.
    pub(super) command_template: Option<String>,
    /// What of its payload says whether it is there.
    pub(super) availability_template: Option<String>,
    /// What its fields are, as far as somebody must say it, and where and how they are said and set.
    pub(super) fields: Vec<point::Options>,
    /// How long the device may take to show what was asked.
    pub(super) confirm_within: Span,
    /// After which silence it counts as offline.
    pub(super) offline_after: Option<Span>,
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
            value_template: None,
            command_template: None,
            availability_template: None,
            fields: Vec::new(),
            confirm_within: Span(Duration::from_secs(2)),
            offline_after: None,
        }
    }
}

/// Options that do not go together: which, and what to do.
pub(super) fn check(options: &Options) -> Result<(), (&'static str, &'static str)> {
    let is_json = options.command_field.is_some() || options.command_payload.is_some();
    let rules = [
        (
            options.offline_after.is_some() && options.availability_topic.is_some(),
            "offline_after",
            "the device says it itself on `availability_topic`; leave one of them out",
        ),
        (
            options.command_field.is_some() && options.command_payload == Some(CommandPayload::Plain),
            "command_field",
            "a plain word has no field; leave it out or set `command_payload: json`",
        ),
        (
            options.value_template.is_some() && options.state_topic.is_none(),
            "value_template",
            "it reads what comes on `state_topic`; write that, too",
        ),
        (
            options.value_template.is_some() && options.state_field.is_some(),
            "value_template",
            "`state_field` says what of the payload is meant, too; leave one of them out",
        ),
        (
            options.command_template.is_some() && options.command_topic.is_none(),
            "command_template",
            "it makes what goes to `command_topic`; write that, too",
        ),
        (
            options.command_template.is_some() && is_json,
            "command_template",
            "it makes the whole payload; leave `command_field` and `command_payload` out",
        ),
        (
            options.availability_template.is_some() && options.availability_topic.is_none(),
            "availability_template",
            "it reads what comes on `availability_topic`; write that, too",
        ),
    ];
    match rules.into_iter().find(|(is_wrong, ..)| *is_wrong) {
        Some((_, option, problem)) => Err((option, problem)),
        None => Ok(()),
    }
}
