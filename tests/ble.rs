//! Bluetooth LE through the real program, a real message bus and a BlueZ that does what it is told. `.ci/run` installs
//! what it needs; without that this fails. A real `bluetoothd` is in tests/vm.
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
#[path = "ble/radio.rs"]
mod radio;

use std::path::Path;

use gateway::{Gateway, Line, Plan};
use place::Place;
use radio::{BlueZ, Bus};
use serde_json::{Value, json};

const THERMOMETER: &str = "A4:C1:38:01:02:03";
const HEATER: &str = "C0:FF:EE:00:00:01";

/// A thermometer that advertises, and a heater's valve that is connected to.
const DEVICES: &str = r#"
devices:
  - id: thermometer
    kind: bthome
    options: {address: "a4:c1:38:01:02:03", watchdog: 2s}
  - id: valve
    kind: ble_gatt
    options:
      address: C0:FF:EE:00:00:01
      characteristics:
        - {field: temperature, uuid: 2a6e, type: i16le, scale: 0.01, notify: true}
        - {field: target, uuid: fff1, type: i16le, scale: 0.5, writable: true}
        - {field: child_lock, uuid: fff2, type: bool, writable: true, confirm: false}
        - {field: stuck, uuid: fff3, type: u8, writable: true}
        - {field: nothing, uuid: fff9, type: u8}
commands:
  allow:
    - {device: valve, set: {target: any, child_lock: any, stuck: any}}
"#;

fn valve() -> Value {
    json!({"do": "peripheral", "address": HEATER, "battery": 77, "characteristics": [
        {"uuid": "2a6e", "service": "181a", "flags": ["read", "notify"], "value": "6608"},
        {"uuid": "fff1", "service": "fff0", "flags": ["read", "write"], "value": "2800"},
        {"uuid": "fff2", "service": "fff0", "flags": ["write-without-response"], "value": "00"},
        {"uuid": "fff3", "service": "fff0", "flags": ["read", "write"], "value": "05", "ignores": true},
    ]})
}

/// BTHome v2, not encrypted: the temperature in hundredths.
fn temperature(hundredths: i16) -> Value {
    let [low, high] = hundredths.to_le_bytes();
    json!({"do": "advertise", "address": THERMOMETER, "rssi": -61,
           "service_data": {"fcd2": format!("4002{low:02x}{high:02x}")}})
}

fn again_and_again(mut order: Value) -> Value {
    order["every"] = json!(0.1);
    order
}

/// The valve is in the air and the thermometer speaks.
fn air(bus: &Bus) -> BlueZ {
    let mut bluez = BlueZ::start(bus);
    bluez.order(valve());
    bluez.order(again_and_again(json!({"do": "advertise", "address": HEATER, "rssi": -70})));
    bluez.order(again_and_again(temperature(2150)));
    bluez
}

fn plan(folder: &Path, line: Option<&Line>, bus: &Bus) -> Plan {
    plan_of(folder, line, bus, DEVICES)
}

fn plan_of(folder: &Path, line: Option<&Line>, bus: &Bus, devices: &str) -> Plan {
    let mut plan = Plan::new(&folder.join("gateway"), line, devices);
    plan.place = Place::default().with("DBUS_SYSTEM_BUS_ADDRESS", &bus.address);
    plan
}

fn device<'a>(status: &'a Value, id: &str) -> &'a Value {
    status["devices"]
        .as_array()
        .and_then(|all| all.iter().find(|one| one["id"] == id))
        .unwrap_or(&Value::Null)
}

fn is_online(status: &Value, id: &str) -> bool {
    device(status, id)["availability"] == "online"
}

fn fault(status: &Value, id: &str) -> String {
    device(status, id)["fault"].as_str().unwrap_or_default().to_owned()
}

fn counted(status: &Value, what: &str) -> u64 {
    status["buses"][0]["counts"][what].as_u64().unwrap_or_default()
}

#[track_caller]
fn both_online(gateway: &Gateway) -> Value {
    gateway.wait_for_status("both devices are online", |status| {
        is_online(status, "thermometer") && is_online(status, "valve")
    })
}

