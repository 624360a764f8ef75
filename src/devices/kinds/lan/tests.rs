//! Generic LAN devices: topics and payloads both ways.

use serde_json::json;

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
