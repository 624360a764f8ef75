//! Tables: options, requests and what is shown.

use serde_json::{Value, json};

use super::super::{
    super::bus::gpio::{Cause, Said},
    testing::{confirms, device, object, plan, refuses, sent},
};
use crate::model::{Request, Timestamp};

#[test]
fn bad_options_are_named_with_what_is_possible() {
    refuses(
        "gpio_pwm",
        &[
            (json!({"pin": 4, "frequency": 2}), &["`frequency`", "10 to 1000 Hz"]),
            (json!({"pin": 4, "frequency": 50_000}), &["`frequency`", "10 to 1000 Hz"]),
            (json!({"pin": 4, "safe": 101}), &["`safe`", "0 to 100"]),
            (json!({"pin": 4, "safe": 30}), &["`safe`", "write 0 or 100"]),
            (json!({"pin": 4, "initial": -1}), &["`initial`", "0 to 100"]),
            (json!({"pin": 99}), &["`pin`", "99"]),
        ],
    );
}

#[test]
fn a_request_is_a_part_of_the_time_and_is_done_when_it_is_shown() {
    let mut lamp = device("gpio_pwm", json!({"pin": 12})).unwrap();
    let ask = |lamp: &dyn crate::devices::Device, request: Value| plan(lamp, request, json!({})).unwrap();
    assert_eq!(sent(&ask(&*lamp, json!({"state": "ON"}))), ["order DUTY 1"]);
    for (part, fields) in [
        (0.335, json!({"state": "ON", "duty": 33.5, "cause": "command"})),
        (0.0, json!({"state": "OFF", "duty": 0, "cause": "command"})),
    ] {
        let said = Said::Duty(part, Cause::Command).frame();
        let told = lamp.decode(&said, Timestamp::from_millis(0)).unwrap().fields;
        assert_eq!(Value::Object(told), fields);
    }
    for (request, order, shown, other) in [
        (json!({"state": "ON"}), "order DUTY 0.335", 33.5, 33.0),
        (json!({"state": "OFF"}), "order DUTY 0", 0.0, 0.1),
        (json!({"duty": 7}), "order DUTY 0.07", 7.0, 8.0),
        (json!({"state": "on", "duty": 50}), "order DUTY 0.5", 50.0, 0.0),
    ] {
        let plan = ask(&*lamp, request);
        assert_eq!(sent(&plan), [order]);
        assert!(
            confirms(&plan, json!({"duty": shown})) && !confirms(&plan, json!({"duty": other})),
            "{order}"
        );
    }
    for (request, part) in [
        (json!({"duty": 101}), "0 to 100"),
        (json!({"duty": "half"}), "0 to 100"),
        (json!({"state": "OFF", "duty": 3}), "off has no `duty`"),
        (json!({"state": "TOGGLE"}), "`ON` or `OFF`"),
        (json!({"speed": 3}), "`state` and `duty`"),
    ] {
        let request = Request::from_fields(object(request)).unwrap();
        let error = lamp.encode(&request, &object(json!({}))).err().unwrap().to_string();
        assert!(error.contains(part), "{error}");
    }
    let mut again = device("gpio_pwm", json!({"pin": 12})).unwrap();
    again.restore(&object(json!({"duty": 20})));
    assert_eq!(sent(&ask(&*again, json!({"state": "ON"}))), ["order DUTY 0.2"], "after a restart, too");
}
