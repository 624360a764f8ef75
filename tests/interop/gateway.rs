//! The real binary with a configuration file, as systemd would run it.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;

use super::{
    clients::Broker,
    pki::Identity,
    place::Place,
    port::Port,
    process::{PATIENCE, Process, eventually},
};

/// How to reach the cloud, and as whom.
pub struct Line<'a> {
    pub port: u16,
    pub ca: &'a Path,
    pub identity: &'a Identity,
}

/// A running gateway.
pub struct Gateway {
    process: Process,
    config: PathBuf,
    place: Place,
    /// Where devices connect: plain MQTT, no password.
    pub lan_port: u16,
    /// Where its status page is.
    pub web_port: u16,
    /// That of the broker and that of the page.
    ports: [Port; 2],
}

/// The beginning of a configuration: who, where, the line and the status page. The caller adds
/// `devices`, `commands` and `routes`, and may replace `broker`.
pub struct Plan {
    pub folder: PathBuf,
    pub line: String,
    pub broker: Option<String>,
    pub rest: String,
    pub place: Place,
}

impl Plan {
    /// A gateway called `home` in `folder`, with the line to the cloud and `rest` of the file.
    pub fn new(folder: &Path, line: Option<&Line>, rest: &str) -> Self {
        // Waits are short here, so that a test does not wait for the jitter of minutes.
        let line = line.map_or(String::new(), |line| {
            format!(
                "cloud:\n  url: wss://localhost:{}/mqtt\n  ca_file: {}\n  certificate_file: {}\n  key_file: {}\n  \
                 window: 64\n  backoff: {{first: 200ms, longest: 1s, stable_after: 60s}}\n",
                line.port,
                line.ca.display(),
                line.identity.certificate.display(),
                line.identity.key.display()
            )
        });
        let (folder, rest) = (folder.to_owned(), rest.to_owned());
        Self { folder, line, broker: None, rest, place: Place::default() }
    }

    /// Writes the file and starts the gateway; returns when its status page answers.
    #[track_caller]
    pub fn start(&self) -> Gateway {
        let ports = [Port::reserve(), Port::reserve()];
        let [lan_port, web_port] = ports.each_ref().map(|port| port.address().port());
        let broker = self.broker.clone().unwrap_or_default().replace("LAN_PORT", &lan_port.to_string());
        let broker = if broker.is_empty() {
            format!("broker:\n  listeners:\n    - {{address: \"127.0.0.1:{lan_port}\"}}\n")
        } else {
            broker
        };
        let text = format!(
            "gateway: {{id: home, data_dir: {data}}}\nweb: {{address: \"127.0.0.1:{web_port}\", control: true}}\n{broker}{}{}",
            self.line,
            self.rest,
            data = self.folder.join("data").display()
        );
        fs::create_dir_all(&self.folder).expect("a folder");
        let config = self.folder.join("hearthlink.yaml");
        fs::write(&config, text).expect("written");
        Gateway::run(self.place.clone(), config, ports)
    }
}

impl Gateway {
    #[track_caller]
    fn run(place: Place, config: PathBuf, ports: [Port; 2]) -> Self {
        let mut command = place.command(hearthlink().get_program());
        command.arg("run").arg("--config").arg(&config).env("HEARTHLINK__GATEWAY__RECEIPTS", "all");
        let process = Process::start("the gateway", &mut command);
        let [lan_port, web_port] = ports.each_ref().map(|port| port.address().port());
        let mut gateway = Self { process, config, place, lan_port, web_port, ports };
        eventually("the gateway's status page answers", PATIENCE, || {
            assert!(
                gateway.process.is_running(),
                "the gateway ended: {}",
                gateway.process.lines().join("\n")
            );
            gateway.get("/api/status")
        });
        gateway
    }

    /// Stops it as systemd does and insists that it drains and exits with 0; then starts it again.
    #[track_caller]
    pub fn restart(mut self) -> Self {
        self.terminate();
        self.start_again()
    }

    /// Starts it again after [`Gateway::terminate`] or [`Gateway::kill`].
    #[track_caller]
    pub fn start_again(self) -> Self {
        let Self { process, config, place, ports, .. } = self;
        drop(process);
        Self::run(place, config, ports)
    }

    /// SIGTERM, then exit code 0.
    #[track_caller]
    pub fn terminate(&mut self) {
        self.process.signal("TERM");
        let status = self.process.wait(PATIENCE);
        assert_eq!(status.code(), Some(0), "SIGTERM must drain in order and exit with 0");
    }

    /// SIGKILL, as a power cut: nothing is said and nothing is written. Then it is started again.
    #[track_caller]
    pub fn crash(mut self) -> Self {
        self.kill();
        self.start_again()
    }

    /// SIGKILL, and it stays away until [`Gateway::start_again`].
    #[track_caller]
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Its process' id.
    #[allow(dead_code, reason = "only the test of the idle gateway asks")]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// How many sockets it has open.
    #[allow(dead_code, reason = "only the Bluetooth tests ask")]
    pub fn sockets(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.process.id());
        let links = std::fs::read_dir(folder).expect("its open files");
        let links = links.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
    }

    /// Waits until the line is up and commands arrive as they are sent.
    #[track_caller]
    pub fn wait_online(&self) -> Value {
        self.wait_for_status("the gateway is online", |status| status["link"]["state"] == "online")
    }

    /// Waits until the status page says what is wanted.
    #[track_caller]
    pub fn wait_for_status(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_longer_for_status(what, PATIENCE, wanted)
    }

    /// The same for what may take more than a moment.
    #[track_caller]
    pub fn wait_longer_for_status(
        &self,
        what: &str,
        patience: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        eventually(what, patience, || self.get("/api/status").filter(&wanted))
    }

    /// Waits until its log names `word`, spelt `like_this` or `LikeThis`.
    #[track_caller]
    pub fn wait_for_log(&self, word: &str) {
        let plain = |text: &str| text.replace('_', "").to_lowercase();
        let wanted = plain(word);
        self.process.wait_for(word, PATIENCE, |lines| {
            lines.iter().any(|line| plain(line).contains(&wanted)).then_some(())
        });
    }

    /// Everything it said so far.
    pub fn log(&self) -> Vec<String> {
        self.process.lines()
    }

    /// Its broker, for devices.
    pub fn lan(&self) -> Broker {
        Broker::seen_from(&self.place, "localhost", self.lan_port)
    }

    /// What the status page's API answers, if it does.
    pub fn get(&self, path: &str) -> Option<Value> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = if self.place.is_elsewhere() { self.ask_there(&request) } else { self.ask(&request) }?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| serde_json::from_str(body).ok())?
    }

    fn ask(&self, request: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.web_port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// The same where the test itself cannot go: its status page is on loopback, and that loopback is not ours.
    fn ask_there(&self, request: &str) -> Option<String> {
        // Each question is a process, and those who wait ask again at once: several tests would fill two cores.
        thread::sleep(Duration::from_millis(150));
        let ask = "exec 3<>\"/dev/tcp/127.0.0.1/$1\" && cat >&3 && cat <&3";
        let mut asking = self
            .place
            .command("timeout")
            .args(["5", "bash", "-c", ask, "-", &self.web_port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("coreutils and bash are everywhere");
        // It hears no more where the status page does not answer yet.
        asking.stdin.take().expect("it was piped").write_all(request.as_bytes()).ok();
        let answer = asking.wait_with_output().ok()?;
        answer.status.success().then(|| String::from_utf8(answer.stdout).ok())?
    }
}

/// The binary under test.
pub fn hearthlink() -> Command {
    Command::new(env!("CARGO_BIN_EXE_hearthlink"))
}
