//! How long a reading takes to the app, and a command to the device.
//!
//! Both ends are this process, so one clock measures. A command leaves when the one before it has arrived, a moment later;
//! readings are open loop: one leaves when it is due, however long those before it take. The app speaks TLS.

use std::{
    io::{Read, Write},
    sync::{Arc, Mutex, PoisonError},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    client::{self, Inbox},
    figures::Rounds,
    load::{self, App, Counter, Steady},
    null::Null,
    programs::{Cloud, Contender, Home},
    relay::PREFIX,
    report::{Goal, Metric, Report},
    round::{Ground, settle},
    wire::{self, Framed, Tls},
};

const RATE: u32 = 1_000;
const LENGTH: Duration = Duration::from_secs(8);
const COMMANDS: usize = 600;
const PAUSE: Duration = Duration::from_millis(3);

/// Everything between a device and the app, running.
struct Scene {
    home: Home,
    counter: Counter,
    /// What readings took, in milliseconds.
    taken: Arc<Mutex<Vec<f64>>>,
    cloud: Cloud,
    ground: Ground,
}

impl Scene {
    fn start(contender: Contender) -> Result<Self> {
        let ground = Ground::new()?;
        let cloud = Cloud::start(ground.folder.path(), &ground.certificates)?;
        let app = App::new(wire::dial(&ground.certificates, "app", cloud.tls)?)?;
        let taken = Arc::new(Mutex::new(Vec::new()));
        let mine = taken.clone();
        let counter = Counter::start(app, move |reading| {
            let took = load::now().saturating_sub(reading.left) as f64 / 1e6;
            mine.lock().unwrap_or_else(PoisonError::into_inner).push(took);
        });
        let port = contender.port(cloud.wss, cloud.tls);
        let mut home = Home::start(contender, ground.folder.path(), &ground.certificates, port)?;
        home.wait()?;
        let probes = counter.probes.clone();
        load::wait_for_line(home.lan, Instant::now(), move || {
            Ok(probes.load(std::sync::atomic::Ordering::Relaxed))
        })?;
        settle();
        Ok(Self { home, counter, taken, cloud, ground })
    }

    /// From the app to a device that listens to `to`; milliseconds each.
    fn command(&self, from: &str, to: &str) -> Result<Rounds> {
        let mut device = client::client(self.home.lan, "commanded")?;
        client::enlist(&mut device, to, 1)?;
        let mut app = wire::dial(&self.ground.certificates, "app", self.cloud.tls)?;
        client::greet(&mut app, "commander")?;
        let (mut inbox, mut answers) = (Inbox::new(), Inbox::new());
        let mut took = Vec::new();
        for number in 0..COMMANDS {
            let id = number as u16 + 1;
            let message = client::publish(from, 1, id, format!("{number}").as_bytes());
            let start = Instant::now();
            app.write_all(&message)?;
            let (first, body) =
                await_publish(&mut inbox, &mut device).context("a command does not arrive")?;
            took.push(start.elapsed().as_secs_f64() * 1_000.0);
            // Journalled commands come with QoS 0.
            if first & 0x06 != 0 {
                let [high, low] = client::id_of(&body);
                device.write_all(&[0x40, 2, high, low])?;
            }
            while answers.next().is_none() {
                ensure!(answers.read(&mut app)? > 0, "the cloud hung up on the app");
            }
            sleep(PAUSE);
        }
        Ok(Rounds(took))
    }
}

/// The next PUBLISH: its first byte and its body.
fn await_publish(inbox: &mut Inbox, stream: &mut impl Read) -> Result<(u8, Vec<u8>)> {
    loop {
        while let Some((first, body)) = inbox.next() {
            if first >> 4 == 3 {
                return Ok((first, body.to_vec()));
            }
        }
        ensure!(inbox.read(stream)? > 0, "it hung up");
    }
}

