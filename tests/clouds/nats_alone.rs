//! Debian's NATS 2.9, which speaks MQTT 3.1.1: one server with JetStream.

use super::{
    Papers,
    gateway::Plan,
    nats::{Nats, PASSWORD},
    process::PATIENCE,
    scenario::{Cloud, Stage, play},
};

impl Cloud for Nats {
    fn kill(&mut self, _: usize) {
        Nats::kill(self);
    }

    fn recover(&mut self) {
        self.restart();
    }
}

#[test]
fn nats_with_a_password_loses_nothing_and_runs_nothing_twice() {
    let papers = Papers::new();
    // The other way, by certificate, is with the cluster: the watcher would have to show one as well, and `mosquitto_sub`
    // gives up when a server dies under its TLS.
    let mut server = Nats::start(papers.path(), &papers.server);
    let stage = Stage {
        name: "NATS, user and password",
        protocol: "MQTT 3.1.1",
        path: "/mqtt",
        profile: Some("nats"),
        login: &papers.by_password(PASSWORD),
        gateways: &[server.gateway],
        phone: server.phone(),
        watch: &["-c", "-q", "1"],
    };
    play(&stage, &mut server, papers.path());
}

/// NATS 2.9 ends the connection of whoever publishes to a topic with a space or a dot, without a word. Without a
/// profile the gateway does not know that beforehand.
#[test]
fn what_nats_hangs_up_on_is_given_up_and_counted_and_holds_nobody_up() {
    let papers = Papers::new();
    let server = Nats::start(papers.path(), &papers.server);
    let watcher =
        server.phone().subscribe(&["-i", "watcher", "-c", "-q", "1", "-t", "hearthlink/home/sensors/#"]);
    let mut plan = Plan::new(&papers.path().join("gateway"), None, "routes:\n  - local: sensors/#\n");
    plan.line = format!(
        "cloud:\n  url: wss://localhost:{}/mqtt\n{}  backoff: {{first: 50ms, longest: 200ms, stable_after: 60s}}\n",
        server.gateway.port(),
        papers.by_password(PASSWORD)
    );
    let gateway = plan.start();
    gateway.wait_online();
    let topics = ["sensors/ok", "sensors/a.b", "sensors/ok", "sensors/a b", "sensors//a", "sensors/ok"];
    for (number, topic) in topics.into_iter().enumerate() {
        gateway.lan().publish(&["-q", "1", "-t", topic, "-m", &number.to_string()]);
    }
    let good = ["0", "2", "4", "5"];
    let has_all = |lines: &[String]| {
        let arrived = |payload: &&str| {
            lines.iter().any(|line| line.starts_with("MSG\t") && line.ends_with(&format!("\t{payload}")))
        };
        good.iter().all(arrived).then_some(())
    };
    watcher.process.wait_for("all that NATS takes", 2 * PATIENCE, has_all);
    assert!(watcher.received().iter().all(|message| good.contains(&message.payload.as_str())));
    let status = gateway.wait_for_status("the queue is empty", |status| status["store"]["waiting"] == 0);
    let dropped = status["store"]["dropped"].as_array().expect("a list of policies and counts");
    let refused: Vec<_> = dropped.iter().filter(|policy| policy[1] != 0).collect();
    assert_eq!(refused, [&serde_json::json!(["refused_by_cloud", 2])]);
    for topic in ["sensors/a.b", "sensors/a b"] {
        let is_named = |line: &String| line.contains("refused by the cloud") && line.contains(topic);
        assert!(gateway.log().iter().any(is_named), "{topic} is named in the log");
    }
}
