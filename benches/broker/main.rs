//! The local broker's measuring laboratory, end to end, over real sockets.
//!
//! ```text
//! cargo bench --bench broker -- [mosquitto|idle|garbage|never-reads|all] [--rounds N]
//!                               [--binary FILE] [--against FILE]
//! ```
//!
//! `--binary` measures another `hearthlink` than this build's; `--against` compares with another one in
//! place of Mosquitto, alternating in the same run, which is how a change shows its worth.
//!
//! Owns nothing that the broker is built of: it starts `hearthlink run` as it is shipped, in a process of
//! its own, and speaks bytes to it. Never fails because of time: only what could not be measured at all
//! makes the exit code 1, and memory beyond its bound, which no busy machine explains.
//!
//! No criterion: it repeats a function of this process until its mean is sharp; here a round is a second of
//! traffic between processes, what counts is the ratio of two brokers in the same round, and five rounds
//! alternating (ours, theirs, ours, …) show what the machine's noise does to it.

mod brokers;
mod client;
mod figures;
mod garbage;
mod idle;
mod latency;
mod throughput;
mod unread;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail};

use brokers::Broker;
use figures::{Rounds, Table, verdict};
use garbage::{Harm, Rate};
use idle::Way;
use throughput::Shape;

/// How long publishers send in one round.
const ROUND: Duration = Duration::from_secs(1);
/// Messages of one round of latency.
const PINGS: usize = 3_000;
/// The most that an idle client may cost, in bytes.
const IDLE_TARGET: f64 = 5.0 * 1024.0;

