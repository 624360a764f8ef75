//! The description document of a device: one JSON object ("Device Attributes" of the convention).
//!
//! Pure. What has the convention's default is left out.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    Named,
    property::{Property, Range, Shape},
    value::PRESS,
};
use crate::model::{HomieId, Timestamp};

/// The version of the convention, without its patch level.
const CONVENTION: &str = "5.0";
/// In front of the kinds, so that nobody else's are called so. By this a description is known for ours.
const TYPES: &str = "hearthlink/";

/// A device's place among the others.
pub(super) enum Place<'a> {
    /// The gateway, with the ids of its children.
    Root(Vec<&'a HomieId>),
    /// A device, with the gateway's id.
    Child(&'a HomieId),
}

/// The document, but for its version.
pub(super) fn description(of: &Named, place: &Place<'_>, properties: &[Property]) -> Value {
    let mut nodes: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for property in properties {
        let all = nodes.entry(property.node).or_default();
        all.insert(property.id.to_string(), of_property(property));
    }
    let node = |(id, properties): (&str, Map<String, Value>)| {
        let name = match id {
            "diagnostic" => "Diagnostic",
            "config" => "Configuration",
            _ => of.name.as_str(),
        };
        (id.to_owned(), json!({"name": name, "properties": properties}))
    };
    let nodes: Map<String, Value> = nodes.into_iter().map(node).collect();
    let mut it = json!({
        "homie": CONVENTION, "name": of.name, "type": format!("{TYPES}{}", of.kind), "nodes": nodes,
    });
    match place {
        Place::Root(children) => {
            it["children"] = children.iter().map(|child| child.as_str()).collect();
        }
        Place::Child(root) => it["root"] = root.as_str().into(),
    }
    it
}

/// With a version that is higher than that of the `old` document.
pub(super) fn versioned(mut description: Value, old: Option<&Value>, now: Timestamp) -> Value {
    let next = old.and_then(|old| old["version"].as_i64()).map_or(1, |version| version.saturating_add(1));
    // Where the old one was lost, the time is higher than it was; where the time was lost, the old one is.
    description["version"] = next.max(now.as_millis() / 1000).into();
    description
}

/// Whether two documents say the same, but for their versions.
pub(super) fn is_same(description: &Value, old: &Value) -> bool {
    let mut old = old.clone();
    drop(old.as_object_mut().map(|members| members.remove("version")));
    *description == old
}

/// Whether it describes the gateway of this id, or a device of it.
pub(super) fn is_of(root: &HomieId, id: &str, description: &Value) -> bool {
    let is_ours = description["type"].as_str().is_some_and(|kind| kind.starts_with(TYPES));
    is_ours && description["root"].as_str().unwrap_or(id) == root.as_str()
}

fn of_property(property: &Property) -> Value {
    let (datatype, format) = match &property.shape {
        Shape::Text => ("string", None),
        Shape::Float(range) => ("float", range.map(of_range)),
        Shape::Integer(range) => ("integer", range.map(of_range)),
        Shape::Boolean { on, off } => ("boolean", labels(off, on)),
        Shape::Enum(words) => ("enum", Some(words.join(","))),
        Shape::Press(_) => ("enum", Some(PRESS.to_owned())),
        Shape::Color => ("color", Some("rgb".to_owned())),
    };
    let mut it = json!({"name": property.name, "datatype": datatype});
    if let Some(format) = format {
        it["format"] = format.into();
    }
    if let Some(unit) = &property.unit {
        it["unit"] = unit.as_str().into();
    }
    if property.is_settable {
        it["settable"] = true.into();
    }
    if !property.is_retained {
        it["retained"] = false.into();
    }
    it
}

fn of_range(Range { min, max, step }: Range) -> String {
    match step {
        Some(step) => format!("{min}:{max}:{step}"),
        None => format!("{min}:{max}"),
    }
}

/// What people call false and true; `None`: just so.
fn labels(off: &Value, on: &Value) -> Option<String> {
    let (off, on) = (off.as_str()?, on.as_str()?);
    let is_label = |word: &str| !word.is_empty() && !word.contains(',');
    (is_label(off) && is_label(on)).then(|| format!("{off},{on}"))
}
