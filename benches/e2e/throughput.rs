//! How many messages a second get through, and what each takes of the machine.
//!
//! Counted is what has arrived at the cloud, from the first byte sent until all are there; a message that does not arrive
//! ends the measurement. At 50 ms it is what has arrived when the devices end: with a window of 64 or 100 the rest takes
//! minutes, and says the same. Everybody starts with empty folders.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::{
    client,
    load::{self, App, Counter},
    null::Null,
    process::usage,
    programs::{Cloud, Contender, Home},
    proxy::Proxy,
    report::{Goal, Metric, Report},
    round::{Ground, settle},
};

const LENGTH: Duration = Duration::from_secs(5);

/// A kind of it.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub name: &'static str,
    qos: u8,
    is_null: bool,
    /// Each way.
    delay: Duration,
    rate: Goal,
    cpu: Goal,
    peak: Goal,
}

const PLAIN: Shape = Shape {
    name: "qos1",
    qos: 1,
    is_null: false,
    delay: Duration::ZERO,
    rate: Goal::AtLeastBest(1.0),
    cpu: Goal::AtMostBridge(0.7),
    peak: Goal::AtMostBridge(0.6),
};

/// Against the real cloud, against one that takes everything, and that at 50 ms; and QoS 0.
pub const SHAPES: [Shape; 4] = [
    PLAIN,
    Shape { name: "qos1-null", is_null: true, rate: Goal::AtLeastBest(1.3), ..PLAIN },
    Shape {
        name: "qos1-50ms",
        is_null: true,
        delay: Duration::from_millis(25),
        rate: Goal::AtLeastBest(1.3),
        cpu: Goal::Shown,
        peak: Goal::Shown,
        ..PLAIN
    },
    Shape { name: "qos0", qos: 0, cpu: Goal::AtMostBridge(1.0), peak: Goal::Shown, ..PLAIN },
];

/// Where it goes, and what tells how much has come.
enum Sink {
    Null(Null),
    Real { cloud: Cloud, counter: Counter },
}

impl Sink {
    fn ports(&self) -> (u16, u16) {
        match self {
            Self::Null(null) => (null.wss, null.tls),
            Self::Real { cloud, .. } => (cloud.wss, cloud.tls),
        }
    }

    /// Readings, probes, and bytes of the line where they are counted.
    fn count(&mut self) -> Result<(u64, u64, Option<u64>)> {
        use std::sync::atomic::Ordering::Relaxed;
        Ok(match self {
            Self::Null(null) => {
                let count = null.count()?;
                (count.readings, count.probes, Some(count.bytes))
            }
            Self::Real { counter, .. } => {
                (counter.readings.load(Relaxed), counter.probes.load(Relaxed), None)
            }
        })
    }
}

/// One round of one contender.
pub fn run(shape: Shape, contender: Contender, report: &mut Report) -> Result<()> {
    let ground = Ground::new()?;
    let mut sink = if shape.is_null {
        Sink::Null(Null::start(&ground.certificates)?)
    } else {
        let cloud = Cloud::start(ground.folder.path(), &ground.certificates)?;
        let counter = Counter::start(App::new(client::dial(cloud.plain)?)?, |_| {});
        Sink::Real { cloud, counter }
    };
    let (wss, tls) = sink.ports();
    let mut port = contender.port(wss, tls);
    let proxy = if shape.delay.is_zero() { None } else { Some(Proxy::start(port, shape.delay)?) };
    if let Some(proxy) = &proxy {
        port = proxy.port;
    }
    let mut home = Home::start(contender, ground.folder.path(), &ground.certificates, port)?;
    home.wait()?;
    load::wait_for_line(home.lan, Instant::now(), || Ok(sink.count()?.1))?;
    settle();
    let (before, (_, _, bytes)) = (usage(&home.processes())?, sink.count()?);
    let start = Instant::now();
    let sent = match (&sink, shape.qos) {
        (Sink::Real { counter, .. }, 0) => {
            let readings = counter.readings.clone();
            load::trickle(home.lan, LENGTH, move || readings.load(std::sync::atomic::Ordering::Relaxed))?
        }
        _ => load::flood(home.lan, LENGTH)?,
    };
    if proxy.is_none() {
        load::wait_for(sent, || Ok(sink.count()?.0))?;
    }
    let length = start.elapsed();
    let (after, (arrived, _, bytes_after)) = (usage(&home.processes())?, sink.count()?);
    ensure!(arrived < sent + sent / 10, "{arrived} arrived of {sent}: far too many");
    let each = arrived as f64;
    let mut add = |metric: Metric, figure| report.add(shape.name, metric, contender, figure);
    add(("messages/s", 0, shape.rate), each / length.as_secs_f64());
    add(("CPU, ms per 1,000", 1, shape.cpu), (after.cpu - before.cpu) / each * 1_000.0);
    add(("peak memory, MiB", 1, shape.peak), after.peak / 1_024.0);
    add(("written to disk, B a message", 0, Goal::Shown), (after.written - before.written) / each);
    if let (Some(before), Some(after)) = (bytes, bytes_after) {
        add(("on the line, B a message", 0, Goal::Shown), (after - before) as f64 / each);
    }
    Ok(())
}
