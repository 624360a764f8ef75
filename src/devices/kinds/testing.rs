//! Short words for the kinds' tables: build from JSON, read a frame, plan a request.

use serde_json::Value;

use super::super::{
    Changes, Device, DeviceError, DeviceSpec, Frame, Plan,
    ble::{self, BleChannel},
    build,
};
use super::KINDS;
use crate::model::{DeviceId, Fields, Request, Timestamp};

/// A device called `d`.
pub(super) fn device(kind: &str, options: Value) -> Result<Box<dyn Device>, DeviceError> {
    build(KINDS, &DeviceSpec { id: DeviceId::parse("d").unwrap(), kind: kind.to_owned(), options })
}

pub(super) fn object(value: Value) -> Fields {
    match value {
        Value::Object(fields) => fields,
        other => panic!("{other} is not an object"),
    }
}

pub(super) fn read(device: &mut dyn Device, channel: &str, payload: &str) -> Result<Changes, DeviceError> {
    device.decode(&Frame::new(channel, payload.to_owned()), Timestamp::from_millis(0))
}

pub(super) fn plan(device: &dyn Device, request: Value, state: Value) -> Result<Plan, DeviceError> {
    device.encode(&Request::from_fields(object(request)).unwrap(), &object(state))
}

/// What a plan sends, as `channel payload`.
pub(super) fn sent(plan: &Plan) -> Vec<String> {
    let text = |frame: &Frame| format!("{} {}", frame.channel, frame.text().unwrap());
    plan.frames.iter().map(text).collect()
}

/// Whether a plan takes `seen` for a confirmation.
pub(super) fn confirms(plan: &Plan, seen: Value) -> bool {
    match &plan.confirm {
        super::super::Confirm::State { check, .. } => check(&object(seen)),
        super::super::Confirm::Sent => panic!("the plan needs no confirmation"),
    }
}

/// Every option that is wrong, and what its sentence must contain.
pub(super) fn refuses(kind: &str, table: &[(Value, &[&str])]) {
    for (options, parts) in table {
        let error = device(kind, options.clone()).err().unwrap_or_else(|| panic!("{options} was taken"));
        for part in *parts {
            assert!(error.to_string().contains(part), "{options}: `{error}` lacks `{part}`");
        }
    }
}

/// Bytes from hexadecimal digits.
pub(super) fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits: Vec<char> = hexadecimal.chars().filter(|digit| !digit.is_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&String::from_iter(pair), 16).unwrap()).collect()
}

/// What a device makes of an advertisement that came with -60 dBm, so many milliseconds after the beginning.
pub(super) fn hears(
    device: &mut dyn Device,
    channel: BleChannel,
    data: &[u8],
    millis: i64,
) -> Result<Changes, DeviceError> {
    device.decode(&ble::channel::frame(channel, Some(-60), data), Timestamp::from_millis(millis))
}
