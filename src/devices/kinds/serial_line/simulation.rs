//! A simulated device that speaks in lines: it says what the pattern takes, and keeps what a command sets.

use std::time::Duration;

use regex_lite::Regex;
use serde_json::{Value, json};

use super::{
    super::{
        super::{Appliance, Frame, SimulatedLine, StandIn, Waves, serial::Talker},
        values,
    },
    SerialLine, example,
};
use crate::model::Fields;

/// Between two lines.
const PERIOD: Duration = Duration::from_secs(5);
/// What is measured, and how far a day takes it from that.
const NUMBER: (f64, f64) = (21.0, 2.0);

struct Speaker {
    pattern: Option<String>,
    delimiter: String,
    /// How each command looks on the line.
    commands: Vec<Regex>,
    curve: Waves,
    round: u32,
    /// What it was set to.
    set: Fields,
}

impl Speaker {
    /// A line that tells everything.
    fn line(&self) -> Vec<Frame> {
        let measure = self.curve.rounded(self.round, PERIOD, 1);
        let line = match &self.pattern {
            None => {
                let mut object = Fields::from_iter([("value".to_owned(), json!(measure))]);
                object.extend(self.set.clone());
                Some(Value::Object(object).to_string())
            }
            Some(pattern) => {
                let words = |field: &str| {
                    let set = self.set.get(field).and_then(values::word);
                    let habits =
                        [measure.to_string(), measure.round().to_string(), "OFF".into(), "off".into()];
                    set.into_iter().chain(habits).collect()
                };
                example::of(pattern, &words)
            }
        };
        line.map(|line| Frame::new("line", format!("{line}{}", self.delimiter))).into_iter().collect()
    }

    /// A command, or an inquiry: whatever it does not know.
    fn hear(&mut self, bytes: &[u8]) -> Vec<Frame> {
        let heard = String::from_utf8_lossy(bytes);
        let line = heard.strip_suffix(&self.delimiter).unwrap_or(&heard);
        if let Some((pattern, groups)) =
            self.commands.iter().find_map(|command| Some((command, command.captures(line)?)))
        {
            let set = pattern.capture_names().flatten();
            let set =
                set.filter_map(|name| Some((name.to_owned(), values::said(groups.name(name)?.as_str()))));
            self.set.extend(set);
        }
        self.line()
    }
}

pub(super) fn simulation(device: &SerialLine, talker: Box<dyn Talker>) -> Box<dyn Appliance> {
    let speaker = Speaker {
        pattern: device.options.pattern.clone(),
        delimiter: device.options.delimiter.clone(),
        commands: device
            .templates
            .iter()
            .filter_map(|template| Regex::new(&template.pattern()).ok())
            .collect(),
        curve: Waves::of(&device.id, NUMBER.0, NUMBER.1),
        round: 0,
        set: Fields::new(),
    };
    let says = |speaker: &mut Speaker, round| {
        speaker.round = round;
        speaker.line()
    };
    let takes = |speaker: &mut Speaker, frame: &Frame| Ok(speaker.hear(&frame.payload));
    Box::new(SimulatedLine::new(talker, StandIn::new(speaker).says(says).every(PERIOD).takes(takes)))
}
