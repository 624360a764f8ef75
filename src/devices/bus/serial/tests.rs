//! A port's adapter on pipes, with paused time: unplugging, replugging, exchanges.

use std::{
    collections::{HashMap, VecDeque},
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex},
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    super::{Adapter, FromBus, Ports, Write, WriteError, ports::Ticket},
    framing::Lines,
    *,
};
use crate::{devices::Frame, model::DeviceId};

/// One end of a pipe as a port; the bits a second are only written down.
struct Pipe(DuplexStream, Arc<Mutex<Vec<u32>>>);

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl Line for Pipe {
    fn set_baud(&mut self, baud: u32) -> io::Result<()> {
        self.1.lock().unwrap().push(baud);
        Ok(())
    }
}

/// What lies ready to be opened; nothing: the port is not there.
#[derive(Clone, Default)]
struct Socket {
    pipes: Arc<Mutex<VecDeque<DuplexStream>>>,
    looks: Arc<Mutex<Vec<Instant>>>,
    bauds: Arc<Mutex<Vec<u32>>>,
}

impl Socket {
    fn plug(&self) -> DuplexStream {
        let (ours, theirs) = duplex(4096);
        self.pipes.lock().unwrap().push_back(theirs);
        ours
    }
}

impl OpenLine for Socket {
    fn open(&self, _settings: &PortSettings) -> BoxFuture<'static, Result<Box<dyn Line>, String>> {
        self.looks.lock().unwrap().push(Instant::now());
        let pipe = self.pipes.lock().unwrap().pop_front();
        let bauds = self.bauds.clone();
        Box::pin(async move {
            let pipe = pipe.ok_or("the port /dev/x is not there")?;
            Ok(Box::new(Pipe(pipe, bauds)) as Box<dyn Line>)
        })
    }
}

fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}

fn settings() -> PortSettings {
    PortSettings { path: "/dev/x".into(), baud: 9600, data_bits: 8, parity: Parity::None, stop_bits: 1 }
}

/// Asks `?` at an interval and awaits a line; what is written awaits a line too.
struct Asker {
    every: Duration,
    next: Option<Instant>,
    is_asking: bool,
}

impl Talker for Asker {
    fn begin(&mut self, now: Instant) {
        (self.next, self.is_asking) = (Some(now + self.every), false);
    }
    fn hear(&mut self, bytes: &[u8], _now: Instant) -> Heard {
        if !std::mem::take(&mut self.is_asking) {
            return Heard::default();
        }
        match bytes {
            b"no\n" => {
                Heard { ended: Some(Err(WriteError::NotSent("it said no".to_owned()))), ..Heard::default() }
            }
            b"more\n" => {
                self.is_asking = true;
                Heard { awaits: Some(Duration::from_secs(1)), ..Heard::default() }
            }
            b"fast\n" => {
                let step =
                    Step { send: Bytes::from_static(b"go\n"), baud_after: Some(300), ..Step::default() };
                Heard { next: Some(step), ..Heard::default() }
            }
            _ => Heard {
                frames: vec![Frame::new("answer", bytes.to_vec())],
                ended: Some(Ok(())),
                ..Heard::default()
            },
        }
    }
    fn next(&self) -> Option<Instant> {
        self.next
    }
    fn ask(&mut self, now: Instant) -> Option<Step> {
        self.next = Some(now + self.every);
        self.tell(&Frame::new("", "?\n")).ok()
    }
    fn tell(&mut self, frame: &Frame) -> Result<Step, String> {
        self.is_asking = true;
        let answer_within = Some(Duration::from_millis(300));
        Ok(Step { send: frame.payload.clone(), answer_within, ..Step::default() })
    }
    fn give_up(&mut self) -> Heard {
        self.is_asking = false;
        Heard::default()
    }
}

fn asker(every: u64) -> Box<dyn Talker> {
    Box::new(Asker { every: Duration::from_secs(every), next: None, is_asking: false })
}

fn listener() -> Box<dyn Talker> {
    Box::new(Listener::new(Lines::new(b"\n", 64)))
}

