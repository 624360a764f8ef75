//! One device's side of a port: pure, driven by the adapter that brings the bytes and the time.
//!
//! A [`Listener`] waits for what comes and cuts it by a [`Framing`]; whoever asks (Modbus, a meter in mode C)
//! brings a [`Talker`] of its own. Invariant: only one talker of a port is asking at a time.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    super::{super::device::Frame, WriteError},
    framing::Framing,
};

/// The channel of a frame that came whole.
pub const WHOLE: &str = "frame";
/// The channel of a sentence about what came garbled; the bytes themselves are gone.
pub const GARBLED: &str = "garbled";
/// The sentence of a frame about what came garbled; `None` for one that came whole.
pub fn garbled(frame: &Frame) -> Option<&str> {
    (&*frame.channel == GARBLED).then(|| frame.text().unwrap_or("it is garbled"))
}

/// Bytes that come sooner than this after the opening may be the end of something. So nothing is asked sooner: its
/// answer would be taken for that.
pub(super) const FRESH: Duration = Duration::from_millis(100);
/// A silence after which what comes is a beginning, for framings that need one.
const PAUSE: Duration = Duration::from_millis(100);

/// Something to send, and what is awaited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// The bytes.
    pub send: Bytes,
    /// The bits a second from before these bytes on.
    pub baud_before: Option<u32>,
    /// The bits a second from after these bytes on.
    pub baud_after: Option<u32>,
    /// How long an answer may take; `None`: there is none.
    pub answer_within: Option<Duration>,
}

/// What came of some bytes.
#[derive(Debug, Default)]
pub struct Heard {
    /// What the device is told.
    pub frames: Vec<Frame>,
    /// What to send next; the exchange goes on.
    pub next: Option<Step>,
    /// The answer is under way: the exchange ends after a silence as long as this.
    pub awaits: Option<Duration>,
    /// The exchange is over, and so it went.
    pub ended: Option<Result<(), WriteError>>,
}

/// One device's side of a port.
pub trait Talker: Send {
    /// The port was opened: whatever was half heard or asked is forgotten.
    fn begin(&mut self, now: Instant);

    /// Bytes came. Others on the port may have caused them.
    fn hear(&mut self, bytes: &[u8], now: Instant) -> Heard;

    /// When it wants to ask by itself; `None`: never.
    fn next(&self) -> Option<Instant> {
        None
    }

    /// That moment has come, and the port is free: what to send.
    fn ask(&mut self, now: Instant) -> Option<Step> {
        let _ = now;
        None
    }

    /// The device writes.
    ///
    /// # Errors
    /// Why it cannot be sent.
    fn tell(&mut self, frame: &Frame) -> Result<Step, String> {
        Ok(Step { send: frame.payload.clone(), ..Step::default() })
    }

    /// Nobody answered in time: the exchange is over.
    fn give_up(&mut self) -> Heard {
        Heard::default()
    }
}

/// Waits for frames and cuts them out of the bytes.
pub struct Listener {
    framing: Box<dyn Framing>,
    begun: Option<Instant>,
    last: Option<Instant>,
}

impl Listener {
    /// A listener that cuts by `framing`.
    pub fn new(framing: impl Framing + 'static) -> Self {
        Self { framing: Box::new(framing), begun: None, last: None }
    }
}

impl Talker for Listener {
    fn begin(&mut self, now: Instant) {
        self.framing.clear();
        (self.begun, self.last) = (Some(now), None);
    }

    fn hear(&mut self, bytes: &[u8], now: Instant) -> Heard {
        if self.begun.take().is_some_and(|begun| now.duration_since(begun) < FRESH) {
            self.framing.in_midst();
        }
        if self.last.is_some_and(|last| now.duration_since(last) >= PAUSE) {
            self.framing.pause();
        }
        self.last = Some(now);
        let frames = self.framing.push(bytes).into_iter().map(|piece| match piece {
            Ok(payload) => Frame::new(WHOLE, payload),
            Err(garbled) => Frame::new(GARBLED, garbled.0),
        });
        Heard { frames: frames.collect(), ..Heard::default() }
    }
}
