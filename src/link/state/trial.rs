//! A second connection beside a good one: new credentials are tried on it, and a better place.
//!
//! Pure. The line stays as it is until the second connection has its CONNACK; then that one is the line, and what the
//! first had in flight is sent again on it. Our client id makes the cloud let go of the first one by itself. Invariants:
//! one trial at a time; a trial that fails changes nothing but the time of the next.

use std::time::Duration;

use tokio::time::Instant;

use super::{Effect, Machine, Phase, itinerary::Place};
use crate::{
    link::wire::{Greeting, Wire},
    model::{Fault, FaultKind},
    retry::{self, Backoff},
};

/// How long after a refusal the same credentials are tried again: they may be registered by then.
const RENEW_AGAIN: retry::Policy =
    retry::Policy::of_attempts(Duration::from_secs(60), Duration::from_secs(3600));
/// The longest time between two looks at a better place.
const LONGEST_CLIMB: Duration = Duration::from_secs(6 * 3600);

/// Why a trial is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::link) enum Purpose {
    /// Other credentials than the line's.
    Renew,
    /// A better place than the line's.
    Climb,
}

#[derive(Debug)]
pub(super) struct Trials {
    running: Option<(Purpose, Place)>,
    renew: Option<Instant>,
    climb: Option<Instant>,
    renewals: Backoff,
    climbs: Backoff,
    /// Why the last new credentials are not in use.
    pub(super) refusal: Option<Fault>,
}

impl Trials {
    pub(super) fn new(climb_after: Duration) -> Self {
        Self {
            running: None,
            renew: None,
            climb: None,
            renewals: Backoff::new(RENEW_AGAIN),
            climbs: Backoff::new(retry::Policy::of_attempts(climb_after, LONGEST_CLIMB.max(climb_after))),
            refusal: None,
        }
    }

    /// When the next one is due.
    pub(super) fn due(&self) -> Option<Instant> {
        let times = [self.renew, self.climb];
        times.into_iter().flatten().min().filter(|_| self.running.is_none())
    }
}

impl Machine {
    /// There are new credentials: they are tried beside the line, or are what the next attempt has.
    pub(super) fn on_fresh(&mut self, now: Instant) {
        self.trials.refusal = None;
        self.trials.renewals = Backoff::new(RENEW_AGAIN);
        match &mut self.phase {
            Phase::Up(_) => self.trials.renew = Some(now),
            // What kept the line down may be mended by them.
            Phase::Waiting { until, wait } => {
                *until = now;
                *wait = Duration::ZERO;
            }
            Phase::Dialling | Phase::Ended => {}
        }
    }

    /// New credentials that are in the files cannot be used at all.
    pub(super) fn on_stale(&mut self, fault: Fault) {
        self.trials.refusal = Some(fault);
    }

    /// The line is up, here: a better place is looked at later. A place that is lost soon after it was climbed to is
    /// climbed to less and less often.
    pub(super) fn plan_climb(&mut self, now: Instant) {
        let is_low = self.itinerary.better().is_some();
        self.trials.climb = is_low.then(|| now + self.trials.climbs.after_failure(Duration::ZERO, 1.0));
    }

    /// The line was up for so long, and is lost.
    pub(super) fn note_hold(&mut self, held: Duration) {
        if self.itinerary.better().is_none() && held >= self.settings.climb_after {
            self.trials.climbs.reset();
        }
    }

    /// The line is lost: a trial has nothing to be beside.
    pub(super) fn end_trial(&mut self) {
        if self.trials.running.take().is_some() {
            self.effects.push(Effect::EndTrial);
        }
        self.trials.renew = None;
        self.trials.climb = None;
    }

    pub(super) fn on_trial_tick(&mut self, now: Instant) {
        let Phase::Up(up) = &self.phase else { return };
        if up.drain.is_some() || self.trials.running.is_some() {
            return;
        }
        let is_due = |at: &Option<Instant>| at.is_some_and(|at| now >= at);
        let (purpose, place) = if is_due(&self.trials.renew) {
            self.trials.renew = None;
            (Purpose::Renew, self.itinerary.at())
        } else if is_due(&self.trials.climb) {
            self.trials.climb = None;
            let Some(better) = self.itinerary.better() else { return };
            (Purpose::Climb, better)
        } else {
            return;
        };
        self.trials.running = Some((purpose, place));
        self.effects.push(Effect::Try(self.choice.version(), place, purpose));
    }

    /// What the second connection says first.
    pub(super) fn on_trial(&mut self, wire: Wire, now: Instant) {
        let Some((purpose, place)) = self.trials.running else { return };
        match wire {
            Wire::Connected(greeting) => self.change_over(purpose, place, greeting, now),
            Wire::Broken(breakage) => {
                self.trials.running = None;
                self.effects.push(Effect::EndTrial);
                match purpose {
                    Purpose::Renew => {
                        self.trials.refusal = Some(breakage.fault);
                        let wait = self.trials.renewals.after_failure(Duration::ZERO, 1.0);
                        self.trials.renew = Some(now + wait);
                    }
                    Purpose::Climb => {
                        let wait = self.trials.climbs.after_failure(Duration::ZERO, 1.0);
                        self.trials.climb = Some(now + wait);
                    }
                }
            }
            // Nothing else comes before CONNACK.
            _ => {}
        }
    }

    fn change_over(&mut self, purpose: Purpose, place: Place, greeting: Greeting, now: Instant) {
        self.trials.running = None;
        if !matches!(&self.phase, Phase::Up(up) if up.drain.is_none()) {
            self.effects.push(Effect::EndTrial);
            return;
        }
        if purpose == Purpose::Renew {
            self.trials.refusal = None;
        }
        self.itinerary.go(place);
        self.effects.extend([Effect::Leave, Effect::ChangeOver]);
        self.on_connected(greeting, now);
    }

    /// The line broke while a second connection is being opened: a cloud that lets it in drops the first one, and says
    /// so there before it says yes here. Then the second one is what is being dialled. Says whether it is so.
    pub(super) fn falls_to_trial(&mut self, fault: &Fault) -> bool {
        if !matches!(&self.phase, Phase::Up(up) if up.drain.is_none()) {
            return false;
        }
        let Some((_, place)) = self.trials.running.take() else { return false };
        if !matches!(fault.kind, FaultKind::DuplicateClientId | FaultKind::Closed) {
            self.counters.failures += 1;
        }
        self.itinerary.go(place);
        self.effects.extend([Effect::HangUp, Effect::ChangeOver]);
        self.phase = Phase::Dialling;
        true
    }
}
