//! Debian's NATS as the cloud: one server, or three that keep everything three times (JetStream).
//!
//! MQTT over WebSockets over TLS for gateways; for the phone MQTT over TCP.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{
    clients::Broker,
    pki::Identity,
    port::Port,
    process::{PATIENCE, Process, eventually, program},
};

/// The password of the user `home` and of the user `phone`, where there are passwords.
pub const PASSWORD: &str = "secret";

/// How long three servers may take to agree on who leads.
const ELECTION: Duration = Duration::from_secs(60);

/// How a server knows a gateway.
#[derive(Clone, Copy)]
pub enum Login<'a> {
    /// By the certificates of this CA; the phone needs one too, and it is this.
    Certificate { clients: &'a Path, phone: &'a Identity },
    /// By [`PASSWORD`].
    Password,
}

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
    /// Starts one server in `folder`.
    #[track_caller]
    pub fn start(folder: &Path, server: &Identity, login: Login) -> Self {
        let mut nats =
            Self::prepare(&folder.join("nats"), [(); 4].map(|()| Port::reserve()), (server, login), &[]);
        nats.restart();
        nats
    }

    /// Starts three servers in `folder` that are one cloud.
    #[track_caller]
    pub fn start_cluster(folder: &Path, server: &Identity, login: Login) -> [Self; 3] {
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
        let name = folder.file_name().expect("it has a name").display();
        let is_member = !routes.is_empty();
        let tls = |clients: &str| {
            let Identity { certificate, key } = server;
            format!(
                "tls {{ cert_file: {:?}, key_file: {:?}{clients} }}",
                certificate.display().to_string(),
                key.display().to_string()
            )
        };
        let at_home = Broker::at(phone.port()).with(&["-V", "mqttv311"]);
        // Over WebSockets, too, it is the section `mqtt` that says that the name stands in the certificate.
        let (websocket, mqtt, users, phone_options) = match login {
            Login::Certificate { clients, phone } => {
                let tls =
                    tls(&format!(", ca_file: {:?}, verify_and_map: true", clients.display().to_string()));
                let options = [("--cafile", clients), ("--cert", &phone.certificate), ("--key", &phone.key)]
                    .map(|(option, path)| [option.to_owned(), path.display().to_string()]);
                (
                    tls.clone(),
                    tls,
                    ["{ user: \"CN=home\" }", "{ user: \"CN=phone\" }"].map(str::to_owned),
                    options.concat(),
                )
            }
            Login::Password => (
                tls(""),
                String::new(),
                ["home", "phone"].map(|name| format!("{{ user: {name}, password: {PASSWORD} }}")),
                ["-u", "phone", "-P", PASSWORD].map(str::to_owned).to_vec(),
            ),
        };
        let cluster = if is_member {
            let routes: Vec<String> =
                routes.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
            format!("cluster {{ name: cloud, listen: \"{route}\", routes: [{}] }}\n", routes.join(", "))
        } else {
            String::new()
        };
        let replicas = if is_member { "stream_replicas: 3, consumer_replicas: 3, " } else { "" };
        let text = format!(
            "server_name: {name}\nlisten: \"{client}\"\njetstream {{ store_dir: {store:?} }}\n{cluster}\
             websocket {{ listen: \"{gateway}\", {websocket} }}\n\
             mqtt {{ listen: \"{phone}\", ack_wait: \"5s\", {replicas}{mqtt} }}\n\
             authorization {{ users: [ {} ] }}\n",
            users.join(", "),
            store = folder.join("jetstream").display().to_string(),
        );
        fs::write(folder.join("nats.conf"), text).expect("written");
        let options: Vec<&str> = phone_options.iter().map(String::as_str).collect();
        Self {
            process: None,
            folder: folder.to_owned(),
            phone: at_home.with(&options),
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
