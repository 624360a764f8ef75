//! `run` while there is no configuration: a page that says what to write, and looks at the file as it is saved.
//!
//! Owns the waiting. Never writes anything. Invariants: a file is believed only when it has not changed between two looks,
//! for an editor may write it in pieces; a file that is there when the gateway starts is never waited for, so a service
//! whose configuration is bad ends as it always has.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    time::{Duration, SystemTime},
};

use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{Exit, configuration, init, run};
use crate::{
    app::Hardware,
    config::{Config, ConfigError},
    web::{Draft, DraftState, Guide},
};

/// Where the page is; the status page will be there too.
pub(super) const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long it is said that the file is good before the page goes: a browser looks every second.
const FAREWELL: Duration = Duration::from_secs(2);

/// Whether there is no configuration at all, which is another thing than one that nobody may read.
pub(super) fn is_first(path: &Path) -> bool {
    matches!(path.try_exists(), Ok(false))
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
        Exit::Config
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| failed(&error))?;
    runtime.block_on(async {
        let (stop, at_once) = (CancellationToken::new(), CancellationToken::new());
        run::stop_on_signal(stop.clone(), at_once).map_err(|error| failed(&error))?;
        let guide = Guide::bind(address).await.map_err(|error| failed(&error))?;
        let example = init::example(path, guide.address().port()).map_err(|error| failed(&error))?;
        let draft = Draft {
            file: path.display().to_string(),
            command: init::command(path),
            example,
            state: DraftState::Missing,
        };
        eprintln!(
            "hearthlink: there is no configuration at {} yet. What to write stands at http://{}/; the gateway starts as \
             soon as the file is good.",
            path.display(),
            guide.address()
        );
        run::notify(true);
        let (said, draft) = watch::channel(draft);
        let served = CancellationToken::new();
        let page = tokio::spawn(guide.run(draft, served.clone()));
        // Cancel safety: nothing but looking.
        let config = stop.run_until_cancelled(until_good(path, &said)).await;
        served.cancel();
        let _ = page.await;
        Ok(config)
    })
}

/// What tells one state of the file from another.
type Look = Option<(SystemTime, u64)>;

fn look(path: &Path) -> Look {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

async fn until_good(path: &Path, said: &watch::Sender<Draft>) -> Config {
    let (mut last, mut judged) = (None, None);
    loop {
        let now = look(path);
        if now == last && now != judged {
            judged = now;
            match judge(path, now).await {
                Ok((config, warnings)) => {
                    if let Some(warnings) = warnings {
                        configuration::show(&warnings);
                    }
                    let page = config.web.as_ref().map(|web| format!("http://{}/", web.address));
                    say(said, DraftState::Good(page));
                    sleep(FAREWELL).await;
                    return config;
                }
                Err(state) => say(said, state),
            }
        }
        last = now;
        sleep(LOOK_EVERY).await;
    }
}

async fn judge(path: &Path, now: Look) -> Result<(Config, Option<ConfigError>), DraftState> {
    if now.is_none() {
        return Err(DraftState::Missing);
    }
    let path = path.to_owned();
    let examined = tokio::task::spawn_blocking(move || configuration::examine(&path, Hardware::Real)).await;
    match examined {
        Ok(Ok(good)) => Ok(good),
        Ok(Err(error)) => Err(DraftState::Bad(error.render(false))),
        Err(error) => Err(DraftState::Bad(format!("It could not be looked at: {error}."))),
    }
}

fn say(said: &watch::Sender<Draft>, state: DraftState) {
    match &state {
        DraftState::Missing => eprintln!("hearthlink: the configuration is gone again."),
        DraftState::Bad(why) => eprintln!("{why}"),
        DraftState::Good(_) => eprintln!("hearthlink: the configuration is good."),
    }
    said.send_modify(|draft| draft.state = state);
}
