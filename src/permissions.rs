//! Who else than its owner can read a secret, and who else must.
//!
//! Owns the rules for it, which whoever writes a secret, checks it before the start or takes a new one up later share. A
//! secret is its owner's alone; or root's, and then one group's that is not root's may read it. So Debian shares keys with a
//! service (`root:ssl-cert`), and so the package has `/etc/hearthlink`, which is `root:hearthlink` and closed to others: a
//! service that can read its key and not replace it. Never changes a file.

use std::{
    env,
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    path::Path,
};

/// Where systemd keeps them (systemd.exec(5), `LoadCredential=`), seen from outside of the service, too.
const CREDENTIALS: &str = "/run/credentials";
/// From where the package's unit has them handed over.
const BOOTSTRAP: &str = "/etc/hearthlink/credentials";
/// Root, as user and as group.
const ROOT: u32 = 0;

/// The mode of a secret's file that others than it is for can read or change; `None`: nobody can, or it is not there.
pub fn exposed(path: &Path) -> Option<u32> {
    exposed_mode(path, &fs::metadata(path).ok()?)
}

/// The same of a file that is open. systemd shows its credentials to one service only, though their ACL looks like a mode
/// that lets the group read.
pub fn exposed_mode(path: &Path, metadata: &Metadata) -> Option<u32> {
    let is_ours = |directory: std::ffi::OsString| !directory.is_empty() && path.starts_with(directory);
    let is_credential =
        path.starts_with(CREDENTIALS) || env::var_os("CREDENTIALS_DIRECTORY").is_some_and(is_ours);
    let is_shared = is_of_one_group(metadata)
        && directory_of(path).is_some_and(|directory| {
            directory.uid() == ROOT && directory.gid() == metadata.gid() && directory.mode() & 0o007 == 0
        });
    let mode = metadata.mode() & 0o777;
    (mode & 0o077 != 0 && !is_shared && !is_credential).then_some(mode)
}

/// Whether only root can read this file, in a directory from which a service reads by its group: seen by root, who can read
/// everything and would not notice.
pub fn is_hidden_from_service(path: &Path) -> bool {
    let Some((place, directory)) = path
        .ancestors()
        .skip(1)
        .find_map(|place| Some((place, fs::metadata(place).ok().filter(is_of_service)?)))
    else {
        return false;
    };
    // Folders within it hide what lies in them.
    path.ancestors().take_while(|part| *part != place).any(|part| {
        fs::metadata(part).is_ok_and(|part| {
            let wanted = if part.is_dir() { 0o010 } else { 0o040 };
            let is_for_group = part.gid() == directory.gid() && part.mode() & wanted != 0;
            part.uid() == ROOT && !is_for_group && part.mode() & (wanted >> 3) == 0
        })
    })
}

/// The mode of a new secret that gets its owner and group from this file or directory: readable for the group where that is
/// how a service reads, else for the owner alone.
pub fn mode_of_secret(like: &Metadata) -> u32 {
    let is_shared = if like.is_dir() { is_of_service(like) } else { is_of_one_group(like) };
    if is_shared { 0o640 } else { 0o600 }
}

/// The command that makes a file a secret that the gateway can read.
pub fn remedy(path: &Path) -> String {
    let name = path.display();
    match (path.parent(), directory_of(path)) {
        (Some(parent), Some(directory)) if is_of_service(&directory) => {
            format!("chown --reference={} {name} && chmod 640 {name}", parent.display())
        }
        _ => format!("chmod 600 {name}"),
    }
}

/// What to do about a file that [`is_hidden_from_service`].
pub fn remedy_of_hidden(path: &Path) -> String {
    if let Ok(file) = path.strip_prefix(BOOTSTRAP) {
        let file = file.display();
        return format!(
            "name the copy that systemd hands to the service: `{CREDENTIALS}/hearthlink.service/secret_{file}`"
        );
    }
    match (path.parent(), directory_of(path)) {
        (Some(folder), Some(directory)) if !is_of_service(&directory) => {
            let (folder, above) = (folder.display(), folder.parent().unwrap_or(folder).display());
            format!("run `chgrp -R --reference={above} {folder} && chmod -R g+rX {folder}`")
        }
        _ => format!("run `{}`", remedy(path)),
    }
}

