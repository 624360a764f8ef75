//! `user add`, `user remove`, `user list`: who may connect to the local broker.
//!
//! Owns the writing of `users.yaml` beside the configuration. Invariants: at every instant the file is the
//! old one or the new one, whole; what a person wrote into it stays; nobody but its owner and its group
//! reads it; two of these commands at a time do not undo each other.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use super::{DEFAULT_FILE, Exit, configuration, fresh::Fresh, password, say::say};
use crate::config::{Config, UsersText};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
    /// The configuration; `users.yaml` lies beside it.
    #[arg(long, global = true, value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Add a user, or give one another password. It is asked for.
    Add {
        /// The user name that the client sends.
        name: String,
        /// Read the password from the first line of standard input.
        #[arg(long)]
        stdin: bool,
    },
    /// Remove a user.
    Remove {
        /// The user name.
        name: String,
    },
    /// Say who may connect, and how they prove who they are.
    List,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let path = &arguments.config;
    // Only the shape: a listener may wait for its first user, and the keys are not ours to read.
    let config = match configuration::shape(path) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let house = House { config, users: path.with_file_name("users.yaml"), path };
    let done = match &arguments.action {
        Action::Add { name, stdin } => house.add(name, *stdin),
        Action::Remove { name } => house.remove(name),
        Action::List => house.list(),
    };
    match done {
        Ok(()) => Exit::Success,
        Err(error) => {
            eprintln!("hearthlink: {error:#}");
            Exit::Failure
        }
    }
}

struct House<'a> {
    config: Config,
    path: &'a Path,
    users: PathBuf,
}

impl House<'_> {
    fn add(&self, name: &str, stdin: bool) -> anyhow::Result<()> {
        if name.is_empty() || name.chars().any(char::is_control) {
            bail!("a user name needs at least one character, and none that cannot be printed");
        }
        self.is_not_in_the_configuration(name)?;
        let password = if stdin { password::from_input() } else { password::ask() }?;
        let hash = password::hash(&password)?;
        let was_there = self.change(|users| {
            let was_there = users.entries().iter().any(|entry| entry.name == name);
            Ok((users.with_password(name, &hash)?, was_there))
        })?;
        let what = if was_there { "has a new password" } else { "is added" };
        say(format_args!("`{name}` {what} in {}. {RESTART}", self.users.display()));
        Ok(())
    }

    fn remove(&self, name: &str) -> anyhow::Result<()> {
        self.is_not_in_the_configuration(name)?;
        self.change(|users| Ok((users.without(name)?, ())))?;
        say(format_args!("`{name}` is removed from {}. {RESTART}", self.users.display()));
        Ok(())
    }

    fn list(&self) -> anyhow::Result<()> {
        let listed = |name: &str, password: bool, certificate: Option<&str>, has_acl: bool, file: &Path| {
            let proof = match (password, certificate) {
                (true, Some(certificate)) => format!("password or certificate `{certificate}`"),
                (true, None) => "password".to_owned(),
                (false, Some(certificate)) => format!("certificate `{certificate}`"),
                (false, None) => "no way to prove it".to_owned(),
            };
            let topics = if has_acl { "its own topics" } else { "all topics" };
            say(format_args!("{name}  {proof}, {topics}  ({})", file.display()));
        };
        for user in &self.config.broker.users {
            let certificate = user.certificate_name.as_deref();
            listed(&user.name, user.password_hash.is_some(), certificate, user.acl.is_some(), self.path);
        }
        for user in self.read()?.entries() {
            let certificate = user.certificate_name.as_deref();
            listed(&user.name, user.password_hash.is_some(), certificate, user.acl.is_some(), &self.users);
        }
        Ok(())
    }

    fn is_not_in_the_configuration(&self, name: &str) -> anyhow::Result<()> {
        if self.config.broker.users.iter().any(|user| user.name == name) {
            let path = self.path.display();
            bail!(
                "`{name}` stands in `broker.users` of {path}: change it there; `hearthlink hash-password` makes the hash"
            );
        }
        Ok(())
    }

    fn read(&self) -> anyhow::Result<UsersText> {
        let text = match fs::read_to_string(&self.users) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| self.failed("read")),
        };
        UsersText::parse(&text).with_context(|| self.failed("read"))
    }

    fn failed(&self, to: &str) -> String {
        format!("failed to {to} {}", self.users.display())
    }

    /// Reads, changes and writes, alone.
    fn change<T>(&self, change: impl FnOnce(&UsersText) -> anyhow::Result<(String, T)>) -> anyhow::Result<T> {
        let mut fresh = match Fresh::begin(&self.users) {
            Ok(fresh) => fresh,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let fresh = self.users.with_file_name("users.yaml.new");
                let fresh = fresh.display();
                bail!(
                    "another `hearthlink user` is at work, or one was interrupted: then remove {fresh} and try again"
                );
            }
            Err(error) => return Err(error).with_context(|| self.failed("write")),
        };
        let (text, told) = self.read().and_then(|users| change(&users))?;
        let written = fresh.write(&text, self.path).and_then(|()| fresh.place());
        written.with_context(|| self.failed("write"))?;
        Ok(told)
    }
}

/// Users are read at the start.
const RESTART: &str = "It counts from the next start of the gateway.";
