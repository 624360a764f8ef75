//! A cloud that takes everything at once and keeps nothing, in a process of its own.
//!
//! Speaks MQTT 3.1.1 and 5 over wss and over TLS, acknowledges, and counts the readings. Never delivers anything to
//! anybody. Parent and child talk in lines: a line in, the counts out; the end of the input ends it.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use anyhow::{Context, Result, bail};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::{
    client::{Inbox, packet},
    wire::{self, Framed},
};

/// What has come so far.
#[derive(Default)]
struct Tally {
    readings: AtomicU64,
    probes: AtomicU64,
    /// Bytes of TCP, both ways.
    bytes: AtomicU64,
}

/// The child's life.
pub fn serve(folder: &Path) -> Result<()> {
    let config = wire::server_config(folder)?;
    let tally = Arc::new(Tally::default());
    let mut ports = Vec::new();
    for is_websocket in [true, false] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        ports.push(listener.local_addr()?.port().to_string());
        let (config, tally) = (config.clone(), tally.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, tally) = (config.clone(), tally.clone());
                // Whoever hangs up, and how, is nothing to it.
                thread::spawn(move || serve_one(stream, config, is_websocket, &tally));
            }
        });
    }
    println!("{}", ports.join(" "));
    for line in io::stdin().lock().lines() {
        line?;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        println!("{} {} {}", count(&tally.readings), count(&tally.probes), count(&tally.bytes));
    }
    Ok(())
}

/// A stream that counts.
struct Counted<'a>(TcpStream, &'a Tally);

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        self.1.bytes.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl Write for Counted<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.0.write(buffer)?;
        self.1.bytes.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn serve_one(stream: TcpStream, config: Arc<ServerConfig>, is_websocket: bool, tally: &Tally) -> Result<()> {
    stream.set_nodelay(true)?;
    let tls = StreamOwned::new(ServerConnection::new(config)?, Counted(stream, tally));
    if is_websocket { speak(Framed::accept(tls)?, tally) } else { speak(tls, tally) }
}

fn speak(mut stream: impl Read + Write, tally: &Tally) -> Result<()> {
    let (mut inbox, mut answers, mut is_five) = (Inbox::new(), Vec::new(), false);
    while inbox.read(&mut stream)? > 0 {
        answers.clear();
        while let Some((first, body)) = inbox.next() {
            match first >> 4 {
                // The bridge of Mosquitto sets the level's highest bit.
                1 => {
                    is_five = body.get(6).context("a short CONNECT")? & 0x7F == 5;
                    answers.extend(packet(0x20, if is_five { &[0, 0, 0] } else { &[0, 0] }));
                }
                3 => publish(first, body, tally, &mut answers)?,
                8 | 10 => answers.extend(accord(first >> 4 == 8, body, is_five)?),
                12 => answers.extend_from_slice(&[0xD0, 0]),
                14 => return Ok(()),
                _ => {}
            }
        }
        if !answers.is_empty() {
            stream.write_all(&answers)?;
        }
    }
    Ok(())
}

fn publish(first: u8, body: &[u8], tally: &Tally, answers: &mut Vec<u8>) -> Result<()> {
    let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
    let topic = body.get(2..2 + length).context("a short PUBLISH")?;
    if topic.ends_with(b"/probe") {
        tally.probes.fetch_add(1, Ordering::Relaxed);
    } else if topic.windows(9).any(|part| part == b"/sensors/") {
        tally.readings.fetch_add(1, Ordering::Relaxed);
    }
    if first & 0x06 != 0 {
        answers.extend_from_slice(&[0x40, 2]);
        answers.extend_from_slice(body.get(2 + length..4 + length).context("a short PUBLISH")?);
    }
    Ok(())
}

/// SUBACK or UNSUBACK for as many filters as were asked for.
fn accord(is_subscribe: bool, body: &[u8], is_five: bool) -> Result<Vec<u8>> {
    let mut answer = body.get(..2).context("no packet id")?.to_vec();
    let mut at = 2;
    if is_five {
        // Properties shorter than 128 bytes, which nobody here exceeds.
        at += 1 + usize::from(*body.get(2).context("no properties")?);
        answer.push(0);
    }
    while let Some(&[high, low]) = body.get(at..at + 2) {
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
        if is_subscribe {
            answer.push(body.get(at).context("no options")? & 3);
            at += 1;
        } else if is_five {
            answer.push(0);
        }
    }
    Ok(packet(if is_subscribe { 0x90 } else { 0xB0 }, &answer))
}

/// The parent's handle.
pub struct Null {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    pub wss: u16,
    pub tls: u16,
}

/// What the child has counted.
pub struct Count {
    pub readings: u64,
    pub probes: u64,
    pub bytes: u64,
}

impl Null {
    pub fn start(folder: &Path) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--null")
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().context("it was piped")?;
        let output = BufReader::new(child.stdout.take().context("it was piped")?);
        let mut null = Self { child, input, output, wss: 0, tls: 0 };
        let [wss, tls] = null.line()?[..] else { bail!("the null broker names no ports") };
        (null.wss, null.tls) = (wss.try_into()?, tls.try_into()?);
        Ok(null)
    }

    fn line(&mut self) -> Result<Vec<u64>> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        line.split_whitespace().map(|word| Ok(word.parse()?)).collect()
    }

    pub fn count(&mut self) -> Result<Count> {
        self.input.write_all(b"\n")?;
        let [readings, probes, bytes] = self.line()?[..] else { bail!("the null broker does not count") };
        Ok(Count { readings, probes, bytes })
    }
}

impl Drop for Null {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