/// Readings at 1,000 a second.
pub fn telemetry(contender: Contender, report: &mut Report) -> Result<()> {
    let scene = Scene::start(contender)?;
    let load = Steady::start(scene.home.lan, RATE)?;
    sleep(LENGTH);
    let sent = load.stop()?;
    load::wait_for(sent, || Ok(scene.counter.readings.load(std::sync::atomic::Ordering::Relaxed)))?;
    let taken = scene.taken.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let taken = Rounds(taken);
    let mut add = |metric: Metric, share| report.add("telemetry", metric, contender, taken.quantile(share));
    add(("p50, ms", 2, Goal::AtMostBridge(0.4)), 0.5);
    add(("p99, ms", 2, Goal::Shown), 0.99);
    add(("p99.9, ms", 2, Goal::Shown), 0.999);
    Ok(())
}

/// Commands, idle and under 1,000 readings a second, by the plain route in; ours also as a journalled command.
pub fn command(contender: Contender, report: &mut Report) -> Result<()> {
    let scene = Scene::start(contender)?;
    let plain = (format!("{PREFIX}commands/lamp"), "commands/#");
    let idle = scene.command(&plain.0, plain.1)?;
    let load = Steady::start(scene.home.lan, RATE)?;
    sleep(Duration::from_millis(500));
    let loaded = scene.command(&plain.0, plain.1)?;
    load.stop()?;
    let mut add = |metric: Metric, figure| report.add("command", metric, contender, figure);
    add(("idle p50, ms", 2, Goal::AtMostBest(1.0)), idle.quantile(0.5));
    add(("idle p99, ms", 2, Goal::AtMostBest(1.0)), idle.quantile(0.99));
    add(("loaded p50, ms", 2, Goal::AtMostBest(1.0)), loaded.quantile(0.5));
    add(("loaded p99, ms", 2, Goal::AtMostBest(1.0)), loaded.quantile(0.99));
    if contender == Contender::Hearthlink {
        let kept = scene.command(&format!("{PREFIX}fan/set"), "fan/set")?;
        add(("journalled, idle p50, ms", 2, Goal::Shown), kept.quantile(0.5));
        add(("journalled, idle p99, ms", 2, Goal::Shown), kept.quantile(0.99));
    }
    Ok(())
}

/// What no gateway can be better than: once a round.
pub fn floors(report: &mut Report) -> Result<()> {
    const SAMPLES: usize = 500;
    let ground = Ground::new()?;
    let cloud = Cloud::start(ground.folder.path(), &ground.certificates)?;
    let mut app = wire::dial(&ground.certificates, "app", cloud.tls)?;
    client::greet(&mut app, "both-ends")?;
    client::enlist(&mut app, "floor", 0)?;
    let (mut inbox, message) = (Inbox::new(), client::publish("floor", 0, 0, b"1"));
    let mut took = time(SAMPLES, || {
        app.write_all(&message)?;
        await_publish(&mut inbox, &mut app).map(drop)
    })?;
    report.add_floor("app to cloud to app over TLS, QoS 0, p50, ms", took.quantile(0.5));
    report.add_floor("the same, p99, ms", took.quantile(0.99));
    let mut file = std::fs::File::create(ground.folder.path().join("fsync"))?;
    took = time(SAMPLES, || {
        file.write_all(&[0; 4_096])?;
        Ok(file.sync_data()?)
    })?;
    report.add_floor("4 KiB and fdatasync, p50, ms", took.quantile(0.5));
    report.add_floor("the same, p99, ms (fdatasync)", took.quantile(0.99));
    let null = Null::start(&ground.certificates)?;
    let mut line: Framed<Tls> = Framed::connect(wire::dial(&ground.certificates, "app", null.wss)?)?;
    client::greet(&mut line, "echo")?;
    took = time(SAMPLES, || {
        line.write_all(&[0xC0, 0])?;
        let mut answer = [0; 2];
        line.read_exact(&mut answer)?;
        Ok(())
    })?;
    report.add_floor("echo over wss, p50, ms", took.quantile(0.5));
    Ok(())
}

/// What something takes, in milliseconds, with a pause in between.
fn time(samples: usize, mut what: impl FnMut() -> Result<()>) -> Result<Rounds> {
    let mut took = Vec::with_capacity(samples);
    for _ in 0..samples {
        let start = Instant::now();
        what()?;
        took.push(start.elapsed().as_secs_f64() * 1_000.0);
        sleep(PAUSE);
    }
    Ok(Rounds(took))
}
