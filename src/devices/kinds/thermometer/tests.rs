//! The thermometer's curve and frames.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::testing::{device, plan, read, refuses};
use super::*;

#[test]
fn a_bad_option_is_refused_with_what_is_possible() {
    refuses(
        "thermometer",
        &[
            (json!({"intervall": "3s"}), &["did you mean `interval`?", "`seed`"]),
            (json!({"interval": "often"}), &["`interval`", "`500ms`"]),
            (json!({"seed": -1}), &["`seed`"]),
            (json!({"mean": 500}), &["`mean`", "between -50 and 100"]),
        ],
    );
}

#[test]
fn it_reads_numbers_and_takes_no_request() {
    let mut thermometer = device("thermometer", Value::Null).unwrap();
    let changes = read(thermometer.as_mut(), "temperature", "21.5").unwrap();
    assert_eq!(changes, Changes::field("temperature", 21.5));
    for bad in ["warm", "", "NaN", "inf"] {
        assert!(read(thermometer.as_mut(), "temperature", bad).is_err(), "{bad}");
    }
    let refusal = plan(&*thermometer, json!({"temperature": 30}), json!({})).err().unwrap().to_string();
    assert!(refusal.contains("`temperature`") && refusal.contains("only measures"), "{refusal}");
}

fn curve(seed: u64) -> Vec<f64> {
    let mut thermometer = device("thermometer", json!({"seed": seed})).unwrap().simulation();
    let mut now = Instant::now();
    let mut frames = thermometer.start(now);
    for _ in 0..500 {
        now = thermometer.next().unwrap();
        frames.extend(thermometer.tick(now));
    }
    frames.iter().map(|frame| frame.text().unwrap().parse().unwrap()).collect()
}

#[test]
fn the_curve_is_smooth_stays_in_the_room_and_depends_on_the_seed_alone() {
    let (first, second) = (curve(7), curve(8));
    assert_eq!(first, curve(7));
    assert_ne!(first, second);
    for pair in first.windows(2) {
        assert!((pair[0] - pair[1]).abs() < 0.4, "{pair:?} jumps");
        assert!((18.0..24.0).contains(&pair[0]), "{pair:?} leaves the room");
    }
}
