//! The programs under test, and the cloud: each a process of its own in a fresh folder.
//!
//! Owns the children: killed when dropped, also by a panic; never kills anything else. Each contender is configured
//! as a careful user would: [`BRIDGE`] and [`RELAY`] are what the table's footer says.

use std::{
    env, fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::wire;

/// What Mosquitto is told where it is the gateway, beside its bridge: all that waits is kept, and on the disk within
/// a second or two. `autosave_on_changes` writes the whole of it again for every few messages: 2,000/s instead of 41,000/s
/// (80 KB of disk a message), measured here.
pub const BRIDGE: &str = "persistence true\nautosave_interval 1\nmax_inflight_messages 1000\n\
    max_queued_messages 0\nset_tcp_nodelay true\n";
/// What it is told as a relay's home broker: as Debian installs it, and nothing dropped.
pub const RELAY: &str =
    "persistence true\nmax_inflight_messages 1000\nmax_queued_messages 0\nset_tcp_nodelay true\n";

const PATIENCE: Duration = Duration::from_secs(10);

/// Where Debian puts it, which is not on everybody's path.
fn mosquitto() -> PathBuf {
    let path = Path::new("/usr/sbin/mosquitto");
    if path.exists() { path.to_owned() } else { "mosquitto".into() }
}

/// Ours, from the environment or of this build.
pub fn hearthlink() -> PathBuf {
    env::var_os("HEARTHLINK").unwrap_or_else(|| env!("CARGO_BIN_EXE_hearthlink").into()).into()
}

/// The kernel gives one that nobody has; in the moment until a program takes it somebody else might, which then shows.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A child that is killed when dropped.
pub struct Program {
    child: Child,
}

impl Program {
    fn start(command: &mut Command) -> Result<Self> {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        // Who wants to know why nothing arrives.
        if env::var_os("E2E_VERBOSE").is_none() {
            command.stderr(Stdio::null());
        }
        let child = command.spawn();
        Ok(Self { child: child.with_context(|| format!("failed to start {command:?}"))? })
    }

    fn mosquitto(folder: &Path, text: &str) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let file = folder.join("mosquitto.conf");
        // `user root`: started by root it would become somebody who cannot read the keys.
        let beginning = "user root\nallow_anonymous true\nlog_type error\nlog_dest stderr\n";
        fs::write(&file, format!("{beginning}persistence_location {}/\n{text}", folder.display()))?;
        Self::start(Command::new(mosquitto()).arg("-c").arg(file))
    }

    fn wait_for(&mut self, port: u16) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("a program ended: {status}");
            }
            if Instant::now() > until {
                bail!("nothing on port {port}");
            }
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SIGKILL.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Debian's Mosquitto as the cloud.
pub struct Cloud {
    _program: Program,
    pub wss: u16,
    pub tls: u16,
    /// Without TLS, for the app where it only counts.
    pub plain: u16,
}

impl Cloud {
    pub fn start(folder: &Path, certificates: &Path) -> Result<Self> {
        let (wss, tls, plain) = (free_port()?, free_port()?, free_port()?);
        let identity = wire::identity(certificates, "cloud");
        let secure = format!(
            "certfile {}\nkeyfile {}\ncafile {}\nrequire_certificate true\n",
            identity.certificate.display(),
            identity.key.display(),
            certificates.join("ca.pem").display()
        );
        // It drops nothing, and keeps nothing on the disk: it is not what is measured.
        let text = format!(
            "persistence false\nmax_inflight_messages 0\nmax_queued_messages 0\nset_tcp_nodelay true\n\
             listener {wss} 127.0.0.1\nsocket_domain ipv4\nprotocol websockets\n{secure}\
             listener {tls} 127.0.0.1\n{secure}listener {plain} 127.0.0.1\n"
        );
        let mut program = Program::mosquitto(&folder.join("cloud"), &text)?;
        program.wait_for(plain)?;
        Ok(Self { _program: program, wss, tls, plain })
    }
}

/// What stands between the devices and the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contender {
    Hearthlink,
    /// Mosquitto with its own bridge.
    Bridge,
    /// Mosquitto and [`crate::relay`].
    Relay,
}

/// In the table's order.
pub const CONTENDERS: [Contender; 3] = [Contender::Hearthlink, Contender::Bridge, Contender::Relay];