/// Both are offline with a sentence that has `part`.
#[track_caller]
fn both_lost(gateway: &Gateway, part: &str) {
    gateway.wait_for_status(part, |status| {
        ["thermometer", "valve"].iter().all(|id| !is_online(status, id) && fault(status, id).contains(part))
    });
}

#[test]
fn what_is_advertised_notified_and_ordered_crosses_the_whole_gateway() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let authority = pki::Authority::new(folder.path(), "ca");
    let server = authority.server("server", &["localhost"], pki::Validity::Now);
    let identity = authority.client("home", "home");
    let cloud = cloud::Cloud::start(folder.path(), &server, &authority.certificate);
    let phone = cloud.phone();
    let seen = phone.subscribe(&["-q", "1", "-t", "hearthlink/home/#"]);

    let bus = Bus::start(folder.path());
    let mut bluez = air(&bus);
    let line = Line { port: cloud.gateway_port, ca: &authority.certificate, identity: &identity };
    let gateway = plan(folder.path(), Some(&line), &bus).start();
    gateway.wait_online();
    let home = gateway.lan().subscribe(&["-t", "home/#"]);
    let at_home = |device: &str, name: &str, value: Value| {
        let topic = format!("home/{device}");
        home.wait_for(&format!("{name} {value} at home"), |message| {
            message.topic == topic && message.json()[name] == value
        })
        .json()
    };
    let in_cloud = |device: &str, name: &str, value: Value| {
        let topic = format!("hearthlink/home/{device}");
        seen.wait_for(&format!("{name} {value} in the cloud"), |message| {
            message.topic == topic && message.json()[name] == value
        })
        .json()
    };

    assert_eq!(at_home("thermometer", "temperature", json!(21.5))["signal"], json!(-61));
    in_cloud("thermometer", "temperature", json!(21.5));

    at_home("valve", "temperature", json!(21.5));
    let state = at_home("valve", "battery", json!(77));
    assert_eq!(
        (&state["target"], &state["signal"], &state["stuck"]),
        (&json!(20), &json!(-70), &json!(5)),
        "{state}"
    );
    gateway.wait_for_status("what is missing has its sentence", |status| {
        fault(status, "valve").contains("`nothing`")
            && fault(status, "valve").contains("no such characteristic")
    });
    assert_eq!(bluez.order(json!({"do": "notify", "uuid": "2a6e", "value": "7008"})), json!(true));
    at_home("valve", "temperature", json!(21.6));
    in_cloud("valve", "temperature", json!(21.6));

    let order = |id: &str, fields: &str| {
        let payload = format!(r#"{{"id":"{id}",{fields}}}"#);
        phone.publish(&["-q", "1", "-t", "hearthlink/home/valve/set", "-m", &payload]);
        let is_it = |message: &clients::Received| {
            message.topic == "hearthlink/home/valve/result" && message.json()["id"] == id
        };
        seen.wait_for(&format!("the outcome of {id}"), is_it).json()
    };
    let outcome = order("1", r#""target":21.5"#);
    assert_eq!(outcome["status"], "applied", "{outcome}");
    assert_eq!(bluez.times("write fff1 2b00 request"), 1);
    let outcome = order("2", r#""child_lock":"ON""#);
    assert_eq!(outcome["status"], "applied", "{outcome}");
    assert_eq!(bluez.times("write fff2 01 command"), 1);
    let outcome = order("3", r#""stuck":7"#);
    assert_eq!(outcome["status"], "unknown", "it was written and is not shown: {outcome}");
    assert_eq!(bluez.times("write fff3 07 request"), 1, "never twice");

    // It goes out of reach and comes back.
    bluez.order(json!({"do": "away", "address": HEATER}));
    gateway.wait_for_status("the valve is missed", |status| {
        !is_online(status, "valve") && fault(status, "valve").contains("is it near")
    });
    let outcome = order("4", r#""target":18"#);
    assert_eq!(outcome["status"], "failed", "{outcome}");
    assert!(outcome["detail"].as_str().is_some_and(|detail| detail.contains("is it near")), "{outcome}");
    assert_eq!(bluez.times("write fff1 2400"), 0);
    bluez.order(json!({"do": "near", "address": HEATER}));
    let status = both_online(&gateway);
    gateway.wait_for_status("the connections are counted", |status| counted(status, "connections") >= 2);
    assert_eq!(order("5", r#""target":18"#)["status"], "applied");
    assert_eq!(device(&status, "valve")["restarts"], json!(0));
    assert_eq!(bluez.times("scan hci1"), 0, "the first adapter by its name, not the first in the list");
}

#[test]
fn whatever_of_bluetooth_is_missing_has_its_sentence_and_heals_by_itself() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let bus = Bus::start(folder.path());
    let gateway = plan(folder.path(), None, &bus).start();
    let told = gateway.lan().subscribe(&["-t", "home/valve/availability"]);
    both_lost(
        &gateway,
        "the Bluetooth daemon is not running; start it with `systemctl enable --now bluetooth`",
    );
    let mut bluez = air(&bus);
    both_online(&gateway);

    // The only adapters are unplugged, and plugged in again.
    for adapter in ["hci1", "hci0"] {
        bluez.order(json!({"do": "unplug", "adapter": adapter}));
    }
    both_lost(&gateway, "there is no Bluetooth adapter; is it plugged in?");
    bluez.order(json!({"do": "plug", "adapter": "hci0"}));
    both_online(&gateway);

    bluez.order(json!({"do": "block"}));
    both_lost(&gateway, "the Bluetooth adapter hci0 is blocked; unblock it with `rfkill unblock bluetooth`");
    bluez.order(json!({"do": "unblock"}));
    both_online(&gateway);

    // Somebody switches it off: it is switched on again.
    let before = bluez.times("power on");
    bluez.order(json!({"do": "power_off"}));
    process::eventually("it is switched on", process::PATIENCE, || {
        (bluez.times("power on") > before).then_some(())
    });
    both_online(&gateway);

    // The daemon goes and comes back.
    drop(bluez);
    both_lost(&gateway, "the Bluetooth daemon is not running");
    let bluez = air(&bus);
    both_online(&gateway);

    // The message bus, too.
    drop((bluez, bus));
    both_lost(&gateway, "the system's message bus does not answer");
    let bus = Bus::start(folder.path());
    let _bluez = air(&bus);
    let status = both_online(&gateway);
    assert_eq!(device(&status, "thermometer")["restarts"], json!(0), "what heals is no failure of the bus");
    assert!(counted(&status, "adapter_lost") >= 4, "{status}");
    let status = gateway.wait_for_status("six connections", |status| counted(status, "connections") >= 6);
    let online = told.received().iter().filter(|message| message.payload == "online").count();
    assert!(
        online as u64 <= counted(&status, "connections"),
        "it was online only when it was connected: {online}"
    );
}

#[test]
fn an_adapter_that_comes_and_goes_leaves_no_connection_to_the_message_bus_behind() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let bus = Bus::start(folder.path());
    let mut bluez = air(&bus);
    let gateway = plan(folder.path(), None, &bus).start();
    both_online(&gateway);
    bluez.order(json!({"do": "unplug", "adapter": "hci1"}));
    let mut sockets = Vec::new();
    for _ in 0..4 {
        bluez.order(json!({"do": "unplug", "adapter": "hci0"}));
        both_lost(&gateway, "there is no Bluetooth adapter; is it plugged in?");
        bluez.order(json!({"do": "plug", "adapter": "hci0"}));
        both_online(&gateway);
        sockets.push(gateway.sockets());
    }
    // Looks at the adapter come and go; one left behind each time would be three more at the end.
    assert!(sockets[3] < sockets[0] + 3, "{sockets:?}");
}

#[test]
fn a_missing_right_is_told_and_a_connection_that_is_half_open_is_made_anew() {
    const SCALES: &str = r#"
devices:
  - id: scales
    kind: ble_gatt
    options:
      address: C0:FF:EE:00:00:02
      adapter: hci0
      characteristics: [{field: weight, uuid: "2a9d", type: u16le, scale: 0.005, unit: kg, read_every: 200ms}]
  - id: far
    kind: ble_gatt
    options:
      address: C0:FF:EE:00:00:03
      adapter: hci7
      characteristics: [{field: weight, uuid: "2a9d", type: u16le}]
"#;
    let folder = tempfile::tempdir().expect("a folder for the test");
    let bus = Bus::start(folder.path());
    let mut bluez = BlueZ::start(&bus);
    let address = "C0:FF:EE:00:00:02";
    // With a connection that a daemon before this one left behind, and that this one never completes.
    bluez.order(json!({"do": "peripheral", "address": address, "half_open": true, "characteristics": [
        {"uuid": "2a9d", "service": "181d", "flags": ["read"], "value": "9a3a"},
        {"uuid": "2a19", "service": "180f", "flags": ["read"], "value": "2a"},
    ]}));
    bluez.order(again_and_again(json!({"do": "advertise", "address": address})));
    bus.deny(true);
    let gateway = plan_of(folder.path(), None, &bus, SCALES).start();
    gateway.wait_for_status("it has no right", |status| {
        fault(status, "scales").contains("add its user to the group: `usermod -aG bluetooth hearthlink`")
    });
    bus.deny(false);
    let is_read = |status: &Value, weight: f64| {
        let fields = &device(status, "scales")["fields"];
        (&fields["weight"], &fields["battery"]) == (&json!(weight), &json!(42))
    };
    gateway.wait_for_status("weight and battery", |status| is_read(status, 75.01));
    gateway.wait_for_status("the other adapter is missed", |status| {
        let fault = fault(status, "far");
        fault.contains("the Bluetooth adapter hci7 is not there") && fault.contains("There is hci0, hci1")
    });
    // Nothing tells of a change: it is read again.
    bluez.order(json!({"do": "notify", "uuid": "2a9d", "value": "9c3a"}));
    gateway.wait_for_status("the new weight", |status| is_read(status, 75.02));
}

#[test]
fn an_order_that_never_left_is_expired_and_one_that_shows_late_is_applied() {
    const SHUTTER: &str = r#"
devices:
  - id: shutter
    kind: ble_gatt
    options:
      address: C0:FF:EE:00:00:04
      confirm_within: 20s
      characteristics:
        - {field: slow, uuid: fff1, type: u8, writable: true}
        - {field: late, uuid: fff2, type: u8, writable: true}
        - {field: quick, uuid: fff3, type: u8, read_every: 100ms}
"#;
    let folder = tempfile::tempdir().expect("a folder for the test");
    let bus = Bus::start(folder.path());
    let mut bluez = BlueZ::start(&bus);
    let address = "C0:FF:EE:00:00:04";
    bluez.order(json!({"do": "peripheral", "address": address, "characteristics": [
        {"uuid": "fff1", "service": "fff0", "flags": ["read", "write"], "value": "00"},
        {"uuid": "fff2", "service": "fff0", "flags": ["read", "write"], "value": "00", "late": 2},
        {"uuid": "fff3", "service": "fff0", "flags": ["read"], "value": "07"},
    ]}));
    bluez.order(again_and_again(json!({"do": "advertise", "address": address})));
    let gateway = plan_of(folder.path(), None, &bus, SHUTTER).start();
    gateway.wait_for_status("it is read", |status| device(status, "shutter")["fields"]["quick"] == json!(7));
    let results = gateway.lan().subscribe(&["-t", "home/shutter/result"]);
    let order = |id: &str, ttl: u64, fields: &str| {
        let payload = format!(r#"{{"id":"{id}","ttl":{ttl},{fields}}}"#);
        gateway.lan().publish(&["-q", "1", "-t", "home/shutter/set", "-m", &payload]);
        results.wait_for(&format!("the outcome of {id}"), |message| message.json()["id"] == id).json()
    };

    // It moves only after a while, and the first look at it is too early.
    let outcome = order("late", 30, r#""late":1"#);
    assert_eq!(outcome["status"], "applied", "{outcome}");
    assert!(bluez.times("read fff2") >= 3, "looked at again until it shows it");
    assert_eq!(bluez.times("write fff2"), 1, "never twice");
    // To be read takes it longer than a frame may be under way.
    bluez.order(json!({"do": "change", "uuid": "fff1", "into": {"slow": 6}}));
    let outcome = order("slow", 30, r#""slow":1"#);
    assert_eq!(outcome["status"], "applied", "{outcome}");

    // A reading that comes to no end: what waits behind it has not begun.
    bluez.order(json!({"do": "change", "uuid": "fff1", "into": {"slow": 0}}));
    bluez.order(json!({"do": "change", "uuid": "fff3", "into": {"slow": 3600}}));
    // One that was under way before may still come back at once.
    for _ in 0..2 {
        let before = bluez.times("read fff3");
        process::eventually("it is being read", process::PATIENCE, || {
            (bluez.times("read fff3") > before).then_some(())
        });
    }
    let outcome = order("behind", 2, r#""slow":2"#);
    assert_eq!(outcome["status"], "expired", "{outcome}");
    let outcome = order("in-time", 30, r#""slow":3"#);
    assert_eq!(outcome["status"], "applied", "{outcome}");
    assert_eq!((bluez.times("write fff1 02"), bluez.times("write fff1 03")), (0, 1));
}

#[test]
fn an_adapter_that_falls_silent_is_scanned_anew_then_switched_off_and_on_then_reported() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let bus = Bus::start(folder.path());
    let mut bluez = air(&bus);
    let gateway = plan(folder.path(), None, &bus).start();
    let first = both_online(&gateway);

    // A scan that stops without a word, and one whose end BlueZ shows.
    bluez.order(json!({"do": "silence", "until": "scan"}));
    gateway.wait_for_status("the scan is restarted", |status| counted(status, "scans_restarted") > 0);
    bluez.order(again_and_again(temperature(2250)));
    gateway.wait_for_status("the new value", |status| {
        device(status, "thermometer")["fields"]["temperature"] == json!(22.5)
    });
    let before = bluez.times("scan hci0");
    bluez.order(json!({"do": "scan_ends"}));
    process::eventually("it scans again", process::PATIENCE, || {
        (bluez.times("scan hci0") > before).then_some(())
    });

    let is_reported = |reports: u64| {
        gateway.wait_for_status("it is reported", |status| {
            let told = "nothing was heard of any Bluetooth device";
            fault(status, "thermometer").contains(told)
                && status["buses"][0]["fault"].as_str().is_some_and(|fault| fault.contains(told))
                && counted(status, "silences_reported") >= reports
        })
    };
    // While a peripheral is connected, its connection is not cut.
    bluez.order(json!({"do": "silence", "until": "never"}));
    let status = is_reported(1);
    assert_eq!(counted(&status, "power_cycles"), counted(&first, "power_cycles"), "{status}");
    assert!(is_online(&status, "valve"), "{status}");
    bluez.order(json!({"do": "speak"}));
    both_online(&gateway);

    let away = json!({"do": "away", "address": HEATER});
    let near = json!({"do": "near", "address": HEATER});
    bluez.order(away.clone());
    gateway.wait_for_status("the valve is missed", |status| !is_online(status, "valve"));
    bluez.order(json!({"do": "silence", "until": "power"}));
    gateway.wait_for_status("it is switched off and on", |status| {
        counted(status, "power_cycles") > counted(&first, "power_cycles")
    });
    process::eventually("it was off", process::PATIENCE, || (bluez.times("power off") > 0).then_some(()));

    bluez.order(json!({"do": "silence", "until": "never"}));
    is_reported(2);
    // It is the radio's fault that the valve is not connected.
    gateway.wait_for_status("so the valve is not blamed", |status| {
        let told = "nothing was heard of any Bluetooth device";
        let sentence = status["verdict"]["sentence"].as_str().unwrap_or_default();
        fault(status, "valve").contains(told)
            && sentence.starts_with("The Bluetooth adapter has a fault")
            && sentence.contains(told)
    });
    bluez.order(json!({"do": "speak"}));
    gateway.wait_for_status("now it is its own", |status| fault(status, "valve").contains("is it near"));
    bluez.order(near.clone());
    both_online(&gateway);

    // And when it is a hand that helps, before anything is heard.
    bluez.order(away);
    gateway.wait_for_status("the valve is missed", |status| !is_online(status, "valve"));
    bluez.order(json!({"do": "silence", "until": "never"}));
    is_reported(3);
    bluez.order(json!({"do": "silence", "until": "power"}));
    bluez.order(json!({"do": "power_off"}));
    bluez.order(near);
    let status = both_online(&gateway);
    gateway
        .wait_for_status("nothing is wrong with the adapter", |status| status["buses"][0]["fault"].is_null());
    assert_eq!(device(&status, "thermometer")["restarts"], json!(0));
}
