//! The section `commands`: what may come in on the line to the cloud. Default: nothing.

use std::{collections::BTreeMap, fmt, time::Duration};

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

use super::{
    json_schema::{OneOrMany, Span},
    units,
};
use crate::model::{DeviceId, Sender, TimeOfDay, Weekday};

/// Commands from the cloud.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Commands {
    /// The age at which a command that carries its own time is too old. 1 s to 1 d, default 30 s.
    #[serde(deserialize_with = "units::duration")]
    #[schemars(with = "Span")]
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
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Allow {
    /// The device, by its id.
    pub device: DeviceId,
    /// The fields of its state that may be set, and to which values.
    pub set: BTreeMap<String, Values>,
    /// Who may ask for it: the last level of the topic `…/<device>/set/<sender>`. Default: whoever reaches the
    /// device's topics.
    #[serde(default)]
    pub senders: Option<Vec<Sender>>,
    /// Hours of the local time in which this entry does not count. Default: none.
    #[serde(default, deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany")]
    pub quiet: Vec<Quiet>,
    /// How often. Default: as often as it comes.
    #[serde(default)]
    pub rate: Option<Rate>,
}

/// At most so many commands in any stretch of that length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How many, 1 to 1,000.
    pub count: u16,
    /// In how long, 1 s to 1 d.
    #[serde(deserialize_with = "units::duration")]
    #[schemars(with = "Span")]
    pub per: Duration,
}

/// Hours of the local time; over midnight where `to` is the earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quiet {
    /// When they begin, `"22:00"`.
    pub from: TimeOfDay,
    /// When they are over, `"06:30"`.
    pub to: TimeOfDay,
    /// The days on which they begin, `mon` to `sun`. Default: every day.
    #[serde(default)]
    pub days: Vec<Weekday>,
}

/// A list, or one entry without the brackets.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Quiet>, D::Error> {
    struct OneOrMany;

    impl<'de> Visitor<'de> for OneOrMany {
        type Value = Vec<Quiet>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("`{from: \"22:00\", to: \"06:30\"}` or a list of them")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<Quiet>, A::Error> {
            Ok(vec![Quiet::deserialize(de::value::MapAccessDeserializer::new(map))?])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Quiet>, A::Error> {
            let mut all = Vec::new();
            while let Some(one) = list.next_element()? {
                all.push(one);
            }
            Ok(all)
        }
    }

    deserializer.deserialize_any(OneOrMany)
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
