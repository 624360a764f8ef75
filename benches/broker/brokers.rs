//! The brokers under test, each a process of its own.
//!
//! Owns the children and their directories: killed and removed when dropped, also by a panic. Never kills
//! anything else. Each is configured to be at its best, within what is measured: see [`MOSQUITTO`].

use std::{
    fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use hearthlink::broker::Limits;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;

/// What Mosquitto is told, and the table's footer tells.
pub const MOSQUITTO: &str = "max_inflight_messages 100\nmax_queued_messages 0\nset_tcp_nodelay true\n\
    allow_anonymous true\npersistence false\nlog_type error\n";

/// What waits for one client of ours at most, in bytes.
pub const QUEUE: usize = 1 << 20;
/// Room for all of the 2,000 idle clients, which come from one address, and more.
const CLIENTS: usize = 4_000;
const HANDSHAKES: usize = 1_000;

const CERTIFICATE: &str = "broker.pem";

/// A broker that can be started.
#[derive(Debug, Clone)]
pub enum Broker {
    /// `hearthlink run`, this build's or another's.
    Hearthlink(PathBuf),
    Mosquitto,
}

/// Where Debian puts it, which is not on everybody's path.
const MOSQUITTO_PATHS: [&str; 2] = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"];

fn mosquitto() -> PathBuf {
    let found = MOSQUITTO_PATHS.iter().map(Path::new).find(|path| path.exists());
    found.map_or_else(|| "mosquitto".into(), Path::to_path_buf)
}

impl Broker {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hearthlink(_) => "Hearthlink",
            Self::Mosquitto => "Mosquitto",
        }
    }

    /// As it says itself.
    pub fn version(&self) -> Result<String> {
        let output = match self {
            Self::Hearthlink(path) => Command::new(path).arg("--version").output(),
            Self::Mosquitto => Command::new(mosquitto()).arg("-h").output(),
        };
        let output = output.with_context(|| format!("failed to ask {} for its version", self.name()))?;
        let said = String::from_utf8_lossy(&output.stdout);
        Ok(said.lines().next().unwrap_or_default().trim().to_owned())
    }

    /// Starts it and waits until it listens.
    pub fn start(&self) -> Result<Running> {
        let directory = tempfile::tempdir()?;
        let ports = Ports { tcp: free_port()?, websocket: free_port()?, tls: free_port()? };
        let mut command = match self {
            Self::Hearthlink(path) => {
                let file = write_ours(directory.path(), &ports)?;
                let mut command = Command::new(path);
                command.arg("run").arg("--config").arg(file);
                command
            }
            Self::Mosquitto => {
                let file = directory.path().join("mosquitto.conf");
                fs::write(&file, format!("listener {} 127.0.0.1\n{MOSQUITTO}", ports.tcp))?;
                let mut command = Command::new(mosquitto());
                command.arg("-c").arg(file);
                command
            }
        };
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let child = child.with_context(|| format!("failed to start {}", self.name()))?;
        let mut running = Running { child, ports, directory };
        running.wait().with_context(|| format!("{} does not listen", self.name()))?;
        Ok(running)
    }
}

/// Where a broker listens; Mosquitto has only `tcp`.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    pub tcp: u16,
    pub websocket: u16,
    pub tls: u16,
}

/// The kernel gives one that nobody has; in the moment until the broker takes it somebody else might,
/// which then shows.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// What our configuration below sets of them.
pub fn limits() -> Limits {
    Limits {
        max_clients: CLIENTS,
        max_clients_per_address: CLIENTS,
        max_sessions: CLIENTS,
        max_handshakes: HANDSHAKES,
        inflight: 100,
        queue_bytes_per_session: QUEUE,
        ..Limits::default()
    }
}

fn write_ours(directory: &Path, ports: &Ports) -> Result<PathBuf> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()])?;
    fs::write(directory.join(CERTIFICATE), cert.pem())?;
    let key = directory.join("broker.key");
    fs::write(&key, signing_key.serialize_pem())?;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
    let file = directory.join("hearthlink.yaml");
    let text = format!(
        "gateway: {{id: laboratory, data_dir: {directory}}}
broker:
  listeners:
    - address: 127.0.0.1:{tcp}
    - {{address: \"127.0.0.1:{websocket}\", transport: websocket}}
    - address: 127.0.0.1:{tls}
      tls: {{certificate_file: {CERTIFICATE}, key_file: broker.key}}
  limits: {{max_clients: {CLIENTS}, max_clients_per_address: {CLIENTS}, max_sessions: {CLIENTS},
    max_handshakes: {HANDSHAKES}, inflight: 100,
    queue_per_session: {QUEUE} B}}
log: {{level: error, format: text}}
",
        directory = directory.display(),
        tcp = ports.tcp,
        websocket = ports.websocket,
        tls = ports.tls,
    );
    fs::write(&file, text)?;
    Ok(file)
}

/// A broker that runs.
#[derive(Debug)]
pub struct Running {
    child: Child,
    pub ports: Ports,
    directory: TempDir,
}

impl Running {
    /// Of ours.
    pub fn certificate(&self) -> PathBuf {
        self.directory.path().join(CERTIFICATE)
    }

    fn wait(&mut self) -> Result<()> {
        let until = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.ports.tcp)).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended: {status}");
            }
            if Instant::now() > until {
                bail!("nothing on port {}", self.ports.tcp);
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// What the process has in memory now, in bytes.
    pub fn memory(&self) -> Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))?;
        let line = text.lines().find(|line| line.starts_with("Rss:")).context("no Rss")?;
        let kibibytes: f64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
        Ok(kibibytes * 1024.0)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
