//! A node of nothing but its components' last words.

use std::collections::BTreeMap;

use super::{
    super::super::{Appliance, Frame, StandIn},
    component::{Component, Kind},
};
use crate::model::Topic;

pub(super) fn simulation(prefix: &Topic, components: &[Component]) -> Box<dyn Appliance> {
    let below = |topic: &str| format!("{prefix}/{topic}");
    let first = components.iter().flat_map(Component::first_word);
    // What it said last on each topic.
    let node: BTreeMap<String, String> = first.map(|(topic, word)| (below(&topic), word)).collect();
    let status = below("status");
    let says = move |node: &mut BTreeMap<String, String>, _| {
        let states = node.iter().map(|(topic, word)| Frame::new(topic, word.clone()));
        [Frame::new(&status, "online")].into_iter().chain(states).collect()
    };
    let (prefix, components) = (format!("{prefix}/"), components.to_vec());
    let takes = move |node: &mut BTreeMap<String, String>, frame: &Frame| {
        let (topic, word) = (frame.channel.strip_prefix(&prefix), frame.text().unwrap_or_default());
        let said =
            topic.and_then(|topic| components.iter().find_map(|component| component.obey(topic, word)));
        let said = said.ok_or_else(|| "the node has no such component".to_owned())?;
        let frame = |(topic, word): (String, String)| {
            let topic = format!("{prefix}{topic}");
            node.insert(topic.clone(), word.clone());
            Frame::new(&topic, word)
        };
        Ok(said.into_iter().map(frame).collect())
    };
    Box::new(StandIn::new(node).says(says).takes(takes))
}

impl Component {
    /// What a simulated one says at first.
    fn first_word(&self) -> Vec<(String, String)> {
        let state = format!("{}/state", self.point());
        let word = match &self.kind {
            Kind::Switch | Kind::BinarySensor { .. } => "OFF".to_owned(),
            Kind::Sensor { .. } => "21.0".to_owned(),
            Kind::TextSensor => "ready".to_owned(),
            Kind::Number { min, .. } => min.to_string(),
            Kind::Select { options } => options.first().cloned().unwrap_or_default(),
            Kind::Button => return Vec::new(),
            Kind::Cover { has_position: true, .. } => {
                return vec![(format!("{}/position/state", self.point()), "0".to_owned())];
            }
            Kind::Cover { .. } => "closed".to_owned(),
            Kind::Light { .. } => r#"{"state":"OFF","color_mode":"brightness","brightness":255}"#.to_owned(),
        };
        vec![(state, word)]
    }

    /// What a simulated one says to a command below the prefix; `None`: it is not for it.
    fn obey(&self, below: &str, word: &str) -> Option<Vec<(String, String)>> {
        let what = below.strip_prefix(&self.point())?;
        let state = format!("{}/state", self.point());
        let position = format!("{}/position/state", self.point());
        Some(match (&self.kind, what) {
            (Kind::Switch | Kind::Number { .. } | Kind::Select { .. } | Kind::Light { .. }, "/command") => {
                vec![(state, word.to_owned())]
            }
            (Kind::Button, "/command") => Vec::new(),
            (Kind::Cover { .. }, "/position/command") => vec![(position, word.to_owned())],
            (Kind::Cover { has_position, .. }, "/command") => match (word, has_position) {
                ("OPEN", true) => vec![(position, "100".to_owned())],
                ("CLOSE", true) => vec![(position, "0".to_owned())],
                ("OPEN", false) => vec![(state, "open".to_owned())],
                ("CLOSE", false) => vec![(state, "closed".to_owned())],
                _ => Vec::new(),
            },
            _ => return None,
        })
    }
}
