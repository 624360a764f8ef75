//! What a command's payload says: plain (`ON`, `{"state":"ON"}`) or with `id`, `at`, `ttl`, `expires_at`, `reply_to` and
//! `correlation` beside the fields to set. All that MQTT 5 carries in properties can be said here, since several clouds
//! speak 3.1.1 only.

use std::time::Duration;

use serde_json::Value;

use super::teller::ReplyTo;
use crate::model::{CommandId, Fields, Request, Timestamp, Topic};

/// The words that are about the command and not about the device.
const ID: &str = "id";
const AT: &str = "at";
const TTL: &str = "ttl";
const EXPIRES_AT: &str = "expires_at";
const REPLY_TO: &str = "reply_to";
pub(super) const CORRELATION: &str = "correlation";
/// The longest correlation, in bytes: as long as an id and some.
const LONGEST_CORRELATION: usize = 256;
/// Numbers from here on are milliseconds since 1970, below they are seconds: 100,000,000,000 seconds
/// are the year 5138.
const FIRST_MILLIS: f64 = 1e11;
/// The longest life a payload may ask for: ten years.
const LONGEST_TTL: f64 = 3.2e8;

/// A payload that was understood.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Order {
    pub(super) id: Option<CommandId>,
    pub(super) at: Option<Timestamp>,
    pub(super) ttl: Option<Duration>,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) reply_to: ReplyTo,
    pub(super) request: Request,
}

/// What was wrong, with the id and the way back if these could be read, so that the sender can be told.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Malformed {
    pub(super) id: Option<CommandId>,
    pub(super) reply_to: ReplyTo,
    pub(super) detail: String,
}

/// Reads a payload.
pub(super) fn parse(payload: &[u8]) -> Result<Order, Malformed> {
    let fail = |detail: String| Malformed { id: None, reply_to: ReplyTo::default(), detail };
    let text = std::str::from_utf8(payload).map_err(|_| fail("the payload is not UTF-8 text".to_owned()))?;
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => parse_object(fields),
        Ok(Value::String(word)) => plain(&word),
        Ok(Value::Array(_)) => Err(fail("the payload is a list; write an object or a word".to_owned())),
        Ok(Value::Null | Value::Bool(_) | Value::Number(_)) | Err(_) => plain(text),
    }
}

fn plain(word: &str) -> Result<Order, Malformed> {
    let request = Request::from_word(word).map_err(|error| Malformed {
        id: None,
        reply_to: ReplyTo::default(),
        detail: error.to_string(),
    })?;
    Ok(Order { id: None, at: None, ttl: None, expires_at: None, reply_to: ReplyTo::default(), request })
}

fn parse_object(mut fields: Fields) -> Result<Order, Malformed> {
    let reply_to = reply_to(&mut fields)?;
    let id = match fields.remove(ID) {
        None => None,
        Some(value) => {
            let text = match &value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            Some(CommandId::parse(&text).map_err(|error| Malformed {
                id: None,
                reply_to: reply_to.clone(),
                detail: format!("`id`: {error}"),
            })?)
        }
    };
    let fail = |detail: String| Malformed { id: id.clone(), reply_to: reply_to.clone(), detail };
    let moment = |name: &str, value: Option<Value>| match value {
        None => Ok(None),
        Some(value) => timestamp(&value).map(Some).ok_or_else(|| {
            fail(format!(
                "`{name}` is {value}; write a time like \"2026-11-22T18:00:00Z\" or seconds since 1970"
            ))
        }),
    };
    let at = moment(AT, fields.remove(AT))?;
    let expires_at = moment(EXPIRES_AT, fields.remove(EXPIRES_AT))?;
    let ttl = match fields.remove(TTL) {
        None => None,
        Some(value) => match value.as_f64() {
            Some(seconds) if (0.0..=LONGEST_TTL).contains(&seconds) => Some(Duration::from_secs_f64(seconds)),
            _ => return Err(fail(format!("`ttl` is {value}; write a number of seconds"))),
        },
    };
    let request = Request::from_fields(fields).map_err(|error| fail(error.to_string()))?;
    Ok(Order { id, at, ttl, expires_at, reply_to, request })
}

