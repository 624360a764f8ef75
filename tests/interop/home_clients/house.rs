//! The gateway's broker at four addresses, and who may come in.

use std::sync::OnceLock;

use argon2::{
    Algorithm, Argon2, Params, Version as Argon2Version,
    password_hash::{PasswordHasher, SaltString},
};

use super::words::{Login, Transport};
use crate::{
    clients::Broker,
    gateway::{Gateway, Plan},
    pki::{Authority, Validity},
};

pub const USER: &str = "küche";
pub const PASSWORD: &str = "geheim ✓";

pub const TRANSPORTS: [Transport; 4] = [Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss];

/// A version of MQTT by its number in CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V31 = 3,
    V311 = 4,
    V5 = 5,
}

/// A running gateway without a cloud, with TCP, TLS, WebSocket and both, all for users with a password only.
pub struct House {
    gateway: Gateway,
    ca: String,
    /// In the order of [`TRANSPORTS`].
    ports: Vec<u16>,
    // Last, so that the gateway ends first.
    folder: tempfile::TempDir,
}

impl House {
    #[track_caller]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let ca = Authority::new(folder.path(), "house");
        let server = ca.server("broker", &["localhost", "127.0.0.1"], Validity::Now);
        let (certificate, key) = (server.certificate.display(), server.key.display());
        let tls = format!("tls: {{certificate_file: {certificate}, key_file: {key}}}");
        let address = "address: \"127.0.0.1:0\", anonymous: false";
        let hash = hash();
        let mut plan = Plan::new(folder.path(), None, "");
        plan.broker = Some(format!(
            "broker:\n  listeners:\n    - {{{address}}}\n    - {{{address}, {tls}}}\n    \
             - {{{address}, transport: websocket}}\n    - {{{address}, transport: websocket, {tls}}}\n  \
             users:\n    - {{name: {USER}, password_hash: \"{hash}\"}}\n"
        ));
        let gateway = plan.start();
        let ports = ports(&gateway);
        Self { gateway, ca: ca.certificate.display().to_string(), ports, folder }
    }

    /// Kills the gateway as a power cut would, and starts it again on other ports.
    #[track_caller]
    pub fn crash(self) -> Self {
        let Self { gateway, ca, folder, .. } = self;
        let gateway = gateway.crash();
        let ports = ports(&gateway);
        Self { gateway, ca, ports, folder }
    }

    pub fn line(&self, transport: Transport, version: Version) -> Line<'_> {
        Line { house: self, transport, version }
    }

    /// Every way to connect in one of `versions`.
    pub fn lines(&self, versions: &[Version]) -> impl Iterator<Item = Line<'_>> {
        TRANSPORTS
            .into_iter()
            .flat_map(move |transport| versions.iter().map(move |&version| self.line(transport, version)))
    }
}

/// In the order of [`TRANSPORTS`].
#[track_caller]
fn ports(gateway: &Gateway) -> Vec<u16> {
    let status = gateway.wait_for_status("four listeners", |status| {
        status["broker"]["listeners"].as_array().is_some_and(|listeners| listeners.len() == 4)
    });
    let port_of = |scheme: &str| {
        let listeners = status["broker"]["listeners"].as_array().expect("it is a list");
        let urls = listeners.iter().filter_map(|url| url.as_str());
        let port = urls.filter_map(|url| url.strip_prefix(scheme)?.strip_prefix("://127.0.0.1:")).next();
        port.expect("one of each kind").parse().expect("a port")
    };
    ["mqtt", "mqtts", "ws", "wss"].map(port_of).to_vec()
}

/// The password's hash, cheap on purpose: hundreds of clients connect.
fn hash() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| {
        let cheap = Params::new(8, 1, 1, None).expect("the least that Argon2 takes");
        let salt = SaltString::encode_b64(b"sixteen bytes...").expect("a salt");
        let argon2 = Argon2::new(Algorithm::Argon2id, Argon2Version::V0x13, cheap);
        argon2.hash_password(PASSWORD.as_bytes(), &salt).expect("a hash").to_string()
    })
}

/// One way to connect: a transport and a version.
#[derive(Clone, Copy)]
pub struct Line<'a> {
    house: &'a House,
    pub transport: Transport,
    pub version: Version,
}

impl Line<'_> {
    /// Its name, which client ids and topics begin with, so that lines share a broker and nothing else.
    pub fn name(&self) -> String {
        format!("{:?}-{}", self.transport, self.version as u8).to_lowercase()
    }

    pub fn topic(&self, rest: &str) -> String {
        format!("{}/{rest}", self.name())
    }

    pub fn port(&self) -> u16 {
        let index = TRANSPORTS.iter().position(|transport| *transport == self.transport);
        self.house.ports[index.expect("it is one of them")]
    }

    /// A user with a clean session that ends with its connection.
    pub fn login(&self, id: &str) -> Login {
        Login {
            transport: self.transport,
            port: self.port(),
            ca: self.house.ca.clone(),
            version: self.version as u8,
            id: format!("{}-{id}", self.name()),
            user: Some(USER.to_owned()),
            password: Some(PASSWORD.to_owned()),
            clean: true,
            session_expiry: None,
            will: None,
        }
    }

    /// The same with a session that stays, in either version.
    pub fn lasting(&self, id: &str) -> Login {
        let session_expiry = (self.version == Version::V5).then_some(600);
        Login { clean: false, session_expiry, ..self.login(id) }
    }

    /// For Mosquitto's programs.
    pub fn mosquitto(&self) -> Broker {
        let version = match self.version {
            Version::V31 => "mqttv31",
            Version::V311 => "mqttv311",
            Version::V5 => "mqttv5",
        };
        let broker = Broker::at(self.port()).with(&["-u", USER, "-P", PASSWORD, "-V", version]);
        match self.transport {
            Transport::Tls => broker.with(&["--cafile", &self.house.ca]),
            _ => broker,
        }
    }
}
