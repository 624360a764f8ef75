//! The command line as a person types it: from `init` to the first reading, to a command's outcome, to an empty queue.

#![allow(clippy::unwrap_used, reason = "a test's panic is its verdict, in its helpers, too")]

#[allow(dead_code, reason = "shared with the tests of the disk")]
#[path = "support/house.rs"]
mod house;

use std::{
    ffi::OsStr,
    fs,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use house::{House, PATIENCE, Program, free_port};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    time::timeout,
};

fn hearthlink(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearthlink"));
    command.args(arguments).current_dir(directory).stdin(Stdio::null());
    command.env_remove("JOURNAL_STREAM").env_remove("HEARTHLINK_LOG");
    command
}

/// Exit code, standard output and standard error.
fn said(directory: &Path, arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = hearthlink(directory, arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// Waits for `done`, for up to a minute.
#[track_caller]
fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < end, "{what} did not happen");
        thread::sleep(Duration::from_millis(50));
    }
}

/// One QoS 0 publish by hand, as any device could do it (MQTT 3.1.1).
fn publish(port: u16, topic: &str, payload: &str) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01d").unwrap();
    let mut welcome = [0; 4];
    stream.read_exact(&mut welcome).unwrap();
    assert_eq!(welcome, [0x20, 2, 0, 0]);
    let length = u8::try_from(2 + topic.len() + payload.len()).unwrap();
    assert!(length < 128);
    let mut packet = vec![0x30, length, 0, u8::try_from(topic.len()).unwrap()];
    packet.extend([topic.as_bytes(), payload.as_bytes()].concat());
    packet.extend([0xe0, 0]);
    stream.write_all(&packet).unwrap();
    // The broker closes after DISCONNECT, when it has taken what came before.
    let end = stream.read(&mut [0; 1]).map_err(|error| error.kind());
    assert_ne!(end, Err(ErrorKind::WouldBlock), "the broker does not close");
}

#[tokio::test]
async fn from_init_to_the_first_reading_nothing_has_to_be_read_or_edited() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path();
    let page = free_port();
    let port = page.to_string();
    let (code, told, complaint) = said(
        directory,
        &["init", "--config", "home.yaml", "--yes", "--no-scan", "--name", "attic", "--port", &port],
    );
    assert_eq!((code, complaint.as_str()), (0, ""), "{told}");
    assert!(told.contains("home.yaml is written: gateway attic, no cloud, 2 devices"), "{told}");
    let (code, _, complaint) = said(directory, &["check", "--config", "home.yaml"]);
    assert_eq!((code, complaint.as_str()), (0, ""));

    // What it says to type is what is typed.
    let (_, commands) = told.split_once("What to do now:\n").unwrap();
    let mut commands = commands.lines().map(str::trim);
    assert_eq!(commands.next(), Some("hearthlink run --config home.yaml"));
    let publishes = commands.next().unwrap();
    assert!(publishes.starts_with("mosquitto_pub") && publishes.contains("-t sensor/state"), "{publishes}");
    let words: Vec<&str> = publishes.split(' ').collect();
    let broker =
        words.iter().position(|word| *word == "-p").map_or(1883, |at| words[at + 1].parse().unwrap());
    let payload = publishes.split('\'').nth(1).unwrap();

    let running = Program::start::<&OsStr>(&directory.join("home.yaml"), []);
    wait_for("the page", || TcpStream::connect(("127.0.0.1", page)).is_ok());
    publish(broker, "sensor/state", payload);
    let url = format!("http://127.0.0.1:{page}");
    wait_for("the first reading", || {
        let (code, told, _) = said(directory, &["devices", "--url", &url, "--json"]);
        let devices: Value = serde_json::from_str(&told).unwrap_or_default();
        code == 0
            && devices.as_array().is_some_and(|devices| {
                devices
                    .iter()
                    .any(|device| device["id"] == "sensor" && device["fields"]["temperature"] == json!(21.5))
            })
    });
    let (code, told, _) = said(directory, &["devices", "--config", "home.yaml"]);
    assert_eq!(code, 0);
    let line = told.lines().find(|line| line.starts_with("sensor ")).unwrap();
    assert!(line.contains("online") && line.ends_with("temperature 21.5"), "{told}");
    running.stop().await;
    assert!(directory.join("hearthlink-data/hearthlink.db").exists());
}

