//! What stands in for devices: every kind brings something, and its own kind understands it.

use std::{collections::BTreeSet, path::Path};

use super::*;
use crate::config::Loader;

/// One house with every kind; `tests/simulate.rs` runs the real program on it.
fn whole_house() -> Vec<DeviceSpec> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulate/house.yaml");
    let config = Loader::new(&file).environment(HashMap::new()).files_elsewhere().load().unwrap();
    let spec = |device: crate::config::Device| DeviceSpec {
        id: device.id,
        kind: device.kind,
        options: Value::Object(device.options),
    };
    config.devices.into_iter().map(spec).collect()
}

#[tokio::test(start_paused = true)]
async fn every_kind_brings_its_simulation_and_understands_it() {
    let specs = whole_house();
    for kind in KINDS {
        let is_there = specs.iter().any(|spec| spec.kind == kind.name);
        assert!(is_there, "add a device of the kind `{}` to tests/simulate/house.yaml", kind.name);
    }
    let fleet = Fleet::simulated(&specs).unwrap();
    assert_eq!(fleet.lan_filters(), []);
    let mut house = House::of(fleet, HashMap::new());
    let mut silent: BTreeSet<DeviceId> = specs.iter().map(|spec| spec.id.clone()).collect();
    // Nothing of its own says that a command arrived.
    silent.remove(&id("bell"));
    let end = Instant::now() + Duration::from_secs(120);
    while !silent.is_empty() {
        assert!(Instant::now() < end, "nothing was read of {silent:?}");
        if let DeviceEvent::Reading(reading) = house.event().await
            && !reading.fields.is_empty()
        {
            silent.remove(&reading.device);
        }
    }
    sleep(Duration::from_secs(30)).await;
    for spec in &specs {
        let report = house.report(spec.id.as_str());
        assert_eq!(report.fault, None, "{}", spec.id);
        assert_eq!(report.availability, Availability::Online, "{}", spec.id);
    }
    assert!(house.published.try_recv().is_err(), "something was published");
}

#[tokio::test(start_paused = true)]
async fn what_is_measured_moves_and_every_field_of_the_options_is_told() {
    let mut house = House::of(Fleet::simulated(&whole_house()).unwrap(), HashMap::new());
    let mut seen: HashMap<String, BTreeSet<String>> = HashMap::new();
    let end = Instant::now() + Duration::from_secs(300);
    while Instant::now() < end {
        if let DeviceEvent::Reading(reading) = house.event().await {
            for (field, value) in reading.fields {
                seen.entry(format!("{} {field}", reading.device)).or_default().insert(value.to_string());
            }
        }
    }
    for (field, moves) in [
        ("kettle voltage", true),
        ("heater state", false),
        ("boiler state", false),
        ("boiler temperature", true),
        ("boiler mode", false),
        ("boiler setpoint", false),
        ("p1 power", true),
        ("p1 energy_import_total", true),
        ("p1 reactive", false),
        ("sml power", true),
        ("sml hertz", false),
        ("mode_d power", true),
        ("mode_c power", true),
        ("heatpump outside", true),
        ("heatpump energy", true),
        ("heatpump setpoint", false),
        ("heatpump flow", false),
        ("heatpump alarm", true),
        ("pump speed", false),
        ("dust pm1", true),
        ("dust temperature", true),
        ("level level", true),
        ("projector hours", true),
        ("station value", true),
    ] {
        let values = seen.get(field).unwrap_or_else(|| panic!("`{field}` was never told"));
        assert_eq!(values.len() > 1, moves, "{field}: {values:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_plug_takes_commands_and_leaves_the_lan_alone() {
    let mut house = House::of(Fleet::simulated(&[plug()]).unwrap(), HashMap::new());
    assert_eq!(house.availability().await, Availability::Online);
    for word in ["ON", "OFF"] {
        let answer = status(house.send("plug", json!({"state": word}), LIFE)).await;
        assert_eq!(answer, (OutcomeStatus::Applied, format!("the relay shows {word}")));
    }
    while !house.reading().await.fields.contains_key("energy_total") {}
    assert!(house.published.try_recv().is_err(), "something was published");
}
