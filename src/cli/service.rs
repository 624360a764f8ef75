//! What systemd is told (`sd_notify(3)`): that everything runs, what the house looks like in one sentence, that the
//! configuration is read again, that the end has begun, and again and again that the parts turn.
//!
//! Owns the words of that language; nothing below knows systemd. Invariants: without systemd nothing is said, asked or
//! started; what cannot be said is logged once, and ends nothing.

use std::{
    convert::Infallible,
    env,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use sd_notify::NotifyState;
use tokio::time::{sleep, timeout};

use crate::{
    app::{Vigil, Watch},
    health::Board,
};

/// How often the board is looked at, at most: it changes with every reading of every device.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long it is not looked at though nothing on it has changed: a sentence may age.
const REST: Duration = Duration::from_secs(60);

/// Everything runs. Also the end of a [`reloading`].
pub(super) fn ready() {
    say(&[NotifyState::Ready]);
}

/// There is no configuration yet, and the page that says so is at `page`.
pub(super) fn waiting(page: &str) {
    let status = format!("There is no configuration yet; {page} says what to write.");
    say(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// The configuration is read again; [`ready`] follows. systemd 253 and later want to know when it began.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => say(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the time since the start of the machine cannot be read"),
    }
}

/// The end has begun.
pub(super) fn stopping() {
    say(&[NotifyState::Stopping, NotifyState::Status("Stopping.")]);
}

/// The vigil that systemd's watchdog (`WatchdogSec=`) wants; of nobody if it wants none.
pub(super) fn vigil() -> (Vigil, Watch) {
    let within = sd_notify::watchdog_enabled().filter(|within| !within.is_zero());
    Vigil::new(within, || say(&[NotifyState::Watchdog]))
}

/// Says in one sentence how the house is, whenever that has changed. Cancel safe.
pub(super) async fn keep_status(board: &Board) -> Infallible {
    if env::var_os("NOTIFY_SOCKET").is_none() {
        std::future::pending::<()>().await;
    }
    let (mut said, mut changes) = (String::new(), board.watch());
    loop {
        changes.mark_unchanged();
        // A line is a word of its own in that language.
        let sentence = board.verdict().sentence.replace(['\n', '\r'], " ");
        if sentence != said {
            say(&[NotifyState::Status(&sentence)]);
            said = sentence;
        }
        sleep(LOOK_EVERY).await;
        // Its end is the board's, which is held here; what is over in time is looked at as well.
        let _ = timeout(REST, changes.changed()).await;
    }
}

fn say(words: &[NotifyState<'_>]) {
    static IS_UNHEARD: AtomicBool = AtomicBool::new(false);
    let heard = sd_notify::notify(words);
    let was_unheard = IS_UNHEARD.swap(heard.is_err(), Ordering::Relaxed);
    if let Err(error) = heard
        && !was_unheard
    {
        tracing::warn!(%error, "systemd could not be told");
    }
}