#[test]
fn init_asks_nobody_who_is_not_there_and_overwrites_nothing_unasked() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path();
    let (code, told, complaint) =
        said(directory, &["init", "--config", "home.yaml", "--no-scan", "--name", "a"]);
    assert_eq!((code, told.as_str()), (1, ""));
    for part in ["no terminal", "--cloud, --login, --devices, --port", "`--yes`"] {
        assert!(complaint.contains(part), "{complaint} lacks {part}");
    }
    assert_eq!(fs::read_dir(directory).unwrap().count(), 0);

    let all =
        ["init", "--config", "home.yaml", "--no-scan", "--name", "a", "--cloud", "none", "--devices", "none"];
    let (code, _, complaint) = said(directory, &[&all[..], &["--port", "8099"]].concat());
    assert_eq!((code, complaint.as_str()), (0, ""), "five answers are enough without --yes");
    let before = fs::read(directory.join("home.yaml")).unwrap();
    let (code, _, complaint) = said(directory, &[&all[..], &["--port", "8098"]].concat());
    assert!(code == 1 && complaint.contains("--force"), "{complaint}");
    assert_eq!(fs::read(directory.join("home.yaml")).unwrap(), before);
    let (code, ..) = said(directory, &[&all[..], &["--port", "8098", "--force"]].concat());
    assert_eq!(code, 0);
    assert!(fs::read_to_string(directory.join("home.yaml")).unwrap().contains("127.0.0.1:8098"));

    for (bad, part) in [
        (["--cloud", "http://a"], "does not begin with"),
        (["--name", "a b"], "is not an id"),
        (["--devices", "toastr"], "`toastr` is none of them"),
        (["--port", "0"], "0"),
    ] {
        let (code, _, complaint) =
            said(directory, &[&["init", "--config", "new.yaml", "--yes", "--no-scan"], &bad[..]].concat());
        assert!([1, 2].contains(&code) && complaint.contains(part), "{complaint}");
    }
    assert!(!directory.join("new.yaml").exists());
    assert_eq!(fs::read_dir(directory).unwrap().count(), 1);
}

#[test]
fn init_with_a_cloud_waits_for_the_certificate_and_says_how_to_get_it() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path();
    let cloud = ["--cloud", "wss://broker.example.org/mqtt", "--login", "certificate"];
    let flags = ["init", "--config", "home.yaml", "--yes", "--no-scan", "--name", "attic"];
    let (code, told, _) = said(directory, &[&flags[..], &cloud].concat());
    assert_eq!(code, 0);
    let enroll = told.lines().map(str::trim).find(|line| line.starts_with("hearthlink enroll")).unwrap();
    let words: Vec<&str> = enroll.split(' ').skip(1).collect();
    let (code, told, complaint) = said(directory, &words);
    assert_eq!(code, 0, "{enroll}: {told}{complaint}");
    assert!(directory.join("attic.key").exists() && directory.join("attic.csr").exists());
    let (code, told, _) = said(directory, &["check", "--config", "home.yaml"]);
    assert!(code == 0 && told.contains("no cloud"), "{told}");
}

/// A gateway with a toaster, and a cloud that is never there.
fn home() -> House {
    let nobody = free_port();
    House::new(&format!(
        "cloud: {{url: \"wss://127.0.0.1:{nobody}\"}}\n\
         devices: [{{id: toaster, kind: toaster}}]\n"
    ))
}

const FILE: &str = "home.yaml";

impl House {
    /// What a command says in it.
    fn said(&self, arguments: &[&str]) -> (i32, String, String) {
        said(self.path(), &[arguments, &["--config", FILE]].concat())
    }
}

#[tokio::test]
async fn send_tells_what_became_of_a_command_and_its_exit_code_does() {
    let home = home();
    let (code, _, complaint) = home.said(&["send", "toaster", "ON"]);
    assert!(code == 69 && complaint.contains("no broker answers"), "{complaint}");
    let running = home.start().await;
    let (code, told, complaint) = home.said(&["send", "toaster", "ON"]);
    assert_eq!((code, complaint.as_str()), (0, ""), "{told}");
    assert!(told.starts_with("toaster: Done"), "{told}");
    let browning = r#"{"browning": 99, "id": "x"}"#;
    let (code, told, _) = home.said(&["send", "toaster", browning, "--json"]);
    let outcome: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, &outcome["id"]), (1, &json!("x")), "{told}");
    assert_ne!(outcome["status"], "applied", "{told}");
    let off = r#"{"state": "OFF", "id": "y"}"#;
    assert_eq!(home.said(&["send", "toaster", off]).0, 0);
    let (code, told, _) = home.said(&["send", "toaster", off]);
    assert!(code == 0 && told.contains("earlier"), "the same id is the same command: {told}");
    let (code, _, complaint) = home.said(&["send", "toster", "ON"]);
    assert!(code == 78 && complaint.contains("known there: toaster"), "{complaint}");
    let (code, _, complaint) = home.said(&["send", "toaster", "{state: ON}"]);
    assert!(code == 1 && complaint.contains("is not JSON"), "{complaint}");
    running.stop().await;
}

