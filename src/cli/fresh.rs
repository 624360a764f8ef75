//! A file that takes another one's place whole, or not at all.
//!
//! Owns the file `….new` beside the one that is meant. Invariants: at every instant that one is as it was or as it is to
//! be; two commands at a time do not undo each other, for the second finds the first one's `….new`; what is not put in
//! place is removed.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

/// The mode of a file where there was none: the gateway's group reads it.
const MODE: u32 = 0o640;

pub(super) struct Fresh {
    file: File,
    path: PathBuf,
    target: PathBuf,
    is_in_place: bool,
}

impl Fresh {
    /// Begins a file that is to be `target`.
    ///
    /// # Errors
    /// `AlreadyExists` when somebody else is at it, or was interrupted; whatever the disk says.
    pub(super) fn begin(target: &Path) -> io::Result<Self> {
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let path = target.with_file_name(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { file, path, target: target.to_owned(), is_in_place: false })
    }

    /// Where it is meanwhile.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes it, with owner and mode of the file that it replaces; where there is none, with the group of `neighbour`,
    /// which the gateway reads, too.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub(super) fn write(&mut self, text: &str, neighbour: &Path) -> io::Result<()> {
        self.file.write_all(text.as_bytes())?;
        let mode = match (fs::metadata(&self.target), fs::metadata(neighbour)) {
            (Ok(old), _) => {
                let _ = chown(&self.path, Some(old.uid()), Some(old.gid()));
                old.mode() & 0o777
            }
            (Err(_), Ok(neighbour)) => {
                let _ = chown(&self.path, None, Some(neighbour.gid()));
                MODE
            }
            (Err(_), Err(_)) => MODE,
        };
        self.file.set_permissions(Permissions::from_mode(mode))?;
        self.file.sync_all()
    }

    /// Puts it in place; then its name is on the disk, too.
    ///
    /// # Errors
    /// Whatever the disk says; unless only the name is not known to be on the disk, nothing has changed.
    pub(super) fn place(mut self) -> io::Result<()> {
        fs::rename(&self.path, &self.target)?;
        self.is_in_place = true;
        File::open(directory(&self.target))?.sync_all()
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if !self.is_in_place {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The directory that a file lies in.
pub(super) fn directory(file: &Path) -> &Path {
    file.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
