//! The status page and the phone's page (`deploy/phone`) in Debian's Chromium, as people have them before them: on a
//! phone's and a desk's screen, in light and dark, with and without JavaScript, judged by axe-core.
//!
//! The gateway is the real program, the cloud is Debian's Mosquitto. What happens in the browser is done and judged by
//! `interop/browser/*.mjs`; here are the house around it and its misfortunes. Pictures are kept in `target/tmp/browser`.
#![cfg(feature = "interop")]

#[path = "interop/clients.rs"]
#[allow(dead_code, reason = "shared with tests/interop")]
mod clients;
#[path = "interop/cloud.rs"]
#[allow(dead_code, reason = "shared with tests/interop")]
mod cloud;
#[path = "interop/gateway.rs"]
#[allow(dead_code, reason = "shared with tests/interop")]
mod gateway;
#[path = "interop/pki.rs"]
#[allow(dead_code, reason = "shared with tests/interop")]
mod pki;
#[path = "interop/place.rs"]
#[allow(dead_code, reason = "shared with tests/interop")]
mod place;
#[path = "support/port.rs"]
mod port;
#[path = "interop/process.rs"]
#[allow(dead_code, reason = "shared with tests/interop")]
mod process;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use clients::Broker;
use cloud::Cloud;
use gateway::{Gateway, Line, Plan};
use pki::{Authority, Validity};
use port::Port;
use process::{Process, program};