#[tokio::test]
async fn a_queue_is_seen_while_the_gateway_runs_and_changed_only_while_it_does_not() {
    let home = home();
    let (code, told, _) = home.said(&["queue", "list"]);
    assert!(code == 0 && told.starts_with("Nothing waits"), "{told}");
    assert!(!home.store_file().exists());
    let running = home.start().await;
    assert_eq!(home.said(&["send", "toaster", "ON"]).0, 0);
    let list = || -> Value {
        let (code, told, complaint) = home.said(&["queue", "list", "--json"]);
        assert_eq!((code, complaint.as_str()), (0, ""));
        serde_json::from_str(&told).unwrap()
    };
    wait_for("a message that waits", || list()["count"].as_u64() > Some(1));
    let listed = list();
    let message = &listed["messages"][0];
    let id = message["id"].as_str().unwrap();
    assert!(message["topic"].as_str().unwrap().starts_with("hearthlink/home/"), "{message}");
    let (code, told, _) = home.said(&["queue", "show", id]);
    assert!(code == 0 && told.contains(message["topic"].as_str().unwrap()), "{told}");
    let (code, told, _) = home.said(&["queue", "show", id, "--json"]);
    assert_eq!((code, &serde_json::from_str::<Value>(&told).unwrap()), (0, message));

    let (code, _, complaint) = home.said(&["queue", "drop", id, "--yes"]);
    assert!(
        code == 1 && complaint.contains("the gateway runs") && complaint.contains("systemctl stop"),
        "{complaint}"
    );
    let (code, _, complaint) = home.said(&["reset", "--all", "--yes"]);
    assert!(code == 1 && complaint.contains("nothing was changed"), "{complaint}");
    running.stop().await;

    let before = list()["count"].as_u64().unwrap();
    let (code, _, complaint) = home.said(&["queue", "drop", id]);
    assert!(code == 1 && complaint.contains("`--yes`"), "nobody can be asked: {complaint}");
    let (code, told, _) = home.said(&["queue", "drop", id, "--yes"]);
    assert_eq!((code, told.as_str()), (0, "1 message dropped.\n"));
    assert_eq!(list()["count"].as_u64().unwrap(), before - 1);
    let (code, _, complaint) = home.said(&["queue", "show", id]);
    assert!(code == 1 && complaint.contains("waits"), "{complaint}");

    let (code, ..) = home.said(&["reset", "--yes"]);
    assert_eq!(code, 2, "what is to be forgotten must be said");
    let (code, told, _) = home.said(&["reset", "--all", "--yes", "--json"]);
    let forgotten: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, forgotten["outbox"].as_u64()), (0, Some(before - 1)), "{told}");
    assert!(forgotten["journal"].as_u64() > Some(0), "{told}");
    assert_eq!(list()["count"], 0);
    // And it runs as before.
    home.start().await.stop().await;
}

#[tokio::test]
async fn status_is_watched_until_nobody_reads_and_a_start_in_between_is_no_end() {
    let home = home();
    let running = home.start().await;
    let arguments = ["status", "--watch", "1", "--json", "--config", FILE];
    let mut watching = tokio::process::Command::from(hearthlink(home.path(), &arguments));
    let mut watching = watching.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut next = async || -> Value {
        let line = timeout(PATIENCE, lines.next_line()).await.expect("a line").unwrap().unwrap();
        serde_json::from_str(&line).unwrap()
    };
    let first = next().await;
    assert_eq!(first["gateway"], "home");
    assert_ne!(next().await["now"], first["now"]);
    running.stop().await;
    let running = home.start().await;
    let (_, told, _) = home.said(&["status", "--json"]);
    let second: Value = serde_json::from_str(&told).unwrap();
    let seen = async { while next().await["now"].as_str() < second["now"].as_str() {} };
    timeout(PATIENCE, seen).await.expect("the second gateway");
    drop(lines);
    let status = timeout(PATIENCE, watching.wait()).await.expect("its end").unwrap();
    assert!(status.success(), "nobody reading any more is no error");
    running.stop().await;
}

#[test]
fn shells_packages_and_editors_get_what_they_need() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let (code, told, _) = said(home.path(), &["completions", shell]);
        assert!(code == 0 && told.contains("hearthlink") && told.contains("devices"), "{told}");
    }
    let (code, ..) = said(home.path(), &["man", "pages"]);
    assert_eq!(code, 0);
    let page = fs::read_to_string(home.path().join("pages/hearthlink-init.8")).unwrap();
    assert!(page.contains("five questions"), "{page}");
}
