//! One client's bytes in both directions: what was read and not yet understood, what is to be written.
//!
//! Owns the stream and both buffers. Never knows what a packet means. Invariants: a client that does
//! not read is still read from (its acknowledgements must come in), until its output holds
//! [`READ_STOP`] bytes; an idle client has no buffer at all, since reading goes by way of the stack;
//! packets larger than one reading come in only as all of them together have room ([`Intake`]).

use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::sync::PollSemaphore;

use super::{
    packet::{Body, Frame, PacketError, frame},
    socket::Socket,
};

/// Read at a time, in bytes.
const READ: usize = 16 << 10;
/// With more output than this the client is not read from: 16,000 acknowledgements.
const READ_STOP: usize = 64 << 10;
/// Output is filled up to here, in bytes: enough for a system call to be worth its while.
pub(super) const FILL: usize = 32 << 10;
/// From this size on a payload is kept in the memory that it was read into; smaller ones are copied, so
/// that a few bytes do not hold a whole buffer.
const SHARE: usize = 16 << 10;

/// What happened on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Bytes came in; whether fewer than were asked for, so that there are no more for now.
    Read { is_all: bool },
    /// There is room in the output again.
    Wrote,
    /// The client closed its side.
    Closed,
}

/// The bytes of one packet.
#[derive(Debug)]
pub(super) enum Raw {
    /// At the front of the input; [`Wire::consume`] takes it away.
    InPlace { first: u8, header: usize, length: usize },
    /// In memory of its own.
    Shared { first: u8, bytes: Bytes },
}

/// The room for large packets that all connections share, and this one's part of it. Full: who wants
/// more waits, and its packets with it; small ones of others go on.
struct Intake {
    room: PollSemaphore,
    /// What a packet that is waited for takes, in bytes.
    wanted: u32,
    part: Option<(OwnedSemaphorePermit, Instant)>,
}

/// A stream with its buffers.
pub(super) struct Wire {
    stream: Socket,
    input: BytesMut,
    pub(super) output: BytesMut,
    needs_flush: bool,
    largest: usize,
    /// The length of the packet that is coming in, if it is larger than one reading, in bytes. Nothing
    /// behind it is read before it is whole: what keeps its payload keeps no more.
    awaited: usize,
    intake: Option<Intake>,
}

