//! ThingsBoard's gateway API: devices' states as telemetry, remote procedure calls as commands, outcomes as their answers.
//!
//! Pure; made from the documentation ("MQTT Gateway API", "MQTT Device API") and tried with a stand-in only. Devices are
//! known there by their ids here. Invariants: a call's number is never a command's id, since ThingsBoard counts
//! from 1 again after a restart, and an old outcome would be told for a new call; our own answers, which come by
//! the same topic as calls, are never taken for calls. Telemetry may be sent twice: a value of the same time is the same value.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::translate;
use crate::{
    commands::{ReplyTo, Told},
    model::{Availability, DeviceId, Fields, Message, Properties, QoS, Timestamp, Topic, TopicFilter},
};

const TELEMETRY: &str = "v1/gateway/telemetry";
const CONNECT: &str = "v1/gateway/connect";
const DISCONNECT: &str = "v1/gateway/disconnect";
const RPC: &str = "v1/gateway/rpc";
/// Of the gateway itself, which is a device there, too.
const OWN_ATTRIBUTES: &str = "v1/devices/me/attributes";
/// The method whose parameters are the fields to set. Every other one is the name of a field.
const SET: &str = "set";

/// A call as a command.
#[derive(Debug, PartialEq)]
pub(super) struct Call {
    /// The device's name, which may be nobody's.
    pub(super) device: String,
    /// As if it had come on the device's own topic; the call's number is its correlation data.
    pub(super) message: Message,
}

fn topic(text: &str) -> Topic {
    Topic::parse(text).expect("a constant without wildcards")
}

fn publish(name: &str, payload: &Value) -> Message {
    Message::new(topic(name), payload.to_string(), QoS::AtLeastOnce)
}

/// What the line subscribes to.
pub(super) fn subscription() -> TopicFilter {
    TopicFilter::from(&topic(RPC))
}

/// Where what is no call may be published by a route, and what must not be.
pub(super) fn closed() -> TopicFilter {
    subscription()
}

/// A device's state, of the moment at which it was taken.
pub(super) fn telemetry(device: &DeviceId, fields: &Fields, taken_at: Timestamp) -> Message {
    let values = json!([{ "ts": taken_at.as_millis(), "values": fields }]);
    publish(TELEMETRY, &json!({ device.as_str(): values }))
}

/// A device is there: from now on it can be called.
pub(super) fn connect(device: &DeviceId, kind: &str) -> Message {
    publish(CONNECT, &json!({ "device": device.as_str(), "type": kind }))
}

/// A device is there again, or not.
pub(super) fn availability(device: &DeviceId, availability: Availability) -> Message {
    let name = if availability == Availability::Online { CONNECT } else { DISCONNECT };
    publish(name, &json!({ "device": device.as_str() }))
}

/// Whether the gateway is there, as an attribute of it.
pub(super) fn presence(availability: Availability) -> Message {
    publish(OWN_ATTRIBUTES, &json!({ "state": availability.as_str() }))
}

/// A topic that nothing is published on and nothing comes from.
pub(super) fn no_fence() -> Topic {
    topic(RPC)
}

/// What came on the topic of calls; `None`: it is an answer, or nothing that has a device and a method.
pub(super) fn call(message: &Message) -> Option<Call> {
    if message.topic.as_str() != RPC {
        return None;
    }
    let mut call: Value = serde_json::from_slice(&message.payload).ok()?;
    let device = call.get("device")?.as_str()?.to_owned();
    let data = call.get_mut("data")?;
    let id = data.get("id")?.to_string();
    let method = data.get("method")?.as_str()?.to_owned();
    let params = data.get_mut("params").map_or(Value::Null, Value::take);
    let payload = match (method.as_str(), params) {
        (SET, Value::String(word)) => word,
        (SET, params) => params.to_string(),
        (field, params) => json!({ field: params }).to_string(),
    };
    let properties = Properties { correlation_data: Some(Bytes::from(id)), ..Properties::default() };
    let message =
        Message { payload: payload.into(), properties: Some(Arc::new(properties)), ..message.clone() };
    Some(Call { device, message })
}

/// How an outcome is told: as the answer of its call, or, of a command that nobody called for, as telemetry.
pub(super) fn answer(told: &Told, reply_to: &ReplyTo) -> Message {
    let outcome = translate::outcome(told, reply_to);
    let device = told.outcome.device.as_str();
    let call = reply_to.correlation.as_deref().and_then(|id| serde_json::from_slice::<Value>(id).ok());
    match call {
        Some(id) => publish(RPC, &json!({ "device": device, "id": id, "data": outcome })),
        None => {
            let values = json!([{ "ts": told.outcome.at.as_millis(), "values": { "result": outcome } }]);
            publish(TELEMETRY, &json!({ device: values }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rpc(payload: &str) -> Message {
        Message::new(topic(RPC), payload.to_owned(), QoS::AtLeastOnce)
    }

    #[test]
    fn a_call_is_a_command_to_its_device_with_its_number_as_correlation_data() {
        for (payload, expected) in [
            (
                r#"{"device":"toaster","data":{"id":1,"method":"set","params":{"state":"ON"}}}"#,
                Some(("toaster", r#"{"state":"ON"}"#, "1")),
            ),
            (
                r#"{"device":"toaster","data":{"id":2,"method":"set","params":"ON"}}"#,
                Some(("toaster", "ON", "2")),
            ),
            (
                r#"{"device":"lamp","data":{"id":3,"method":"brightness","params":40}}"#,
                Some(("lamp", r#"{"brightness":40}"#, "3")),
            ),
            (r#"{"device":"lamp","data":{"id":"a","method":"set"}}"#, Some(("lamp", "null", "\"a\""))),
            // Our own answer.
            (r#"{"device":"toaster","id":1,"data":{"status":"applied"}}"#, None),
            (r#"{"data":{"id":1,"method":"set","params":"ON"}}"#, None),
            ("no JSON", None),
        ] {
            let found = call(&rpc(payload));
            let found = found.as_ref().map(|call| {
                let properties = call.message.properties.as_ref().unwrap();
                (
                    call.device.as_str(),
                    str::from_utf8(&call.message.payload).unwrap(),
                    str::from_utf8(properties.correlation_data.as_ref().unwrap()).unwrap(),
                )
            });
            assert_eq!(found, expected, "{payload}");
        }
        assert_eq!(call(&Message::new(topic("other"), "{}", QoS::AtLeastOnce)), None);
    }

    #[test]
    fn states_presence_and_devices_are_said_as_the_documentation_has_it() {
        let device = DeviceId::parse("attic").unwrap();
        let fields = Fields::from_iter([("temperature".to_owned(), json!(21.5))]);
        let said = |message: Message| {
            (message.topic.as_str().to_owned(), serde_json::from_slice::<Value>(&message.payload).unwrap())
        };
        assert_eq!(
            said(telemetry(&device, &fields, Timestamp::from_millis(1_483_228_800_000))),
            (
                TELEMETRY.to_owned(),
                json!({"attic": [{"ts": 1_483_228_800_000_i64, "values": {"temperature": 21.5}}]})
            )
        );
        assert_eq!(
            said(connect(&device, "ruuvi")),
            (CONNECT.to_owned(), json!({"device": "attic", "type": "ruuvi"}))
        );
        let gone = said(availability(&device, Availability::Offline));
        assert_eq!(gone, (DISCONNECT.to_owned(), json!({"device": "attic"})));
        assert_eq!(
            said(presence(Availability::Online)),
            (OWN_ATTRIBUTES.to_owned(), json!({"state": "online"}))
        );
    }
}
