//! Payloads of MQTT devices that other people wrote: plain words and JSON objects.

use serde_json::Value;

use super::super::{super::Frame, values::word};
use crate::model::Fields;

/// The longest plain word that is taken as a value, in characters.
const LONGEST_WORD: usize = 256;

/// The fields of a state payload: a plain word becomes `field`; of a JSON object all fields, or the
/// one called `state_field` there, as `field`. An empty payload says nothing.
pub(super) fn fields(frame: &Frame, field: &str, state_field: Option<&str>) -> Result<Fields, String> {
    let text = frame.text().ok_or("it is not text")?;
    if text.is_empty() {
        return Ok(Fields::new());
    }
    let value = match (serde_json::from_str::<Value>(text), state_field) {
        (Ok(Value::Object(mut object)), Some(name)) => match object.remove(name) {
            Some(value) => value,
            // Many devices put several messages on one topic; this one is about something else.
            None => return Ok(Fields::new()),
        },
        (Ok(Value::Object(object)), None) => return Ok(object),
        (_, Some(name)) => return Err(format!("it is not a JSON object with `{name}`")),
        (Ok(value @ (Value::Bool(_) | Value::Number(_) | Value::String(_))), None) => value,
        (_, None) if text.chars().count() <= LONGEST_WORD => Value::from(text),
        (_, None) => {
            return Err(format!("it is neither a JSON object nor a word of up to {LONGEST_WORD} characters"));
        }
    };
    Ok(Fields::from_iter([(field.to_owned(), value)]))
}

/// The word of an availability payload: plain, or `{"state":"online"}` as zigbee2mqtt writes it.
pub(super) fn availability(frame: &Frame) -> Option<String> {
    let text = frame.text()?;
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(object)) => object.get("state").and_then(word),
        _ => Some(text.to_owned()),
    }
}
