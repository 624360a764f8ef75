//! Debian's NATS as the cloud: one server, or three that keep everything three times (JetStream).
//!
//! MQTT over WebSockets over TLS for gateways; for the phone MQTT over TCP. The configuration is that of
//! docs/clouds/nats.md, at other places.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{
    clients::Broker,
    page::block,
    pki::Identity,
    port::Port,
    process::{PATIENCE, Process, eventually, program},
};

/// The password of the user `home` and of the user `phone`, where there are passwords.
pub const PASSWORD: &str = "secret";

/// How long three servers may take to agree on who leads.
const ELECTION: Duration = Duration::from_secs(60);

/// Who is let in.
#[derive(Clone, Copy)]
enum Login<'a> {
    /// Whoever has a certificate of this CA; the phone has this one.
    Certificate { clients: &'a Path, phone: &'a Identity },
    /// Whoever knows [`PASSWORD`].
    Password,
}

/// Those of the page.
const ROUTES: &str = "\"nats://cloud-1.example.org:6222\", \"nats://cloud-2.example.org:6222\", \
                      \"nats://cloud-3.example.org:6222\"";

/// A server; it can be killed and started again on the same ports and files.
pub struct Nats {
    process: Option<Process>,
    folder: PathBuf,
    phone: Broker,
    /// Where gateways connect: `wss://localhost:<port>/mqtt`.
    pub gateway: SocketAddr,
    /// Whether it is one of several.
    is_member: bool,
    _reserved: [Port; 4],
}

impl Nats {
    /// Starts one server in `folder`; `home` and `phone` come in by [`PASSWORD`].
    #[track_caller]
    pub fn start(folder: &Path, server: &Identity) -> Self {
        let ports = [(); 4].map(|()| Port::reserve());
        let mut nats = Self::prepare(&folder.join("nats"), ports, (server, Login::Password), &[]);
        nats.restart();
        nats
    }

    /// Starts three servers in `folder` that are one cloud. They know whoever has a certificate of the CA `clients`;
    /// the phone has this one.
    #[track_caller]
    pub fn start_cluster(folder: &Path, server: &Identity, clients: &Path, phone: &Identity) -> [Self; 3] {
        let login = Login::Certificate { clients, phone };
        let ports = [(); 3].map(|()| [(); 4].map(|()| Port::reserve()));
        let routes: Vec<u16> = ports.iter().map(|ports| ports[3].address().port()).collect();
        let mut number = 0;
        let mut servers = ports.map(|ports| {
            number += 1;
            Self::prepare(&folder.join(format!("nats-{number}")), ports, (server, login), &routes)
        });
        servers.iter_mut().for_each(Self::restart);
        eventually("the servers have a leader", ELECTION, || {
            let has_leader = |server: &Self| server.has_logged("new metadata leader");
            servers.iter().any(has_leader).then_some(())
        });
        servers
    }

    fn prepare(
        folder: &Path,
        reserved: [Port; 4],
        (server, login): (&Identity, Login),
        routes: &[u16],
    ) -> Self {
        fs::create_dir(folder).expect("a new folder");
        let [gateway, phone, client, route] = reserved.each_ref().map(Port::address);
        let is_member = !routes.is_empty();
        let path = |path: &Path| path.display().to_string();
        let name = folder.file_name().expect("it has a name").display().to_string();
        let mut replacements = vec![
            ("cloud-1\n", name + "\n"),
            ("127.0.0.1:4222", client.to_string()),
            ("/var/lib/nats", path(&folder.join("jetstream"))),
            ("0.0.0.0:443", gateway.to_string()),
            ("/etc/nats/server.pem", path(&server.certificate)),
            ("/etc/nats/server.key", path(&server.key)),
        ];
        let (first_line, phone_options) = match login {
            Login::Certificate { clients, phone: identity } => {
                let routes: Vec<String> =
                    routes.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
                let (before, after) = (ROUTES, routes.join(", "));
                replacements.extend([
                    (before, after),
                    ("0.0.0.0:6222", route.to_string()),
                    ("127.0.0.1:8883", phone.to_string()),
                    ("/etc/nats/gateways-ca.pem", path(clients)),
                ]);
                let papers =
                    [("--cafile", clients), ("--cert", &identity.certificate), ("--key", &identity.key)];
                let options = papers.map(|(option, file)| [option.to_owned(), path(file)]);
                ("# /etc/nats-server.conf of a cluster", options.concat())
            }
            Login::Password => {
                replacements.push(("127.0.0.1:1883", phone.to_string()));
                ("# /etc/nats-server.conf", ["-u", "phone", "-P", PASSWORD].map(str::to_owned).to_vec())
            }
        };
        fs::write(folder.join("nats.conf"), block(first_line, &replacements)).expect("written");
        let options: Vec<&str> = phone_options.iter().map(String::as_str).collect();
        Self {
            process: None,
            folder: folder.to_owned(),
            phone: Broker::at(phone.port()).with(&["-V", "mqttv311"]).with(&options),
            gateway,
            is_member,
            _reserved: reserved,
        }
    }

    /// Starts it again after [`Nats::kill`], and waits until it listens.
    #[track_caller]
    pub fn restart(&mut self) {
        assert!(self.process.is_none(), "the server still runs");
        let mut command = Command::new(program("nats-server"));
        command.arg("-c").arg(self.folder.join("nats.conf"));
        let mut process = Process::start_into("nats-server", &mut command, &self.folder.join("output.log"));
        // Members of a cluster listen for MQTT only when JetStream is ready, and that takes most of them.
        let ready = if self.is_member { "Listening for client connections" } else { "Server is ready" };
        eventually("NATS listens", PATIENCE, || {
            assert!(process.is_running(), "NATS ended: {}", process.lines().join("\n"));
            process.lines().iter().any(|line| line.contains(ready)).then_some(())
        });
        self.process = Some(process);
    }

    /// Kills it (SIGKILL).
    #[track_caller]
    pub fn kill(&mut self) {
        self.process.take().expect("the server runs").kill();
    }

    /// Its listener for phones and for whoever watches.
    pub fn phone(&self) -> Broker {
        self.phone.clone()
    }

    /// Whether it wrote `part` into its log since it started last.
    pub fn has_logged(&self, part: &str) -> bool {
        let lines = self.process.as_ref().map(Process::lines).unwrap_or_default();
        lines.iter().any(|line| line.contains(part))
    }
}
