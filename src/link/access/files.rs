//! Secrets that lie in files, read when an attempt needs them.
//!
//! Owns the reading and what is wrong with a file, in a sentence that never repeats what is in it. Who else may
//! read them the check of the configuration asks. A file is small and read on a thread for such things, because
//! the disk may hang.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use super::sigv4::Keys;
use crate::model::{Fault, FaultKind};

/// How long a disk may take.
const LIMIT: Duration = Duration::from_secs(10);
/// No token is longer, in bytes; behind it may be a device that never ends.
const LONGEST: u64 = 64 << 10;

/// The first line, without its end.
///
/// # Errors
/// [`FaultKind::OwnCredentials`], with the path and what to do.
pub(super) async fn first_line(path: &Path) -> Result<String, Fault> {
    let text = read(path).await?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(unusable(path, "its first line is empty; put the secret there")),
    }
}

/// The keys of a profile in a shared credentials file
/// (<https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html>).
///
/// # Errors
/// [`FaultKind::OwnCredentials`], with the path and what is missing in it.
pub(super) async fn aws_keys(path: &Path, profile: &str) -> Result<Keys, Fault> {
    let text = read(path).await?;
    let Some(mut values) = section(&text, profile) else {
        return Err(unusable(
            path,
            &format!("it has no profile `[{profile}]`; add it, or name the right one"),
        ));
    };
    let mut take = |name: &str| values.remove(name).filter(|value| !value.is_empty());
    let missing = |name: &str| unusable(path, &format!("`[{profile}]` has no `{name} = …`; add it"));
    Ok(Keys {
        id: take("aws_access_key_id").ok_or_else(|| missing("aws_access_key_id"))?,
        secret: take("aws_secret_access_key").ok_or_else(|| missing("aws_secret_access_key"))?,
        token: take("aws_session_token"),
    })
}

/// Names and values of `[name]`; names in lower case.
fn section(text: &str, name: &str) -> Option<HashMap<String, String>> {
    let mut is_inside = false;
    let mut found: Option<HashMap<String, String>> = None;
    for line in text.lines().map(str::trim) {
        if line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(header) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            is_inside = header.trim() == name;
            if is_inside {
                found.get_or_insert_default();
            }
        } else if let (true, Some((key, value))) = (is_inside, line.split_once('=')) {
            let (key, value) = (key.trim().to_ascii_lowercase(), value.trim().to_owned());
            found.get_or_insert_default().insert(key, value);
        }
    }
    found
}

async fn read(path: &Path) -> Result<String, Fault> {
    let owned: PathBuf = path.to_owned();
    // Dropped half-way it reads to its end and nobody listens.
    let read = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        File::open(owned)?.take(LONGEST + 1).read_to_string(&mut text)?;
        Ok::<_, io::Error>(text)
    });
    let Ok(read) = tokio::time::timeout(LIMIT, read).await else {
        return Err(unusable(path, "the disk does not answer; look at it, and name a file and not a pipe"));
    };
    match read {
        Ok(Ok(text)) if text.len() as u64 > LONGEST => {
            Err(unusable(path, "it is larger than 64 KiB; name the file of the secret itself"))
        }
        Ok(Ok(text)) => Ok(text),
        Ok(Err(error)) => Err(unusable(path, &remedy(&error))),
        Err(error) => Err(unusable(path, &error.to_string())),
    }
}

fn remedy(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file; put it there or check the path".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "it may not be read; let the user that runs Hearthlink read it".to_owned()
        }
        io::ErrorKind::InvalidData => "it is not text; save it as UTF-8".to_owned(),
        _ => format!("it cannot be read: {error}"),
    }
}

/// A file that is of no use, and why.
pub(super) fn unusable(path: &Path, why: &str) -> Fault {
    Fault::new(FaultKind::OwnCredentials, format!("`{}`: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, text).unwrap();
        (directory, path)
    }

    #[tokio::test]
    async fn a_secret_is_the_first_line_without_its_end() {
        for text in ["toast", "toast\n", "toast\r\n", "toast\nsecond line\n"] {
            let (_directory, path) = written(text);
            assert_eq!(first_line(&path).await.unwrap(), "toast", "{text:?}");
        }
        let (_directory, path) = written(" with blanks \n");
        assert_eq!(first_line(&path).await.unwrap(), " with blanks ");
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_file_is_said_with_its_path_and_a_remedy() {
        let (directory, empty) = written("\nsecret");
        let (_other, long) = written("x".repeat(70_000));
        let (_third, binary) = written([0xff, 0xfe]);
        for (path, expected) in [
            (empty, "first line is empty; put"),
            (long, "larger than 64 KiB; name"),
            (binary, "not text; save"),
            (directory.path().join("gone"), "no such file; put"),
            (directory.path().to_owned(), "cannot be read"),
            (PathBuf::from("/dev/zero"), "larger than 64 KiB"),
        ] {
            let fault = first_line(&path).await.unwrap_err();
            assert_eq!(fault.kind, FaultKind::OwnCredentials);
            assert!(fault.detail.contains(expected), "{}", fault.detail);
            assert!(fault.detail.contains(&path.display().to_string()), "{}", fault.detail);
            assert!(!fault.detail.contains("secret`: secret"), "{}", fault.detail);
        }
    }

    #[tokio::test]
    async fn a_shared_credentials_file_is_read_by_profile() {
        let (_directory, path) = written(
            "# mine\n[default]\naws_access_key_id=AKID1\naws_secret_access_key = s/1=\n\n[ home ]\n; a word\n\
             AWS_ACCESS_KEY_ID = AKID2\naws_secret_access_key= s2\naws_session_token =t==\nregion = x\n\n[half]\n\
             aws_access_key_id = AKID3\naws_secret_access_key =\n",
        );
        let keys = aws_keys(&path, "default").await.unwrap();
        assert_eq!((keys.id.as_str(), keys.secret.as_str(), keys.token), ("AKID1", "s/1=", None));
        let keys = aws_keys(&path, "home").await.unwrap();
        assert_eq!((keys.id.as_str(), keys.secret.as_str()), ("AKID2", "s2"));
        assert_eq!(keys.token.as_deref(), Some("t=="));
        let half = aws_keys(&path, "half").await.unwrap_err().detail;
        assert!(half.contains("`[half]` has no `aws_secret_access_key = …`"), "{half}");
        let none = aws_keys(&path, "elsewhere").await.unwrap_err().detail;
        assert!(none.contains("no profile `[elsewhere]`"), "{none}");
    }
}
