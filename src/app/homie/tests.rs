//! What is told of every kind is held against the convention's rules, which are written down here from its text.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{
    description::{self, Place},
    property::{Ids, Property, Shape, properties},
    *,
};
use crate::{
    devices::every_kind,
    model::{ColorMode, Entity, Fields, GatewayId, Platform, Request, Timestamp},
};

fn homie_id(text: &str) -> HomieId {
    HomieId::of(text).unwrap()
}

fn named(name: &str) -> Named {
    Named { id: homie_id(name), name: name.to_owned(), kind: "lan".to_owned() }
}

fn described(entities: &[Entity]) -> (Vec<Property>, Value) {
    let properties = properties(entities, &mut Ids::default());
    let root = homie_id("home");
    let document = description::description(&named("lamp"), &Place::Child(&root), &properties);
    (properties, description::versioned(document, None, Timestamp::from_millis(5000)))
}

fn property(entity: Entity) -> (Property, Value) {
    let (properties, document) = described(&[entity]);
    let property = properties.into_iter().next().unwrap();
    let said = document["nodes"][property.node]["properties"][property.id.as_str()].clone();
    (property, said)
}

/// "Topic IDs".
fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn has_only(object: &Value, known: &[&str], at: &str) {
    let unknown = object.as_object().unwrap().keys().find(|key| !known.contains(&key.as_str()));
    assert_eq!(unknown, None, "{at}");
}

fn is_float(text: &str) -> bool {
    let letters = text.chars().all(|c| c.is_ascii_digit() || "-.eE".contains(c));
    letters && text.parse::<f64>().is_ok_and(f64::is_finite)
}

fn is_integer(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_digit() || c == '-') && text.parse::<i64>().is_ok()
}

/// "Formats" and "Payloads": whether a property may be described so, and which payload it could have.
fn format(property: &Value, at: &str) -> String {
    let format = property.get("format").map(|format| format.as_str().unwrap().to_owned());
    let range = |is_number: fn(&str) -> bool| {
        let Some(format) = &format else { return "7".to_owned() };
        let parts: Vec<&str> = format.split(':').collect();
        assert!((2..=3).contains(&parts.len()) && parts.iter().all(|part| is_number(part)), "{at}: {format}");
        let numbers: Vec<f64> = parts.iter().map(|part| part.parse().unwrap()).collect();
        assert!(numbers[0] < numbers[1] && numbers.get(2).is_none_or(|step| *step > 0.0), "{at}: {format}");
        parts[1].to_owned()
    };
    match property["datatype"].as_str().unwrap() {
        "integer" => range(is_integer),
        "float" => range(is_float),
        "string" => {
            assert_eq!(format, None, "{at}");
            "text".to_owned()
        }
        "boolean" => {
            let labels = format.unwrap_or_else(|| "false,true".to_owned());
            let labels: Vec<&str> = labels.split(',').collect();
            assert!(labels.len() == 2 && labels.iter().all(|label| !label.is_empty()), "{at}: {labels:?}");
            "true".to_owned()
        }
        "enum" => {
            let words = format.unwrap_or_else(|| panic!("{at}: an enum has a format"));
            let all: Vec<&str> = words.split(',').collect();
            let different: HashSet<&&str> = all.iter().collect();
            assert!(different.len() == all.len() && all.iter().all(|word| !word.is_empty()), "{at}: {words}");
            all[0].to_owned()
        }
        "color" => {
            assert_eq!(format.as_deref(), Some("rgb"), "{at}");
            "rgb,255,0,127.5".to_owned()
        }
        other => panic!("{at}: `{other}` is no datatype"),
    }
}

/// "Payloads": whether a payload is one of the property's datatype.
fn is_payload(property: &Value, payload: &str, at: &str) {
    let words = || property["format"].as_str().unwrap().split(',').any(|word| word == payload);
    let is_one = match property["datatype"].as_str().unwrap() {
        "integer" => is_integer(payload),
        "float" => is_float(payload),
        "string" => !payload.is_empty(),
        "boolean" => matches!(payload, "true" | "false"),
        "enum" => words(),
        "color" => payload.strip_prefix("rgb,").is_some_and(|parts| parts.split(',').all(is_float)),
        other => panic!("{at}: `{other}` is no datatype"),
    };
    assert!(is_one, "{at}: {payload:?}");
}

