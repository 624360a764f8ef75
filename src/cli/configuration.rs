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
        Some(finding(&format!("devices[{index}]"), devices::check(&spec).err()?))
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
        DeviceError::DuplicateId { .. } | DeviceError::Unreadable { .. } | DeviceError::Impossible { .. } => {
            Finding::new(at, error.to_string(), "")
        }
    }
}
