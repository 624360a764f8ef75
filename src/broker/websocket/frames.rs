//! The byte stream within a WebSocket's binary frames (RFC 6455). MQTT packets and frames need not coincide
//! (MQTT 5 section 6), so no frame is ever collected: payload is unmasked where it was read to, and a frame
//! of any length costs nothing.
//!
//! Owns the place in both directions. Invariants: at most a header and one control frame are held each way;
//! a frame that has begun going out is finished before a control frame; nothing goes out after CLOSE.

use std::{
    io::{self, Cursor, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use async_tungstenite::tungstenite::protocol::frame::{
    FrameHeader,
    coding::{CloseCode, Control, Data, OpCode},
};
use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The longest payload of a control frame, in bytes (section 5.5).
const LONGEST_CONTROL: u64 = 125;
/// The longest header, in bytes (section 5.2).
const LONGEST_HEADER: usize = 14;

/// The stream.
#[derive(Debug)]
pub(super) struct Frames<S> {
    stream: S,
    input: Input,
    output: Output,
}

/// Where we are in what comes in.
#[derive(Debug, Default)]
struct Input {
    /// A header that has not come whole.
    head: Vec<u8>,
    /// The frame that is coming in: what it is, and how many bytes of payload are still to come.
    kind: Kind,
    left: u64,
    mask: [u8; 4],
    /// The payload of a control frame so far.
    control: Vec<u8>,
    /// Whether a message of several frames has begun.
    is_fragmented: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Data,
    Ping,
    Pong,
    Close,
}

/// Where we are in what goes out.
#[derive(Debug, Default)]
struct Output {
    /// A header, or a whole control frame, as far as it has not gone out.
    head: BytesMut,
    /// How many bytes are still to come of the frame that has begun.
    left: usize,
    /// The last PING's payload, which is still to be answered.
    pong: Option<Vec<u8>>,
    /// CLOSE is still to be sent.
    close: Option<CloseCode>,
    is_closed: bool,
}

/// A frame that breaks the protocol, and what CLOSE says about it.
#[derive(Debug, PartialEq, Eq)]
struct Violation(CloseCode);

/// What came between data.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    Ping(Vec<u8>),
    Close,
}

impl Input {
    /// Unmasks the payload in `raw` and moves it to the front; gives its length.
    fn strip(&mut self, raw: &mut [u8], mut tell: impl FnMut(Event)) -> Result<usize, Violation> {
        let (mut from, mut to) = (0, 0);
        while from < raw.len() {
            if self.left == 0 {
                let known = self.head.len();
                let end = raw.len().min(from + LONGEST_HEADER - known);
                self.head.extend_from_slice(&raw[from..end]);
                let mut cursor = Cursor::new(&self.head);
                let parsed = FrameHeader::parse(&mut cursor).map_err(|_| Violation(CloseCode::Protocol))?;
                let Some((header, length)) = parsed else {
                    from = end;
                    continue;
                };
                from += usize::try_from(cursor.position()).unwrap_or_default() - known;
                self.head.clear();
                self.begin(&header, length)?;
            }
            let count =
                usize::try_from(self.left).map_or(raw.len() - from, |left| left.min(raw.len() - from));
            let is_data = self.kind == Kind::Data;
            if !is_data {
                self.control.extend_from_slice(&raw[from..from + count]);
            }
            for index in 0..count {
                let byte = raw[from + index] ^ self.mask[index % 4];
                if is_data {
                    raw[to + index] = byte;
                } else {
                    let place = self.control.len() - count + index;
                    self.control[place] = byte;
                }
            }
            self.mask.rotate_left(count % 4);
            self.left -= count as u64;
            from += count;
            to += if is_data { count } else { 0 };
            if self.left == 0 {
                match std::mem::take(&mut self.kind) {
                    Kind::Ping => tell(Event::Ping(std::mem::take(&mut self.control))),
                    Kind::Pong => self.control.clear(),
                    Kind::Close => {
                        tell(Event::Close);
                        return Ok(to);
                    }
                    Kind::Data => {}
                }
            }
        }
        Ok(to)
    }

    fn begin(&mut self, header: &FrameHeader, length: u64) -> Result<(), Violation> {
        let protocol = Err(Violation(CloseCode::Protocol));
        let Some(mask) = header.mask else { return protocol };
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return protocol;
        }
        self.kind = match header.opcode {
            OpCode::Data(Data::Text) => return Err(Violation(CloseCode::Unsupported)),
            OpCode::Data(Data::Binary) if !self.is_fragmented => Kind::Data,
            OpCode::Data(Data::Continue) if self.is_fragmented => Kind::Data,
            OpCode::Control(_) if !header.is_final || length > LONGEST_CONTROL => return protocol,
            OpCode::Control(Control::Ping) => Kind::Ping,
            OpCode::Control(Control::Pong) => Kind::Pong,
            OpCode::Control(Control::Close) => Kind::Close,
            OpCode::Data(_) | OpCode::Control(_) => return protocol,
        };
        if self.kind == Kind::Data {
            self.is_fragmented = !header.is_final;
        }
        (self.mask, self.left) = (mask, length);
        Ok(())
    }
}

