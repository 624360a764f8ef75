//! Tables: options, frames in, orders out.

use serde_json::{Value, json};

use super::super::{
    super::bus::gpio::{Cause, Said},
    testing::{confirms, device, object, plan, refuses, sent},
};
use crate::{devices::Frame, model::Timestamp};

#[test]
fn bad_options_are_named_with_what_is_possible() {
    refuses(
        "gpio_output",
        &[
            (json!({}), &["`pin`", "BCM number"]),
            (json!({"pin": 17, "line": "x"}), &["`line`", "one of `pin` and `line`"]),
            (json!({"pin": 31}), &["`pin`", "31 is not the BCM number", "0, 1, 2", "26, 27"]),
            (json!({"line": "RELAY"}), &["`line`", "`chip: {label: …}`"]),
            (json!({"pin": 4, "chip": "gpio"}), &["`chip`", "`auto`", "/dev/gpiochip0"]),
            (json!({"pin": 4, "chip": {"name": "x"}}), &["chip", "`name`", "`label`"]),
            (json!({"pin": 4, "safe": "low"}), &["`safe`", "low", "`on` or `off`"]),
            (json!({"pin": 4, "safe": true, "max_on": "1min"}), &["`safe`", "`max_on`"]),
            (json!({"pin": 4, "pulse": "1s", "max_on": "1min"}), &["`max_on`", "`pulse`"]),
            (json!({"pin": 4, "pulse": "1s", "initial": "on"}), &["`initial`", "off at first"]),
            (json!({"pin": 4, "max_on": 60}), &["`max_on`", "60", "a time with its unit"]),
            (json!({"pin": 4, "interlock": ["a b"]}), &["interlock", "a b"]),
            (json!({"pin": 4, "interlok": []}), &["`interlok`", "did you mean `interlock`?"]),
        ],
    );
    for good in [
        json!({"pin": 0}),
        json!({"pin": 27, "safe": "off", "initial": "on", "max_on": "1h"}),
        json!({"pin": 400, "chip": "/dev/gpiochip3"}),
        json!({"line": "RELAY", "chip": {"label": "gpio-sim.0-bank0"}, "active_low": true}),
    ] {
        assert!(device("gpio_output", good.clone()).is_ok(), "{good}");
    }
}

#[test]
fn what_the_line_reads_becomes_the_state_and_its_cause() {
    let mut device = device("gpio_output", json!({"pin": 17})).unwrap();
    let now = Timestamp::from_millis(0);
    for (said, state) in [
        (Said::Output(true, Cause::Command), json!({"state": "ON", "cause": "command"})),
        (Said::Output(false, Cause::MaxOn), json!({"state": "OFF", "cause": "max_on"})),
        (Said::Output(false, Cause::Watchdog), json!({"state": "OFF", "cause": "watchdog"})),
    ] {
        assert_eq!(Value::Object(device.decode(&said.frame(), now).unwrap().fields), state);
    }
    for frame in
        [Frame::new("input", "ON"), Frame::new("output", "ON"), Frame::new("output", "MAYBE command")]
    {
        assert!(device.decode(&frame, now).is_err(), "{frame:?}");
    }
}

#[test]
fn a_command_is_an_order_and_is_done_when_the_line_shows_it() {
    let lamp = device("gpio_output", json!({"pin": 17, "max_on": "1h"})).unwrap();
    let door = device("gpio_output", json!({"pin": 17, "pulse": "500ms"})).unwrap();
    for (device, word, order, shown, detail) in [
        (&lamp, "ON", "order ON", "ON", "the line reads ON, for 3600 s at most"),
        (&lamp, "off", "order OFF", "OFF", "the line reads OFF"),
        (&door, "pulse", "order PULSE", "ON", "the line reads ON, for 0.5 s at most"),
        (&door, "ON", "order ON", "ON", "the line reads ON, for 0.5 s at most"),
    ] {
        let plan = plan(device.as_ref(), json!({"state": word}), json!({})).unwrap();
        assert_eq!(sent(&plan), [order]);
        assert!(confirms(&plan, json!({"state": shown})));
        assert!(!confirms(&plan, json!({"state": if shown == "ON" { "OFF" } else { "ON" }})));
        assert!(!confirms(&plan, json!({})));
        assert_eq!(plan.detail.as_deref(), Some(detail));
    }
    for (device, request, part) in [
        (&lamp, json!({"state": "PULSE"}), "it has no `pulse`"),
        (&lamp, json!({"state": "TOGGLE"}), "`ON` or `OFF`"),
        (&door, json!({"state": 1}), "`PULSE`"),
        (&lamp, json!({"state": "ON", "level": 3}), "`state` alone"),
    ] {
        let error =
            device.encode(&crate::model::Request::from_fields(object(request)).unwrap(), &object(json!({})));
        let error = error.err().unwrap().to_string();
        assert!(error.contains(part), "{error}");
    }
}
