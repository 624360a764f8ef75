//! What may be asked for on the line to the cloud. The default is nothing.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use crate::model::{DeviceId, Request};

/// Which values a field may be set to.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Every value.
    Any,
    /// Just these; words are compared without regard to case, as devices do.
    OneOf(Vec<Value>),
    /// Every number from the first to the second, both included.
    Range(f64, f64),
}

impl Values {
    fn contains(&self, value: &Value) -> bool {
        match self {
            Values::Any => true,
            Values::OneOf(allowed) => allowed.iter().any(|one| same(one, value)),
            Values::Range(min, max) => value.as_f64().is_some_and(|number| (*min..=*max).contains(&number)),
        }
    }
}

fn same(allowed: &Value, asked: &Value) -> bool {
    match (allowed, asked) {
        (Value::String(allowed), Value::String(asked)) => allowed.eq_ignore_ascii_case(asked),
        (Value::Number(allowed), Value::Number(asked)) => allowed.as_f64() == asked.as_f64(),
        (allowed, asked) => allowed == asked,
    }
}

/// One entry of the allow-list: these fields of this device may be set, together, to these values.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The device.
    pub device: DeviceId,
    /// The fields of its state that may be set, and to what.
    pub set: BTreeMap<String, Values>,
}

impl Rule {
    /// What the request asks for beyond this entry; `None` when it allows everything asked.
    fn objection(&self, request: &Request) -> Option<String> {
        request.fields().iter().find_map(|(field, value)| match self.set.get(field) {
            Some(values) if values.contains(value) => None,
            Some(_) => Some(format!("`{field}` to {value}")),
            None => Some(format!("`{field}`")),
        })
    }
}

/// All rules.
#[derive(Debug, Clone, Default)]
pub struct AllowList(HashMap<DeviceId, Vec<Rule>>);

impl AllowList {
    /// A list of these rules.
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        let mut devices: HashMap<DeviceId, Vec<Rule>> = HashMap::new();
        for rule in rules {
            devices.entry(rule.device.clone()).or_default().push(rule);
        }
        Self(devices)
    }

    /// Whether one entry allows everything that the request asks for.
    ///
    /// # Errors
    /// A sentence that names what is missing in the list.
    pub fn check(&self, device: &DeviceId, request: &Request) -> Result<(), String> {
        let mut objection = None;
        for rule in self.0.get(device).into_iter().flatten() {
            match rule.objection(request) {
                None => return Ok(()),
                Some(one) => objection = Some(one),
            }
        }
        Err(match objection {
            None => format!("`commands.allow` has no entry for {device}"),
            Some(what) => format!("`commands.allow` does not let the cloud set {what} of {device}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn device(id: &str) -> DeviceId {
        DeviceId::parse(id).unwrap()
    }

    fn request(fields: Value) -> Request {
        Request::from_fields(fields.as_object().unwrap().clone()).unwrap()
    }

    #[test]
    fn only_what_is_listed_is_allowed() {
        let rule = |set: &[(&str, Values)]| Rule {
            device: device("toaster"),
            set: set.iter().map(|(field, values)| ((*field).to_owned(), values.clone())).collect(),
        };
        let list = AllowList::new([
            rule(&[
                ("state", Values::OneOf(vec![json!("ON"), json!(1)])),
                ("browning", Values::Range(1.0, 4.0)),
            ]),
            rule(&[("label", Values::Any)]),
        ]);
        for (id, fields, expected) in [
            ("toaster", json!({"state": "ON"}), true),
            ("toaster", json!({"state": "on", "browning": 4}), true),
            ("toaster", json!({"state": 1.0}), true),
            ("toaster", json!({"label": {"a": [1]}}), true),
            ("toaster", json!({"state": "ON", "label": "x"}), false),
            ("toaster", json!({"state": "OFF"}), false),
            ("toaster", json!({"state": "ON", "firmware": "x"}), false),
            ("toaster", json!({"browning": 4.5}), false),
            ("toaster", json!({"browning": "3"}), false),
            ("toaster", json!({"browning": null}), false),
            ("garage", json!({"state": "ON"}), false),
        ] {
            assert_eq!(list.check(&device(id), &request(fields.clone())).is_ok(), expected, "{id} {fields}");
        }
        assert!(AllowList::default().check(&device("toaster"), &request(json!({"state": "ON"}))).is_err());
    }
}
