//! An open connection on which MQTT is spoken: what the gateway says becomes bytes, and what comes becomes events.
//!
//! Owns the stream, both buffers, packet ids and the ping; never decides what is said. Packets are rumqttc's, its event
//! loop is not used: that one writes and flushes each packet by itself, takes no stream, forgets what was in flight
//! and wedges at a packet id that is never answered. Invariants: everything said before the stream is next free goes out
//! together; what is not encoded yet waits as it was told, so that a large payload lies in memory once; a packet id
//! comes round after 65,535 others, and the window sees to it that it is answered by then; what was read together with
//! the end still counts. Rejected: the event loop behind a Unix socket, as it was until issue 9 (a third of the
//! messages a second, and two copies more).

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, Sleep, sleep, timeout},
};
use tokio_util::io::poll_read_buf;

use super::{
    LinkOptions,
    access::Grant,
    dial::Stream,
    wire::{self, Command, Greeting, LineError, Version, Wire},
};

/// How much is encoded before it is written: a WebSocket frame, four records of TLS.
const CHUNK: usize = 64 << 10;
/// How much is read at a time, in bytes: some two thousand acknowledgements.
const READ: usize = 8 << 10;
/// How long a broken line may still say why: TLS alerts come behind the failed write.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// A connection that the cloud has let in.
pub(super) struct Line {
    stream: Box<dyn Stream>,
    version: Version,
    inbox: BytesMut,
    outbox: BytesMut,
    is_flushed: bool,
    /// DISCONNECT lies in the outbox.
    is_leaving: bool,
    last_packet: u16,
    keep_alive: Duration,
    ping: Pin<Box<Sleep>>,
    /// A write has failed: with this, and it is read on until then.
    failed: Option<(io::Error, Pin<Box<Sleep>>)>,
    /// What is told once all events before it are.
    end: Option<LineError>,
}

impl Line {
    /// Says CONNECT and waits for CONNACK, however long that takes.
    ///
    /// # Errors
    /// [`LineError`].
    pub(super) async fn open(
        mut stream: Box<dyn Stream>,
        version: Version,
        options: &LinkOptions,
        grant: &Grant,
    ) -> Result<(Self, Greeting), LineError> {
        let mut outbox = BytesMut::new();
        wire::connect(version, options, grant, &mut outbox)?;
        let mut inbox = BytesMut::with_capacity(READ);
        let said = async {
            stream.write_all(&outbox).await?;
            stream.flush().await
        };
        let greeting = match said.await {
            Ok(()) => greeting(&mut stream, version, &mut inbox).await?,
            Err(error) => match timeout(LAST_WORDS, greeting(&mut stream, version, &mut inbox)).await {
                Ok(Err(LineError::Ended(None))) | Err(_) => return Err(LineError::Ended(Some(error))),
                Ok(answer) => answer?,
            },
        };
        outbox.clear();
        // A cloud that wants no keep-alive has ours: it is by this that the line is known to be there.
        let keep_alive = greeting.keep_alive.filter(|wish| !wish.is_zero()).unwrap_or(options.keep_alive);
        let line = Self {
            stream,
            version,
            inbox,
            outbox,
            is_flushed: true,
            is_leaving: false,
            last_packet: 0,
            keep_alive,
            ping: Box::pin(sleep(keep_alive)),
            failed: None,
            end: None,
        };
        Ok((line, greeting))
    }

    /// Writes what was told and reads what is there; ready when there are events, of which there then is at least one.
    /// Holds everything that it has taken: may be dropped and polled again.
    ///
    /// # Errors
    /// [`LineError`], once and for ever, when all events before it were given out.
    pub(super) fn poll_events(
        &mut self,
        commands: &mut VecDeque<Command>,
        events: &mut VecDeque<Wire>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), LineError>> {
        if let Some(end) = self.end.take() {
            return Poll::Ready(Err(end));
        }
        if self.failed.is_none() {
            while self.ping.as_mut().poll(context).is_ready() {
                commands.push_back(Command::Ping);
                self.ping.as_mut().reset(Instant::now() + self.keep_alive);
            }
            match self.poll_out(commands, events, context) {
                Ok(()) => {}
                Err(LineError::Ended(Some(error))) => {
                    self.failed = Some((error, Box::pin(sleep(LAST_WORDS))));
                }
                Err(error) => self.end = Some(error),
            }
        }
        if let Poll::Ready(Err(error)) = self.poll_in(events, context) {
            self.end = Some(match (error, self.failed.take()) {
                (LineError::Ended(None), Some((failed, _))) => LineError::Ended(Some(failed)),
                (error, _) => error,
            });
        } else if let Some((_, until)) = &mut self.failed
            && until.as_mut().poll(context).is_ready()
        {
            self.end = self.failed.take().map(|(error, _)| LineError::Ended(Some(error)));
        }
        if !events.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.end.take().map_or(Poll::Pending, |end| Poll::Ready(Err(end)))
    }

