//! What the program takes of a machine when nothing happens: memory with no device and with 200, and how long it takes from
//! its start until it serves.
//!
//! ```text
//! cargo bench --bench footprint                                   # the optimised program with the demonstration in it
//! HEARTHLINK=/usr/bin/hearthlink cargo test --bench footprint     # the one that the package brings, and quick to build
//! ```
//!
//! Takes half a minute and needs nothing. Ready is what the program tells systemd (`READY=1`, sd_notify(3)). Memory is the
//! resident set (VmRSS of proc(5)) and, beside it, what of that is its own and no file's (RssAnon). Owns no target: the
//! figures are in the README, and differ with the allocator's mood and the kernel's pages.

#[path = "../broker/client.rs"]
#[allow(dead_code, reason = "shared with the broker's laboratory")]
mod client;

use std::{
    env,
    ffi::OsString,
    fs,
    io::Write,
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixDatagram,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

const STARTS: usize = 20;
const DEVICES: usize = 200;
/// After which nothing of the start is under way any more.
const REST: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<()> {
    let program = env::var_os("HEARTHLINK").unwrap_or_else(|| env!("CARGO_BIN_EXE_hearthlink").into());
    println!("{}\n", program.to_string_lossy());
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        starts.push(Gateway::start(&program, 0)?.ready_after);
    }
    starts.sort();
    println!(
        "| start to ready | median {:?}, slowest {:?} of {STARTS} |",
        starts[STARTS / 2],
        starts[STARTS - 1]
    );
    for devices in [0, DEVICES] {
        let gateway = Gateway::start(&program, devices)?;
        gateway.report(devices)?;
        thread::sleep(REST);
        let (resident, own, threads) = gateway.memory()?;
        println!(
            "| idle, {devices} devices | {resident} KiB resident, {own} KiB of it its own, {threads} threads |"
        );
    }
    Ok(())
}

struct Gateway {
    child: Child,
    _directory: tempfile::TempDir,
    broker: SocketAddr,
    ready_after: Duration,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Gateway {
    fn start(program: &OsString, devices: usize) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let free = || TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let (broker, page) = (free()?, free()?);
        let devices: String = (0..devices)
            .map(|number| {
                format!("  - {{id: s{number}, kind: lan, options: {{state_topic: raw/{number}}}}}\n")
            })
            .collect();
        let devices = if devices.is_empty() { String::new() } else { format!("devices:\n{devices}") };
        let file = directory.path().join("home.yaml");
        fs::write(
            &file,
            format!(
                "gateway: {{id: home, data_dir: data}}\nbroker: {{listeners: [{{address: \"{broker}\"}}]}}\n\
                 web: {{address: \"{page}\"}}\n{devices}"
            ),
        )?;
        let socket = directory.path().join("notify");
        let told = UnixDatagram::bind(&socket)?;
        told.set_read_timeout(Some(PATIENCE))?;
        let start = Instant::now();
        let child = Command::new(program)
            .args(["run", "--config"])
            .arg(&file)
            .env("NOTIFY_SOCKET", &socket)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("the program cannot be started")?;
        let mut gateway = Self { child, _directory: directory, broker, ready_after: Duration::ZERO };
        let mut words = [0; 4096];
        loop {
            let length = told.recv(&mut words).context("it is never ready")?;
            if words[..length].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
                gateway.ready_after = start.elapsed();
                return Ok(gateway);
            }
        }
    }

    /// Every device says something once.
    fn report(&self, devices: usize) -> Result<()> {
        let mut stream = client::client(self.broker.port(), "footprint")?;
        for number in 0..devices {
            let payload = format!("{{\"temperature\": {}, \"humidity\": {}}}", number % 40, number % 100);
            stream.write_all(&client::publish(&format!("raw/{number}"), 0, 0, payload.as_bytes()))?;
        }
        Ok(())
    }

    /// Kibibytes resident, kibibytes of its own, threads.
    fn memory(&self) -> Result<(u64, u64, u64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let field = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let Some(word) = line.and_then(|rest| rest.split_whitespace().next()) else {
                bail!("proc(5) has no {name}");
            };
            Ok(word.parse()?)
        };
        let resident = field("VmRSS:")?;
        ensure!(resident > 0, "it has ended");
        Ok((resident, field("RssAnon:")?, field("Threads:")?))
    }
}
