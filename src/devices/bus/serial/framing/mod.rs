//! Framing: where in a stream of bytes something begins and ends.
//!
//! Pure, bounded, and never at a loss: after garbage it finds the next beginning, and it never gives out what it
//! is not sure to have whole. Not `tokio_util`'s `Decoder`: that one cannot say "this was garbled" and go on (an
//! error ends its stream), and it knows no pauses.

mod checksum;
mod frames;
mod lines;

pub use checksum::{Checksum, Covers};
pub use frames::{Counts, Frames, Length, Prefix};
pub use lines::Lines;

/// Why some bytes were thrown away, as a sentence for people without a full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Garbled(pub String);

/// The order of the bytes of a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// The highest first.
    #[default]
    Big,
    /// The lowest first.
    Little,
}

impl Order {
    /// The number that up to eight bytes say.
    pub fn number(self, bytes: &[u8]) -> u64 {
        let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        match self {
            Order::Big => bytes.iter().fold(0, join),
            Order::Little => bytes.iter().rev().fold(0, join),
        }
    }
}

/// Cuts a stream of bytes.
pub trait Framing: Send {
    /// Takes bytes; gives what is whole with them, in order.
    fn push(&mut self, bytes: &[u8]) -> Vec<Result<Vec<u8>, Garbled>>;

    /// Forgets what is not whole.
    fn clear(&mut self);

    /// What comes next may be the end of something that began earlier.
    fn in_midst(&mut self) {}

    /// There was a silence: what comes next is a beginning.
    fn pause(&mut self) {}
}

#[cfg(test)]
mod tests;