impl Wire {
    pub(super) fn new(stream: Socket, largest: usize) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            output: BytesMut::new(),
            needs_flush: false,
            largest,
            awaited: 0,
            intake: None,
        }
    }

    /// From now on packets may be as large as this, in bytes, and share this room when they are large.
    pub(super) fn admit(&mut self, largest: usize, room: Arc<Semaphore>) {
        self.largest = largest;
        self.intake = Some(Intake { room: PollSemaphore::new(room), wanted: 0, part: None });
    }

    /// When a large packet began to come in that is not whole yet.
    pub(super) fn since(&self) -> Option<Instant> {
        self.intake.as_ref()?.part.as_ref().map(|(_, since)| *since)
    }

    /// Whether a packet of the client waits for room: it is not read meanwhile.
    pub(super) fn waits_for_room(&self) -> bool {
        self.intake.as_ref().is_some_and(|intake| intake.wanted > 0)
    }

    /// The client is not read for a while: its packet's time does not run.
    pub(super) fn excuse(&mut self) {
        if let Some((_, since)) = self.intake.as_mut().and_then(|intake| intake.part.as_mut()) {
            *since = Instant::now();
        }
    }

    /// The next whole packet in the input.
    ///
    /// # Errors
    /// [`PacketError`] when the length is malformed or too large.
    pub(super) fn packet(&mut self) -> Result<Option<Raw>, PacketError> {
        match frame(&self.input, self.largest)? {
            Frame::Partial { needed } => {
                if needed > READ {
                    self.awaited = needed;
                    match &mut self.intake {
                        Some(intake) if intake.part.is_none() => {
                            intake.wanted = u32::try_from(needed).unwrap_or(u32::MAX);
                        }
                        _ => self.input.reserve(needed - self.input.len()),
                    }
                }
                if self.input.is_empty() {
                    self.input = BytesMut::new();
                }
                Ok(None)
            }
            Frame::Whole { first, header, length } if length >= SHARE => {
                self.awaited = 0;
                if let Some(intake) = &mut self.intake {
                    intake.part = None;
                }
                let bytes = self.input.split_to(header + length).freeze().slice(header..);
                Ok(Some(Raw::Shared { first, bytes }))
            }
            Frame::Whole { first, header, length } => Ok(Some(Raw::InPlace { first, header, length })),
        }
    }

    /// The packet's first byte and its body.
    pub(super) fn body<'a>(&'a self, raw: &'a Raw) -> (u8, Body<'a>) {
        match raw {
            Raw::InPlace { first, header, length } => {
                (*first, Body::from(&self.input[*header..header + length]))
            }
            Raw::Shared { first, bytes } => (*first, Body { bytes, shared: Some(bytes) }),
        }
    }

    /// Takes a packet off the input.
    pub(super) fn consume(&mut self, raw: &Raw) {
        if let Raw::InPlace { header, length, .. } = raw {
            self.input.advance(header + length);
        }
    }

    /// Reads and writes until something is worth telling. Cancel safe: what was read and written is in
    /// the buffers.
    ///
    /// # Errors
    /// The stream's.
    pub(super) async fn turn(&mut self, may_read: bool) -> io::Result<Turn> {
        poll_fn(|context| self.poll_turn(context, may_read)).await
    }

    /// Writes all that is in the output.
    ///
    /// # Errors
    /// The stream's.
    pub(super) async fn drain(&mut self) -> io::Result<()> {
        poll_fn(|context| {
            self.poll_write(context)?;
            if self.output.is_empty() && !self.needs_flush { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    }

    /// Says goodbye to the stream below: TLS close_notify, WebSocket close, FIN.
    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        poll_fn(|context| Pin::new(&mut self.stream).poll_shutdown(context)).await
    }

    /// Throws away what still comes, until the client closes its side too. Closing with bytes unread resets
    /// the connection, and with that the last packet may never be read.
    ///
    /// # Errors
    /// The stream's.
    pub(super) async fn discard(&mut self) -> io::Result<()> {
        poll_fn(|context| {
            loop {
                let mut stack = [MaybeUninit::<u8>::uninit(); 1 << 10];
                let mut buffer = ReadBuf::uninit(&mut stack);
                std::task::ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
                if buffer.filled().is_empty() {
                    return Poll::Ready(Ok(()));
                }
            }
        })
        .await
    }

    fn poll_turn(&mut self, context: &mut Context<'_>, may_read: bool) -> Poll<io::Result<Turn>> {
        let was_full = self.output.len() >= FILL;
        self.poll_write(context)?;
        if may_read && self.output.len() < READ_STOP && self.poll_intake(context) {
            match self.poll_read(context)? {
                Poll::Ready(0) => return Poll::Ready(Ok(Turn::Closed)),
                Poll::Ready(count) => return Poll::Ready(Ok(Turn::Read { is_all: count < READ })),
                Poll::Pending => {}
            }
        }
        if was_full && self.output.len() < FILL {
            return Poll::Ready(Ok(Turn::Wrote));
        }
        Poll::Pending
    }

    /// Whether there is room for the packet that is coming in.
    fn poll_intake(&mut self, context: &mut Context<'_>) -> bool {
        let Some(intake) = self.intake.as_mut().filter(|intake| intake.wanted > 0) else { return true };
        // The semaphore is never closed.
        let Poll::Ready(part) = intake.room.poll_acquire_many(context, intake.wanted) else { return false };
        intake.part = part.map(|part| (part, Instant::now()));
        let needed = std::mem::take(&mut intake.wanted) as usize;
        self.input.reserve(needed.saturating_sub(self.input.len()));
        true
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        while !self.output.is_empty() {
            match Pin::new(&mut self.stream).poll_write(context, &self.output)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => {
                    self.output.advance(count);
                    self.needs_flush = true;
                }
                Poll::Pending => return Ok(()),
            }
        }
        if self.needs_flush && Pin::new(&mut self.stream).poll_flush(context)?.is_ready() {
            self.needs_flush = false;
            self.output = BytesMut::new();
        }
        Ok(())
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> io::Result<Poll<usize>> {
        let stream = Pin::new(&mut self.stream);
        let missing = self.awaited.saturating_sub(self.input.len());
        if missing > 0 && self.input.capacity() - self.input.len() >= missing {
            // The rest of a large packet, straight to where it stays.
            let mut rest = (&mut self.input).limit(missing);
            return match tokio_util::io::poll_read_buf(stream, context, &mut rest) {
                Poll::Ready(count) => Ok(Poll::Ready(count?)),
                Poll::Pending => Ok(Poll::Pending),
            };
        }
        let mut stack = [MaybeUninit::<u8>::uninit(); READ];
        let mut buffer = ReadBuf::uninit(&mut stack);
        if stream.poll_read(context, &mut buffer)?.is_pending() {
            return Ok(Poll::Pending);
        }
        self.input.extend_from_slice(buffer.filled());
        Ok(Poll::Ready(buffer.filled().len()))
    }
}
