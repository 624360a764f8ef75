//! What the phone knows of the home: only what came over the cloud.
//!
//! Pure: messages in, one value out, which the page draws and the story reads. Holds the last
//! [`OUTCOMES`] outcomes, so that a page that was away for a moment misses none.

use std::collections::VecDeque;

use serde::Serialize;
use serde_json::Value;

use crate::{
    demo::CLOUD_ROOT,
    model::{Availability, CommandId, Fields, Outcome},
};

/// How many outcomes are remembered.
const OUTCOMES: usize = 32;

/// The home as the phone sees it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct View {
    /// Whether the phone's app has its own connection to the cloud.
    pub cloud: bool,
    /// Whether the gateway says, or its last will denies, that it is there; `None` until one of them came.
    pub home: Option<Availability>,
    /// The toaster's last state.
    pub toaster: Option<Fields>,
    /// Whether the gateway reaches the toaster.
    pub toaster_available: Option<Availability>,
    /// The last reading, in degrees Celsius.
    pub temperature: Option<f64>,
    /// The last outcomes, oldest first; a command that was sent twice has two.
    pub outcomes: VecDeque<Outcome>,
}

/// What the phone subscribes to. No two of them match the same topic.
pub(super) fn filters() -> Vec<String> {
    ["toaster", "thermometer", "+/availability", "+/result", "bridge/state"]
        .map(|below| format!("{CLOUD_ROOT}/{below}"))
        .to_vec()
}

impl View {
    /// Takes a message from the cloud; one that is not understood changes nothing.
    pub(super) fn take(&mut self, topic: &str, payload: &[u8]) {
        let Some(below) = topic.strip_prefix(CLOUD_ROOT).and_then(|rest| rest.strip_prefix('/')) else {
            return;
        };
        match below.split_once('/') {
            None if below == "toaster" => self.toaster = serde_json::from_slice(payload).ok(),
            None if below == "thermometer" => {
                let fields: Option<Fields> = serde_json::from_slice(payload).ok();
                self.temperature = fields.and_then(|fields| fields.get("temperature")?.as_f64());
            }
            Some(("bridge", "state")) => self.home = availability(payload),
            Some(("toaster", "availability")) => self.toaster_available = availability(payload),
            Some((_, "result")) => {
                if let Ok(outcome) = serde_json::from_slice(payload) {
                    self.outcomes.push_back(outcome);
                    let excess = self.outcomes.len().saturating_sub(OUTCOMES);
                    self.outcomes.drain(..excess);
                }
            }
            _ => {}
        }
    }

    /// A word of the toaster's state, for example `toasting` for `toast`.
    pub fn toaster_says(&self, field: &str) -> Option<&str> {
        self.toaster.as_ref()?.get(field).and_then(Value::as_str)
    }

    /// The outcomes of one command, oldest first.
    pub fn outcomes_of<'a>(&'a self, id: &'a CommandId) -> impl Iterator<Item = &'a Outcome> {
        self.outcomes.iter().filter(move |outcome| outcome.id == *id)
    }
}

/// The word alone, or the object that Home Assistant and zigbee2mqtt write.
fn availability(payload: &[u8]) -> Option<Availability> {
    let word = std::str::from_utf8(payload).ok()?.trim();
    let json = serde_json::from_str(word).unwrap_or_else(|_| Value::from(word));
    let word = json.get("state").cloned().unwrap_or(json);
    serde_json::from_value(word).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(messages: &[(&str, &str)]) -> View {
        let mut view = View::default();
        for (below, payload) in messages {
            view.take(&format!("{CLOUD_ROOT}/{below}"), payload.as_bytes());
        }
        view
    }

    #[test]
    fn the_last_word_on_each_topic_is_what_the_phone_knows() {
        let view = view(&[
            ("bridge/state", "online"),
            ("toaster", r#"{"state":"OFF","toast":"none"}"#),
            ("toaster", r#"{"state":"ON","toast":"toasting"}"#),
            ("toaster/availability", "online"),
            ("thermometer", r#"{"temperature":21.4}"#),
            ("bridge/state", "offline"),
        ]);
        assert_eq!(view.home, Some(Availability::Offline));
        assert_eq!(view.toaster_available, Some(Availability::Online));
        assert_eq!(view.toaster_says("toast"), Some("toasting"));
        assert_eq!(view.temperature, Some(21.4));
    }

    #[test]
    fn what_is_not_understood_changes_nothing_and_breaks_nothing() {
        let odd =
            view(&[("toaster/result", "{"), ("a/b/c", "x"), ("bridge/state", "maybe"), ("thermometer", "")]);
        assert_eq!(odd, View::default());
    }

    #[test]
    fn outcomes_are_kept_in_order_and_bounded() {
        let mut view = View::default();
        for number in 0..40 {
            let outcome = format!(
                r#"{{"id":"c{number}","device":"toaster","status":"applied","at":"2026-11-22T12:00:00Z"}}"#
            );
            view.take(&format!("{CLOUD_ROOT}/toaster/result"), outcome.as_bytes());
        }
        assert_eq!(view.outcomes.len(), OUTCOMES);
        assert_eq!(view.outcomes[0].id.as_str(), "c8");
        let last = CommandId::parse("c39").unwrap();
        assert_eq!(view.outcomes_of(&last).count(), 1);
    }
}
