//! Lines of a serial port: patterns, JSON, templates.

use serde_json::json;

use super::super::testing::{confirms, device, object, plan, read, refuses, sent};
use super::*;
use crate::devices::serial::GARBLED;

#[test]
fn a_bad_option_is_refused_with_what_is_possible() {
    let on = |more: Value| {
        let mut options = object(json!({"port": "/dev/serial/by-id/a"}));
        options.extend(object(more));
        Value::Object(options)
    };
    refuses(
        "serial_line",
        &[
            (json!({}), &["missing field `port`"]),
            (json!({"port": "ttyUSB0"}), &["`port`", "the whole path"]),
            (on(json!({"bauds": 9600})), &["`bauds`", "did you mean `baud`?", "`pattern`", "`stop_bits`"]),
            (on(json!({"baud": 7})), &["`baud`", "from 50 to 4000000"]),
            (on(json!({"data_bits": 9})), &["`data_bits`", "5 to 8"]),
            (on(json!({"parity": "mark"})), &["`parity`", "`even`"]),
            (on(json!({"stop_bits": 3})), &["`stop_bits`", "1 or 2"]),
            (on(json!({"pattern": "T=(?P<t>"})), &["`pattern`", "no regular expression"]),
            (on(json!({"pattern": "T=(.*)"})), &["`pattern`", "no named group"]),
            (on(json!({"skip_others": true})), &["`skip_others`"]),
            (on(json!({"delimiter": ""})), &["`delimiter`"]),
            (on(json!({"longest": 0})), &["`longest`"]),
            (on(json!({"commands": ["SET {level}", "ON"]})), &["`commands[1]`", "no field"]),
            (on(json!({"commands": ["SET {level"]})), &["`commands[0]`", "not closed"]),
            (
                on(json!({"delimiter": ";", "commands": ["SET {level}; OPEN"]})),
                &["`commands[0]`", "`delimiter`"],
            ),
        ],
    );
}

#[test]
fn named_groups_and_json_objects_become_fields() {
    let pattern = r"^T=(?P<temperature>[-0-9.]+)( H=(?P<humidity>\d+))?( (?P<state>[A-Z]+))?$";
    let mut sensor = device("serial_line", json!({"port": "/dev/a", "pattern": pattern})).unwrap();
    for (line, fields) in [
        ("T=21.50 H=040\r", json!({"temperature": 21.5, "humidity": 40})),
        ("T=-3", json!({"temperature": -3})),
        ("T=0.1 ON", json!({"temperature": 0.1, "state": "ON"})),
    ] {
        assert_eq!(read(sensor.as_mut(), "frame", line).unwrap().fields, object(fields), "{line}");
    }
    let error = read(sensor.as_mut(), "frame", "T=warm").unwrap_err().to_string();
    assert!(error.contains("not like the pattern"), "{error}");
    let error = read(sensor.as_mut(), GARBLED, "a line was longer than 7 bytes").unwrap_err().to_string();
    assert!(error.contains("longer than 7 bytes"), "{error}");
    let mut sensor = device("serial_line", json!({"port": "/dev/a"})).unwrap();
    let changes = read(sensor.as_mut(), "frame", r#"{"t":21.5,"door":"open"}"#).unwrap();
    assert_eq!(changes.fields, object(json!({"t": 21.5, "door": "open"})));
    assert!(read(sensor.as_mut(), "frame", "[1]").is_err());
}

#[test]
fn a_command_is_the_line_for_exactly_its_fields() {
    let options =
        json!({"port": "/dev/a", "delimiter": "\r\n", "commands": ["PWR {state}", "VOL {volume} {state}"]});
    let amplifier = device("serial_line", options).unwrap();
    let payload = |request| plan(&*amplifier, request, json!({})).map(|plan| plan.frames[0].payload.clone());
    assert_eq!(payload(json!({"state": "ON"})).unwrap(), "PWR ON\r\n");
    assert_eq!(payload(json!({"state": "ON", "volume": 7.5})).unwrap(), "VOL 7.5 ON\r\n");
    for (request, part) in [
        (json!({"volume": 7}), "none of its `commands`"),
        (json!({"state": "ON\r\nPWR OFF"}), "printable"),
        (json!({"state": [1]}), "a word or a number"),
    ] {
        let error = payload(request.clone()).unwrap_err().to_string();
        assert!(error.contains(part), "{request}: {error}");
    }
}

#[test]
fn a_value_never_ends_the_line_whatever_ends_it() {
    for (delimiter, command, value) in [
        (";", "SET {level}", "5;OPEN 1"),
        (";", "SET {level}", ";"),
        ("END", "SET {level}", "5ENDOPEN 1"),
        // Half of it from the template, half from the value; and all of it from the template around nothing.
        ("END", "SET EN{level}", "DOPEN 1"),
        ("END", "SET E{level}ND", ""),
        (" ", "SET{level}", "5 OPEN1"),
    ] {
        let options = json!({"port": "/dev/a", "delimiter": delimiter, "commands": [command]});
        let valve = device("serial_line", options).unwrap();
        let error = plan(&*valve, json!({"level": value}), json!({})).err();
        let error = error.unwrap_or_else(|| panic!("`{value}` was taken")).to_string();
        assert!(error.contains("`level`") && error.contains("ends a line"), "{error}");
    }
    let options = json!({"port": "/dev/a", "delimiter": ";", "commands": ["SET {level}"]});
    let valve = device("serial_line", options).unwrap();
    let taken = plan(&*valve, json!({"level": "5:OPEN 1"}), json!({})).unwrap();
    assert_eq!(sent(&taken), ["line SET 5:OPEN 1;"]);
}

#[test]
fn it_is_confirmed_by_what_it_shows_only_where_that_is_said() {
    let options = json!({"port": "/dev/a", "commands": ["L{level}"]});
    let silent = device("serial_line", options).unwrap();
    let plan_of = |device: &dyn Device| plan(device, json!({"level": 3}), json!({})).unwrap();
    assert!(plan_of(&*silent).detail.unwrap().contains("does not confirm"));
    let options = json!({"port": "/dev/a", "commands": ["L{level}"], "confirm_within": "1s"});
    let dimmer = device("serial_line", options).unwrap();
    assert_eq!(sent(&plan_of(&*dimmer)), ["line L3"]);
    assert!(confirms(&plan_of(&*dimmer), json!({"level": 3.0})));
    assert!(!confirms(&plan_of(&*dimmer), json!({"level": 2})));
}