/// Where the sender wants the outcome, too, and what it is to carry back.
fn reply_to(fields: &mut Fields) -> Result<ReplyTo, Malformed> {
    let mut reply_to = ReplyTo::default();
    let fail =
        |reply_to: &ReplyTo, detail: String| Err(Malformed { id: None, reply_to: reply_to.clone(), detail });
    match fields.remove(CORRELATION) {
        None | Some(Value::Null) => {}
        Some(Value::String(text)) if text.len() <= LONGEST_CORRELATION => {
            reply_to.said = Some(Value::String(text));
        }
        Some(number @ Value::Number(_)) => reply_to.said = Some(number),
        Some(_) => {
            let what = format!(
                "`correlation` is none; write a number or a text of up to {LONGEST_CORRELATION} bytes"
            );
            return fail(&reply_to, what);
        }
    }
    match fields.remove(REPLY_TO) {
        None | Some(Value::Null) => {}
        Some(value) => match value.as_str().map(Topic::parse) {
            Some(Ok(topic)) => reply_to.topic = Some(topic),
            _ => return fail(&reply_to, format!("`reply_to` is {value}; write a topic without wildcards")),
        },
    }
    Ok(reply_to)
}

#[expect(clippy::cast_possible_truncation, reason = "a number of that size is in range by the check before")]
fn timestamp(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => Timestamp::parse_rfc3339(text),
        Value::Number(number) => {
            let number = number.as_f64().filter(|number| (0.0..1e15).contains(number))?;
            let millis = if number < FIRST_MILLIS { number * 1000.0 } else { number };
            Some(Timestamp::from_millis(millis as i64))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_words_and_objects_mean_the_same() {
        for payload in ["ON", " ON\n", "\"ON\"", r#"{"state":"ON"}"#] {
            let order = parse(payload.as_bytes()).unwrap();
            assert_eq!(order.request.fields()["state"], "ON", "{payload}");
            assert_eq!((order.id, order.at, order.ttl, order.expires_at), (None, None, None, None));
        }
    }

    #[test]
    fn what_is_about_the_command_is_taken_out_of_the_request() {
        let order = parse(
            br#"{"state":"ON","id":"c1","at":1795384800,"ttl":2.5,"expires_at":"2026-11-22T18:00:00Z"}"#,
        )
        .unwrap();
        assert_eq!(order.request.fields().len(), 1);
        assert_eq!(order.id.unwrap().as_str(), "c1");
        assert_eq!(order.at, Some(Timestamp::from_millis(1_795_384_800_000)));
        assert_eq!(order.ttl, Some(Duration::from_millis(2500)));
        assert_eq!(order.expires_at, Timestamp::parse_rfc3339("2026-11-22T18:00:00Z"));
    }

    #[test]
    fn a_way_back_is_taken_out_of_the_request_and_known_when_the_rest_is_wrong() {
        let order = parse(br#"{"state":"ON","reply_to":"p/a","correlation":7}"#).unwrap();
        assert_eq!(order.request.fields().len(), 1);
        assert_eq!(order.reply_to.topic.unwrap().as_str(), "p/a");
        assert_eq!(order.reply_to.said, Some(7.into()));
        let malformed = parse(br#"{"reply_to":"p/a","correlation":"x","ttl":-1,"state":1}"#).unwrap_err();
        assert_eq!(malformed.reply_to.topic.unwrap().as_str(), "p/a");
        assert_eq!(malformed.reply_to.said, Some("x".into()));
    }

    #[test]
    fn numbers_are_seconds_or_milliseconds_by_their_size() {
        for number in ["1795384800", "1795384800000"] {
            let order = parse(format!(r#"{{"state":1,"at":{number}}}"#).as_bytes()).unwrap();
            assert_eq!(order.at, Some(Timestamp::from_millis(1_795_384_800_000)));
        }
    }

    #[test]
    fn what_is_not_understood_is_named_and_keeps_its_id() {
        for (payload, word, has_id) in [
            (&b"\xff"[..], "UTF-8", false),
            (b"", "plain word", false),
            (b"[1]", "list", false),
            (b"{}", "sets nothing", false),
            (br#"{"id":"c1"}"#, "sets nothing", true),
            (br#"{"id":"a b","state":1}"#, "`id`", false),
            (br#"{"id":"c1","state":1,"ttl":-1}"#, "`ttl`", true),
            (br#"{"id":"c1","state":1,"ttl":"soon"}"#, "`ttl`", true),
            (br#"{"id":"c1","state":1,"at":"noon"}"#, "`at`", true),
            (br#"{"id":"c1","state":1,"expires_at":{}}"#, "`expires_at`", true),
            (br#"{"state":1,"reply_to":"a/+"}"#, "`reply_to`", false),
            (br#"{"state":1,"reply_to":1}"#, "`reply_to`", false),
            (br#"{"state":1,"correlation":[1]}"#, "`correlation`", false),
        ] {
            let malformed = parse(payload).unwrap_err();
            assert!(malformed.detail.contains(word), "{}", malformed.detail);
            assert_eq!(malformed.id.is_some(), has_id, "{}", malformed.detail);
        }
    }
}
