//! Debian's Mosquitto killed -9 again and again under load: what the gateway accepted arrives, and what arrives twice
//! is at most a window for each kill, and marked.
//!
//! How Mosquitto's own forgetting is ruled out stands in `exactly_once`: a watcher with QoS 0 over plain TCP gets each
//! message before its PUBACK leaves, and Mosquitto is killed again only once the watcher is subscribed again and has
//! read what was queued for it. Killed, it goes back to one of two files that were saved once: one from
//! before the gateway connected, so that CONNACK says that there is no session, and one from after. (The soak's own
//! cloud, `tests/soak`, forgets nothing that it acknowledged and dies at any instant, but we wrote it.)
//!
//! A run that fails leaves everything that is needed to say who lost what in `target/tmp/torture-<seed>/`.

use std::{
    any::Any,
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{
    Gateway, Scene,
    clients::{Received, Subscriber},
    exactly_once::End,
};
use crate::history::{
    Diary, Event, Receipt, Text,
    verdict::{Rules, judge},
};

/// Between two readings.
const PACE: Duration = Duration::from_millis(1);
const WINDOW: usize = 64;
const TOPIC: &str = "sensors/attic";
const ROOT: &str = "hearthlink/home/";

#[test]
fn kills_of_mosquitto_lose_nothing_and_repeat_a_window_at_most() {
    let seed = wish("SOAK_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000));
    let kills = wish("MOSQUITTO_KILLS").unwrap_or(20);
    eprintln!("SOAK_SEED={seed}, {kills} kills");
    let scene = Scene::new();
    let watched = ["-V", "5", "-i", "watcher", "-c", "-x", "3600", "-q", "0", "-t", "hearthlink/home/#"];
    // Through a file: while it waited for the test to read, Mosquitto would hold back what it had acknowledged.
    let watcher = scene.cloud.phone().subscribe_into(&scene.path().join("watcher.log"), &watched);
    let without = keep_database(&scene, "without");
    let gateway = scene.gateway("routes:\n  - local: sensors/#\n");
    let with = keep_database(&scene, "with");
    let random = fastrand::Rng::with_seed(seed);
    let mut run = Run { scene, watcher, gateway, sessions: [without, with], random, diary: Diary::new() };
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run.torture(kills))) {
        run.keep(seed, panic);
    }
}

