//! Home Assistant itself, on what the real program says of a device of every kind, and the real program on what Home
//! Assistant answers.
//!
//! `interop/homeassistant/test_house.py` runs in Home Assistant's own test house and judges what is made there. Here is the
//! gateway: simulated, with the house of `simulate/house.yaml`. Needs Python 3.13 and a `venv` beside the test, which
//! `.ci/run` makes; without it this test fails. `home_assistant.rs` has what needs no Home Assistant.
#![cfg(feature = "interop")]

#[path = "interop/clients.rs"]
#[allow(dead_code, reason = "shared with tests/interop")]
mod clients;
#[path = "interop/place.rs"]
#[allow(dead_code, reason = "shared with tests/interop")]
mod place;
#[path = "support/port.rs"]
mod port;
#[path = "interop/process.rs"]
#[allow(dead_code, reason = "shared with tests/interop")]
mod process;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::TcpStream,
    path::Path,
    process::Command,
    time::Duration,
};

use clients::{Broker, Received};
use port::Port;
use process::{PATIENCE, Process, eventually};

const HOUSE: &str = include_str!("simulate/house.yaml");
/// The first reading of the slowest device takes a while on a busy machine.
const FIRST_READINGS: Duration = Duration::from_secs(120);
/// Home Assistant takes half a minute to be loaded where nothing else is going on.
const ITS_TEST: Duration = Duration::from_secs(300);

/// The ids of the configuration.
fn devices() -> BTreeSet<&'static str> {
    let (_, list) = HOUSE.split_once("\ndevices:").expect("a list of devices");
    // Indented by two: what is deeper is a device's own.
    let ids = list.lines().filter_map(|line| {
        let entry = line.strip_prefix("  - ")?;
        entry.trim_start_matches('{').strip_prefix("id: ")
    });
    ids.map(|rest| rest.split([',', '}']).next().expect("a first part").trim()).collect()
}

#[test]
fn home_assistant_makes_the_right_entities_of_every_kind_and_its_services_switch_the_devices() {
    let folder = tempfile::tempdir().expect("a folder");
    let (lan, page) = (Port::reserve(), Port::reserve());
    let port = lan.address().port();
    let config = folder.path().join("house.yaml");
    let text = HOUSE
        .replace("127.0.0.1:1883", &lan.address().to_string())
        .replace("127.0.0.1:8080", &page.address().to_string());
    fs::write(&config, text).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearthlink"));
    command.args(["run", "--simulate", "--config"]).arg(&config).env("TMPDIR", folder.path());
    let mut gateway = Process::start("the gateway", &mut command);
    eventually("its broker answers", PATIENCE, || {
        assert!(gateway.is_running(), "it ended: {}", gateway.lines().join("\n"));
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
    let broker = Broker::at(port);

    // What is kept when everybody has been announced and has spoken; the bell never speaks.
    let ear = broker.subscribe(&["-t", "homeassistant/device/+/config", "-t", "home/#"]);
    let devices = devices();
    let heard = ear.process.wait_for("a reading of each device", FIRST_READINGS, |lines| {
        let last: BTreeMap<String, String> = (lines.iter())
            .filter_map(|line| Received::parse(line))
            .map(|Received { topic, payload, .. }| (topic, payload))
            .collect();
        let is_whole = devices.iter().all(|device| {
            last.contains_key(&format!("homeassistant/device/{device}/config"))
                && (*device == "bell" || last.contains_key(&format!("home/{device}")))
                && last.contains_key(&format!("home/{device}/availability"))
        });
        is_whole.then_some(last)
    });
    let files = ["heard.json", "said.json"].map(|name| folder.path().join(name));
    let heard: Vec<(&String, &String)> = heard.iter().collect();
    fs::write(&files[0], serde_json::to_string(&heard).expect("texts")).expect("written");

    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/homeassistant");
    let python = place.join("venv/bin/python");
    let mut command = Command::new(&python);
    command
        .args(["-m", "pytest", "-q", "--show-capture=no", "."])
        .current_dir(&place)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("HEARD", &files[0])
        .env("SAID", &files[1]);
    let mut tested = Process::start(format!("{} (`.ci/run` makes it)", python.display()), &mut command);
    let status = tested.wait(ITS_TEST);
    let said = tested.lines().join("\n");
    assert!(status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");

    // What its services published, word for word, to the devices.
    let outcomes = broker.subscribe(&["-t", "home/+/result"]);
    let orders: Vec<(String, String)> =
        serde_json::from_str(&fs::read_to_string(&files[1]).expect("it wrote them")).expect("a list");
    assert!(orders.len() >= 9, "{orders:?}");
    for (number, (topic, payload)) in orders.iter().enumerate() {
        broker.publish(&["-q", "1", "-t", topic, "-m", payload]);
        let outcome =
            outcomes.wait_for_count(number + 1, PATIENCE).pop().expect("as many as were waited for");
        assert_eq!(outcome.json()["status"], "applied", "{topic} {payload}: {outcome:?}");
    }
}
