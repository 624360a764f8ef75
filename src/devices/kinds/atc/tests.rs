//! Thermometers with other firmware: the vectors of `bleparser` (github.com/Ernst79/bleparser,
//! package/tests/test_atc_parser.py). `tests/bthome.rs` has thousands more.

use serde_json::{Value, json};

use super::{
    super::{
        super::ble::BleChannel,
        testing::{bytes, device, hears},
    },
    *,
};

const CHANNEL: BleChannel = BleChannel::service(SERVICE);
const KEY: &str = "b9ea895fac7eea6d30532432a516f3a3";

#[track_caller]
fn assert_reads(address: &str, key: Option<&str>, data: &str, expected: Value) {
    let options = key.map_or(json!({"address": address}), |key| json!({"address": address, "bind_key": key}));
    let mut device = device("atc", options).unwrap();
    let mut fields = hears(&mut *device, CHANNEL, &bytes(data), 0).unwrap().fields;
    assert_eq!(fields.remove("signal"), Some(json!(-60)));
    assert_eq!(Value::Object(fields), expected, "{data}");
    assert_eq!(hears(&mut *device, CHANNEL, &bytes(data), 900).unwrap(), Changes::none(), "a repetition");
}

#[test]
fn every_format_is_known_by_its_length() {
    assert_reads(
        "A4:C1:38:02:83:F4",
        None,
        "a4c1380283f400a22f5f0bf819",
        json!({"temperature": 16.2, "humidity": 47, "battery": 95, "voltage": 3.064}),
    );
    assert_reads(
        "A4:C1:38:02:83:F4",
        None,
        "f4830238c1a4a9066911b60b58f70d",
        json!({"temperature": 17.05, "humidity": 44.57, "battery": 88, "voltage": 2.998}),
    );
    // The same without the flags of newer firmware, and below zero.
    assert_reads(
        "A4:C1:38:02:83:F4",
        None,
        "f4830238c1a457f96911b60b58f7",
        json!({"temperature": -17.05, "humidity": 44.57, "battery": 88, "voltage": 2.998}),
    );
    assert_reads(
        "A4:C1:38:8D:18:B2",
        Some(KEY),
        "11d603fbfa7b6dfb1e26fd",
        json!({"temperature": 23.45, "humidity": 41.73, "battery": 61}),
    );
}

/// `src/custom_beacon.c`: half degrees from -40 °C on in an unsigned byte, half per cents, and a trigger's flag.
#[test]
fn half_degrees_go_up_to_87_and_a_half() {
    for (measured, expected) in [
        ([0, 0, 0], json!({"temperature": -40, "humidity": 0, "battery": 0})),
        ([255, 200, 0x80 | 100], json!({"temperature": 87.5, "humidity": 100, "battery": 100})),
        ([129, 101, 61], json!({"temperature": 24.5, "humidity": 50.5, "battery": 61})),
    ] {
        let said = Said::half(measured);
        assert_eq!(Value::Object(said.fields()), expected);
    }
}

#[test]
fn what_is_another_ones_or_of_no_length_is_refused() {
    let mut device = device("atc", json!({"address": "A4:C1:38:02:83:F4"})).unwrap();
    for (data, part) in [
        ("a4c1380283f500a22f5f0bf819", "another address"),
        ("a4c1380283f4a9066911b60b58f70d", "another address"),
        ("", "neither of ATC1441's nor of PVVX's"),
        ("a4c1380283f400a22f5f0bf8", "neither of ATC1441's nor of PVVX's"),
    ] {
        let error = hears(&mut *device, CHANNEL, &bytes(data), 0).unwrap_err().to_string();
        assert!(error.contains(part), "{data}: {error}");
    }
}
