//! Debian's Mosquitto as the cloud: MQTT over WebSockets over TLS with a client certificate for gateways,
//! and a plain listener of its own for the phone.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::{
    clients::Broker,
    pki::Identity,
    place::Place,
    port::Port,
    process::{PATIENCE, Process, eventually, program},
};

/// The cloud; it can be killed and started again on the same ports and files.
pub struct Cloud {
    process: Option<Process>,
    config: PathBuf,
    database: PathBuf,
    log: PathBuf,
    place: Place,
    /// Where gateways connect: `wss://localhost:<port>/mqtt`.
    pub gateway_port: u16,
    /// Where the phone connects: plain MQTT.
    pub phone_port: u16,
    _reserved: Vec<Port>,
}

/// Where a cloud runs and listens.
pub struct Site {
    pub place: Place,
    pub address: &'static str,
    pub gateway_port: u16,
    pub phone_port: u16,
    /// Keeps the ports while the cloud is dead; empty where nobody else could take them.
    pub reserved: Vec<Port>,
}

impl Site {
    /// On loopback, on ports that nobody else gets.
    pub fn here() -> Self {
        let (gateway, phone) = (Port::reserve(), Port::reserve());
        Self {
            place: Place::default(),
            address: "127.0.0.1",
            gateway_port: gateway.address().port(),
            phone_port: phone.address().port(),
            reserved: vec![gateway, phone],
        }
    }
}

impl Cloud {
    /// Starts it in `folder` with a server certificate and the CA of the client certificates that it knows.
    #[track_caller]
    pub fn start(folder: &Path, server: &Identity, clients: &Path) -> Self {
        Self::start_at(Site::here(), folder, server, clients, None)
    }

    /// The same at a site of the caller's choice, and perhaps with a list of permissions; phones are then whom they
    /// say they are.
    #[track_caller]
    pub fn start_at(
        site: Site,
        folder: &Path,
        server: &Identity,
        clients: &Path,
        permissions: Option<&str>,
    ) -> Self {
        let access = |folder: &Path| {
            let acl = permissions.map_or(String::new(), |permissions| {
                let file = folder.join("permissions");
                fs::write(&file, permissions).expect("written");
                format!("acl_file {}\n", file.display())
            });
            let gateways = format!(
                "cafile {}\nrequire_certificate true\nuse_identity_as_username true\n{acl}",
                clients.display()
            );
            (gateways, acl)
        };
        Self::launch(site, folder, server, access)
    }

    /// One for a gateway with this user name and password and no certificate.
    #[allow(dead_code, reason = "only tests/clouds has one")]
    #[track_caller]
    pub fn start_with_password(folder: &Path, server: &Identity, (user, password): (&str, &str)) -> Self {
        let access = |folder: &Path| {
            let file = folder.join("passwords");
            let mut command = std::process::Command::new(program("mosquitto_passwd"));
            let made = command.args(["-c", "-b"]).arg(&file).args([user, password]).status();
            assert!(made.expect("mosquitto_passwd runs").success(), "mosquitto_passwd made no file");
            (format!("password_file {}\n", file.display()), String::new())
        };
        Self::launch(Site::here(), folder, server, access)
    }

    /// The same as [`Cloud::start`], with a door for browsers beside it: WebSockets without TLS on loopback, and this user
    /// with this password, who may do no more than the list of permissions says.
    #[allow(dead_code, reason = "only tests/browser has one")]
    #[track_caller]
    pub fn start_for_browsers(
        folder: &Path,
        server: &Identity,
        clients: &Path,
        (port, user, password): (u16, &str, &str),
        permissions: &str,
    ) -> Self {
        let access = |folder: &Path| {
            let (passwords, rights) = (folder.join("passwords"), folder.join("permissions"));
            let mut command = std::process::Command::new(program("mosquitto_passwd"));
            let made = command.args(["-c", "-b"]).arg(&passwords).args([user, password]).status();
            assert!(made.expect("mosquitto_passwd runs").success(), "mosquitto_passwd made no file");
            fs::write(&rights, permissions).expect("written");
            let gateways = format!(
                "cafile {}\nrequire_certificate true\nuse_identity_as_username true\n",
                clients.display()
            );
            let browsers = format!(
                "listener {port} 127.0.0.1\nsocket_domain ipv4\nprotocol websockets\nallow_anonymous false\n\
                 password_file {}\nacl_file {}\n",
                passwords.display(),
                rights.display()
            );
            (gateways, browsers)
        };
        Self::launch(Site::here(), folder, server, access)
    }

