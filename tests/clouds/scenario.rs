//! The scenario: sensors publish at home and a phone sends commands, the cloud is killed, the line is cut, and then
//! the history of a watcher in the cloud is judged.
//!
//! The gateway reaches each server of the cloud through a line of ours (`support/proxy`) that changes nothing but can be
//! cut; where there are several, it finds one that lives by itself. The phone does what a good one does: it publishes a command
//! until the cloud has it, and again, with the same id, when no outcome comes.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    net::SocketAddr,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::{Builder, Runtime};

use super::{
    clients::{Broker, Received, Subscriber},
    gateway::{Gateway, Plan},
    process::{PATIENCE, eventually},
    proxy::{End, Proxy, Weather},
    tally::Tally,
};

const SENSORS: usize = 4;
const READINGS: usize = 10_000;
const COMMANDS: usize = 100;
/// Those of them that carry no time: they run only if the cloud sent them after all that had waited there.
const UNDATED: usize = 5;
/// Each works on few commands at a time, also when many come at once after an outage.
const PLUGS: usize = 10;
/// Readings a second of all sensors together.
const PACE: usize = 1_250;
/// Between two commands.
const PAUSE: Duration = Duration::from_millis(70);
/// How long everything may take to heal.
const HEALING: Duration = Duration::from_secs(120);
const ROOT: &str = "hearthlink/home/";

/// A cloud that can be hurt.
pub trait Cloud {
    /// Remembers the watcher, who is subscribed now, also when it is killed.
    fn save(&mut self) {}
    /// Kills (SIGKILL) what the gateway is connected to: the server at this place of [`Stage::gateways`].
    fn kill(&mut self, server: usize);
    /// Brings back what was killed, if nobody else takes its place; it listens when this returns.
    fn recover(&mut self);
    /// Brings back what was killed, later.
    fn mend(&mut self) {}
    /// Whether the watcher was connected to what was killed, too.
    fn kills_the_watcher(&self) -> bool {
        true
    }
}

/// Everything about a cloud that the scenario needs to know.
pub struct Stage<'a> {
    pub name: &'a str,
    /// What the status page says when the gateway has found the version that both speak.
    pub protocol: &'a str,
    /// Of the URL.
    pub path: &'a str,
    /// `cloud.profile` of the gateway's file; `None`: without one.
    pub profile: Option<&'a str>,
    /// `cloud:` of the gateway's file, without the URL.
    pub login: &'a str,
    /// Where gateways connect, the preferred place first.
    pub gateways: &'a [SocketAddr],
    /// Where phone and watcher connect.
    pub phone: Broker,
    /// How the watcher subscribes, so that the cloud keeps for it what comes while it is away.
    pub watch: &'a [&'a str],
}

/// Runs it, prints its table, and fails when anything is wrong.
#[track_caller]
pub fn play(stage: &Stage, cloud: &mut dyn Cloud, folder: &Path) {
    let started = Instant::now();
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let run = Run::new(stage, &runtime, folder);
    cloud.save();
    run.load(cloud);
    run.ask_without_a_time();
    run.wait_for_everything();
    run.judge(started);
    run.crash();
}

struct Run<'a> {
    stage: &'a Stage<'a>,
    lines: Vec<Proxy>,
    gateway: Gateway,
    watcher: Subscriber,
    devices: Subscriber,
    seen: RefCell<Seen>,
}

/// The tally of the lines that were read so far.
#[derive(Default)]
struct Seen {
    tally: Tally,
    watched: usize,
    recorded: usize,
}

impl<'a> Run<'a> {
    #[track_caller]
    fn new(stage: &'a Stage<'a>, runtime: &Runtime, folder: &Path) -> Self {
        let mut options = stage.watch.to_vec();
        options.extend([
            "-i",
            "watcher",
            "-t",
            "hearthlink/home/sensors/#",
            "-t",
            "hearthlink/home/+/result",
        ]);
        // Through files: a watcher that waits for the test to read would slow the cloud down.
        let watcher = stage.phone.subscribe_into(&folder.join("watcher.log"), &options);
        let lines: Vec<Proxy> =
            stage.gateways.iter().map(|gateway| runtime.block_on(Proxy::start(*gateway))).collect();
        let plugs = 0..PLUGS;
        let devices: String = plugs
            .clone()
            .map(|n| {
                format!("  - {{id: plug-{n}, kind: lan, options: {{command_topic: cmnd/plug-{n}/POWER}}}}\n")
            })
            .collect();
        let allowed: String =
            plugs.map(|n| format!("    - {{device: plug-{n}, set: {{state: any}}}}\n")).collect();
        let rest = format!(
            "routes:\n  - local: sensors/#\ndevices:\n{devices}commands:\n  max_age: 10min\n  allow:\n{allowed}"
        );
        let mut plan = Plan::new(&folder.join("gateway"), None, &rest);
        let urls: Vec<String> = lines
            .iter()
            .map(|line| format!("wss://localhost:{}{}", line.address().port(), stage.path))
            .collect();
        let profile = stage.profile.map_or(String::new(), |name| format!("  profile: {name}\n"));
        plan.line = format!(
            "cloud:\n{profile}  url: {}\n  other_urls: [{}]\n{}  backoff: {{first: 200ms, longest: 1s, stable_after: 60s}}\n",
            urls[0],
            urls[1..].join(", "),
            stage.login
        );
        let gateway = plan.start();
        gateway.wait_online();
        let at_home = ["-i", "plugs", "-c", "-q", "1", "-t", "cmnd/+/POWER"];
        let devices = gateway.lan().subscribe_into(&folder.join("devices.log"), &at_home);
        Self { stage, lines, gateway, watcher, devices, seen: RefCell::default() }
    }

