//! Frames of both firmwares to states, requests to frames. The frames are those of Shelly's documentation.

use serde_json::json;

use super::super::testing::{confirms, device, object, plan, read, refuses, sent};
use super::*;

fn shelly(generation: u8, component: &str) -> Box<dyn Device> {
    let topic = if generation == 1 { "shelly1pm-AABBCC" } else { "shellyplus1pm-a8032abe54dc" };
    device("shelly", json!({"generation": generation, "topic": topic, "component": component})).unwrap()
}

/// Frames below the prefix, and the fields that they are.
fn becomes(generation: u8, component: &str, table: &[(&str, &str, Value)]) {
    let prefix = if generation == 1 { "shellies/shelly1pm-AABBCC" } else { "shellyplus1pm-a8032abe54dc" };
    for (point, payload, fields) in table {
        let mut device = shelly(generation, component);
        let changes = read(device.as_mut(), &format!("{prefix}/{point}"), payload).unwrap();
        assert_eq!(changes.fields, object(fields.clone()), "{point} {payload}");
    }
}

fn topics(device: &dyn Device) -> (Vec<String>, Vec<String>) {
    let Wiring::Lan { hears, obeys } = device.wiring() else { panic!("a Shelly is on the LAN") };
    let texts = |filters: Vec<TopicFilter>| filters.iter().map(|filter| filter.as_str().to_owned()).collect();
    (texts(hears), texts(obeys))
}

#[test]
fn a_bad_option_is_refused_with_what_is_possible() {
    refuses(
        "shelly",
        &[
            (json!({"topic": "x"}), &["missing field", "`generation`"]),
            (json!({"generation": 1}), &["missing field", "`topic`"]),
            (json!({"generation": 0, "topic": "x"}), &["`generation`", "`1`, or `2`"]),
            (json!({"generation": 1, "topic": "a/+"}), &["`topic`", "`+`"]),
            (json!({"generation": 1, "topic": "x", "channel": 16}), &["`channel`", "0 to 15"]),
            (json!({"generation": 1, "topic": "x", "component": "dimmer"}), &["`component`", "`light`"]),
            (json!({"generation": 1, "topic": "x", "offline_after": "1h"}), &["`offline_after`", "`sensor`"]),
        ],
    );
}

#[test]
fn every_topic_by_which_it_can_be_told_something_is_its_own() {
    let matches = |device: &dyn Device, topic: &str| {
        let topic = Topic::parse(topic).unwrap();
        topics(device).1.iter().any(|filter| TopicFilter::parse(filter).unwrap().matches(&topic))
    };
    let first = shelly(1, "switch");
    for below in [
        "command",
        "relay/0/command",
        "relay/1/command",
        "roller/0/command/pos",
        "light/0/set",
        "color/0/command",
        "thermostat/0/command/target_t",
    ] {
        assert!(matches(&*first, &format!("shellies/shelly1pm-AABBCC/{below}")), "{below}");
    }
    let second = shelly(2, "switch");
    for below in ["rpc", "command", "command/switch:0", "command/cover:1"] {
        assert!(matches(&*second, &format!("shellyplus1pm-a8032abe54dc/{below}")), "{below}");
    }
    for device in [first, second] {
        assert!(matches(&*device, "shellies/command"), "the group of all");
        let (hears, _) = topics(&*device);
        let heard = |topic: &str| hears.iter().any(|filter| filter == topic);
        assert!(!hears.iter().any(|filter| matches(&*device, filter)), "it would hear what it is told");
        assert!(heard("shellies/shelly1pm-AABBCC/online") || heard("shellyplus1pm-a8032abe54dc/online"));
    }
    // The name may be written with what stands before it.
    let long = device("shelly", json!({"generation": 1, "topic": "shellies/plug"})).unwrap();
    assert!(topics(&*long).0.contains(&"shellies/plug/relay/0".to_owned()));
}

