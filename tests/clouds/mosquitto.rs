//! Debian's Mosquitto 2, which speaks MQTT 5: with a client certificate, and with a user name and a password.

use std::{fs, net::SocketAddr, process::Command};

use super::{
    Papers, cloud,
    gateway::Plan,
    page::block,
    port::Port,
    process::{Process, program},
    scenario::{Cloud, Stage, play},
};

/// With QoS 0 the watcher has what Mosquitto acknowledged before it died: tests/interop/exactly_once.rs says why.
const WATCH: &[&str] = &["-V", "5", "-c", "-x", "3600", "-q", "0"];

impl Cloud for cloud::Cloud {
    fn save(&mut self) {
        cloud::Cloud::save(self);
    }

    fn kill(&mut self, _: usize) {
        cloud::Cloud::kill(self);
    }

    fn recover(&mut self) {
        self.restart();
    }
}

fn at(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

fn play_on(papers: &Papers, mut mosquitto: cloud::Cloud, name: &str, login: &str) {
    let stage = Stage {
        name,
        protocol: "MQTT 5",
        path: "/mqtt",
        profile: Some("mosquitto"),
        login,
        gateways: &[at(mosquitto.gateway_port)],
        phone: mosquitto.phone(),
        watch: WATCH,
    };
    play(&stage, &mut mosquitto, papers.path());
}

#[test]
fn mosquitto_with_a_client_certificate_loses_nothing_and_runs_nothing_twice() {
    let papers = Papers::new();
    let mosquitto = cloud::Cloud::start(papers.path(), &papers.server, papers.ca());
    play_on(&papers, mosquitto, "Mosquitto, client certificate", &papers.by_certificate());
}

#[test]
fn mosquitto_with_a_password_loses_nothing_and_runs_nothing_twice() {
    let papers = Papers::new();
    let mosquitto = cloud::Cloud::start_with_password(papers.path(), &papers.server, ("home", "secret"));
    play_on(&papers, mosquitto, "Mosquitto, user and password", &papers.by_password("secret"));
}

#[test]
fn mosquitto_of_the_page_lets_a_gateway_in() {
    let papers = Papers::new();
    let (port, other) = (Port::reserve(), Port::reserve());
    let path = |path: &std::path::Path| path.display().to_string();
    let replacements = [
        ("listener 443", format!("listener {} 127.0.0.1\nsocket_domain ipv4", port.address().port())),
        ("listener 1883", format!("listener {}", other.address().port())),
        ("/var/lib/mosquitto/", path(papers.path()) + "/"),
        ("/etc/mosquitto/gateways-ca.pem", path(papers.ca())),
        ("/etc/mosquitto/server.pem", path(&papers.server.certificate)),
        ("/etc/mosquitto/server.key", path(&papers.server.key)),
    ];
    let text = block("# /etc/mosquitto/conf.d/hearthlink.conf", &replacements);
    let config = papers.path().join("mosquitto.conf");
    // As root it would become `mosquitto`, who cannot read the test's files.
    fs::write(&config, format!("user root\nlog_dest stderr\nlog_type all\n{text}")).expect("written");
    let mosquitto = Process::start("mosquitto", Command::new(program("mosquitto")).arg("-c").arg(&config));
    mosquitto.wait_for_line(" running");
    let mut plan = Plan::new(&papers.path().join("gateway"), None, "");
    let url = format!("cloud:\n  url: wss://localhost:{}/mqtt\n", port.address().port());
    plan.line = url + &papers.by_certificate();
    let status = plan.start().wait_online();
    assert_eq!(status["link"]["protocol"], "MQTT 5");
}
