//! A gateway with simulated devices: the same configuration, on a machine that has none of the hardware.
//!
//! Invariants: no port, pin or radio is opened; the cloud is not dialled unless it is asked for, since a second gateway
//! of the same name throws the real one out; the real store is neither read nor written. The store is a directory of
//! its own below the system's for temporary files, and goes with the run: simulated readings are worth nothing
//! tomorrow. Rejected: a directory below `gateway.data_dir`, which on a laptop is nobody's to write.

use std::{
    env, fs,
    fs::DirBuilder,
    io::{self, ErrorKind},
    net::Ipv4Addr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process,
};

use tracing::warn;

use crate::config::{Config, Listener};

/// How many names are tried for the store's directory; more than one is taken only by what a crash left.
const NAMES: usize = 16;

/// What the devices of a gateway are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hardware {
    /// Those of the house.
    Real,
    /// What stands in for them, as each kind brings it.
    Simulated,
}

/// A configuration for simulated devices, and the directory of its store, which goes with it.
#[derive(Debug)]
pub struct Simulation {
    config: Config,
    directory: PathBuf,
}

impl Simulation {
    /// What of `config` is left when the devices are simulated.
    ///
    /// # Errors
    /// The directory for the store cannot be made.
    pub fn new(mut config: Config, with_cloud: bool) -> io::Result<Self> {
        let directory = own_directory(config.gateway.id.as_str())?;
        config.gateway.data_dir.clone_from(&directory);
        if !with_cloud {
            config.cloud = None;
            config.routes.clear();
            config.routes_in.clear();
            for device in &mut config.devices {
                device.on_line_lost = None;
            }
        }
        config.broker.listeners.retain(has_its_files);
        if let Some(web) = &mut config.web
            && web.password_file.take_if(|file| fs::File::open(file).is_err()).is_some()
        {
            web.address.set_ip(Ipv4Addr::LOCALHOST.into());
            warn!(address = %web.address, "the status page stays on loopback: its password is not on this machine");
        }
        Ok(Self { config, directory })
    }

    /// The configuration to build the gateway from, with [`Hardware::Simulated`].
    pub fn config(&self) -> &Config {
        &self.config
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            warn!(path = %self.directory.display(), %error, "the simulation's directory could not be removed");
        }
    }
}

/// Certificates and keys stay on the gateway; without them a listener cannot be opened here.
fn has_its_files(listener: &Listener) -> bool {
    let Some(tls) = &listener.tls else { return true };
    let files = [Some(&tls.certificate_file), Some(&tls.key_file), tls.client_ca_file.as_ref()];
    let has_all = files.into_iter().flatten().all(|file| fs::File::open(file).is_ok());
    if !has_all {
        warn!(address = %listener.address, "a listener is left out: its certificate is not on this machine");
    }
    has_all
}

/// A new directory that is this user's alone.
fn own_directory(gateway: &str) -> io::Result<PathBuf> {
    let mut result = Err(io::Error::from(ErrorKind::AlreadyExists));
    for number in 0..NAMES {
        let name = format!("hearthlink-simulated-{gateway}-{}-{number}", process::id());
        let path = env::temp_dir().join(name);
        // Not `create_dir_all`: what is there already may be somebody else's, or a link.
        result = DirBuilder::new().mode(0o700).create(&path).map(|()| path);
        match &result {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            _ => break,
        }
    }
    result.map_err(|error| {
        let below: &Path = &env::temp_dir();
        io::Error::new(
            error.kind(),
            format!("failed to make a directory for the simulation in {}: {error}", below.display()),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const HOUSE: &str = "
gateway: {id: home, data_dir: real}
broker:
  listeners:
    - {address: \"127.0.0.1:1883\"}
    - {address: \"127.0.0.1:8883\", tls: {certificate_file: none.pem, key_file: none.key}}
cloud: {url: wss://cloud.example/mqtt}
devices:
  - {id: toaster, kind: toaster, on_line_lost: {after: 1min, set: {state: \"OFF\"}}}
routes: [{local: sensors/#}]
routes_in: [{cloud: \"{prefix}/{gateway}/news/#\", local: \"news/{1}\"}]
";

    fn house() -> (tempfile::TempDir, Config) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("hearthlink.yaml");
        fs::write(&file, HOUSE).unwrap();
        (directory, config::Loader::new(&file).files_elsewhere().load().unwrap())
    }

    #[test]
    fn without_the_cloud_nothing_of_it_is_left_and_the_store_is_another() {
        let (directory, config) = house();
        let simulation = Simulation::new(config.clone(), false).unwrap();
        let simulated = simulation.config();
        assert_eq!((&simulated.cloud, &simulated.routes, &simulated.routes_in), (&None, &vec![], &vec![]));
        assert_eq!(simulated.devices[0].on_line_lost, None);
        assert_eq!(simulated.broker.listeners, config.broker.listeners[..1]);
        let store = simulated.gateway.data_dir.clone();
        assert!(store.is_dir() && !store.starts_with(directory.path()));
        drop(simulation);
        assert!(!store.exists() && !directory.path().join("real").exists());
    }

    #[test]
    fn with_the_cloud_all_of_it_stays_but_the_store() {
        let (_directory, config) = house();
        let simulations = [(); 2].map(|()| Simulation::new(config.clone(), true).unwrap());
        for simulation in &simulations {
            assert_eq!(simulation.config().cloud, config.cloud);
            assert_eq!(simulation.config().devices, config.devices);
        }
        assert_ne!(simulations[0].config().gateway.data_dir, simulations[1].config().gateway.data_dir);
    }
}
