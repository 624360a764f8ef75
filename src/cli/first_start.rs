//! `run` while there is no configuration: a page that says what to write, and looks at the file as it is saved.
//!
//! Owns the waiting. Never writes anything. Invariants: a file is believed only when it has not changed between two looks,
//! for an editor may write it in pieces; a file that says anything when the gateway starts is never waited for, so a service
//! whose configuration is bad ends as it always has (the one that the package brings has comments only); no line of the file is on the page, which has no password, for a
//! secret may stand in any of them.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Exit, configuration,
    gateway::from_here,
    http::{self, HttpError},
    init, run, service,
};
use crate::{
    app::Hardware,
    config::{Config, Loader},
    web::{Draft, DraftState, Guide, NOT_READY, WebError},
};

/// Where the page is; the status page will be there too.
pub(super) const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often a bad file is judged again though it is the same: another one may have been mended, which it names.
const JUDGE_EVERY: Duration = Duration::from_secs(5);
/// What a file that cannot be read, such as one of a network that is away, may still take at the end.
const GRACE: Duration = Duration::from_secs(1);
/// How long it is said that the file is good before the page goes: a browser looks every second.
const FAREWELL: Duration = Duration::from_secs(2);

/// Whether there is no configuration at all, which is another thing than one that nobody may read.
pub(super) fn is_first(path: &Path) -> bool {
    Loader::new(path).is_blank()
}

/// Whether this page, of another process, is at this port on loopback: there the status page is going to be.
pub(super) fn is_at(port: u16) -> bool {
    let authority = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port).to_string();
    match http::get(&authority, "/readyz", None) {
        Err(HttpError::Status { body, .. }) => body == NOT_READY,
        _ => false,
    }
}

/// [`is_first`] on a thread of its own, as [`configuration::examine_aside`].
async fn is_first_aside(path: &Path) -> bool {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || is_first(&path)).await.unwrap_or(false)
}

/// Shows the page at `address` until the file is good. `Ok(None)`: somebody has stopped it.
///
/// # Errors
/// What a command ends with: the page cannot be shown, or no threads can be had.
pub(super) fn wait(path: &Path, address: SocketAddr) -> Result<Option<Config>, Exit> {
    let failed = |error: &dyn std::fmt::Display| {
        eprintln!(
            "hearthlink: there is no configuration at {}, and the page that says what to write cannot be shown: \
             {error}.\n`hearthlink init` writes one.",
            path.display()
        );
        Exit::Failure
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| failed(&error))?;
    let ended = runtime.block_on(async {
        let stop = CancellationToken::new();
        // The first one is obeyed at once: there is nothing to drain.
        run::stop_on_signal(stop.clone(), CancellationToken::new()).map_err(|error| failed(&error))?;
        let hangup = signal(SignalKind::hangup()).map_err(|error| failed(&error))?;
        let guide = Guide::bind(address).await.map_err(|error| match failed(&error) {
            // What another program has may be let go; where the page must not be is no better at the next start.
            _ if matches!(error, WebError::Open(_)) => Exit::Config,
            exit => exit,
        })?;
        let example = init::example(path, guide.address().port()).map_err(|error| failed(&error))?;
        let draft = Draft {
            file: path.display().to_string(),
            command: init::command(path, guide.address().port()),
            example,
            state: DraftState::Missing,
        };
        eprintln!(
            "hearthlink: there is no configuration at {} yet. What to write stands at http://{}/; the gateway starts as \
             soon as the file is good.",
            path.display(),
            guide.address()
        );
        service::waiting(&format!("http://{}/", guide.address()));
        let (said, draft) = watch::channel(draft);
        let served = CancellationToken::new();
        let page = tokio::spawn(guide.run(draft, served.clone()));
        // Cancel safety: nothing but looking.
        let config = stop.run_until_cancelled(until_good(path, &said, hangup)).await;
        served.cancel();
        let _ = page.await;
        Ok(config)
    });
    runtime.shutdown_timeout(GRACE);
    ended
}

/// What tells one state of the files from another.
type Look = Vec<(PathBuf, SystemTime, u64)>;

fn look(path: &Path) -> Look {
    let of_file = |file: PathBuf| {
        let metadata = fs::metadata(&file).ok()?;
        Some((file, metadata.modified().ok()?, metadata.len()))
    };
    Loader::new(path).files().into_iter().filter_map(of_file).collect()
}

async fn until_good(path: &Path, said: &watch::Sender<Draft>, mut hangup: Signal) -> Config {
    let (mut last, mut judged, mut at) = (None, None, Instant::now());
    loop {
        let now = Some(look(path));
        let is_there = now.as_ref().is_some_and(|files| !files.is_empty());
        if now == last && (now != judged || is_there && at.elapsed() >= JUDGE_EVERY) {
            (judged, at) = (now.clone(), Instant::now());
            if is_first_aside(path).await {
                if say(said, DraftState::Missing) {
                    eprintln!("hearthlink: the configuration says nothing again.");
                }
            } else if let Some((config, page)) = judge(path, said).await {
                say(said, DraftState::Good(page));
                tokio::time::sleep(FAREWELL).await;
                return config;
            }
        }
        last = now;
        // Who reloads a service that has no configuration yet wants it looked at. Cancel safety: a signal is only a hint.
        if let Ok(Some(())) = timeout(LOOK_EVERY, hangup.recv()).await {
            judged = None;
        }
    }
}

/// The configuration, if it is good, and where its page will be; else what is wrong is said.
async fn judge(path: &Path, said: &watch::Sender<Draft>) -> Option<(Config, Option<String>)> {
    match configuration::examine_aside(path, Hardware::Real).await {
        Ok(Ok((config, warnings))) => {
            if let Some(warnings) = warnings {
                configuration::show(&warnings);
            }
            eprintln!("hearthlink: the configuration is good.");
            let page = config.web.as_ref().map(|web| format!("http://{}/", from_here(web.address)));
            return Some((config, page));
        }
        Ok(Err(error)) => {
            if say(said, DraftState::Bad(error.to_string())) {
                configuration::show(&error);
            }
        }
        Err(error) => drop(say(said, DraftState::Bad(format!("It could not be looked at: {error}.")))),
    }
    None
}

/// Says it on the page; whether that is news.
fn say(said: &watch::Sender<Draft>, state: DraftState) -> bool {
    said.send_if_modified(|draft| std::mem::replace(&mut draft.state, state.clone()) != state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_first_page_is_known_from_elsewhere_and_somebody_elses_page_is_not() {
        let guide = Guide::bind(SocketAddr::new(ADDRESS.ip(), 0)).await.unwrap();
        let port = guide.address().port();
        let draft = Draft {
            file: "config.yaml".to_owned(),
            command: "hearthlink init".to_owned(),
            example: String::new(),
            state: DraftState::Missing,
        };
        let (_said, draft) = watch::channel(draft);
        let stop = CancellationToken::new();
        let page = tokio::spawn(guide.run(draft, stop.clone()));
        let look = async move || tokio::task::spawn_blocking(move || is_at(port)).await.unwrap();
        assert!(look().await);
        stop.cancel();
        page.await.unwrap();
        assert!(!look().await, "nobody is there");
    }
}
