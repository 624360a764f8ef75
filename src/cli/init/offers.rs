//! What a first configuration may have for devices: what was found on this machine, and what needs nothing to be found.
//!
//! Owns ids, options and the words about each. Invariants: ids are unique and valid; what can be taken makes a
//! configuration that is good, whatever else is taken; what needs something that only a person knows (what hangs on a pin, a
//! key) is never taken, only shown as an example.

use std::{collections::BTreeSet, path::Path};

use crate::{
    devices::survey::{FoundChip, FoundSensor, Survey},
    model::DeviceId,
};

/// The topic of the device that stands for any device with MQTT.
pub(super) const SENSOR_TOPIC: &str = "sensor/state";
/// Its id.
pub(super) const SENSOR: &str = "sensor";

/// A device that the configuration may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) id: String,
    pub(super) kind: &'static str,
    /// Its options as YAML in one line; empty for none.
    pub(super) options: String,
    /// What it is, for the list and for the file. One line.
    pub(super) about: String,
    pub(super) taking: Taking,
}

/// Whether it is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taking {
    /// Unless somebody says otherwise.
    ByDefault,
    /// If somebody says so.
    OnDemand,
    /// By a person with an editor.
    ByHand,
}

/// Everything that can be offered. What is simulated is taken by default where `wants_simulated`.
pub(super) fn offers(survey: &Survey, wants_simulated: bool) -> Vec<Offer> {
    let mut offers = Vec::new();
    offers.push(Offer {
        id: SENSOR.to_owned(),
        kind: "lan",
        options: format!("{{ state_topic: {SENSOR_TOPIC} }}"),
        about: format!("any device that speaks MQTT: it is what it publishes on {SENSOR_TOPIC}"),
        taking: Taking::ByDefault,
    });
    offers.push(Offer {
        id: "thermometer".to_owned(),
        kind: "thermometer",
        options: String::new(),
        about: "simulated, to have something to look at".to_owned(),
        taking: if wants_simulated { Taking::ByDefault } else { Taking::OnDemand },
    });
    offers.extend(survey.sensors.iter().map(sensor));
    offers.extend(survey.serial_ports.iter().map(|port| serial(port)));
    offers.extend(survey.chips.iter().map(|chip| relay(chip, survey)));
    let mut taken = BTreeSet::new();
    for offer in &mut offers {
        offer.id = unique(&offer.id, &mut taken);
    }
    offers
}

fn sensor(found: &FoundSensor) -> Offer {
    let FoundSensor { address, kind, name, is_plain } = found;
    let known = name.as_ref().map_or(String::new(), |name| format!("`{}`, ", name.replace('`', "'")));
    let [.., before, last] = address.0;
    let (key, taking, seal) = if *is_plain {
        ("", Taking::ByDefault, "")
    } else {
        (", bind_key_file: bind-key", Taking::ByHand, "; what it says is encrypted: put its key into a file")
    };
    Offer {
        id: format!("{kind}-{before:02x}{last:02x}"),
        kind,
        options: format!("{{ address: \"{address}\"{key} }}"),
        about: format!("Bluetooth sensor {known}heard at {address}{seal}"),
        taking,
    }
}

fn serial(port: &Path) -> Offer {
    let port = port.display();
    Offer {
        id: "serial".to_owned(),
        kind: "serial_line",
        options: format!("{{ port: {} }}", quoted(&port.to_string())),
        about: format!(
            "serial port {port}, as lines of JSON; or a meter, Modbus, frames: docs/devices/serial.md"
        ),
        taking: Taking::OnDemand,
    }
}

fn relay(chip: &FoundChip, survey: &Survey) -> Offer {
    let FoundChip { path, label, lines, is_of_pi } = chip;
    let has_own_label = survey.chips.iter().filter(|other| other.label == *label).count() == 1;
    let pin = if *is_of_pi { 17 } else { 0 };
    // The Pi's own has no name only where nothing else could be taken for it.
    let chip = if *is_of_pi && survey.chips.len() == 1 {
        String::new()
    } else if has_own_label && !label.is_empty() {
        format!(", chip: {{ label: {} }}", quoted(label))
    } else {
        format!(", chip: {}", quoted(&path.display().to_string()))
    };
    let options = format!("{{ pin: {pin}{chip} }}");
    let label: String = label.chars().filter(|character| !character.is_control()).collect();
    Offer {
        id: "relay".to_owned(),
        kind: "gpio_output",
        options,
        about: format!(
            "a relay on one of the {lines} lines of the GPIO chip {label} ({}); or an input, a counter, a dimmer: \
             docs/devices/gpio.md",
            path.display()
        ),
        taking: Taking::ByHand,
    }
}

/// A text as YAML takes it in any place: JSON's are.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The id, with a number behind it where it is taken.
fn unique(id: &str, taken: &mut BTreeSet<String>) -> String {
    let numbered = (2..).map(|number| format!("{id}-{number}"));
    let mut ids = std::iter::once(id.to_owned()).chain(numbered);
    // There is always one: the numbers do not end.
    let free = ids.find(|id| !taken.contains(id)).unwrap_or_default();
    debug_assert!(DeviceId::parse(&free).is_ok(), "{free}");
    taken.insert(free.clone());
    free
}

/// The offers that an answer means, by their place: `all`, `none`, or ids and numbers from 1 with commas.
///
/// # Errors
/// What cannot be understood, and what there is.
pub(super) fn chosen(answer: &str, offers: &[Offer]) -> Result<Vec<usize>, String> {
    let possible = |place: &usize| offers[*place].taking != Taking::ByHand;
    match answer {
        "none" => return Ok(Vec::new()),
        "all" => return Ok((0..offers.len()).filter(possible).collect()),
        _ => {}
    }
    let mut places = BTreeSet::new();
    for word in answer.split([',', ' ']).filter(|word| !word.is_empty()) {
        let by_number = word.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        let place = offers.iter().position(|offer| offer.id == word).or(by_number);
        match place.filter(|place| *place < offers.len()) {
            Some(place) if possible(&place) => drop(places.insert(place)),
            Some(place) => {
                let id = &offers[place].id;
                return Err(format!(
                    "`{id}` needs something that only you know; it will stand in the file as an example"
                ));
            }
            None => {
                let ids: Vec<&str> = offers.iter().map(|offer| offer.id.as_str()).collect();
                return Err(format!(
                    "`{word}` is none of them\nwrite `all`, `none`, or some of {}",
                    ids.join(", ")
                ));
            }
        }
    }
    Ok(places.into_iter().collect())
}

/// What is taken unless somebody says otherwise, as an answer.
pub(super) fn default(offers: &[Offer]) -> String {
    let taken = offers.iter().filter(|offer| offer.taking == Taking::ByDefault);
    let ids: Vec<&str> = taken.map(|offer| offer.id.as_str()).collect();
    if ids.is_empty() { "none".to_owned() } else { ids.join(",") }
}
