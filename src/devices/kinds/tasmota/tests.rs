//! Tasmota frames to states, requests to frames.

use serde_json::json;

use super::super::testing::{confirms, device, object, plan, read, refuses, sent};
use super::*;

fn plug() -> Box<dyn Device> {
    device("tasmota", json!({"topic": "plug"})).unwrap()
}

#[test]
fn a_bad_option_is_refused_with_what_is_possible() {
    refuses(
        "tasmota",
        &[
            (json!({}), &["missing field", "`topic`"]),
            (json!({"topik": "plug"}), &["did you mean `topic`?", "`full_topic`", "`relay`"]),
            (json!({"topic": "pl+ug"}), &["`topic`", "`+`"]),
            (json!({"topic": "plug", "relay": 9}), &["`relay`", "1 to 8"]),
            (json!({"topic": "plug", "full_topic": "%topic%/"}), &["`full_topic`", "`%prefix%`"]),
        ],
    );
}

#[test]
fn what_it_is_told_on_the_topics_of_its_group_is_its_own_too() {
    let obeyed = |options| match device("tasmota", options).unwrap().wiring() {
        Wiring::Lan { obeys, .. } => {
            obeys.iter().map(|filter| filter.as_str().to_owned()).collect::<Vec<_>>()
        }
        _ => Vec::new(),
    };
    assert_eq!(obeyed(json!({"topic": "plug"})), ["cmnd/plug/#", "cmnd/tasmotas/#"]);
    assert_eq!(
        obeyed(json!({"topic": "plug", "full_topic": "house/%topic%/%prefix%/"})),
        ["house/plug/cmnd/#", "house/tasmotas/cmnd/#", "cmnd/tasmotas/#"]
    );
}

#[test]
fn a_plugs_messages_become_a_state() {
    for (topic, payload, fields) in [
        ("stat/plug/POWER", "ON", json!({"state": "ON"})),
        ("stat/plug/POWER1", "OFF", json!({"state": "OFF"})),
        ("stat/plug/RESULT", r#"{"POWER":"ON"}"#, json!({"state": "ON"})),
        ("stat/plug/RESULT", r#"{"POWER1":"ON"}"#, json!({"state": "ON"})),
        ("stat/plug/POWER", r#"{"POWER":"OFF"}"#, json!({"state": "OFF"})),
        ("stat/plug/RESULT", r#"{"TelePeriod":300}"#, json!({})),
        (
            "tele/plug/STATE",
            r#"{"Time":"2026-11-22T22:01:38","Uptime":"0T01:00:12","POWER":"OFF","Wifi":{"RSSI":78,"Signal":-61}}"#,
            json!({"state": "OFF", "signal": -61}),
        ),
        (
            "tele/plug/SENSOR",
            r#"{"Time":"2026-11-22T22:01:38","ENERGY":{"TotalStartTime":"2026-01-01T00:00:00","Total":3.185,"Today":0.12,"Power":21,"ApparentPower":29,"Factor":0.72,"Voltage":231},"AM2301":{"Temperature":21.4,"Humidity":51.2},"TempUnit":"C"}"#,
            json!({"energy_total": 3.185, "energy_today": 0.12, "power": 21, "apparent_power": 29, "factor": 0.72,
                   "voltage": 231, "am2301_temperature": 21.4, "am2301_humidity": 51.2}),
        ),
    ] {
        assert_eq!(
            read(plug().as_mut(), topic, payload).unwrap().fields,
            object(fields),
            "{topic} {payload}"
        );
    }
    for (topic, payload) in [
        ("stat/plug/POWER", "BLUE"),
        ("stat/plug/RESULT", "ON"),
        ("tele/plug/STATE", "x"),
        ("tele/plug/LWT", "Perhaps"),
    ] {
        assert!(read(plug().as_mut(), topic, payload).is_err(), "{topic} {payload}");
    }
}

#[test]
fn the_last_will_is_its_availability_and_an_unknown_command_a_refusal() {
    let says = |topic: &str, payload: &str| read(plug().as_mut(), topic, payload).unwrap();
    assert_eq!(says("tele/plug/LWT", "Online"), Changes::availability(Availability::Online));
    assert_eq!(says("tele/plug/LWT", "Offline"), Changes::availability(Availability::Offline));
    let refusal = says("stat/plug/RESULT", r#"{"Command":"Unknown"}"#).refusal.unwrap();
    assert!(refusal.contains("Unknown"), "{refusal}");
}

#[test]
fn a_change_that_is_said_twice_is_one_reading() {
    let mut plug = plug();
    assert!(!read(plug.as_mut(), "stat/plug/RESULT", r#"{"POWER":"ON"}"#).unwrap().fields.is_empty());
    assert!(read(plug.as_mut(), "stat/plug/POWER", "ON").unwrap().fields.is_empty());
    assert!(!read(plug.as_mut(), "stat/plug/POWER", "OFF").unwrap().fields.is_empty());
    let later = Timestamp::from_millis(1_000);
    assert!(!plug.decode(&Frame::new("stat/plug/POWER", "OFF"), later).unwrap().fields.is_empty());
}

#[test]
fn requests_go_to_the_relay_that_is_named() {
    let on = plan(&*plug(), json!({"state": "on"}), json!({})).unwrap();
    assert_eq!(sent(&on), ["cmnd/plug/POWER ON"]);
    assert!(confirms(&on, json!({"state": "ON"})) && !confirms(&on, json!({"state": "OFF"})));
    let second =
        device("tasmota", json!({"topic": "box", "relay": 2, "full_topic": "%topic%/%prefix%/"})).unwrap();
    assert_eq!(sent(&plan(&*second, json!({"state": "OFF"}), json!({})).unwrap()), ["box/cmnd/POWER2 OFF"]);
    for request in [json!({"state": "TOGGLE"}), json!({"state": true}), json!({"power": "ON"})] {
        assert!(plan(&*plug(), request.clone(), json!({})).is_err(), "{request}");
    }
    let Wiring::Lan { hears: filters, .. } = plug().wiring() else { panic!("a plug hangs on the LAN") };
    let filters: Vec<String> = filters.iter().map(ToString::to_string).collect();
    assert!(
        filters.contains(&"tele/plug/LWT".to_owned()) && filters.contains(&"stat/plug/RESULT".to_owned())
    );
}
