//! The gateway beside what a user would pick instead, end to end, over real sockets.
//!
//! ```text
//! cargo bench --bench e2e -- [WORKLOAD…] [--rounds N]
//! HEARTHLINK=/usr/bin/hearthlink cargo bench --bench e2e -- qos1     # another build's program
//! ```
//!
//! Devices → gateway → wss → Debian's Mosquitto as the cloud → app, and the same load through Debian's Mosquitto with its
//! TLS bridge and through a relay of a hundred lines (`relay.rs`), alternating in one run. One table at the end.
//!
//! Owns nothing of what it measures: it starts programs as they are shipped and speaks bytes to them. Never fails
//! because of a goal that is missed: only what could not be measured makes the exit code 1. No criterion, for the
//! reasons in `benches/broker/main.rs`.

#[path = "../broker/client.rs"]
#[allow(dead_code, reason = "the broker's laboratory uses the rest")]
mod client;
#[path = "../broker/figures.rs"]
mod figures;
mod idle;
mod latency;
mod load;
mod null;
mod outage;
#[path = "../../tests/interop/pki.rs"]
#[allow(dead_code, reason = "the interoperability tests use the rest")]
mod pki;
mod process;
mod programs;
mod proxy;
mod relay;
mod report;
mod round;
mod throughput;
mod wire;

use std::{path::Path, process::ExitCode};

use anyhow::{Context, Result, bail};

use outage::Illness;
use programs::CONTENDERS;
use report::Report;

/// In the order of the table.
const WORKLOADS: [&str; 11] = [
    "qos1",
    "qos1-null",
    "qos1-50ms",
    "qos0",
    "telemetry",
    "command",
    "start",
    "idle",
    "refused",
    "swallowed",
    "kill",
];

struct Wanted {
    workloads: Vec<&'static str>,
    rounds: usize,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match &arguments[..] {
        ["--relay", home, cloud, folder] => child_relay(home, cloud, folder),
        ["--null", folder] => null::serve(Path::new(folder)),
        // `cargo test --all-targets` runs this file too, and wants no laboratory.
        all if !all.contains(&"--bench") => {
            println!("a laboratory, not a test: cargo bench --bench e2e");
            Ok(())
        }
        all => wanted(all).and_then(|wanted| run(&wanted)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("could not be measured: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn child_relay(home: &str, cloud: &str, folder: &str) -> Result<()> {
    relay::run(home.parse()?, cloud.parse()?, Path::new(folder))
}

fn wanted(arguments: &[&str]) -> Result<Wanted> {
    let mut wanted = Wanted { workloads: Vec::new(), rounds: 5 };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match *argument {
            "--bench" => {}
            "--rounds" => wanted.rounds = arguments.next().context("how many rounds?")?.parse()?,
            name => match WORKLOADS.iter().find(|workload| **workload == name) {
                Some(workload) => wanted.workloads.push(workload),
                None => bail!("`{name}` is none of {}, --rounds", WORKLOADS.join(", ")),
            },
        }
    }
    if wanted.workloads.is_empty() {
        wanted.workloads = WORKLOADS.to_vec();
    }
    Ok(wanted)
}

fn run(wanted: &Wanted) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let program = programs::hearthlink();
    println!("{}, {cores} cores, {} rounds\n", program.display(), wanted.rounds);
    let mut report = Report::default();
    for workload in &wanted.workloads {
        for round in 0..wanted.rounds {
            match *workload {
                // All at once.
                "idle" => {
                    eprintln!("idle, round {} of {}", round + 1, wanted.rounds);
                    idle::idle(&mut report)?;
                    continue;
                }
                "telemetry" | "command" => latency::floors(&mut report)?,
                _ => {}
            }
            for contender in CONTENDERS {
                eprintln!("{workload}, round {} of {}, {contender:?}", round + 1, wanted.rounds);
                measure(workload, contender, &mut report)
                    .with_context(|| format!("{workload}, {contender:?}"))?;
            }
        }
    }
    let missed = report.print();
    let line = |text: &str| text.trim_end().replace('\n', ", ");
    println!(
        "\nThe bridge's Mosquitto is told: {}. The relay's home broker: {}. Goals missed: {missed}.",
        line(programs::BRIDGE),
        line(programs::RELAY)
    );
    Ok(())
}

fn measure(workload: &str, contender: programs::Contender, report: &mut Report) -> Result<()> {
    if let Some(shape) = throughput::SHAPES.iter().find(|shape| shape.name == workload) {
        return throughput::run(*shape, contender, report);
    }
    match workload {
        "telemetry" => latency::telemetry(contender, report),
        "command" => latency::command(contender, report),
        "start" => idle::start(contender, report),
        "refused" => outage::outage(Illness::Refused, contender, report),
        "swallowed" => outage::outage(Illness::Swallowed, contender, report),
        "kill" => outage::kill(contender, report),
        other => bail!("nobody measures {other}"),
    }
}
