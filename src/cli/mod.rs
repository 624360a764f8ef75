//! What a person types: `init`, `run`, `check`, `status`, `devices`, `send` and so on; docs/cli.md has them all.
//!
//! Owns the command line, its exit codes and the set-up of the log. Holds no logic of the gateway.

mod check;
mod configuration;
mod devices;
mod doctor;
mod enroll;
mod exit;
mod first_start;
mod fresh;
mod gateway;
mod hash_password;
mod http;
mod init;
mod logging;
mod manual;
mod password;
mod progress;
mod question;
mod queue;
mod reread;
mod reset;
mod run;
mod say;
mod send;
mod service;
mod status;
mod user;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand};

pub use exit::Exit;

use crate::app::Hardware;

/// Where the configuration is when nobody says otherwise.
const DEFAULT_FILE: &str = "/etc/hearthlink/config.yaml";

/// A home-side gateway: one outbound MQTT connection, a durable queue, commands that run once or not at all.
#[derive(Debug, Parser)]
#[command(name = "hearthlink", version, after_help = exit::help())]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a first configuration: five questions, and what hangs on this machine.
    Init(init::Arguments),
    /// Run the gateway until SIGTERM or Ctrl-C.
    Run {
        /// The configuration.
        #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
        config: PathBuf,
        /// Run on a machine without the hardware: every device is simulated, and nothing is kept.
        #[arg(long)]
        simulate: bool,
        /// Where the page is that says what to write, while there is no configuration. On loopback.
        #[arg(long, value_name = "ADDRESS", default_value_t = first_start::ADDRESS, conflicts_with = "simulate")]
        guide: SocketAddr,
        /// Dial the cloud all the same; the real gateway of this name loses its line to the simulated one.
        #[arg(long, requires = "simulate")]
        with_cloud: bool,
    },
    /// Say whether a configuration is good, and if not, where and why. Starts nothing.
    Check(check::Arguments),
    /// Ask the running gateway how it is.
    Status(status::Arguments),
    /// List the devices of the running gateway: what they last said, and when.
    Devices(devices::Arguments),
    /// Have a device at home do something, and say what became of it.
    Send(send::Arguments),
    /// See what waits for the cloud, and drop what nobody wants to send any more.
    Queue(queue::Arguments),
    /// Walk the whole way from the cloud's name to the last device and say what is wrong first.
    Doctor(doctor::Arguments),
    /// Get the gateway its certificate for the cloud: make a key and a request, import what was signed, show how long
    /// it lasts.
    Enroll(enroll::Arguments),
    /// Add, remove and list those who may connect to the broker at home.
    User(user::Arguments),
    /// Make the hash of a password for `broker.users`. The password is asked for, or read from standard input.
    HashPassword,
    /// Have the store forget things, while the gateway does not run.
    Reset(reset::Arguments),
    /// Say how a configuration is written.
    Config(manual::ConfigArguments),
    /// Print what completes this program's commands in a shell: `source <(hearthlink completions bash)`.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write manual pages, for packages.
    #[command(hide = true)]
    Man(manual::ManArguments),
    /// See everything work on this machine: a cloud, a home, a phone. Needs no configuration and no network.
    // Packages are built without it, and it then says so.
    #[command(hide = cfg!(not(feature = "demo")))]
    Demo {
        /// Play the story without anybody and end with a table of what was measured.
        #[arg(long)]
        once: bool,
    },
}

fn hardware(is_simulated: bool) -> Hardware {
    if is_simulated { Hardware::Simulated } else { Hardware::Real }
}

/// Runs the command line of this process. `demo` plays the demonstration, once or until Ctrl-C; it is
/// handed in because rooms on one floor do not know each other.
pub fn main(demo: fn(once: bool) -> Exit) -> ExitCode {
    let exit = match Cli::parse().command {
        Command::Init(arguments) => init::run(&arguments),
        Command::Run { config, simulate: false, guide, .. } => run::run(&config, guide),
        Command::Run { config, simulate: true, with_cloud, .. } => run::simulate(&config, with_cloud),
        Command::Check(arguments) => check::run(&arguments),
        Command::Enroll(arguments) => enroll::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Devices(arguments) => devices::run(&arguments),
        Command::Send(arguments) => send::run(&arguments),
        Command::Queue(arguments) => queue::run(&arguments),
        Command::Reset(arguments) => reset::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Config(arguments) => manual::config(&arguments),
        Command::Completions { shell } => manual::completions(shell, Cli::command()),
        Command::Man(arguments) => manual::man(&arguments, Cli::command()),
        Command::Demo { once } => demo(once),
        Command::User(arguments) => user::run(&arguments),
        Command::HashPassword => hash_password::run(),
    };
    exit.into()
}
