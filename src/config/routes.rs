//! The sections `routes` and `routes_in`: further topics that go to the cloud and come from it, what they are
//! called on the other side, and what is kept of them while the line is down.

use std::{fmt, time::Duration};

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor},
};

use super::{
    json_schema::{Size, Span},
    template::{FilterTemplate, Template},
    units,
};
use crate::model::{QoS, TopicFilter};

/// One kind of local message that goes to the cloud.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Which local topics.
    pub local: TopicFilter,
    /// What they are called in the cloud. Default `{prefix}/{gateway}/{topic}`.
    #[serde(default = "in_the_tree")]
    pub cloud: Template,
    /// The QoS of the line: 1, which is also what it is when left out, for what counts as accepted must arrive. Others
    /// are refused by the check.
    #[serde(default)]
    pub qos: Option<QoS>,
    /// Whether the cloud keeps the last one; left out, each message keeps its own flag.
    #[serde(default)]
    pub retain: Option<bool>,
    /// Whether each is wrapped in a JSON object that says in 3.1.1, too, what else only MQTT 5 says: its message id, when
    /// it was accepted, its life and its content type. Default false: the payload as it came.
    #[serde(default)]
    pub envelope: bool,
    /// What is kept of them until the cloud has them. Default: everything, as `store` says.
    #[serde(default)]
    pub queue: Queue,
}

/// What of the cloud's messages comes into the house, beside commands. Nothing else does.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteIn {
    /// Which cloud topics; `{prefix}` and `{gateway}` are filled in.
    pub cloud: FilterTemplate,
    /// What they are called at home. Default `{topic}`, the topic below `{prefix}/{gateway}/`.
    #[serde(default = "as_in_the_tree")]
    pub local: Template,
    /// The QoS at home; left out, each message keeps its own.
    #[serde(default)]
    pub qos: Option<QoS>,
    /// Whether the last one is kept at home; left out, each message keeps the flag with which it came.
    #[serde(default)]
    pub retain: Option<bool>,
}

fn in_the_tree() -> Template {
    Template::parse("{prefix}/{gateway}/{topic}").expect("a constant with known names")
}

fn as_in_the_tree() -> Template {
    Template::parse("{topic}").expect("a constant with a known name")
}

/// What is kept of some messages until the cloud has them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// What is kept while the line is down. Default `all`.
    pub keep: Keep,
    /// How long one may wait. 1 s or more; default: `store.max_age`.
    #[serde(deserialize_with = "units::duration")]
    #[schemars(with = "Option<Span>")]
    pub max_age: Option<Duration>,
    /// What they may take together, in bytes of topic and payload. 4 KiB or more; default: `store.max_size`.
    #[serde(deserialize_with = "units::bytes")]
    #[schemars(with = "Option<Size>")]
    pub max_size: Option<u64>,
    /// Whether new ones go before those that waited while the line was down. Default false: in order.
    pub live_first: bool,
}

/// What is kept of each topic while the line is down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Keep {
    /// Every message.
    #[default]
    All,
    /// The last one.
    Latest,
    /// The first one, and then one in this time.
    Every(Duration),
    /// None.
    Nothing,
}

impl<'de> Deserialize<'de> for Keep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KeepVisitor)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Every {
    #[serde(deserialize_with = "units::duration")]
    every: Duration,
}

struct KeepVisitor;

impl<'de> Visitor<'de> for KeepVisitor {
    type Value = Keep;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`all`, `latest`, `none` or `{every: 60s}`")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Keep, E> {
        match word {
            "all" => Ok(Keep::All),
            "latest" => Ok(Keep::Latest),
            "none" => Ok(Keep::Nothing),
            _ => Err(units::advise(
                &format!("`{word}` is nothing that can be kept"),
                "write `all`, `latest`, `none` or `{every: 60s}`",
            )),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Keep, A::Error> {
        let Every { every } = Every::deserialize(de::value::MapAccessDeserializer::new(map))?;
        if every < Duration::from_secs(1) {
            let what = format!("every {every:?} is more often than once a second");
            return Err(units::advise(&what, "write `1s` or more, or `keep: all`"));
        }
        Ok(Keep::Every(every))
    }
}
