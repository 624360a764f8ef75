//! BTHome: the specification's own examples, and what is folded or refused. `tests/bthome.rs` has the rest.

use serde_json::{Value, json};

use super::{
    super::{
        super::ble::BleChannel,
        testing::{bytes, device, hears, object, plan},
    },
    *,
};
use crate::model::Platform;

const KEY: &str = "231d39c1d7cc1ab1aee224cd096db932";
const CHANNEL: BleChannel = BleChannel::service(SERVICE);

fn sensor(more: Value) -> Box<dyn Device> {
    let mut options = object(json!({"address": "54:48:E6:8F:80:A5"}));
    options.extend(object(more));
    device("bthome", Value::Object(options)).unwrap()
}

/// What a plain advertisement with these objects says, without the signal.
fn read(objects: &str) -> Value {
    let data = [&[0x40], &bytes(objects)[..]].concat();
    let mut fields = hears(&mut *sensor(json!({})), CHANNEL, &data, 0).unwrap().fields;
    assert_eq!(fields.remove("signal"), Some(json!(-60)));
    Value::Object(fields)
}

/// A field for each object, as a state that has all of them.
pub(in super::super) fn every_field() -> Value {
    let fields = objects::OBJECTS.iter().map(|object| (object.field().to_owned(), json!(1)));
    let more = [("signal", 1), ("encryption_counter", 1), ("temperature_2", 1), ("button_3", 1)];
    let fields = fields.chain(more.map(|(name, value)| (name.to_owned(), json!(value))));
    Value::Object(fields.filter(|(name, _)| name != "packet_id").collect())
}