    /// All readings and the dated commands, with two outages among them.
    #[track_caller]
    fn load(&self, cloud: &mut dyn Cloud) {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let mut loads = Vec::new();
            for sensor in 0..SENSORS {
                let (is_over, lan) = (&is_over, self.gateway.lan());
                loads.push(scope.spawn(move || publish(&lan, sensor, is_over)));
            }
            let (is_over, phone) = (&is_over, &self.stage.phone);
            loads.push(scope.spawn(move || {
                for number in 0..COMMANDS - UNDATED {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    ask(phone, number);
                    if number % 5 == 0 {
                        // An impatient thumb.
                        ask(phone, number);
                    }
                    thread::sleep(PAUSE);
                }
            }));
            // A failing assertion must not leave the load running.
            let _end = Over(is_over);
            self.outage("killed", READINGS / 4, || {
                cloud.kill(self.server());
                self.wait_until_down();
                thread::sleep(Duration::from_secs(1));
                let said = self.watcher.process.line_count();
                cloud.recover();
                if cloud.kills_the_watcher() {
                    self.watcher.wait_until_back(said);
                }
            });
            cloud.mend();
            self.outage("line cut", READINGS * 6 / 10, || {
                for line in &self.lines {
                    line.set(Weather::Shut);
                    line.cut(End::Reset);
                }
                self.wait_until_down();
                thread::sleep(Duration::from_secs(1));
                self.lines.iter().for_each(|line| line.set(Weather::Clear));
            });
            for load in loads {
                load.join().expect("everything was published and accepted");
            }
        });
    }

    /// An outage once the watcher has `count` readings; the line is up again when this returns.
    #[track_caller]
    fn outage(&self, what: &str, count: usize, outage: impl FnOnce()) {
        eventually("readings arrive", HEALING, || (self.look(Tally::readings) >= count).then_some(()));
        let (began, seen) = (Instant::now(), self.look(Tally::readings));
        outage();
        self.gateway.wait_longer_for_status("the gateway is back", HEALING, |status| {
            status["link"]["state"] == "online"
        });
        eprintln!("{}: {what} at {seen} readings, online after {:.1?}", self.stage.name, began.elapsed());
        assert!(seen < READINGS * 9 / 10, "{what} too late: {seen} readings had arrived");
    }

    /// Which of the cloud's servers the gateway is connected to.
    #[track_caller]
    fn server(&self) -> usize {
        let endpoint = self.gateway.wait_online()["link"]["endpoint"].clone();
        let is_it = |line: &Proxy| {
            let port = format!(":{}", line.address().port());
            endpoint.as_str().is_some_and(|endpoint| endpoint.contains(&port))
        };
        self.lines.iter().position(is_it).unwrap_or_else(|| panic!("{endpoint} is none of ours"))
    }

    #[track_caller]
    fn wait_until_down(&self) {
        self.gateway.wait_for_status("the gateway notices", |status| status["link"]["state"] != "online");
    }

    /// Commands that the gateway takes only if nothing older can be behind them; each once, when all is quiet.
    #[track_caller]
    fn ask_without_a_time(&self) {
        for number in COMMANDS - UNDATED..COMMANDS {
            let (topic, id) = (set_topic(number), id(number));
            self.stage.phone.publish(&[
                "-q",
                "1",
                "-t",
                &topic,
                "-m",
                &format!(r#"{{"id":"{id}","state":"{id}"}}"#),
            ]);
        }
    }

    /// Waits until everything is there, and asks again for what has no outcome.
    #[track_caller]
    fn wait_for_everything(&self) {
        let deadline = Instant::now() + HEALING;
        let mut next = Instant::now() + Duration::from_secs(5);
        loop {
            let unanswered: Vec<usize> = {
                let has_outcome = |number: &usize| self.look(|tally| tally.has_outcome(&id(*number)));
                (0..COMMANDS).filter(|number| !has_outcome(number)).collect()
            };
            if unanswered.is_empty() && self.look(Tally::readings) >= READINGS || Instant::now() > deadline {
                break;
            }
            if Instant::now() > next {
                // Undated ones are asked once: they were sent on a line that was up.
                for number in unanswered.into_iter().filter(|number| *number < COMMANDS - UNDATED) {
                    ask(&self.stage.phone, number);
                }
                next = Instant::now() + Duration::from_secs(5);
            }
            thread::sleep(Duration::from_millis(50));
        }
        let is_empty = |status: &serde_json::Value| status["store"]["waiting"] == 0;
        let status = self.gateway.wait_longer_for_status("the queue is empty", PATIENCE, is_empty);
        let dropped = status["store"]["dropped"].as_array().expect("a list of policies and counts");
        assert!(dropped.iter().all(|policy| policy[1] == 0), "a policy dropped something: {dropped:?}");
    }

    #[track_caller]
    fn judge(&self, started: Instant) {
        let status = self.gateway.wait_online();
        let sent = (0..SENSORS).flat_map(|sensor| {
            (0..READINGS / SENSORS).map(move |number| (format!("sensors/room-{sensor}"), number))
        });
        let asked = (0..COMMANDS).map(id).collect();
        let faults = self.look(|tally| tally.faults(&sent.collect::<BTreeSet<_>>(), &asked));
        self.look(|tally| {
            eprintln!("{}\n  protocol                {}", self.stage.name, status["link"]["protocol"]);
            for (what, count) in [
                ("readings accepted", READINGS),
                ("arrived", tally.readings()),
                ("arrived again", tally.duplicates()),
                ("commands", COMMANDS),
                ("acts of devices", tally.acts()),
                ("with an outcome", tally.outcomes()),
                ("outcomes told again", tally.outcomes_again()),
                ("outages", 2),
                ("faults", faults.len()),
            ] {
                eprintln!("  {what:<20} {count:>6}");
            }
        });
        eprintln!("  {:<20} {:>6.1}", "seconds", started.elapsed().as_secs_f32());
        for fault in faults.iter().take(50) {
            eprintln!("  {fault}");
        }
        assert!(faults.is_empty(), "{} faults, of which the first are above", faults.len());
        assert_eq!(status["link"]["protocol"], self.stage.protocol);
    }

    /// What is kept for whoever comes later, and the last will.
    #[track_caller]
    fn crash(self) {
        let state = self.stage.phone.subscribe(&["-q", "1", "-t", "hearthlink/home/bridge/state"]);
        state.wait_for("the retained word is online", |message| {
            message.payload == "online" && message.retained
        });
        let mut gateway = self.gateway;
        gateway.kill();
        state.wait_for("the last will", |message| message.payload == "offline");
        gateway.start_again().wait_online();
    }

    /// Adds what was said since the last look, and asks the tally.
    fn look<T>(&self, question: impl FnOnce(&Tally) -> T) -> T {
        let seen = &mut *self.seen.borrow_mut();
        let Seen { tally, watched, recorded } = seen;
        read(&self.watcher, watched, |message| {
            let topic = message.topic.strip_prefix(ROOT).unwrap_or(&message.topic);
            tally.arrived(topic, &message.payload);
        });
        read(&self.devices, recorded, |message| tally.acted(&message.payload));
        question(tally)
    }
}

