//! The real program with `--simulate`, on one configuration that has a device of every kind: each gives a reading at the
//! local broker, each that can be set takes a command, the cloud is not dialled and the real store is not touched.

#![allow(clippy::unwrap_used, reason = "a test's panic is its verdict, in its helpers, too")]

#[path = "support/port.rs"]
mod port;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use port::Port;
use rumqttc::{Client, Connection, Event, MqttOptions, Packet, QoS};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What each device that can be set is asked for. Without a state of its own to show it (`bell`), written is applied.
const COMMANDS: &[(&str, &str, &str)] = &[
    ("toaster", "state", r#""ON""#),
    ("kettle", "state", r#""ON""#),
    ("heater", "state", r#""ON""#),
    ("fan", "state", r#""ON""#),
    ("bell", "state", r#""ON""#),
    ("lamp", "state", r#""ON""#),
    ("relay", "state", r#""ON""#),
    ("boiler", "state", r#""ON""#),
    ("boiler", "mode", r#""eco""#),
    ("boiler", "setpoint", "22.5"),
    ("heatpump", "state", r#""ON""#),
    ("heatpump", "setpoint", "21.5"),
    ("heatpump", "flow", "-1.25"),
    ("pump", "speed", "1450"),
    ("fountain", "state", r#""ON""#),
    ("dimmer", "duty", "40"),
    ("plug_1", "state", r#""ON""#),
    ("plug_2", "state", r#""ON""#),
    ("light_1", "state", r#""ON""#),
    ("blind", "position", "30"),
    ("attic", "state", r#""ON""#),
    ("attic", "fan_speed", "7"),
    ("attic", "mode", r#""boost""#),
    ("radiator", "target", "21.5"),
    ("projector", "state", r#""ON""#),
];

/// Those that only say what they measure, or cannot be set for another reason.
const MEASURES: &[&str] = &[
    "thermometer",
    "p1",
    "sml",
    "mode_d",
    "mode_c",
    "dust",
    "level",
    "station",
    "door",
    "water",
    "contact",
    "hall",
    "window",
    "cellar",
    "nursery",
    "fridge",
    "sauna",
    "keys",
];

/// How long all of it may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// A house on ports of its own, with a cloud that only listens whether anybody knocks.
struct House {
    directory: TempDir,
    config: PathBuf,
    broker: u16,
    page: u16,
    cloud: TcpListener,
    /// That of the broker and that of the page.
    _ports: [Port; 2],
}

impl House {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("hearthlink.yaml");
        let ports = [Port::reserve(), Port::reserve()];
        let [broker, page] = ports.each_ref().map(|port| port.address().port());
        let cloud = TcpListener::bind("127.0.0.1:0").unwrap();
        cloud.set_nonblocking(true).unwrap();
        let text = text
            .replace("127.0.0.1:1883", &format!("127.0.0.1:{broker}"))
            .replace("127.0.0.1:8080", &format!("127.0.0.1:{page}"))
            .replace("localhost:8443", &format!("localhost:{}", cloud.local_addr().unwrap().port()));
        fs::write(&config, text).unwrap();
        Self { directory, config, broker, page, cloud, _ports: ports }
    }

    fn whole() -> Self {
        Self::new(include_str!("simulate/house.yaml"))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hearthlink"));
        command.args(arguments).arg("--config").arg(&self.config);
        command.env_remove("JOURNAL_STREAM").env_remove("HEARTHLINK_LOG").env("TMPDIR", self.temporary());
        command
    }

    fn temporary(&self) -> PathBuf {
        let path = self.directory.path().join("tmp");
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn run(&self, arguments: &[&str]) -> Running {
        let log = self.directory.path().join("log");
        let stderr = fs::File::create(&log).unwrap();
        let child = self.command(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn();
        Running { child: child.unwrap(), log }
    }

    /// Whether anybody has knocked at the cloud's door.
    fn is_dialled(&self) -> bool {
        match self.cloud.accept() {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// What the status page's server has at a path.
    fn page(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.page)).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }
}

struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn must_run(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("it ended by itself, {status}:\n{}", self.log());
        }
    }

    /// SIGTERM, and an end in order.
    fn stop(mut self) -> String {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let end = Instant::now() + LIMIT;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "it does not stop:\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
        assert!(self.child.wait().unwrap().success(), "{}", self.log());
        self.log()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client of the local broker, and the last message on each topic.
struct Ear {
    client: Client,
    connection: Connection,
    heard: BTreeMap<String, Value>,
}

impl Ear {
    fn new(house: &House) -> Self {
        let mut options = MqttOptions::new("ear", "127.0.0.1", house.broker);
        options.set_keep_alive(Duration::from_secs(60));
        let (client, connection) = Client::new(options, 64);
        Self { client, connection, heard: BTreeMap::new() }
    }

    /// Hears until `done`; connects again as long as nobody answers.
    fn until(&mut self, running: &mut Running, what: &str, done: impl Fn(&BTreeMap<String, Value>) -> bool) {
        let end = Instant::now() + LIMIT;
        while !done(&self.heard) {
            running.must_run();
            assert!(
                Instant::now() < end,
                "{what} did not happen; heard: {:#?}\n{}",
                self.heard,
                running.log()
            );
            match self.connection.recv_timeout(Duration::from_millis(200)) {
                Ok(Ok(Event::Incoming(Packet::ConnAck(_)))) => {
                    self.client.try_subscribe("home/#", QoS::AtMostOnce).unwrap();
                }
                Ok(Ok(Event::Incoming(Packet::Publish(publish)))) => {
                    let payload = String::from_utf8(publish.payload.to_vec()).unwrap();
                    let value = serde_json::from_str(&payload).unwrap_or(Value::from(payload));
                    self.heard.insert(publish.topic, value);
                }
                Ok(Ok(_)) | Err(_) => {}
                Ok(Err(_)) => thread::sleep(Duration::from_millis(100)),
            }
        }
    }
}

/// The ids of the configuration.
fn devices(house: &House) -> BTreeSet<String> {
    let text = fs::read_to_string(&house.config).unwrap();
    let behind = text.split_once("\ndevices:").unwrap().1;
    let ids = behind.lines().filter_map(|line| {
        line.trim_start().trim_start_matches("- ").trim_start_matches('{').strip_prefix("id: ")
    });
    ids.map(|rest| rest.split([',', '}']).next().unwrap().trim().to_owned()).collect()
}

#[test]
fn one_configuration_with_every_kind_runs_on_a_laptop() {
    let house = House::whole();
    let devices = devices(&house);
    let named = COMMANDS.iter().map(|(device, ..)| *device).chain(MEASURES.iter().copied());
    let named: BTreeSet<String> = named.map(str::to_owned).collect();
    assert_eq!(named, devices, "each device stands in COMMANDS or MEASURES");
    let mut running = house.run(&["run", "--simulate"]);
    let mut ear = Ear::new(&house);

    let silent = ["bell"];
    ear.until(&mut running, "a reading of each device", |heard| {
        let has_read = |device: &String| {
            let fields = heard.get(&format!("home/{device}")).and_then(Value::as_object);
            fields.is_some_and(|fields| !fields.is_empty()) || silent.contains(&device.as_str())
        };
        let is_online =
            |device: &String| heard.get(&format!("home/{device}/availability")) == Some(&json!("online"));
        devices.iter().all(|device| has_read(device) && is_online(device))
    });

    for (number, (device, field, value)) in COMMANDS.iter().enumerate() {
        let id = format!("simulate-{number}");
        let value: Value = serde_json::from_str(value).unwrap();
        let payload = json!({"id": id, *field: value}).to_string();
        ear.client.try_publish(format!("home/{device}/set"), QoS::AtLeastOnce, false, payload).unwrap();
        let result = format!("home/{device}/result");
        ear.until(&mut running, &format!("an outcome of {device} {field}"), |heard| {
            heard.get(&result).is_some_and(|outcome| outcome["id"] == json!(id))
        });
        assert_eq!(
            ear.heard[&result]["status"],
            json!("applied"),
            "{device} {field}: {}",
            ear.heard[&result]
        );
        if !silent.contains(device) {
            ear.until(&mut running, &format!("{field} of {device} at {value}"), |heard| {
                heard[&format!("home/{device}")][field] == value
            });
        }
    }

    let status: Value = serde_json::from_str(&house.page("/api/status")).unwrap();
    assert_eq!(status["simulated"], json!(true));
    assert!(house.page("/").contains("the devices on this page are not real"), "the page says so");
    let said = house.command(&["status"]).output().unwrap().stdout;
    assert!(String::from_utf8(said).unwrap().contains("Its devices are simulated"), "so does `status`");
    assert_eq!(status["link"]["state"], json!("off"));
    for device in status["devices"].as_array().unwrap() {
        assert_eq!((&device["fault"], &device["restarts"]), (&Value::Null, &json!(0)), "{device}");
    }
    assert!(!house.is_dialled(), "the cloud was dialled");
    assert!(!house.directory.path().join("data").exists(), "the real store was touched");
    assert_eq!(
        fs::read_dir(house.temporary()).unwrap().count(),
        1,
        "its own store is among what is temporary"
    );
    let log = running.stop();
    assert!(log.contains("simulated: no device is real"), "{log}");
    assert_eq!(fs::read_dir(house.temporary()).unwrap().count(), 0, "and goes with the run");
    assert!(!house.is_dialled(), "the cloud was dialled at the end");
}

/// What `check` says, and its exit code.
fn check(house: &House, more: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = house.command(&[&["check"], more].concat()).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap())
}

#[test]
fn what_lies_on_the_gateway_alone_is_missed_only_there() {
    let house = House::whole();
    let (code, said) = check(&house, &[]);
    assert_eq!(code, Some(78), "{said}");
    for file in ["cloud-ca.pem", "laptop.pem", "laptop.key"] {
        assert!(said.contains(file), "{said}");
    }
    let (code, said) = check(&house, &["--simulate"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("is good") && said.contains("cloud-ca.pem") && !said.contains("by-id"), "{said}");
    // What is wrong for another reason is wrong on a laptop, too.
    let text = fs::read_to_string(&house.config).unwrap().replace("protocol: p1", "protocol: p9");
    fs::write(&house.config, text).unwrap();
    let (code, said) = check(&house, &["--simulate"]);
    assert!(code == Some(78) && said.contains("p9"), "{said}");
}

#[test]
fn the_cloud_is_dialled_only_when_it_is_asked_for() {
    let text = "gateway: {id: laptop, data_dir: data}\nbroker: {listeners: [{address: \"127.0.0.1:1883\"}]}\n\
                web: {address: \"127.0.0.1:8080\"}\ncloud: {url: \"wss://localhost:8443/mqtt\"}\n\
                devices: [{id: toaster, kind: toaster}]\n";
    let house = House::new(text);
    let mut running = house.run(&["run", "--simulate", "--with-cloud"]);
    let end = Instant::now() + LIMIT;
    while !house.is_dialled() {
        running.must_run();
        assert!(Instant::now() < end, "the cloud was not dialled:\n{}", running.log());
        thread::sleep(Duration::from_millis(50));
    }
    assert!(!house.directory.path().join("data").exists(), "the real store was touched");
    running.stop();
    let Output { status, .. } = house.command(&["run", "--with-cloud"]).output().unwrap();
    assert_eq!(status.code(), Some(2), "without --simulate it means nothing");
}
