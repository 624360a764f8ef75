//! Watches the files that the credentials come from, and reads them anew when they have changed.
//!
//! Owns when; [`Credentials::load`] says what is wrong with them. By looking every now and then: files come by rename,
//! by a link that is turned, by a secret that systemd mounts, and not every file system tells of each. Invariant: files
//! are read only once they have lain still for a look, so that a certificate is not read with yesterday's key.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tokio::{sync::mpsc, task::JoinHandle};

/// How often the files are looked at: an idle gateway sleeps between two looks.
const LOOK: Duration = Duration::from_secs(10);
/// How soon after a change: so long they must lie still.
const STILL: Duration = Duration::from_secs(2);

/// What tells one state of a file from another: when it was written, how long it is, which one it is. `None`: it is not
/// there.
type Stamp = Option<(SystemTime, u64, u64)>;

/// What the files were when they were last read.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Stamps(Vec<(PathBuf, Stamp)>);

impl Stamps {
    /// As they are now.
    pub(super) fn of(files: impl IntoIterator<Item = PathBuf>) -> Self {
        Self(files.into_iter().map(|file| (file.clone(), stamp(&file))).collect())
    }

    async fn again(&self) -> Self {
        let files: Vec<_> = self.0.iter().map(|(file, _)| file.clone()).collect();
        let unchanged = self.clone();
        // Off the runtime: a disk that hangs must not hold up the line. A task that panics has seen nothing.
        tokio::task::spawn_blocking(move || Self::of(files)).await.unwrap_or(unchanged)
    }
}

fn stamp(file: &Path) -> Stamp {
    let metadata = file.metadata().ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

/// Looks until it is dropped.
pub(super) struct Watch<T> {
    task: JoinHandle<()>,
    news: mpsc::Receiver<T>,
}

impl<T: Send + 'static> Watch<T> {
    /// Calls `load` whenever the files are no longer what they were `before`, and have come to rest.
    pub(super) fn start(before: Stamps, load: impl Fn() -> T + Clone + Send + 'static) -> Self {
        // Full: the next look waits until the last news was taken.
        let (sender, news) = mpsc::channel(1);
        let task = tokio::spawn(look(before, load, sender));
        Self { task, news }
    }

    /// What was loaded next. Cancel-safe.
    pub(super) async fn next(&mut self) -> T {
        match self.news.recv().await {
            Some(news) => news,
            // The task ends only with us, or by a panic of `load`: then there is no news any more.
            None => std::future::pending().await,
        }
    }
}

impl<T> Drop for Watch<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn look<T: Send + 'static>(
    mut known: Stamps,
    load: impl Fn() -> T + Clone + Send + 'static,
    news: mpsc::Sender<T>,
) {
    let mut last = known.clone();
    loop {
        tokio::time::sleep(if last == known { LOOK } else { STILL }).await;
        let now = last.again().await;
        if now != last {
            last = now;
            continue;
        }
        if now == known {
            continue;
        }
        known = now;
        let load = load.clone();
        let Ok(loaded) = tokio::task::spawn_blocking(load).await else { continue };
        if news.send(loaded).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn files_are_read_again_when_they_were_replaced_and_lie_still() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.pem");
        fs::write(&file, "one").unwrap();
        let read = {
            let file = file.clone();
            move || fs::read_to_string(&file).unwrap_or_default()
        };
        let mut watch = Watch::start(Stamps::of([file.clone()]), read);
        // Replaced by a rename, as good tools do; it may have the length and the time of the old one.
        let next = directory.path().join("next");
        fs::write(&next, "two").unwrap();
        fs::rename(&next, &file).unwrap();
        assert_eq!(watch.next().await, "two");
        fs::remove_file(&file).unwrap();
        assert_eq!(watch.next().await, "");
        fs::write(&file, "three").unwrap();
        assert_eq!(watch.next().await, "three");
    }
}
