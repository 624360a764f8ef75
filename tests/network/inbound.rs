//! Nothing gets in from the Internet, and commands arrive all the same.

use std::collections::BTreeSet;

use super::{
    process::PATIENCE,
    scene::{Button, Scene, TLS_PORT, WEBSOCKET_PORT},
    topology::{GATEWAY, ROUTER},
};

/// What the Internet tries at every door: remote login, name service, web, MQTT, Home Assistant, databases, UPnP.
const WELL_KNOWN: [u16; 31] = [
    21, 22, 23, 25, 53, 80, 110, 111, 139, 143, 443, 445, 502, 631, 993, 1400, 1880, 1883, 1884, 2323, 3306,
    3389, 5000, 5432, 5683, 5900, 7547, 8080, 8123, 8883, 49152,
];
const WELL_KNOWN_UDP: [u16; 6] = [53, 123, 161, 1900, 5353, 5683];

#[test]
fn internet_reaches_no_port_of_the_gateway_while_commands_arrive_on_the_line_that_went_out() {
    let scene = Scene::new();
    let gateway = scene.gateway();
    let button = Button::new(&scene, &scene.lan(&gateway));
    button.press("before the scan");

    let doors = doors(&scene);
    let for_home = [gateway.lan_port, TLS_PORT, WEBSOCKET_PORT];
    let on_all_addresses: BTreeSet<u16> =
        doors.iter().filter(|(address, _)| address == "0.0.0.0").map(|&(_, port)| port).collect();
    assert_eq!(on_all_addresses, BTreeSet::from(for_home), "what is open towards home, of {doors:?}");
    assert!(doors.iter().any(|(address, _)| address == "127.0.0.1"), "the status page, among {doors:?}");

    // From home's side of the router: the doors are open, so what keeps them shut below is the firewall.
    for answer in scene.run("router", "scan.py", &[GATEWAY, &list(for_home)]) {
        assert!(answer.ends_with(" open"), "home does not reach its own gateway: {answer}");
    }

    let ports: BTreeSet<u16> = doors.iter().map(|&(_, port)| port).chain(WELL_KNOWN).collect();
    let before = scene.topology.counter("dropped");
    let addresses = format!("{ROUTER},{GATEWAY}");
    let answers = scene.run("internet", "scan.py", &[&addresses, &list(ports), &list(WELL_KNOWN_UDP)]);
    let dropped = scene.topology.counter("dropped") - before;
    let heard: Vec<&String> = answers.iter().filter(|answer| !answer.ends_with(" silent")).collect();
    assert!(heard.is_empty(), "the Internet heard something: {heard:?}");
    // What is silent was not lost on the way but thrown away, each one, by the rule that says so.
    assert!(dropped >= answers.len() as u64, "{} doors tried, only {dropped} packets dropped", answers.len());

    button.press("after the scan");
    let status = gateway.wait_online();
    assert_eq!(status["counters"]["connects"], 1, "the line that went out is still the first one");
    eprintln!("{} ports tried from the Internet, none answered; {dropped} packets dropped", answers.len());
}

/// Everything at home that listens, by address and port.
fn doors(scene: &Scene) -> Vec<(String, u16)> {
    let mut ss =
        super::process::Process::start("ss", scene.topology.place("home").command("ss").arg("-Htuln"));
    assert!(ss.wait(PATIENCE).success(), "ss: {:?}", ss.lines());
    let lines = ss.lines();
    let locals = lines.iter().map(|line| line.split_whitespace().nth(4).expect("the local address"));
    locals
        .map(|local| {
            let (address, port) = local.rsplit_once(':').expect("an address and a port");
            (address.to_owned(), port.parse().expect("a port"))
        })
        .collect()
}

fn list(ports: impl IntoIterator<Item = u16>) -> String {
    ports.into_iter().map(|port| port.to_string()).collect::<Vec<_>>().join(",")
}
