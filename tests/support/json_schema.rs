//! As much of JSON Schema 2020-12 as our own schemas use; a word that is not known here is a failure.
//!
//! `jsonschema` would be three dozen more crates for two files. `format` is an annotation but for `date-time`.

use hearthlink::model::Timestamp;
use serde_json::{Map, Value};

/// Which members a value may have.
#[derive(Clone, Copy, PartialEq)]
#[allow(dead_code, reason = "each test has its own wish")]
pub enum Members {
    /// Those that the schema lets be.
    AsItSays,
    /// Those that the schema describes: what else there is was forgotten in it.
    OnlyDescribed,
}

/// What is wrong with `value`, each with its place, as `.devices[0].kind: …`; empty: nothing.
pub fn faults(schema: &Value, value: &Value, members: Members) -> Vec<String> {
    Judge { root: schema, members }.faults(schema, value, "")
}

struct Judge<'a> {
    root: &'a Value,
    members: Members,
}

impl Judge<'_> {
    fn faults(&self, schema: &Value, value: &Value, at: &str) -> Vec<String> {
        let rules = match schema {
            Value::Bool(true) => return Vec::new(),
            Value::Bool(false) => return vec![format!("{at}: nothing may be here")],
            Value::Object(rules) => rules,
            other => panic!("{at}: {other} is no schema"),
        };
        let mut found: Vec<String> =
            rules.iter().flat_map(|(word, rule)| self.by_word(word, rule, value, at)).collect();
        match value {
            Value::Object(object) => found.extend(self.in_object(rules, object, at)),
            Value::Array(list) => found.extend(self.in_list(rules, list, at)),
            _ => {}
        }
        found
    }

    /// What a word says that needs no other.
    fn by_word(&self, word: &str, rule: &Value, value: &Value, at: &str) -> Vec<String> {
        let good = |schemas: &Value| {
            let schemas = schemas.as_array().unwrap();
            schemas.iter().filter(|schema| self.faults(schema, value, at).is_empty()).count()
        };
        let is_good = match word {
            "$schema" | "$defs" | "title" | "description" | "default" | "examples" => true,
            "required" | "properties" | "additionalProperties" | "items" | "prefixItems" => true,
            "$ref" => {
                let pointer = rule.as_str().unwrap().strip_prefix('#').unwrap();
                let target = self.root.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}"));
                return self.faults(target, value, at);
            }
            "type" => match rule {
                Value::Array(names) => names.iter().any(|name| is_of(name.as_str().unwrap(), value)),
                name => is_of(name.as_str().unwrap(), value),
            },
            "enum" => rule.as_array().unwrap().iter().any(|one| is_same(one, value)),
            "const" => is_same(rule, value),
            "anyOf" => good(rule) > 0,
            "oneOf" => good(rule) == 1,
            "pattern" => {
                let pattern = regex_lite::Regex::new(rule.as_str().unwrap()).unwrap();
                value.as_str().is_none_or(|text| pattern.is_match(text))
            }
            "format" => match rule.as_str().unwrap() {
                "date-time" => value.as_str().is_none_or(|text| Timestamp::parse_rfc3339(text).is_some()),
                "uint16" | "uint32" => true,
                other => panic!("{at}: the format `{other}` is not known here"),
            },
            "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()),
            "minItems" => value.as_array().is_none_or(|list| list.len() as u64 >= rule.as_u64().unwrap()),
            "maxItems" => value.as_array().is_none_or(|list| list.len() as u64 <= rule.as_u64().unwrap()),
            unknown => panic!("{at}: the word `{unknown}` is not known here"),
        };
        if is_good { Vec::new() } else { vec![format!("{at}: {value} is against `{word}`: {rule}")] }
    }

    fn in_object(&self, rules: &Map<String, Value>, object: &Map<String, Value>, at: &str) -> Vec<String> {
        let required = rules.get("required").and_then(Value::as_array).into_iter().flatten();
        let missing = required.map(|name| name.as_str().unwrap()).filter(|name| !object.contains_key(*name));
        let mut found: Vec<String> = missing.map(|name| format!("{at}: `{name}` is missing")).collect();
        let described = rules.get("properties").and_then(Value::as_object);
        // A schema that only refers to another, or to several, describes nothing itself.
        let must_describe =
            self.members == Members::OnlyDescribed && (described.is_some() || rules.contains_key("type"));
        for (name, member) in object {
            let at = format!("{at}.{name}");
            match described.and_then(|all| all.get(name)).or(rules.get("additionalProperties")) {
                Some(rule) => found.extend(self.faults(rule, member, &at)),
                None if must_describe => found.push(format!("{at}: it is not described")),
                None => {}
            }
        }
        found
    }

    /// `items` is about those that come after `prefixItems`.
    fn in_list(&self, rules: &Map<String, Value>, list: &[Value], at: &str) -> Vec<String> {
        let first = rules.get("prefixItems").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let one_by_one = list.iter().enumerate().flat_map(|(index, item)| {
            let rule = first.get(index).or(rules.get("items"));
            rule.map(|rule| self.faults(rule, item, &format!("{at}[{index}]"))).unwrap_or_default()
        });
        one_by_one.collect()
    }
}

fn is_of(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        // 1.0 is one.
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("no type `{other}`"),
    }
}

/// Numbers are the same however they are written.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(_), Value::Number(_)) => one == other || one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(two)) => {
            let is_in = |(name, value): (&String, &Value)| two.get(name).is_some_and(|it| is_same(value, it));
            one.len() == two.len() && one.iter().all(is_in)
        }
        _ => one == other,
    }
}
