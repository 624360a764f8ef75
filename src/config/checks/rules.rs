//! The rules about commands: conditions of the allow-list that can be met, safe states that can be asked for.

use std::time::Duration;

use super::{Finding, between};
use crate::config::{Allow, Config, OnLineLost, Quiet};

const DAY: Duration = Duration::from_secs(24 * 3600);
const SECOND: Duration = Duration::from_secs(1);

/// What a payload says about the command itself, so that no field of a device can be set by that name.
const ABOUT_THE_COMMAND: [&str; 4] = ["id", "at", "ttl", "expires_at"];

pub(super) fn conditions(config: &Config) -> Vec<Finding> {
    let entries = config.commands.allow.iter().enumerate();
    entries.flat_map(|(index, allow)| condition(&format!("commands.allow[{index}]"), allow)).collect()
}

fn condition(at: &str, allow: &Allow) -> Vec<Finding> {
    let mut findings = Vec::new();
    if allow.senders.as_ref().is_some_and(Vec::is_empty) {
        let what = "an empty list of senders allows nobody";
        findings.push(Finding::new(format!("{at}.senders"), what, "name them, or leave `senders` out"));
    }
    if let Some(rate) = &allow.rate {
        findings.extend(between(&format!("{at}.rate.count"), rate.count, 1, 1000));
        findings.extend(between(&format!("{at}.rate.per"), rate.per, SECOND, DAY));
    }
    for (index, quiet) in allow.quiet.iter().enumerate() {
        findings.extend(hours(&format!("{at}.quiet"), index, allow.quiet.len(), quiet));
    }
    findings
}

fn hours(at: &str, index: usize, count: usize, quiet: &Quiet) -> Option<Finding> {
    let Quiet { from, to, .. } = quiet;
    let midnight = from.to_string() == "24:00";
    let (what, remedy) = if from == to {
        (
            format!("nothing lies between {from} and {to}"),
            "for the whole day write `from: \"00:00\", to: \"24:00\"`",
        )
    } else if midnight {
        ("no quiet hours begin at the end of a day".to_owned(), "write `from: \"00:00\"`")
    } else {
        return None;
    };
    // One alone may be written without the brackets of a list.
    let at = if count == 1 { at.to_owned() } else { format!("{at}[{index}]") };
    Some(Finding::new(at, what, remedy))
}

pub(super) fn safe_states(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, device) in config.devices.iter().enumerate() {
        let Some(OnLineLost { after, set }) = &device.on_line_lost else { continue };
        let at = format!("devices[{index}].on_line_lost");
        if config.cloud.is_none() {
            let what = "there is no line that could be lost";
            findings.push(Finding::new(&at, what, "take `on_line_lost` out, or add the section `cloud`"));
        }
        findings.extend(between(&format!("{at}.after"), *after, SECOND, 7 * DAY));
        if set.is_empty() {
            let remedy = "name the fields and their values, for example `set: { state: \"OFF\" }`";
            findings.push(Finding::new(format!("{at}.set"), "this sets nothing", remedy));
        }
        if let Some(name) = ABOUT_THE_COMMAND.iter().find(|name| set.contains_key(**name)) {
            let what = format!("`{name}` is about a command and no field of a device");
            findings.push(Finding::new(format!("{at}.set.{name}"), what, "take it out").on_key());
        }
    }
    findings
}
