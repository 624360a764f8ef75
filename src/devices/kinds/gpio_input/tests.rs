//! Tables: options, and what an input says.

use serde_json::{Value, json};

use super::super::{
    super::bus::gpio::Said,
    testing::{device, plan, refuses},
};
use crate::model::Timestamp;

#[test]
fn bad_options_are_named_with_what_is_possible() {
    refuses(
        "gpio_input",
        &[
            (json!({"pin": 40}), &["`pin`", "40 is not the BCM number"]),
            (json!({"pin": 4, "pull": "high"}), &["`pull`", "`up`", "`down`", "`none`"]),
            (json!({"pin": 4, "debounce": "2min"}), &["`debounce`", "a minute at most"]),
            (json!({"pin": 4, "when_on": "open", "when_off": "open"}), &["`when_off`", "same word"]),
            (json!({"pin": 4, "device_class": "dor"}), &["`device_class`", "did you mean `door`?"]),
            (json!({"pin": 4, "max_on": "1s"}), &["no option `max_on`", "`when_on`", "`active_low`"]),
        ],
    );
}

#[test]
fn levels_are_told_in_the_words_of_the_options() {
    let mut plain = device("gpio_input", json!({"pin": 4})).unwrap();
    let options =
        json!({"pin": 4, "pull": "up", "active_low": true, "when_on": "closed", "when_off": "open"});
    let mut window = device("gpio_input", options).unwrap();
    let now = Timestamp::from_millis(0);
    for (said, in_plain, in_window) in [
        (Said::Input(true), json!({"state": "ON"}), json!({"state": "closed"})),
        (Said::Input(false), json!({"state": "OFF"}), json!({"state": "open"})),
        (Said::Missed(7), json!({"missed": 7}), json!({"missed": 7})),
    ] {
        for (device, fields) in [(&mut plain, in_plain), (&mut window, in_window)] {
            assert_eq!(Value::Object(device.decode(&said.frame(), now).unwrap().fields), fields);
        }
    }
    let error = plan(plain.as_ref(), json!({"state": "ON"}), json!({})).err().unwrap().to_string();
    assert!(error.contains("an input takes nothing"), "{error}");
}
