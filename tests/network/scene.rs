//! A home and a cloud with a router between them, and the phone that presses the button.

use std::{fs, path::Path, process::Command, time::Duration};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, SaltString},
};
use serde_json::Value;

use super::{
    clients::{Broker, Subscriber},
    cloud::{Cloud, Site},
    gateway::{Gateway, Plan},
    pki::{Authority, Identity, Validity},
    process::{PATIENCE, Process, eventually},
    topology::{CLOUD, GATEWAY, RESOLVER, Topology},
};

/// The cloud's name; its certificate has no other.
pub const NAME: &str = "cloud.example";
/// How often the line is tested, where a test does not say otherwise.
pub const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// `cloud.answer_limit`'s default, stated in docs/network.md: the tests do not set it.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(15);
/// What the figures may be late by, because the machine is busy and the status page is asked now and then only.
pub const GRACE: Duration = Duration::from_secs(5);
/// Besides the one for devices (TCP), what the gateway listens on towards home.
pub const TLS_PORT: u16 = 8883;
pub const WEBSOCKET_PORT: u16 = 9001;

const USER: [&str; 4] = ["-u", "house", "-P", "secret"];

/// A network, a cloud in it and what it takes to be let in.
pub struct Scene {
    pub cloud: Cloud,
    resolver: Process,
    pub topology: Topology,
    keep_alive: Duration,
    authority: Authority,
    identity: Identity,
    // Last, so that everything that has files open in it ends first.
    folder: tempfile::TempDir,
}

impl Scene {
    /// A network in which the cloud runs and its name is known.
    #[track_caller]
    pub fn new() -> Self {
        let scene = Self::without_names();
        scene.name_the_cloud(CLOUD);
        scene
    }

    /// The same with a resolver that hears questions and answers none, until [`Scene::name_the_cloud`].
    #[track_caller]
    pub fn without_names() -> Self {
        let topology = Topology::up();
        let folder = tempfile::tempdir().expect("a folder for the test");
        let authority = Authority::new(folder.path(), "ca");
        let server = authority.server("server", &[NAME], Validity::Now);
        let identity = authority.client("home", "home");
        let site = Site {
            place: topology.place("internet"),
            address: "0.0.0.0",
            gateway_port: 443,
            phone_port: 1883,
            reserved: Vec::new(),
        };
        let cloud = Cloud::start_at(site, folder.path(), &server, &authority.certificate, None);
        let mut command = topology.place("internet").command("/usr/bin/python3");
        command.arg(script("resolver.py")).args([RESOLVER, names(folder.path()).to_str().expect("ASCII")]);
        let resolver = Process::start("the resolver", &mut command);
        resolver.wait_for_line("ready");
        Self { cloud, resolver, topology, keep_alive: KEEP_ALIVE, authority, identity, folder }
    }

    /// How often the gateway that is started next tests its line.
    pub fn with_keep_alive(self, keep_alive: Duration) -> Self {
        Self { keep_alive, ..self }
    }

    /// What the resolver answers from now on.
    pub fn name_the_cloud(&self, addresses: &str) {
        let new = self.folder.path().join("names.new");
        fs::write(&new, format!("{NAME} {addresses}\n")).expect("written");
        fs::rename(new, names(self.folder.path())).expect("both are in one folder");
    }

    /// Waits until the resolver was asked and said `word` to it.
    #[track_caller]
    pub fn wait_for_resolver(&self, word: &str) {
        self.resolver.wait_for_line(word);
    }