struct Rig {
    socket: Socket,
    inboxes: HashMap<&'static str, mpsc::Receiver<FromBus>>,
    writes: mpsc::Sender<Write>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Rig {
    fn start(socket: &Socket, members: Vec<(&'static str, Box<dyn Talker>)>) -> Self {
        let (writes, receiver) = mpsc::channel(8);
        let (mut inboxes, mut senders, mut talkers) = (HashMap::new(), HashMap::new(), Vec::new());
        for (name, talker) in members {
            let (sender, inbox) = mpsc::channel(1024);
            senders.insert(id(name), sender);
            inboxes.insert(name, inbox);
            talkers.push(Member { id: id(name), talker });
        }
        let mut adapter = SerialAdapter::with(settings(), talkers, Box::new(socket.clone()));
        let (mut ports, stop) = (Ports::new(receiver, senders), CancellationToken::new());
        let token = stop.clone();
        let task = tokio::spawn(async move { adapter.run(&mut ports, &token).await.unwrap() });
        Self { socket: socket.clone(), inboxes, writes, stop, task }
    }

    async fn heard(&mut self, device: &str) -> FromBus {
        let inbox = self.inboxes.get_mut(device).unwrap();
        timeout(Duration::from_secs(60), inbox.recv()).await.unwrap().unwrap()
    }

    async fn line(&mut self, device: &str) -> String {
        match self.heard(device).await {
            FromBus::Frame(frame) => frame.text().unwrap().to_owned(),
            other => panic!("{other:?}"),
        }
    }

    async fn write(&self, device: &str, payload: &'static str, life: Duration) -> Ticket {
        let (write, ticket) = Write::new(id(device), Frame::new("", payload), Instant::now() + life);
        self.writes.send(write).await.unwrap();
        ticket
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

const LIFE: Duration = Duration::from_secs(5);
const PAST_FRESH: Duration = Duration::from_millis(200);

#[tokio::test(start_paused = true)]
async fn everything_that_was_written_whole_before_an_unplug_is_heard_in_order_and_no_half_is() {
    let socket = Socket::default();
    let mut rig = Rig::start(&socket, vec![("meter", listener())]);
    assert!(matches!(rig.heard("meter").await, FromBus::Lost(_)));
    let mut number = 0;
    for session in 0..40_usize {
        let mut wire = socket.plug();
        assert_eq!(rig.heard("meter").await, FromBus::Found);
        sleep(PAST_FRESH).await;
        let first = number;
        for _ in 0..=session % 7 {
            wire.write_all(format!("telegram {number}\n").as_bytes()).await.unwrap();
            number += 1;
        }
        // The end of this one comes with another wire, and must not make a whole with it.
        wire.write_all(&b"telegram 99999"[..session % 14]).await.unwrap();
        drop(wire);
        for expected in first..number {
            assert_eq!(rig.line("meter").await, format!("telegram {expected}"));
        }
        let FromBus::Lost(reason) = rig.heard("meter").await else { panic!("it was unplugged") };
        assert_eq!(reason, "the port /dev/x was lost: it gave its end; is it plugged in?");
        let FromBus::Lost(reason) = rig.heard("meter").await else { panic!("it is still away") };
        assert_eq!(reason, "the port /dev/x is not there");
    }
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_port_that_is_gone_is_looked_for_at_most_every_half_second_and_found_within_it() {
    let socket = Socket::default();
    let mut rig = Rig::start(&socket, vec![("meter", listener())]);
    sleep(Duration::from_secs(3600)).await;
    {
        let looks = socket.looks.lock().unwrap();
        let waits: Vec<Duration> = looks.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(waits.iter().all(|wait| *wait <= Duration::from_millis(500)), "{waits:?}");
        assert!(waits.len() < 2 * 3600 + 10, "{} looks in an hour", waits.len());
    }
    assert!(matches!(rig.heard("meter").await, FromBus::Lost(_)), "told once");
    let plugged = Instant::now();
    let _wire = socket.plug();
    assert_eq!(rig.heard("meter").await, FromBus::Found);
    assert!(plugged.elapsed() <= Duration::from_millis(500), "{:?}", plugged.elapsed());
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_line_that_began_before_the_opening_is_no_line() {
    let socket = Socket::default();
    let mut wire = socket.plug();
    let mut rig = Rig::start(&socket, vec![("meter", listener())]);
    wire.write_all(b"1.5\n21.5\n").await.unwrap();
    assert_eq!(rig.line("meter").await, "21.5");
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_write_to_a_port_that_is_gone_surely_did_nothing() {
    let socket = Socket::default();
    let rig = Rig::start(&socket, vec![("lamp", listener())]);
    let ticket = rig.write("lamp", "ON\n", LIFE).await;
    let refused = Err(WriteError::NotSent("the port /dev/x is not there".to_owned()));
    assert_eq!(ticket.wait().await, refused);
    let mut wire = socket.plug();
    sleep(Duration::from_secs(1)).await;
    let mut buffer = [0; 16];
    assert!(timeout(LIFE, wire.read(&mut buffer)).await.is_err(), "it was not kept for later");
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn devices_share_a_port_one_exchange_at_a_time() {
    let socket = Socket::default();
    let mut wire = socket.plug();
    let mut rig = Rig::start(&socket, vec![("a", asker(3600)), ("b", asker(3600))]);
    let (first, second) = (rig.write("a", "a?\n", LIFE).await, rig.write("b", "b?\n", LIFE).await);
    let mut buffer = [0; 64];
    assert_eq!(wire.read(&mut buffer).await.unwrap(), 3);
    assert_eq!(&buffer[..3], b"a?\n");
    assert!(timeout(Duration::from_millis(200), wire.read(&mut buffer)).await.is_err(), "b waits for a");
    wire.write_all(b"1\n").await.unwrap();
    assert_eq!(first.wait().await, Ok(()));
    assert_eq!(rig.line("a").await, "1");
    assert_eq!(wire.read(&mut buffer).await.unwrap(), 3);
    wire.write_all(b"no\n").await.unwrap();
    assert_eq!(second.wait().await, Err(WriteError::NotSent("it said no".to_owned())));
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_too_late_is_not_taken_for_the_next_ones() {
    let socket = Socket::default();
    let mut wire = socket.plug();
    let mut rig = Rig::start(&socket, vec![("a", asker(3600))]);
    let first = rig.write("a", "first?\n", LIFE).await;
    let mut buffer = [0; 64];
    assert_eq!(wire.read(&mut buffer).await.unwrap(), 7);
    let sent = Instant::now();
    assert_eq!(first.wait().await, Err(WriteError::Uncertain("it was sent, and nobody answered".to_owned())));
    assert_eq!(sent.elapsed(), Duration::from_millis(300));
    let second = rig.write("a", "second?\n", LIFE).await;
    wire.write_all(b"late\n").await.unwrap();
    assert_eq!(wire.read(&mut buffer).await.unwrap(), 8);
    assert!(sent.elapsed() >= Duration::from_millis(600), "the port rested: {:?}", sent.elapsed());
    wire.write_all(b"2\n").await.unwrap();
    assert_eq!(second.wait().await, Ok(()));
    assert_eq!(rig.line("a").await, "2");
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_under_way_ends_by_the_silence_behind_it_and_the_port_rests_as_long() {
    let socket = Socket::default();
    let mut wire = socket.plug();
    let rig = Rig::start(&socket, vec![("a", asker(3600))]);
    let first = rig.write("a", "first?\n", Duration::from_secs(60)).await;
    let mut buffer = [0; 64];
    assert_eq!(wire.read(&mut buffer).await.unwrap(), 7);
    let sent = Instant::now();
    for _ in 0..3 {
        sleep(Duration::from_millis(200)).await;
        wire.write_all(b"more\n").await.unwrap();
    }
    assert!(matches!(first.wait().await, Err(WriteError::Uncertain(_))));
    assert_eq!(sent.elapsed(), Duration::from_millis(1600));
    let second = rig.write("a", "second?\n", LIFE).await;
    assert_eq!(wire.read(&mut buffer).await.unwrap(), 8);
    assert_eq!(sent.elapsed(), Duration::from_millis(2600));
    wire.write_all(b"2\n").await.unwrap();
    assert_eq!(second.wait().await, Ok(()));
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_command_that_waits_behind_another_never_goes_out_after_its_deadline() {
    let socket = Socket::default();
    let mut wire = socket.plug();
    let rig = Rig::start(&socket, vec![("a", asker(3600)), ("b", asker(3600))]);
    let first = rig.write("a", "a?\n", LIFE).await;
    let second = rig.write("b", "b?\n", Duration::from_millis(100)).await;
    assert_eq!(second.wait().await, Err(WriteError::TooLate));
    assert!(first.wait().await.is_err());
    sleep(LIFE).await;
    rig.end().await;
    let mut all = Vec::new();
    wire.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"a?\n");
}

#[tokio::test(start_paused = true)]
async fn neither_polling_nor_a_chattering_device_keeps_a_command_from_the_port() {
    let socket = Socket::default();
    let mut wire = socket.plug();
    let rig = Rig::start(&socket, vec![("busy", asker(0)), ("lamp", listener())]);
    sleep(Duration::from_secs(1)).await;
    let ticket = rig.write("lamp", "ON\n", Duration::from_secs(2)).await;
    assert_eq!(ticket.wait().await, Ok(()));
    let mut buffer = [0; 64];
    let count = wire.read(&mut buffer).await.unwrap();
    assert!(buffer[..count].windows(3).any(|window| window == b"ON\n"));
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_exchange_may_have_a_second_step_at_another_speed() {
    let socket = Socket::default();
    let mut wire = socket.plug();
    let rig = Rig::start(&socket, vec![("a", asker(3600))]);
    let ticket = rig.write("a", "hello\n", LIFE).await;
    let mut buffer = [0; 64];
    assert_eq!(wire.read(&mut buffer).await.unwrap(), 6);
    wire.write_all(b"fast\n").await.unwrap();
    assert_eq!(ticket.wait().await, Ok(()));
    assert_eq!(wire.read(&mut buffer).await.unwrap(), 3);
    assert_eq!(*rig.socket.bauds.lock().unwrap(), [300]);
    rig.end().await;
}

#[test]
fn bare_names_are_those_of_the_order_of_plugging_in() {
    for (path, is_bare) in [
        ("/dev/ttyUSB0", true),
        ("/dev/ttyACM12", true),
        ("/dev/serial/by-id/usb-FTDI_a-if00-port0", false),
        ("/dev/ttyAMA0", false),
        ("/dev/ttyUSB_meter", false),
        ("/dev/ttyUSB", false),
    ] {
        assert_eq!(is_bare_name(path.as_ref()), is_bare, "{path}");
    }
}
