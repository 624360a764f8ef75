//! Modbus devices that other people wrote: two of `pymodbus` on a line that `socat` is. `.ci/run` installs both;
//! without them this fails.
#![cfg(feature = "interop")]
#![allow(clippy::unwrap_used, reason = "a test's panic is its verdict, in its helpers, too")]

#[allow(dead_code, reason = "shared with tests/serial.rs")]
#[path = "serial/house.rs"]
mod house;

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use hearthlink::model::{Availability, OutcomeStatus};
use house::House;
use serde_json::{Value, json};

/// A process that ends with its owner.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Self {
        let name = format!("{command:?}");
        Self(command.spawn().unwrap_or_else(|error| panic!("{name}: {error}; `.ci/run` installs it")))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The wire: two ends that are pseudo-terminals.
struct Wire {
    ours: PathBuf,
    theirs: PathBuf,
    _socat: Process,
}

impl Wire {
    async fn plug(directory: &Path) -> Self {
        let (ours, theirs) = (directory.join("rs485"), directory.join("devices"));
        let end = |path: &Path| format!("PTY,link={},raw,echo=0", path.display());
        let socat = Process::start(Command::new("socat").arg(end(&ours)).arg(end(&theirs)));
        let wire = Self { ours, theirs, _socat: socat };
        until("socat makes its ends", || wire.ours.exists() && wire.theirs.exists()).await;
        wire
    }
}

/// The devices on the wire.
struct Devices {
    _process: Process,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Devices {
    fn start(wire: &Wire) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/modbus");
        let mut process = Process::start(
            Command::new(folder.join("venv/bin/python"))
                .arg(folder.join("line.py"))
                .arg(&wire.theirs)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped()),
        );
        let ask = process.0.stdin.take().unwrap();
        let answers = BufReader::new(process.0.stdout.take().unwrap());
        let mut devices = Self { _process: process, ask, answers };
        assert_eq!(devices.answer(), "ready");
        devices
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// What they have, by their own word.
    fn have(&mut self, device: &str) -> Value {
        self.ask.write_all(b"\n").unwrap();
        let all: Value = serde_json::from_str(&self.answer()).unwrap();
        all[device].clone()
    }
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let waiting = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    waited.unwrap_or_else(|_| panic!("it does not come to this: {what}"));
}

fn options(port: &Path, address: u8) -> Value {
    json!({
        "port": port, "address": address, "baud": 19200, "parity": "even", "every": "500ms",
        "offline_after": "3s",
        "registers": [
            {"name": "temperature", "table": "input", "register": 4, "type": "i16", "scale": 0.1},
            {"name": "voltage", "table": "input", "register": 30, "type": "f32"},
            {"name": "energy", "table": "input", "register": 40, "type": "u32", "words": "little", "every": "1s"},
            {"name": "setpoint", "register": 16, "type": "i16", "scale": 0.5, "writable": true},
            {"name": "limit", "register": 20, "type": "f32", "words": "little", "writable": true},
            {"name": "relay", "table": "coil", "register": 3, "writable": true},
            {"name": "nowhere", "register": 5000, "every": "1h", "writable": true},
        ],
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_of_pymodbus_are_read_set_and_told_apart_when_they_or_the_wire_go() {
    let directory = tempfile::tempdir().unwrap();
    let wire = Wire::plug(directory.path()).await;
    let mut devices = Devices::start(&wire);
    let names = ["cellar", "attic", "ghost"];
    let on_line: Vec<_> =
        names.iter().zip([17, 18, 19]).map(|(name, at)| (*name, "modbus", options(&wire.ours, at))).collect();
    let house = House::start(&on_line);
    let has = |house: &House, device: &str, name: &str| house.find(device)?.fields?.get(name).cloned();
    for (device, temperature) in [("cellar", json!(-5)), ("attic", json!(21.5))] {
        until("every register is read", || has(&house, device, "relay").is_some()).await;
        let fields = house.report(device).fields.unwrap();
        assert_eq!(fields["temperature"], temperature);
        assert_eq!((&fields["voltage"], &fields["energy"]), (&json!(230.5), &json!(65538)));
        assert_eq!((&fields["setpoint"], &fields["relay"]), (&json!(20), &json!("OFF")));
    }
    let fault = |house: &House, device: &str| house.report(device).fault.unwrap_or_default();
    until("the one that is not there has its sentence", || {
        fault(&house, "ghost").contains("does not answer")
    })
    .await;

    let request = json!({"setpoint": 21.5, "limit": -1.5, "relay": "ON"});
    let reply = house.send("attic", request).await.unwrap();
    assert_eq!(reply.status, OutcomeStatus::Applied, "{reply:?}");
    assert_eq!(devices.have("18"), json!({"setpoint": 43, "limit": [0, 0xbfc0], "relay": 1}));
    assert_eq!(
        devices.have("17"),
        json!({"setpoint": 40, "limit": [0, 0], "relay": 0}),
        "the other one is left alone"
    );
    let reply = house.send("attic", json!({"nowhere": 1})).await.unwrap();
    assert_eq!(reply.status, OutcomeStatus::Failed, "{reply:?}");
    assert!(reply.detail.unwrap().contains("it has no such register"));
    let reply = house.send("ghost", json!({"relay": "ON"})).await.unwrap();
    assert_eq!(reply.status, OutcomeStatus::Unknown, "{reply:?}");

    // The devices stop in the midst of their work; the port stays.
    drop(devices);
    until("a stuck device is offline", || house.report("attic").availability == Availability::Offline).await;
    until("a stuck device has its sentence", || fault(&house, "attic").contains("does not answer")).await;

    let missing = format!("the port {} is not there; is it plugged in?", wire.ours.display());
    drop(wire);
    until("the port is missing", || fault(&house, "attic") == missing).await;
    let reply = house.send("attic", json!({"relay": "OFF"})).await.unwrap();
    assert_eq!((reply.status, reply.detail), (OutcomeStatus::Failed, Some(missing)));

    let wire = Wire::plug(directory.path()).await;
    let mut devices = Devices::start(&wire);
    until("it heals", || has(&house, "attic", "setpoint") == Some(json!(20))).await;
    until("it is online", || house.report("attic").availability == Availability::Online).await;
    let reply = house.send("attic", json!({"relay": "ON"})).await.unwrap();
    assert_eq!(reply.status, OutcomeStatus::Applied, "{reply:?}");
    assert_eq!(devices.have("18")["relay"], json!(1));
    assert_eq!(house.report("attic").restarts, 0);
    house.end().await;
}
