//! Short words for the kinds' tables: build from JSON, read a frame, plan a request.

use serde_json::Value;

use super::super::{Changes, Device, DeviceError, DeviceSpec, Frame, Plan, build};
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
