//! The line between the gateway and the cloud, as a TCP proxy that counts, delays, refuses and swallows.
//!
//! Two threads a direction, in the benchmark's process: the reader stamps, the writer waits. Invariants: never
//! reorders, holds [`ROOM`] pieces a direction at most; a connection that has lost a byte carries nothing ever after
//! and ends with the next byte once the line has healed, as at a router that no longer knows it. The tests' proxy
//! (`tests/support/proxy.rs`) waits after each piece, so that its delay is a bound on the throughput, too.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, sleep},
    time::{Duration, Instant},
};

use anyhow::Result;

const ROOM: usize = 4_096;
const PIECE: usize = 16 << 10;
const CARRY: u8 = 0;
const REFUSE: u8 = 1;
const SWALLOW: u8 = 2;

#[derive(Default)]
struct Line {
    mode: AtomicU8,
    is_over: AtomicBool,
    bytes: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

impl Line {
    fn open(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut(&self) {
        for stream in self.open().drain(..) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// A proxy that runs.
pub struct Proxy {
    line: Arc<Line>,
    pub port: u16,
}

impl Proxy {
    /// Carries to `target`, each way so much later.
    pub fn start(target: u16, delay: Duration) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let line = Arc::new(Line::default());
        let mine = line.clone();
        thread::spawn(move || accept(listener, port, target, delay, &mine));
        Ok(Self { line, port })
    }

    /// Ends what is open, and refuses what comes.
    pub fn refuse(&self) {
        self.line.mode.store(REFUSE, Ordering::Release);
        // The accepting thread closes its door first.
        sleep(Duration::from_millis(20));
        self.line.cut();
    }

    /// Takes all and carries nothing.
    pub fn swallow(&self) {
        self.line.mode.store(SWALLOW, Ordering::Release);
    }

    pub fn heal(&self) {
        self.line.mode.store(CARRY, Ordering::Release);
    }

    /// Carried so far, both ways, without TCP's and IP's own.
    pub fn bytes(&self) -> u64 {
        self.line.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.line.is_over.store(true, Ordering::Release);
        self.line.cut();
    }
}

fn accept(listener: TcpListener, port: u16, target: u16, delay: Duration, line: &Arc<Line>) {
    let mut door = Some(listener);
    while !line.is_over.load(Ordering::Acquire) {
        if line.mode.load(Ordering::Acquire) == REFUSE {
            door = None;
        } else if door.is_none() {
            door = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok();
        }
        let accepted = door.as_ref().and_then(|door| {
            door.set_nonblocking(true).ok()?;
            door.accept().ok()
        });
        let Some((near, _)) = accepted else {
            sleep(Duration::from_millis(2));
            continue;
        };
        // The far end hears of it even in a swallowing line, and then never a word.
        if let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)) {
            let _ = join(near, far, delay, line);
        }
    }
}

fn join(near: TcpStream, far: TcpStream, delay: Duration, line: &Arc<Line>) -> std::io::Result<()> {
    near.set_nonblocking(false)?;
    for stream in [&near, &far] {
        stream.set_nodelay(true)?;
        line.open().push(stream.try_clone()?);
    }
    let is_lost = Arc::new(AtomicBool::new(false));
    for (from, to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
        let (sender, receiver) = sync_channel(ROOM);
        let (line, is_lost) = (line.clone(), is_lost.clone());
        thread::spawn(move || read(from, delay, &line, &is_lost, &sender));
        thread::spawn(move || write(to, &receiver));
    }
    Ok(())
}

fn read(
    mut from: TcpStream,
    delay: Duration,
    line: &Line,
    is_lost: &AtomicBool,
    sender: &SyncSender<(Instant, Vec<u8>)>,
) {
    let mut piece = vec![0; PIECE];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        if line.mode.load(Ordering::Acquire) == SWALLOW {
            is_lost.store(true, Ordering::Release);
            continue;
        }
        if is_lost.load(Ordering::Acquire) {
            break;
        }
        line.bytes.fetch_add(count as u64, Ordering::Relaxed);
        if sender.send((Instant::now() + delay, piece[..count].to_vec())).is_err() {
            break;
        }
    }
    if is_lost.load(Ordering::Acquire) {
        let _ = from.shutdown(Shutdown::Both);
    }
}

fn write(mut to: TcpStream, receiver: &Receiver<(Instant, Vec<u8>)>) {
    for (due, piece) in receiver {
        sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&piece).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
