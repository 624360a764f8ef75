//! The log of the real program: lines of JSON, another level without a restart, and the journal as systemd's own
//! `systemd-journald` and `journalctl` read it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's panic is its verdict, in its helpers, too")]

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use hearthlink::model::KeyEvent;
use serde_json::{Value, json};
use tempfile::TempDir;

#[cfg(feature = "interop")]
#[path = "logs/journal.rs"]
mod journal;
#[path = "support/port.rs"]
mod port;

use port::Port;

/// How long anything may take that usually takes a moment.
const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway with one device, and what it logs.
struct House {
    _directory: TempDir,
    file: PathBuf,
    broker: Port,
    gateway: Option<Child>,
    /// As many lines as it says: a test is short.
    lines: Option<Receiver<String>>,
}

impl House {
    fn new() -> Self {
        // The port of a socket of tokio's.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let broker = runtime.block_on(async { Port::reserve() });
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("home.yaml");
        Self { _directory: directory, file, broker, gateway: None, lines: None }
    }

    /// Writes its configuration; `log` is that section.
    fn write(&self, log: &str) {
        let address = self.broker.address();
        let yaml = format!(
            "gateway: {{id: home, data_dir: data}}\nbroker: {{listeners: [{{address: \"{address}\"}}]}}\n\
             devices: [{{id: toaster, kind: toaster}}]\nlog: {log}\n"
        );
        fs::write(&self.file, yaml).unwrap();
    }

    fn start(&mut self, environment: &[(&str, &str)]) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hearthlink"));
        command.args(["run", "--config"]).arg(&self.file).stdin(Stdio::null()).stdout(Stdio::null());
        command.env_remove("JOURNAL_STREAM").env_remove("HEARTHLINK_LOG").envs(environment.iter().copied());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let said = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || said.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        (self.gateway, self.lines) = (Some(child), Some(lines));
        // Signals are listened for before anybody is served.
        wait_for_door(self.broker.address());
    }

    fn signal(&self, name: &str) {
        let id = self.gateway.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// Its lines up to the first in which `wanted` stands.
    #[track_caller]
    fn lines_until(&self, wanted: &str) -> Vec<String> {
        let end = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            match self.lines.as_ref().unwrap().recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => seen.push(line),
                Err(error) => panic!("{wanted:?} was not logged ({error}), but:\n{}", seen.join("\n")),
            }
            if seen.last().unwrap().contains(wanted) {
                return seen;
            }
        }
    }

    /// Stops it in order; the rest of its lines.
    fn stop(&mut self) -> Vec<String> {
        self.signal("-TERM");
        assert!(self.gateway.take().unwrap().wait().unwrap().success());
        self.lines.take().unwrap().into_iter().collect()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(mut gateway) = self.gateway.take() {
            let _ = gateway.kill();
            let _ = gateway.wait();
        }
    }
}

