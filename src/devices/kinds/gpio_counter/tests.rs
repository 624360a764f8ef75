//! Tables: options, totals over restarts, and how fast it goes.

use serde_json::{Value, json};

use super::super::{
    super::{Device, bus::gpio::Said},
    testing::{device, object, plan, refuses},
};
use crate::model::Timestamp;

fn hear(device: &mut dyn Device, count: u64, span: Option<f64>, silence: Option<f64>) -> Value {
    let said = Said::Pulses { count, span, silence }.frame();
    Value::Object(device.decode(&said, Timestamp::from_millis(0)).unwrap().fields)
}

#[test]
fn bad_options_are_named_with_what_is_possible() {
    refuses(
        "gpio_counter",
        &[
            (json!({"pin": 28}), &["`pin`", "28"]),
            (json!({"pin": 4, "pulses_per_unit": 0}), &["`pulses_per_unit`", "more than 0"]),
            (json!({"pin": 4, "every": "100ms"}), &["`every`", "a second at least"]),
            (json!({"pin": 4, "rate_per": "day"}), &["`rate_per`", "`min`"]),
            (json!({"pin": 4, "debounce": "1h"}), &["`debounce`", "a minute"]),
        ],
    );
}

#[test]
fn an_electricity_meter_tells_energy_and_power_and_goes_on_after_a_restart() {
    let options = json!({"pin": 4, "pulses_per_unit": 1000, "unit": "kWh", "initial": 8421.3});
    let mut meter = device("gpio_counter", options.clone()).unwrap();
    assert_eq!(
        hear(&mut *meter, 0, None, None),
        json!({"pulses": 0, "total": 8421.3}),
        "no power from nothing"
    );
    assert_eq!(hear(&mut *meter, 1, None, Some(1.0)), json!({"pulses": 1, "total": 8421.301}));
    let third = hear(&mut *meter, 5, Some(9.0), Some(0.5));
    assert_eq!(third, json!({"pulses": 6, "total": 8421.306, "power": 2000}));
    let mut again = device("gpio_counter", options).unwrap();
    again.restore(&object(third));
    assert_eq!(hear(&mut *again, 0, None, None), json!({"pulses": 6, "total": 8421.306}));
    assert_eq!(hear(&mut *again, 2, Some(3.6), Some(0.1))["pulses"], json!(8));
}

#[test]
fn between_two_pulses_the_power_falls_and_at_last_it_is_nothing() {
    let options = json!({"pin": 4, "pulses_per_unit": 1000, "unit": "kWh", "idle_after": "5min"});
    let mut meter = device("gpio_counter", options).unwrap();
    hear(&mut *meter, 1, None, Some(0.0));
    for (count, span, silence, power) in [
        (1, Some(3.6), 1.0, 1000.0),
        (0, None, 3.0, 1000.0),
        (0, None, 7.2, 500.0),
        (0, None, 72.0, 50.0),
        (0, None, 299.0, 12.04),
        (0, None, 300.0, 0.0),
        (1, Some(360.0), 4.0, 10.0),
    ] {
        let told = hear(&mut *meter, count, span, Some(silence))["power"].as_f64().unwrap();
        assert!((told - power).abs() < 1e-9, "after {silence} s: {told} W instead of {power} W");
    }
}

#[test]
fn water_flows_in_the_units_of_the_options() {
    let options = json!({"pin": 4, "pulses_per_unit": 450, "unit": "L", "rate_per": "min"});
    let mut water = device("gpio_counter", options).unwrap();
    hear(&mut *water, 450, None, Some(0.0));
    assert_eq!(
        hear(&mut *water, 900, Some(10.0), Some(0.0)),
        json!({"pulses": 1350, "total": 3, "rate": 12})
    );
    let error = plan(&*water, json!({"total": 1}), json!({})).err().unwrap().to_string();
    assert!(error.contains("takes nothing"), "{error}");
}
