//! The manual's page of every setting, made from the schema.
//!
//! `cargo run --example reference -- docs` writes docs/configuration.md; `tests/reference.rs` says when that is due.

mod page;

use std::{env, fs, path::Path, process::ExitCode};

fn main() -> ExitCode {
    let Some(folder) = env::args_os().nth(1) else {
        print!("{}", page::page());
        return ExitCode::SUCCESS;
    };
    let path = Path::new(&folder).join("configuration.md");
    match fs::write(&path, page::page()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{} cannot be written: {error}", path.display());
            ExitCode::FAILURE
        }
    }
}
