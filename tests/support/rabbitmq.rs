//! Debian's RabbitMQ as the cloud: MQTT over WebSockets over TLS for gateways, and a plain listener for the phone.
//!
//! Its configuration is that of docs/clouds/rabbitmq.md, at other places. A node of its own beside whatever runs on the
//! machine: its files, cookie, name, ports and its `epmd` are the test's. It is `beam.smp` itself that is our child (as
//! under systemd), so that a kill reaches it and not a script around it.

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
    process::{Process, eventually, program},
};

/// Where Debian has it; the one in `/usr/sbin` would become the user `rabbitmq` and use the machine's own node.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// How long Erlang may take to start, on two cores that others use too; alone it is 8 s.
const START: Duration = Duration::from_secs(120);

/// Who may come in by a password.
const USERS: [&str; 2] = ["home", "phone"];
/// The password of all of them, and its salted SHA-256 as RabbitMQ stores it.
pub const PASSWORD: &str = "secret";
const PASSWORD_HASH: &str = "c2FsdL7ekDhtRQzqi3e4IviIcGXk5avxMsL53M/Mf71Mul41";

/// The node; it can be killed and started again on the same ports and files.
pub struct RabbitMq {
    process: Option<Process>,
    folder: PathBuf,
    phone_port: u16,
    dist_port: u16,
    epmd_port: u16,
    /// Where gateways connect: `wss://localhost:<port>/ws`.
    pub gateway: SocketAddr,
    // After the node, which it knows.
    _epmd: Process,
    _reserved: [Port; 4],
}

impl RabbitMq {
    /// Starts it in `folder` with a server certificate and the CA of the client certificates that it knows. Whoever has
    /// one is the user of its CN; whoever has none needs a password.
    #[track_caller]
    pub fn start(folder: &Path, server: &Identity, clients: &Path) -> Self {
        let folder = folder.join("rabbitmq");
        fs::create_dir(&folder).expect("a new folder");
        let reserved = [(); 4].map(|()| Port::reserve());
        let [gateway, phone, dist, epmd] = reserved.each_ref().map(Port::address);
        write_configuration(&folder, (gateway.port(), phone.port()), server, clients);
        let mut command = Command::new(program("epmd"));
        command.args(["-port", &epmd.port().to_string(), "-address", "127.0.0.1"]);
        let epmd_process = Process::start("epmd", &mut command);
        let mut node = Self {
            process: None,
            folder,
            phone_port: phone.port(),
            dist_port: dist.port(),
            epmd_port: epmd.port(),
            gateway,
            _epmd: epmd_process,
            _reserved: reserved,
        };
        node.restart();
        node
    }

    /// Starts it again after [`RabbitMq::kill`], and waits until it listens.
    #[track_caller]
    pub fn restart(&mut self) {
        assert!(self.process.is_none(), "the node still runs");
        assert!(
            Path::new(SERVER).is_file(),
            "`{SERVER}` is missing: install Debian's `rabbitmq-server` (`.ci/run` does); \
             interop tests are never skipped"
        );
        let mut command = Command::new(SERVER);
        let at = |name: &str| self.folder.join(name);
        command
            // Without it a script would stand between us and the node.
            .env("RUNNING_UNDER_SYSTEMD", "true")
            .env("HOME", &self.folder)
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_CONF_ENV_FILE", at("none"))
            .env("RABBITMQ_NODENAME", "cloud@localhost")
            .env("RABBITMQ_DIST_PORT", self.dist_port.to_string())
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}")
            .env("RABBITMQ_MNESIA_BASE", at("mnesia"))
            .env("RABBITMQ_LOG_BASE", at("log"))
            .env("RABBITMQ_LOGS", "-")
            .env("RABBITMQ_CONFIG_FILE", at("rabbitmq.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", at("advanced.config"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", at("enabled_plugins"));
        let mut process = Process::start_into("RabbitMQ", &mut command, &at("output.log"));
        eventually("RabbitMQ listens", START, || {
            assert!(process.is_running(), "RabbitMQ ended: {}", process.lines().join("\n"));
            process.lines().iter().any(|line| line.contains("Server startup complete")).then_some(())
        });
        self.process = Some(process);
    }

    /// Kills it (SIGKILL).
    #[track_caller]
    pub fn kill(&mut self) {
        self.process.take().expect("the node runs").kill();
    }

    /// Its plain listener, for phones and for whoever watches.
    pub fn phone(&self) -> Broker {
        Broker::at(self.phone_port).with(&["-V", "mqttv311", "-u", "phone", "-P", PASSWORD])
    }
}

fn write_configuration(folder: &Path, (gateway, phone): (u16, u16), server: &Identity, clients: &Path) {
    let users = USERS.map(|name| {
        format!(
            r#"{{"name": "{name}", "password_hash": "{PASSWORD_HASH}", "tags": "",
                "hashing_algorithm": "rabbit_password_hashing_sha256"}}"#
        )
    });
    let permissions = USERS.map(|name| {
        format!(r#"{{"user": "{name}", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}}"#)
    });
    let definitions = format!(
        r#"{{"vhosts": [{{"name": "/"}}], "users": [{}], "permissions": [{}]}}"#,
        users.join(","),
        permissions.join(",")
    );
    let papers = [
        ("/etc/rabbitmq/gateways-ca.pem", clients.display().to_string()),
        ("/etc/rabbitmq/server.pem", server.certificate.display().to_string()),
        ("/etc/rabbitmq/server.key", server.key.display().to_string()),
    ];
    let listener = ("{ip, \"0.0.0.0\"}, {port, 443}", format!("{{ip, \"127.0.0.1\"}}, {{port, {gateway}}}"));
    let ours = format!(
        "listeners.tcp = none\nload_definitions = {}/definitions.json\n\
         mqtt.listeners.tcp.default = 127.0.0.1:{phone}\n",
        folder.display()
    );
    let write = |name: &str, text: String| fs::write(folder.join(name), text).expect("written");
    write("definitions.json", definitions);
    write("enabled_plugins", "[rabbitmq_mqtt, rabbitmq_web_mqtt].\n".to_owned());
    write("rabbitmq.conf", block("# /etc/rabbitmq/rabbitmq.conf", &papers) + &ours);
    let [ca, certificate, key] = papers;
    let replacements = [ca, certificate, key, listener];
    write("advanced.config", block("%% /etc/rabbitmq/advanced.config", &replacements));
}
