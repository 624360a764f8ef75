//! Debian's NATS 2.9, which speaks MQTT 3.1.1: one server with JetStream.

use std::net::SocketAddr;

use super::{
    Papers,
    nats::{Login, Nats},
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
fn nats_with_a_client_certificate_loses_nothing_and_runs_nothing_twice() {
    let papers = Papers::new();
    let phone = papers.authority.client("phone", "phone");
    let login = Login::Certificate { clients: papers.ca(), phone: &phone };
    let mut server = Nats::start(papers.path(), &papers.server, login);
    let stage = Stage {
        name: "NATS, client certificate",
        protocol: "MQTT 3.1.1",
        path: "/mqtt",
        login: &papers.by_certificate(),
        gateway: server.gateway,
        phone: server.phone(),
        watch: &["-c", "-q", "1"],
    };
    play(&stage, &mut server, papers.path());
}
