//! One scenario against every cloud that Debian has a program of: Mosquitto, RabbitMQ, NATS alone and a cluster of
//! three NATS servers, each over WebSockets over TLS with its certificate checked.
//!
//! 10,000 readings go up and 100 commands come down while the cloud is killed once and the line is cut once
//! (`clouds/scenario`). What counts is what a watcher in the cloud saw. docs/clouds.md has the last figures, and
//! the pages below docs/clouds what each cloud needs in its configuration and in ours. `.ci/run` installs the programs; without them these tests fail.
#![cfg(feature = "interop")]

#[path = "interop/clients.rs"]
#[allow(dead_code, reason = "shared with tests/interop")]
mod clients;
#[path = "interop/cloud.rs"]
#[allow(dead_code, reason = "shared with tests/interop")]
mod cloud;
#[path = "interop/gateway.rs"]
#[allow(dead_code, reason = "shared with tests/interop")]
mod gateway;
#[path = "support/nats.rs"]
mod nats;
#[path = "support/page.rs"]
mod page;
#[path = "interop/pki.rs"]
#[allow(dead_code, reason = "shared with tests/interop")]
mod pki;
#[path = "interop/place.rs"]
#[allow(dead_code, reason = "shared with tests/interop")]
mod place;
#[path = "support/port.rs"]
mod port;
#[path = "interop/process.rs"]
#[allow(dead_code, reason = "shared with tests/interop")]
mod process;
#[path = "support/proxy.rs"]
#[allow(dead_code, reason = "shared with the soak")]
mod proxy;
#[path = "support/rabbitmq.rs"]
mod rabbitmq;
#[path = "support/squid.rs"]
mod squid;

#[path = "clouds/mosquitto.rs"]
mod mosquitto;
#[path = "clouds/nats_alone.rs"]
mod nats_alone;
#[path = "clouds/nats_cluster.rs"]
mod nats_cluster;
#[path = "clouds/rabbit.rs"]
mod rabbit;
#[path = "clouds/scenario.rs"]
mod scenario;
#[path = "clouds/tally.rs"]
mod tally;
#[path = "clouds/way_out.rs"]
mod way_out;

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use pki::{Authority, Identity, Validity};

/// What every cloud of these tests needs: a folder, an authority, a server's certificate and the gateway's own.
struct Papers {
    authority: Authority,
    server: Identity,
    home: Identity,
    // Last, so that everything that has files open in it ends first.
    folder: tempfile::TempDir,
}

impl Papers {
    #[track_caller]
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let authority = Authority::new(folder.path(), "ca");
        let server = authority.server("server", &["localhost"], Validity::Now);
        let home = authority.client("home", "home");
        Self { authority, server, home, folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn ca(&self) -> &Path {
        &self.authority.certificate
    }

    /// `cloud:` of a gateway that shows its certificate; without the URL.
    fn by_certificate(&self) -> String {
        let Identity { certificate, key } = &self.home;
        format!(
            "  ca_file: {}\n  certificate_file: {}\n  key_file: {}\n",
            self.ca().display(),
            certificate.display(),
            key.display()
        )
    }

    /// The same of one with the user name `home` and a password.
    #[track_caller]
    fn by_password(&self, password: &str) -> String {
        let file = self.path().join("password");
        self.write_secret(&file, password);
        format!("  ca_file: {}\n  username: home\n  password_file: {}\n", self.ca().display(), file.display())
    }

    /// Writes what only its owner may read.
    #[track_caller]
    fn write_secret(&self, file: &Path, secret: &str) {
        fs::write(file, secret).expect("written");
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("our own file");
    }
}
