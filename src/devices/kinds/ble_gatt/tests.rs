//! Options, values and orders of a peripheral.

use serde_json::json;

use super::super::testing::{confirms, device, object, plan, refuses};
use super::*;
use crate::devices::{Confirm, ble::channel::frame};

fn options(characteristics: Value) -> Value {
    json!({"address": "A4:C1:38:01:02:03", "characteristics": characteristics})
}

#[test]
fn a_bad_option_is_refused_with_what_is_possible() {
    let one = |more: Value| {
        let mut one = object(json!({"field": "t", "uuid": "2a6e", "type": "i16le"}));
        one.extend(object(more));
        options(json!([one]))
    };
    refuses(
        "ble_gatt",
        &[
            (json!({"characteristics": []}), &["missing field", "`address`"]),
            (json!({"address": "A4:C1:38", "characteristics": []}), &["`address`", "`A4:C1:38:01:02:03`"]),
            (options(json!([])), &["`characteristics`", "at least one"]),
            (one(json!({"uuid": "2a6"})), &["`characteristics[0].uuid`", "\"2a6\"", "four digits or whole"]),
            (one(json!({"uuid": 123_456})), &["`characteristics[0].uuid`", "in quotes"]),
            (one(json!({"uuid": 2e19})), &["`characteristics[0].uuid`", "in quotes"]),
            (one(json!({"service": "x"})), &["`characteristics[0].service`", "whole"]),
            (one(json!({"type": "i16"})), &["`characteristics[0].type`", "`i16` is no type", "`i16le`"]),
            (one(json!({"type": "u8le"})), &["`u8le` is no type", "`u8`"]),
            (one(json!({"type": "double"})), &["`double` is no type", "`f32le`"]),
            (one(json!({"field": ""})), &["`characteristics[0].field`"]),
            (one(json!({"field": "battery"})), &["`battery` comes along by itself"]),
            (one(json!({"scale": 0})), &["`characteristics[0].scale`", "not 0"]),
            (one(json!({"type": "utf8", "scale": 2})), &["`characteristics[0].scale`", "only a number"]),
            (one(json!({"offset": 512})), &["`characteristics[0].offset`", "512"]),
            (one(json!({"offset": 1, "writable": true})), &["`characteristics[0].writable`", "offset 0"]),
            (one(json!({"write": "with_response"})), &["`characteristics[0].write`", "`writable`"]),
            (
                one(json!({"writable": true, "write": "loudly"})),
                &["`characteristics[0].write`", "`without_response`"],
            ),
            (one(json!({"read_every": 3})), &["`characteristics[0].read_every`", "`500ms`"]),
            (one(json!({"notfy": true})), &["`characteristics[0].notfy`", "`notify`"]),
            (
                options(json!([
                    {"field": "t", "uuid": "2a6e", "type": "i16le"}, {"field": "t", "uuid": "2a6f", "type": "u8"},
                ])),
                &["`characteristics[1].field`", "stands twice"],
            ),
            (
                options(json!([
                    {"field": "a", "uuid": "2a6e", "type": "u8"},
                    {"field": "b", "uuid": "2a6e", "type": "u8", "writable": true},
                ])),
                &["`characteristics[1].writable`", "`a` stands in this characteristic"],
            ),
            (
                options(json!([
                    {"field": "a", "uuid": "2a6e", "type": "u8"},
                    {"field": "b", "uuid": "2a6e", "type": "u8", "offset": 1, "service": "181a"},
                ])),
                &["`characteristics[1].service`", "the same for both"],
            ),
        ],
    );
    let mut adapter = object(one(json!({})));
    adapter.insert("adapter".to_owned(), json!("bluetooth0"));
    refuses("ble_gatt", &[(Value::Object(adapter), &["`adapter`", "`hci0`"])]);
}

fn thermometer() -> Box<dyn Device> {
    let long = "ebe0ccc1-7a0a-4b0c-8a1a-6ff2997da3a6";
    device(
        "ble_gatt",
        options(json!([
            {"field": "temperature", "uuid": long, "type": "i16le", "scale": 0.01, "unit": "°C", "notify": true},
            {"field": "humidity", "uuid": long, "type": "u8", "offset": 2, "read_every": "1min"},
            {"field": "model", "uuid": "2A24", "type": "utf8"},
            {"field": "limit", "uuid": 1234, "type": "f32be", "writable": true},
            {"field": "target", "uuid": "fff1", "type": "i16le", "scale": 0.5, "writable": true},
            {"field": "light", "uuid": "fff2", "type": "bool", "writable": true, "confirm": false,
             "write": "without_response"},
        ])),
    )
    .unwrap()
}

fn read(device: &mut dyn Device, channel: &str, data: &[u8]) -> Result<Changes, DeviceError> {
    device.decode(&frame(channel, Some(-61), data), Timestamp::from_millis(0))
}

#[test]
fn what_it_needs_of_the_bus_is_one_entry_a_characteristic() {
    let Wiring::Ble { peer: BlePeer::Peripheral { address, characteristics }, .. } = thermometer().wiring()
    else {
        panic!("it hangs on Bluetooth");
    };
    assert_eq!(address.to_string(), "A4:C1:38:01:02:03");
    let words: Vec<_> = characteristics
        .iter()
        .map(|one| {
            let Characteristic { uuid, notify, read_every, with_response, shows_within, .. } = one;
            format!("{} {notify} {read_every:?} {with_response:?} {shows_within:?}", Short(*uuid))
        })
        .collect();
    assert_eq!(
        words,
        [
            "ebe0ccc1-7a0a-4b0c-8a1a-6ff2997da3a6 true Some(60s) None None",
            "2a24 false None None None",
            "1234 false None None Some(3s)",
            "fff1 false None None Some(3s)",
            "fff2 false None Some(false) None",
        ]
    );
}

