//! The section `commands`: what may come in on the line to the cloud. Default: nothing.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

use super::units;
use crate::model::DeviceId;

/// Commands from the cloud.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Commands {
    /// The age at which a command that carries its own time is too old. 1 s to 1 d, default 30 s.
    #[serde(deserialize_with = "units::duration")]
    pub max_age: Duration,
    /// What the cloud may set; nothing else ever reaches a device.
    pub allow: Vec<Allow>,
}

impl Default for Commands {
    fn default() -> Self {
        Self { max_age: Duration::from_secs(30), allow: Vec::new() }
    }
}

/// What the cloud may set on one device. Every field of a command must be allowed by the same entry.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allow {
    /// The device, by its id.
    pub device: DeviceId,
    /// The fields of its state that may be set, and to which values.
    pub set: BTreeMap<String, Values>,
}

/// Which values a field may be set to.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Exactly one of these.
    OneOf(Vec<Value>),
    /// A number from `min` to `max`, both included.
    Range {
        /// The smallest.
        min: f64,
        /// The largest.
        max: f64,
    },
    /// Whatever comes.
    Any,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    min: f64,
    max: f64,
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValuesVisitor)
    }
}

struct ValuesVisitor;

impl<'de> Visitor<'de> for ValuesVisitor {
    type Value = Values;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of exact values, `{min: …, max: …}` or the word `any`")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Values, E> {
        if word == "any" {
            return Ok(Values::Any);
        }
        let what = format!("`{word}` is neither a list of values nor `{{min: …, max: …}}` nor `any`");
        Err(units::advise(&what, &format!("for just this value write `[\"{word}\"]`")))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Values, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element::<Value>()? {
            values.push(value);
        }
        if values.is_empty() {
            return Err(units::advise(
                "an empty list allows nothing",
                "name the values, or leave the field out",
            ));
        }
        Ok(Values::OneOf(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Values, A::Error> {
        let Range { min, max } = Range::deserialize(de::value::MapAccessDeserializer::new(map))?;
        if min <= max {
            return Ok(Values::Range { min, max });
        }
        Err(units::advise(&format!("no number lies between {min} and {max}"), "swap `min` and `max`"))
    }
}