fn wish(name: &str) -> Option<u64> {
    Some(std::env::var(name).ok()?.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Has the cloud save what it knows and keeps a copy of the file.
fn keep_database(scene: &Scene, name: &str) -> PathBuf {
    scene.cloud.save();
    let copy = scene.path().join(format!("{name}.db"));
    fs::copy(scene.cloud.database(), &copy).expect("a copy");
    copy
}

struct Run {
    // The gateway and the watcher end before the folder with their files.
    gateway: Gateway,
    watcher: Subscriber,
    scene: Scene,
    /// What Mosquitto goes back to: without the gateway's session, and with it.
    sessions: [PathBuf; 2],
    random: fastrand::Rng,
    diary: Diary,
}

impl Run {
    fn torture(&mut self, kills: u64) {
        let mut sensor = self.gateway.lan().publisher(&["-i", "sensor", "-q", "1", "-t", TOPIC, "-l"]);
        let started = Instant::now();
        let (is_over, said) = (AtomicBool::new(false), AtomicUsize::new(0));
        let text = |number: usize| -> (Text, Text) { (TOPIC.into(), number.to_string().into()) };
        thread::scope(|scope| {
            let (is_over, said, sensor, diary) = (&is_over, &said, &mut sensor, self.diary.clone());
            let load = scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let number = said.fetch_add(1, Ordering::Relaxed);
                    let (topic, payload) = text(number);
                    diary.write(Event::Published { topic, payload });
                    sensor.say(&format!("{number}\n"));
                    thread::sleep(PACE);
                }
                // It ends by itself once the gateway has acknowledged every one.
                let status = sensor.wait(Duration::from_secs(60));
                assert!(status.success(), "mosquitto_pub: {status}");
            });
            let end = End(is_over);
            for kill in 0..kills {
                self.kill_once(kill);
            }
            drop(end);
            load.join().expect("the sensor published everything");
        });
        for number in 0..said.into_inner() {
            let (topic, payload) = text(number);
            self.diary.write(Event::Accepted { topic, payload });
        }
        self.wait_for_everything();
        for receipt in self.receipts() {
            self.diary.write(Event::Received(receipt));
        }
        let rules =
            Rules { window: WINDOW, tolerance: Duration::ZERO, has_id_in_payload: false, is_bounded: false };
        let verdict = judge(&self.diary.entries(), rules);
        eprintln!("{kills} kills of Mosquitto in {:.0?}\n{verdict}", started.elapsed());
        assert!(verdict.is_clean(), "the above was found");
    }

    /// Kills the cloud, starts it again with what it knew once, and waits until everybody is back.
    fn kill_once(&mut self, kill: u64) {
        thread::sleep(Duration::from_millis(self.random.u64(0..400)));
        if self.random.u8(..) < 85 {
            // A full window dies unread in its socket.
            self.diary.mark("Mosquitto is frozen");
            self.scene.cloud.freeze();
            thread::sleep(Duration::from_millis(self.random.u64(0..300)));
        }
        let session = &self.sessions[usize::from(self.random.bool())];
        self.diary.mark(format!("kill {kill}, back to {}", session.display()));
        self.scene.cloud.kill();
        let said = self.watcher.process.line_count();
        fs::copy(session, self.scene.cloud.database()).expect("the file is put back");
        self.gateway.wait_for_status("the gateway notices", |status| status["link"]["state"] != "online");
        self.scene.cloud.restart();
        self.gateway.wait_online();
        self.diary.mark("the gateway is back");
        self.watcher.wait_until_back(said);
        self.diary.mark("the watcher is back");
    }

    /// Waits until the gateway has handed on everything, dropped nothing, and the watcher has seen all of it.
    fn wait_for_everything(&self) {
        let patience = Duration::from_secs(60);
        let is_empty = |status: &serde_json::Value| status["store"]["waiting"] == 0;
        let status = self.gateway.wait_longer_for_status("the queue is empty", patience, is_empty);
        let dropped = status["store"]["dropped"].as_array().expect("a list of policies and counts");
        assert!(
            dropped.iter().all(|policy| policy[1] == 0),
            "nothing was dropped by any policy: {dropped:?}"
        );
        let (said, marker) = (self.watcher.process.line_count(), "the last marker");
        self.scene.cloud.phone().publish(&["-q", "1", "-t", &format!("{ROOT}marker"), "-m", marker]);
        self.watcher.process.wait_for_new_line(said, marker);
    }

    /// What the watcher got, each with the number of its own connection: that of the cloud's life.
    fn receipts(&self) -> Vec<Receipt> {
        let (mut receipts, mut connection) = (Vec::new(), 0);
        for line in self.watcher.process.lines() {
            connection += u64::from(line.contains("received CONNACK"));
            let Some(message) = Received::parse(&line) else { continue };
            let Some(topic) = message.topic.strip_prefix(ROOT).filter(|topic| *topic == TOPIC) else {
                continue;
            };
            receipts.push(Receipt {
                connection,
                topic: topic.into(),
                id: message.property("message-id").map(Into::into),
                payload: message.payload.into(),
                is_ours: false,
            });
        }
        receipts
    }

    /// Keeps what everybody knows of a failed run, and fails.
    fn keep(&self, seed: u64, panic: Box<dyn Any + Send>) -> ! {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("torture-{seed}"));
        fs::create_dir_all(kept.join("data")).expect("a folder");
        self.diary.keep(&kept.join("diary.txt"));
        let status = self.gateway.get("/api/status").map(|status| format!("{status:#}"));
        fs::write(kept.join("status.json"), status.unwrap_or_default()).expect("written");
        fs::write(kept.join("gateway.log"), self.gateway.log().join("\n")).expect("written");
        fs::copy(self.scene.cloud.log_file(), kept.join("mosquitto.log")).expect("a copy");
        fs::write(kept.join("watcher.log"), self.watcher.process.lines().join("\n")).expect("written");
        for file in
            fs::read_dir(self.scene.path().join("gateway/data")).expect("the gateway's data").flatten()
        {
            // A file of SQLite may be gone meanwhile.
            fs::copy(file.path(), kept.join("data").join(file.file_name())).ok();
        }
        eprintln!("SOAK_SEED={seed} failed; {} has what everybody knows", kept.display());
        resume_unwind(panic)
    }
}
