//! The ground of one round: a fresh folder with fresh certificates, gone afterwards.

use std::{path::PathBuf, thread::sleep, time::Duration};

use anyhow::Result;
use tempfile::TempDir;

use crate::wire;

/// Where everything of a round lies: on the disk of `TMPDIR`.
pub struct Ground {
    pub folder: TempDir,
    pub certificates: PathBuf,
}

impl Ground {
    pub fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let certificates = folder.path().join("certificates");
        wire::make_certificates(&certificates)?;
        Ok(Self { folder, certificates })
    }
}

/// What the start has left to do is done afterwards.
pub fn settle() {
    sleep(Duration::from_millis(700));
}