/// Every example of the tables of bthome.io/format (April 2026), in their order.
#[test]
fn the_examples_of_the_specification_read_as_it_says() {
    for (example, expected) in [
        ("518756", json!({"acceleration": 22.151})),
        ("630057D0FF", json!({"acceleration": -3.123456})),
        ("0161", json!({"battery": 97})),
        ("6001", json!({"channel": 1})),
        ("12E204", json!({"carbon_dioxide": 1250})),
        ("56E803", json!({"conductivity": 1000})),
        ("0960", json!({"count": 96})),
        ("3D0960", json!({"count": 24585})),
        ("3E2A2C0960", json!({"count": 1_611_213_866})),
        ("59EA", json!({"count": -22})),
        ("5AEAEA", json!({"count": -5398})),
        ("5BEA0234EA", json!({"count": -365_690_134})),
        ("434E34", json!({"current": 13.39})),
        ("5D02EA", json!({"current": -5.63})),
        ("08CA06", json!({"dew_point": 17.38})),
        ("5E9F8C", json!({"direction": 359.99})),
        ("400C00", json!({"distance_mm": 12})),
        ("414E00", json!({"distance": 7.8})),
        ("424E3400", json!({"duration": 13.39})),
        ("4d12138a14", json!({"energy": 344_593.17})),
        ("0A138A14", json!({"energy": 1346.067})),
        ("4B138A14", json!({"gas": 1346.067})),
        ("4C41018A01", json!({"gas": 25821.505})),
        ("528756", json!({"gyroscope": 22.151})),
        ("03BF13", json!({"humidity": 50.55})),
        ("2E23", json!({"humidity": 35})),
        ("05138A14", json!({"illuminance": 13460.67})),
        ("6402", json!({"light_level": 2})),
        ("065E1F", json!({"mass": 80.3})),
        ("073E1D", json!({"mass_lb": 74.86})),
        ("14020C", json!({"moisture": 30.74})),
        ("2F23", json!({"moisture": 35})),
        ("0D120C", json!({"pm25": 3090})),
        ("0E021C", json!({"pm10": 7170})),
        ("0B021B00", json!({"power": 69.14})),
        ("5C02FBFFFF", json!({"power": -12.78})),
        ("5FA00F", json!({"precipitation": 400})),
        ("04138A01", json!({"pressure": 1008.83})),
        ("540C48656C6C6F20576F726C6421", json!({"raw": "48656c6c6f20576f726c6421"})),
        ("3F020C", json!({"rotation": 307.4})),
        ("61AC0D", json!({"rotational_speed": 3500})),
        ("6503", json!({"settings_revision": 3})),
        ("444E34", json!({"speed": 133.9})),
        ("624099DFFF", json!({"speed": -2.123456})),
        ("57EA", json!({"temperature": -22})),
        ("58EA", json!({"temperature": -7.7})),
        ("451101", json!({"temperature": 27.3})),
        ("02CA09", json!({"temperature": 25.06})),
        ("530C48656C6C6F20576F726C6421", json!({"text": "Hello World!"})),
        ("505d396164", json!({"timestamp": "2023-05-14T19:41:17Z"})),
        ("133301", json!({"volatile_organic_compounds": 307})),
        ("0C020C", json!({"voltage": 3.074})),
        ("4A020C", json!({"voltage": 307.4})),
        ("4E87562A01", json!({"volume": 19551.879})),
        ("478756", json!({"volume": 2215.1})),
        ("48DC87", json!({"volume_ml": 34780})),
        ("5587562A01", json!({"volume_storage": 19551.879})),
        ("49DC87", json!({"volume_flow_rate": 34.78})),
        ("4632", json!({"uv_index": 5})),
        ("4F87562A01", json!({"water": 19551.879})),
        (
            "1501 1C01 1001 2001",
            json!({
                "battery_low": "ON", "gas_detected": "ON", "power_on": "ON", "moisture_detected": "ON",
            }),
        ),
        ("0F01 1A00 2D01 2C01", json!({"generic": "ON", "door": "OFF", "window": "ON", "vibration": "ON"})),
        ("3A00", json!({})),
        ("3A03", json!({"button": "triple_press"})),
        ("3A80", json!({"button": "hold_press"})),
        ("3A003A01", json!({"button_2": "press"})),
        ("3B0002", json!({"command": "toggle", "command_args": ""})),
        ("3B010305", json!({"command": "step_up", "command_args": "05"})),
        ("3C0000", json!({})),
        ("3C0103", json!({"dimmer": "rotate_left", "dimmer_steps": 3})),
        ("3C020A", json!({"dimmer": "rotate_right", "dimmer_steps": 10})),
        ("F00100", json!({"device_type_id": 1})),
        ("F100010204", json!({"firmware_version": "4.2.1.0"})),
        ("F2000106", json!({"firmware_version": "6.1.0"})),
        ("0009", json!({})),
    ] {
        assert_eq!(read(example), expected, "{example}");
    }
}

#[test]
fn several_of_a_name_have_numbers_and_what_is_not_known_ends_it() {
    assert_eq!(
        read("02CA09 02CB09 45FE00 03BF13"),
        json!({"temperature": 25.06, "temperature_2": 25.07, "temperature_3": 25.4, "humidity": 50.55})
    );
    assert_eq!(
        read("0161 70 03BF13"),
        json!({"battery": 97}),
        "behind an unknown id nobody knows what is what"
    );
    assert_eq!(read("0161 03BF"), json!({"battery": 97}), "half a one");
    assert_eq!(read("0161 5302C328"), json!({"battery": 97}), "a text that is none");
    assert_eq!(read("0161 5300 03BF13"), json!({"battery": 97, "humidity": 50.55}), "an empty one");
    let nothing = hears(&mut *sensor(json!({})), CHANNEL, &bytes("40 70 01"), 0).unwrap_err();
    assert!(nothing.to_string().contains("nothing in it is an object of BTHome"), "{nothing}");
    for (data, part) in [("", "it is empty"), ("20 0161", "version 2"), ("42 0102", "too short")] {
        let error = hears(&mut *sensor(json!({})), CHANNEL, &bytes(data), 0).unwrap_err().to_string();
        assert!(error.contains(part), "{data}: {error}");
    }
}

