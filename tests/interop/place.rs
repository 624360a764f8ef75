//! Where a program runs: on this machine as it is, or in a network namespace of it, and with what in its environment.

use std::{ffi::OsStr, process::Command};

use super::process::program;

/// A place for programs; each speaks to the network that it finds there.
#[derive(Clone, Default)]
pub struct Place {
    namespace: Option<String>,
    environment: Vec<(String, String)>,
}

impl Place {
    /// In the network namespace `name`, as `ip netns exec` does it: with a `/etc/resolv.conf` of its own.
    pub fn in_namespace(name: String) -> Self {
        Self { namespace: Some(name), environment: Vec::new() }
    }

    /// The same with this in its environment.
    #[allow(dead_code, reason = "the tests of Bluetooth name their message bus")]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Whether it has another network than the test.
    pub fn is_elsewhere(&self) -> bool {
        self.namespace.is_some()
    }

    /// `name` run here, to be given its arguments. `ip` becomes the program: its process id is the program's.
    pub fn command(&self, name: impl AsRef<OsStr>) -> Command {
        let mut command = match &self.namespace {
            None => Command::new(name),
            Some(namespace) => {
                let mut command = Command::new(program("ip"));
                command.args(["netns", "exec", namespace]).arg(name);
                command
            }
        };
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}
