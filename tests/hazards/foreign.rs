//! Brokers that other people wrote, each as a process of its own, so that one that is dead or busy for ever
//! ends with its hazard.
//!
//! rumqttd is a crate: this test binary starts itself again as [`stock_rumqttd`]. It is embedded as the
//! demonstration's cloud does it, with a plain port for each version; its TLS and WebSocket are not built in.
//! Mosquitto is Debian's, with its defaults but for the same largest packet and number of clients as ours.

use std::{
    env, fs,
    io::Read,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    process::Command,
};

use rumqttd::{
    ConnectionSettings, LinkType, Router, RouterConfig, Server, ServerSettings,
    protocol::{Protocol, v4::V4, v5::V5},
};
use tempfile::TempDir;

use crate::{
    certificates::{Files, certificates},
    process::{PATIENCE, Process, eventually, free_port, program},
    target::Target,
};

/// Tells the child what to be: `<port> <port of MQTT 5> <clients>`.
const ORDER: &str = "HEARTHLINK_HAZARDS_RUMQTTD";

/// Both say this when they listen. Not found out by connecting: to Mosquitto 2.0.11 a connection that ends
/// before CONNECT is one client more that it lets in.
const RUNNING: &str = "running";

/// A running broker.
pub struct Foreign {
    pub target: Target,
    process: Process,
    _files: Files,
    _folder: TempDir,
}

impl Foreign {
    pub fn rumqttd(clients: usize) -> Self {
        let (v311, v5) = (free_port(), free_port());
        let mut command = Command::new(env::current_exe().expect("we run"));
        command.args(["--exact", "foreign::stock_rumqttd", "--ignored", "--nocapture"]);
        command.env(ORDER, format!("{v311} {v5} {clients}"));
        Self::start(&mut command, clients, [v311, v5], |_, _| (None, None))
    }

    pub fn mosquitto(clients: usize) -> Self {
        let (port, tls, websocket) = (free_port(), free_port(), free_port());
        let mut command = Command::new(program("mosquitto"));
        Self::start(command.arg("-c").arg("mosquitto.conf"), clients, [port, port], |folder, files| {
            let listener = |port: u16| format!("listener {port} 127.0.0.1\nmax_connections {clients}\n");
            let text = format!(
                "user root\nallow_anonymous true\nmax_packet_size 1048576\n\
                 {}{}certfile {}\nkeyfile {}\n{}socket_domain ipv4\nprotocol websockets\n",
                listener(port),
                listener(tls),
                files.path("server.pem").display(),
                files.path("server.key").display(),
                listener(websocket),
            );
            fs::write(folder.join("mosquitto.conf"), text).expect("written");
            (Some(tls), Some(websocket))
        })
    }

    fn start(
        command: &mut Command,
        clients: usize,
        [v311, v5]: [u16; 2],
        more_ports: impl FnOnce(&Path, &Files) -> (Option<u16>, Option<u16>),
    ) -> Self {
        let (files, folder) = (certificates(), tempfile::tempdir().unwrap());
        let (tls, websocket) = more_ports(folder.path(), &files);
        let mut process = Process::start("a foreign broker", command.current_dir(folder.path()));
        eventually("it listens", PATIENCE, || {
            let lines = process.lines();
            assert!(process.is_running(), "it ended: {}", lines.join("\n"));
            lines.iter().any(|line| line.ends_with(RUNNING)).then_some(())
        });
        let trust = files.client(None);
        let target = Target { v311, v5, tls, websocket, clients, trust };
        Self { target, process, _files: files, _folder: folder }
    }

    /// Where it first panicked, and why, if it did.
    pub fn last_words(&self) -> Option<String> {
        let lines = self.process.lines();
        let at = lines.iter().position(|line| line.contains("panicked at"))?;
        let place = lines[at].rsplit_once("rumqttd-").map_or(&lines[at][..], |(_, place)| place);
        Some(format!("panicked at {place} {}", lines.get(at + 1)?.trim()))
    }

    /// Whether the process is still there.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }
}

/// Not a test: stock rumqttd, until the one who started it is gone.
#[test]
#[ignore = "the broker that the table starts, not a test"]
fn stock_rumqttd() {
    let Ok(order) = env::var(ORDER) else { return };
    let numbers: Vec<usize> = order.split(' ').map(|number| number.parse().unwrap()).collect();
    let router = RouterConfig {
        max_connections: numbers[2],
        max_outgoing_packet_count: 200,
        max_segment_size: 4 << 20,
        max_segment_count: 16,
        ..RouterConfig::default()
    };
    let router = Router::new(0, router).spawn();
    let port = |index: usize| u16::try_from(numbers[index]).unwrap();
    serve(Server::new(settings(port(0)), router.clone(), V4));
    serve(Server::new(settings(port(1)), router, V5));
    for port in [port(0), port(1)] {
        eventually("it listens", PATIENCE, || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
    }
    println!("{RUNNING}");
    // Our input closes when the table ends, however it ends.
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

fn serve<P: Protocol + Clone + Send + 'static>(mut server: Server<P>) {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(server.start(LinkType::Remote)).unwrap();
    });
}

fn settings(port: u16) -> ServerSettings {
    ServerSettings {
        name: port.to_string(),
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        tls: None,
        next_connection_delay_ms: 1,
        connections: ConnectionSettings {
            connection_timeout_ms: 3_000,
            max_payload_size: 1 << 20,
            max_inflight_count: 100,
            auth: None,
            external_auth: None,
            dynamic_filters: true,
        },
    }
}
