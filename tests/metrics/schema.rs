//! As much of JSON Schema 2020-12 as docs/status.schema.json uses; a word that is not known here is a failure, and so is a
//! member of a value that the schema does not describe.

use serde_json::{Map, Value};

/// What is wrong with `value`, by its path; empty: nothing.
pub fn faults(schema: &Value, value: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    check(schema, schema, value, "", &mut faults);
    faults
}

fn check(root: &Value, schema: &Value, value: &Value, path: &str, faults: &mut Vec<String>) {
    let mut wrong = |what: String| faults.push(format!("{path}: {what}"));
    let schema = schema.as_object().unwrap_or_else(|| panic!("{path}: the schema is no object"));
    let number = |name: &str| schema.get(name).and_then(Value::as_f64);
    let mut deeper: Vec<(Value, Value, String)> = Vec::new();
    for (word, said) in schema {
        match word.as_str() {
            "$schema" | "$defs" | "title" | "description" | "required" | "items" | "maxItems"
            | "minItems" => {}
            "$ref" => {
                let pointer = said.as_str().unwrap().strip_prefix('#').unwrap();
                let target = root.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}"));
                deeper.push((target.clone(), value.clone(), path.to_owned()));
            }
            "anyOf" => {
                let fits = |schema: &Value| {
                    let mut faults = Vec::new();
                    check(root, schema, value, path, &mut faults);
                    faults
                };
                let all: Vec<Vec<String>> = said.as_array().unwrap().iter().map(fits).collect();
                if all.iter().all(|faults| !faults.is_empty()) {
                    wrong(format!("fits none: {all:?}"));
                }
            }
            "type" => {
                let types = said.as_array().cloned().unwrap_or_else(|| vec![said.clone()]);
                if !types.iter().any(|name| is_a(value, name.as_str().unwrap())) {
                    wrong(format!("{value} is no {said}"));
                }
            }
            "enum" => {
                if !said.as_array().unwrap().contains(value) {
                    wrong(format!("{value} is none of {said}"));
                }
            }
            "format" => {
                assert_eq!(said, "date-time");
                let is_time = |text| hearthlink::model::Timestamp::parse_rfc3339(text).is_some();
                if value.as_str().is_some_and(|text| !is_time(text)) {
                    wrong(format!("{value} is no time"));
                }
            }
            "minimum" => {
                if value.as_f64().zip(said.as_f64()).is_some_and(|(value, least)| value < least) {
                    wrong(format!("{value} is below {said}"));
                }
            }
            "prefixItems" => {
                let items = value.as_array().into_iter().flatten().zip(said.as_array().unwrap());
                deeper.extend(
                    items.map(|(value, schema)| (schema.clone(), value.clone(), format!("{path}/0"))),
                );
            }
            "properties" | "additionalProperties" => {}
            other => panic!("{path}: `{other}` is not understood here"),
        }
    }
    if let (Value::Object(members), true) = (value, schema.get("type").is_some()) {
        object(schema, members, path, &mut deeper, &mut wrong);
    }
    if let (Value::Array(items), Some(of)) = (value, schema.get("items")) {
        let place = |index: usize| format!("{path}/{index}");
        deeper.extend(items.iter().enumerate().map(|(index, item)| (of.clone(), item.clone(), place(index))));
    }
    if let Value::Array(items) = value {
        let length = items.len() as f64;
        if number("maxItems").is_some_and(|most| length > most)
            || number("minItems").is_some_and(|least| length < least)
        {
            wrong(format!("{length} items"));
        }
    }
    for (schema, value, path) in deeper {
        check(root, &schema, &value, &path, faults);
    }
}

fn object(
    schema: &Map<String, Value>,
    members: &Map<String, Value>,
    path: &str,
    deeper: &mut Vec<(Value, Value, String)>,
    wrong: &mut impl FnMut(String),
) {
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
        if !members.contains_key(name.as_str().unwrap()) {
            wrong(format!("{name} is missing"));
        }
    }
    for (name, member) in members {
        let described = schema.get("properties").and_then(|properties| properties.get(name));
        match described.or(schema.get("additionalProperties")) {
            Some(Value::Bool(true)) => {}
            Some(of) => deeper.push((of.clone(), member.clone(), format!("{path}/{name}"))),
            None => wrong(format!("`{name}` is not described")),
        }
    }
}

fn is_a(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("`{other}` is no type"),
    }
}