#[test]
fn every_kind_is_described_by_the_rules_says_values_by_them_and_takes_what_they_let_set() {
    let root = homie_id("home");
    for (kind, device, state) in every_kind() {
        let entities = device.entities(&state);
        let all = properties(&entities, &mut Ids::default());
        let document = description::description(&named("lamp"), &Place::Child(&root), &all);
        let document = description::versioned(document, None, Timestamp::from_millis(0));
        has_only(&document, &["homie", "version", "name", "type", "nodes", "root"], kind);
        assert_eq!((&document["homie"], &document["root"]), (&json!("5.0"), &json!("home")), "{kind}");
        assert!(document["version"].is_i64() && document["type"].is_string(), "{kind}");
        let mut count = 0;
        for (node, nodes) in document["nodes"].as_object().unwrap() {
            assert!(is_id(node), "{kind}: {node}");
            has_only(nodes, &["name", "properties"], kind);
            for (id, said) in nodes["properties"].as_object().unwrap() {
                let at = format!("{kind} {node}/{id}");
                assert!(is_id(id), "{at}");
                has_only(said, &["name", "datatype", "format", "settable", "retained", "unit"], &at);
                assert!(said.get("unit").is_none_or(|unit| !unit.as_str().unwrap().is_empty()), "{at}");
                let example = format(said, &at);
                is_payload(said, &example, &at);
                let property = all.iter().find(|it| it.node == node && it.id.as_str() == id).unwrap();
                let value = state.get(&property.field);
                if let Some(payload) = value.and_then(|value| value::payload(&property.shape, value)) {
                    is_payload(said, &payload, &at);
                }
                if said.get("settable").is_some() {
                    let request = value::request(property, example.as_bytes());
                    let request: Fields = serde_json::from_slice(&request).unwrap();
                    let plan = device.encode(&Request::from_fields(request.clone()).unwrap(), &state);
                    assert!(plan.is_ok(), "{at} does not take {request:?}: {:?}", plan.err());
                }
                count += 1;
            }
        }
        assert!(count >= entities.len(), "{kind}: {count} of {}", entities.len());
    }
}

#[test]
fn each_platform_is_what_it_is_there() {
    let said = |entity| property(entity).1;
    assert_eq!(
        said(Entity::switch("state").named("Lever")),
        json!({"name": "Lever", "datatype": "boolean", "format": "OFF,ON", "settable": true})
    );
    assert_eq!(
        said(Entity::of_value("open", &json!(true)).unwrap()),
        json!({"name": "Open", "datatype": "boolean"})
    );
    assert_eq!(
        said(Entity::number("browning", 1.0, 6.0, 1.0)),
        json!({"name": "Browning", "datatype": "integer", "format": "1:6:1", "settable": true})
    );
    assert_eq!(
        said(Entity::number("target", 5.0, 30.5, 0.5).unit("°C")),
        json!({"name": "Target", "datatype": "float", "format": "5:30.5:0.5", "unit": "°C", "settable": true})
    );
    assert_eq!(
        said(Entity::event("button", ["single", "double"])),
        json!({"name": "Button", "datatype": "enum", "format": "single,double", "retained": false})
    );
    assert_eq!(
        said(Entity::new("restart", Platform::Button { press: "PRESS".into() })),
        json!({"name": "Restart", "datatype": "enum", "format": "press", "settable": true, "retained": false})
    );
    assert_eq!(said(Entity::select("mode", ["a,b", "c"]))["datatype"], "string", "a comma is between words");
    assert_eq!(said(Entity::switch("state").assumed())["retained"], false, "it shows nothing");
    let (_, document) =
        described(&[Entity::sensor("a"), Entity::sensor("b").diagnostic(), Entity::sensor("c").config()]);
    let nodes: Vec<&String> = document["nodes"].as_object().unwrap().keys().collect();
    assert_eq!(nodes, ["config", "diagnostic", "main"]);

    let modes = vec![ColorMode::Rgb, ColorMode::ColorTemp];
    let light = Platform::Light { modes, brightness_scale: 255, effects: vec!["rainbow".to_owned()] };
    let (properties, document) = described(&[Entity::new("state", light)]);
    let of = |id: &str| document["nodes"]["main"]["properties"][id].clone();
    assert_eq!(properties.len(), 5);
    assert_eq!((&of("brightness")["format"], &of("color-temp")["unit"]), (&json!("0:255"), &json!("MK⁻¹")));
    assert_eq!((&of("color")["datatype"], &of("effect")["format"]), (&json!("color"), &json!("rainbow")));
    let cover = Platform::Cover { position: Some("position".to_owned()), can_stop: false };
    let (_, document) = described(&[Entity::new("state", cover)]);
    let of = |id: &str| document["nodes"]["main"]["properties"][id].clone();
    assert_eq!(
        (&of("state-order")["format"], &of("state-order")["retained"]),
        (&json!("OPEN,CLOSE"), &json!(false))
    );
    assert_eq!(of("state")["settable"], Value::Null);
    assert_eq!(of("position")["settable"], true);
}

