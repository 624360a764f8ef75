//! What somebody who looks at the page takes from the gateway: the real program's own throughput, with the page closed and
//! open in turns.
//!
//! A message comes from a device at home, goes through the device's driver onto the board, and out again as the device's
//! state; a client that is both ends keeps so many under way and counts what comes back.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    client::{self, Inbox},
    hear, reader,
};

const DEVICES: usize = 1000;
/// Messages under way: few enough that nothing is ever left out.
const WINDOW: u64 = 32;
/// Rounds with the page closed, and as many with it open.
const ROUNDS: usize = 10;
const LENGTH: Duration = Duration::from_secs(3);
/// How much less an open page may leave.
const LEAST: f64 = 0.97;
const PATIENCE: Duration = Duration::from_secs(30);

struct Gateway {
    child: Child,
    _directory: tempfile::TempDir,
    broker: u16,
    page: SocketAddr,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Gateway {
    fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let free = || TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let (broker, page) = (free()?, free()?);
        let devices: String = (0..DEVICES)
            .map(|number| {
                format!("  - {{id: s{number}, kind: lan, options: {{state_topic: raw/{number}}}}}\n")
            })
            .collect();
        let text = format!(
            "gateway: {{id: home, data_dir: data}}\nbroker: {{listeners: [{{address: \"{broker}\"}}]}}\n\
             web: {{address: \"{page}\"}}\ndevices:\n{devices}"
        );
        let file = directory.path().join("home.yaml");
        fs::write(&file, text)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_hearthlink"));
        command.args(["run", "--config"]).arg(&file).env("HEARTHLINK_LOG", "error").stdin(Stdio::null());
        let child = command.spawn().context("failed to start the gateway")?;
        let gateway = Self { child, _directory: directory, broker: broker.port(), page };
        let end = Instant::now() + PATIENCE;
        while [broker, page].iter().any(|address| TcpStream::connect(address).is_err()) {
            ensure!(Instant::now() < end, "the gateway does not come up");
            thread::sleep(Duration::from_millis(50));
        }
        Ok(gateway)
    }
}

/// Measures and prints; whether the target is met.
pub fn run() -> Result<bool> {
    let gateway = Gateway::start()?;
    let mut home = client::client(gateway.broker, "both-ends")?;
    client::enlist(&mut home, "home/+", 0)?;
    let mut inbox = Inbox::new();
    // The first messages make the topics.
    round(&mut home, &mut inbox)?;
    let (mut closed, mut open) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        closed.push(round(&mut home, &mut inbox)?);
        open.push(looked_at(gateway.page, || round(&mut home, &mut inbox))?);
    }
    let (closed, open) = (median(closed), median(open));
    let ratio = open / closed;
    println!("\n| the page | messages/s, median of {ROUNDS} |\n|---|---|");
    println!("| closed | {closed:.0} |\n| open | {open:.0} ({:+.1} %) |", 100.0 * (ratio - 1.0));
    let is_met = ratio >= LEAST;
    println!("\nTarget: at most 3 % less with the page open: {}.", if is_met { "met" } else { "missed" });
    Ok(is_met)
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    (rates[(rates.len() - 1) / 2] + rates[rates.len() / 2]) / 2.0
}

/// Messages a second that come back.
fn round(home: &mut TcpStream, inbox: &mut Inbox) -> Result<f64> {
    let (mut sent, mut received) = (0, 0);
    let start = Instant::now();
    let mut batch = Vec::new();
    loop {
        let is_over = start.elapsed() >= LENGTH;
        if is_over && received == sent {
            return Ok(received as f64 / start.elapsed().as_secs_f64());
        }
        batch.clear();
        while !is_over && sent - received < WINDOW {
            let payload = format!("{{\"temperature\": {:.1}}}", f64::from(fastrand::u32(0..400)) / 10.0);
            let topic = format!("raw/{}", fastrand::usize(0..DEVICES));
            batch.extend(client::publish(&topic, 0, 0, payload.as_bytes()));
            sent += 1;
        }
        home.write_all(&batch)?;
        if inbox.read(home).context("a message never came back")? == 0 {
            bail!("the broker has hung up");
        }
        while let Some((first, _)) = inbox.next() {
            received += u64::from(first >> 4 == 3);
        }
    }
}

/// While somebody looks: has got the page, and reads its events.
fn looked_at<T>(page: SocketAddr, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let mut whole = TcpStream::connect(page)?;
    whole.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n")?;
    whole.read_to_end(&mut Vec::new())?;
    let mut events = reader(page)?;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let looking = scope.spawn(|| -> Result<usize> {
            let (mut bytes, mut buffer) = (0, vec![0; 1 << 16]);
            while !is_over.load(Ordering::Relaxed) {
                bytes += hear(&mut events, &mut buffer)?;
            }
            Ok(bytes)
        });
        let done = work();
        is_over.store(true, Ordering::Relaxed);
        match looking.join() {
            Ok(bytes) => ensure!(bytes? > 1000, "who looks has seen nothing"),
            Err(_) => bail!("who looks has panicked"),
        }
        done
    })
}
