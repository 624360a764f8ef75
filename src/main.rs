//! The program: the command line, and the demonstration where it is built in.

use std::process::ExitCode;

use hearthlink::cli::{self, Exit};

fn main() -> ExitCode {
    cli::main(demo)
}

fn demo(_once: bool) -> Exit {
    eprintln!("hearthlink: this build has no demonstration; build it with `--features demo`.");
    Exit::Failure
}
