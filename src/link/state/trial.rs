//! A second connection beside a good one: new credentials are tried on it, and a better place.
//!
//! Pure. The line stays as it is until the second connection has its CONNACK; then that one is the line, and what the
//! first had in flight is sent again on it. Our client id makes the cloud let go of the first one by itself. Invariants:
//! one trial at a time; a trial that fails changes nothing but the time of the next;
//! credentials are adopted only when a line with them is up, and until then they and the old ones take turns.

use std::time::Duration;

use tokio::time::Instant;

use super::{Effect, Machine, ONLY_QOS_0, Phase, itinerary::Place};
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
    /// What the line said to be let in runs out and is said anew.
    Refresh,
    /// A better place than the line's.
    Climb,
}

/// Which credentials a connection has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::link) enum Which {
    /// Those with which the line was up last, or which there were at the start.
    Proven,
    /// The set of this number, which lies in the files since.
    Fresh(u64),
}

#[derive(Debug)]
pub(super) struct Trials {
    running: Option<(Purpose, Place, Which)>,
    /// The set that was not adopted yet.
    fresh: Option<u64>,
    /// Which is dialled with next.
    prefers_fresh: bool,
    /// What the line, or the attempt, has.
    using: Which,
    renew: Option<Instant>,
    refresh: Option<Instant>,
    climb: Option<Instant>,
    /// How many better places were tried in vain.
    climb_turn: usize,
    renewals: Backoff,
    refreshes: Backoff,
    climbs: Backoff,
    /// Why the last new credentials are not in use.
    pub(super) refusal: Option<Fault>,
}

impl Trials {
    pub(super) fn new(climb_after: Duration) -> Self {
        Self {
            running: None,
            fresh: None,
            prefers_fresh: false,
            using: Which::Proven,
            renew: None,
            refresh: None,
            climb: None,
            climb_turn: 0,
            renewals: Backoff::new(RENEW_AGAIN),
            refreshes: Backoff::new(RENEW_AGAIN),
            climbs: Backoff::new(retry::Policy::of_attempts(climb_after, LONGEST_CLIMB.max(climb_after))),
            refusal: None,
        }
    }

    /// When the next one is due.
    pub(super) fn due(&self) -> Option<Instant> {
        let times = [self.renew, self.refresh, self.climb];
        times.into_iter().flatten().min().filter(|_| self.running.is_none())
    }

    /// With what the next attempt is made.
    pub(super) fn dials_with(&mut self) -> Which {
        self.using = self.fresh.filter(|_| self.prefers_fresh).map_or(Which::Proven, Which::Fresh);
        self.using
    }

    /// Every place had its turn in vain: the other credentials have theirs.
    pub(super) fn take_turns(&mut self) {
        self.prefers_fresh = !self.prefers_fresh;
    }
}

impl Machine {
    /// There are new credentials: they are tried beside the line, or are what the next attempt has.
    pub(super) fn on_fresh(&mut self, number: u64, now: Instant) {
        self.trials.fresh = Some(number);
        self.trials.prefers_fresh = true;
        self.trials.refusal = None;
        self.trials.renewals.reset();
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
        self.trials.fresh = None;
        self.trials.renew = None;
        self.trials.refusal = Some(fault);
    }