#[test]
fn the_first_generations_messages_become_a_state() {
    becomes(
        1,
        "switch",
        &[
            ("relay/0", "on", json!({"state": "ON"})),
            ("relay/0", "off", json!({"state": "OFF"})),
            ("relay/0", "overpower", json!({"state": "OFF", "overpower": "ON"})),
            ("relay/0/power", "73.12", json!({"power": 73.12})),
            ("relay/0/energy", "90000", json!({"energy_total": 1.5})),
            ("temperature", "48.51", json!({"device_temperature": 48.51})),
            ("overtemperature", "0", json!({"overtemperature": "OFF"})),
        ],
    );
    becomes(
        1,
        "light",
        &[
            ("light/0", "on", json!({"state": "ON"})),
            (
                "light/0/status",
                r#"{"ison":true,"source":"http","has_timer":false,"mode":"white","brightness":35,"transition":0}"#,
                json!({"state": "ON", "brightness": 35}),
            ),
        ],
    );
    becomes(
        1,
        "cover",
        &[
            ("roller/0", "open", json!({"state": "opening"})),
            ("roller/0", "close", json!({"state": "closing"})),
            ("roller/0", "stop", json!({"state": "stopped"})),
            ("roller/0/pos", "40", json!({"position": 40})),
            ("roller/0/pos", "-1", json!({})),
            ("roller/0/power", "0.00", json!({"power": 0})),
        ],
    );
    becomes(
        1,
        "sensor",
        &[
            ("sensor/temperature", "22.38", json!({"temperature": 22.38})),
            ("sensor/humidity", "55.5", json!({"humidity": 55.5})),
            ("sensor/battery", "88", json!({"battery": 88})),
            ("sensor/flood", "true", json!({"flood": "ON"})),
            ("sensor/state", "open", json!({"opening": "ON"})),
            ("sensor/lux", "120", json!({"illuminance": 120})),
            ("sensor/act_reasons", r#"["sensor"]"#, json!({})),
            ("ext_temperature/0", "4.5", json!({"temperature": 4.5})),
        ],
    );
    for (component, point, payload) in
        [("switch", "relay/0", "toast"), ("switch", "relay/0/power", "x"), ("light", "light/0/status", "on")]
    {
        let mut device = shelly(1, component);
        let topic = format!("shellies/shelly1pm-AABBCC/{point}");
        assert!(read(device.as_mut(), &topic, payload).is_err(), "{point} {payload}");
    }
}

#[test]
fn a_press_of_the_first_generation_is_told_once_however_often_it_is_said() {
    let topic = "shellies/shelly1pm-AABBCC/input_event/0";
    let mut input = shelly(1, "input");
    let mut says = |event: &str, count: u64| {
        let payload = json!({"event": event, "event_cnt": count}).to_string();
        Value::Object(read(input.as_mut(), topic, &payload).unwrap().fields)
    };
    assert_eq!(says("S", 7), json!({"action_count": 7}), "that may have been yesterday");
    assert_eq!(says("S", 7), json!({"action_count": 7}));
    assert_eq!(says("S", 8), json!({"action_count": 8, "action": "single"}));
    assert_eq!(says("L", 9), json!({"action_count": 9, "action": "long"}));
    assert_eq!(says("", 0), json!({"action_count": 0}), "it has restarted");
    let mut again = shelly(1, "input");
    again.restore(&object(json!({"action_count": 9})));
    let pressed = read(again.as_mut(), topic, r#"{"event":"SS","event_cnt":10}"#).unwrap();
    assert_eq!(pressed.fields["action"], "double", "also over a restart of ours");
}

#[test]
fn the_second_generations_messages_become_a_state() {
    let status = r#"{"id":0,"source":"WS_in","output":true,"apower":8.9,"voltage":237.5,"freq":50.1,"current":0.06,"pf":0.55,
        "aenergy":{"total":6532,"by_minute":[45.1,47.9],"minute_ts":1626935779},"temperature":{"tC":23.5,"tF":74.4}}"#;
    let fields = json!({"state": "ON", "power": 8.9, "voltage": 237.5, "frequency": 50.1, "current": 0.06,
                        "power_factor": 0.55, "energy_total": 6.532, "device_temperature": 23.5});
    let notification = r#"{"src":"shellyplus1pm-a8032abe54dc","dst":"shellyplus1pm-a8032abe54dc/events","method":"NotifyStatus",
        "params":{"ts":1631266595.44,"switch:0":{"id":0,"output":false,"source":"button"},"switch:1":{"output":true}}}"#;
    let answer = format!(r#"{{"id":2,"src":"shellyplus1pm-a8032abe54dc","dst":"x","result":{status}}}"#);
    becomes(
        2,
        "switch",
        &[
            ("status/switch:0", status, fields.clone()),
            ("events/rpc", notification, json!({"state": "OFF"})),
            ("hearthlink-switch-0/rpc", &answer, fields),
            ("hearthlink-switch-0/rpc", r#"{"id":1,"result":{"was_on":false}}"#, json!({})),
            (
                "events/rpc",
                r#"{"method":"NotifyStatus","params":{"sys":{"available_updates":{}}}}"#,
                json!({}),
            ),
        ],
    );
    becomes(
        2,
        "cover",
        &[
            (
                "status/cover:0",
                r#"{"id":0,"source":"limit_switch","state":"open","apower":0,"current_pos":100,"target_pos":null}"#,
                json!({"state": "open", "power": 0, "position": 100}),
            ),
            ("status/cover:0", r#"{"id":0,"state":"calibrating","current_pos":null}"#, json!({})),
        ],
    );
    becomes(
        2,
        "light",
        &[(
            "status/light:0",
            r#"{"id":0,"output":false,"brightness":50}"#,
            json!({"state": "OFF", "brightness": 50}),
        )],
    );
    let push = r#"{"src":"x","method":"NotifyEvent","params":{"ts":1.5,"events":[
        {"component":"input:1","id":1,"event":"long_push","ts":1.5},{"component":"input:0","id":0,"event":"single_push","ts":1.5}]}}"#;
    becomes(
        2,
        "input",
        &[
            ("events/rpc", push, json!({"action": "single"})),
            ("status/input:0", r#"{"id":0,"state":true}"#, json!({"input": "ON"})),
            ("status/input:0", r#"{"id":0,"state":null}"#, json!({})),
        ],
    );
    let full = r#"{"method":"NotifyFullStatus","params":{"temperature:0":{"id":0,"tC":22.1,"tF":71.8},"humidity:0":{"id":0,"rh":48.2},
        "devicepower:0":{"id":0,"battery":{"V":5.1,"percent":74},"external":{"present":false}}}}"#;
    becomes(
        2,
        "sensor",
        &[(
            "events/rpc",
            full,
            json!({"temperature": 22.1, "humidity": 48.2, "battery": 74, "battery_voltage": 5.1}),
        )],
    );
}

