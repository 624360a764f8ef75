//! `demo`: the demonstration home, where it is built in.

use super::Exit;

/// Plays the demonstration; with `once` without anybody.
// TODO(demo): join `crate::demo::run(once)` here as soon as that room has it.
pub(super) fn run(_once: bool) -> Exit {
    eprintln!("hearthlink: this build has no demonstration; build it with `--features demo`.");
    Exit::Failure
}