    /// A gateway at home that has just started.
    #[track_caller]
    pub fn start_gateway(&self) -> Gateway {
        let device = self.authority.server("broker", &["gateway.home"], Validity::Now);
        let salt = SaltString::encode_b64(b"sixteen bytes ok").expect("a salt");
        let hash = Argon2::default().hash_password(USER[3].as_bytes(), &salt).expect("a hash").to_string();
        let broker = format!(
            "broker:\n  listeners:\n    - {{address: \"0.0.0.0:LAN_PORT\"}}\n    \
             - {{address: \"0.0.0.0:{TLS_PORT}\", tls: {{certificate_file: {}, key_file: {}}}}}\n    \
             - {{address: \"0.0.0.0:{WEBSOCKET_PORT}\", transport: websocket}}\n  \
             users:\n    - {{name: {}, password_hash: \"{hash}\"}}\n",
            device.certificate.display(),
            device.key.display(),
            USER[1],
        );
        let line = format!(
            "cloud:\n  url: wss://{NAME}/mqtt\n  ca_file: {}\n  certificate_file: {}\n  key_file: {}\n  \
             keep_alive: {}s\n  window: 64\n  backoff: {{first: 200ms, longest: 1s, stable_after: 60s}}\n",
            self.authority.certificate.display(),
            self.identity.certificate.display(),
            self.identity.key.display(),
            self.keep_alive.as_secs(),
        );
        let rest = "devices:\n  - {id: plug, kind: lan, options: {command_topic: cmnd/plug/POWER}}\n\
                    commands:\n  allow:\n    - {device: plug, set: {state: [\"ON\", \"OFF\"]}}\n\
                    routes:\n  - local: sensors/#\n";
        let folder = self.folder.path().join("gateway");
        Plan { folder, line, broker: Some(broker), rest: rest.to_owned(), place: self.topology.place("home") }
            .start()
    }

    /// The same with its line up.
    #[track_caller]
    pub fn gateway(&self) -> Gateway {
        let gateway = self.start_gateway();
        gateway.wait_online();
        gateway
    }

    /// The gateway's broker as a device at home sees it.
    pub fn lan(&self, gateway: &Gateway) -> Broker {
        Broker::seen_from(&self.topology.place("home"), GATEWAY, gateway.lan_port).with(&USER)
    }

    /// The same for devices that go on while the house gets another address.
    pub fn loopback(&self, gateway: &Gateway) -> Broker {
        gateway.lan().with(&USER)
    }

    /// Runs a Python program of this folder in a namespace to its end, and returns what it said.
    #[track_caller]
    pub fn run(&self, place: &str, name: &str, arguments: &[&str]) -> Vec<String> {
        let mut command: Command = self.topology.place(place).command("/usr/bin/python3");
        let mut program = Process::start(name, command.arg(script(name)).args(arguments));
        let status = program.wait(PATIENCE);
        assert!(status.success(), "{name}: {}", program.lines().join("\n"));
        program.lines()
    }
}

/// The plug at home and the phone that switches it.
pub struct Button {
    phone: Broker,
    plug: Subscriber,
    results: Subscriber,
}

impl Button {
    #[track_caller]
    pub fn new(scene: &Scene, lan: &Broker) -> Self {
        let phone = scene.cloud.phone();
        let plug = lan.subscribe(&["-i", "plug", "-q", "1", "-t", "cmnd/plug/POWER"]);
        let results = phone.subscribe(&["-q", "1", "-t", "hearthlink/home/plug/result"]);
        Self { phone, plug, results }
    }

    /// Presses it: the plug hears it once, and the phone sees that it happened.
    #[track_caller]
    pub fn press(&self, when: &str) {
        let before = self.plug.received().len();
        let id = when.replace(' ', "-");
        let command = format!(r#"{{"id":"{id}","state":"ON"}}"#);
        self.phone.publish(&["-q", "1", "-t", "hearthlink/home/plug/set", "-m", &command]);
        let outcome = self
            .results
            .wait_for(&format!("the outcome of `{when}`"), |message| message.json()["id"] == id.as_str());
        assert_eq!(outcome.json()["status"], "applied", "{when}: {outcome:?}");
        eventually(&format!("the plug hears `{when}`"), PATIENCE, || {
            (self.plug.received().len() == before + 1).then_some(())
        });
    }
}

/// How often the line was up, and how often it was given up or could not be opened.
pub fn counters(status: &Value) -> (u64, u64) {
    let count = |name: &str| status["counters"][name].as_u64().expect("a count");
    (count("connects"), count("failures"))
}

fn script(name: &str) -> String {
    format!("{}/tests/network/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn names(folder: &Path) -> std::path::PathBuf {
    folder.join("names")
}
