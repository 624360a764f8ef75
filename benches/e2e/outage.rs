//! What becomes of readings while the line is ill, and of those that were accepted when the gateway is killed meanwhile.
//!
//! The app knows each topic's numbers, so it sees what is lost, comes twice, or comes for the first time after a later one.
//! A reading counts as accepted once its device has the PUBACK; counted as lost is what has not come thirty seconds after
//! the last that did.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::{
    client,
    load::{self, App, Counter, DEVICES, Device, Steady, TOPICS},
    process::usage,
    programs::{Cloud, Contender, Home},
    proxy::Proxy,
    report::{Goal, Metric, Report},
    round::{Ground, settle},
};

const RATE: u32 = 1_000;
const BEFORE: Duration = Duration::from_secs(3);
const OUTAGE: Duration = Duration::from_secs(20);
/// After which a line that has healed counts as not recovered.
const PATIENCE: Duration = Duration::from_secs(60);
const SILENCE: Duration = Duration::from_secs(30);
/// Accepted before the kill.
const KEPT: u64 = 10_000;

/// How a line is ill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Illness {
    Refused,
    Swallowed,
}

impl Illness {
    fn name(self) -> &'static str {
        match self {
            Self::Refused => "outage, refused",
            Self::Swallowed => "outage, swallowed",
        }
    }
}

/// What the app has seen.
#[derive(Default)]
struct Seen {
    /// By topic, then by number.
    numbers: Vec<Vec<bool>>,
    distinct: u64,
    duplicates: u64,
    reordered: u64,
    /// When the first came since this was emptied.
    first: Option<Instant>,
    /// Of what was sent before this time (as `load::now`), so many have come.
    line: u64,
    old: u64,
}

impl Seen {
    fn take(&mut self, reading: &load::Reading) {
        self.first.get_or_insert_with(Instant::now);
        self.numbers.resize(DEVICES * TOPICS, Vec::new());
        let Some(topic) = self.numbers.get_mut(reading.topic) else { return };
        let number = reading.number as usize;
        if topic.get(number) == Some(&true) {
            self.duplicates += 1;
            return;
        }
        if topic.len() > number {
            self.reordered += 1;
        } else {
            topic.resize(number + 1, false);
        }
        topic[number] = true;
        self.distinct += 1;
        self.old += u64::from(reading.left < self.line);
    }
}

struct Scene {
    home: Home,
    proxy: Proxy,
    seen: Arc<Mutex<Seen>>,
    _cloud: Cloud,
    _ground: Ground,
}

impl Scene {
    fn start(contender: Contender) -> Result<Self> {
        let ground = Ground::new()?;
        let cloud = Cloud::start(ground.folder.path(), &ground.certificates)?;
        // Whatever comes before the outage is old, too: told apart when it begins.
        let seen = Arc::new(Mutex::new(Seen { line: u64::MAX, ..Seen::default() }));
        let mine = seen.clone();
        let app = client::dial(cloud.plain)?;
        // Nothing comes to it for as long as the outage lasts, which is longer than the usual patience.
        app.set_read_timeout(None)?;
        let counter = Counter::start(App::new(app)?, move |reading| {
            mine.lock().unwrap_or_else(PoisonError::into_inner).take(&reading);
        });
        let proxy = Proxy::start(contender.port(cloud.wss, cloud.tls), Duration::ZERO)?;
        let mut home = Home::start(contender, ground.folder.path(), &ground.certificates, proxy.port)?;
        home.wait()?;
        load::wait_for_line(home.lan, Instant::now(), || Ok(counter.probes.load(Ordering::Relaxed)))?;
        settle();
        Ok(Self { home, proxy, seen, _cloud: cloud, _ground: ground })
    }

    fn seen<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until `wanted` distinct ones have come, or nothing more does; how many.
    fn wait_for(&self, wanted: u64) -> u64 {
        let (mut before, mut since) = (0, Instant::now());
        loop {
            let count = self.seen(|seen| seen.distinct);
            if count > before {
                (before, since) = (count, Instant::now());
            }
            if count >= wanted || since.elapsed() > SILENCE {
                return count;
            }
            sleep(Duration::from_millis(20));
        }
    }
}

