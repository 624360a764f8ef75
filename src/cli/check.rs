//! `check`: the verdict on a configuration, in one line when it is good.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::{DEFAULT_FILE, Exit, configuration, hardware, say::say};
use crate::{
    app::{Hardware, store_file},
    config::{Config, ConfigError, Problem},
    store::refuse_later_store,
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,
    /// Say whether it is good for `run --simulate`: ports, certificates and keys may be missing.
    #[arg(long)]
    simulate: bool,
    /// Print the verdict as JSON, with every problem and its place.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let (path, hardware) = (&arguments.config, hardware(arguments.simulate));
    if arguments.json {
        return in_json(path, hardware);
    }
    match configuration::load(path, hardware) {
        Ok(config) => {
            say(format_args!("{} is good: {}.", path.display(), summary(&config)));
            // Not the configuration's fault, and yet nothing would be kept.
            if let Err(error) = refuse_later_store(&store_file(&config)) {
                eprintln!("hearthlink: {error}");
            }
            Exit::Success
        }
        Err(exit) => exit,
    }
}

fn in_json(path: &Path, hardware: Hardware) -> Exit {
    let (is_good, found) = match configuration::examine(path, hardware) {
        Ok((_, warnings)) => (true, warnings),
        Err(error) => (false, Some(error)),
    };
    let problems: Vec<Value> = found.iter().flat_map(ConfigError::problems).map(problem).collect();
    say(json!({ "good": is_good, "problems": problems }));
    if is_good { Exit::Success } else { Exit::Config }
}

fn problem(problem: &Problem) -> Value {
    let (line, column) = problem.line_and_column().unzip();
    json!({
        "what": problem.what(),
        "remedy": problem.remedy(),
        "place": problem.place(),
        "line": line,
        "column": column,
        "warning": problem.is_warning(),
        "see": problem.paragraph(),
    })
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
