//! The home: a gateway, built from a configuration file that is written for it and can be read.
//!
//! Owns the file's text and the running gateway. Never hands the gateway anything that is not in the
//! file: what works here works for everybody. What it shows of the gateway is for measuring only.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{sync::oneshot, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    app::{BuildError, Gateway, RunError},
    config::{self, ConfigError},
    devices::SimulationProbe,
    health::Board,
};

/// The local topic of the meter, a device of the house that speaks MQTT by itself.
pub(super) const METER_TOPIC: &str = "tele/meter/READING";

/// How long an orderly stop may take.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Why there is no gateway, or why it ended.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// The configuration could not be written.
    #[error("failed to write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The gateway did not take its configuration.
    #[error("the gateway refuses the configuration written for it: {0}")]
    Config(#[from] ConfigError),
    /// A part could not be built.
    #[error("failed to build the gateway: {0}")]
    Build(#[from] BuildError),
    /// It ended by itself.
    #[error("the gateway ended: {0}")]
    Run(#[from] RunError),
    /// Its task is gone.
    #[error("the gateway ended without a word")]
    Gone,
    /// It did not end when it was asked to.
    #[error("the gateway did not stop within {} seconds", STOP_LIMIT.as_secs())]
    Stuck,
}

/// A running gateway.
pub(super) struct Home {
    pub(super) configuration: String,
    pub(super) file: PathBuf,
    pub(super) broker: SocketAddr,
    pub(super) status_page: Option<SocketAddr>,
    pub(super) board: Board,
    /// What really reached the simulated devices.
    pub(super) devices: SimulationProbe,
    /// Cancelled when the gateway has ended, asked to or not; [`Home::stop`] says why.
    pub(super) over: CancellationToken,
    stop: CancellationToken,
    running: JoinHandle<Result<(), RunError>>,
}

impl Home {
    /// Writes `hearthlink.yaml` into `directory`, where the certificates are, and runs a gateway from it.
    /// `configuration` writes the text for a directory of the store and a port of the status page: that is
    /// `web_port` or, if somebody has it, 0, so that the kernel chooses.
    pub(super) async fn start(
        directory: &Path,
        configuration: impl Fn(&str, u16) -> String,
        web_port: u16,
    ) -> Result<Self, HomeError> {
        let file = directory.join("hearthlink.yaml");
        let mut text = configuration("data", free_or_any(web_port));
        let mut built = build(&file, &text).await;
        if let Err(HomeError::Build(BuildError::Web(_))) = built {
            // Somebody took the port since we looked. The first try may not have closed its store yet.
            text = configuration("data-again", 0);
            built = build(&file, &text).await;
        }
        let (gateway, configuration) = (built?, text);
        let broker = gateway.broker_addresses().first().map(|(_, _, address)| *address);
        let (status_page, board, devices) = (gateway.web_address(), gateway.board(), gateway.simulation());
        let (stop, over) = (CancellationToken::new(), CancellationToken::new());
        let (token, guard) = (stop.clone(), over.clone().drop_guard());
        let (ready, is_ready) = oneshot::channel();
        let running = tokio::spawn(async move {
            // Dropped at the end and by a panic, too.
            let _guard = guard;
            let ready = || {
                let _ = ready.send(());
            };
            gateway.run(token, ready).await
        });
        let (Ok(()), Some(broker)) = (is_ready.await, broker) else {
            running.await.map_err(|_| HomeError::Gone)??;
            return Err(HomeError::Gone);
        };
        Ok(Self { configuration, file, broker, status_page, board, devices, over, stop, running })
    }

    /// Stops the gateway in order. One that had ended by itself is an error.
    ///
    /// # Errors
    /// [`HomeError`] says how it ended.
    pub(super) async fn stop(self) -> Result<(), HomeError> {
        self.stop.cancel();
        let ended = timeout(STOP_LIMIT, self.running).await.map_err(|_| HomeError::Stuck)?;
        Ok(ended.map_err(|_| HomeError::Gone)??)
    }
}

async fn build(file: &Path, configuration: &str) -> Result<Gateway, HomeError> {
    fs::write(file, configuration).map_err(|source| HomeError::Write { path: file.to_owned(), source })?;
    Ok(Gateway::build(&config::load(file)?).await?)
}

/// The port if nobody has it, else 0: the kernel chooses.
fn free_or_any(port: u16) -> u16 {
    if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() { port } else { 0 }
}

/// The demonstration's configuration.
pub(super) fn configuration(cloud_url: &str, data_dir: &str, web_port: u16) -> String {
    format!(
        "\
# Written by `hearthlink demo`; it goes when the demonstration ends.
gateway:
  id: demo
  data_dir: {data_dir}
broker:
  listeners:
    - address: 127.0.0.1:0          # port 0: the kernel chooses one that is free
cloud:
  url: {cloud_url}
  ca_file: ca.pem
  certificate_file: gateway.pem
  key_file: gateway.key
  backoff: {{first: 500ms, longest: 1s}}   # impatient, for the demonstration
devices:
  - id: toaster
    kind: toaster
    options: {{toasting_time: 3s}}
  - id: thermometer
    kind: thermometer
    options: {{interval: 500ms}}
commands:
  allow:                            # nothing else can be asked for from the cloud
    - device: toaster
      set: {{state: [\"ON\", \"OFF\"]}}
routes:
  - local: tele/#                   # what other MQTT devices of the house say
web:
  address: 127.0.0.1:{web_port}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::certificates::CertificateFiles;

    #[test]
    fn the_written_configuration_is_one_that_everybody_could_use() {
        let directory = tempfile::tempdir().unwrap();
        CertificateFiles::make(directory.path(), "demo").unwrap();
        let file = directory.path().join("hearthlink.yaml");
        fs::write(&file, configuration("wss://localhost:4433/mqtt", "data", 0)).unwrap();
        let config = config::load(&file).unwrap_or_else(|error| panic!("{}", error.render(false)));
        assert_eq!(config.gateway.id.as_str(), "demo");
        assert!(config.routes[0].local.as_str().starts_with(METER_TOPIC.split('/').next().unwrap()));
    }

    #[tokio::test]
    async fn a_taken_port_is_left_alone_even_if_it_was_taken_since_we_looked() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = taken.local_addr().map(|address| (taken, address.port())).unwrap();
        assert_eq!(free_or_any(taken.1), 0);
        let directory = tempfile::tempdir().unwrap();
        CertificateFiles::make(directory.path(), "demo").unwrap();
        let text = |data_dir: &str, port| {
            let port = if data_dir == "data" { taken.1 } else { port };
            configuration("wss://localhost:4433/mqtt", data_dir, port)
        };
        let home = Home::start(directory.path(), text, 0).await.unwrap();
        assert_ne!(home.status_page.unwrap().port(), taken.1);
        assert!(!home.over.is_cancelled());
        home.stop.cancel();
        timeout(STOP_LIMIT, home.over.cancelled()).await.unwrap();
        home.stop().await.unwrap();
    }
}