/// Twenty seconds of it at 1,000 readings a second.
pub fn outage(illness: Illness, contender: Contender, report: &mut Report) -> Result<()> {
    let scene = Scene::start(contender)?;
    let processes = scene.home.processes();
    let load = Steady::start(scene.home.lan, RATE)?;
    sleep(BEFORE);
    let before = usage(&processes)?.resident;
    match illness {
        Illness::Refused => scene.proxy.refuse(),
        Illness::Swallowed => scene.proxy.swallow(),
    }
    let (start, mut most) = (Instant::now(), before);
    while start.elapsed() < OUTAGE {
        sleep(Duration::from_millis(200));
        most = most.max(usage(&processes)?.resident);
    }
    // In this order: all that are counted here left before the line that is drawn.
    let backlog = load.sent.load(Ordering::Acquire);
    scene.seen(|seen| (seen.first, seen.line) = (None, load::now()));
    scene.proxy.heal();
    let healed = Instant::now();
    let (mut first, mut drained) = (None, None);
    while drained.is_none() && healed.elapsed() < PATIENCE {
        sleep(Duration::from_millis(5));
        let (came, old) = scene.seen(|seen| (seen.first, seen.old));
        first = first.or(came.map(|came| came.duration_since(healed)));
        drained = (old >= backlog).then(|| healed.elapsed());
    }
    sleep(Duration::from_secs(1));
    let sent = load.stop()?;
    let arrived = scene.wait_for(sent);
    let (duplicates, reordered) = scene.seen(|seen| (seen.duplicates, seen.reordered));
    let mut add = |metric: Metric, figure: f64| report.add(illness.name(), metric, contender, figure);
    add(("lost", 0, Goal::AtMost(0.0)), (sent - arrived) as f64);
    add(("reordered", 0, Goal::AtMost(0.0)), reordered as f64);
    // A window, ours of 2,000.
    add(("duplicates", 0, Goal::AtMost(2_000.0)), duplicates as f64);
    let seconds = |length: Option<Duration>| length.map_or(f64::INFINITY, |length| length.as_secs_f64());
    add(("first message after, s", 2, Goal::AtMostBest(1.0)), seconds(first));
    add(("backlog drained after, s", 2, Goal::AtMostBest(1.0)), seconds(drained));
    add(("memory grew by, MiB", 1, Goal::AtMost(3.0)), (most - before) / 1_024.0);
    Ok(())
}

/// In an outage 10,000 are accepted, all of the gateway is killed, started again, and the line heals.
pub fn kill(contender: Contender, report: &mut Report) -> Result<()> {
    let mut scene = Scene::start(contender)?;
    scene.proxy.refuse();
    let mut devices = Device::all(scene.home.lan, 1)?;
    let taken = Arc::new(AtomicU64::new(0));
    for device in &devices {
        device.count_acknowledgements(&taken)?;
    }
    for number in 0..KEPT {
        devices[number as usize % DEVICES].send()?;
        // As fast as it is acknowledged, a window of 200 in all.
        load::wait_for((number + 1).saturating_sub(200), || Ok(taken.load(Ordering::Relaxed)))?;
    }
    load::wait_for(KEPT, || Ok(taken.load(Ordering::Relaxed)))?;
    scene.home.kill();
    drop(devices);
    let accepted = taken.load(Ordering::Relaxed);
    ensure!(accepted == KEPT, "{accepted} acknowledgements for {KEPT}");
    scene.home.launch()?;
    scene.home.wait()?;
    scene.proxy.heal();
    let arrived = scene.wait_for(KEPT);
    let what = ("lost of 10,000 accepted", 0, Goal::AtMost(0.0));
    report.add("kill -9 in an outage", what, contender, (KEPT - arrived) as f64);
    Ok(())
}
