//! `run`: the gateway until SIGTERM or Ctrl-C, then an orderly end.

use std::{convert::Infallible, net::SocketAddr, panic::resume_unwind, path::Path, thread, time::Duration};

use anyhow::Context;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};
use tokio_util::sync::CancellationToken;

use super::{Exit, configuration, first_start, logging, reread::Reread, service};
use crate::{
    app::{BuildError, Gateway, Hardware, RunError, Simulation, Vigil, Watch},
    config::Config,
    model::KeyEvent,
    retry::{Backoff, Policy},
};

/// What a blocking task may still take after everything else has ended.
const GRACE: Duration = Duration::from_secs(1);
/// Threads of the runtime that do what never blocks.
const MOST_WORKERS: usize = 2;
/// How long a thread of those that may block stays when it has nothing to do. A look at the machine takes a moment of one,
/// twice a minute.
const IDLE_THREADS_LAST: Duration = Duration::from_secs(1);
/// How long it is waited between two tries to build the gateway again.
const REBUILDS: Policy = Policy::of_attempts(Duration::from_secs(1), Duration::from_secs(30));

/// Runs the gateway; while there is no configuration, `guide` is where it is said what to write.
pub(super) fn run(path: &Path, guide: SocketAddr) -> Exit {
    // From here on, also while there is no configuration.
    let (vigil, watch) = service::vigil();
    let path = path.to_owned();
    let begin = move || {
        let config = if first_start::is_first(&path) {
            let Some(config) = first_start::wait(&path, guide)? else { return Ok(None) };
            config
        } else {
            configuration::load(&path, Hardware::Real)?
        };
        let loudness = logging::begin(&config.log);
        let reread = Reread::new(path, Hardware::Real, config.clone(), loudness);
        Ok(Some((House { config, hardware: Hardware::Real, vigil }, reread)))
    };
    run_on(watch, aside(begin))
}

/// The same configuration with simulated devices; nothing of it is kept.
pub(super) fn simulate(path: &Path, with_cloud: bool) -> Exit {
    // With the cloud its keys must be there.
    let files = if with_cloud { Hardware::Real } else { Hardware::Simulated };
    let config = match configuration::load(path, files) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let loudness = logging::begin(&config.log);
    let reread = Reread::new(path, files, config.clone(), loudness);
    match Simulation::new(config, with_cloud) {
        Ok(simulation) => {
            let store = simulation.config().gateway.data_dir.display();
            let cloud = if with_cloud { "dialled" } else { "not dialled" };
            tracing::warn!(%store, cloud, "simulated: no device is real");
            let (vigil, watch) = service::vigil();
            let config = simulation.config().clone();
            let house = House { config, hardware: Hardware::Simulated, vigil };
            run_on(watch, std::future::ready(Ok(Some((house, reread)))))
        }
        Err(error) => {
            eprintln!("hearthlink: {error}");
            Exit::Failure
        }
    }
}

/// What a gateway is built of, again and again.
struct House {
    config: Config,
    hardware: Hardware,
    vigil: Vigil,
}

impl House {
    async fn build(&self) -> Result<Gateway, BuildError> {
        let gateway = Gateway::build_on(&self.config, self.hardware).await?;
        Ok(gateway.watched_by(self.vigil.clone()))
    }
}

/// What is to run; `None`: it was stopped before there was anything.
type Begun = Result<Option<(House, Reread)>, Exit>;

/// Does it on a thread that is gone afterwards: a file may be a network's that hangs, and this one keeps the vigil.
async fn aside(begin: impl FnOnce() -> Begun + Send + 'static) -> Begun {
    let (done, begun) = oneshot::channel();
    // Nobody there: the vigil could not be kept.
    let thread = thread::Builder::new().name("start".to_owned()).spawn(move || drop(done.send(begin())));
    thread.map_err(|error| no_threads(&error))?;
    // It has panicked, and said so.
    begun.await.unwrap_or(Err(Exit::Failure))
}

fn no_threads(error: &dyn std::fmt::Display) -> Exit {
    eprintln!("hearthlink: failed to start its threads: {error}");
    Exit::Failure
}

/// Two at most, on however many processors: what a house says keeps a small part of one busy, and each has a stack and an
/// arena of memory. With one alone a handshake of the cloud's would hold up a message at home.
fn workers() -> usize {
    thread::available_parallelism().map_or(1, |processors| processors.get().min(MOST_WORKERS))
}

fn run_on(watch: Watch, begun: impl Future<Output = Begun>) -> Exit {
    let ended = watch.until(async {
        let (house, reread) = match begun.await {
            Ok(Some(begun)) => begun,
            Ok(None) => return (Exit::Success, None),
            Err(exit) => return (exit, None),
        };
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime =
            runtime.worker_threads(workers()).thread_keep_alive(IDLE_THREADS_LAST).enable_all().build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return (no_threads(&error), None),
        };
        // It is never aborted.
        let exit = runtime.spawn(serve(house, reread)).await;
        (exit.unwrap_or_else(|panicked| resume_unwind(panicked.into_panic())), Some(runtime))
    });
    match ended {
        Ok((exit, runtime)) => {
            if let Some(runtime) = runtime {
                runtime.shutdown_timeout(GRACE);
            }
            exit
        }
        Err(error) => no_threads(&error),
    }
}

