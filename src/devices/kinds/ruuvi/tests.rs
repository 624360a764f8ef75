//! RuuviTag: the test vectors of Ruuvi's own documentation (docs.ruuvi.com, data formats 3 and 5).

use serde_json::{Value, json};

use super::{
    super::{
        super::ble::BleChannel,
        testing::{bytes, device, hears, refuses},
    },
    *,
};

const CHANNEL: BleChannel = BleChannel::ManufacturerData(COMPANY);

fn tag() -> Box<dyn Device> {
    device("ruuvi", json!({"address": "CB:B8:33:4C:88:4F"})).unwrap()
}

#[track_caller]
fn assert_reads(data: &str, expected: Value) {
    let mut fields = hears(&mut *tag(), CHANNEL, &bytes(data), 0).unwrap().fields;
    assert_eq!(fields.remove("signal"), Some(json!(-60)));
    assert_eq!(Value::Object(fields), expected, "{data}");
}

#[test]
fn format_5_reads_as_its_data_sheet_says() {
    assert_reads(
        "0512FC5394C37C0004FFFC040CAC364200CDCBB8334C884F",
        json!({
            "temperature": 24.3, "humidity": 53.49, "pressure": 1000.44, "voltage": 2.977, "tx_power": 4,
            "acceleration_x": 0.04, "acceleration_y": -0.04, "acceleration_z": 10.16, "acceleration_total": 10.16,
            "movement_counter": 66, "measurement_sequence": 205,
        }),
    );
    assert_reads(
        "057FFFFFFEFFFE7FFF7FFF7FFFFFDEFEFFFECBB8334C884F",
        json!({
            "temperature": 163.84, "humidity": 163.84, "pressure": 1155.34, "voltage": 3.646, "tx_power": 20,
            "acceleration_x": 321.33, "acceleration_y": 321.33, "acceleration_z": 321.33,
            "acceleration_total": 556.56, "movement_counter": 254, "measurement_sequence": 65534,
        }),
    );
    assert_reads(
        "058001000000008001800180010000000000CBB8334C884F",
        json!({
            "temperature": -163.84, "humidity": 0, "pressure": 500, "voltage": 1.6, "tx_power": -40,
            "acceleration_x": -321.33, "acceleration_y": -321.33, "acceleration_z": -321.33,
            "acceleration_total": 556.56, "movement_counter": 0, "measurement_sequence": 0,
        }),
    );
}

#[test]
fn what_a_tag_cannot_say_is_null() {
    let names = [
        "temperature",
        "humidity",
        "pressure",
        "voltage",
        "tx_power",
        "acceleration_x",
        "acceleration_y",
        "acceleration_z",
        "acceleration_total",
        "movement_counter",
        "measurement_sequence",
    ];
    let nothing = names.map(|name| (name.to_owned(), Value::Null));
    assert_reads(
        "058000FFFFFFFF800080008000FFFFFFFFFFFFFFFFFFFFFF",
        Value::Object(nothing.into_iter().collect()),
    );
}

#[test]
fn format_3_reads_as_its_data_sheet_says() {
    assert_reads(
        "03291A1ECE1EFC18F94202CA0B53",
        json!({
            "humidity": 20.5, "temperature": 26.3, "pressure": 1027.66, "voltage": 2.899,
            "acceleration_x": -9.81, "acceleration_y": -16.93, "acceleration_z": 7, "acceleration_total": 20.78,
        }),
    );
    assert_reads(
        "03FFFF63FFFF7FFF7FFF7FFFFFFF",
        json!({
            "humidity": null, "temperature": -127.99, "pressure": 1155.35, "voltage": 65.535,
            "acceleration_x": 321.33, "acceleration_y": 321.33, "acceleration_z": 321.33,
            "acceleration_total": 556.56,
        }),
    );
}

#[test]
fn a_measurement_is_told_once_and_what_is_none_is_refused() {
    let mut tag = tag();
    let data = bytes("0512FC5394C37C0004FFFC040CAC364200CDCBB8334C884F");
    assert!(!hears(&mut *tag, CHANNEL, &data, 0).unwrap().fields.is_empty());
    assert_eq!(hears(&mut *tag, CHANNEL, &data, 1000).unwrap(), Changes::none());
    for (data, part) in
        [(&data[..23], "24 bytes"), (&[3, 1], "14 bytes"), (&[6], "3 and 5 are"), (&[], "empty")]
    {
        let error = hears(&mut *tag, CHANNEL, data, 0).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    refuses("ruuvi", &[(json!({"address": "x"}), &["`address`"]), (json!({}), &["missing field `address`"])]);
}
