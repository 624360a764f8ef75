//! Debian's Mosquitto 2, which speaks MQTT 5: with a client certificate, and with a user name and a password.

use std::net::SocketAddr;

use super::{
    Papers, cloud,
    scenario::{Cloud, Stage, play},
};

/// With QoS 0 the watcher has what Mosquitto acknowledged before it died: tests/interop/exactly_once.rs says why.
const WATCH: &[&str] = &["-V", "5", "-c", "-x", "3600", "-q", "0"];

impl Cloud for cloud::Cloud {
    fn save(&mut self) {
        cloud::Cloud::save(self);
    }

    fn kill(&mut self) {
        cloud::Cloud::kill(self);
    }

    fn recover(&mut self) -> SocketAddr {
        self.restart();
        at(self.gateway_port)
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
        login,
        gateway: at(mosquitto.gateway_port),
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
