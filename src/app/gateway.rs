//! Runs the parts, notices when one ends by itself, and stops them in order.

use std::{net::SocketAddr, time::Duration};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    beat::Beat,
    bridge_health::BridgeHealth,
    build::{self, BuildError, Line, Parts},
    buttons,
    certificate::CertificateWatch,
    departed::Departed,
    discovery::{self, Announcer},
    flows::{self, FromCloud, Keeper, Receipted, Telemetry},
    homie::{self, Speaker},
    reload::Reload,
    simulation::Hardware,
    stages::{Stage, Stages},
    vigil::{Part, Vigil},
};
use crate::{
    broker::{BrokerHandle, ListenerKind},
    clock::Clock,
    commands::LineLost,
    config::Config,
    devices::{LanPort, SimulationProbe},
    health::Board,
    model::{Availability, Message, QoS},
    retry::Backoff,
    store::StoreError,
};

/// Readings that wait to be handed out. Full: the devices wait.
const EVENTS: usize = 256;
/// Commands from home, and commands from the cloud, that wait for the desk. Full: the local joint, or the line, waits.
const COMMANDS: usize = 64;
/// Outcomes that wait for the rule that asked. Full: it asks once more.
const OF_RULES: usize = 64;
/// Messages between the broker and the LAN bus. Full: inwards the broker drops the newest and counts,
/// outwards the bus waits.
const LAN: usize = 1024;
/// How long it is waited for the store's file to be let go before a restart.
const FILE_PATIENCE: Duration = Duration::from_secs(5);