/// The command line.
struct Wanted {
    what: String,
    rounds: usize,
    ours: Broker,
    theirs: Broker,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --all-targets` runs this file too, and wants no laboratory.
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("a laboratory, not a test: cargo bench --bench broker");
        return ExitCode::SUCCESS;
    }
    if let [_, what, port, pause] = &arguments[..]
        && what == "flood"
        && let (Ok(port), Ok(pause)) = (port.parse(), pause.parse())
    {
        garbage::flood(port, Duration::from_millis(pause));
        return ExitCode::SUCCESS;
    }
    match wanted(&arguments).and_then(|wanted| run(&wanted)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("memory is beyond its bound");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("could not be measured: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn wanted(arguments: &[String]) -> Result<Wanted> {
    let mut wanted = Wanted {
        what: "all".to_owned(),
        rounds: 5,
        ours: Broker::Hearthlink(env!("CARGO_BIN_EXE_hearthlink").into()),
        theirs: Broker::Mosquitto,
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} wants a value"));
        match argument.as_str() {
            "--bench" => {}
            "--rounds" => wanted.rounds = value()?.parse().context("--rounds wants a number")?,
            "--binary" => wanted.ours = Broker::Hearthlink(PathBuf::from(value()?)),
            "--against" => wanted.theirs = Broker::Hearthlink(PathBuf::from(value()?)),
            "all" | "mosquitto" | "idle" | "garbage" | "never-reads" => wanted.what = argument.clone(),
            other => bail!("`{other}` is none of all, mosquitto, idle, garbage, never-reads, --rounds"),
        }
    }
    Ok(wanted)
}

/// Whether memory stayed within its bounds.
fn run(wanted: &Wanted) -> Result<bool> {
    let Wanted { what, rounds, ours, theirs } = wanted;
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("{} and {}, {cores} cores, {rounds} rounds\n", ours.version()?, theirs.version()?);
    let is_wanted = |name: &str| what == name || what == "all";
    let mut is_bounded = true;
    if is_wanted("idle") {
        is_bounded &= idle_clients(wanted)?;
    }
    if is_wanted("never-reads") {
        is_bounded &= never_reads(wanted)?;
    }
    if is_wanted("garbage") {
        is_bounded &= garbage_flood(wanted)?;
    }
    if is_wanted("mosquitto") {
        side_by_side(wanted)?;
    }
    Ok(is_bounded)
}

fn kibibytes(bytes: f64) -> String {
    format!("{:.1} KiB", bytes / 1024.0)
}

fn mebibytes(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / f64::from(1 << 20))
}

fn idle_clients(wanted: &Wanted) -> Result<bool> {
    println!("Memory (RSS) of {} idle clients, each:", idle::CLIENTS);
    let mut table =
        Table::new(&["broker", "process before", "connected", "with a subscription", "after they left"]);
    let mut is_met = true;
    let ways = [Way::Tcp, Way::WebSocket, Way::Tls].map(|way| (&wanted.ours, way));
    for (index, (broker, way)) in ways.into_iter().chain([(&wanted.theirs, Way::Tcp)]).enumerate() {
        let cost = idle::run(broker, way)?;
        table.row([
            format!("{}, {}", broker.name(), way.name()),
            mebibytes(cost.before),
            kibibytes(cost.connected),
            kibibytes(cost.subscribed),
            kibibytes(cost.afterwards),
        ]);
        // Ours by TCP and WebSocket; by TLS it is rustls' buffers that count.
        is_met &= index > 1 || cost.subscribed <= IDLE_TARGET;
    }
    println!(
        "{table}\nTarget: at most {} a client of TCP or WebSocket: {}.\n",
        kibibytes(IDLE_TARGET),
        verdict(is_met)
    );
    Ok(is_met)
}

fn never_reads(wanted: &Wanted) -> Result<bool> {
    println!("A subscriber that never reads while {} are published:", mebibytes(unread::FLOOD as f64));
    let mut table = Table::new(&["broker", "grew by", "without a subscriber", "difference", "messages/s"]);
    // What a queue's entries cost beside what they count for, and what malloc rounds up.
    let bound = 2.0 * brokers::QUEUE as f64;
    let mut is_met = true;
    for qos in [0, 1] {
        let cost = unread::run(&wanted.ours, qos, unread::FLOOD)?;
        let difference = cost.growth - cost.without;
        is_met &= difference <= bound;
        table.row([
            format!("{}, QoS {qos}", wanted.ours.name()),
            mebibytes(cost.growth),
            mebibytes(cost.without),
            mebibytes(difference),
            format!("{:.0}", cost.rate),
        ]);
    }
    let queue = mebibytes(brokers::QUEUE as f64);
    println!(
        "{table}\nTarget: its queue of {queue}, measured with up to as much again: {}.\n",
        verdict(is_met)
    );
    Ok(is_met)
}

fn garbage_flood(wanted: &Wanted) -> Result<bool> {
    println!(
        "A message every 2 ms at QoS 1 beside {} idle clients, and beside {} more that send garbage; \
         us, medians (least..greatest). \"Elsewhere\": the same flood at another broker of this machine.",
        idle::CLIENTS,
        garbage::HOSTILE
    );
    let mut table = Table::new(&[
        "broker, garbage",
        "p50 in peace",
        "p50 in the flood",
        "p99 in peace",
        "p99, flood elsewhere",
        "p99 in the flood",
        "flood / peace",
        "flood / elsewhere",
        "grew by",
        "attempts/s",
    ]);
    let mut words = Vec::new();
    let mut most: f64 = 0.0;
    for rate in [Rate::Steady, Rate::Unbounded] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..wanted.rounds {
            ours.push(garbage::run(&wanted.ours, rate)?);
            theirs.push(garbage::run(&wanted.theirs, rate)?);
        }
        for (is_ours, broker, all) in [(true, &wanted.ours, ours), (false, &wanted.theirs, theirs)] {
            let rounds = |pick: fn(&Harm) -> f64| Rounds(all.iter().map(pick).collect());
            let ratios = rounds(|harm| harm.flood.1 / harm.peace.1);
            if is_ours {
                words.push(format!("{}: {}", rate.name(), verdict(ratios.median() <= 2.0)));
                most = all.iter().map(|harm| harm.growth).fold(most, f64::max);
            }
            table.row([
                format!("{}, {}", broker.name(), rate.name()),
                rounds(|harm| harm.peace.0).show(0),
                rounds(|harm| harm.flood.0).show(0),
                rounds(|harm| harm.peace.1).show(0),
                rounds(|harm| harm.elsewhere.1).show(0),
                rounds(|harm| harm.flood.1).show(0),
                ratios.show(2),
                rounds(|harm| harm.flood.1 / harm.elsewhere.1).show(2),
                mebibytes(rounds(|harm| harm.growth).median()),
                rounds(|harm| harm.attempts).show(0),
            ]);
        }
    }
    let cap = brokers::limits().memory() as f64;
    let is_bounded = most <= cap;
    println!(
        "{table}\nTarget: ours at most 2 times its p99 in peace; {}. It grew by {} at most, of the {} that its \
         limits allow: {}.\n",
        words.join("; "),
        mebibytes(most),
        mebibytes(cap),
        verdict(is_bounded)
    );
    Ok(is_bounded)
}

fn side_by_side(wanted: &Wanted) -> Result<()> {
    let Wanted { rounds, ours, theirs, .. } = wanted;
    println!("{} beside {}, alternating; medians (least..greatest):", ours.name(), theirs.name());
    let mut table = Table::new(&["what", "ours", "theirs", "ratio", "target", ""]);
    let (mut missed, mut lost) = (0, Vec::new());
    for qos in [0, 1] {
        for (payload, is_batched) in [(64, false), (64, true), (1024, true)] {
            for (publishers, subscribers) in [(1, 1), (5, 5), (1, 10)] {
                let shape = Shape { publishers, subscribers, payload, qos, is_batched };
                let (mut mine, mut other) = (Rounds::default(), Rounds::default());
                let (mut arrived, mut arrived_there) = (Rounds::default(), Rounds::default());
                for _ in 0..*rounds {
                    for (broker, rates, share) in
                        [(ours, &mut mine, &mut arrived), (theirs, &mut other, &mut arrived_there)]
                    {
                        let running = broker.start()?;
                        let flow = throughput::run(running.ports.tcp, shape, ROUND)
                            .with_context(|| format!("{}, {}", broker.name(), shape.name()))?;
                        rates.0.push(flow.rate / 1_000.0);
                        share.0.push(flow.arrived);
                    }
                }
                let ratio = mine.ratio(&other);
                missed += usize::from(ratio.median() < 1.0);
                if arrived.quantile(0.0) < 1.0 || arrived_there.quantile(0.0) < 1.0 {
                    lost.push(format!(
                        "{}: {:.1} % and {:.1} %",
                        shape.name(),
                        arrived.median() * 100.0,
                        arrived_there.median() * 100.0
                    ));
                }
                table.row([
                    format!("{}, 1,000/s", shape.name()),
                    mine.show(1),
                    other.show(1),
                    ratio.show(2),
                    "at least 1.0".to_owned(),
                    verdict(ratio.median() >= 1.0),
                ]);
            }
        }
    }
    for qos in [0, 1] {
        let mut halves = [0.5, 0.99].map(|share| (share, Rounds::default(), Rounds::default()));
        for _ in 0..*rounds {
            for (is_ours, broker) in [(true, ours), (false, theirs)] {
                let running = broker.start()?;
                let mut pair = latency::Pair::new(running.ports.tcp, qos)?;
                pair.run(PINGS / 10, Duration::ZERO)?;
                let all = pair.run(PINGS, Duration::ZERO)?;
                for (share, mine, other) in &mut halves {
                    let rounds = if is_ours { mine } else { other };
                    rounds.0.push(all.quantile(*share));
                }
            }
        }
        for (share, mine, other) in &halves {
            let ratio = mine.ratio(other);
            let has_target = *share == 0.5;
            missed += usize::from(has_target && ratio.median() > 1.3);
            table.row([
                format!("latency p{:.0}, QoS {qos}, us", share * 100.0),
                mine.show(1),
                other.show(1),
                ratio.show(2),
                if has_target { "at most 1.3" } else { "" }.to_owned(),
                if has_target { verdict(ratio.median() <= 1.3) } else { String::new() },
            ]);
        }
    }
    println!("{table}");
    for line in lost {
        println!("Not all arrived (ours and theirs), which QoS 0 allows; {line}.");
    }
    println!(
        "Publishers send for {ROUND:?} a round, QoS 0 in batches of 32 KiB, QoS 1 with 100 on their way; counted is \
         what subscribers receive.\nBoth brokers give a subscriber 100 on their way. Theirs is told: {}.\n\
         Targets missed: {missed}.\n",
        brokers::MOSQUITTO.trim().replace('\n', ", "),
    );
    Ok(())
}
