//! The JSON Schema for editors takes what the check takes, and finds what is misspelt.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "support/json_schema.rs"]
mod json_schema;

use std::{fs, path::Path};

use hearthlink::devices::KINDS;
use json_schema::{Members, faults};
use serde_json::{Value, json};

fn schema() -> Value {
    hearthlink::config::json_schema(KINDS.iter().map(|kind| (kind.name, kind.about)))
}

fn verdict(yaml: &str) -> Vec<String> {
    let mut value: Value = serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    // What the section cannot do without, where a page shows something else in it.
    if let Some(cloud) = value.get_mut("cloud").and_then(Value::as_object_mut) {
        cloud.entry("url").or_insert_with(|| "wss://broker.example.org".into());
    }
    faults(&schema(), &value, Members::AsItSays)
}

/// By the meaning of each word in the specification.
#[test]
fn the_judge_of_these_tests_goes_by_json_schema() {
    for (schema, good, bad) in [
        (json!(true), vec![json!(1)], vec![]),
        (json!(false), vec![], vec![json!(1)]),
        (
            json!({"minItems": 2, "maxItems": 3}),
            vec![json!([1, 2]), json!("a")],
            vec![json!([1]), json!([1, 2, 3, 4])],
        ),
        (json!({"minItems": 0}), vec![json!([])], vec![]),
        // What an object must have, it must have whatever else it may be.
        (json!({"required": ["a"]}), vec![json!({"a": 1}), json!("a")], vec![json!({})]),
        (
            json!({"properties": {"a": {"type": "null"}}}),
            vec![json!({"b": 1}), json!({"a": null})],
            vec![json!({"a": 1})],
        ),
        (
            json!({"properties": {"a": true}, "additionalProperties": false}),
            vec![json!({"a": 1})],
            vec![json!({"b": 1})],
        ),
        (
            json!({"prefixItems": [{"type": "string"}], "items": {"type": "integer"}}),
            vec![json!(["a", 1]), json!([])],
            vec![json!(["a", "b"]), json!([1])],
        ),
        (json!({"prefixItems": [true], "items": false}), vec![json!([1])], vec![json!([1, 2])]),
        (json!({"type": "integer"}), vec![json!(1), json!(1.0), json!(-1)], vec![json!(1.5), json!("1")]),
        (json!({"enum": [1, [2]]}), vec![json!(1.0), json!([2.0])], vec![json!("1"), json!([2, 2])]),
        (json!({"const": {"a": 1}}), vec![json!({"a": 1.0})], vec![json!({"a": 1, "b": 1})]),
        (json!({"oneOf": [{"minimum": 1}, {"maximum": 3}]}), vec![json!(0), json!(4)], vec![json!(2)]),
        (json!({"anyOf": [{"minimum": 3}, {"maximum": 1}]}), vec![json!(0), json!(4)], vec![json!(2)]),
        (json!({"pattern": "b"}), vec![json!("abc"), json!(1)], vec![json!("ac")]),
        (json!({"format": "date-time"}), vec![json!("2026-11-30T16:00:00Z"), json!(1)], vec![json!("today")]),
        // What stands beside a `$ref` counts, too.
        (
            json!({"$defs": {"a": {"minimum": 1}}, "$ref": "#/$defs/a", "maximum": 3}),
            vec![json!(2)],
            vec![json!(0), json!(4)],
        ),
    ] {
        for value in &good {
            assert_eq!(faults(&schema, value, Members::AsItSays), [""; 0], "{schema}");
        }
        for value in &bad {
            assert_ne!(faults(&schema, value, Members::AsItSays), [""; 0], "{schema} takes {value}");
        }
    }
    let forgotten = json!({"anyOf": [{"type": "object", "properties": {"a": true}}]});
    assert_eq!(faults(&forgotten, &json!({"a": 1}), Members::OnlyDescribed), [""; 0]);
    assert_ne!(faults(&forgotten, &json!({"b": 1}), Members::OnlyDescribed), [""; 0]);
}

#[test]
fn every_configuration_in_the_documentation_is_good_by_the_schema() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut examples = vec![fs::read_to_string(root.join("config.example.yaml")).unwrap()];
    let pages =
        ["docs", "docs/devices", "docs/clouds"].map(|directory| fs::read_dir(root.join(directory)).unwrap());
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