#[test]
fn values_are_read_with_signal_and_battery() {
    let mut thermometer = thermometer();
    for (channel, data, fields) in [
        (
            "characteristic/ebe0ccc1-7a0a-4b0c-8a1a-6ff2997da3a6",
            &[0x66, 0x08, 55, 0, 0][..],
            json!({"temperature": 21.5, "humidity": 55, "signal": -61}),
        ),
        ("characteristic/2a24", b"LYWSD03MMC\0\0", json!({"model": "LYWSD03MMC", "signal": -61})),
        ("characteristic/1234", &[0x41, 0x48, 0, 0], json!({"limit": 12.5, "signal": -61})),
        ("characteristic/fff1", &[0xff, 0xff], json!({"target": -0.5, "signal": -61})),
        ("characteristic/fff2", &[2], json!({"light": "ON", "signal": -61})),
        ("battery", &[87], json!({"battery": 87, "signal": -61})),
    ] {
        assert_eq!(read(&mut *thermometer, channel, data).unwrap().fields, object(fields), "{channel}");
    }
    let connected = read(&mut *thermometer, "connection", &[]).unwrap();
    assert_eq!(connected.availability, Some(Availability::Online));
    assert_eq!(connected.fields, object(json!({"signal": -61})));
    let unknown = thermometer.decode(&frame("battery", None, &[5]), Timestamp::from_millis(0)).unwrap();
    assert_eq!(unknown.fields, object(json!({"battery": 5})));
}

#[test]
fn what_is_too_short_or_missing_names_its_field() {
    let mut thermometer = thermometer();
    for (channel, data, parts) in [
        (
            "characteristic/ebe0ccc1-7a0a-4b0c-8a1a-6ff2997da3a6",
            &[1, 2][..],
            ["`humidity`", "has 2 bytes", "ends at 3"],
        ),
        ("characteristic/2a24", &[0xff], ["`model`", "no UTF-8", ""]),
        ("characteristic/1234", &[0x7f, 0x80, 0, 0], ["`limit`", "finite", ""]),
        (
            "missing/fff1",
            b"the peripheral has no such characteristic",
            ["`target`", "no such characteristic", ""],
        ),
        ("characteristic/2a00", &[1], ["", "", ""]),
        ("battery", &[], ["`battery`", "", ""]),
        ("silence", &[], ["nothing of it is wanted", "", ""]),
    ] {
        match read(&mut *thermometer, channel, data) {
            // Nothing of it was asked for.
            Ok(changes) => assert_eq!((channel, changes.fields.len()), ("characteristic/2a00", 1)),
            Err(error) => {
                let error = error.to_string();
                parts.iter().for_each(|part| assert!(error.contains(part), "{channel}: {error}"));
            }
        }
    }
    let nothing = Frame::new("battery", "");
    assert!(thermometer.decode(&nothing, Timestamp::from_millis(0)).is_err());
}

#[test]
fn orders_are_written_in_its_bytes_and_read_back() {
    let thermometer = thermometer();
    let sent = |plan: &Plan| -> Vec<(String, Vec<u8>)> {
        plan.frames.iter().map(|frame| (frame.channel.to_string(), frame.payload.to_vec())).collect()
    };
    let order = plan(&*thermometer, json!({"target": 21.5, "limit": 12.5}), json!({})).unwrap();
    assert_eq!(
        sent(&order),
        [("write/1234".to_owned(), vec![0x41, 0x48, 0, 0]), ("write/fff1".to_owned(), vec![43, 0]),]
    );
    assert!(confirms(&order, json!({"target": 21.5, "limit": 12.5})));
    assert!(!confirms(&order, json!({"target": 21.5})));
    assert!(!confirms(&order, json!({"target": 22.0, "limit": 12.5})));

    let order = plan(&*thermometer, json!({"light": "ON"}), json!({})).unwrap();
    assert_eq!(sent(&order), [("write/fff2".to_owned(), vec![1])]);
    assert!(matches!(order.confirm, Confirm::Sent));

    for (request, part) in [
        (json!({"temperature": 3}), "not `writable`"),
        (json!({"nothing": 3}), "no such field"),
        (json!({"target": 0.3}), "steps of 0.5"),
        (json!({"target": 40_000}), "does not fit"),
        (json!({"target": "warm"}), "a number"),
        (json!({"light": "bright"}), "`ON` or `OFF`"),
    ] {
        let error = plan(&*thermometer, request.clone(), json!({})).err().unwrap().to_string();
        assert!(error.contains(part), "{request}: {error}");
    }
}

#[test]
fn what_plays_it_says_every_field_and_shows_what_was_written() {
    let mut thermometer = thermometer();
    let mut played = thermometer.simulation();
    let now = tokio::time::Instant::now();
    let mut state = Fields::new();
    for said in played.start(now) {
        state.extend(thermometer.decode(&said, Timestamp::from_millis(0)).unwrap().fields);
    }
    for field in ["temperature", "humidity", "model", "limit", "target", "light", "battery", "signal"] {
        assert!(state.contains_key(field), "{field} in {state:?}");
    }
    assert!((18.0..24.0).contains(&state["temperature"].as_f64().unwrap()), "{state:?}");
    let order = plan(&*thermometer, json!({"target": 21.5}), json!({})).unwrap();
    let mut seen = Fields::new();
    for frame in &order.frames {
        for said in played.touch(frame, now).unwrap() {
            seen.extend(thermometer.decode(&said, Timestamp::from_millis(0)).unwrap().fields);
        }
    }
    assert!(confirms(&order, Value::Object(seen)));
    assert!(played.touch(&Frame::new("write/nothing", ""), now).is_err());
}