    /// `access` writes what it needs into the cloud's folder and says what the two listeners are to be told about who
    /// may come in and do what.
    #[track_caller]
    fn launch(
        site: Site,
        folder: &Path,
        server: &Identity,
        access: impl FnOnce(&Path) -> (String, String),
    ) -> Self {
        let folder =
            folder.join(format!("cloud-{}", server.certificate.file_stem().expect("a name").display()));
        fs::create_dir(&folder).expect("a new folder");
        let Site { place, address, gateway_port, phone_port, reserved } = site;
        let config = folder.join("mosquitto.conf");
        let (gateways, phones) = access(&folder);
        // `user root`: started by root, Mosquitto would become `mosquitto` before it reads the key, and fail
        // without a reason. Without `socket_domain` libwebsockets ignores the address and listens everywhere.
        // `queue_qos0_messages` and no limits: the cloud itself must drop nothing; see exactly_once.rs.
        let text = format!(
            "user root\nper_listener_settings true\nlog_dest stderr\nlog_type all\n\
             persistence true\npersistence_location {folder}/\nautosave_interval 0\n\
             max_inflight_messages 0\nmax_queued_messages 0\nqueue_qos0_messages true\n\
             listener {gateway_port} {address}\nsocket_domain ipv4\nprotocol websockets\n\
             certfile {certificate}\nkeyfile {key}\n{gateways}\
             listener {phone_port} {address}\nallow_anonymous true\n{phones}",
            folder = folder.display(),
            certificate = server.certificate.display(),
            key = server.key.display(),
        );
        fs::write(&config, text).expect("written");
        let (database, log) = (folder.join("mosquitto.db"), folder.join("mosquitto.log"));
        let mut cloud = Self {
            process: None,
            config,
            database,
            log,
            place,
            gateway_port,
            phone_port,
            _reserved: reserved,
        };
        cloud.restart();
        cloud
    }

    /// Starts it again after [`Cloud::kill`], and waits until it listens.
    #[track_caller]
    pub fn restart(&mut self) {
        assert!(self.process.is_none(), "the cloud still runs");
        let mut process = Process::start_into(
            "the cloud (mosquitto)",
            self.place.command(program("mosquitto")).arg("-c").arg(&self.config),
            &self.log,
        );
        // It says so once every listener is open.
        eventually("the cloud listens", PATIENCE, || {
            assert!(process.is_running(), "the cloud ended: {}", process.lines().join("\n"));
            process.lines().iter().any(|line| line.ends_with(" running")).then_some(())
        });
        self.process = Some(process);
    }

    /// Stops its clock (SIGSTOP): connections stay, and what is sent to it lies unread in the kernel.
    #[track_caller]
    pub fn freeze(&self) {
        self.process.as_ref().expect("the cloud runs").signal("STOP");
    }

    /// Kills it (SIGKILL): it forgets everything since [`Cloud::save`].
    #[track_caller]
    pub fn kill(&mut self) {
        self.process.take().expect("the cloud runs").kill();
    }

    /// Has it write its sessions, subscriptions and retained messages to disk (SIGUSR1).
    #[track_caller]
    pub fn save(&self) {
        let process = self.process.as_ref().expect("the cloud runs");
        let before = self.saved_at();
        // The file's time has the kernel's tick as its grain.
        thread::sleep(Duration::from_millis(20));
        process.signal("USR1");
        eventually("the cloud saves", PATIENCE, || (self.saved_at() > before).then_some(()));
    }

    /// Where it saves; while it is dead the file can be replaced.
    pub fn database(&self) -> &Path {
        &self.database
    }

    /// The log of all its lives.
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    fn saved_at(&self) -> Option<std::time::SystemTime> {
        fs::metadata(&self.database).and_then(|file| file.modified()).ok()
    }

    /// The cloud's own listener, for phones and for whoever watches.
    pub fn phone(&self) -> Broker {
        Broker::seen_from(&self.place, "localhost", self.phone_port)
    }

    /// Whether it wrote `part` into its log since it started last.
    pub fn has_logged(&self, part: &str) -> bool {
        self.log().iter().any(|line| line.contains(part))
    }

    /// What it wrote into its log since it started last.
    pub fn log(&self) -> Vec<String> {
        self.process.as_ref().map(Process::lines).unwrap_or_default()
    }
}
