//! MiBeacon: vectors of `xiaomi-ble` (tests/test_parser.py); `tests/bthome.rs` has all of them.

use serde_json::{Value, json};

use super::{
    super::{
        super::ble::BleChannel,
        testing::{bytes, device, hears, object},
    },
    *,
};
use crate::model::Platform;

const CHANNEL: BleChannel = BleChannel::service(SERVICE);

fn sensor(address: &str, key: Option<&str>) -> Box<dyn Device> {
    let options = key.map_or(json!({"address": address}), |key| json!({"address": address, "bind_key": key}));
    device("mibeacon", options).unwrap()
}

#[track_caller]
fn assert_reads(device: &mut dyn Device, data: &str, expected: Value) {
    let mut fields = hears(device, CHANNEL, &bytes(data), 0).unwrap().fields;
    assert_eq!(fields.remove("signal"), Some(json!(-60)));
    assert_eq!(Value::Object(fields), expected, "{data}");
}

#[track_caller]
fn assert_refuses(device: &mut dyn Device, data: &str, part: &str) {
    let error = hears(device, CHANNEL, &bytes(data), 0).unwrap_err().to_string();
    assert!(error.contains(part), "{data}: {error}");
}

#[test]
fn plain_ones_of_old_products_are_read() {
    // LYWSDCGQ: three objects; HHCCJCY01: with a capability.
    assert_reads(
        &mut *sensor("58:2D:34:3B:2E:BF", None),
        "5020aa01a3bf2e3b342d580d1004b40095020a10013b",
        json!({"temperature": 18, "humidity": 66.1, "battery": 59}),
    );
    let mut plant = sensor("C4:7C:8D:6B:4F:F3", None);
    assert_reads(&mut *plant, "7120980012f34f6b8d7cc40d041002c400", json!({"temperature": 19.6}));
    let again = bytes("7120980012f34f6b8d7cc40d041002c400");
    assert_eq!(hears(&mut *plant, CHANNEL, &again, 0).unwrap(), Changes::none(), "a repetition");
    assert_eq!(
        hears(&mut *plant, CHANNEL, &bytes("3120980012f34f6b8d7cc40d"), 0).unwrap(),
        Changes::none(),
        "no objects: it lives"
    );
}

#[test]
fn encrypted_ones_are_read_with_their_key_once_and_in_order() {
    // The double press of XMWS01XS came before the single one, and the long one last.
    let all: Value =
        serde_json::from_str(include_str!("../../../../tests/interop/bthome/vectors.json")).unwrap();
    let vector = |name: &str| {
        let all = all["mibeacon"].as_array().unwrap();
        let vector = all.iter().find(|vector| vector["test"] == name).unwrap();
        (
            vector["key"].as_str().unwrap().to_owned(),
            vector["adverts"][0]["data"].as_str().unwrap().to_owned(),
        )
    };
    let (key, press) = vector("test_Xiaomi_XMWS01XS_press");
    let (double, long) =
        (vector("test_Xiaomi_XMWS01XS_double_press").1, vector("test_Xiaomi_XMWS01XS_long_press").1);
    let mut switch = sensor("08:B9:5F:20:6E:11", Some(&key));
    assert_reads(&mut *switch, &press, json!({"button_left": "press", "encryption_counter": 2 << 8 | 82}));
    assert_eq!(hears(&mut *switch, CHANNEL, &bytes(&press), 9000).unwrap(), Changes::none());
    assert_refuses(&mut *switch, &double, "counter went back");
    assert_reads(
        &mut *switch,
        &long,
        json!({"button_right": "long_press", "encryption_counter": 2 << 8 | 83}),
    );
    let events: Vec<_> = (switch.entities(&object(json!({}))).into_iter())
        .filter(|entity| matches!(entity.platform, Platform::Event { .. }))
        .map(|entity| entity.field)
        .collect();
    assert_eq!(events, ["button_left", "button_right"]);

    let mut again = sensor("08:B9:5F:20:6E:11", Some(&key));
    again.restore(&object(json!({"encryption_counter": 2 << 8 | 82})));
    assert_refuses(&mut *again, &double, "counter went back");
    let mut other = sensor("08:B9:5F:20:6E:11", Some("231d39c1d7cc1ab1aee224cd096db932"));
    assert_refuses(&mut *other, &press, "cannot be decrypted");
}

#[test]
fn what_cannot_be_believed_is_refused() {
    let mut sensor = sensor("C4:7C:8D:6B:4F:F3", None);
    for (data, part) in [
        ("", "too short"),
        ("71209800", "too short"),
        ("7120980012f34f6b8d7c", "too short"),
        ("7120980012f34f6b8d7cc4", "too short"),
        ("7120980012f34f6b8d7cc42d", "too short"),
        ("7120980012f44f6b8d7cc40d041002c400", "another address"),
        ("7110980012f34f6b8d7cc40d041002c400", "2 to 5 are"),
        ("7160980012f34f6b8d7cc40d041002c400", "2 to 5 are"),
        ("f120980012f34f6b8d7cc40d041002c400", "mesh"),
        ("7120980012f34f6b8d7cc40d99ff02c400", "object 0xff99"),
        ("7120980012f34f6b8d7cc40d041001c4", "object 0x1004"),
        ("5830b603d2f34f6b8d7cc449147675 7e00000099", "MiBeacon 2 and 3"),
    ] {
        assert_refuses(&mut *sensor, data, part);
    }
}
