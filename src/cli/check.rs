//! `check`: the verdict on a configuration, in one line when it is good.

use std::path::Path;

use super::{Exit, configuration};
use crate::{app::Hardware, config::Config};

pub(super) fn run(path: &Path, hardware: Hardware) -> Exit {
    match configuration::load(path, hardware) {
        Ok(config) => {
            super::say::say(format_args!("{} is good: {}.", path.display(), summary(&config)));
            Exit::Success
        }
        Err(exit) => exit,
    }
}

/// What a configuration comes to, in one line.
pub(super) fn summary(config: &Config) -> String {
    let cloud = config.cloud.as_ref().map_or("no cloud".to_owned(), |cloud| format!("cloud {}", cloud.url));
    let count =
        |number: usize, one: &str, many: &str| format!("{number} {}", if number == 1 { one } else { many });
    format!(
        "gateway {}, {cloud}, {}, {} at home, {} for commands from the cloud, {}",
        config.gateway.id,
        count(config.devices.len(), "device", "devices"),
        count(config.broker.listeners.len(), "listener", "listeners"),
        count(config.commands.allow.len(), "permission", "permissions"),
        config
            .web
            .as_ref()
            .map_or("no status page".to_owned(), |web| format!("status page at {}", web.address)),
    )
}
