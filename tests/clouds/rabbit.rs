//! Debian's RabbitMQ 3.10, which speaks MQTT 3.1.1.

use std::net::SocketAddr;

use super::{
    Papers,
    gateway::Plan,
    rabbitmq::{PASSWORD, RabbitMq},
    scenario::{Cloud, Stage, play},
};

impl Cloud for RabbitMq {
    fn kill(&mut self) {
        RabbitMq::kill(self);
    }

    fn recover(&mut self) -> SocketAddr {
        self.restart();
        self.gateway
    }
}

#[test]
fn rabbitmq_with_a_client_certificate_loses_nothing_and_runs_nothing_twice() {
    let papers = Papers::new();
    let mut node = RabbitMq::start(papers.path(), &papers.server, papers.ca());
    let stage = Stage {
        name: "RabbitMQ, client certificate",
        protocol: "MQTT 3.1.1",
        path: "/ws",
        login: &papers.by_certificate(),
        gateway: node.gateway,
        phone: node.phone(),
        watch: &["-c", "-q", "1"],
    };
    play(&stage, &mut node, papers.path());

    // The node takes long to start; so a gateway without a certificate is tried on the same one.
    let mut plan = Plan::new(&papers.path().join("other"), None, "");
    plan.line = format!(
        "cloud:\n  url: wss://localhost:{}/ws\n{}",
        node.gateway.port(),
        papers.by_password(PASSWORD)
    );
    plan.start().wait_online();
}
