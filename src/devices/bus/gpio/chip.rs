//! A GPIO chip as the keeper sees it: levels on numbered lines, and edges that come by themselves.
//!
//! Everything here is about levels, high or low; what is *on* (`active_low`) is known further up. Calls may block, so
//! they are made on the keeper's thread only.
//!
//! Debouncing is the kernel's (its ABI v2, Linux 5.10, which both backends need for edges anyway; where a chip cannot
//! do it, the kernel does it by a timer). Rejected: a second one of ours, which would see only what the first let by.

use std::time::Duration;

use serde::Deserialize;
use tokio::sync::mpsc;

use super::settings::LineName;

/// What a resistor in the chip does to a line that nothing drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pull {
    /// To high.
    Up,
    /// To low.
    Down,
    /// It floats.
    #[default]
    None,
}

/// The edges that are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edges {
    /// Every change.
    Both,
    /// From low to high.
    Rising,
    /// From high to low.
    Falling,
}

/// How an input is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputWiring {
    /// The resistor.
    pub pull: Pull,
    /// How long a level must hold to count.
    pub debounce: Option<Duration>,
    /// What is told.
    pub edges: Edges,
}

/// Why a chip did not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChipError {
    /// This line is not to be had: unknown, or somebody else's. Others may be well.
    #[error("{0}")]
    Line(String),
    /// It was begun, and nothing is decided yet: ask again in a moment, in the same words.
    #[error("it is not decided yet")]
    Pending,
    /// The chip is not there any more, or does not work.
    #[error("{0}")]
    Lost(String),
}

/// An edge, as the kernel saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// The level after it.
    pub is_high: bool,
    /// The kernel's monotonic time, in nanoseconds.
    pub at: u64,
    /// Its number among the edges of this line since the line was claimed, from 1. A gap: so many were dropped by the
    /// kernel, whose buffer was full.
    pub sequence: u32,
}

/// Where a line's edges go.
///
/// Bounded; full: its source waits. Then the kernel's buffer (1024 edges a line) fills, which drops its oldest: the newest
/// level is always told, and the numbering says how many are missing.
#[derive(Debug, Clone)]
pub struct EdgeSink {
    pub(super) post: usize,
    pub(super) claim: u64,
    pub(super) channel: mpsc::Sender<Heard>,
}

/// What a source of edges says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heard {
    /// The place of the device among the chip's.
    pub(super) post: usize,
    /// The claim that the source belongs to; an older one's words are late.
    pub(super) claim: u64,
    /// An edge, or why there will be none any more.
    pub(super) news: Result<Edge, String>,
}

impl EdgeSink {
    fn heard(&self, news: Result<Edge, String>) -> Heard {
        Heard { post: self.post, claim: self.claim, news }
    }

    /// Hands an edge on, when there is room. False: nobody listens any more.
    pub async fn hand(&self, news: Result<Edge, String>) -> bool {
        self.channel.send(self.heard(news)).await.is_ok()
    }

    /// Hands an edge on from a thread that must not be held up for ever: looks for room every few milliseconds until
    /// `is_over`. False: nobody listens any more.
    pub fn hand_blocking(&self, news: Result<Edge, String>, is_over: impl Fn() -> bool) -> bool {
        let mut heard = self.heard(news);
        while !is_over() {
            match self.channel.try_send(heard) {
                Ok(()) => return true,
                Err(mpsc::error::TrySendError::Closed(_)) => return false,
                Err(mpsc::error::TrySendError::Full(back)) => heard = back,
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

/// An open chip. Dropped, it lets go of its lines; outputs stay as they are if the hardware lets them.
pub trait Chip: Send {
    /// The number of a line.
    ///
    /// # Errors
    /// [`ChipError::Line`] when there is no such line.
    fn resolve(&self, line: &LineName) -> Result<u32, ChipError>;

    /// Claims a line as an output that has this level from its first moment on.
    ///
    /// # Errors
    /// [`ChipError::Line`] when it is somebody else's.
    fn claim_output(&mut self, line: u32, is_high: bool) -> Result<(), ChipError>;

    /// Claims a line as an input whose edges go to `sink`, from this moment on.
    ///
    /// # Errors
    /// [`ChipError::Line`] when it is somebody else's. [`ChipError::Pending`] while that cannot be said without a wait.
    fn claim_input(&mut self, line: u32, input: InputWiring, sink: EdgeSink) -> Result<(), ChipError>;

    /// Drives a claimed output. Ends a waveform on it.
    ///
    /// # Errors
    /// [`ChipError::Lost`].
    fn set(&mut self, line: u32, is_high: bool) -> Result<(), ChipError>;

    /// The level of a claimed line, read from the hardware.
    ///
    /// # Errors
    /// [`ChipError::Lost`].
    fn is_high(&mut self, line: u32) -> Result<bool, ChipError>;

    /// Drives a claimed output high for the first `high` of each `period`, until it is set or driven otherwise.
    ///
    /// # Errors
    /// [`ChipError::Lost`].
    fn wave(&mut self, line: u32, period: Duration, high: Duration) -> Result<(), ChipError>;
}

/// Opens a chip.
pub trait OpenChip: Send + Sync {
    /// Opens it. May block.
    ///
    /// # Errors
    /// Why not and what to do, as a sentence for people without a full stop.
    fn open(&self) -> Result<Box<dyn Chip>, String>;
}
