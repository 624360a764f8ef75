//! Three of Debian's NATS servers as one cloud that keeps everything three times; the one that the gateway is
//! connected to is killed under load, and the gateway goes to another one.

use super::{
    Papers,
    nats::Nats,
    scenario::{Cloud, Stage, play},
};

struct Cluster {
    servers: [Nats; 3],
    killed: Option<usize>,
}

/// Where phone and watcher are connected; they stay there.
const THEIRS: usize = 2;

impl Cloud for Cluster {
    fn kill(&mut self, server: usize) {
        assert_ne!(server, THEIRS, "the gateway prefers the first one");
        self.servers[server].kill();
        self.killed = Some(server);
    }

    fn recover(&mut self) {}

    fn mend(&mut self) {
        self.servers[self.killed.take().expect("one was killed")].restart();
    }

    fn kills_the_watcher(&self) -> bool {
        false
    }
}

#[test]
fn nats_cluster_with_a_server_killed_loses_nothing_and_runs_nothing_twice() {
    let papers = Papers::new();
    let phone = papers.authority.client("phone", "phone");
    let servers = Nats::start_cluster(papers.path(), &papers.server, papers.ca(), &phone);
    let mut cluster = Cluster { servers, killed: None };
    let stage = Stage {
        name: "NATS, three servers, client certificate",
        protocol: "MQTT 3.1.1",
        path: "/mqtt",
        // The gateway finds out by itself that these speak MQTT 3.1.1 only.
        profile: None,
        login: &papers.by_certificate(),
        gateways: &cluster.servers.each_ref().map(|server| server.gateway),
        phone: cluster.servers[THEIRS].phone(),
        watch: &["-c", "-q", "1"],
    };
    play(&stage, &mut cluster, papers.path());
}