/// A dozen devices of nearly as many kinds, none of which needs hardware.
const HOUSE: &str = "
commands:
  allow:
    - {device: toaster, set: {state: [\"ON\", \"OFF\"], browning: {min: 1, max: 4}}}
    - {device: boiler, set: {mode: any}}
devices:
  - {id: toaster, kind: toaster, options: {toasting_time: 20s}}
  - {id: kitchen, kind: thermometer, options: {interval: 1s}}
  - {id: kettle, kind: tasmota, options: {topic: plug-kitchen}}
  - {id: fan, kind: lan, options: {state_topic: fan/state, command_topic: fan/set, availability_topic: fan/status}}
  - {id: bell, kind: lan, options: {command_topic: bell/ring}}
  - id: boiler
    kind: lan
    options:
      state_topic: boiler/state
      fields:
        - {name: temperature, value_template: \"{{ value_json.t }}\", unit: \"°C\"}
        - {name: mode, state_topic: boiler/mode, command_topic: boiler/mode/set}
  - {id: plug, kind: shelly, options: {generation: 2, topic: shellyplus1pm-a8032abe54dc}}
  - {id: lamp, kind: shelly, options: {generation: 2, topic: shellyplus1-a, component: light}}
  - {id: blind, kind: shelly, options: {generation: 2, topic: shelly2pmg3-34987a, component: cover}}
  - {id: hall, kind: shelly, options: {generation: 3, topic: shellyht-1, component: sensor}}
  - {id: attic, kind: thermometer, options: {interval: 1s}}
  - {id: cellar, kind: thermometer, options: {interval: 1s}}
";

/// Browsers are slow on a busy machine, and each program opens several.
const PATIENCE: Duration = Duration::from_secs(240);

/// A program of `interop/browser`.
fn browse(script: &str, arguments: &[&str]) -> Process {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/browser");
    assert!(
        folder.join("node_modules").is_dir(),
        "`npm ci --ignore-scripts` was not run in {}; `.ci/run` does",
        folder.display()
    );
    let mut command = Command::new(program("node"));
    command.arg(folder.join(script)).args(arguments).env("CHROMIUM", program("chromium"));
    Process::start(script, &mut command)
}

fn pictures() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser")
}

#[track_caller]
fn must_find_nothing(mut browser: Process) {
    let status = browser.wait(PATIENCE);
    assert!(status.success(), "{}", browser.lines().join("\n"));
}

#[track_caller]
fn look_at(gateway: &Gateway, what: &str, extent: &str) {
    let address = format!("http://127.0.0.1:{}/", gateway.web_port);
    must_find_nothing(browse("page.mjs", &[&address, &pictures().display().to_string(), what, extent]));
}

/// A house in which a part of the devices has never spoken, and whose cloud cannot be reached.
#[test]
fn the_status_page_of_a_house_in_trouble_is_for_everybody() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new(folder.path(), "ca");
    let identity = authority.client("home", "home");
    let nobody = Port::reserve();
    let line = Line { port: nobody.address().port(), ca: &authority.certificate, identity: &identity };
    let gateway = Plan::new(&folder.path().join("gateway"), Some(&line), HOUSE).start();
    gateway.wait_for_status("the line has a fault", |status| !status["link"]["fault"].is_null());
    look_at(&gateway, "page-in-trouble", "pressing");
}

/// What the devices of [`HOUSE`] say of themselves; the blind says nothing.
const SAID: &[(&str, &str)] = &[
    ("tele/plug-kitchen/LWT", "Online"),
    ("tele/plug-kitchen/STATE", r#"{"POWER": "ON", "Wifi": {"RSSI": 78, "Signal": -61}}"#),
    ("fan/status", "online"),
    ("fan/state", "ON"),
    ("boiler/state", r#"{"t": 61.5}"#),
    ("boiler/mode", "eco"),
    ("shellyplus1pm-a8032abe54dc/online", "true"),
    (
        "shellyplus1pm-a8032abe54dc/status/switch:0",
        r#"{"id": 0, "output": true, "apower": 42.1, "voltage": 230.4}"#,
    ),
    ("shellyplus1-a/online", "true"),
    ("shellyplus1-a/status/light:0", r#"{"id": 0, "output": true, "brightness": 60}"#),
    ("shellyht-1/online", "true"),
    ("shellyht-1/status/temperature:0", r#"{"id": 0, "tC": 21.3}"#),
    ("shellyht-1/status/humidity:0", r#"{"id": 0, "rh": 48.2}"#),
    ("shellyht-1/status/devicepower:0", r#"{"id": 0, "battery": {"V": 5.9, "percent": 83}}"#),
];

/// Nothing is configured; somebody writes what is wrong, and then what the page gives.
#[test]
fn the_page_of_the_first_start_is_for_everybody_and_follows_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("home.yaml");
    let door = Port::reserve();
    let address = format!("http://{}/", door.address());
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearthlink"));
    command.args(["run", "--guide", &door.address().to_string(), "--config"]).arg(&file);
    let program = Process::start("gateway", &mut command);
    program.wait_for("its page", PATIENCE, |lines| {
        lines.iter().any(|line| line.contains(&address)).then_some(())
    });
    let look = |what| {
        let folder = pictures().display().to_string();
        must_find_nothing(browse("page.mjs", &[&address, &folder, what, "wholly"]));
    };
    look("first-start");
    let guest = browse("guide.mjs", &[&address]);
    let sees = |sign: &str| {
        guest.wait_for(sign, PATIENCE, |lines| lines.iter().any(|line| line == sign).then_some(()));
    };
    sees("There is no configuration yet.");
    let good = format!("gateway: {{id: home, data_dir: data}}\nweb: {{address: \"{}\"}}\n", door.address());
    std::fs::write(&file, format!("{good}brokre: {{}}\n")).expect("the file is written");
    sees("The configuration is not good yet.");
    look("first-start-not-good");
    std::fs::write(&file, good).expect("the file is written");
    must_find_nothing(guest);
    drop(program);
}

/// Signs in to the cloud, sees values, presses, sees what became of it; and what is shown when the gateway is gone.
/// In between, what the gateway's own page shows of a good line and of the commands that came on it.
#[test]
fn the_phone_shows_presses_and_says_that_the_gateway_is_gone_and_the_status_page_shows_its_commands() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new(folder.path(), "ca");
    let server = authority.server("server", &["localhost"], Validity::Now);
    let identity = authority.client("home", "home");
    let door = Port::reserve();
    let port = door.address().port();
    // As docs/phone.md says.
    let permissions = "user anna\ntopic read hearthlink/#\ntopic write hearthlink/+/+/set\n";
    let login = (port, "anna", "a long password");
    let cloud = Cloud::start_for_browsers(folder.path(), &server, &authority.certificate, login, permissions);
    let line = Line { port: cloud.gateway_port, ca: &authority.certificate, identity: &identity };
    let mut gateway = Plan::new(&folder.path().join("gateway"), Some(&line), HOUSE).start();
    gateway.wait_online();
    for (topic, said) in SAID {
        Broker::at(gateway.lan_port).publish(&["-t", topic, "-m", said]);
    }

    let site = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/phone");
    let address = format!("ws://127.0.0.1:{port}/mqtt");
    let (site, folder) = (site.display().to_string(), pictures().display().to_string());
    let mut phone = browse("phone.mjs", &[&site, &address, "anna", "a long password", &folder]);
    let wait = |phone: &Process, sign: &str| {
        phone.wait_for(sign, PATIENCE, |lines| {
            let ended = lines.iter().any(|line| line.contains(" findings") || line.contains("Error"));
            assert!(!ended, "{}", lines.join("\n"));
            lines.iter().any(|line| line == sign).then_some(())
        });
    };
    wait(&phone, "pressed and refused");
    look_at(&gateway, "page-online", "briefly");
    // As a power cut: the cloud says it, from the last will.
    gateway.kill();
    phone.say("gone\n");
    wait(&phone, "saw it go");
    let gateway = gateway.start_again();
    phone.say("back\n");
    must_find_nothing(phone);
    drop(gateway);
}
