//! Loading a configuration for a command: with the devices' own checks, errors shown to a person.

use std::{
    env,
    io::{self, IsTerminal},
    path::Path,
};

use super::Exit;
use crate::{
    app::Hardware,
    config::{Config, ConfigError, Finding, Loader},
    devices::{self, Checker, DeviceError, DeviceSpec},
    model::Request,
};

/// Loads and checks; what is wrong, and what a person should know, is shown on standard error.
///
/// # Errors
/// [`Exit::Config`].
pub(super) fn load(path: &Path, hardware: Hardware) -> Result<Config, Exit> {
    let (config, warnings) = examine(path, hardware).map_err(|error| show(&error))?;
    if let Some(warnings) = warnings {
        show(&warnings);
    }
    Ok(config)
}

/// Reads it without the checks: its files may be another machine's, or not ours to read. What is wrong is shown.
///
/// # Errors
/// [`Exit::Config`].
pub(super) fn shape(path: &Path) -> Result<Config, Exit> {
    Loader::new(path).shape_only().load().map_err(|error| show(&error))
}

/// The same as [`load`], and shows nothing; beside the configuration what a person should know of it.
///
/// # Errors
/// Everything that is wrong.
pub(super) fn examine(path: &Path, hardware: Hardware) -> Examined {
    let check = |config: &Config| check_devices(config, hardware);
    let mut loader = Loader::new(path).check(&check);
    if hardware == Hardware::Simulated {
        loader = loader.files_elsewhere();
    }
    loader.load_and_warn()
}

/// What [`examine`] says, and what a person should know beside it.
pub(super) type Examined = Result<(Config, Option<ConfigError>), ConfigError>;

/// The same as [`examine`] on a thread of its own, for a disk that hangs must not stop what else is done.
///
/// # Errors
/// It panicked.
pub(super) async fn examine_aside(
    path: &Path,
    hardware: Hardware,
) -> Result<Examined, tokio::task::JoinError> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || examine(&path, hardware)).await
}

/// Shows what is wrong, in colours where there is somebody to see them.
pub(super) fn show(error: &ConfigError) -> Exit {
    let in_colour =
        io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    eprintln!("{}", error.render(in_colour));
    Exit::Config
}

fn check_devices(config: &Config, hardware: Hardware) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut own = Vec::new();
    let mut checker = Checker::default();
    let mut are_good = true;
    let mut chips = Vec::new();
    for (index, device) in config.devices.iter().enumerate() {
        let options = serde_json::Value::Object(device.options.clone());
        let spec = DeviceSpec { id: device.id.clone(), kind: device.kind.clone(), options };
        let at = format!("devices[{index}]");
        match checker.check(&spec) {
            Ok(claims) => {
                own.extend(claims.topics.into_iter().map(|topic| (&device.id, topic)));
                // A simulated one needs no port.
                let ports = claims.port.iter().filter(|_| hardware == Hardware::Real);
                let doubts = ports.flat_map(|port| devices::doubts(port));
                findings.extend(doubts.map(|doubt| {
                    let remedy = "name it as it stands below /dev/serial/by-id when it is plugged in";
                    Finding::new(format!("{at}.options.port"), doubt, remedy).warning()
                }));
                // Once for all the devices of a chip.
                let chip = claims.chip.filter(|chip| !chips.contains(chip));
                let doubt = chip.as_ref().and_then(devices::chip_doubts);
                chips.extend(chip);
                findings.extend(doubt.map(|doubt| {
                    let named = if device.options.contains_key("chip") { ".chip" } else { "" };
                    let remedy = "this machine may be another than the one that it is for";
                    Finding::new(format!("{at}.options{named}"), doubt, remedy).warning()
                }));
            }
            Err(error) => {
                findings.push(finding(&at, error));
                are_good = false;
                continue;
            }
        }
        // Found out when the line is lost, it would be too late.
        let safe = device.on_line_lost.as_ref().and_then(|rule| Request::from_fields(rule.set.clone()).ok());
        findings.extend(
            safe.and_then(|request| Some(finding(&at, devices::check_request(&spec, &request).err()?))),
        );
    }
    // Of a device that is wrong itself, others would only say that it is not there.
    let complaints = if are_good { checker.complaints() } else { Vec::new() };
    findings.extend(complaints.into_iter().map(|error| {
        let place = |id: &crate::model::DeviceId| config.devices.iter().position(|device| device.id == *id);
        let index = match &error {
            DeviceError::BadOption { device, .. } => place(device),
            _ => None,
        };
        finding(&index.map_or_else(|| "devices".to_owned(), |index| format!("devices[{index}]")), error)
    }));
    let spoken = config.homie_own();
    findings.extend(own.iter().filter_map(|(device, topic)| {
        let tree = spoken.iter().find(|tree| tree.overlaps(topic))?;
        let index = config.devices.iter().position(|other| other.id == **device)?;
        let what = format!("`{topic}` lies below `{tree}`, where only the gateway speaks for Homie");
        let remedy =
            "choose another id for this device, another `homie.domain`, or set `homie.enabled` to `false`";
        Some(Finding::new(format!("devices[{index}].options"), what, remedy))
    }));
    let routes = config.routes_in.iter().enumerate();
    findings.extend(routes.filter_map(|(index, route)| {
        let reach = config.reach_at_home(route)?;
        let (device, topic) = own.iter().find(|(_, topic)| reach.overlaps(topic))?;
        let what = format!(
            "`{reach}` at home would speak to or for the device `{device}` on `{topic}`, past the allow-list"
        );
        let remedy = "choose another tree; what the cloud may set on a device stands in `commands.allow`";
        Some(Finding::new(format!("routes_in[{index}].local"), what, remedy))
    }));
    findings
}

/// The device's error at its place, cut into what is wrong and what to do.
fn finding(at: &str, error: DeviceError) -> Finding {
    let remedy = |nearest: Option<&str>, known: &[&str]| match nearest {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("known here: {}", known.join(", ")),
    };
    match &error {
        DeviceError::UnknownKind { kind, nearest, known, .. } => {
            Finding::new(format!("{at}.kind"), format!("there is no kind `{kind}`"), remedy(*nearest, known))
        }
        DeviceError::UnknownOption { kind, option, nearest, allowed, .. } => {
            let what = format!("the kind `{kind}` has no option `{option}`");
            Finding::new(format!("{at}.options.{option}"), what, remedy(*nearest, allowed)).on_key()
        }
        DeviceError::BadOption { option, problem, .. } if option == "." => {
            Finding::new(format!("{at}.options"), problem.clone(), "")
        }
        DeviceError::BadOption { option, problem, .. } => {
            Finding::new(format!("{at}.options.{option}"), format!("`{option}`: {problem}"), "")
        }
        DeviceError::Impossible { field, problem, .. } => {
            let what = format!("`{field}` cannot be set so: {problem}");
            Finding::new(format!("{at}.on_line_lost.set.{field}"), what, "write what the device takes")
        }
        DeviceError::DuplicateId { .. } | DeviceError::Unreadable { .. } | DeviceError::Unread { .. } => {
            Finding::new(at, error.to_string(), "")
        }
    }
}
