//! A port's adapter on pipes, with paused time: unplugging, replugging, exchanges.

use std::{
    collections::{HashMap, VecDeque},
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    thread::{self, ThreadId},
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

/// One end of a pipe as a port; the bits a second, and how it was closed, are only written down.
struct Pipe {
    stream: DuplexStream,
    notes: Notes,
    is_discarded: bool,
}

#[derive(Clone, Default)]
struct Notes {
    bauds: Arc<Mutex<Vec<u32>>>,
    /// Whether its output was thrown away before, and the thread.
    closings: Arc<Mutex<Vec<(bool, ThreadId)>>>,
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.notes.closings.lock().unwrap().push((self.is_discarded, thread::current().id()));
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Line for Pipe {
    fn set_baud(&mut self, baud: u32) -> io::Result<()> {
        self.notes.bauds.lock().unwrap().push(baud);
        Ok(())
    }

    fn discard(&mut self) {
        self.is_discarded = true;
    }
}

/// What lies ready to be opened; nothing: the port is not there.
#[derive(Clone, Default)]
struct Socket {
    pipes: Arc<Mutex<VecDeque<DuplexStream>>>,
    looks: Arc<Mutex<Vec<Instant>>>,
    notes: Notes,
    /// How long the driver thinks before it opens.
    opens_after: Duration,
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
        let (notes, opens_after) = (self.notes.clone(), self.opens_after);
        Box::pin(async move {
            sleep(opens_after).await;
            let stream = pipe.ok_or("the port /dev/x is not there")?;
            Ok(Box::new(Pipe { stream, notes, is_discarded: false }) as Box<dyn Line>)
        })
    }
}

fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}