#[test]
fn its_last_will_is_its_availability_but_a_sensor_may_sleep() {
    let topic = "shellyplus1pm-a8032abe54dc/online";
    let mut relay = shelly(2, "switch");
    assert_eq!(relay.presence(), Presence::Announced);
    assert_eq!(read(relay.as_mut(), topic, "true").unwrap(), Changes::availability(Availability::Online));
    assert!(read(relay.as_mut(), topic, "maybe").is_err());
    let mut sensor = shelly(2, "sensor");
    assert_eq!(sensor.presence(), Presence::Heard(None));
    assert_eq!(read(sensor.as_mut(), topic, "false").unwrap(), Changes::none());
}

#[test]
fn orders_go_out_in_the_firmwares_words_with_a_question_behind_them() {
    let one = "shellies/shelly1pm-AABBCC";
    for (component, request, command) in [
        ("switch", json!({"state": "on"}), "relay/0/command on"),
        ("light", json!({"state": "ON", "brightness": 40}), r#"light/0/set {"brightness":40,"turn":"on"}"#),
        ("light", json!({"brightness": 40.0}), r#"light/0/set {"brightness":40}"#),
        ("cover", json!({"state": "OPEN"}), "roller/0/command open"),
        ("cover", json!({"position": 30}), "roller/0/command/pos 30"),
    ] {
        let frames = sent(&plan(&*shelly(1, component), request, json!({})).unwrap());
        let [told, asked] = frames.as_slice() else { panic!("{frames:?}") };
        let same = |a: &str, b: &str| {
            let json = |text: &str| serde_json::from_str::<Value>(text.split_once(' ').unwrap().1).ok();
            a == b || (json(a).is_some() && json(a) == json(b) && a.split(' ').next() == b.split(' ').next())
        };
        assert!(same(told, &format!("{one}/{command}")), "{told}");
        assert_eq!(*asked, format!("{one}/command update"));
    }
    for (component, request, method, params) in [
        ("switch", json!({"state": "OFF"}), "Switch.Set", json!({"id": 0, "on": false})),
        (
            "light",
            json!({"state": "ON", "brightness": 5}),
            "Light.Set",
            json!({"id": 0, "on": true, "brightness": 5}),
        ),
        ("cover", json!({"state": "STOP"}), "Cover.Stop", json!({"id": 0})),
        ("cover", json!({"position": 0}), "Cover.GoToPosition", json!({"id": 0, "pos": 0})),
    ] {
        let frames = plan(&*shelly(2, component), request, json!({})).unwrap().frames;
        let calls: Vec<Value> =
            frames.iter().map(|frame| serde_json::from_str(frame.text().unwrap()).unwrap()).collect();
        assert!(frames.iter().all(|frame| &*frame.channel == "shellyplus1pm-a8032abe54dc/rpc"));
        assert_eq!((&calls[0]["method"], &calls[0]["params"]), (&json!(method), &params));
        let src = format!("shellyplus1pm-a8032abe54dc/hearthlink-{component}-0");
        assert_eq!((&calls[0]["src"], &calls[0]["id"], &calls[1]["id"]), (&json!(src), &json!(1), &json!(2)));
    }
}

#[test]
fn what_shows_that_an_order_was_carried_out() {
    for (component, request, seen, expected) in [
        ("switch", json!({"state": "ON"}), json!({"state": "ON"}), true),
        ("switch", json!({"state": "ON"}), json!({"state": "OFF"}), false),
        ("switch", json!({"state": "ON"}), json!({"power": 3}), false),
        ("light", json!({"brightness": 40}), json!({"brightness": 40}), true),
        ("light", json!({"state": "ON", "brightness": 40}), json!({"brightness": 40}), false),
        ("cover", json!({"state": "OPEN"}), json!({"state": "opening"}), true),
        ("cover", json!({"state": "OPEN"}), json!({"state": "stopped", "position": 100}), true),
        ("cover", json!({"state": "OPEN"}), json!({"state": "stopped"}), false),
        ("cover", json!({"position": 30}), json!({"position": 30}), true),
        ("cover", json!({"state": "STOP"}), json!({"state": "closing"}), false),
    ] {
        let plan = plan(&*shelly(2, component), request.clone(), json!({})).unwrap();
        assert_eq!(confirms(&plan, seen.clone()), expected, "{component} {request} {seen}");
    }
    let refused = read(
        shelly(2, "switch").as_mut(),
        "shellyplus1pm-a8032abe54dc/hearthlink-switch-0/rpc",
        r#"{"id":1,"error":{"code":-103,"message":"Invalid argument, provide \"on\"!"}}"#,
    );
    assert!(refused.unwrap().refusal.unwrap().contains("Invalid argument"));
}

#[test]
fn what_it_cannot_do_is_refused_with_what_it_can() {
    for (component, request, part) in [
        ("switch", json!({"state": "TOGGLE"}), "`ON` or `OFF`"),
        ("switch", json!({"brightness": 3}), "`brightness`"),
        ("light", json!({"brightness": 0}), "1 to 100"),
        ("light", json!({"state": "ON", "transition": 2}), "`transition`"),
        ("cover", json!({"position": 101}), "0 to 100"),
        ("cover", json!({"state": "OPEN", "position": 3}), "or `position`"),
        ("input", json!({"input": "ON"}), "an input only tells"),
        ("sensor", json!({"state": "ON"}), "only measures"),
    ] {
        let error = plan(&*shelly(1, component), request.clone(), json!({})).err().unwrap().to_string();
        assert!(error.contains(part), "{component} {request}: {error}");
    }
}

#[test]
fn a_simulated_one_does_what_it_is_told_and_shows_it() {
    let now = tokio::time::Instant::now();
    for generation in [1, 2] {
        for (component, request) in [
            ("switch", json!({"state": "ON"})),
            ("light", json!({"state": "ON", "brightness": 80})),
            ("cover", json!({"state": "OPEN"})),
            ("cover", json!({"position": 20})),
        ] {
            let mut device = shelly(generation, component);
            let mut thing = device.simulation();
            assert!(!thing.start(now).is_empty());
            let plan = plan(&*device, request.clone(), json!({})).unwrap();
            let said: Vec<Frame> =
                plan.frames.iter().flat_map(|frame| thing.touch(frame, now).unwrap()).collect();
            let mut seen = Fields::new();
            for frame in said {
                seen.extend(device.decode(&frame, Timestamp::from_millis(0)).unwrap().fields);
            }
            assert!(
                confirms(&plan, Value::Object(seen.clone())),
                "{generation} {component} {request}: {seen:?}"
            );
        }
        let mut sensor = shelly(generation, "sensor");
        let said = sensor.simulation().start(now);
        let read =
            said.iter().flat_map(|frame| sensor.decode(frame, Timestamp::from_millis(0)).unwrap().fields);
        assert!(read.collect::<Fields>().contains_key("temperature"), "{generation}");
    }
}
