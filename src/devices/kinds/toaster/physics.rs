//! The toaster on the simulated bus: heat, time and a spring.
//!
//! Points written: `lever` (`down`, `up`), `browning` (1 to 6). Points said: `lever` (`up` at first,
//! `down`, `held` when pressed while toasting, `popped`, `lifted` early, `resting` when lifted in
//! vain), `browning`, `progress` in steps of a tenth.

use std::time::Duration;

use tokio::time::Instant;

use super::super::super::{Appliance, Frame};

/// The dial's level at which a toast takes the configured time.
const MIDDLE: u32 = 3;
/// In how many parts the progress is said.
const STEPS: u32 = 10;

/// How long a toast takes at a level of the dial.
pub(super) fn lasts(toasting_time: Duration, browning: u8) -> Duration {
    toasting_time * u32::from(browning) / MIDDLE
}

struct Toast {
    since: Instant,
    lasts: Duration,
    /// Steps said so far, below [`STEPS`].
    steps: u32,
}

impl Toast {
    fn next(&self) -> Instant {
        self.since + self.lasts * (self.steps + 1) / STEPS
    }
}

pub(super) struct ToasterOnTheBus {
    toasting_time: Duration,
    browning: u8,
    toast: Option<Toast>,
    runs: u64,
}

impl ToasterOnTheBus {
    pub(super) fn new(toasting_time: Duration, browning: u8) -> Self {
        Self { toasting_time, browning, toast: None, runs: 0 }
    }

    fn dial(&self) -> Frame {
        Frame::new("browning", self.browning.to_string())
    }

    fn press(&mut self, now: Instant) -> Frame {
        if self.toast.is_some() {
            return Frame::new("lever", "held");
        }
        let lasts = lasts(self.toasting_time, self.browning);
        self.toast = Some(Toast { since: now, lasts, steps: 0 });
        self.runs += 1;
        Frame::new("lever", "down")
    }
}

impl Appliance for ToasterOnTheBus {
    fn start(&mut self, _now: Instant) -> Vec<Frame> {
        self.toast = None;
        vec![Frame::new("lever", "up"), self.dial()]
    }

    fn next(&self) -> Option<Instant> {
        self.toast.as_ref().map(Toast::next)
    }

    fn tick(&mut self, now: Instant) -> Vec<Frame> {
        let Some(toast) = &mut self.toast else { return Vec::new() };
        while toast.steps < STEPS && toast.next() <= now {
            toast.steps += 1;
        }
        if toast.steps < STEPS {
            return vec![Frame::new("progress", (toast.steps * 100 / STEPS).to_string())];
        }
        self.toast = None;
        vec![Frame::new("lever", "popped")]
    }

    fn touch(&mut self, frame: &Frame, now: Instant) -> Result<Vec<Frame>, String> {
        match (frame.channel.as_ref(), frame.text().unwrap_or_default()) {
            ("lever", "down") => Ok(vec![self.press(now)]),
            ("lever", "up") => {
                let how = if self.toast.take().is_some() { "lifted" } else { "resting" };
                Ok(vec![Frame::new("lever", how)])
            }
            ("browning", level) => match level.parse() {
                Ok(level) if (1..=6).contains(&level) => {
                    self.browning = level;
                    Ok(vec![self.dial()])
                }
                _ => Err(format!("the dial has no level `{level}`")),
            },
            (point, _) => Err(format!("the toaster has no point `{point}` for this")),
        }
    }

    fn runs(&self) -> u64 {
        self.runs
    }
}
