//! One output's times: how long it may be on, how long it must be off. Pure; the time is handed in.
//!
//! Invariants: an output that was ordered on twice is not on for longer; an output whose past is not known counts as
//! having gone off just now.

use std::time::{Duration, Instant};

use super::{Cause, OutputRules};
use crate::devices::options::Span;

/// What an output is, and until when.
#[derive(Debug)]
pub(super) struct Switch {
    pub(super) rules: OutputRules,
    /// What it was last driven to.
    pub(super) is_on: bool,
    /// When that began.
    since: Instant,
    /// When it goes off by itself, and why.
    off_at: Option<(Instant, Cause)>,
}

/// What is left, to the tenth of a second, never nothing.
pub(super) fn left(time: Duration) -> Span {
    let tenths = time.as_millis().div_ceil(100).max(1);
    Span(Duration::from_millis(100) * u32::try_from(tenths).unwrap_or(u32::MAX))
}

impl Switch {
    /// In its safe state from `now` on.
    pub(super) fn new(rules: OutputRules, now: Instant) -> Self {
        Self { is_on: rules.is_on_safe, rules, since: now, off_at: None }
    }

    /// Whether it may go on, being off.
    pub(super) fn may_go_on(&self, now: Instant) -> Result<(), String> {
        let Some(least) = self.rules.min_off else { return Ok(()) };
        match (self.since + least).checked_duration_since(now) {
            Some(time) if !time.is_zero() => Err(format!("min_off: {} left", left(time))),
            _ => Ok(()),
        }
    }

    /// It was driven.
    pub(super) fn went(&mut self, is_on: bool, now: Instant) {
        if self.is_on == is_on {
            return;
        }
        (self.is_on, self.since) = (is_on, now);
        let ends = [(self.rules.max_on, Cause::MaxOn), (self.rules.pulse, Cause::Pulse)];
        let ends = ends.into_iter().filter_map(|(time, cause)| Some((now + time?, cause)));
        self.off_at = ends.min_by_key(|(at, _)| *at).filter(|_| is_on);
    }

    /// When it goes off by itself.
    pub(super) fn next(&self) -> Option<Instant> {
        self.off_at.map(|(at, _)| at)
    }

    /// Why it must go off now; `None`: it need not.
    pub(super) fn due(&self, now: Instant) -> Option<Cause> {
        self.off_at.filter(|(at, _)| *at <= now).map(|(_, cause)| cause)
    }

    /// What is left of a pulse under way.
    pub(super) fn pulse_left(&self, now: Instant) -> Option<Span> {
        let (at, cause) = self.off_at?;
        (cause == Cause::Pulse).then(|| left(at.saturating_duration_since(now)))
    }
}
