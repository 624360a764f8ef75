//! Debian's NATS 2.9, which speaks MQTT 3.1.1: one server with JetStream.

use std::net::SocketAddr;

use super::{
    Papers,
    nats::{Login, Nats, PASSWORD},
    scenario::{Cloud, Stage, play},
};

impl Cloud for Nats {
    fn kill(&mut self) {
        Nats::kill(self);
    }

    fn recover(&mut self) -> SocketAddr {
        self.restart();
        self.gateway
    }
}

#[test]
fn nats_with_a_password_loses_nothing_and_runs_nothing_twice() {
    let papers = Papers::new();
    // The other way, by certificate, is with the cluster: the watcher would have to show one as well, and `mosquitto_sub`
    // gives up when a server dies under its TLS.
    let mut server = Nats::start(papers.path(), &papers.server, Login::Password);
    let stage = Stage {
        name: "NATS, user and password",
        protocol: "MQTT 3.1.1",
        path: "/mqtt",
        login: &papers.by_password(PASSWORD),
        gateway: server.gateway,
        phone: server.phone(),
        watch: &["-c", "-q", "1"],
    };
    play(&stage, &mut server, papers.path());
}
