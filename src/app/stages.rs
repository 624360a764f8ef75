//! Tasks with a name, grouped into stages that are stopped one after the other.
//!
//! A panic ends its task and nothing else; that a task has ended, however, is told to whoever waits
//! in [`Stages::first_to_end`].

use std::time::Duration;

use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinHandle},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// What a part may take to end; one that takes longer is cut off with an error in the log.
const PART_LIMIT: Duration = Duration::from_secs(8);
/// More parts than there are.
const MOST_PARTS: usize = 64;

struct Part {
    name: &'static str,
    abort: AbortHandle,
    watcher: JoinHandle<()>,
}

/// Tasks that are stopped together.
pub(super) struct Stage {
    stop: CancellationToken,
    parts: Vec<Part>,
    ended: mpsc::Sender<&'static str>,
}

impl Stage {
    /// The token that this stage's parts watch.
    pub(super) fn token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task.
    pub(super) fn spawn(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let task = tokio::spawn(work);
        let abort = task.abort_handle();
        let ended = self.ended.clone();
        let watcher = tokio::spawn(async move {
            if let Err(error) = task.await {
                tracing::error!(part = name, %error, "a part of the gateway ended badly");
            }
            // Full only when more parts ended than anybody reads of: the first is all that counts.
            let _ = ended.try_send(name);
        });
        self.parts.push(Part { name, abort, watcher });
    }

    /// Stops the tasks and waits until they have ended.
    pub(super) async fn end(self) {
        self.stop.cancel();
        for mut part in self.parts {
            if timeout(PART_LIMIT, &mut part.watcher).await.is_err() {
                tracing::error!(part = part.name, "a part of the gateway did not end in time and is cut off");
                part.abort.abort();
            }
        }
    }
}

/// Where stages come from, and where the end of their parts is heard.
pub(super) struct Stages {
    sender: mpsc::Sender<&'static str>,
    ended: mpsc::Receiver<&'static str>,
}

impl Stages {
    pub(super) fn new() -> Self {
        let (sender, ended) = mpsc::channel(MOST_PARTS);
        Self { sender, ended }
    }

    /// An empty stage.
    pub(super) fn stage(&self) -> Stage {
        Stage { stop: CancellationToken::new(), parts: Vec::new(), ended: self.sender.clone() }
    }

    /// The name of the first part that ended. Cancel safe.
    pub(super) async fn first_to_end(&mut self) -> &'static str {
        match self.ended.recv().await {
            Some(name) => name,
            // Unreachable while `sender` lives here; waiting for ever is then the truth.
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_panics_is_named_and_the_others_go_on_until_their_stop() {
        let mut stages = Stages::new();
        let mut stage = stages.stage();
        let stop = stage.token();
        let (sender, mut receiver) = mpsc::channel(1);
        stage.spawn("steady", async move {
            stop.cancelled().await;
            let _ = sender.send("drained").await;
        });
        stage.spawn("rotten", async { panic!("on purpose") });
        assert_eq!(stages.first_to_end().await, "rotten");
        stage.end().await;
        assert_eq!(receiver.recv().await, Some("drained"));
    }
}
