//! Whether the names of the house can be told to Homie controllers. Where that is off, nothing is looked at.

use std::collections::HashMap;

use super::super::{Config, Finding, homie::homie_device};
use crate::model::HomieId;

pub(super) fn all(config: &Config) -> Vec<Finding> {
    if !config.homie.enabled {
        return Vec::new();
    }
    domain(config).into_iter().chain(names(config)).collect()
}

fn domain(config: &Config) -> Option<Finding> {
    let domain = config.homie.domain.as_str();
    let of_convention = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let what = if domain == "home" {
        "the devices' own topics are below `home`"
    } else if !domain.bytes().all(of_convention) {
        "a Homie domain is one level of a topic, of `a-z`, `0-9` and `-`"
    } else if domain.len() > 64 {
        "this domain is too long"
    } else {
        return None;
    };
    Some(Finding::new("homie.domain", what, "write `homie`, or a word of up to 64 characters of your own"))
}

/// Two names that come to one id would be one device to everybody there.
fn names(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut owners: HashMap<HomieId, String> = HashMap::new();
    let unnamable = |at: String, name: &str| {
        let what = format!("`{name}` has neither a letter nor a digit, so there is no Homie id for it");
        Finding::new(at, what, "choose another id, or set `homie.enabled` to `false`")
    };
    match config.homie_root() {
        Some(id) => drop(owners.insert(id, format!("the gateway `{}`", config.gateway.id))),
        None => findings.push(unnamable("gateway.id".to_owned(), config.gateway.id.as_str())),
    }
    for (index, device) in config.devices.iter().enumerate() {
        let at = format!("devices[{index}].id");
        let Some(id) = homie_device(&device.id) else {
            findings.push(unnamable(at, device.id.as_str()));
            continue;
        };
        let own = format!("the device `{}`", device.id);
        match owners.get(&id) {
            // That an id stands twice is said elsewhere.
            Some(owner) if *owner == own => {}
            Some(owner) => {
                let what =
                    format!("{owner} and {own} would both be `{id}` in Homie, which has no other letters");
                let remedy = "choose another id, or set `homie.enabled` to `false`";
                findings.push(Finding::new(at, what, remedy));
            }
            None => drop(owners.insert(id, own)),
        }
    }
    findings
}
