//! Announcements, and what Home Assistant makes of them: its templates are rendered, in Python's way of writing.

use std::collections::HashSet;

use minijinja::{Environment, context};

use super::*;

fn of(entities: &[Entity]) -> Value {
    let (gateway, device) = (GatewayId::parse("g").unwrap(), DeviceId::parse("plug").unwrap());
    let topics = LocalTopics::default();
    let announced = Announced { gateway: &gateway, device: &device, about: "a plug", topics: &topics };
    announcement(&announced, entities).unwrap()
}

/// The component of one entity.
fn component(entity: Entity) -> Value {
    of(&[entity])["components"].as_object().unwrap().values().next().unwrap().clone()
}

fn jinja(value: &Value) -> minijinja::Value {
    match value {
        Value::Null => minijinja::Value::from(()),
        Value::Bool(is) => (*is).into(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64().unwrap().into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(all) => all.iter().map(jinja).collect(),
        Value::Object(all) => {
            minijinja::Value::from_pairs(all.iter().map(|(name, value)| (name.clone(), jinja(value))))
        }
    }
}

fn plain(value: &minijinja::Value) -> Value {
    use minijinja::value::ValueKind;
    match value.kind() {
        ValueKind::String => value.as_str().into(),
        ValueKind::Bool => value.is_true().into(),
        ValueKind::Number => value.as_i64().into(),
        ValueKind::Seq => value.try_iter().unwrap().map(|item| plain(&item)).collect(),
        ValueKind::Map => {
            let names = value.try_iter().unwrap().map(|name| name.as_str().unwrap().to_owned());
            names.map(|name| (name.clone(), plain(&value.get_attr(&name).unwrap()))).collect()
        }
        _ => Value::Null,
    }
}

/// What Home Assistant's template engine makes of it.
fn render(template: &Value, state: Value, value: &str) -> String {
    let mut environment = Environment::new();
    environment.add_filter("to_json", |value: minijinja::Value| plain(&value).to_string());
    environment.set_formatter(|out, _, value| {
        let text = match value.kind() {
            minijinja::value::ValueKind::Bool if value.is_true() => "True".to_owned(),
            minijinja::value::ValueKind::Bool => "False".to_owned(),
            minijinja::value::ValueKind::None => "None".to_owned(),
            _ => value.to_string(),
        };
        Ok(out.write_str(&text)?)
    });
    let number = value.parse::<i64>().ok();
    let value = number.map_or_else(|| minijinja::Value::from(value), minijinja::Value::from);
    let context = context! { value_json => jinja(&state), value => value.clone(), position => value };
    environment.render_str(template.as_str().unwrap(), context).unwrap()
}

#[test]
fn the_root_has_what_home_assistant_asks_for_and_no_key_that_it_does_not_know() {
    let whole = of(&[Entity::switch("state")]);
    let known: HashSet<&str> =
        ["device", "origin", "components", "availability", "availability_mode", "qos"].into();
    let found: HashSet<&str> = whole.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(found, known, "an unknown key at the root costs the whole device");
    assert_eq!(
        whole["device"],
        json!({"identifiers": ["hearthlink/g/plug"], "name": "plug", "model": "a plug"})
    );
    assert_eq!(
        whole["availability"],
        json!([{"topic": "home/bridge/state"}, {"topic": "home/plug/availability"}])
    );
    assert!(is_of(&GatewayId::parse("g").unwrap(), &whole));
    assert!(!is_of(&GatewayId::parse("h").unwrap(), &whole));
    assert!(!is_of(&GatewayId::parse("g").unwrap(), &json!({"origin": {"name": "other"}})));
}

#[test]
fn each_platform_says_its_state_and_sets_it() {
    let switch = component(Entity::switch("state"));
    assert_eq!(switch["command_topic"], "home/plug/set");
    assert_eq!(switch["payload_on"], r#"{"state":"ON"}"#);
    assert_eq!(switch["name"], Value::Null, "called as the device is");
    let reads = |component: &Value, state: Value| render(&component["value_template"], state, "");
    assert_eq!(reads(&switch, json!({"state": "ON"})), switch["state_on"].as_str().unwrap());
    assert_eq!(reads(&switch, json!({})), "None");

    let boolean = Entity::of_value("open", &json!(true)).unwrap();
    let boolean = component(boolean);
    for (value, key) in [(true, "payload_on"), (false, "payload_off")] {
        assert_eq!(reads(&boolean, json!({"open": value})), boolean[key].as_str().unwrap());
    }

    let number = component(Entity::number("browning", 1.0, 6.0, 1.0));
    assert_eq!(render(&number["command_template"], json!({}), "3"), r#"{"browning": 3 }"#);
    assert_eq!(reads(&number, json!({"browning": 3})), "3");

    let select = component(Entity::select("mode", ["a \"b\"", "c"]));
    let set: Value =
        serde_json::from_str(&render(&select["command_template"], json!({}), "a \"b\"")).unwrap();
    assert_eq!(set, json!({"mode": "a \"b\""}));

    let sensor = component(Entity::measurement("energy_total", "energy", "kWh").precision(1).diagnostic());
    assert_eq!(
        (&sensor["name"], &sensor["unit_of_measurement"], &sensor["suggested_display_precision"]),
        (&json!("Energy total"), &json!("kWh"), &json!(1))
    );
    assert_eq!(sensor["entity_category"], "diagnostic");
    assert_eq!(component(Entity::one_of("toast", ["none", "ready"]))["device_class"], "enum");

    let event = component(Entity::event("button", ["single"]));
    let happened: Value = serde_json::from_str(&reads(&event, json!({"button": "single"}))).unwrap();
    assert_eq!(happened, json!({"event_type": "single"}));
    assert_eq!(reads(&event, json!({"battery": 3})), "", "nothing happened");

    let button = component(Entity::new("restart", Platform::Button { press: "PRESS".into() }));
    assert_eq!(button["payload_press"], r#"{"restart":"PRESS"}"#);
    assert_eq!(button.get("state_topic"), None, "a button has no state");

    let assumed = component(Entity::switch("state").assumed());
    assert_eq!(assumed.get("state_topic"), None, "it believes what it has set");
}

#[test]
fn a_cover_a_light_and_a_tracker_speak_home_assistants_words() {
    let cover = component(Entity::new(
        "state",
        Platform::Cover { position: Some("position".to_owned()), can_stop: true },
    ));
    assert_eq!(cover["payload_open"], r#"{"state":"OPEN"}"#);
    assert_eq!(render(&cover["position_template"], json!({"position": 40}), ""), "40");
    assert_eq!(render(&cover["set_position_template"], json!({}), "40"), r#"{"position": 40 }"#);

    let light = |modes: &[ColorMode]| {
        component(Entity::new(
            "state",
            Platform::Light { modes: modes.to_vec(), brightness_scale: 100, effects: Vec::new() },
        ))
    };
    let dimmer = light(&[ColorMode::Brightness]);
    assert_eq!((&dimmer["schema"], &dimmer["brightness"]), (&json!("json"), &json!(true)));
    assert_eq!(dimmer["supported_color_modes"], json!(["brightness"]));
    assert_eq!(light(&[ColorMode::OnOff])["brightness"], false);

    let tracker = component(Entity::new(
        "presence",
        Platform::DeviceTracker { home: "home".into(), not_home: "away".into() },
    ));
    for (state, zones) in [("home", json!(["zone.home"])), ("away", json!([]))] {
        let text = render(&tracker["json_attributes_template"], json!({"presence": state}), "");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), json!({"in_zones": zones}));
    }
}

#[test]
fn a_strangers_field_never_becomes_a_template() {
    let evil = ["x'] }}{{ states('lock.door') }}", "a{%b", "a\"b", "", &"x".repeat(65), "a\nb"];
    let entities: Vec<Entity> = evil.iter().map(|field| Entity::sensor(*field)).collect();
    let (gateway, device) = (GatewayId::parse("g").unwrap(), DeviceId::parse("d").unwrap());
    let topics = LocalTopics::default();
    let announced = Announced { gateway: &gateway, device: &device, about: "", topics: &topics };
    assert_eq!(announcement(&announced, &entities), None);
    assert!(component(Entity::sensor("Außen-Temperatur 1"))["name"] == "Außen-Temperatur 1");
}

#[test]
fn what_is_gone_is_taken_back_by_its_platform_alone() {
    let old = of(&[Entity::switch("state"), Entity::sensor("power"), Entity::sensor("mode")]);
    let new = of(&[Entity::switch("state"), Entity::select("mode", ["a"])]);
    let telling = without_the_gone(&old, &new).unwrap();
    assert_eq!(telling["components"]["power"], json!({"platform": "sensor"}));
    assert_eq!(
        telling["components"]["mode"],
        json!({"platform": "sensor"}),
        "another platform is another entity"
    );
    assert_eq!(telling["components"]["state"], new["components"]["state"]);
    assert_eq!(without_the_gone(&old, &old), None);
}