/// Why a running gateway ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A part ended by itself.
    #[error("the {0} ended by itself; the log says why")]
    PartEnded(&'static str),
    /// The journal of the last run cannot be read or written.
    #[error("failed to settle the commands that the last stop interrupted: {0}")]
    Settle(#[from] StoreError),
    /// The store could not be opened at the start, and can be now: build the gateway anew. With how often it was
    /// looked for, for [`Gateway::looking_on`].
    #[error("the store can be opened now; the gateway has to be started anew")]
    StoreIsBack(Backoff),
}

/// A gateway that is built: its addresses are bound, and nobody is served yet.
pub struct Gateway {
    pub(super) parts: Parts,
    vigil: Vigil,
}

impl Gateway {
    /// Builds every part. Nobody is served and nothing is dialled before all of them are there.
    ///
    /// # Errors
    /// [`BuildError`] of the first part that cannot be built.
    pub async fn build(config: &Config) -> Result<Self, BuildError> {
        Self::build_by(config, Clock::system()).await
    }

    /// The same with devices that are there, or with simulated ones: then by the configuration of a
    /// [`Simulation`](super::Simulation).
    ///
    /// # Errors
    /// [`BuildError`] of the first part that cannot be built.
    pub async fn build_on(config: &Config, hardware: Hardware) -> Result<Self, BuildError> {
        Ok(Self::of(build::build(config, hardware, Clock::system()).await?))
    }

    /// The same by another clock: a test lets hours pass at once.
    ///
    /// # Errors
    /// [`BuildError`] of the first part that cannot be built.
    pub async fn build_by(config: &Config, clock: Clock) -> Result<Self, BuildError> {
        Ok(Self::of(build::build(config, Hardware::Real, clock).await?))
    }

    fn of(parts: Parts) -> Self {
        Self { parts, vigil: Vigil::default() }
    }

    /// Its parts are asked by `vigil`, from when everything runs until the end begins.
    #[must_use]
    pub fn watched_by(mut self, vigil: Vigil) -> Self {
        self.vigil = vigil;
        self
    }

    /// If the store cannot be opened again, it is looked for as seldom as before the restart.
    #[must_use]
    pub fn looking_on(mut self, looks: Backoff) -> Self {
        if let Some(unopened) = &mut self.parts.unopened {
            unopened.looks = looks;
        }
        self
    }

    /// Where the local broker listens: what is spoken, whether in TLS, the address.
    pub fn broker_addresses(&self) -> Vec<(ListenerKind, bool, SocketAddr)> {
        self.parts.broker.addresses()
    }

    /// For reloading while it runs.
    pub fn reload(&self) -> Reload {
        Reload::new(self.parts.broker.handle())
    }

    /// Where the status page is.
    pub fn web_address(&self) -> Option<SocketAddr> {
        self.parts.web.as_ref().and_then(|web| web.addresses().first().copied())
    }

    /// The status board.
    pub fn board(&self) -> Board {
        self.parts.board.clone()
    }

    /// What really reached the simulated devices.
    pub fn simulation(&self) -> SimulationProbe {
        self.parts.fleet.simulation()
    }

    /// Runs until `stop`, then ends every part in order. Calls `ready` once everything runs.
    ///
    /// # Errors
    /// [`RunError`]; after `PartEnded` and `StoreIsBack` the other parts were stopped in order, too.
    pub async fn run(mut self, stop: CancellationToken, ready: impl FnOnce()) -> Result<(), RunError> {
        let mut stages = Stages::new();
        let mut unopened = self.parts.unopened.take();
        let (store, broker) = (self.parts.store.clone(), self.parts.broker.handle());
        let line = self.parts.line.as_ref().map(|line| line.link.caller());
        let running = Running::start(self.parts, &stages).await?;
        let duty = self.vigil.on_duty(|| {
            let home = [Part::store(&store), Part::new("broker", broker.caller())];
            home.into_iter().chain(line.map(|line| Part::new("line", line))).collect()
        });
        // Of its own the gateway keeps none: the store ends with the last handle.
        let store_end = store.end();
        drop(store);
        ready();
        let store_is_back = async {
            match unopened.as_mut() {
                Some(unopened) => unopened.until_caught_up(&running.handle).await,
                None => std::future::pending().await,
            }
        };
        // Cancel safety: a look at the store that is cut off ends by itself, and what the broker was given stays its.
        let ended = tokio::select! {
            () = stop.cancelled() => Ok(None),
            part = stages.first_to_end() => Err(RunError::PartEnded(part)),
            store = store_is_back => Ok(Some(store)),
        };
        drop(duty);
        running.end().await;
        let (reopened, error) = match ended {
            Ok(store) => (store, None),
            Err(error) => (None, Some(error)),
        };
        let is_back = reopened.is_some();
        let let_go = async {
            store_end.await;
            if let Some(store) = reopened {
                store.closed().await;
            }
        };
        // Whoever opens the file next, the next run or the next process, is to find it whole: a process that ends before its
        // store leaves SQLite's log beside the file, and what the store notes last unwritten.
        if tokio::time::timeout(FILE_PATIENCE, let_go).await.is_err() {
            tracing::error!("the store's file is still open");
        }
        match (error, unopened) {
            (Some(error), _) => Err(error),
            (None, Some(unopened)) if is_back => Err(RunError::StoreIsBack(unopened.looks)),
            _ => Ok(()),
        }
    }
}

/// The stages of a running gateway, in the order in which they end.
struct Running {
    /// The desk, the devices and what brings commands and frames to them.
    intake: Stage,
    /// What these still had to say; each ends when its source has.
    drains: Stage,
    broker: Stage,
    line: Stage,
    /// Those who only look.
    watchers: Stage,
    handle: BrokerHandle,
    goodbye: Message,
}

impl Running {
    async fn start(parts: Parts, stages: &Stages) -> Result<Self, StoreError> {
        let Parts {
            store,
            store_file: file,
            unopened: _,
            board,
            clock,
            broker,
            fleet,
            last_states,
            mut desk,
            told,
            safe_states,
            local,
            discovery,
            homie,
            has,
            descriptions,
            line,
            states_lane,
            receipts,
            issued,
            web,
            control,
        } = parts;
        let (buttons, wishes) = control.unzip();
        let handle = broker.handle();
        let presence = |availability: Availability| {
            Message::new(local.bridge_state(), availability.as_str(), QoS::AtLeastOnce).retained()
        };
        let mut running = Self {
            intake: stages.stage(),
            drains: stages.stage(),
            broker: stages.stage(),
            line: stages.stage(),
            watchers: stages.stage(),
            handle: handle.clone(),
            goodbye: presence(Availability::Offline),
        };
        let Self { intake, drains, watchers, .. } = &mut running;
        let stop = intake.token();

        if let Some(line) = &line {
            let departed = Departed {
                store: store.clone(),
                tree: line.tree.clone(),
                lane: states_lane,
                devices: descriptions.devices(),
            };
            watchers.spawn("clearer of departed devices", departed.run(watchers.token()));
        }

        let (not_kept, not_kept_count) = watch::channel(0);
        watchers.spawn(
            "store's report",
            flows::store_report(store.clone(), not_kept_count, board.clone(), watchers.token()),
        );

        let beat = Beat { board: board.clone(), clock: clock.clone(), store: store.clone(), file };
        watchers.spawn("slow beat", beat.run(watchers.token()));

        let receipted =
            Receipted { broker: handle.clone(), board: board.clone(), topics: local.clone(), receipts };
        watchers.spawn("receipts", receipted.run(issued, watchers.token()));
        let (to_rule, told_rule) = mpsc::channel(OF_RULES);
        drains.spawn("outcomes", flows::outcomes(told, handle.clone(), local.clone(), to_rule));
        let (events_sender, events) = mpsc::channel(EVENTS);
        let cloud = line.as_ref().map(|line| line.tree.clone());
        let (line_sender, line_to_disk) = mpsc::channel(flows::READINGS_IN_LINE);
        let (entities, told_entities) = mpsc::channel(discovery::TOLD);
        let announcer = Announcer::new(discovery, handle.clone(), local.clone());
        drains.spawn("announcer to Home Assistant", announcer.run(told_entities));
        // Before anybody is served: what was ready when an earlier run ended is not yet.
        let speaker = homie.and_then(|homie| Speaker::begin(homie, handle.clone(), clock.clone()));
        let (homie_sender, for_homie) = mpsc::channel(homie::EVENTS);
        let to_homie = speaker.is_some().then_some(homie_sender);
        let health = BridgeHealth {
            board: board.clone(),
            broker: handle.clone(),
            topics: local.clone(),
            has,
            entities: entities.clone(),
            homie: to_homie.clone(),
        };
        intake.spawn("gateway's own health", health.run(stop.clone()));
        let telemetry = Telemetry {
            broker: handle.clone(),
            local: local.clone(),
            cloud,
            lane: states_lane,
            line: line_sender,
            not_kept,
            entities,
            homie: to_homie,
            descriptions,
            buttons,
        };
        let certificate = CertificateWatch {
            board: board.clone(),
            clock: clock.clone(),
            broker: handle.clone(),
            store: store.clone(),
            local: local.clone(),
            cloud: line.as_ref().and_then(|line| line.tree.certificate()),
        };
        watchers.spawn("certificate's watch", certificate.run(watchers.token()));
        let keeper = Keeper { store: store.clone(), remembered: last_states.clone() };
        drains.spawn("keeper of readings", keeper.run(line_to_disk));
        drains.spawn("telemetry", telemetry.run(events));

        // Before anything can come in: what the last stop or crash interrupted.
        desk.settle_interrupted(&stop).await?;
        let (commands, from_home) = mpsc::channel(COMMANDS);
        let (cloud_commands, from_cloud) = mpsc::channel(COMMANDS);
        let sets = handle.subscribe(&[local.sets()], COMMANDS);
        intake.spawn("local commands", flows::from_home(sets, local.clone(), commands.clone(), stop.clone()));
        if let Some(speaker) = speaker {
            intake.spawn("Homie's ear", speaker.ear(commands.clone()).run(stop.clone()));
            drains.spawn("speaker to Homie", speaker.run(for_homie));
        }
        if let Some(wishes) = wishes {
            let presses = buttons::from_page(wishes, local.clone(), commands.clone(), stop.clone());
            intake.spawn("presses on the page", presses);
        }
        intake.spawn("command desk", desk.run(from_home, from_cloud, stop.clone()));
        if !safe_states.is_empty() {
            let rule = LineLost::new(safe_states);
            intake.spawn(
                "rule for a lost line",
                rule.run(board.watch_line(), told_rule, commands.clone(), stop.clone()),
            );
        }

        let (frames_sender, frames) = mpsc::channel(LAN);
        let ear = handle.subscribe(&fleet.lan_filters(), LAN);
        intake.spawn("LAN bus's ear", flows::lan_in(ear, frames_sender, stop.clone()));
        let (publish_sender, publishes) = mpsc::channel(LAN);
        drains.spawn("LAN bus's mouth", flows::lan_out(publishes, handle.clone()));
        let stop_devices = stop.clone();
        let port = LanPort { incoming: frames, publish: publish_sender };
        intake.spawn("devices", async move {
            // A house without devices still has the joint behind them, until the stop.
            let _held = events_sender.clone();
            fleet.run(port, events_sender, last_states, clock, board, stop_devices).await;
        });

        let token = running.broker.token();
        running.broker.spawn("local broker", async move {
            broker.run(token).await;
        });
        handle.publish(&presence(Availability::Online));
        if let Some(Line { link, inbox, tree, downlink }) = line {
            let from_cloud = FromCloud { tree, downlink, broker: handle, desk: cloud_commands };
            running.intake.spawn("messages from the cloud", from_cloud.run(inbox, stop));
            let token = running.line.token();
            running.line.spawn("line to the cloud", async move {
                if let Err(error) = link.run(token).await {
                    tracing::error!(%error, "the line to the cloud failed");
                }
            });
        }
        if let Some(web) = web {
            let token = running.watchers.token();
            running.watchers.spawn("status page", async move {
                if let Err(error) = web.run(token).await {
                    tracing::error!(%error, "the status page failed");
                }
            });
        }
        Ok(running)
    }

    async fn end(self) {
        self.intake.end().await;
        self.drains.end().await;
        self.handle.publish(&self.goodbye);
        self.broker.end().await;
        self.line.end().await;
        self.watchers.end().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_gateway_that_has_ended_has_let_go_of_its_store() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("home.yaml");
        std::fs::write(&path, "gateway: {id: x, data_dir: data}\nbroker: {listeners: []}\n").unwrap();
        let config = crate::config::load(&path).unwrap();
        let gateway = Gateway::build(&config).await.unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        gateway.run(stop, move || stopped.cancel()).await.unwrap();
        let files = std::fs::read_dir(directory.path().join("data")).unwrap();
        let names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
        assert!(names.iter().any(|name| name == "hearthlink.db"), "{names:?}");
        let is_log = |name: &std::ffi::OsString| name.to_string_lossy().contains("-wal");
        assert!(!names.iter().any(is_log), "{names:?}");
    }
}
