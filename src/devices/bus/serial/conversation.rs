//! An open port: who asks when, who is answered, and until when an answer is awaited.
//!
//! Owns the time of an exchange. Never looks into bytes; the talkers do. Invariants: one exchange at a time, and it lasts
//! until its last byte has left, so that nothing waits in the driver; a port that gives an error or an end is lost
//! at once; what was half heard is forgotten with it, so that two halves never make a whole.

use std::{io, time::Duration};

use futures_util::FutureExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    super::{FromBus, Ports, Write, WriteError},
    Line, PortSettings,
    talker::{FRESH, Heard, Step, Talker},
};
use crate::model::DeviceId;

/// How long the port may take bytes beyond their time on the wire; more, and it is stuck (flow control, a dead
/// driver).
const SEND_WITHIN: Duration = Duration::from_secs(2);
/// How many bytes a talker may put around what a device writes: an address, a checksum.
const ENVELOPE: usize = 4;
/// The least pause between two exchanges: Modbus asks for 3.5 characters, and for 1.75 ms at high speeds.
const PAUSE_CHARACTERS: usize = 4;
const LEAST_PAUSE: Duration = Duration::from_millis(2);

/// A device on the port.
pub(in crate::devices) struct Member {
    pub(in crate::devices) id: DeviceId,
    pub(in crate::devices) talker: Box<dyn Talker>,
}

/// What is under way on the port.
struct Exchange {
    member: usize,
    /// The device's write that caused it; a poll has none.
    write: Option<Write>,
    until: Instant,
    /// How long an answer is awaited after the last byte has left; `None`: it is over then.
    waits: Option<Duration>,
}

/// An open port and what is under way on it.
pub(super) struct Conversation<'a> {
    settings: &'a PortSettings,
    members: &'a mut Vec<Member>,
    line: Box<dyn Line>,
    /// The bits a second of this moment.
    baud: u32,
    exchange: Option<Exchange>,
    /// When the next exchange may begin.
    free_at: Instant,
}

enum Event {
    Stop,
    Late,
    Write(Write),
    Poll(usize),
    Read(io::Result<usize>),
    NoDevices,
}

impl<'a> Conversation<'a> {
    /// On a port that was just opened.
    pub(super) fn new(settings: &'a PortSettings, members: &'a mut Vec<Member>, line: Box<dyn Line>) -> Self {
        let free_at = Instant::now() + FRESH;
        Self { settings, members, line, baud: settings.baud, exchange: None, free_at }
    }

    /// The port, to be closed.
    pub(super) fn into_line(self) -> Box<dyn Line> {
        self.line
    }

    /// Until the stop (`None`), or until the port is lost, with the reason.
    pub(super) async fn run(&mut self, ports: &mut Ports, stop: &CancellationToken) -> Option<String> {
        let opened = Instant::now();
        for member in self.members.iter_mut() {
            member.talker.begin(opened);
        }
        let mut buffer = [0; 1024];
        let mut are_devices_gone = false;
        loop {
            let until = self.exchange.as_ref().map(|exchange| exchange.until);
            let is_free = until.is_none();
            let polls = self.members.iter().enumerate();
            let poll = polls.filter_map(|(index, member)| Some((member.talker.next()?, index))).min();
            let (free_at, now) = (self.free_at, Instant::now());
            let write = async {
                // The pause first: a write that was taken must not wait, or it could act after its deadline.
                sleep_until(free_at).await;
                ports.writes.next().await
            };
            // Cancel safe: timers, a read that has not begun, and `Writes::next`. The order: neither a chattering
            // device nor polling keeps a command from the port.
            let event = tokio::select! {
                biased;
                () = stop.cancelled() => Event::Stop,
                () = sleep_until(until.unwrap_or(now)), if !is_free => Event::Late,
                write = write, if is_free && !are_devices_gone => write.map_or(Event::NoDevices, Event::Write),
                () = sleep_until(poll.map_or(now, |(at, _)| at.max(free_at))), if is_free && poll.is_some() => {
                    Event::Poll(poll.map_or(0, |(_, index)| index))
                }
                read = self.line.read(&mut buffer) => Event::Read(read),
            };
            let result = match event {
                Event::Stop => return None,
                Event::NoDevices => {
                    are_devices_gone = true;
                    Ok(())
                }
                Event::Late => self.be_late(&mut buffer, ports).await,
                Event::Write(write) => self.write(write).await,
                Event::Poll(index) => match self.members[index].talker.ask(Instant::now()) {
                    Some(step) => self.send(index, None, step).await,
                    None => Ok(()),
                },
                Event::Read(Ok(0)) => Err("it gave its end".to_owned()),
                Event::Read(Ok(count)) => self.hear(&buffer[..count], ports).await,
                Event::Read(Err(error)) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
                Event::Read(Err(error)) => Err(error.to_string()),
            };
            if let Err(reason) = result {
                // A write under way answers by its drop: it may have been done.
                return Some(reason);
            }
        }
    }