fn settings(baud: u32) -> PortSettings {
    PortSettings { path: "/dev/x".into(), baud, data_bits: 8, parity: Parity::None, stop_bits: 1 }
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
        Self::start_at(9600, socket, members)
    }

    fn start_at(baud: u32, socket: &Socket, members: Vec<(&'static str, Box<dyn Talker>)>) -> Self {
        let (writes, receiver) = mpsc::channel(8);
        let (mut inboxes, mut senders, mut talkers) = (HashMap::new(), HashMap::new(), Vec::new());
        for (name, talker) in members {
            let (sender, inbox) = mpsc::channel(1024);
            senders.insert(id(name), sender);
            inboxes.insert(name, inbox);
            talkers.push(Member { id: id(name), talker });
        }
        let mut adapter = SerialAdapter::with(settings(baud), talkers, Box::new(socket.clone()));
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
    // 7 characters of 10 bits, and the 300 ms. Timers go by milliseconds.
    assert_eq!(sent.elapsed().as_millis(), 308);
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
    let (mut wire, mut chatter) = tokio::io::split(socket.plug());
    // "busy" takes whatever comes for its answer, and asks again.
    let rig = Rig::start(&socket, vec![("busy", asker(0)), ("lamp", listener())]);
    let noise = tokio::spawn(async move {
        while chatter.write_all(&[b'x'; 64]).await.is_ok() {
            sleep(Duration::from_millis(1)).await;
        }
    });
    sleep(Duration::from_secs(1)).await;
    let ticket = rig.write("lamp", "ON\n", Duration::from_secs(2)).await;
    assert_eq!(ticket.wait().await, Ok(()));
    let mut heard = Vec::new();
    while !heard.ends_with(b"ON\n") {
        heard.push(timeout(LIFE, wire.read_u8()).await.unwrap().unwrap());
    }
    assert!(heard.len() > 3, "and it polled: {heard:?}");
    noise.abort();
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_command_is_done_when_its_last_byte_has_left_and_none_leaves_after_its_deadline() {
    const COMMAND: &str = match std::str::from_utf8(&[b'C'; 256]) {
        Ok(command) => command,
        Err(_) => "",
    };
    let socket = Socket::default();
    let mut wire = socket.plug();
    let rig = Rig::start_at(1200, &socket, vec![("lamp", listener())]);
    let begun = Instant::now();
    // 256 characters of 10 bits at 1200 bits a second.
    let wire_time = Duration::from_millis(2133);
    let mut tickets = Vec::new();
    for _ in 0..8 {
        tickets.push(rig.write("lamp", COMMAND, Duration::from_secs(10)).await);
    }
    let mut outcomes = Vec::new();
    for ticket in tickets {
        outcomes.push(ticket.wait().await);
        let done = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert!(begun.elapsed() >= wire_time * u32::try_from(done).unwrap(), "{:?}", begun.elapsed());
    }
    let late = Err(WriteError::TooLate);
    let expected = [Ok(()), Ok(()), Ok(()), Ok(()), late.clone(), late.clone(), late.clone(), late];
    assert_eq!(outcomes, expected);
    sleep(Duration::from_secs(60)).await;
    rig.end().await;
    let mut all = Vec::new();
    wire.read_to_end(&mut all).await.unwrap();
    assert_eq!(all.len(), 4 * 256);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_was_still_leaving_when_the_port_went_is_not_known_to_be_done() {
    let socket = Socket::default();
    let mut wire = socket.plug();
    let rig = Rig::start_at(300, &socket, vec![("lamp", listener())]);
    let ticket = rig.write("lamp", "A LONG COMMAND\n", LIFE).await;
    let mut buffer = [0; 64];
    assert_eq!(wire.read(&mut buffer).await.unwrap(), 15);
    sleep(Duration::from_millis(400)).await;
    drop(wire);
    assert!(matches!(ticket.wait().await, Err(WriteError::Uncertain(_))));
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_line_has_the_time_of_its_question_and_then_that_of_the_answer() {
    let socket = Socket::default();
    let mut wire = socket.plug();
    let rig = Rig::start_at(300, &socket, vec![("a", asker(3600))]);
    let ticket = rig.write("a", "thirty characters, as they are\n", LIFE).await;
    let mut buffer = [0; 64];
    assert_eq!(wire.read(&mut buffer).await.unwrap(), 31);
    // 31 characters at 300 bits a second take 1033 ms.
    sleep(Duration::from_millis(1200)).await;
    wire.write_all(b"1\n").await.unwrap();
    assert_eq!(ticket.wait().await, Ok(()));
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_lay_ready_through_a_stall_is_heard() {
    let socket = Socket::default();
    let mut wire = socket.plug();
    let ((writes, receiver), (inbox, mut heard)) = (mpsc::channel(8), mpsc::channel(8));
    let members = vec![Member { id: id("a"), talker: asker(3600) }];
    let mut adapter = SerialAdapter::with(settings(9600), members, Box::new(socket.clone()));
    let (mut ports, stop) =
        (Ports::new(receiver, HashMap::from([(id("a"), inbox)])), CancellationToken::new());
    let (write, ticket) = Write::new(id("a"), Frame::new("", "a?\n"), Instant::now() + LIFE);
    writes.send(write).await.unwrap();
    // Polled by hand: what is not polled has stalled.
    let mut adapter = adapter.run(&mut ports, &stop);
    assert!(timeout(PAST_FRESH, &mut adapter).await.is_err());
    let mut buffer = [0; 64];
    assert_eq!(wire.read(&mut buffer).await.unwrap(), 3);
    wire.write_all(b"1\n").await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert!(timeout(Duration::from_millis(10), &mut adapter).await.is_err());
    assert_eq!(ticket.wait().await, Ok(()));
    assert_eq!(heard.recv().await, Some(FromBus::Frame(Frame::new("answer", "1\n"))));
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_what_was_asked_right_after_the_opening_is_read() {
    let socket = Socket::default();
    let mut wire = socket.plug();
    let mut rig = Rig::start(&socket, vec![("meter", listener())]);
    let ticket = rig.write("meter", "?\n", LIFE).await;
    let mut buffer = [0; 16];
    assert_eq!(wire.read(&mut buffer).await.unwrap(), 2);
    sleep(Duration::from_millis(10)).await;
    wire.write_all(b"21.5\n").await.unwrap();
    assert_eq!(ticket.wait().await, Ok(()));
    assert_eq!(rig.line("meter").await, "21.5");
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_port_is_closed_empty_and_away_from_the_threads_that_everybody_shares() {
    let socket = Socket::default();
    let wire = socket.plug();
    let mut rig = Rig::start(&socket, vec![("lamp", listener())]);
    sleep(PAST_FRESH).await;
    drop(wire);
    assert!(matches!(rig.heard("lamp").await, FromBus::Lost(_)));
    let _wire = socket.plug();
    while rig.heard("lamp").await != FromBus::Found {}
    rig.end().await;
    let closings = socket.notes.closings.lock().unwrap().clone();
    assert_eq!(closings.len(), 2, "one that was lost, and one at the stop");
    for (is_discarded, thread) in closings {
        assert!(is_discarded);
        assert_ne!(thread, thread::current().id());
    }
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_does_not_open_holds_up_neither_writes_nor_the_stop() {
    let socket = Socket { opens_after: Duration::from_secs(3600), ..Socket::default() };
    let mut rig = Rig::start(&socket, vec![("lamp", listener())]);
    let begun = Instant::now();
    let FromBus::Lost(reason) = rig.heard("lamp").await else { panic!("it is not open") };
    assert_eq!(reason, "the port /dev/x takes long to open; plug it out and in again");
    let ticket = rig.write("lamp", "ON\n", Duration::from_secs(60)).await;
    assert_eq!(ticket.wait().await, Err(WriteError::NotSent(reason)));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    rig.end().await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_is_written_while_the_port_opens_for_the_first_time_waits_for_it() {
    let socket = Socket { opens_after: Duration::from_millis(300), ..Socket::default() };
    let mut wire = socket.plug();
    let rig = Rig::start(&socket, vec![("lamp", listener())]);
    let ticket = rig.write("lamp", "?\n", LIFE).await;
    assert_eq!(ticket.wait().await, Ok(()));
    let mut buffer = [0; 16];
    assert_eq!(wire.read(&mut buffer).await.unwrap(), 2);
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
    assert_eq!(*rig.socket.notes.bauds.lock().unwrap(), [300]);
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
