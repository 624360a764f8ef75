//! Generic LAN devices: topics and payloads both ways.

use serde_json::{Value, json};

use super::super::testing::{confirms, device, object, plan, read, refuses, sent};
use super::*;

#[test]
fn a_bad_option_is_refused_with_what_is_possible() {
    refuses(
        "lan",
        &[
            (json!({}), &["`state_topic`, `command_topic` or both"]),
            (
                json!({"state_topc": "a"}),
                &["`state_topc`", "did you mean `state_topic`?", "`availability_topic`"],
            ),
            (json!({"state_topic": "a/#"}), &["`state_topic`", "`+` and `#`"]),
            (json!({"state_topic": "a", "command_topic": "a"}), &["`command_topic`", "must differ"]),
            (
                json!({"state_topic": "a", "availability_topic": "b", "offline_after": "1m"}),
                &["`offline_after`"],
            ),
            (json!({"command_topic": "a", "offline_after": "1m"}), &["`offline_after`", "never heard"]),
            (
                json!({"command_topic": "a", "command_field": "P", "command_payload": "plain"}),
                &["`command_field`"],
            ),
            (
                json!({"command_topic": "a", "command_payload": "xml"}),
                &["`command_payload`", "`plain`", "`json`"],
            ),
        ],
    );
}

