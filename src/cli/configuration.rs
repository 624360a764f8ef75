//! Loading a configuration for a command: with the devices' own checks, errors shown to a person.

use std::{
    env,
    io::{self, IsTerminal},
    path::Path,
};

use super::Exit;
use crate::{
    config::{Config, ConfigError, Finding, Loader},
    devices::{self, DeviceError, DeviceSpec},
    model::Request,
};

/// Loads and checks; what is wrong is shown on standard error.
///
/// # Errors
/// [`Exit::Config`].
pub(super) fn load(path: &Path) -> Result<Config, Exit> {
    Loader::new(path).check(&check_devices).load().map_err(|error| show(&error))
}

/// Shows what is wrong, in colours where there is somebody to see them.
pub(super) fn show(error: &ConfigError) -> Exit {
    let in_colour =
        io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    eprintln!("{}", error.render(in_colour));
    Exit::Config
}

fn check_devices(config: &Config) -> Vec<Finding> {
    let check = |(index, device): (usize, &crate::config::Device)| {
        let options = serde_json::Value::Object(device.options.clone());
        let spec = DeviceSpec { id: device.id.clone(), kind: device.kind.clone(), options };
        let at = format!("devices[{index}]");
        if let Err(error) = devices::check(&spec) {
            return Some(finding(&at, error));
        }
        // Found out when the line is lost, it would be too late.
        let set = &device.on_line_lost.as_ref()?.set;
        let request = Request::from_fields(set.clone()).ok()?;
        Some(finding(&at, devices::check_request(&spec, &request).err()?))
    };
    config.devices.iter().enumerate().filter_map(check).collect()
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
        DeviceError::DuplicateId { .. } | DeviceError::Unreadable { .. } => {
            Finding::new(at, error.to_string(), "")
        }
    }
}