impl Output {
    /// Begins a frame.
    fn begin(&mut self, opcode: OpCode, length: usize) {
        let header = FrameHeader { opcode, ..FrameHeader::default() };
        // Memory takes everything.
        let _ = header.format(length as u64, &mut (&mut self.head).writer());
    }

    /// Puts a control frame that is due into `head`, which is empty; whether there was one.
    fn begin_control(&mut self) -> bool {
        if self.is_closed {
            return false;
        }
        if let Some(code) = self.close.take() {
            self.begin(OpCode::Control(Control::Close), 2);
            self.head.put_u16(code.into());
            self.is_closed = true;
        } else if let Some(payload) = self.pong.take() {
            self.begin(OpCode::Control(Control::Pong), payload.len());
            self.head.extend_from_slice(&payload);
        } else {
            return false;
        }
        true
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Frames<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, input: Input::default(), output: Output::default() }
    }

    /// Sends what is due beside data, if no frame is on its way.
    fn poll_control(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.output.left == 0 && (!self.output.head.is_empty() || self.output.begin_control()) {
            let count = ready!(Pin::new(&mut self.stream).poll_write(context, &self.output.head))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.head.advance(count);
            if self.output.head.is_empty() {
                self.output.head = BytesMut::new();
                ready!(Pin::new(&mut self.stream).poll_flush(context))?;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Frames<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            // An answer that does not go out now does with what is written next.
            let _ = this.poll_control(context)?;
            if this.output.is_closed || this.output.close.is_some() || buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
            if buffer.filled().len() == before {
                return Poll::Ready(Ok(()));
            }
            let output = &mut this.output;
            let stripped = this.input.strip(&mut buffer.filled_mut()[before..], |event| match event {
                Event::Ping(payload) => output.pong = Some(payload),
                Event::Close => output.close = Some(CloseCode::Normal),
            });
            let kept = stripped.as_ref().copied().unwrap_or_default();
            buffer.set_filled(before + kept);
            if let Err(Violation(code)) = stripped {
                this.output.close = Some(code);
                let _ = this.poll_control(context)?;
                let words = "a WebSocket frame that breaks the protocol (RFC 6455 section 5)";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, words)));
            }
            if kept > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Frames<S> {
    /// Whoever has begun goes on with the same bytes.
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if this.output.left == 0 {
            ready!(this.poll_control(context))?;
            if this.output.is_closed {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            this.output.begin(OpCode::Data(Data::Binary), bytes.len());
            this.output.left = bytes.len();
        }
        let payload = &bytes[..bytes.len().min(this.output.left)];
        loop {
            let both = [IoSlice::new(&this.output.head), IoSlice::new(payload)];
            let written = ready!(Pin::new(&mut this.stream).poll_write_vectored(context, &both))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_head = written.min(this.output.head.len());
            this.output.head.advance(of_head);
            if this.output.head.is_empty() {
                this.output.head = BytesMut::new();
            }
            let count = written - of_head;
            if count > 0 {
                this.output.left -= count;
                return Poll::Ready(Ok(count));
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_control(context))?;
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.output.is_closed {
            this.output.close.get_or_insert(CloseCode::Normal);
        }
        ready!(this.poll_control(context))?;
        Pin::new(&mut this.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const MASK: [u8; 4] = [1, 2, 3, 250];

    /// A client's frame; `first` is FIN, the reserved bits and the opcode.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload.len() {
            length @ ..126 => bytes.push(0x80 | length as u8),
            length => {
                bytes.push(0xFE);
                bytes.extend((length as u16).to_be_bytes());
            }
        }
        bytes.extend(MASK);
        bytes.extend(payload.iter().enumerate().map(|(index, byte)| byte ^ MASK[index % 4]));
        bytes
    }

    fn pair() -> (DuplexStream, Frames<DuplexStream>) {
        let (theirs, ours) = duplex(1 << 20);
        (theirs, Frames::new(ours))
    }

    #[tokio::test]
    async fn payload_comes_whole_however_it_is_cut() {
        let text: Vec<u8> = (0..1_000_u32).map(|number| (number * 7) as u8).collect();
        // Alone, in fragments with a PING and a PONG between, with nothing in it, and with a long header.
        let stream = [
            frame(0x82, &text[..5]),
            frame(0x02, &text[5..6]),
            frame(0x89, b"ping"),
            frame(0x00, &text[6..300]),
            frame(0x8A, b"nobody asked"),
            frame(0x80, &[]),
            frame(0x82, &text[300..]),
        ]
        .concat();
        for chunk in 1..40 {
            let (mut theirs, mut ours) = pair();
            let bytes = stream.clone();
            let sender = tokio::spawn(async move {
                for part in bytes.chunks(chunk) {
                    theirs.write_all(part).await.unwrap();
                    tokio::task::yield_now().await;
                }
                theirs
            });
            let mut got = vec![0; text.len()];
            ours.read_exact(&mut got).await.unwrap();
            assert_eq!(got, text, "in chunks of {chunk}");
            ours.flush().await.unwrap();
            let mut pong = [0; 6];
            sender.await.unwrap().read_exact(&mut pong).await.unwrap();
            assert_eq!(&pong, b"\x8A\x04ping");
        }
    }

    #[tokio::test]
    async fn what_is_written_is_in_frames_without_a_mask_and_pongs_stand_between_them() {
        let (mut theirs, mut ours) = pair();
        for (length, header) in [(5, vec![0x82, 5]), (300, vec![0x82, 126, 1, 44])] {
            ours.write_all(&vec![7; length]).await.unwrap();
            let mut got = vec![0; header.len() + length];
            theirs.read_exact(&mut got).await.unwrap();
            assert_eq!(got, [header, vec![7; length]].concat());
        }
        // A stream that takes a byte at a time, and a PING in the middle of a frame.
        let (mut theirs, small) = duplex(1);
        let mut ours = Frames::new(small);
        let reader = tokio::spawn(async move {
            let mut got = [0; 2 + 4 + 2 + 1];
            theirs.read_exact(&mut got).await.unwrap();
            got
        });
        let mut begun = 0;
        std::future::poll_fn(|context| {
            Pin::new(&mut ours).poll_write(context, b"data").map_ok(|count| begun = count)
        })
        .await
        .unwrap();
        ours.output.pong = Some(vec![9]);
        ours.write_all(&b"data"[begun..]).await.unwrap();
        ours.flush().await.unwrap();
        assert_eq!(&reader.await.unwrap(), b"\x82\x04data\x8A\x01\x09");
    }

    #[tokio::test]
    async fn a_close_is_answered_and_is_the_end() {
        let (mut theirs, mut ours) = pair();
        theirs
            .write_all(&[frame(0x82, b"last"), frame(0x88, &[3, 0xE9]), frame(0x82, b"late")].concat())
            .await
            .unwrap();
        let mut got = Vec::new();
        ours.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"last");
        assert!(ours.write_all(b"x").await.is_err());
        ours.shutdown().await.unwrap();
        let mut answer = Vec::new();
        theirs.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, [0x88, 2, 3, 0xE8]);
    }

    #[tokio::test]
    async fn what_breaks_the_protocol_is_told_and_ends_it() {
        let protocol = [0x88, 2, 3, 0xEA];
        for (what, bytes, answer) in [
            ("text", frame(0x81, b"x"), [0x88, 2, 3, 0xEB]),
            ("no mask", vec![0x82, 1, 7], protocol),
            ("reserved bits", frame(0xC2, b"x"), protocol),
            ("a reserved opcode", frame(0x83, b"x"), protocol),
            ("a continuation of nothing", frame(0x80, b"x"), protocol),
            ("a message within another", [frame(0x02, b"x"), frame(0x82, b"x")].concat(), protocol),
            ("a long PING", frame(0x89, &[7; 126]), protocol),
            ("a PING in fragments", frame(0x09, b"x"), protocol),
        ] {
            let (mut theirs, mut ours) = pair();
            theirs.write_all(&bytes).await.unwrap();
            let mut got = Vec::new();
            assert!(ours.read_to_end(&mut got).await.is_err(), "{what}");
            drop(ours);
            let mut told = Vec::new();
            theirs.read_to_end(&mut told).await.unwrap();
            assert_eq!(told, answer, "{what}");
        }
    }

    #[tokio::test]
    async fn a_frame_of_any_length_and_pings_without_end_are_not_held() {
        let (mut theirs, mut ours) = pair();
        theirs.write_all(&[0x82, 0xFF, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]).await.unwrap();
        assert_eq!(ours.read_u8().await.unwrap(), 5);
        let (mut theirs, mut ours) = pair();
        for _ in 0..1_000 {
            theirs.write_all(&frame(0x89, &[7; 125])).await.unwrap();
        }
        theirs.write_all(&frame(0x82, b"x")).await.unwrap();
        assert_eq!(ours.read_u8().await.unwrap(), b'x');
        assert!(ours.output.head.len() <= 127 && ours.input.control.len() <= 125);
    }
}
