//! 10,000 readings arrive exactly once while the cloud is killed and started again twice.
//!
//! What may get lost here is only what *we* lose, so the cloud's own forgetting has to be ruled out. SIGKILL
//! wipes Mosquitto's memory back to its last save, and with it messages that it had acknowledged to the
//! gateway but not yet handed on. Why that cannot happen to the watcher:
//!
//! * Mosquitto is one thread and writes a publish to its plain TCP subscribers before it queues the PUBACK
//!   (over WebSockets it even waits for the socket to be writable). What was written is in the kernel and
//!   reaches the watcher although Mosquitto dies.
//! * The watcher subscribes with QoS 0. With QoS 1 its own PUBACKs could lie unread in the dead Mosquitto's
//!   socket; the kernel then sends a reset instead of an end, and the watcher's next PUBACK fails and makes it
//!   throw away what it had not read yet. QoS 0 says nothing back. It also adds no duplicates of its own.
//! * While the watcher is away, its persistent session (saved by SIGUSR1 before the load) collects the
//!   messages, QoS 0 too (`queue_qos0_messages`), in memory, and acknowledges them. So the cloud is killed again
//!   only after the watcher has read the SUBACK of its new connection: everything that was queued stands before it.
//!   A marker among the messages does not do: published while the watcher is still away, it stands in the middle
//!   of the queue, and a kill then wipes out what was acknowledged behind it (docs/torture.md).
//! * The same SUBACK says that nothing of the watcher lies unread in the cloud's socket. It does with the SUBSCRIBE
//!   still on its way, and then the kernel resets the connection and throws away what it had not delivered.
//!
//! The first kill wipes out the gateway's session in the cloud (saved before the gateway connected): CONNACK
//! says that there is no session. The second keeps it (saved while connected): the client library goes on from
//! its own memory, although the cloud remembers less. Both ways must lose nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{
    Scene,
    clients::{Received, Subscriber},
};

const READINGS: usize = 10_000;
/// Readings a second: slow enough that both kills fall among them, quick enough that the second one falls
/// into the backlog of the first, when a full window is on its way.
const PACE: usize = 2_500;
/// `cloud.window` of the plan: what may be sent twice for each kill.
const WINDOW: usize = 64;
const KILLS: usize = 2;
const READINGS_TOPIC: &str = "hearthlink/home/sensors/attic";

#[test]
fn ten_thousand_readings_arrive_exactly_once_while_the_cloud_is_killed_twice() {
    let mut scene = Scene::new();
    let watcher = scene.cloud.phone().subscribe(&[
        "-V",
        "5",
        "-i",
        "watcher",
        "-c",
        "-x",
        "3600",
        "-q",
        "0",
        "-t",
        "hearthlink/home/sensors/#",
    ]);
    scene.cloud.save();
    let gateway = scene.gateway("routes:\n  - local: sensors/#\n");
    let mut sensor = gateway.lan().publisher(&["-i", "sensor", "-q", "1", "-t", "sensors/attic", "-l"]);

    let started = Instant::now();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (is_over, sensor) = (&is_over, &mut sensor);
        let load = scope.spawn(move || {
            for number in 0..READINGS {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                sensor.say(&format!("{number}\n"));
                let due = Duration::from_secs(1) * u32::try_from(number).expect("small") / PACE as u32;
                thread::sleep(due.saturating_sub(started.elapsed()));
            }
            // It ends by itself once the gateway has acknowledged every one.
            let status = sensor.wait(Duration::from_secs(60));
            assert!(status.success(), "mosquitto_pub: {status}");
        });
        // A failing assertion must not leave the load running for half a minute.
        let _end = End(is_over);
        kill_among(&mut scene, &watcher, &gateway, READINGS / 6, "first");
        assert!(
            scene.cloud.has_logged("Sending CONNACK to home (0, 0)"),
            "the cloud forgot the gateway's session"
        );
        scene.cloud.save();
        kill_among(&mut scene, &watcher, &gateway, READINGS * 6 / 10, "second");
        assert!(
            scene.cloud.has_logged("Sending CONNACK to home (1, 0)"),
            "the cloud kept the gateway's session"
        );
        load.join().expect("the sensor published everything");
    });
    eprintln!("all accepted at home after {:?}", started.elapsed());

    let received = collect(&watcher, READINGS);
    eprintln!("all in the cloud after {:?}", started.elapsed());
    judge(&received, READINGS, WINDOW * KILLS);
    let status = gateway.wait_for_status("the queue is empty", |status| status["store"]["waiting"] == 0);
    eprintln!("counters: {}", status["counters"]);
    let dropped = status["store"]["dropped"].as_array().expect("a list of policies and counts");
    assert!(dropped.iter().all(|policy| policy[1] == 0), "nothing was dropped by any policy: {dropped:?}");
}