    /// The time of the exchange is over.
    async fn be_late(&mut self, buffer: &mut [u8], ports: &Ports) -> Result<(), String> {
        if self.exchange.as_ref().is_some_and(|exchange| exchange.waits.is_none()) {
            let write = self.exchange.take().and_then(|exchange| exchange.write);
            self.free_at = self.after_a_pause();
            if let Some(write) = write {
                write.answer(Ok(()));
            }
            return Ok(());
        }
        // After a stall the answer may lie ready. Once: a device that chatters is late all the same.
        match self.line.read(buffer).now_or_never() {
            Some(Ok(count)) if count > 0 => self.hear(&buffer[..count], ports).await?,
            // An end or an error comes again, and is heard then.
            _ => {}
        }
        if self.exchange.as_ref().is_some_and(|exchange| exchange.until <= Instant::now()) {
            return self.give_up(ports).await;
        }
        Ok(())
    }

    async fn write(&mut self, write: Write) -> Result<(), String> {
        let Some(index) = self.members.iter().position(|member| member.id == write.device) else {
            write.answer(Err(WriteError::NotSent("it is not on this port".to_owned())));
            return Ok(());
        };
        // What would reach the device after its deadline must not even begin. Before the talker hears of it: it would
        // take the question for asked.
        if write.left() < self.settings.time_for(write.frame.payload.len() + ENVELOPE, self.baud) {
            write.answer(Err(WriteError::TooLate));
            return Ok(());
        }
        match self.members[index].talker.tell(&write.frame) {
            Ok(step) => self.send(index, Some(write), step).await,
            Err(problem) => {
                write.answer(Err(WriteError::NotSent(problem)));
                Ok(())
            }
        }
    }

    /// Sends a step of the talker `member`, for `write`. An error: the port is lost.
    async fn send(&mut self, member: usize, write: Option<Write>, step: Step) -> Result<(), String> {
        let sent = self.put(&step).await;
        if let Err(reason) = sent {
            if let Some(write) = write {
                write.answer(Err(WriteError::Uncertain(format!(
                    "the port was lost while it was sent: {reason}"
                ))));
            }
            return Err(reason);
        }
        // What has another speed behind it has left.
        let leaves = if step.baud_after.is_some() { Duration::ZERO } else { self.wire_time(&step) };
        let until = Instant::now() + leaves + step.answer_within.unwrap_or_default();
        self.exchange = Some(Exchange { member, write, until, waits: step.answer_within });
        Ok(())
    }

    /// How long the bytes of a step take to leave.
    fn wire_time(&self, step: &Step) -> Duration {
        self.settings.time_for(step.send.len(), step.baud_before.unwrap_or(self.baud))
    }

    fn after_a_pause(&self) -> Instant {
        Instant::now() + self.settings.time_for(PAUSE_CHARACTERS, self.baud).max(LEAST_PAUSE)
    }

    async fn put(&mut self, step: &Step) -> Result<(), String> {
        if let Some(baud) = step.baud_before {
            self.set_baud(baud)?;
        }
        // Never flushed: the driver would wait for the wire, on this thread.
        match timeout(SEND_WITHIN + self.wire_time(step), self.line.write_all(&step.send)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("it took no bytes".to_owned()),
        }
        if let Some(baud) = step.baud_after {
            // The driver has the bytes, the wire has not.
            sleep(self.settings.time_for(step.send.len() + 1, self.baud)).await;
            self.set_baud(baud)?;
        }
        Ok(())
    }

    fn set_baud(&mut self, baud: u32) -> Result<(), String> {
        if self.baud != baud {
            self.line.set_baud(baud).map_err(|error| format!("it refused {baud} bits a second: {error}"))?;
            self.baud = baud;
        }
        Ok(())
    }

    async fn hear(&mut self, bytes: &[u8], ports: &Ports) -> Result<(), String> {
        let now = Instant::now();
        for index in 0..self.members.len() {
            let heard = self.members[index].talker.hear(bytes, now);
            self.take(index, heard, ports).await?;
        }
        Ok(())
    }

    async fn give_up(&mut self, ports: &Ports) -> Result<(), String> {
        let Some(Exchange { member, write, waits, .. }) = self.exchange.take() else { return Ok(()) };
        // A late answer must not be taken for that of the next question.
        self.free_at = Instant::now() + waits.unwrap_or_default();
        if let Some(write) = write {
            write.answer(Err(WriteError::Uncertain("it was sent, and nobody answered".to_owned())));
        }
        let heard = self.members[member].talker.give_up();
        self.take(member, heard, ports).await
    }

    async fn take(&mut self, member: usize, heard: Heard, ports: &Ports) -> Result<(), String> {
        for frame in heard.frames {
            ports.devices.tell(&self.members[member].id, FromBus::Frame(frame)).await;
        }
        let Some(exchange) = self.exchange.as_mut().filter(|exchange| exchange.member == member) else {
            return Ok(());
        };
        if let Some(waits) = heard.awaits {
            (exchange.until, exchange.waits) = (Instant::now() + waits, Some(waits));
        }
        let write = match (&heard.ended, &heard.next) {
            (None, None) => return Ok(()),
            _ => self.exchange.take().and_then(|exchange| exchange.write),
        };
        if let Some(step) = heard.next {
            return self.send(member, write, step).await;
        }
        self.free_at = self.after_a_pause();
        if let (Some(write), Some(result)) = (write, heard.ended) {
            write.answer(result);
        }
        Ok(())
    }
}
