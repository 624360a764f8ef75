//! Hearthlink among programs that other people wrote: Debian's Mosquitto as the cloud, `mosquitto_pub` and
//! `mosquitto_sub` as phone, devices and watchers, paho-mqtt, mqtt.js and rumqttc as what people have at home.
//! `.ci/run` installs them; without them these tests fail.
//!
//! The gateway is the real binary, run as systemd would run it and judged from outside only: by what arrives,
//! by its status page, its log and its exit code.
#![cfg(feature = "interop")]

#[path = "interop/bad_file.rs"]
mod bad_file;
#[path = "interop/clients.rs"]
mod clients;
#[path = "interop/cloud.rs"]
mod cloud;
#[path = "interop/commands.rs"]
mod commands;
#[path = "interop/exactly_once.rs"]
mod exactly_once;
#[path = "interop/gateway.rs"]
mod gateway;
#[allow(dead_code, reason = "commands are judged in the soak")]
#[path = "support/history/mod.rs"]
mod history;
#[path = "interop/home_clients/mod.rs"]
mod home_clients;
#[path = "interop/home_devices.rs"]
mod home_devices;
#[path = "interop/idle.rs"]
mod idle;
#[path = "interop/pki.rs"]
mod pki;
#[path = "interop/place.rs"]
#[allow(dead_code, reason = "shared with tests/network")]
mod place;
#[path = "support/port.rs"]
mod port;
#[path = "interop/process.rs"]
mod process;
#[path = "interop/refused_lines.rs"]
mod refused_lines;
#[path = "interop/rotation.rs"]
mod rotation;
#[path = "interop/routes.rs"]
mod routes;
#[path = "interop/torture.rs"]
mod torture;

use std::path::Path;

use cloud::{Cloud, Site};
use gateway::{Gateway, Line, Plan};
use pki::{Authority, Identity, Validity};

/// A cloud and what it takes to be let in.
struct Scene {
    cloud: Cloud,
    authority: Authority,
    identity: Identity,
    // Last, so that everything that has files open in it ends first.
    folder: tempfile::TempDir,
}

impl Scene {
    #[track_caller]
    fn new() -> Self {
        Self::with_permissions(None)
    }

    /// A cloud that asks who may do what; see [`Cloud::start_at`].
    #[track_caller]
    fn with_permissions(permissions: Option<&str>) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let authority = Authority::new(folder.path(), "ca");
        let server = authority.server("server", &["localhost"], Validity::Now);
        let identity = authority.client("home", "home");
        let cloud =
            Cloud::start_at(Site::here(), folder.path(), &server, &authority.certificate, permissions);
        Self { cloud, authority, identity, folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A gateway on a good line to the cloud, online when this returns.
    #[track_caller]
    fn gateway(&self, rest: &str) -> Gateway {
        let gateway = self.plan(rest).start();
        gateway.wait_online();
        gateway
    }

    fn plan(&self, rest: &str) -> Plan {
        let line =
            Line { port: self.cloud.gateway_port, ca: &self.authority.certificate, identity: &self.identity };
        Plan::new(&self.path().join("gateway"), Some(&line), rest)
    }
}