#[test]
fn readings_accepted_before_a_power_cut_arrive_after_it() {
    const ACCEPTED: usize = 2_000;
    let mut scene = Scene::new();
    let watcher =
        ["-V", "5", "-i", "watcher", "-c", "-x", "3600", "-q", "0", "-t", "hearthlink/home/sensors/#"];
    let watcher = scene.cloud.phone().subscribe(&watcher);
    scene.cloud.save();
    let gateway = scene.gateway("routes:\n  - local: sensors/#\n");
    scene.cloud.kill();
    let mut sensor = gateway.lan().publisher(&["-i", "sensor", "-q", "1", "-t", "sensors/attic", "-l"]);
    for number in 0..ACCEPTED {
        sensor.say(&format!("{number}\n"));
    }
    assert!(sensor.wait(Duration::from_secs(60)).success(), "all are accepted although the cloud is away");

    let gateway = gateway.crash();
    scene.cloud.restart();
    gateway.wait_online();
    let received = collect(&watcher, ACCEPTED);
    judge(&received, ACCEPTED, 0);
}

/// Tells the load that it is over, also when an assertion fails.
pub struct End<'a>(pub &'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Kills the cloud once the watcher has `count` readings, starts it a second later, and waits until the
/// gateway and the watcher are back, and the watcher has what was kept for it.
fn kill_among(scene: &mut Scene, watcher: &Subscriber, gateway: &super::Gateway, count: usize, which: &str) {
    watcher.wait_for_count(count, Duration::from_secs(60));
    if which == "first" {
        // A full window dies unread in its socket: whoever deletes before the PUBACK loses it, always. The
        // second kill strikes at work: what was read but not acknowledged comes twice.
        scene.cloud.freeze();
        thread::sleep(Duration::from_millis(200));
    }
    scene.cloud.kill();
    let said = watcher.process.line_count();
    let seen = watcher.received().len();
    assert!(seen < READINGS * 9 / 10, "the {which} kill came too late: {seen} readings had arrived");
    gateway.wait_for_status("the gateway notices", |status| status["link"]["state"] != "online");
    thread::sleep(Duration::from_secs(1));
    scene.cloud.restart();
    gateway.wait_online();
    watcher.wait_until_back(said);
    eprintln!("{which} kill at {seen} readings, {} when all were back", watcher.received().len());
}

/// What arrived when every number below `count` is there, or after a minute.
fn collect(watcher: &Subscriber, count: usize) -> Vec<Received> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let mut received = watcher.received();
        received.retain(|message| message.topic == READINGS_TOPIC);
        let distinct = received.iter().map(|reading| &reading.payload).collect::<BTreeSet<_>>().len();
        if distinct >= count || Instant::now() > deadline {
            return received;
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// Each of `count` readings is there, once for each message-id and in order; at most `twice` came again.
fn judge(received: &[Received], count: usize, twice: usize) {
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    let mut in_order = Vec::new();
    for reading in received {
        let id = reading.property("message-id").unwrap_or_else(|| panic!("{reading:?} has no message-id"));
        let number: usize = reading.payload.parse().unwrap_or_else(|_| panic!("{reading:?} was never sent"));
        match numbers.insert(id, number) {
            Some(before) => assert_eq!(before, number, "one message-id, two readings: {id}"),
            None => in_order.push(number),
        }
    }
    let arrived: BTreeSet<usize> = in_order.iter().copied().collect();
    let lost: Vec<usize> = (0..count).filter(|number| !arrived.contains(number)).collect();
    assert!(lost.is_empty(), "{} of {count} readings were lost: {lost:?}", lost.len());
    assert_eq!(in_order.len(), count, "after dropping by message-id, each reading exactly once");
    assert!(in_order.is_sorted(), "readings arrive in the order in which they were accepted");
    let again = received.len() - count;
    eprintln!("{again} sent twice and dropped by message-id");
    assert!(again <= twice, "{again} sent twice, more than a window for each kill");
}
