//! A file that is written whole beside its place and then put there.
//!
//! Invariants: at every instant its place has the old content or the new one, whole, also after a power cut; nobody
//! else can read it before it has its mode; one that is dropped leaves nothing. The temporary name is always the same,
//! so that two enrolments at a time do not undo each other.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{ErrorKind, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};

use super::EnrolmentError;
use crate::permissions::mode_of_secret;

/// Who is to read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    /// Everybody: a certificate, a request.
    Everybody,
    /// Its owner, and the gateway where that is another one: a key.
    Gateway,
}

/// A new content for a file, on the disk and not yet in its place.
#[derive(Debug)]
pub(super) struct Draft {
    target: PathBuf,
    path: PathBuf,
    is_placed: bool,
}

impl Draft {
    /// Writes it; nobody else reads a byte of it before it has its mode. Its owner is that of what is there now, else of `like`, else
    /// of the directory: so the gateway's user can read what root puts into the gateway's directory.
    pub(super) fn write(
        target: &Path,
        content: &[u8],
        audience: Audience,
        like: Option<&Path>,
    ) -> Result<Self, EnrolmentError> {
        // What a symbolic link leads to is replaced, not the link.
        let target = fs::canonicalize(target).unwrap_or_else(|_| target.to_owned());
        let path = beside(&target, ".tmp");
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let mut file = file.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => EnrolmentError::Busy(path.clone()),
            _ => EnrolmentError::unwritable(&target, &error),
        })?;
        let draft = Self { target, path, is_placed: false };
        let written = (|| {
            let likes = [Some(&*draft.target), like, Some(directory(&draft.target))];
            let like = likes.into_iter().flatten().find_map(|path| fs::metadata(path).ok());
            if let Some(like) = &like {
                // Only root may give a file away; what others make is theirs. The open file and not its name, for which
                // the owner of the directory could have put another one.
                let _ = fchown(&file, Some(like.uid()), Some(like.gid()));
            }
            let mode = match audience {
                Audience::Everybody => 0o644,
                Audience::Gateway => like.as_ref().map_or(0o600, mode_of_secret),
            };
            // The mask of the process may have taken something away.
            file.set_permissions(Permissions::from_mode(mode))?;
            file.write_all(content)?;
            file.sync_all()
        })();
        written.map_err(|error| EnrolmentError::unwritable(&draft.target, &error))?;
        Ok(draft)
    }

    /// Puts it in its place, whatever is there.
    pub(super) fn place(mut self) -> Result<(), EnrolmentError> {
        rename(&self.path, &self.target)?;
        self.is_placed = true;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_placed {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Renames, and the new name is on the disk when this returns.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), EnrolmentError> {
    let rename = || {
        fs::rename(from, to)?;
        File::open(directory(to))?.sync_all()
    };
    rename().map_err(|error| EnrolmentError::unwritable(to, &error))
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The file of this name with something behind it.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
