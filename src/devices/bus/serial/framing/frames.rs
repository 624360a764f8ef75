//! Binary frames: `[sync word] [length] payload [checksum]`, of a fixed length or of one that they say.
//!
//! With a sync word or a checksum the next frame is found after garbage; with neither, a pause on the line begins
//! one. What the search costs is bounded: noise in which every byte may begin a long frame would else cost a
//! checksum over a whole frame for each byte.

use serde::Deserialize;

use super::{Checksum, Covers, Framing, Garbled, Order};

/// How many bytes may go into checksums that turn out wrong, for each byte that comes.
const EFFORT: usize = 64;
/// How much of it may be saved up: enough to look at every byte of a frame of 1024.
const MOST_EFFORT: usize = 1024 * 1024;

/// What the number in a length prefix counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counts {
    /// The payload alone.
    #[default]
    Payload,
    /// All that follows: payload and checksum.
    Rest,
    /// The whole frame, with the sync word and itself.
    Frame,
}

/// A length that the frame says, behind the sync word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// 1, 2 or 4.
    pub bytes: usize,
    /// Their order.
    pub order: Order,
    /// What they count.
    pub counts: Counts,
}

/// How long a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// As many bytes in all, with sync word and checksum.
    Fixed(usize),
    /// As it says.
    Prefixed(Prefix),
}

/// Cuts binary frames.
pub struct Frames {
    /// May be empty.
    pub sync: Vec<u8>,
    /// How long they are.
    pub length: Length,
    /// How they are checked.
    pub check: Option<(Checksum, Order, Covers)>,
    /// The longest that is believed, in bytes.
    pub longest: usize,
    buffer: Vec<u8>,
    /// How many bytes may yet go into wrong checksums.
    effort: usize,
}

enum Found {
    /// More bytes are needed.
    Nothing,
    /// The first so many bytes are none.
    Noise(usize, Option<Garbled>),
    Frame(usize),
    /// What would be a frame of so many bytes has a wrong checksum.
    Wrong(usize),
}

impl Frames {
    /// Frames of this shape.
    pub fn new(
        sync: Vec<u8>,
        length: Length,
        check: Option<(Checksum, Order, Covers)>,
        longest: usize,
    ) -> Self {
        Self { sync, length, check, longest, buffer: Vec::new(), effort: MOST_EFFORT }
    }

    fn check_length(&self) -> usize {
        self.check.map_or(0, |(checksum, ..)| checksum.length())
    }

    /// The length of the frame that begins with `bytes`; `None` when it cannot be known yet.
    fn whole(&self, bytes: &[u8]) -> Option<usize> {
        let prefix = match self.length {
            Length::Fixed(length) => return Some(length),
            Length::Prefixed(prefix) => prefix,
        };
        let head = self.sync.len() + prefix.bytes;
        let said = prefix.order.number(bytes.get(self.sync.len()..head)?);
        // Beyond the longest it is not believed anyhow.
        let said = usize::try_from(said).unwrap_or(usize::MAX);
        Some(match prefix.counts {
            Counts::Payload => said.saturating_add(head + self.check_length()),
            Counts::Rest => said.saturating_add(head),
            Counts::Frame => said,
        })
    }

    /// How much of a wrong frame is thrown away: its first byte, for the true one may begin within; all of it when
    /// the search has cost too much.
    fn length_to_skip(&mut self, whole: usize) -> usize {
        match self.effort.checked_sub(whole) {
            Some(left) => {
                self.effort = left;
                1
            }
            None => whole,
        }
    }

    fn find(&self) -> Found {
        let bytes = &self.buffer;
        if !self.sync.starts_with(&bytes[..bytes.len().min(self.sync.len())]) {
            let begins = |start: &usize| {
                let rest = &bytes[*start..];
                self.sync.starts_with(&rest[..rest.len().min(self.sync.len())])
            };
            return Found::Noise((1..bytes.len()).find(begins).unwrap_or(bytes.len()), None);
        }
        let Some(whole) = self.whole(bytes) else { return Found::Nothing };
        let least = match self.length {
            Length::Fixed(_) => 1,
            Length::Prefixed(prefix) => self.sync.len() + prefix.bytes + self.check_length(),
        };
        if whole > self.longest || whole < least {
            return Found::Noise(1, Some(Garbled(format!("a frame said that it has {whole} bytes"))));
        }
        let Some(frame) = bytes.get(..whole) else { return Found::Nothing };
        let Some((checksum, order, covers)) = self.check else { return Found::Frame(whole) };
        let (covered, said) = frame.split_at(whole - checksum.length());
        let from = if covers == Covers::AfterSync { self.sync.len() } else { 0 };
        if checksum.holds(&covered[from..], said, order) { Found::Frame(whole) } else { Found::Wrong(whole) }
    }
}

/// One word about one lump of noise.
fn note(frames: &mut Vec<Result<Vec<u8>, Garbled>>, garbled: Option<Garbled>) {
    if let Some(garbled) = garbled.filter(|_| !matches!(frames.last(), Some(Err(_)))) {
        frames.push(Err(garbled));
    }
}

impl Framing for Frames {
    fn push(&mut self, bytes: &[u8]) -> Vec<Result<Vec<u8>, Garbled>> {
        let mut frames: Vec<Result<Vec<u8>, Garbled>> = Vec::new();
        for chunk in bytes.chunks(self.longest.max(1)) {
            self.buffer.extend_from_slice(chunk);
            self.effort = (self.effort + EFFORT * chunk.len()).min(MOST_EFFORT);
            while !self.buffer.is_empty() {
                match self.find() {
                    Found::Nothing => break,
                    Found::Frame(length) => frames.push(Ok(self.buffer.drain(..length).collect())),
                    Found::Noise(length, garbled) => {
                        self.buffer.drain(..length);
                        note(&mut frames, garbled);
                    }
                    Found::Wrong(whole) => {
                        let length = self.length_to_skip(whole);
                        self.buffer.drain(..length);
                        note(&mut frames, Some(Garbled("a frame's checksum is wrong".to_owned())));
                    }
                }
            }
        }
        frames
    }

    fn clear(&mut self) {
        self.buffer.clear();
    }

    fn pause(&mut self) {
        if self.sync.is_empty() {
            self.buffer.clear();
        }
    }
}

#[cfg(test)]
impl Frames {
    /// How many bytes wait for more.
    pub(super) fn held(&self) -> usize {
        self.buffer.len()
    }
}
