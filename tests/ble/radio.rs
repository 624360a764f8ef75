//! A message bus with a BlueZ on it that does what a test says: `interop/bluez/bluez.py`.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

use super::process::{PATIENCE, Process, eventually, program};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/bluez")
}

/// The message bus.
pub struct Bus {
    daemon: Process,
    config: PathBuf,
    socket: PathBuf,
    pub address: String,
}

impl Bus {
    #[track_caller]
    pub fn start(place: &Path) -> Self {
        let (socket, config) = (place.join("bus"), place.join("bus.conf"));
        configure(&config, &socket, "");
        let _ = fs::remove_file(&socket);
        let mut command = Command::new(program("dbus-daemon"));
        let mut config_option = std::ffi::OsString::from("--config-file=");
        config_option.push(&config);
        let mut daemon = Process::start("dbus-daemon", command.arg(config_option).arg("--nofork"));
        eventually("the message bus listens", PATIENCE, || {
            assert!(daemon.is_running(), "the message bus ended: {}", daemon.lines().join("\n"));
            std::os::unix::net::UnixStream::connect(&socket).ok()
        });
        let address = format!("unix:path={}", socket.display());
        Self { daemon, config, socket, address }
    }

    /// From now on nobody may speak to the Bluetooth daemon, or everybody again.
    pub fn deny(&self, is_denied: bool) {
        let denied = if is_denied { "<deny send_destination=\"org.bluez\"/>" } else { "" };
        configure(&self.config, &self.socket, denied);
        // It reads its file again.
        self.daemon.signal("HUP");
    }
}

fn configure(config: &Path, socket: &Path, denied: &str) {
    let text = fs::read_to_string(folder().join("bus.conf")).expect("it is in the repository");
    let text = text.replace("SOCKET", &socket.display().to_string()).replace("DENIED", denied);
    fs::write(config, text).expect("written");
}

/// The Bluetooth daemon with its adapters and everything in the air around it.
pub struct BlueZ {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl BlueZ {
    #[track_caller]
    pub fn start(bus: &Bus) -> Self {
        let python = folder().join("venv/bin/python");
        let started = Command::new(&python)
            .arg(folder().join("bluez.py"))
            .arg(&bus.address)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut process = started.unwrap_or_else(|error| panic!("{python:?}: {error}; `.ci/run` makes it"));
        let orders = process.stdin.take().expect("it was piped");
        let answers = BufReader::new(process.stdout.take().expect("it was piped"));
        let mut bluez = Self { process, orders, answers };
        assert_eq!(bluez.answer(), "ready");
        bluez
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("it answers");
        line.trim().to_owned()
    }

    /// Does this, and says what came of it.
    #[track_caller]
    pub fn order(&mut self, order: Value) -> Value {
        writeln!(self.orders, "{order}").expect("it listens");
        let answer: Value = serde_json::from_str(&self.answer()).expect("it answers in JSON");
        assert_eq!(answer.get("problem"), None, "{order}");
        answer
    }

    /// What was done to it so far.
    pub fn log(&mut self) -> Vec<String> {
        let log = self.order(json!({"do": "log"}));
        log.as_array().expect("a list").iter().map(|line| line.as_str().expect("a text").to_owned()).collect()
    }

    /// How often this was done to it.
    pub fn times(&mut self, what: &str) -> usize {
        self.log().iter().filter(|line| line.starts_with(what)).count()
    }
}

impl Drop for BlueZ {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
