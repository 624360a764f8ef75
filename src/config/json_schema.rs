//! The file's shape as a JSON Schema, for editors.
//!
//! Owns what the derived schemas cannot know: how values look that are written with a unit or in a special shape. Names,
//! defaults and descriptions are those of the types. The schema is weaker than the check, never stronger: what it refuses,
//! the check refuses too, but it knows nothing of what must hold between values.
//!
//! Rejected: a schema by hand, which would be out of date with the next option.

use std::{borrow::Cow, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::{Config, FilterTemplate, Keep, MqttVersion, ProxyUrl, Template, Values};
use crate::model::{
    CloudUrl, DeviceId, GatewayId, QoS, Secret, Sender, TimeOfDay, Topic, TopicFilter, TopicPattern, Weekday,
};

/// The schema of a configuration. `kinds` are the names of the devices' kinds, each with what it is.
pub fn json_schema<'a>(kinds: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    let mut schema = schemars::schema_for!(Config).to_value();
    schema["title"] = json!("Hearthlink's configuration");
    let kinds: Vec<Value> =
        kinds.into_iter().map(|(name, about)| json!({ "const": name, "description": about })).collect();
    if let Some(kind) = schema.pointer_mut("/$defs/Device/properties/kind") {
        let description = kind["description"].take();
        *kind = json!({ "description": description, "type": "string", "oneOf": kinds });
    }
    tell_spans(&mut schema);
    schema
}

/// Defaults that are durations come as serde writes them, in seconds and nanoseconds; here they are as people do.
fn tell_spans(value: &mut Value) {
    let span = match (value.get("secs").and_then(Value::as_u64), value.get("nanos").and_then(Value::as_u64)) {
        (Some(seconds), Some(0)) => Some(Duration::from_secs(seconds)),
        _ => None,
    };
    match value {
        _ if span.is_some() => {
            *value = json!(span.map(|span| humantime::format_duration(span).to_string().replace(' ', "")));
        }
        Value::Object(members) => members.values_mut().for_each(tell_spans),
        Value::Array(items) => items.iter_mut().for_each(tell_spans),
        _ => {}
    }
}

/// `30s`, `1h 30m`.
pub(super) struct Span;
/// `4 MiB`, or bytes.
pub(super) struct Size;
/// `127.0.0.1:1883`.
pub(super) struct Address;
/// A list of quiet hours, or one entry without the brackets.
pub(super) struct OneOrMany;

macro_rules! schemas {
    ($($name:ident: $schema:tt),* $(,)?) => {$(
        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )*};
}

schemas! {
    Span: { "type": "string", "pattern": r"^\s*([0-9]+\s*[A-Za-z]+\s*)+$", "examples": ["30s", "5min", "7d"] },
    Size: { "type": ["string", "integer"], "examples": ["512 KiB", "4 MiB"] },
    Address: { "type": "string", "pattern": r":[0-9]+$", "examples": ["127.0.0.1:1883"] },
    // The loader takes a number for a name, too.
    GatewayId: { "type": ["string", "integer"], "pattern": "^[A-Za-z0-9_-]{1,64}$" },
    DeviceId: { "type": ["string", "integer"], "pattern": "^[A-Za-z0-9_-]{1,64}$" },
    Sender: { "type": ["string", "integer"] },
    Secret: { "type": "string" },
    Topic: { "type": "string", "pattern": "^[^+#]+$" },
    TopicFilter: { "type": "string" },
    TopicPattern: { "type": "string" },
    Template: { "type": "string" },
    FilterTemplate: { "type": "string" },
    CloudUrl: {
        "type": "string",
        "pattern": "^([Ww][Ss][Ss]|[Mm][Qq][Tt][Tt][Ss])://",
        "examples": ["wss://broker.example.org/mqtt"],
    },
    ProxyUrl: { "type": "string", "examples": ["http://proxy.example.org:3128", "none"] },
    QoS: { "enum": [0, 1, 2] },
    TimeOfDay: { "type": "string", "pattern": "^[0-9]{1,2}:[0-9]{2}$", "examples": ["22:00"] },
    Weekday: { "enum": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] },
    MqttVersion: { "enum": ["auto", "5", "5.0", "3.1.1"] },
    Values: {
        "anyOf": [
            { "const": "any" },
            { "type": "array", "minItems": 1 },
            {
                "type": "object",
                "properties": { "min": { "type": "number" }, "max": { "type": "number" } },
                "required": ["min", "max"],
                "additionalProperties": false,
            },
        ],
    },
    Keep: {
        "anyOf": [
            { "enum": ["all", "latest", "none"] },
            {
                "type": "object",
                "properties": { "every": { "type": "string", "examples": ["60s"] } },
                "required": ["every"],
                "additionalProperties": false,
            },
        ],
    },
}

impl JsonSchema for OneOrMany {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "OneOrMany".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<super::Quiet>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}
