//! `demo`: the demonstration home, where it is built in.

use super::Exit;

#[cfg(feature = "demo")]
pub(super) fn run(once: bool) -> Exit {
    crate::demo::run(once)
}

#[cfg(not(feature = "demo"))]
pub(super) fn run(_once: bool) -> Exit {
    eprintln!("hearthlink: this build has no demonstration; build it with `--features demo`.");
    Exit::Failure
}
