//! Who else than its owner can read a secret.
//!
//! Owns the one rule for it, which whoever checks a file before the start and whoever takes a new one up later share.

use std::{
    env,
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    path::Path,
};

/// The mode of a secret's file that others than its owner can read or change; `None`: nobody can, or it is not there.
pub fn exposed(path: &Path) -> Option<u32> {
    exposed_mode(path, &fs::metadata(path).ok()?)
}

/// The same of a file that is open. systemd shows its credentials to one service only, though their ACL looks like a mode
/// that lets the group read.
pub fn exposed_mode(path: &Path, metadata: &Metadata) -> Option<u32> {
    let is_credential =
        env::var_os("CREDENTIALS_DIRECTORY").is_some_and(|directory| path.starts_with(directory));
    let mode = metadata.mode() & 0o777;
    (mode & 0o077 != 0 && !is_credential).then_some(mode)
}
