//! Words for whoever typed the command. Nobody reading any more (`hearthlink status | head -1`) is no error.

use std::{
    fmt::Display,
    io::{self, Write},
};

use super::Exit;

pub(super) fn say(words: impl Display) {
    can_say(words);
}

/// The same; whether somebody still reads.
pub(super) fn can_say(words: impl Display) -> bool {
    let mut output = io::stdout();
    writeln!(output, "{words}").and_then(|()| output.flush()).is_ok()
}

/// Says what went wrong, with everything behind it.
pub(super) fn failed(error: &anyhow::Error) -> Exit {
    eprintln!("hearthlink: {error:#}.");
    Exit::Failure
}
