//! What a gateway takes when nothing happens, and how soon it is there.
//!
//! All contenders rest at the same time, each with a cloud of its own: that saves half an hour and costs nobody anything.
//! The line is watched by a proxy in between, whose figures are the bytes of TLS, without TCP's and IP's own.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    client,
    load::{self, App, Counter},
    null::Null,
    process::usage,
    programs::{CONTENDERS, Cloud, Contender, Home},
    proxy::Proxy,
    report::{Goal, Metric, Report},
    round::Ground,
};

const REST: Duration = Duration::from_secs(10);
/// Processor and wake-ups.
const MINUTE: Duration = Duration::from_secs(60);
/// The line: nearly three keep-alives of 45 s.
const WATCH: Duration = Duration::from_secs(130);
const CLIENTS: usize = 1_000;

/// A line through a proxy, up.
struct Scene {
    contender: Contender,
    home: Home,
    proxy: Proxy,
    _cloud: Cloud,
    _ground: Ground,
}

impl Scene {
    fn start(contender: Contender) -> Result<Self> {
        let ground = Ground::new()?;
        let cloud = Cloud::start(ground.folder.path(), &ground.certificates)?;
        let counter = Counter::start(App::new(client::dial(cloud.plain)?)?, |_| {});
        let proxy = Proxy::start(contender.port(cloud.wss, cloud.tls), Duration::ZERO)?;
        let home = Home::start(contender, ground.folder.path(), &ground.certificates, proxy.port)?;
        load::wait_for_line(home.lan, Instant::now(), || {
            Ok(counter.probes.load(std::sync::atomic::Ordering::Relaxed))
        })?;
        Ok(Self { contender, home, proxy, _cloud: cloud, _ground: ground })
    }
}

/// One round of one contender: start to first message, into the null broker: Debian's Mosquitto alone takes 300 ms to
/// open a WebSocket (its handshake waits for two turns of its own loop).
pub fn start(contender: Contender, report: &mut Report) -> Result<()> {
    let ground = Ground::new()?;
    let mut null = Null::start(&ground.certificates)?;
    let (start, cloud) = (Instant::now(), contender.port(null.wss, null.tls));
    let home = Home::start(contender, ground.folder.path(), &ground.certificates, cloud)?;
    let took = load::wait_for_line(home.lan, start, || Ok(null.count()?.probes))?;
    let took = took.as_secs_f64() * 1_000.0;
    report.add("start", ("to the first message relayed, ms", 0, Goal::AtMost(100.0)), contender, took);
    Ok(())
}

/// One round of all.
pub fn idle(report: &mut Report) -> Result<()> {
    let scenes = CONTENDERS.map(Scene::start).into_iter().collect::<Result<Vec<_>>>()?;
    sleep(REST);
    let ask = || scenes.iter().map(|scene| usage(&scene.home.processes())).collect::<Result<Vec<_>>>();
    let bytes = || scenes.iter().map(|scene| scene.proxy.bytes()).collect::<Vec<_>>();
    let (before, bytes_before) = (ask()?, bytes());
    sleep(MINUTE);
    let after = ask()?;
    sleep(WATCH - MINUTE);
    let bytes_after = bytes();
    for (index, scene) in scenes.iter().enumerate() {
        let (before, after) = (before[index], after[index]);
        let mut add = |metric: Metric, figure| report.add("idle", metric, scene.contender, figure);
        add(("resident, MiB", 1, Goal::AtMost(12.0)), after.resident / 1_024.0);
        add(("its own of that, MiB", 1, Goal::Shown), after.own / 1_024.0);
        add(("CPU, ms a minute", 0, Goal::AtMost(20.0)), after.cpu - before.cpu);
        add(("voluntary wake-ups a minute", 0, Goal::AtMost(120.0)), after.switches - before.switches);
        add(("threads", 0, Goal::AtMost(4.0)), after.threads);
        let hourly = (bytes_after[index] - bytes_before[index]) as f64 * 3_600.0 / WATCH.as_secs_f64();
        add(("on the line, B an hour", 0, Goal::AtMost(3_000.0)), hourly);
    }
    for scene in &scenes {
        let processes = scene.home.processes();
        let before = usage(&processes)?;
        let mut clients = Vec::with_capacity(CLIENTS);
        for number in 0..CLIENTS {
            clients.push(client::client(scene.home.lan, &format!("idle-{number}"))?);
        }
        sleep(Duration::from_secs(1));
        let each = (usage(&processes)?.resident - before.resident) / CLIENTS as f64;
        report.add("idle", ("an idle device, KiB", 1, Goal::AtMost(5.0)), scene.contender, each);
    }
    Ok(())
}
