//! `hash-password`: from a password to what `broker.users[].password_hash` wants.

use std::io::{self, IsTerminal};

use super::{Exit, password};

pub(super) fn run() -> Exit {
    let asked = if io::stdin().is_terminal() { password::ask() } else { password::from_input() };
    match asked.and_then(|password| password::hash(&password)) {
        Ok(hash) => {
            super::say::say(&hash);
            if io::stdout().is_terminal() {
                eprintln!("Put this line into the configuration, in quotes: password_hash: \"{hash}\"");
            }
            Exit::Success
        }
        Err(error) => {
            eprintln!("hearthlink: {error:#}");
            Exit::Failure
        }
    }
}
