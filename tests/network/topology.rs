//! One home network with its router and its Internet, by the script `topology` beside this file.
//!
//! Invariant: whatever happens to the test, its namespaces and what runs in them go away. When it ends or
//! panics, by [`Drop`]; when it is killed, because the script holds the other end of a pipe that then closes.

use std::{
    fs,
    process::{self, Command},
    sync::atomic::{AtomicUsize, Ordering},
};

use super::{
    place::Place,
    process::{PATIENCE, Process, eventually},
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/network/topology");

/// Where the gateway is. It may get another address.
pub const GATEWAY: &str = "192.168.50.2";
/// The router, as the Internet sees it: the address behind which home hides.
pub const ROUTER: &str = "198.51.100.1";
/// Where the cloud is. It may move.
pub const CLOUD: &str = "198.51.100.9";
/// The resolver that home asks.
pub const RESOLVER: &str = "198.51.100.53";

/// The namespaces of one test.
pub struct Topology {
    name: String,
    holder: Process,
}

impl Topology {
    /// Builds it under a name that no other has.
    #[track_caller]
    pub fn up() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let holder = Process::start("the network", Command::new(SCRIPT).args(["hold", &name]));
        let mut topology = Self { name, holder };
        eventually("the network is built", PATIENCE, || {
            if topology.holder.is_running() {
                return topology.holder.lines().contains(&"ready".to_owned()).then_some(());
            }
            topology.holder.wait(PATIENCE);
            panic!(
                "the network could not be built, and without it nothing is shown: {:?}",
                topology.holder.lines()
            )
        });
        topology
    }

    /// `home`, `router` or `internet`.
    pub fn place(&self, place: &str) -> Place {
        Place::in_namespace(format!("hl-{}-{place}", self.name))
    }

    /// Packets that the firewall counted: `dropped` from the Internet, `forgotten` from home.
    #[track_caller]
    pub fn counter(&self, counter: &str) -> u64 {
        self.script("counter", &[counter]).trim().parse().expect("a number of packets")
    }

    /// How many seconds the router remembers a connection on which nothing passes.
    #[track_caller]
    pub fn set_timeout(&self, seconds: u64) {
        self.script("timeout", &[&seconds.to_string()]);
    }

    /// The router forgets all connections and tells nobody.
    #[track_caller]
    pub fn forget(&self) {
        self.script("forget", &[]);
    }

    /// Home gets another address; the old one is gone.
    #[track_caller]
    pub fn renumber_home(&self, address: &str) {
        self.script("renumber", &[address]);
    }

    /// The cloud gets another address; the old one is gone.
    #[track_caller]
    pub fn move_cloud(&self, address: &str) {
        self.script("move", &[address]);
    }

    /// What home sends to `address` vanishes without an answer.
    #[track_caller]
    pub fn swallow(&self, address: &str) {
        self.script("swallow", &[address]);
    }

    #[track_caller]
    fn script(&self, verb: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(SCRIPT);
        let output = command.args([verb, &self.name]).args(arguments).output().expect("the script is there");
        let [said, complained] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(output.status.success(), "topology {verb} {arguments:?}: {complained}");
        said
    }
}

impl Drop for Topology {
    fn drop(&mut self) {
        // Nothing to be done here about a failure; the namespaces are named so that one sees whose they are.
        Command::new(SCRIPT).args(["down", &self.name]).status().ok();
    }
}

#[test]
fn network_of_a_test_that_was_killed_goes_away_with_what_ran_in_it() {
    let mut topology = Topology::up();
    let namespaces =
        ["home", "router", "internet"].map(|place| format!("/run/netns/hl-{}-{place}", topology.name));
    assert!(namespaces.iter().all(|namespace| fs::exists(namespace).expect("it can be looked for")));
    let mut left = Process::start("a program", topology.place("home").command("sleep").arg("600"));

    // As the kernel does it with the pipes of whoever is killed.
    let status = topology.holder.wait(PATIENCE);
    assert!(status.success(), "{:?}", topology.holder.lines());
    assert_eq!(namespaces.iter().filter(|namespace| fs::exists(namespace).unwrap_or(true)).count(), 0);
    left.wait(PATIENCE);
    assert!(!fs::exists(format!("/etc/netns/hl-{}-home", topology.name)).expect("it can be looked for"));
}