#[test]
fn values_are_said_in_the_datatypes_own_way_or_not_at_all() {
    let on_off = Shape::Boolean { on: "ON".into(), off: "OFF".into() };
    let words = Shape::Enum(vec!["open".to_owned(), "closed".to_owned()]);
    for (shape, value, expected) in [
        (&Shape::Text, json!("Öl"), Some("Öl")),
        (&Shape::Text, json!(""), Some("\0")),
        (&Shape::Text, json!(21.5), Some("21.5")),
        (&Shape::Text, json!({"a": 1}), None),
        (&Shape::Float(None), json!(-21.5), Some("-21.5")),
        (&Shape::Float(None), json!(7), Some("7")),
        (&Shape::Float(None), json!(1e300), Some("1e300")),
        (&Shape::Float(None), json!("21"), None),
        (&Shape::Integer(None), json!(40.0), Some("40")),
        (&Shape::Integer(None), json!(39.6), Some("40")),
        (&Shape::Integer(None), json!("x"), None),
        (&on_off, json!("ON"), Some("true")),
        (&on_off, json!("OFF"), Some("false")),
        (&on_off, json!("on"), None),
        (&words, json!("open"), Some("open")),
        (&words, json!("ajar"), None),
        (&Shape::Color, json!({"r": 255, "g": 0, "b": 7.5}), Some("rgb,255,0,7.5")),
        (&Shape::Color, json!({"r": 256, "g": 0, "b": 7}), None),
        (&Shape::Press("x".into()), json!("x"), None),
    ] {
        assert_eq!(value::payload(shape, &value).as_deref(), expected, "{shape:?} {value}");
    }
}

#[test]
fn what_is_set_is_the_request_of_a_local_command_and_what_does_not_fit_is_left_to_the_device() {
    let request = |entity: &Entity, payload: &[u8]| {
        let (property, _) = property(entity.clone());
        String::from_utf8_lossy(&value::request(&property, payload)).into_owned()
    };
    let switch = Entity::new("state", Platform::Switch { on: "ON".into(), off: json!(0) });
    let number = Entity::number("target", 5.0, 30.0, 0.5);
    for (entity, payload, expected) in [
        (&switch, "true", r#"{"state":"ON"}"#),
        (&switch, "false", r#"{"state":0}"#),
        (&switch, "TRUE", r#"{"state":"TRUE"}"#),
        (&number, "21.5", r#"{"target":21.5}"#),
        (&number, "21", r#"{"target":21}"#),
        (&number, "21.7", r#"{"target":21.5}"#),
        (&number, "2.1e1", r#"{"target":21}"#),
        (&number, "99", r#"{"target":99}"#),
        (&number, "NaN", r#"{"target":"NaN"}"#),
        (&number, "+21", r#"{"target":"+21"}"#),
        (&number, "", r#"{"target":""}"#),
        (&Entity::number("n", 1.0, 9.0, 2.0), "4", r#"{"n":5}"#),
        (&Entity::number("n", 1.0, 9.0, 2.0), "3.5", r#"{"n":"3.5"}"#),
        (&Entity::select("mode", ["eco", "a \"b\""]), "a \"b\"", r#"{"mode":"a \"b\""}"#),
        (&Entity::new("r", Platform::Button { press: json!(true) }), "press", r#"{"r":true}"#),
        (&Entity::new("r", Platform::Button { press: json!(true) }), "x", r#"{"r":"x"}"#),
    ] {
        assert_eq!(request(entity, payload.as_bytes()), expected, "{payload}");
    }
    assert_eq!(value::request(&property(switch).0, b"\xff"), b"\xff", "the desk says what is wrong with it");
    let light = Platform::Light { modes: vec![ColorMode::Rgb], brightness_scale: 255, effects: Vec::new() };
    let (properties, _) = described(&[Entity::new("state", light)]);
    let color = properties.iter().find(|property| property.shape == Shape::Color).unwrap();
    assert_eq!(value::request(color, b"rgb,255,0,7"), br#"{"color":{"b":7,"g":0,"r":255}}"#);
}

#[test]
fn fields_that_would_have_one_id_are_numbered_and_keep_their_ids() {
    let mut ids = Ids::default();
    let of = |ids: &mut Ids, fields: &[&str]| {
        let entities: Vec<Entity> = fields.iter().map(|field| Entity::sensor(*field)).collect();
        properties(&entities, ids).into_iter().map(|it| it.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(of(&mut ids, &["a_b", "A-B", "温度", "量"]), ["a-b", "a-b-2", "field", "field-2"]);
    assert_eq!(of(&mut ids, &["A-B", "a.b", "a_b"]), ["a-b-2", "a-b-3", "a-b"]);
}

#[test]
fn a_new_document_has_a_higher_version_whatever_the_clock_says() {
    let version = |old: Option<i64>, seconds: i64| {
        let old = old.map(|version| json!({"version": version}));
        description::versioned(json!({}), old.as_ref(), Timestamp::from_millis(seconds * 1000))["version"]
            .clone()
    };
    assert_eq!((version(None, 0), version(None, 50)), (json!(1), json!(50)));
    assert_eq!((version(Some(50), 50), version(Some(50), 7)), (json!(51), json!(51)));
    assert!(description::is_same(&json!({"name": "x"}), &json!({"name": "x", "version": 7})));
}

mod speaking;