async fn serve(house: House, mut reread: Reread) -> Exit {
    let (stop, at_once) = (CancellationToken::new(), CancellationToken::new());
    // From here on a SIGHUP ends nothing; one that comes early is kept until there is something to reload.
    let hangup = stop_on_signal(stop.clone(), at_once.clone()).and_then(|()| signal(SignalKind::hangup()));
    let hangup = match hangup {
        Ok(hangup) => hangup,
        Err(error) => {
            tracing::error!(%error, "failed to listen for signals");
            return Exit::Failure;
        }
    };
    // Cancel safety: cut off anywhere, the gateway is where a crash would leave it, which the disk survives.
    let ended = tokio::select! {
        ended = gateway(&house, stop, Hangup { signal: hangup, reread: &mut reread }) => ended,
        () = at_once.cancelled() => Err(anyhow::anyhow!("stopped at once; what was accepted is on disk")),
    };
    match ended {
        Ok(()) => {
            tracing::info!(message_id = KeyEvent::Stopped.id(), "{}", KeyEvent::Stopped.says());
            Exit::Success
        }
        Err(error) => {
            let (event, error) = (KeyEvent::Ended, format!("{error:#}"));
            tracing::error!(message_id = event.id(), error, "{}", event.says());
            Exit::Failure
        }
    }
}

/// The first SIGTERM or SIGINT stops in order; a second one, of somebody who cannot wait, at once.
pub(super) fn stop_on_signal(stop: CancellationToken, at_once: CancellationToken) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        loop {
            // Cancel safety: a signal that comes meanwhile is kept by its stream.
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            if stop.is_cancelled() {
                return at_once.cancel();
            }
            tracing::info!(signal = name, "stopping");
            service::stopping();
            stop.cancel();
        }
    });
    Ok(())
}

/// SIGHUP, and what is done at it.
struct Hangup<'a> {
    signal: Signal,
    reread: &'a mut Reread,
}

/// Runs it, anew when a store that could not be opened at the start can be.
async fn gateway(house: &House, stop: CancellationToken, mut hangup: Hangup<'_>) -> anyhow::Result<()> {
    // Cancel safety: what is built and not yet run has served nobody.
    let built = stop.run_until_cancelled(house.build()).await;
    let Some(built) = built else { return Ok(()) };
    let mut gateway = built.context("failed to start")?;
    loop {
        let looks = match run_once(gateway, &house.config, &stop, &mut hangup).await {
            Err(RunError::StoreIsBack(looks)) => looks,
            ended => return Ok(ended?),
        };
        tracing::warn!("the store can be opened again; the gateway starts anew, and keeps what it accepts");
        match stop.run_until_cancelled(rebuild(house)).await {
            Some(rebuilt) => gateway = rebuilt.looking_on(looks),
            None => return Ok(()),
        }
    }
}

/// Builds it again. A home that worked is not ended by what cannot be built at the moment.
async fn rebuild(house: &House) -> Gateway {
    let mut backoff = Backoff::new(REBUILDS);
    loop {
        match house.build().await {
            Ok(gateway) => return gateway,
            Err(error) => {
                tracing::error!(%error, "the gateway cannot be started anew at the moment; it is tried again");
                tokio::time::sleep(backoff.after_failure(Duration::ZERO, 1.0)).await;
            }
        }
    }
}

async fn run_once(
    gateway: Gateway,
    config: &Config,
    stop: &CancellationToken,
    hangup: &mut Hangup<'_>,
) -> Result<(), RunError> {
    let listeners: Vec<String> =
        gateway.broker_addresses().iter().map(|(.., address)| address.to_string()).collect();
    let page = gateway.web_address().map(|address| format!("http://{address}/"));
    let (reload, board) = (gateway.reload(), gateway.board());
    let ready = || {
        let cloud = config.cloud.as_ref().map(|cloud| cloud.url.to_string());
        let event = KeyEvent::Running;
        tracing::info!(
            message_id = event.id(), gateway = %config.gateway.id, ?listeners, page, cloud, "{}", event.says()
        );
        // Not after it was told that the end has begun.
        if !stop.is_cancelled() {
            service::ready();
        }
    };
    let beside = async {
        tokio::join!(hangup.reread.at_every(&mut hangup.signal, &reload), service::keep_status(&board))
    };
    // Not while it stops: systemd was told that the end has begun.
    let beside = async {
        stop.run_until_cancelled(beside).await;
        std::future::pending::<Infallible>().await
    };
    // Cancel safety: a reload that is cut off at the end has changed nothing.
    tokio::select! {
        ended = gateway.run(stop.clone(), ready) => ended,
        never = beside => match never {},
    }
}