impl Contender {
    /// Which of the cloud's two ports it dials.
    pub fn port(self, wss: u16, tls: u16) -> u16 {
        if self == Self::Bridge { tls } else { wss }
    }
}

/// A contender's folder and ports; it can be started again on them.
pub struct Home {
    contender: Contender,
    folder: PathBuf,
    certificates: PathBuf,
    /// Where it finds the cloud.
    cloud: u16,
    /// Where devices connect.
    pub lan: u16,
    programs: Vec<Program>,
}

impl Home {
    /// Starts it; it may not listen yet.
    pub fn start(contender: Contender, folder: &Path, certificates: &Path, cloud: u16) -> Result<Self> {
        let (folder, certificates) = (folder.join("home"), certificates.to_owned());
        fs::create_dir_all(&folder)?;
        let mut home =
            Self { contender, folder, certificates, cloud, lan: free_port()?, programs: Vec::new() };
        home.launch()?;
        Ok(home)
    }

    /// SIGKILL to all of it.
    pub fn kill(&mut self) {
        self.programs.clear();
    }

    /// Starts it, again or for the first time, with what lies in its folder.
    pub fn launch(&mut self) -> Result<()> {
        let listener = format!("listener {} 127.0.0.1\n", self.lan);
        let program = match self.contender {
            Contender::Hearthlink => {
                let file = self.write_ours()?;
                Program::start(Command::new(hearthlink()).arg("run").arg("--config").arg(file))?
            }
            Contender::Bridge => {
                Program::mosquitto(&self.folder, &format!("{listener}{BRIDGE}{}", self.bridge()))?
            }
            Contender::Relay => {
                let mut broker = Program::mosquitto(&self.folder, &format!("{listener}{RELAY}"))?;
                broker.wait_for(self.lan)?;
                self.programs.push(broker);
                let mut command = Command::new(env::current_exe()?);
                command.arg("--relay").arg(self.lan.to_string()).arg(self.cloud.to_string());
                Program::start(command.arg(&self.certificates))?
            }
        };
        self.programs.push(program);
        Ok(())
    }

    fn bridge(&self) -> String {
        let identity = wire::identity(&self.certificates, "home");
        let prefix = crate::relay::PREFIX;
        format!(
            "connection cloud\naddress 127.0.0.1:{}\ntopic sensors/# out 1 \"\" {prefix}\n\
             topic commands/# in 1 \"\" {prefix}\ncleansession false\nnotifications false\n\
             bridge_attempt_unsubscribe false\nrestart_timeout 1\nremote_clientid home\n\
             bridge_cafile {}\nbridge_certfile {}\nbridge_keyfile {}\n",
            self.cloud,
            self.certificates.join("ca.pem").display(),
            identity.certificate.display(),
            identity.key.display(),
        )
    }

    /// Defaults, but for room for the 1,000 idle clients, which come from one address.
    fn write_ours(&self) -> Result<PathBuf> {
        let identity = wire::identity(&self.certificates, "home");
        let text = format!(
            "gateway: {{id: home, data_dir: data}}
broker:
  listeners: [{{address: \"127.0.0.1:{lan}\"}}]
  limits: {{max_clients: 2000, max_clients_per_address: 2000, max_sessions: 2000}}
cloud:
  url: wss://localhost:{cloud}/mqtt
  ca_file: {ca}
  certificate_file: {certificate}
  key_file: {key}
routes: [{{local: \"sensors/#\"}}]
routes_in: [{{cloud: \"{{prefix}}/{{gateway}}/commands/#\"}}]
devices: [{{id: fan, kind: lan, options: {{command_topic: fan/set}}}}]
commands: {{allow: [{{device: fan, set: {{state: any}}}}]}}
log: {{level: error, format: text}}
",
            lan = self.lan,
            cloud = self.cloud,
            ca = self.certificates.join("ca.pem").display(),
            certificate = identity.certificate.display(),
            key = identity.key.display(),
        );
        let file = self.folder.join("hearthlink.yaml");
        fs::write(&file, text)?;
        Ok(file)
    }

    /// The process ids of all of it.
    pub fn processes(&self) -> Vec<u32> {
        self.programs.iter().map(|program| program.child.id()).collect()
    }

    /// Waits until devices can connect.
    pub fn wait(&mut self) -> Result<()> {
        let lan = self.lan;
        self.programs.first_mut().context("it runs")?.wait_for(lan)
    }
}
