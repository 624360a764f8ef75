//! The other people's decoders, and what their names and units are in our words.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    thread,
};

use serde_json::{Value, json};

use super::{
    adverts::{Case, hexadecimal},
    ours::{Known, same},
};

/// What a decoder knows after each advertisement of each case.
pub fn ask(oracle: &str, cases: &[Case]) -> Vec<Vec<Value>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/bthome");
    let mut process = Command::new(folder.join("venv/bin/python"))
        .arg(folder.join("oracle.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("the decoders in {}: {error}; `.ci/run` installs them", folder.display())
        });
    let mut input = process.stdin.take().unwrap();
    let answers = BufReader::new(process.stdout.take().unwrap());
    let question = |case: &Case| {
        let adverts: Vec<Value> = (case.adverts.iter())
            .map(|advert| {
                json!({"address": advert.address, "data": hexadecimal(&advert.data), "at": advert.at,
                       "name": advert.name})
            })
            .collect();
        format!("{}\n", json!({"oracle": oracle, "key": case.key, "adverts": adverts}))
    };
    let questions: Vec<String> = cases.iter().map(question).collect();
    // Beside the reading: pipes hold little.
    let writer =
        thread::spawn(move || questions.iter().for_each(|text| input.write_all(text.as_bytes()).unwrap()));
    let answers: Vec<Vec<Value>> =
        answers.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    writer.join().unwrap();
    assert!(process.wait().unwrap().success());
    assert_eq!(answers.len(), cases.len());
    answers
}

/// Their field in our words, with our value for theirs; `None` for what we do not take.
type Translated = Option<(String, Value)>;

fn on_or_off(value: &Value) -> Value {
    if value == &json!(true) { json!("ON") } else { json!("OFF") }
}

fn of_bthome(key: &str, value: &Value, unit: Option<&str>) -> Translated {
    let (is_binary, key) = key.strip_prefix("binary:").map_or((false, key), |key| (true, key));
    // Where there are several of a name they number them from 1 on; our first one has no number.
    let (base, number) = match key.rsplit_once('_') {
        Some((base, number)) if number.bytes().all(|digit| digit.is_ascii_digit()) => (base, number),
        _ => (key, ""),
    };
    let base = match (is_binary, base, unit) {
        (true, "battery", _) => "battery_low",
        (true, "power", _) => "power_on",
        (true, "gas", _) => "gas_detected",
        (true, "moisture", _) => "moisture_detected",
        (false, "mass", Some("lb")) => "mass_lb",
        (false, "distance", Some("mm")) => "distance_mm",
        (false, "volume", Some("mL")) => "volume_ml",
        // It folds repetitions, and the rows show that it does.
        (false, "packet_id", _) => return None,
        (_, base, _) => base,
    };
    let field = if ["", "1"].contains(&number) { base.to_owned() } else { format!("{base}_{number}") };
    Some((field, if is_binary { on_or_off(value) } else { value.clone() }))
}

fn of_mibeacon(case: &Case, key: &str, value: &Value) -> Translated {
    let word = |word: &str| Some((word.to_owned(), on_or_off(value)));
    match key {
        // They reckon it from the per cents.
        "voltage" => None,
        "binary:moisture" => word("moisture_detected"),
        "binary:battery" => word("battery_low"),
        // A remote control is not on because its button for it was pressed.
        "binary:power" if case.name == "test_Xiaomi_YLYK01YL" => None,
        "binary:power" => word("power_on"),
        "charging_state" => {
            let words = value.as_str()?.to_lowercase().replace(' ', "_");
            Some((key.to_owned(), words.into()))
        }
        _ => match key.strip_prefix("binary:") {
            Some(key) => word(key),
            None => Some((key.to_owned(), value.clone())),
        },
    }
}

fn in_volts(millivolts: &Value) -> Value {
    millivolts.as_f64().map_or(Value::Null, |millivolts| json!(millivolts / 1000.0))
}

fn of_ruuvi(key: &str, value: &Value) -> Translated {
    let value = match key {
        "voltage" => in_volts(value),
        // "Not available" in the data sheet.
        "movement_counter" if value == &json!(255) => Value::Null,
        _ => value.clone(),
    };
    Some((key.to_owned(), value))
}