/// Root's directory, whose one group can look into it and nobody else.
fn is_of_service(directory: &Metadata) -> bool {
    directory.uid() == ROOT && directory.gid() != ROOT && directory.mode() & 0o057 == 0o050
}

/// Root's file, which one group reads that is not root's, and nobody else.
fn is_of_one_group(file: &Metadata) -> bool {
    file.uid() == ROOT && file.gid() != ROOT && file.mode() & 0o077 == 0o040
}

fn directory_of(path: &Path) -> Option<Metadata> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::metadata(parent).ok()
}

#[cfg(test)]
mod tests {
    use std::{
        fs::Permissions,
        os::unix::fs::{PermissionsExt, chown},
    };

    use super::*;

    /// Some group that is not root's.
    const GROUP: u32 = 4711;

    #[test]
    fn a_secret_of_root_may_be_read_by_the_one_group_that_its_directory_is_for() {
        let directory = tempfile::tempdir().unwrap();
        let (path, directory) = (directory.path().join("key"), directory.path());
        fs::write(&path, "secret").unwrap();
        let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        set(&path, 0o600);
        assert_eq!(mode_of_secret(&fs::metadata(directory).unwrap()), 0o600);
        assert_eq!(remedy(&path), format!("chmod 600 {}", path.display()));
        assert!(!is_hidden_from_service(&path));
        // Only root can give files to groups that he is not in.
        if chown(directory, Some(ROOT), Some(GROUP)).is_err() {
            return;
        }
        set(directory, 0o755);
        assert_eq!(mode_of_secret(&fs::metadata(directory).unwrap()), 0o600, "everybody gets into it");
        set(directory, 0o750);
        assert_eq!(mode_of_secret(&fs::metadata(directory).unwrap()), 0o640);
        assert!(remedy(&path).starts_with("chown --reference="), "{}", remedy(&path));
        assert!(is_hidden_from_service(&path), "root's alone");
        assert_eq!(exposed(&path), None);
        chown(&path, None, Some(GROUP)).unwrap();
        set(&path, 0o640);
        assert!(!is_hidden_from_service(&path));
        assert_eq!(exposed(&path), None);
        // A folder of root's own within it.
        let (inner, hidden) = (directory.join("keys"), directory.join("keys/key"));
        fs::create_dir(&inner).unwrap();
        fs::write(&hidden, "secret").unwrap();
        chown(&hidden, None, Some(GROUP)).unwrap();
        set(&hidden, 0o640);
        set(&inner, 0o700);
        assert!(is_hidden_from_service(&hidden), "its folder is root's alone");
        assert!(remedy_of_hidden(&hidden).contains("chgrp -R"), "{}", remedy_of_hidden(&hidden));
        chown(&inner, None, Some(GROUP)).unwrap();
        set(&inner, 0o750);
        assert!(!is_hidden_from_service(&hidden));
        let copied = remedy_of_hidden(Path::new("/etc/hearthlink/credentials/cloud.key"));
        assert!(copied.contains("/run/credentials/hearthlink.service/secret_cloud.key"), "{copied}");
        set(directory, 0o755);
        assert_eq!(exposed(&path), Some(0o640), "a group's, in a directory that everybody gets into");
        set(directory, 0o750);
        for mode in [0o660, 0o644, 0o650] {
            set(&path, mode);
            assert_eq!(exposed(&path), Some(mode));
        }
        set(&path, 0o640);
        chown(&path, Some(GROUP), None).unwrap();
        assert_eq!(exposed(&path), Some(0o640), "somebody's own, and a group reads it");
    }
}
