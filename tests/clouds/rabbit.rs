//! Debian's RabbitMQ 3.10, which speaks MQTT 3.1.1.

use super::{
    Papers,
    gateway::Plan,
    process::PATIENCE,
    rabbitmq::{PASSWORD, RabbitMq},
    scenario::{Cloud, Stage, play},
};

impl Cloud for RabbitMq {
    fn kill(&mut self, _: usize) {
        RabbitMq::kill(self);
    }

    fn recover(&mut self) {
        self.restart();
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
        profile: Some("rabbitmq"),
        login: &papers.by_certificate(),
        gateways: &[node.gateway],
        phone: node.phone(),
        watch: &["-c", "-q", "1"],
    };
    play(&stage, &mut node, papers.path());

    // The node takes long to start; so the rest is tried on the same one.
    a_password_is_enough(&papers, &node);
}

/// A gateway without a certificate comes in by its password; and what docs/clouds/rabbitmq.md tells about topics is so.
#[track_caller]
fn a_password_is_enough(papers: &Papers, node: &RabbitMq) {
    let mut plan = Plan::new(&papers.path().join("other"), None, "routes:\n  - local: sensors/#\n");
    let (port, login) = (node.gateway.port(), papers.by_password(PASSWORD));
    plan.line = format!("cloud:\n  url: wss://localhost:{port}/ws\n{login}");
    let gateway = plan.start();
    gateway.wait_online();
    let readings = node.phone().subscribe(&["-q", "1", "-t", "hearthlink/home/sensors/#"]);
    gateway.lan().publish(&["-q", "1", "-t", "sensors/v1.2", "-m", "dotted"]);
    let dotted = readings.wait_for("the reading", |message| message.payload == "dotted");
    assert_eq!(dotted.topic, "hearthlink/home/sensors/v1/2", "RabbitMQ makes a slash of a dot");

    let kept = |filter: &str| {
        let options = ["-q", "1", "-W", "2", "-t", filter];
        let mut subscriber = node.phone().try_subscribe(&options);
        subscriber.process.wait(PATIENCE);
        subscriber.received().iter().any(|message| message.retained && message.payload == "online")
    };
    assert!(kept("hearthlink/home/bridge/state"), "what is kept comes to whoever names its topic");
    assert!(!kept("hearthlink/home/#"), "and to nobody else: docs/clouds/rabbitmq.md warns of it");
}
