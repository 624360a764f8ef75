//! What the floor between commits (`store.commit_floor`) buys and costs: bytes written a message, and how long
//! a device waits for its PUBACK.
//!
//! ```text
//! cargo bench --bench flash -- [--directory DIR] [--line-down]
//! ```
//!
//! `DIR` lies on the disk that is meant; on a file system of its own the last column is exact, otherwise others
//! write there, too. Takes less than three minutes. Runs the real broker and the real store in this process, so
//! that `/proc/self/io` is theirs; the client speaks bytes over a socket, open loop: a publish leaves when it is
//! due, however long the ones before it wait. Owns no target and never fails because of time or of a busy disk.

#[path = "../broker/client.rs"]
#[allow(dead_code, reason = "the broker's laboratory uses the rest")]
mod client;
#[path = "../broker/figures.rs"]
#[allow(dead_code, reason = "the broker's laboratory uses the rest")]
mod figures;

use std::{
    fs,
    io::Write,
    net::TcpStream,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use hearthlink::{
    broker::{Broker, BrokerOptions, Limits, ListenerKind, ListenerOptions, Uplink},
    clock::Clock,
    health::Board,
    model::Message,
    store::{Entry, Store, StoreError, StoreOptions},
};
use tokio_util::sync::CancellationToken;

use client::{Inbox, PATIENCE};
use figures::{Rounds, Table};

const FLOORS: [u64; 5] = [0, 10, 50, 200, 1_000];
/// Publishes a second, and for how many seconds.
const LOADS: [(u32, u32); 3] = [(1, 15), (20, 6), (200, 5)];
/// A device's state in JSON is about as long.
const PAYLOAD: usize = 120;
/// From the store to the cloud and back.
const ROUND_TRIP: Duration = Duration::from_millis(30);

/// All goes to the cloud.
struct Everything;

impl Uplink for Everything {
    fn route(&self, message: &Message) -> Option<Entry> {
        Some(Entry::new(message.clone()))
    }
}

struct Wanted {
    directory: PathBuf,
    is_line_up: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --all-targets` runs this file too, and wants no laboratory.
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("a laboratory, not a test: cargo bench --bench flash");
        return ExitCode::SUCCESS;
    }
    match wanted(&arguments).and_then(|wanted| run(&wanted)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("could not be measured: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn wanted(arguments: &[String]) -> Result<Wanted> {
    let mut wanted = Wanted { directory: std::env::temp_dir(), is_line_up: true };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => {}
            "--line-down" => wanted.is_line_up = false,
            "--directory" => wanted.directory = arguments.next().context("which directory?")?.into(),
            other => bail!("`{other}` is none of --directory, --line-down"),
        }
    }
    Ok(wanted)
}

fn run(wanted: &Wanted) -> Result<()> {
    let line = if wanted.is_line_up { "the cloud acknowledges after 30 ms" } else { "the line is down" };
    println!("{PAYLOAD} B of payload, QoS 1, one publisher; {line}; in {}.\n", wanted.directory.display());
    let mut table = Table::new(&[
        "load",
        "floor",
        "PUBACK p50, ms",
        "p99, ms",
        "written a message, KiB",
        "by /proc/self/io",
        "by the disk",
        "MiB a day",
    ]);
    for (rate, seconds) in LOADS {
        for floor in FLOORS {
            let cost = measure(wanted, Duration::from_millis(floor), rate, seconds)?;
            let each = |bytes: Option<u64>| {
                let kibibytes = |bytes| format!("{:.1}", bytes as f64 / f64::from(rate * seconds) / 1_024.0);
                bytes.map_or_else(|| "?".to_owned(), kibibytes)
            };
            let day = cost.counted.map(|bytes| bytes as f64 / f64::from(seconds) * 86_400.0 / 1_048_576.0);
            table.row([
                format!("{rate}/s"),
                format!("{floor} ms"),
                format!("{:.1}", cost.latency.median()),
                format!("{:.1}", cost.latency.quantile(0.99)),
                each(cost.counted),
                each(cost.process),
                each(cost.disk),
                day.map_or_else(|| "?".to_owned(), |day| format!("{day:.0}")),
            ]);
        }
    }
    println!("{table}");
    Ok(())
}

/// What a load cost: milliseconds, and bytes by three counters, as far as they could be read.
struct Cost {
    latency: Rounds,
    counted: Option<u64>,
    process: Option<u64>,
    disk: Option<u64>,
}

fn measure(wanted: &Wanted, floor: Duration, rate: u32, seconds: u32) -> Result<Cost> {
    let directory = tempfile::tempdir_in(&wanted.directory)?;
    let clock = Clock::system();
    let options = StoreOptions { commit_floor: floor, ..StoreOptions::default() };
    let store = Store::open(&directory.path().join("store.db"), &options, clock.clone())?;
    let runtime = tokio::runtime::Runtime::new()?;
    let stop = CancellationToken::new();
    let listener = ListenerOptions {
        kind: ListenerKind::Tcp,
        address: ([127, 0, 0, 1], 0).into(),
        tls: None,
        anonymous: true,
        acl: None,
        origins: Vec::new(),
    };
    let options = BrokerOptions {
        listeners: vec![listener],
        users: Vec::new(),
        limits: Limits::default(),
        closed: Vec::new(),
    };
    let board = Board::new("laboratory", clock);
    let broker = runtime.block_on(Broker::bind(options, Arc::new(Everything), store.clone(), board))?;
    let port = broker.addresses().first().context("no listener")?.2.port();
    let token = stop.clone();
    let broker = runtime.spawn(async move { broker.run(token).await });
    if wanted.is_line_up {
        runtime.spawn(acknowledge(store.clone()));
    }

    // A log that has been folded into the file once is written anew from its beginning, as it is for all but the
    // first minutes of a gateway's life: it does not grow any more.
    let mut stream = client::client(port, "device")?;
    let mut inbox = Inbox::new();
    let large = client::publish("laboratory/warm", 1, 1, &[b'x'; 12 << 10]);
    stream.write_all(&large.repeat(500))?;
    for _ in 0..500 {
        ack(&mut stream, &mut inbox)?;
    }
    quiet(wanted, &store, floor)?;

    let counted = || store.stats().borrow().written.days.iter().copied().reduce(u64::wrapping_add);
    let before = (counted(), process(), disk(directory.path()));
    let latency = publish(stream, &mut inbox, rate, rate * seconds)?;
    quiet(wanted, &store, floor)?;
    let after = (counted(), process(), disk(directory.path()));
    let since = |after: Option<u64>, before: Option<u64>| Some(after?.saturating_sub(before?));
    stop.cancel();
    runtime.block_on(broker)?;
    Ok(Cost {
        latency,
        counted: since(after.0, before.0),
        process: since(after.1, before.1),
        disk: since(after.2, before.2),
    })
}

/// The cloud at the other end of the line: takes what waits, and acknowledges it a round trip later.
async fn acknowledge(store: Store) -> Result<(), StoreError> {
    let mut appended = store.appended();
    let mut last = 0;
    loop {
        appended.borrow_and_update();
        let records = store.pending(last, 100, 1 << 20).await?;
        let Some(newest) = records.last() else {
            appended.changed().await.map_err(|_| StoreError::Stopped)?;
            continue;
        };
        last = newest.sequence;
        let store = store.clone();
        tokio::spawn(async move {
            tokio::time::sleep(ROUND_TRIP).await;
            store.acknowledge(records.iter().map(|record| record.sequence).collect()).await
        });
    }
}

/// Waits until all is on the disk and acknowledged.
fn quiet(wanted: &Wanted, store: &Store, floor: Duration) -> Result<()> {
    let began = Instant::now();
    while wanted.is_line_up && store.stats().borrow().waiting > 0 {
        ensure!(began.elapsed() < PATIENCE, "the store did not empty");
        sleep(Duration::from_millis(5));
    }
    sleep(floor + Duration::from_millis(50));
    Ok(())
}

/// Publishes at random moments of each interval, and gives what each PUBACK took in milliseconds.
fn publish(mut stream: TcpStream, inbox: &mut Inbox, rate: u32, count: u32) -> Result<Rounds> {
    let start = Instant::now();
    let due =
        |number: u32| start + (Duration::from_secs(1) / rate).mul_f64(f64::from(number) + fastrand::f64());
    let moments: Vec<Instant> = (0..count).map(due).collect();
    let mut acks = stream.try_clone()?;
    let sender = std::thread::spawn({
        let moments = moments.clone();
        move || -> Result<()> {
            for (number, due) in moments.into_iter().enumerate() {
                sleep(due.saturating_duration_since(Instant::now()));
                let id = u16::try_from(number + 1)?;
                stream.write_all(&client::publish("laboratory/flash", 1, id, &[b'x'; PAYLOAD]))?;
            }
            Ok(())
        }
    });
    let mut all = Vec::with_capacity(moments.len());
    for _ in &moments {
        let number = usize::from(ack(&mut acks, inbox)?);
        let due = moments.get(number.wrapping_sub(1)).context("a PUBACK for nothing")?;
        all.push(due.elapsed().as_secs_f64() * 1e3);
    }
    sender.join().map_err(|_| anyhow::anyhow!("the publisher panicked"))??;
    Ok(Rounds(all))
}

/// The id of the next PUBACK.
fn ack(stream: &mut TcpStream, inbox: &mut Inbox) -> Result<u16> {
    loop {
        if let Some((first, body)) = inbox.next() {
            ensure!(first == 0x40, "{first:#x} instead of a PUBACK");
            return Ok(u16::from_be_bytes([body[0], body[1]]));
        }
        ensure!(inbox.read(stream)? > 0, "the broker hung up");
    }
}

/// What this whole process has written.
fn process() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/io").ok()?;
    text.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok())
}

/// What was written to the block device below `directory`, by whomever: the file system's journal, too.
fn disk(directory: &Path) -> Option<u64> {
    let device = fs::metadata(directory).ok()?.dev();
    // As in <sys/sysmacros.h>.
    let major = (device >> 8) & 0xFFF | (device >> 32) & !0xFFF;
    let minor = device & 0xFF | (device >> 12) & !0xFF;
    let text = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
    let sectors: u64 = text.split_whitespace().nth(6)?.parse().ok()?;
    Some(sectors * 512)
}
