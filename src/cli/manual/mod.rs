//! What the command line says of itself to other programs: the configuration's JSON Schema, completions for shells,
//! manual pages.
//!
//! The date on a manual page is `SOURCE_DATE_EPOCH`, as whoever makes a package sets it; without it there is none, for
//! today's would make two builds of one version differ.

mod commands;
mod file;
mod page;

use std::{env, fs, path::PathBuf};

use clap::{Args, Command, Subcommand};
use clap_complete::Shell;
use time::OffsetDateTime;

use super::{Exit, say::say};
use crate::{config, devices::KINDS};

#[derive(Debug, Args)]
pub(super) struct ConfigArguments {
    #[command(subcommand)]
    action: ConfigAction,
}

#[derive(Debug, Subcommand)]
enum ConfigAction {
    /// Print the configuration's JSON Schema, for editors that complete and check YAML.
    Schema,
}

/// `config schema`.
pub(super) fn config(arguments: &ConfigArguments) -> Exit {
    match arguments.action {
        ConfigAction::Schema => {
            let schema = config::json_schema(KINDS.iter().map(|kind| (kind.name, kind.about)));
            // Of a value that is JSON already.
            say(format_args!("{schema:#}"));
            Exit::Success
        }
    }
}

/// `completions SHELL`.
pub(super) fn completions(shell: Shell, mut command: Command) -> Exit {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, "hearthlink", &mut text);
    say(String::from_utf8_lossy(&text).trim_end());
    Exit::Success
}

/// Where manual pages go.
#[derive(Debug, Args)]
pub(super) struct ManArguments {
    /// A directory for a page of each command; made when it is missing.
    #[arg(value_name = "DIRECTORY")]
    directory: PathBuf,
}

/// `man DIRECTORY`: sections 8 and 5. Nothing in them is of this moment or this machine.
pub(super) fn man(arguments: &ManArguments, mut command: Command) -> Exit {
    command.build();
    let date = env::var("SOURCE_DATE_EPOCH").ok().and_then(|seconds| day(&seconds)).unwrap_or_default();
    let mut pages = commands::pages(&command, &date);
    pages.push(("hearthlink.5".to_owned(), file::settings(&date)));
    pages.push(("hearthlink-devices.5".to_owned(), file::devices(&date)));
    let directory = &arguments.directory;
    let write = || {
        fs::create_dir_all(directory)?;
        pages.iter().try_for_each(|(name, text)| fs::write(directory.join(name), text))
    };
    match write() {
        Ok(()) => Exit::Success,
        Err(error) => {
            eprintln!("hearthlink: failed to write manual pages to {}: {error}.", directory.display());
            Exit::Failure
        }
    }
}

/// The day of a time in seconds since 1970, in UTC.
fn day(seconds: &str) -> Option<String> {
    let time = OffsetDateTime::from_unix_timestamp(seconds.trim().parse().ok()?).ok()?;
    let date = time.date();
    Some(format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day()))
}
