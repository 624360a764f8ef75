//! A sensor at home that publishes all through, and a watcher at the cloud: what arrived, against what was accepted.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    clients::{Broker, Received, Subscriber},
    process::{PATIENCE, eventually},
    scene::Scene,
};

/// Between two readings.
const PACE: Duration = Duration::from_millis(50);
/// `cloud.window` of the scene: what may be sent twice for each connection that was lost.
const WINDOW: usize = 64;

/// A sensor that publishes 0, 1, 2, … at QoS 1.
pub struct Sensor {
    stop: Arc<AtomicBool>,
    readings: Option<JoinHandle<usize>>,
    watcher: Subscriber,
}

impl Sensor {
    /// Starts it at a broker at home, with somebody at the cloud who watches.
    #[track_caller]
    pub fn start(scene: &Scene, lan: &Broker) -> Self {
        let watcher =
            scene.cloud.phone().subscribe(&["-V", "5", "-q", "1", "-t", "hearthlink/home/sensors/attic"]);
        let mut publisher = lan.publisher(&["-i", "sensor", "-q", "1", "-t", "sensors/attic", "-l"]);
        let stop = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&stop);
        let readings = thread::spawn(move || {
            let mut count = 0;
            while !is_over.load(Ordering::Relaxed) {
                publisher.say(&format!("{count}\n"));
                count += 1;
                thread::sleep(PACE);
            }
            // It ends by itself once the gateway has acknowledged every one.
            let status = publisher.wait(PATIENCE);
            assert!(status.success(), "the sensor's mosquitto_pub: {status}, {:?}", publisher.lines());
            count
        });
        Self { stop, readings: Some(readings), watcher }
    }

    /// Stops it and insists that each of its readings arrived, in order, and was sent again only where a
    /// connection was lost; returns how many there were and how many came twice.
    #[track_caller]
    pub fn judge(mut self, lost_connections: usize) -> (usize, usize) {
        self.stop.store(true, Ordering::Relaxed);
        let watcher = &self.watcher;
        let readings = self.readings.take().expect("it is judged once");
        eventually("all readings are accepted at home", PATIENCE, || readings.is_finished().then_some(()));
        let count = readings.join().expect("the sensor published everything");
        let complete = eventually("every reading is at the cloud", PATIENCE, || {
            let received = watcher.received();
            let distinct = received.iter().map(|reading| &reading.payload).collect::<BTreeSet<_>>().len();
            (distinct >= count).then_some(received)
        });
        let twice = complete.len() - in_order(&complete, count);
        assert!(
            twice <= WINDOW * lost_connections,
            "{twice} came twice, more than a window a lost connection"
        );
        (count, twice)
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Each of 0 to `count` is there, in order, when what came twice is dropped by its message-id.
fn in_order(received: &[Received], count: usize) -> usize {
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    let mut numbers = Vec::new();
    for reading in received {
        let id = reading.property("message-id").unwrap_or_else(|| panic!("{reading:?} has no message-id"));
        if seen.insert(id, &reading.payload).is_none() {
            numbers.push(reading.payload.parse::<usize>().expect("a number"));
        }
    }
    assert!(numbers.iter().copied().eq(0..count), "not every reading once and in order: {numbers:?}");
    count
}
