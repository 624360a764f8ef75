//! What the command line says of itself to other programs: the configuration's JSON Schema, completions for shells,
//! manual pages.

use std::{fs, io, path::PathBuf};

use clap::{Args, Command, Subcommand};
use clap_complete::Shell;

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

/// `man DIRECTORY`.
pub(super) fn man(arguments: &ManArguments, command: Command) -> Exit {
    let directory = &arguments.directory;
    let written: io::Result<()> =
        fs::create_dir_all(directory).and_then(|()| clap_mangen::generate_to(command, directory));
    match written {
        Ok(()) => Exit::Success,
        Err(error) => {
            eprintln!("hearthlink: failed to write manual pages to {}: {error}.", directory.display());
            Exit::Failure
        }
    }
}