#[test]
fn payloads_become_fields() {
    for (options, payload, fields) in [
        (json!({}), "ON", json!({"state": "ON"})),
        (json!({}), " 21.5 ", json!({"state": 21.5})),
        (json!({}), "\"ON\"", json!({"state": "ON"})),
        (json!({}), "", json!({})),
        (json!({"field": "temperature"}), "21.5", json!({"temperature": 21.5})),
        (json!({}), r#"{"state":"ON","brightness":7}"#, json!({"state": "ON", "brightness": 7})),
        (json!({"state_field": "POWER"}), r#"{"POWER":"ON","Uptime":7}"#, json!({"state": "ON"})),
        (json!({"state_field": "POWER"}), r#"{"Uptime":7}"#, json!({})),
    ] {
        let mut options = options;
        options["state_topic"] = json!("lamp");
        let mut lamp = device("lan", options.clone()).unwrap();
        let changes = read(lamp.as_mut(), "lamp", payload).unwrap();
        assert_eq!(changes.fields, object(fields), "{options} {payload}");
    }
    let mut lamp = device("lan", json!({"state_topic": "lamp", "state_field": "POWER"})).unwrap();
    assert!(read(lamp.as_mut(), "lamp", "ON").is_err());
    let mut lamp = device("lan", json!({"state_topic": "lamp"})).unwrap();
    assert!(read(lamp.as_mut(), "lamp", "[1,2]".repeat(100).as_str()).is_err());
}

#[test]
fn availability_is_said_in_the_devices_own_words() {
    let options = json!({"state_topic": "s", "availability_topic": "a", "payload_not_available": "gone"});
    let mut lamp = device("lan", options).unwrap();
    assert_eq!(lamp.presence(), Presence::Announced);
    let mut hear = |payload: &str| read(lamp.as_mut(), "a", payload).map(|changes| changes.availability);
    assert_eq!(hear("online").unwrap(), Some(Availability::Online));
    assert_eq!(hear(r#"{"state":"online"}"#).unwrap(), Some(Availability::Online));
    assert_eq!(hear("GONE").unwrap(), Some(Availability::Offline));
    assert!(hear("perhaps").is_err());
}

#[test]
fn commands_are_plain_words_or_json_in_the_devices_own_names() {
    for (options, request, payload) in [
        (json!({}), json!({"state": "ON"}), "c ON"),
        (json!({}), json!({"state": 7}), "c 7"),
        (json!({"command_field": "POWER"}), json!({"state": "ON"}), r#"c {"POWER":"ON"}"#),
        (
            json!({"command_payload": "json"}),
            json!({"state": "ON", "brightness": 7}),
            r#"c {"brightness":7,"state":"ON"}"#,
        ),
    ] {
        let mut options = options;
        options["command_topic"] = json!("c");
        let lamp = device("lan", options.clone()).unwrap();
        assert_eq!(sent(&plan(&*lamp, request, json!({})).unwrap()), [payload], "{options}");
    }
    let lamp = device("lan", json!({"command_topic": "c"})).unwrap();
    assert!(plan(&*lamp, json!({"state": "ON", "brightness": 7}), json!({})).is_err());
    assert!(plan(&*lamp, json!({"state": [1]}), json!({})).is_err());
    let sensor = device("lan", json!({"state_topic": "s"})).unwrap();
    let error = plan(&*sensor, json!({"state": "ON"}), json!({})).err().unwrap().to_string();
    assert!(error.contains("no `command_topic`"), "{error}");
}

#[test]
fn what_the_device_is_known_to_show_must_be_shown() {
    let lamp =
        device("lan", json!({"state_topic": "s", "command_topic": "c", "command_payload": "json"})).unwrap();
    let fade = json!({"state": "ON", "transition": 2});
    let known = plan(&*lamp, fade.clone(), json!({"state": "OFF"})).unwrap();
    assert!(confirms(&known, json!({"state": "on"})));
    assert!(!confirms(&known, json!({"state": "OFF"})));
    assert!(!confirms(&plan(&*lamp, fade, json!({})).unwrap(), json!({"state": "ON"})));
    let dim = plan(&*lamp, json!({"brightness": 50}), json!({})).unwrap();
    assert!(confirms(&dim, json!({"brightness": 50.0})) && confirms(&dim, json!({"brightness": "50"})));
}

#[test]
fn a_template_that_cannot_be_read_is_refused_with_its_place() {
    let state = |template: &str| json!({"state_topic": "s", "value_template": template});
    refuses(
        "lan",
        &[
            (
                state("{{ value_json.t "),
                &["`value_template`", "syntax error", "expected end of variable block"],
            ),
            (
                state("{{ value }}\n{% if value %}\n{{ value | flot }}"),
                &["`value_template`", "line 3 of the template"],
            ),
            (state("{{ value | flot }}"), &["`value_template`", "flot"]),
            (state("value_json.t"), &["`value_template`", "{{ value_json.temperature }}"]),
            (state(&"{{ value }}".repeat(1000)), &["`value_template`", "up to 4096 bytes"]),
            (
                json!({"command_topic": "c", "value_template": "{{ value }}"}),
                &["`value_template`", "`state_topic`"],
            ),
            (
                json!({"state_topic": "s", "command_template": "{{ value }}"}),
                &["`command_template`", "`command_topic`"],
            ),
            (
                json!({"state_topic": "s", "availability_template": "{{ value }}"}),
                &["`availability_template`", "`availability_topic`"],
            ),
            (
                json!({"command_topic": "c", "command_template": "{{ value }}", "command_field": "P"}),
                &["`command_template`", "`command_field`"],
            ),
            (
                json!({"state_topic": "s", "state_field": "P", "value_template": "{{ value }}"}),
                &["`value_template`", "`state_field`"],
            ),
            (
                json!({"state_topic": "s", "fields": [{"name": "a"}, {"name": "b", "value_template": "{{ x"}]}),
                &["`fields[1].value_template`"],
            ),
            (
                json!({"state_topic": "s", "fields": [{"name": "a"}, {"name": "a"}]}),
                &["`fields[1].name`", "`a` stands twice"],
            ),
            (
                json!({"command_topic": "c", "fields": [{"name": "a", "value_template": "{{ value }}"}]}),
                &["`fields[0].value_template`", "`state_topic`"],
            ),
            (
                json!({"state_topic": "s", "fields": [{"name": "a", "command_template": "{{ value }}"}]}),
                &["`fields[0].command_template`", "`command_topic`"],
            ),
            (
                json!({"state_topic": "s", "fields": [{"name": "a", "command_topic": "s"}]}),
                &["`command_topic`", "must differ"],
            ),
            (json!({"fields": [{"name": "a"}]}), &["`state_topic`, `command_topic` or both"]),
        ],
    );
}

#[test]
fn templates_say_what_home_assistants_users_expect() {
    for (template, payload, value) in [
        ("{{ value }}", "21.50", json!(21.5)),
        ("{{ value_json.t | float / 10 }}", r#"{"t": 215}"#, json!(21.5)),
        ("{{ value_json.t | float / 10 }}", r#"{"t": "215"}"#, json!(21.5)),
        ("{{ (value_json.t * 1.8 + 32) | round(1) }}", r#"{"t": 21.5}"#, json!(70.7)),
        ("{{ value_json.a * 3 }}", r#"{"a": 0.1}"#, json!(0.3)),
        ("{{ value_json.ENERGY.Power }}", r#"{"ENERGY": {"Power": 60}}"#, json!(60)),
        ("{{ value_json['a b'][1] }}", r#"{"a b": [1, 2]}"#, json!(2)),
        ("{{ value_json[0].x }}", r#"[{"x": "up"}]"#, json!("up")),
        ("{{ 'ON' if value_json.on else 'OFF' }}", r#"{"on": true}"#, json!("ON")),
        ("{{ iif(value_json.on, 'ON', 'OFF') }}", r#"{"on": false}"#, json!("OFF")),
        ("{{ value_json.on }}", r#"{"on": true}"#, json!(true)),
        ("{{ value_json.id }}", r#"{"id": "00339226"}"#, json!("00339226")),
        ("{{ value_json.n | int(base=16) }}", r#"{"n": "1f"}"#, json!(31)),
        ("{{ value_json.t | float(5) }}", r#"{"t": "warm"}"#, json!(5)),
        ("{{ value_json.t | float(default=5) }}", "{}", json!(5)),
        ("{{ value_json.t | default(7) }}", "{}", json!(7)),
        ("{{ value.split(',')[1] }}", "7,8,9", json!(8)),
        ("{{ value.strip().upper() }}", " on ", json!("ON")),
        ("{{ value.startswith('o') }}", "on", json!(true)),
        ("{{ topic.split('/')[1] }}", "x", json!("kitchen")),
        ("{{ (value | from_json).a }}", r#"{"a": 1}"#, json!(1)),
        ("{% if value | int > 100 %}high{% else %}low{% endif %}", "101", json!("high")),
    ] {
        let options = json!({"state_topic": "s/kitchen", "value_template": template});
        let mut sensor = device("lan", options).unwrap();
        let changes = read(sensor.as_mut(), "s/kitchen", payload).unwrap();
        assert_eq!(changes.unread, [], "{template} {payload}");
        assert_eq!(changes.fields, object(json!({"state": value})), "{template} {payload}");
    }
}

#[test]
fn a_message_about_something_else_says_nothing_and_one_that_cannot_be_read_only_costs_its_field() {
    let fields = json!([
        {"name": "sum", "value_template": "{{ value_json.a + 1 }}"},
        {"name": "plain", "value_template": "{{ value_json.b }}"},
    ]);
    let mut sensor = device("lan", json!({"state_topic": "s", "fields": fields})).unwrap();
    let mut hear = |payload: &str| {
        let changes = read(sensor.as_mut(), "s", payload).unwrap();
        (Value::Object(changes.fields), changes.unread)
    };
    for nothing in ["", "{}", r#"{"c": 1}"#, r#"{"b": null}"#, r#"{"b": ""}"#] {
        assert_eq!(hear(nothing), (json!({}), vec![]), "{nothing}");
    }
    assert_eq!(hear(r#"{"a": 1, "b": "x"}"#), (json!({"sum": 2, "plain": "x"}), vec![]));
    let (fields, unread) = hear(r#"{"a": [1], "b": "x"}"#);
    assert_eq!(fields, json!({"plain": "x"}));
    assert_eq!(unread.len(), 1);
    assert_eq!(unread[0].0, "sum");
    let (fields, unread) = hear("no JSON");
    assert_eq!((fields, unread.len()), (json!({}), 2));
    assert!(unread[0].1.contains("it is not JSON"), "{unread:?}");
}

#[test]
fn beside_a_template_a_field_is_the_member_of_its_name() {
    let fields =
        json!([{"name": "t", "value_template": "{{ value_json.t / 10 }}"}, {"name": "p", "unit": "W"}]);
    let mut sensor = device("lan", json!({"state_topic": "s", "fields": fields})).unwrap();
    let changes = read(sensor.as_mut(), "s", r#"{"t": 215, "p": 60, "x": 1}"#).unwrap();
    assert_eq!(changes, Changes::fields(object(json!({"t": 21.5, "p": 60}))));
    let changes = read(sensor.as_mut(), "s", r#"{"t": 215, "x": 1}"#).unwrap();
    assert_eq!(changes, Changes::field("t", 21.5));
}

#[test]
fn what_is_not_there_never_becomes_a_number() {
    for template in [
        "{{ value_json.t | float }}",
        "{{ value_json.t | int }}",
        "{{ value_json.t / 10 }}",
        "{{ value_json.t }}",
    ] {
        for payload in ["{}", r#"{"t": null}"#] {
            let mut sensor = device("lan", json!({"state_topic": "s", "value_template": template})).unwrap();
            let changes = read(sensor.as_mut(), "s", payload).unwrap();
            assert_eq!(changes.fields, Fields::new(), "{template} {payload}");
        }
    }
}

#[test]
fn rendering_is_bounded_in_time_and_memory() {
    for (template, part) in [
        (
            "{% for a in range(99999) %}{% for b in range(99999) %}{{ value }}{% endfor %}{% endfor %}",
            "takes too long",
        ),
        ("{{ value * 999999999 }}", "takes too long"),
        ("{{ value * 300 }}", "256 characters"),
        (
            "{% set n = namespace(s=value) %}{% for a in range(64) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}",
            "takes too long",
        ),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}{{ value }}", "recursion"),
    ] {
        let mut sensor = device("lan", json!({"state_topic": "s", "value_template": template})).unwrap();
        let changes = read(sensor.as_mut(), "s", "x").unwrap();
        assert!(changes.unread[0].1.contains(part), "{template}: {:?}", changes.unread);
    }
    let template = "{{ value | replace('x', value) | replace('x', value) }}";
    let mut sensor = device("lan", json!({"state_topic": "s", "value_template": template})).unwrap();
    let changes = read(sensor.as_mut(), "s", &"x".repeat(4_000)).unwrap();
    assert!(changes.unread[0].1.contains("takes too long"), "{:?}", changes.unread);
    let mut sensor =
        device("lan", json!({"state_topic": "s", "value_template": "{{ value | length }}"})).unwrap();
    let changes = read(sensor.as_mut(), "s", &"x".repeat(65_537)).unwrap();
    assert!(changes.unread[0].1.contains("longer than 65536"), "{:?}", changes.unread);
}

#[test]
fn a_word_cannot_break_out_of_its_place_in_a_command() {
    let request = |word: &str| json!({"mode": word});
    for (template, word, made) in [
        (r#"{"mode": "{{ value }}"}"#, "eco", Some(r#"{"mode": "eco"}"#)),
        (r#"{"mode": "{{ value }}"}"#, r#"eco","power":"on"#, None),
        (r#"{"mode": "{{ value | upper }}"}"#, r#"eco","power":"on"#, None),
        (r#"{"mode": "{{ value }}"}"#, "eco\\", None),
        (r#"{"mode": {{ value | to_json }}}"#, "a\"b", Some(r#"{"mode": "a\"b"}"#)),
    ] {
        let options = json!({"command_topic": "c", "field": "mode", "command_template": template});
        let heating = device("lan", options).unwrap();
        match (plan(&*heating, request(word), json!({})), made) {
            (Ok(plan), Some(made)) => assert_eq!(sent(&plan), [format!("c {made}")]),
            (Err(error), None) => assert!(error.to_string().contains("to_json"), "{error}"),
            (Ok(plan), None) => panic!("{template} made {:?} of {word}", sent(&plan)),
            (Err(error), Some(_)) => panic!("{template}: {error}"),
        }
    }
}

#[test]
fn commands_are_made_by_templates_and_fields_have_topics_of_their_own() {
    let boiler = device(
        "lan",
        json!({
            "state_topic": "s", "command_topic": "c",
            "command_template": r#"{"on": {{ (value == "ON") | to_json }}}"#,
            "value_template": "{{ value_json.on }}",
            "fields": [
                {"name": "mode", "state_topic": "mode", "command_topic": "mode/set"},
                {"name": "setpoint", "command_topic": "want", "command_template": "{{ (value * 10) | int }}"},
            ],
        }),
    )
    .unwrap();
    let frames = |request: Value| {
        plan(&*boiler, request, json!({})).map(|plan| sent(&plan)).map_err(|e| e.to_string())
    };
    assert_eq!(frames(json!({"state": "ON"})).unwrap(), [r#"c {"on": true}"#]);
    assert_eq!(
        frames(json!({"state": "OFF", "mode": "eco", "setpoint": 21.5})).unwrap(),
        ["mode/set eco", "want 215", r#"c {"on": false}"#]
    );
    for (request, part) in [
        (json!({"butter": 1}), "`butter`"),
        (json!({"setpoint": [1]}), "`setpoint`"),
        (json!({"mode": [1]}), "a word or a number"),
    ] {
        let error = frames(request.clone()).unwrap_err();
        assert!(error.contains(part), "{request}: {error}");
    }
    let whole =
        device("lan", json!({"command_topic": "c", "command_template": "{{ value_json | to_json }}"}))
            .unwrap();
    let request = json!({"state": "ON", "transition": 2});
    assert_eq!(sent(&plan(&*whole, request, json!({})).unwrap()), [r#"c {"state":"ON","transition":2}"#]);
    match boiler.wiring() {
        Wiring::Lan { hears, obeys } => {
            let words =
                |filters: Vec<TopicFilter>| filters.iter().map(ToString::to_string).collect::<Vec<_>>();
            assert_eq!(words(hears), ["s", "mode"]);
            assert_eq!(words(obeys), ["c", "mode/set", "want"]);
        }
        _ => panic!("it is on the LAN"),
    }
}

#[test]
fn what_it_says_of_its_presence_is_read_by_a_template() {
    let options = json!({"state_topic": "s", "availability_topic": "a", "availability_template": "{{ value_json.state }}"});
    let mut lamp = device("lan", options).unwrap();
    let mut hear = |payload: &str| read(lamp.as_mut(), "a", payload).map(|changes| changes.availability);
    assert_eq!(hear(r#"{"state": "online"}"#).unwrap(), Some(Availability::Online));
    assert_eq!(hear("{}").unwrap(), None);
    assert!(hear(r#"{"state": "perhaps"}"#).is_err());
    assert!(hear("online").is_err());
}
