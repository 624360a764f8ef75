//! The main job: a phone somewhere presses a button, a device at home acts, and the phone sees what happened.

use std::{thread, time::Duration};

use super::{
    Scene,
    clients::{Received, Subscriber},
};

const HOME: &str = r#"
devices:
  - {id: plug, kind: lan, options: {command_topic: cmnd/plug/POWER}}
  - {id: lamp, kind: lan, options: {command_topic: lamp/set, state_topic: lamp/state, confirm_within: 3s}}
commands:
  allow:
    - {device: plug, set: {state: ["ON", "OFF"]}}
    - {device: lamp, set: {state: any}}
"#;

/// How long we look for something that must not come.
const SILENCE: Duration = Duration::from_millis(500);

fn outcome_of(results: &Subscriber, id: &str) -> serde_json::Value {
    results.wait_for(&format!("the outcome of {id}"), |message| message.json()["id"] == id).json()
}

fn payloads(device: &Subscriber) -> Vec<String> {
    device.received().into_iter().map(|message| message.payload).collect()
}

#[test]
fn phone_switches_the_plug_and_sees_the_outcome() {
    let scene = Scene::new();
    let gateway = scene.gateway(HOME);
    let phone = scene.cloud.phone();
    let plug = gateway.lan().subscribe(&["-i", "plug", "-q", "1", "-t", "cmnd/plug/POWER"]);
    let results = phone.subscribe(&["-q", "1", "-t", "hearthlink/home/plug/result"]);
    let at_home = gateway.lan().subscribe(&["-t", "home/plug/result"]);
    let receipts = gateway.lan().subscribe(&["-t", "home/bridge/receipt/#"]);
    let set = |payload: &str| phone.publish(&["-q", "1", "-t", "hearthlink/home/plug/set", "-m", payload]);

    set(r#"{"id":"toast-1","state":"ON"}"#);
    plug.wait_for("the plug hears ON", |message| message.payload == "ON" && !message.retained);
    let outcome = outcome_of(&results, "toast-1");
    assert_eq!((&outcome["status"], &outcome["device"]), (&"applied".into(), &"plug".into()), "{outcome}");
    assert_eq!(outcome_of(&at_home, "toast-1")["status"], "applied", "the home sees it too");

    // How far the command came, and then its outcome, at home and in the API.
    let message =
        outcome["message_id"].as_str().expect("what the gateway says has its name in it").to_owned();
    let is_acknowledged = |receipt: &Received| {
        receipt.json()["message"] == message && receipt.json()["stage"] == "acknowledged"
    };
    receipts.wait_for("the outcome's receipt", is_acknowledged);
    let stages = |name: &str, value: &str| {
        let all = receipts.received().into_iter().map(|receipt| receipt.json());
        let ours = all.filter(|receipt| receipt[name] == value);
        ours.map(|receipt| receipt["stage"].as_str().expect("a word").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(stages("command", "toast-1"), ["received", "admitted", "applied"]);
    assert_eq!(stages("message", &message), ["spooled", "sent", "acknowledged"]);
    let told = gateway.get("/api/receipts").expect("an answer");
    let last =
        told["receipts"].as_array().expect("a list").iter().find(|receipt| receipt["message"] == message);
    assert_eq!(last.expect("it is there")["stage"], "acknowledged", "newest first: {told}");

    // A plain word is a command as well; the gateway gives it an id.
    set("OFF");
    plug.wait_for("the plug hears OFF", |message| message.payload == "OFF");
    let outcome = results.wait_for_count(2, super::process::PATIENCE).pop().expect("two").json();
    assert_eq!(outcome["status"], "applied", "{outcome}");
    assert!(outcome["id"].as_str().is_some_and(|id| !id.is_empty() && id != "toast-1"), "{outcome}");

    // The same command again: the recorded outcome, and no second toast.
    set(r#"{"id":"toast-1","state":"ON"}"#);
    let again = results.wait_for("the outcome again", |message| message.json()["duplicate"] == true).json();
    assert_eq!((&again["id"], &again["status"]), (&"toast-1".into(), &"applied".into()), "{again}");

    // What the allow-list does not name never reaches the device.
    set(r#"{"id":"bad-1","state":"EXPLODE"}"#);
    let refused = outcome_of(&results, "bad-1");
    assert_eq!(
        (&refused["status"], &refused["reason"]),
        (&"refused".into(), &"not_allowed".into()),
        "{refused}"
    );
    assert!(refused["detail"].is_string(), "a sentence for people: {refused}");

    // Nor does what is over.
    set(r#"{"id":"late-1","state":"ON","expires_at":"2026-01-01T00:00:00Z"}"#);
    assert_eq!(outcome_of(&results, "late-1")["status"], "expired");

    phone.publish(&["-q", "1", "-t", "hearthlink/home/toaster/set", "-m", r#"{"id":"no-1","state":"ON"}"#]);
    thread::sleep(SILENCE);
    assert_eq!(payloads(&plug), ["ON", "OFF"], "the plug acted twice and no more");
}

#[test]
fn device_that_confirms_counts_only_once_it_did() {
    let scene = Scene::new();
    let gateway = scene.gateway(HOME);
    let phone = scene.cloud.phone();
    let lamp = gateway.lan().subscribe(&["-i", "lamp", "-q", "1", "-t", "lamp/set"]);
    let results = phone.subscribe(&["-q", "1", "-t", "hearthlink/home/lamp/result"]);
    let states = phone.subscribe(&["-q", "1", "-t", "hearthlink/home/lamp"]);

    phone.publish(&["-q", "1", "-t", "hearthlink/home/lamp/set", "-m", r#"{"id":"l-1","state":"ON"}"#]);
    lamp.wait_for("the lamp hears ON", |message| message.payload == "ON");
    thread::sleep(SILENCE);
    assert!(results.received().is_empty(), "the lamp has not confirmed yet");
    gateway.lan().publish(&["-q", "1", "-t", "lamp/state", "-m", "ON"]);
    assert_eq!(outcome_of(&results, "l-1")["status"], "applied");
    states.wait_for("the phone sees the lamp's state", |message| message.json()["state"] == "ON");

    phone.publish(&["-q", "1", "-t", "hearthlink/home/lamp/set", "-m", r#"{"id":"l-2","state":"OFF"}"#]);
    let outcome = outcome_of(&results, "l-2");
    assert_ne!(outcome["status"], "applied", "{outcome}");
    assert_eq!(outcome["reason"], "not_confirmed", "{outcome}");
}

#[test]
fn commands_from_while_the_gateway_was_away_never_actuate() {
    let scene = Scene::new();
    let mut gateway = scene.gateway(HOME);
    let phone = scene.cloud.phone();
    // The plug keeps its session, so that not one command could slip by while it reconnects.
    let plug = gateway.lan().subscribe(&["-i", "plug", "-c", "-q", "1", "-t", "cmnd/plug/POWER"]);
    let results = phone.subscribe(&["-q", "1", "-t", "hearthlink/home/plug/result"]);
    let bridge = phone.subscribe(&["-q", "1", "-t", "hearthlink/home/bridge/state"]);
    bridge.wait_for("the gateway says online", |message| message.payload == "online");

    gateway.terminate();
    bridge.wait_for("the gateway says offline before it goes", |message| message.payload == "offline");
    phone.publish(&["-q", "1", "-t", "hearthlink/home/plug/set", "-m", "ON"]);
    phone.publish(&[
        "-q",
        "1",
        "-t",
        "hearthlink/home/plug/set",
        "-m",
        r#"{"id":"old-1","state":"ON","ttl":1}"#,
    ]);
    phone.publish(&[
        "-q",
        "1",
        "-r",
        "-t",
        "hearthlink/home/plug/set",
        "-m",
        r#"{"id":"kept-1","state":"ON"}"#,
    ]);
    thread::sleep(Duration::from_millis(1200));
    let gateway = gateway.start_again();
    gateway.wait_online();

    assert_ne!(outcome_of(&results, "kept-1")["status"], "applied");
    assert_ne!(outcome_of(&results, "old-1")["status"], "applied");
    plug.process.wait_for("the plug is back", super::process::PATIENCE, |lines| {
        (lines.iter().filter(|line| line.starts_with("Subscribed")).count() > 1).then_some(())
    });
    phone.publish(&["-q", "1", "-t", "hearthlink/home/plug/set", "-m", r#"{"id":"now-1","state":"OFF"}"#]);
    let outcome = outcome_of(&results, "now-1");
    assert_eq!(outcome["status"], "applied", "{outcome}");
    plug.wait_for("the plug hears OFF", |message| message.payload == "OFF");
    assert_eq!(payloads(&plug), ["OFF"], "only what was sent while it was there");
}

#[test]
fn phone_learns_that_the_gateway_crashed_and_came_back() {
    let scene = Scene::new();
    let mut gateway = scene.gateway(HOME);
    let bridge = scene.cloud.phone().subscribe(&["-q", "1", "-t", "hearthlink/home/bridge/state"]);
    bridge.wait_for("the retained word is online", |message| message.payload == "online" && message.retained);
    gateway.kill();
    // It waits a second: who is back by then was never gone.
    bridge.wait_for("the last will", |message| message.payload == "offline");
    let gateway = gateway.start_again();
    gateway.wait_online();
    let words: Vec<String> = bridge
        .wait_for_count(3, super::process::PATIENCE)
        .into_iter()
        .map(|Received { payload, .. }| payload)
        .collect();
    assert_eq!(words[..3], ["online", "offline", "online"]);
}

/// The permissions that docs/commands.md shows, in the cloud of this test.
fn permissions() -> String {
    let page = include_str!("../../docs/commands.md");
    let text = page.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).expect("it is there");
    assert!(text.contains("%u") && text.contains("user home"), "{text}");
    text.to_owned()
}

#[test]
fn with_the_permissions_of_the_page_nobody_can_command_in_anothers_name() {
    let scene = Scene::with_permissions(Some(&permissions()));
    let rest = HOME.replace(
        "{device: plug, set: {state: [\"ON\", \"OFF\"]}",
        "{device: plug, senders: [anna], set: {state: [\"ON\", \"OFF\"]}",
    );
    assert!(rest.contains("senders: [anna]"));
    let gateway = scene.gateway(&rest);
    let (anna, bert) = (scene.cloud.phone().with(&["-u", "anna"]), scene.cloud.phone().with(&["-u", "bert"]));
    let plug = gateway.lan().subscribe(&["-i", "plug", "-q", "1", "-t", "cmnd/plug/POWER"]);
    let results = anna.subscribe(&["-q", "1", "-t", "hearthlink/home/plug/result"]);

    let order = |id: &str, word: &str| format!(r#"{{"id":"{id}","state":"{word}"}}"#);
    // In another's name, and in nobody's: the cloud drops both, and no outcome comes.
    for topic in ["hearthlink/home/plug/set/anna", "hearthlink/home/plug/set"] {
        bert.publish(&["-q", "1", "-t", topic, "-m", &order("stolen", "ON")]);
    }
    // In his own: the cloud lets it through, and the gateway does not know him.
    bert.publish(&["-q", "1", "-t", "hearthlink/home/plug/set/bert", "-m", &order("b-1", "ON")]);
    let refused = outcome_of(&results, "b-1");
    assert_eq!(
        (&refused["reason"], &refused["sender"]),
        (&"unknown_sender".into(), &"bert".into()),
        "{refused}"
    );
    anna.publish(&["-q", "1", "-t", "hearthlink/home/plug/set/anna", "-m", &order("a-1", "OFF")]);
    let done = outcome_of(&results, "a-1");
    assert_eq!((&done["status"], &done["sender"]), (&"applied".into(), &"anna".into()), "{done}");
    assert_eq!(payloads(&plug), ["OFF"], "only what Anna asked for");
    let ids: Vec<_> = results.received().iter().map(|message| message.json()["id"].clone()).collect();
    assert_eq!(ids, ["b-1", "a-1"]);
}
