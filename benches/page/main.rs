//! How fast and how heavy the status page is with 1,000 devices and 100 reports a second, and what looking at it costs.
//!
//! ```text
//! cargo bench --bench page
//! ```
//!
//! Takes two minutes and needs nothing. Runs the real page in this process beside a board that is told of a device
//! every 10 ms; asks for it over a socket, as a browser does, and reads its events. The processor's time is that of the
//! whole process, in which nothing else happens. Last comes what looking at the page takes from
//! the real program's throughput. Owns the issue's targets (first byte, weight, throughput) and ends with a failure when one
//! is missed.

#[path = "../broker/client.rs"]
#[allow(dead_code, reason = "shared with the broker's laboratory")]
mod client;
mod throughput;

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use hearthlink::{
    clock::Clock,
    health::{Board, DeviceReport, NumberReport},
    model::{Availability, DeviceId, Fields},
    web::{Web, WebOptions},
};
use tokio_util::sync::CancellationToken;

const DEVICES: usize = 1000;
/// Between two reports.
const EVERY: Duration = Duration::from_millis(10);
/// Questions for the page, packed and plain.
const QUESTIONS: usize = 100;
/// How long each number of readers of the events is watched.
const WATCH: Duration = Duration::from_secs(8);
const READERS: [usize; 4] = [0, 1, 4, 16];

/// The issue's targets.
const FIRST_BYTE: Duration = Duration::from_millis(50);
const WEIGHT: usize = 100_000;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool> {
    let board = Board::new("home", Clock::system());
    for number in 0..DEVICES {
        board.device(report(number));
    }
    let runtime = tokio::runtime::Runtime::new()?;
    let options = WebOptions::at(SocketAddr::from(([127, 0, 0, 1], 0)));
    let web = runtime.block_on(Web::bind(options, board.clone()))?;
    let address = *web.addresses().first().context("it has no address")?;
    let stop = CancellationToken::new();
    let served = runtime.spawn(web.run(stop.clone()));
    let told = runtime.spawn(storm(board, stop.clone()));
    let profile = if cfg!(debug_assertions) { "without optimisation" } else { "optimised" };
    println!("{DEVICES} devices, {} reports/s, {profile}\n", Duration::from_secs(1).div_duration_f64(EVERY));
    println!("| page | on the wire | first byte, median | p99 | whole, median |\n|---|---|---|---|---|");
    let packed = ask("packed by gzip", address, "Accept-Encoding: gzip\r\n")?;
    ask("plain", address, "")?;
    println!("\n| readers of the events | processor | bytes/s each |\n|---|---|---|");
    for readers in READERS {
        watch(address, readers)?;
    }
    stop.cancel();
    runtime.block_on(async {
        let _ = served.await;
        let _ = told.await;
    });
    let is_met = packed.0 < FIRST_BYTE && packed.1 < WEIGHT;
    let word = if is_met { "met" } else { "missed" };
    println!("\nTarget: first byte (p99) under {FIRST_BYTE:?} and under {WEIGHT} bytes, packed: {word}.");
    let keeps_up = throughput::run()?;
    Ok(is_met && keeps_up)
}

/// A sensor as there are many; no two say the same.
fn report(number: usize) -> DeviceReport {
    let value = f64::from(fastrand::u32(0..400)) / 10.0;
    let state = serde_json::json!({
        "temperature": value, "humidity": fastrand::u32(0..100), "battery": fastrand::u32(0..100),
        "signal": -(30 + fastrand::i32(0..70)), "pressure": f64::from(fastrand::u32(9800..10300)) / 10.0,
    });
    let fields: Option<Fields> = state.as_object().cloned();
    let id = DeviceId::parse(&format!("sensor_{number}")).expect("letters, digits and `_`");
    DeviceReport {
        availability: Availability::Online,
        fields,
        last_seen: Some(Clock::system().now()),
        number: Some(NumberReport {
            field: "temperature".into(),
            unit: Some("°C".into()),
            value,
            history: Vec::new(),
        }),
        ..DeviceReport::new(id, "bthome")
    }
}

async fn storm(board: Board, stop: CancellationToken) {
    let mut every = tokio::time::interval(EVERY);
    let work = async {
        loop {
            every.tick().await;
            board.device(report(fastrand::usize(0..DEVICES)));
        }
    };
    stop.run_until_cancelled(work).await;
}

/// Asks again and again; the p99 of the first byte, and the largest answer.
fn ask(name: &str, address: SocketAddr, header: &str) -> Result<(Duration, usize)> {
    let (mut first, mut whole, mut weight) = (Vec::new(), Vec::new(), 0);
    for _ in 0..QUESTIONS {
        let mut stream = TcpStream::connect(address)?;
        let start = Instant::now();
        write!(stream, "GET / HTTP/1.1\r\nHost: localhost\r\n{header}\r\n")?;
        let mut answer = vec![0];
        stream.read_exact(&mut answer)?;
        first.push(start.elapsed());
        stream.read_to_end(&mut answer)?;
        whole.push(start.elapsed());
        ensure!(answer.starts_with(b"HTTP/1.1 200"), "the page is refused");
        weight = weight.max(answer.len());
    }
    first.sort();
    whole.sort();
    let (median, p99) = (first[QUESTIONS / 2], first[QUESTIONS * 99 / 100]);
    println!("| {name} | {weight} bytes | {median:.1?} | {p99:.1?} | {:.1?} |", whole[QUESTIONS / 2]);
    Ok((p99, weight))
}

/// One who reads the events, and has heard that they come.
fn reader(address: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut answer = [0; b"HTTP/1.1 200".len()];
    stream.read_exact(&mut answer)?;
    ensure!(&answer == b"HTTP/1.1 200", "the events are refused");
    stream.set_read_timeout(Some(Duration::from_millis(200)))?;
    Ok(stream)
}

/// How many bytes of the events have come; 0: none for a moment.
fn hear(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<usize> {
    match stream.read(buffer) {
        Ok(0) => bail!("the events have ended"),
        Ok(count) => Ok(count),
        Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// So many read the events for a while.
fn watch(address: SocketAddr, readers: usize) -> Result<()> {
    let streams = (0..readers).map(|_| reader(address)).collect::<Result<Vec<_>>>()?;
    // The greeting, and the first bulletin after it, are no part of it.
    thread::sleep(Duration::from_secs(2));
    let (before, start) = (processor()?, Instant::now());
    let reading = streams.into_iter().map(|mut stream| {
        thread::spawn(move || {
            let (mut bytes, mut buffer) = (0, vec![0; 1 << 16]);
            while start.elapsed() < WATCH {
                bytes += hear(&mut stream, &mut buffer)?;
            }
            anyhow::Ok(bytes)
        })
    });
    let reading: Vec<_> = reading.collect();
    thread::sleep(WATCH);
    let spent = processor()? - before;
    let mut bytes = 0;
    for reader in reading {
        bytes += reader.join().map_err(|_| anyhow!("a reader of the events panicked"))??;
    }
    let rate = bytes.checked_div(readers).unwrap_or(0) as f64 / WATCH.as_secs_f64();
    println!("| {readers} | {:.1} % | {rate:.0} |", 100.0 * spent.div_duration_f64(WATCH));
    Ok(())
}

/// The processor's time of this process so far: ticks of 10 ms, `proc(5)`.
fn processor() -> Result<Duration> {
    let text = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 =
        fields.get(11..13).context("no times")?.iter().filter_map(|text| text.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 10))
}
