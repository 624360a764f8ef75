//! The JSON Schema for editors takes what the check takes, and finds what is misspelt.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::{fs, path::Path};

use hearthlink::{config::json_schema, devices::KINDS};
use serde_json::Value;

fn schema() -> Value {
    json_schema(KINDS.iter().map(|kind| (kind.name, kind.about)))
}

/// What is wrong with `value`, by the part of JSON Schema that our schema uses; a word that is not known here is a failure.
fn faults(root: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let rules = match schema {
        Value::Bool(true) => return,
        Value::Object(rules) => rules,
        other => panic!("{at}: {other} is no schema"),
    };
    let mut own = Vec::new();
    let mut fault = |what: &str| own.push(format!("{at}: {what}"));
    let is_good = |schema: &Value| {
        let mut found = Vec::new();
        faults(root, schema, value, at, &mut found);
        found.is_empty()
    };
    for (word, rule) in rules {
        match word.as_str() {
            "$schema" | "title" | "description" | "default" | "examples" | "format" | "$defs" => {}
            "$ref" => {
                let path = rule.as_str().unwrap().strip_prefix('#').unwrap();
                faults(root, root.pointer(path).unwrap(), value, at, found);
                return faults_beside_ref(root, rules, value, at, found);
            }
            "type" => {
                let names: Vec<&str> = match rule {
                    Value::String(name) => vec![name],
                    names => names.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect(),
                };
                if !names.iter().any(|name| is_of(name, value)) {
                    fault(&format!("{value} is not of type {rule}"));
                }
            }
            "enum" if !rule.as_array().unwrap().contains(value) => {
                fault(&format!("{value} is none of {rule}"))
            }
            "const" if rule != value => fault(&format!("{value} is not {rule}")),
            "enum" | "const" => {}
            "anyOf" if !rule.as_array().unwrap().iter().any(&is_good) => fault("none of anyOf"),
            "oneOf" if rule.as_array().unwrap().iter().filter(|one| is_good(one)).count() != 1 => {
                fault("not one of oneOf");
            }
            "anyOf" | "oneOf" => {}
            "pattern" => {
                let pattern = regex_lite::Regex::new(rule.as_str().unwrap()).unwrap();
                if value.as_str().is_some_and(|text| !pattern.is_match(text)) {
                    fault(&format!("{value} is not like {rule}"));
                }
            }
            "minimum" if value.as_f64().is_some_and(|number| number < rule.as_f64().unwrap()) => {
                fault("too small")
            }
            "maximum" if value.as_f64().is_some_and(|number| number > rule.as_f64().unwrap()) => {
                fault("too large")
            }
            "minItems" if value.as_array().is_some_and(|list| list.is_empty()) => fault("too short"),
            "minimum" | "maximum" | "minItems" => {}
            "required" => {
                let missing = rule.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
                for name in missing.filter(|name| value.is_object() && value.get(*name).is_none()) {
                    fault(&format!("`{name}` is missing"));
                }
            }
            "properties" | "additionalProperties" => {}
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    faults(root, rule, item, &format!("{at}[{index}]"), found);
                }
            }
            unknown => panic!("{at}: the word `{unknown}` is not known here"),
        }
    }
    found.extend(own);
    let known = rules.get("properties").and_then(Value::as_object);
    for (name, member) in value.as_object().into_iter().flatten() {
        let at = format!("{at}.{name}");
        match (known.and_then(|known| known.get(name)), rules.get("additionalProperties")) {
            (Some(rule), _) => faults(root, rule, member, &at, found),
            (None, Some(Value::Bool(false))) => found.push(format!("{at}: unknown")),
            (None, Some(rule)) => faults(root, rule, member, &at, found),
            (None, None) => {}
        }
    }
}

/// The words beside a `$ref`, which are descriptions only.
fn faults_beside_ref(
    root: &Value,
    rules: &serde_json::Map<String, Value>,
    value: &Value,
    at: &str,
    found: &mut Vec<String>,
) {
    let mut rest = rules.clone();
    rest.remove("$ref");
    faults(root, &Value::Object(rest), value, at, found);
}

fn is_of(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("no type `{other}`"),
    }
}

fn verdict(yaml: &str) -> Vec<String> {
    let mut value: Value = serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    // What the section cannot do without, where a page shows something else in it.
    if let Some(cloud) = value.get_mut("cloud").and_then(Value::as_object_mut) {
        cloud.entry("url").or_insert_with(|| "wss://broker.example.org".into());
    }
    let (schema, mut found) = (schema(), Vec::new());
    faults(&schema, &schema, &value, "", &mut found);
    found
}

#[test]
fn every_configuration_in_the_documentation_is_good_by_the_schema() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut examples = vec![fs::read_to_string(root.join("config.example.yaml")).unwrap()];
    let pages = ["docs", "docs/devices"].map(|directory| fs::read_dir(root.join(directory)).unwrap());
    let pages = pages.into_iter().flatten().map(|entry| entry.unwrap().path());
    for page in
        pages.chain([root.join("README.md")]).filter(|page| page.extension().is_some_and(|it| it == "md"))
    {
        let text = fs::read_to_string(page).unwrap();
        let yaml = text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        examples.extend(yaml.map(str::to_owned));
    }
    assert!(examples.len() > 40, "{} examples", examples.len());
    for example in examples {
        // Most show one section only.
        let whole = match example.contains("gateway:\n") || example.contains("gateway: {") {
            true => example,
            false => format!("gateway: {{id: home}}\n{example}"),
        };
        let found = verdict(&whole);
        assert!(found.is_empty(), "{found:#?}\n{whole}");
    }
}

#[test]
fn what_is_misspelt_is_found_where_it_stands() {
    for (bad, at) in [
        ("gatway: {id: a}", ".gatway"),
        ("gateway: {}", ""),
        ("gateway: {id: a b}", ".gateway.id"),
        ("gateway: {id: a}\ncloud: {url: \"http://a\"}", ".cloud"),
        ("gateway: {id: a}\ndevices: [{id: a, kind: toster}]", ".devices[0].kind"),
        ("gateway: {id: a}\ndevices: [{id: a, kind: toaster, option: {}}]", ".devices[0].option"),
        ("gateway: {id: a}\nstore: {max_age: 7}", ".store.max_age"),
        ("gateway: {id: a}\nlog: {level: loud}", ".log.level"),
        ("gateway: {id: a}\nroutes: [{local: a, queue: {keep: some}}]", ".routes[0].queue.keep"),
    ] {
        let found = verdict(bad);
        assert!(found.iter().any(|fault| fault.starts_with(at)), "{bad}: {found:#?}");
    }
    let schema = schema();
    assert_eq!(schema.pointer("/$defs/Store/properties/max_age/default"), Some(&Value::from("7days")));
    let text = schema.to_string();
    assert!(!text.contains("nanos"), "{text}");
    assert!(text.contains("Who this gateway is") && text.contains("a Tasmota plug or relay"), "{text}");
}