/// Reads what a subscriber received after its first `read` lines.
fn read(subscriber: &Subscriber, read: &mut usize, mut each: impl FnMut(Received)) {
    subscriber.process.heard().wait_for(Duration::ZERO, |lines| {
        lines[*read..].iter().filter_map(|line| Received::parse(line)).for_each(&mut each);
        *read = lines.len();
        Some(())
    });
}

/// One sensor's share of the readings, each a number of its own.
fn publish(lan: &Broker, sensor: usize, is_over: &AtomicBool) {
    let (name, topic) = (format!("sensor-{sensor}"), format!("sensors/room-{sensor}"));
    let mut publisher = lan.publisher(&["-i", &name, "-q", "1", "-t", &topic, "-l"]);
    let started = Instant::now();
    for number in 0..READINGS / SENSORS {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        publisher.say(&format!("{number}\n"));
        let due = Duration::from_secs(1).mul_f64((number * SENSORS) as f64 / PACE as f64);
        thread::sleep(due.saturating_sub(started.elapsed()));
    }
    // It ends by itself once the gateway has acknowledged every one.
    let status = publisher.wait(HEALING);
    assert!(status.success(), "mosquitto_pub: {status}");
}

/// Publishes a command until the cloud has it.
fn ask(phone: &Broker, number: usize) {
    let (topic, id) = (set_topic(number), id(number));
    // Once it is done, it is done; until then the cloud may take its time.
    let text = format!(r#"{{"id":"{id}","state":"{id}","expires_at":"2099-01-01T00:00:00Z"}}"#);
    eventually("the cloud takes a command", HEALING, || {
        let (code, _) = phone.try_publish(&["-q", "1", "-t", &topic, "-m", &text]);
        (code == 0).then_some(())
    });
}

fn set_topic(number: usize) -> String {
    format!("{ROOT}plug-{}/set", number % PLUGS)
}

fn id(number: usize) -> String {
    format!("command-{number}")
}

/// Tells the load that it is over, also when an assertion fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
