//! Files that the configuration names: they exist, can be read, and secrets are the owner's alone.

use std::{
    env,
    fs::File,
    io::{ErrorKind, Read},
    path::Path,
};

use super::Finding;
use crate::permissions::{exposed, is_hidden_from_service, remedy, remedy_of_hidden};

/// A certificate or a CA.
pub(super) fn readable(at: &str, path: &Path) -> Option<Finding> {
    unreadable(at, path).map(Finding::of_file)
}

fn unreadable(at: &str, path: &Path) -> Option<Finding> {
    let name = path.display();
    let who = "let the user that runs Hearthlink read it";
    match File::open(path).and_then(|file| Ok((file.metadata()?, file))) {
        Ok((metadata, _)) if metadata.is_dir() => {
            Some(Finding::new(at, format!("`{name}` is a directory"), "name the file in it"))
        }
        Ok((_, mut file)) => {
            let mut first = [0];
            match file.read(&mut first) {
                Ok(0) => {
                    Some(Finding::new(at, format!("the file `{name}` is empty"), "put its content there"))
                }
                Ok(_) if is_hidden_from_service(path) => Some(Finding::new(
                    at,
                    format!("root alone can read `{name}`, and the gateway runs as another user"),
                    remedy_of_hidden(path),
                )),
                Ok(_) => None,
                Err(error) => Some(Finding::new(at, format!("cannot read `{name}`: {error}"), who)),
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound && is_of_running_service(path) => {
            let what = format!("`{name}` is there only while the service runs, so it is not looked at");
            Some(
                Finding::new(
                    at,
                    what,
                    "it comes from /etc/hearthlink/credentials, by `LoadCredential` of the unit",
                )
                .warning(),
            )
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let remedy = "check the path; a relative one begins where the configuration lies";
            Some(Finding::new(at, format!("there is no file `{name}`"), remedy))
        }
        Err(error) => Some(Finding::new(at, format!("cannot read `{name}`: {error}"), who)),
    }
}

/// A credential that systemd hands to the service, seen by somebody else (systemd.exec(5), `LoadCredential`).
fn is_of_running_service(path: &Path) -> bool {
    path.starts_with("/run/credentials") && env::var_os("CREDENTIALS_DIRECTORY").is_none()
}

/// A private key or a password: as [`readable`], and nobody else may read it.
pub(super) fn secret(at: &str, path: &Path) -> Option<Finding> {
    readable(at, path).or_else(|| {
        let mode = exposed(path)?;
        let name = path.display();
        let what = format!("others than its owner can read or change the secret `{name}` (mode {mode:04o})");
        Some(Finding::new(at, what, format!("run `{}`", remedy(path))).of_file())
    })
}