fn of_theengs(key: &str, value: &Value) -> Translated {
    let field = match key {
        "tempc" => "temperature",
        "hum" => "humidity",
        "batt" => "battery",
        "volt" => "voltage",
        "pres" => "pressure",
        "mov" => "movement_counter",
        "seq" => "measurement_sequence",
        "tx" => "tx_power",
        "lux" => "illuminance",
        "moi" => "moisture",
        "fer" => "conductivity",
        "for" => "formaldehyde",
        // Its own words about the device, the same in other units, and accelerations in tenths of m/s².
        _ => return None,
    };
    Some((field.to_owned(), value.clone()))
}

fn translated(oracle: &str, case: &Case, key: &str, value: &Value) -> Translated {
    let (value, unit) = (&value[0], value[1].as_str());
    match oracle {
        "bthome" => of_bthome(key, value, unit),
        "mibeacon" => of_mibeacon(case, key, value),
        "ruuvi" => of_ruuvi(key, value),
        "atc" => {
            let field = match key {
                "battery_level" => "battery",
                "battery_v" => "voltage",
                key => key,
            };
            Some((field.to_owned(), value.clone()))
        }
        _ => of_theengs(key, value),
    }
}

/// How far a number may be off, and why.
fn tolerance(oracle: &str, case: &Case, field: &str, ours: &Value, theirs: &Value) -> f64 {
    match (oracle, field) {
        // Of two thermometers they cut off the decimals.
        ("mibeacon", "humidity") if theirs.is_i64() && ours.as_f64().map(f64::floor) == theirs.as_f64() => {
            1.0
        }
        // They leave the noise of 32-bit floats.
        ("mibeacon", "illuminance") => 0.005,
        // A root, of numbers that were rounded.
        ("ruuvi", "acceleration_total") => 0.01,
        // It does not round.
        ("theengs_ruuvi", "temperature" | "humidity" | "pressure") => 0.005 + 1e-9,
        _ if case.kind == "atc" => 1e-9,
        _ => 0.0,
    }
}

/// How many values are the same.
///
/// # Errors
/// What differs, for people.
pub fn differences(oracle: &str, case: &Case, ours: &Known, theirs: &Value) -> Result<usize, String> {
    if let Some(error) = theirs.get("error") {
        return Err(format!("they gave up: {error}; ours {:?}", ours.state));
    }
    let mut count = 0;
    let mut seen = BTreeSet::new();
    for (key, value) in theirs["state"].as_object().unwrap() {
        let Some((field, value)) = translated(oracle, case, key, value) else { continue };
        let own = ours.state.get(&field);
        let is_same = own.is_some_and(|own| same(own, &value, tolerance(oracle, case, &field, own, &value)));
        if !is_same {
            return Err(format!("`{field}`: theirs {value}, ours {own:?}"));
        }
        count += 1;
        seen.insert(field);
    }
    // Theengs knows what it knows, and nothing of what happens.
    if oracle.starts_with("theengs") {
        return Ok(count);
    }
    let more = |field: &&String| !seen.contains(*field) && !is_more(oracle, field);
    if let Some(field) = ours.state.keys().find(more) {
        return Err(format!("`{field}`: only ours, {}", ours.state[field]));
    }
    let mut happened = serde_json::Map::new();
    for (field, event) in theirs["events"].as_object().unwrap() {
        let field = match (oracle, field.as_str()) {
            ("mibeacon", "motion") => "motion_event",
            ("mibeacon", "button_M") => "button_m",
            (_, field) => field.strip_suffix("_1").unwrap_or(field),
        };
        happened.insert(field.to_owned(), event[0].clone());
        for (name, value) in event[1].as_object().into_iter().flatten() {
            happened.insert(format!("{field}_{name}"), value.clone());
        }
    }
    count += happened.len();
    if happened == ours.events {
        Ok(count)
    } else {
        Err(format!("events: theirs {happened:?}, ours {:?}", ours.events))
    }
}

/// What we tell and they do not.
fn is_more(oracle: &str, field: &str) -> bool {
    oracle == "ruuvi" && ["tx_power", "measurement_sequence"].contains(&field)
}
