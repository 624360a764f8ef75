//! Words on standard output. Nobody reading any more (`hearthlink status | head -1`) is no error.

use std::{
    fmt::Display,
    io::{self, Write},
};

pub(super) fn say(words: impl Display) {
    let _ = writeln!(io::stdout(), "{words}");
}