#[track_caller]
fn wait_for_door(address: SocketAddr) {
    let end = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < end, "nobody listens at {address}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// One QoS 0 publish by hand (MQTT 3.1.1).
fn publish(broker: SocketAddr, topic: &str, payload: &str) {
    let mut stream = TcpStream::connect(broker).unwrap();
    stream.write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01d").unwrap();
    let mut welcome = [0; 4];
    stream.read_exact(&mut welcome).unwrap();
    let length = u8::try_from(2 + topic.len() + payload.len()).unwrap();
    let mut packet = vec![0x30, length, 0, u8::try_from(topic.len()).unwrap()];
    packet.extend([topic.as_bytes(), payload.as_bytes(), &[0xe0, 0]].concat());
    stream.write_all(&packet).unwrap();
    // The broker closes after DISCONNECT, when it has taken what came before.
    let _ = stream.read(&mut [0; 1]);
}

/// The event with this id among lines of JSON, which all of them have to be.
#[track_caller]
fn event(lines: &[String], event: KeyEvent) -> Value {
    let parse = |line: &String| -> Value {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let has = |name: &str| line[name].as_str().is_some_and(|word| !word.is_empty());
        assert!(has("timestamp") && has("level") && has("target"), "{line}");
        assert!(line["fields"]["message"].is_string(), "{line}");
        line
    };
    let mut lines: Vec<Value> = lines.iter().map(parse).collect();
    lines.retain(|line| line["fields"]["message_id"] == event.id());
    let found = lines.pop().unwrap_or_else(|| panic!("no {event:?}"));
    assert_eq!(found["fields"]["message"], event.says());
    found
}

#[test]
fn lines_of_json_have_the_fields_and_the_ids_of_key_events() {
    let mut house = House::new();
    house.write("{format: json}");
    house.start(&[]);
    let begun = house.lines_until(KeyEvent::Running.says());
    let running = event(&begun, KeyEvent::Running);
    assert_eq!((&running["level"], &running["fields"]["gateway"]), (&json!("INFO"), &json!("home")));

    publish(
        house.broker.address(),
        "home/toaster/set",
        r#"{"id":"a1","state":"ON","expires_at":"2020-01-01T00:00:00Z"}"#,
    );
    let refused = house.lines_until("a1");
    let fields = event(&refused, KeyEvent::CommandRefused)["fields"].clone();
    assert_eq!((&fields["id"], &fields["device"]), (&json!("a1"), &json!("toaster")), "{fields}");
    assert_eq!((&fields["status"], &fields["origin"]), (&json!("expired"), &json!("local")), "{fields}");
    publish(house.broker.address(), "home/toaster/set", r#"{"id":"a2","state":"ON"}"#);
    let concluded = house.lines_until(KeyEvent::CommandConcluded.id());
    assert_eq!(event(&concluded, KeyEvent::CommandConcluded)["fields"]["status"], "applied");

    event(&house.stop(), KeyEvent::Stopped);
}

#[test]
fn a_line_of_text_has_no_ids_in_it() {
    let mut house = House::new();
    house.write("{format: text}");
    house.start(&[]);
    house.lines_until("a device is there device=toaster");
    let lines = house.stop().join("\n");
    assert!(lines.contains(": stopped in order") && !lines.contains("message_id"), "{lines}");
}

#[test]
fn a_reload_turns_the_log_up_and_down_and_a_bad_file_changes_nothing() {
    let mut house = House::new();
    house.write("{level: error, format: json}");
    house.start(&[]);

    house.write("{level: debug, format: json}");
    house.signal("-HUP");
    // Nothing was said before: it was at `error`.
    let [line] = house.lines_until(KeyEvent::Reloaded.says()).try_into().unwrap();
    let fields = event(&[line], KeyEvent::Reloaded)["fields"].clone();
    assert_eq!((&fields["log_level"], &fields["restart_needed"]), (&json!("debug"), &json!(false)));
    assert_eq!(fields.get("overridden_by"), None);

    house.write("{level: loud}");
    house.signal("-HUP");
    let refused = house.lines_until(KeyEvent::ReloadRefused.id());
    let refused = event(&refused, KeyEvent::ReloadRefused);
    let error = refused["fields"]["error"].as_str().unwrap();
    assert!(refused["level"] == "ERROR" && error.contains("unknown word `loud`"), "{error}");

    // It is still at `debug`: this is an INFO.
    publish(house.broker.address(), "home/toaster/set", "ON");
    house.lines_until(KeyEvent::CommandConcluded.id());

    house.write("{level: warn, format: text}");
    house.signal("-HUP");
    let fields = event(&house.lines_until("reloaded"), KeyEvent::Reloaded)["fields"].clone();
    // The format is not taken over.
    assert_eq!((&fields["log_level"], &fields["restart_needed"]), (&json!("warn"), &json!(true)));
    // That was said before it was done; the next reload comes after it.
    house.write("{level: loud}");
    house.signal("-HUP");
    house.lines_until(KeyEvent::ReloadRefused.id());
    assert_eq!(house.stop(), [""; 0]);
}

#[test]
fn the_environment_has_the_last_word_on_the_level() {
    let mut house = House::new();
    house.write("{level: error, format: json}");
    house.start(&[("HEARTHLINK_LOG", "info")]);
    house.lines_until(KeyEvent::Running.says());
    house.write("{level: debug, format: json}");
    house.signal("-HUP");
    let lines = house.lines_until(KeyEvent::Reloaded.says());
    assert_eq!(event(&lines, KeyEvent::Reloaded)["fields"]["overridden_by"], "HEARTHLINK_LOG");
    let lines = house.stop();
    let levels: BTreeSet<String> =
        lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap()["level"].to_string()).collect();
    assert_eq!(levels.into_iter().collect::<Vec<_>>(), ["\"INFO\""]);
}

fn page(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn the_manual_and_the_catalog_have_every_key_event_and_no_other() {
    let manual = page("docs/logs.md");
    for event in KeyEvent::ALL {
        let row = format!("| `{}` | {} |", event.id(), event.says());
        assert!(manual.contains(&row), "docs/logs.md lacks this row:\n{row}");
    }
    let rows = manual.lines().filter(|line| line.starts_with("| `") && line.len() > 40);
    assert_eq!(rows.filter(|row| row.as_bytes().get(35) == Some(&b'`')).count(), KeyEvent::ALL.len());

    let catalog = page("systemd/hearthlink.catalog");
    let mut ids = Vec::new();
    for entry in catalog.split("\n-- ").skip(1) {
        let (id, rest) = entry.split_once('\n').unwrap();
        let (head, text) = rest.split_once("\n\n").unwrap();
        let says_enough = head.starts_with("Subject: ")
            && head.contains("\nDefined-By: hearthlink")
            && text.trim().len() > 30;
        assert!(says_enough, "{id} says too little:\n{rest}");
        // What it quotes has to be a field that docs/logs.md promises for it.
        let row = manual.lines().find(|line| line.starts_with(&format!("| `{id}`")));
        let row = row.unwrap_or_else(|| panic!("no event {id}"));
        for field in rest.split('@').skip(1).step_by(2) {
            assert!(row.contains(&format!("`{}`", field.to_lowercase())), "{id} has no field {field}");
        }
        ids.push(id);
    }
    let known: Vec<&str> = KeyEvent::ALL.iter().map(|event| event.id()).collect();
    assert_eq!(ids, known);
}