    /// What the line said to be let in runs out.
    pub(super) fn on_due(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Up(_)) {
            self.trials.refresh = Some(now);
        }
    }

    /// The line is up, here: its credentials are good. Others and better places are looked at later.
    pub(super) fn plan_trials(&mut self, now: Instant) {
        if let Which::Fresh(number) = self.trials.using {
            self.trials.using = Which::Proven;
            self.effects.push(Effect::Adopt);
            if self.trials.fresh == Some(number) {
                self.trials.fresh = None;
                self.trials.refusal = None;
            }
        }
        if self.trials.fresh.is_some() {
            let is_refused = self.trials.refusal.is_some();
            let wait = if is_refused { self.trials.renewals.upper_end() } else { Duration::ZERO };
            self.trials.renew = Some(now + wait);
        }
        if self.itinerary.better(0).is_none() {
            self.trials.climb = None;
        } else if self.trials.climb.is_none() {
            self.trials.climb = Some(now + self.trials.climbs.upper_end());
        }
    }

    /// The line was up for so long, and is lost. A best place that is lost soon is climbed to less and less often.
    pub(super) fn note_hold(&mut self, held: Duration) {
        if self.itinerary.better(0).is_some() {
            return;
        }
        if held >= self.settings.climb_after {
            self.trials.climbs.reset();
        } else {
            self.trials.climbs.after_failure(Duration::ZERO, 1.0);
        }
    }

    /// The line is lost: a trial has nothing to be beside.
    pub(super) fn end_trial(&mut self) {
        if self.trials.running.take().is_some() {
            self.effects.push(Effect::EndTrial);
        }
        self.trials.renew = None;
        self.trials.refresh = None;
    }

    pub(super) fn on_trial_tick(&mut self, now: Instant) {
        let Phase::Up(up) = &self.phase else { return };
        if up.drain.is_some() || self.trials.running.is_some() {
            return;
        }
        let is_due = |at: &Option<Instant>| at.is_some_and(|at| now >= at);
        let trials = &mut self.trials;
        let (purpose, place, which) = if is_due(&trials.renew) {
            trials.renew = None;
            let Some(number) = trials.fresh else { return };
            (Purpose::Renew, self.itinerary.at(), Which::Fresh(number))
        } else if is_due(&trials.refresh) {
            trials.refresh = None;
            (Purpose::Refresh, self.itinerary.at(), Which::Proven)
        } else if is_due(&trials.climb) {
            trials.climb = None;
            let Some(better) = self.itinerary.better(trials.climb_turn) else { return };
            (Purpose::Climb, better, Which::Proven)
        } else {
            return;
        };
        trials.running = Some((purpose, place, which));
        let version = self.choice_at(place).version();
        self.effects.push(Effect::Try(version, place, which, purpose));
    }

    /// What the second connection says first.
    pub(super) fn on_trial(&mut self, wire: Wire, now: Instant) {
        let Some((purpose, place, which)) = self.trials.running else { return };
        match wire {
            Wire::Connected(greeting) if greeting.takes_qos_1 => {
                self.change_over(place, which, greeting, now);
            }
            Wire::Connected(_) => {
                let fault = Fault::new(FaultKind::Protocol, ONLY_QOS_0);
                self.on_vain_trial(purpose, fault, now);
            }
            Wire::Broken(breakage) => {
                self.choice_at(place).failed(breakage.version);
                self.on_vain_trial(purpose, breakage.fault, now);
            }
            // Nothing else comes before CONNACK.
            _ => {}
        }
    }

    fn on_vain_trial(&mut self, purpose: Purpose, fault: Fault, now: Instant) {
        self.trials.running = None;
        self.effects.push(Effect::EndTrial);
        let again = |backoff: &mut Backoff| Some(now + backoff.after_failure(Duration::ZERO, 1.0));
        match purpose {
            Purpose::Renew => {
                self.trials.renew = again(&mut self.trials.renewals);
                self.trials.prefers_fresh = false;
                self.trials.refusal = Some(fault);
            }
            Purpose::Refresh => {
                tracing::warn!(
                    kind = fault.kind.name(),
                    detail = fault.detail,
                    "what let the line in could not be renewed yet"
                );
                self.trials.refresh = again(&mut self.trials.refreshes);
            }
            Purpose::Climb => {
                self.trials.climb_turn += 1;
                self.trials.climbs.after_failure(Duration::ZERO, 1.0);
                self.trials.climb = Some(now + self.trials.climbs.upper_end());
            }
        }
    }

    fn change_over(&mut self, place: Place, which: Which, greeting: Greeting, now: Instant) {
        self.trials.running = None;
        if !matches!(&self.phase, Phase::Up(up) if up.drain.is_none()) {
            self.effects.push(Effect::EndTrial);
            return;
        }
        self.take_over(place, which);
        self.effects.extend([Effect::Leave, Effect::ChangeOver]);
        self.on_connected(greeting, now);
    }

    /// The line broke while a second connection is being opened: a cloud that lets it in drops the first one, and says
    /// so there before it says yes here. Then the second one is what is being dialled. Says whether it is so.
    pub(super) fn falls_to_trial(&mut self, fault: &Fault) -> bool {
        if !matches!(&self.phase, Phase::Up(up) if up.drain.is_none()) {
            return false;
        }
        let Some((_, place, which)) = self.trials.running.take() else { return false };
        if !matches!(fault.kind, FaultKind::DuplicateClientId | FaultKind::Closed) {
            self.counters.failures += 1;
        }
        self.take_over(place, which);
        self.effects.extend([Effect::HangUp, Effect::ChangeOver]);
        self.phase = Phase::Dialling;
        true
    }

    fn take_over(&mut self, place: Place, which: Which) {
        self.itinerary.go(place);
        self.trials.using = which;
        self.trials.climb_turn = 0;
        self.trials.refreshes.reset();
    }
}
