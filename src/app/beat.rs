//! The slow beat: what nobody reports by himself is looked at twice a minute.
//!
//! The machine, the day to which bytes belong, how the queue fills; and the line's past is handed to the store, which keeps
//! it over a restart. A look at the machine blocks, so it is made elsewhere, one at a time: a disk that hangs holds up the
//! next look and not the beat.

use std::{path::PathBuf, time::Duration};

use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    health::{Board, HostReport},
    host::Host,
    store::Store,
};

const EVERY: Duration = Duration::from_secs(30);
/// The name of the line's past in the store.
const LINE: &str = "line";

/// The one who looks.
pub(super) struct Beat {
    pub(super) board: Board,
    pub(super) clock: Clock,
    pub(super) store: Store,
    /// The store's file, for its file system.
    pub(super) file: PathBuf,
}

impl Beat {
    /// Puts on the board what an earlier run has known of the line.
    pub(super) async fn remember(store: &Store, board: &Board) {
        let restored = match store.noted(LINE).await {
            Ok(Some(note)) => board.restore_line(&note).map_err(|error| error.to_string()),
            Ok(None) => Ok(()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = restored {
            tracing::warn!(error, "the line's past is not known any more; it begins anew");
        }
    }

    pub(super) async fn run(self, stop: CancellationToken) {
        let mut beat = interval(EVERY);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut host = Some(Host::new(&self.file));
        let mut look: Option<JoinHandle<(Host, HostReport)>> = None;
        loop {
            // Cancel safety: a tick and a handle lose nothing when dropped.
            tokio::select! {
                () = stop.cancelled() => break,
                _ = beat.tick() => {
                    self.board.keep_time();
                    self.note();
                    if let Some(mut idle) = host.take() {
                        look = Some(tokio::task::spawn_blocking(move || { let report = idle.look(); (idle, report) }));
                    }
                }
                done = ended(&mut look) => {
                    look = None;
                    host = Some(match done {
                        Some((host, report)) => {
                            let clock_synchronised = self.clock.is_synchronised();
                            self.board.host(HostReport { clock_synchronised, ..report });
                            host
                        }
                        None => Host::new(&self.file),
                    });
                }
            }
        }
        // For the next run: until when this one has known.
        self.board.keep_time();
        self.note();
    }

    fn note(&self) {
        if let Some(note) = self.board.line_note() {
            self.store.note(LINE, note);
        }
    }
}

/// What a look has found; `None`: it panicked. Waits for ever while there is none.
async fn ended(look: &mut Option<JoinHandle<(Host, HostReport)>>) -> Option<(Host, HostReport)> {
    match look {
        Some(look) => match look.await {
            Ok(found) => Some(found),
            Err(error) => {
                tracing::error!(%error, "a look at the machine ended badly");
                None
            }
        },
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        health::LinkReport,
        model::{Fault, FaultKind, LinkState, Timestamp},
        store::StoreOptions,
    };

    #[tokio::test]
    async fn the_machine_is_looked_at_and_what_is_known_of_the_line_outlives_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("store.db");
        let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
        let open = || Store::open(&file, &StoreOptions::default(), clock.clone()).unwrap();
        let (store, board) = (open(), Board::new("g", clock.clone()));
        let fault = Some(Fault::new(FaultKind::Dns, "no such host"));
        board.link(LinkReport { state: LinkState::Waiting, fault, ..LinkReport::off() });
        clock.advance(Duration::from_secs(90));
        board.link(LinkReport { state: LinkState::Online, ..LinkReport::off() });
        board.traffic().sent(7);
        let (stop, mut changes) = (CancellationToken::new(), board.watch());
        let beat =
            Beat { board: board.clone(), clock: clock.clone(), store: store.clone(), file: file.clone() };
        let beat = tokio::spawn(beat.run(stop.clone()));
        while board.snapshot().host.memory.is_none() {
            changes.changed().await.unwrap();
        }
        let host = board.snapshot().host;
        assert!(host.disk.is_some() && host.clock_synchronised == Some(true), "{host:?}");
        stop.cancel();
        beat.await.unwrap();
        store.closed().await;

        let (store, later) = (open(), Board::new("g", clock.clone()));
        Beat::remember(&store, &later).await;
        let (known, remembered) = (board.snapshot().line_history, later.snapshot().line_history);
        assert_eq!((known.outages.len(), &remembered.outages), (1, &known.outages));
        assert_eq!((remembered.traffic.days, remembered.traffic.sent_bytes), (known.traffic.days, 0));
    }
}