    fn poll_out(
        &mut self,
        commands: &mut VecDeque<Command>,
        events: &mut VecDeque<Wire>,
        context: &mut Context<'_>,
    ) -> Result<(), LineError> {
        loop {
            while self.outbox.len() < CHUNK
                && let Some(command) = commands.pop_front()
            {
                self.say(&command, events)?;
            }
            if !self.outbox.is_empty() {
                match Pin::new(&mut self.stream).poll_write(context, &self.outbox) {
                    Poll::Ready(Ok(0)) => {
                        return Err(LineError::Ended(Some(io::ErrorKind::WriteZero.into())));
                    }
                    Poll::Ready(Ok(written)) => self.outbox.advance(written),
                    Poll::Ready(Err(error)) => return Err(LineError::Ended(Some(error))),
                    Poll::Pending => return Ok(()),
                }
            } else if !self.is_flushed {
                match Pin::new(&mut self.stream).poll_flush(context) {
                    Poll::Ready(Ok(())) => self.is_flushed = true,
                    Poll::Ready(Err(error)) => return Err(LineError::Ended(Some(error))),
                    Poll::Pending => return Ok(()),
                }
            } else {
                if std::mem::take(&mut self.is_leaving) {
                    events.push_back(Wire::DisconnectSent);
                }
                return Ok(());
            }
        }
    }

    fn say(&mut self, command: &Command, events: &mut VecDeque<Wire>) -> Result<(), LineError> {
        let packet = match command {
            Command::Publish(..) | Command::Subscribe(_) => self.next_packet(),
            Command::Acknowledge(_) | Command::Ping | Command::Disconnect => 0,
        };
        wire::encode(self.version, command, packet, &mut self.outbox)?;
        self.is_flushed = false;
        match command {
            Command::Publish(..) => events.push_back(Wire::PublishSent(packet)),
            Command::Ping => events.push_back(Wire::PingSent),
            Command::Disconnect => self.is_leaving = true,
            Command::Subscribe(_) | Command::Acknowledge(_) => {}
        }
        Ok(())
    }

    /// 1 to 65,535, and round again.
    fn next_packet(&mut self) -> u16 {
        self.last_packet = self.last_packet.checked_add(1).unwrap_or(1);
        self.last_packet
    }

    fn poll_in(
        &mut self,
        events: &mut VecDeque<Wire>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), LineError>> {
        loop {
            while let Some(wire) = wire::decode(self.version, &mut self.inbox)? {
                events.push_back(match wire {
                    Wire::Connected(_) => return Poll::Ready(Err(LineError::garbled("a second CONNACK"))),
                    wire => wire,
                });
            }
            if !events.is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.inbox.reserve(READ);
            let read = ready!(poll_read_buf(Pin::new(&mut self.stream), context, &mut self.inbox));
            if read.map_err(|error| LineError::Ended(Some(error)))? == 0 {
                return Poll::Ready(Err(LineError::Ended(None)));
            }
        }
    }

    /// Writes what is left and closes the stream, in the words of WebSocket and TLS.
    pub(super) async fn close(mut self) {
        if self.stream.write_all(&self.outbox).await.is_ok() {
            let _ = self.stream.shutdown().await;
        }
    }
}

/// What the cloud answers to CONNECT.
async fn greeting(
    stream: &mut Box<dyn Stream>,
    version: Version,
    inbox: &mut BytesMut,
) -> Result<Greeting, LineError> {
    loop {
        match wire::decode(version, inbox)? {
            Some(Wire::Connected(greeting)) => return Ok(greeting),
            Some(_) => return Err(LineError::garbled("something else than CONNACK")),
            None => {}
        }
        match stream.read_buf(inbox).await {
            Ok(0) => return Err(LineError::Ended(None)),
            Ok(_) => {}
            Err(error) => return Err(LineError::Ended(Some(error))),
        }
    }
}
#[cfg(test)]
mod tests;