/// The example of bthome.io/encryption, and what `bthome-ble` made of the next counters.
#[test]
fn what_is_encrypted_is_read_once_and_in_order() {
    let first = bytes("41 e445f3c9962b 33221100 6c7c4519");
    let (before, after) = (bytes("41723d3035fb88322211009e7414c0"), bytes("413e932cc7175f34221100553876af"));
    let mut sensor = sensor(json!({"bind_key": KEY}));
    let mut hear = |data: &[u8]| hears(&mut *sensor, CHANNEL, data, 0);
    let fields = hear(&first).unwrap().fields;
    let expected =
        json!({"temperature": 25.06, "humidity": 50.55, "encryption_counter": 1_122_867, "signal": -60});
    assert_eq!(Value::Object(fields.clone()), expected);
    assert_eq!(hear(&first).unwrap(), Changes::none(), "a repetition");
    let error = hear(&before).unwrap_err().to_string();
    assert!(error.contains("counter went back") && error.contains("`replay_protection`"), "{error}");
    assert_eq!(hear(&after).unwrap().fields["encryption_counter"], json!(1_122_868));
    assert!(hear(&first).is_err());

    let again = |protection: &str| {
        let mut sensor = self::sensor(json!({"bind_key": KEY, "replay_protection": protection}));
        sensor.restore(&fields);
        (hears(&mut *sensor, CHANNEL, &before, 0).is_ok(), hears(&mut *sensor, CHANNEL, &after, 0).is_ok())
    };
    assert_eq!(again("strict"), (false, true), "a recording from before the start");
    assert_eq!(again("until_restart"), (true, true));
}

#[test]
fn a_packet_is_told_once_and_one_that_comes_late_not_at_all() {
    let mut sensor = sensor(json!({}));
    let mut hear = |packet: u8, press: u8, millis: i64| {
        let data = [0x40, 0x00, packet, 0x3a, press];
        hears(&mut *sensor, CHANNEL, &data, millis).unwrap().fields.get("button").cloned()
    };
    assert_eq!(hear(250, 1, 0), Some(json!("press")));
    assert_eq!(hear(250, 1, 700), None, "again the same");
    assert_eq!(hear(249, 1, 900), None, "from before");
    assert_eq!(hear(3, 2, 1000), Some(json!("double_press")), "round the end");
    assert_eq!(hear(3, 4, 3000), None);
    assert_eq!(hear(3, 4, 5001), Some(json!("long_press")), "so late it is another one");
    assert_eq!(hear(3, 4, 4000), Some(json!("long_press")), "the clock was set back");
}

#[test]
fn what_stays_as_it_is_is_told_once_a_minute_and_a_press_each_time() {
    let mut sensor = sensor(json!({}));
    let mut is_told = |objects: &str, seconds: i64| {
        let data = [&[0x40], &bytes(objects)[..]].concat();
        !hears(&mut *sensor, CHANNEL, &data, seconds * 1000).unwrap().fields.is_empty()
    };
    let told = [0, 1, 59, 60, 61, 30].map(|seconds| is_told("02CA09", seconds));
    assert_eq!(told, [true, false, false, true, false, true], "at last the clock was set back");
    assert!(is_told("02CB09", 31) && is_told("02CA09", 32), "another value");
    assert!(is_told("02CA093A01", 33) && is_told("02CA093A01", 34));
}

#[test]
fn what_happens_is_an_event_as_soon_as_the_button_is_known() {
    let mut sensor = sensor(json!({}));
    let events = |sensor: &dyn Device| {
        let is_event = |entity: &Entity| matches!(entity.platform, Platform::Event { .. });
        let entities = sensor.entities(&object(json!({"battery": 1})));
        entities.into_iter().filter(is_event).map(|entity| entity.field).collect::<Vec<_>>()
    };
    assert_eq!(events(&*sensor), [""; 0]);
    hears(&mut *sensor, CHANNEL, &bytes("40 3A00 3A01 3C0000"), 0).unwrap();
    assert_eq!(events(&*sensor), ["button", "button_2", "dimmer"]);
    let refusal = plan(&*sensor, json!({"button": "press"}), json!({})).err().unwrap();
    assert!(refusal.to_string().contains("only tells"), "{refusal}");
}
