//! What is known while a connection is up, and until when the cloud must have answered what.
//!
//! Pure data and its limits; whoever changes it is in the sibling files.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::{
    Settings,
    history::{Ending, How},
};
use crate::{
    link::{
        window::{Parcel, Window},
        wire::{Greeting, Version},
    },
    model::{Fault, FaultKind, QoS, TopicFilter},
};

/// A slow uplink gets a second more for so many bytes in flight, or one large message would never pass.
pub(super) const BYTES_A_SECOND: usize = 16 << 10;
/// How long a refused message is shown after the last one.
const REMEMBERED: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(super) struct Up {
    pub(super) version: Version,
    pub(super) greeting: Greeting,
    pub(super) since: Instant,
    /// What is still to be asked for, a SUBSCRIBE each; the first one is under way.
    pub(super) subscribing: VecDeque<Vec<(TopicFilter, QoS)>>,
    pub(super) asked: Instant,
    pub(super) urgent: VecDeque<Parcel>,
    pub(super) token: String,
    pub(super) fence: Fence,
    pub(super) heard: Instant,
    /// When something last went over the line, either way.
    said: Instant,
    /// Since when the first question is unanswered that nothing was heard after, and how long nothing was said before.
    asking: Option<(Instant, Duration)>,
    /// The longest silence after which something still came through.
    pub(super) outlived: Duration,
    pub(super) pinged: Option<Instant>,
    /// The PINGREQ that has no PINGRESP yet, whatever else was heard meanwhile.
    pub(super) ping_sent: Option<Instant>,
    /// A SUBSCRIBE that stands in for a ping, where the cloud wants pings more seldom than we do.
    pub(super) probed: Option<Instant>,
    pub(super) progress: Instant,
    pub(super) unacknowledged: usize,
    pub(super) unhandled: usize,
    pub(super) pause: Option<Pause>,
    /// Why there was a pause, until the cloud takes or refuses something again.
    pub(super) held_up: Option<Fault>,
    /// Until when what is next waits for its pace.
    pub(super) paced: Option<Instant>,
    /// The last refusal of a message, and when it was.
    pub(super) refusal: Option<(Fault, Instant)>,
    pub(super) has_told_of_oversize: bool,
    pub(super) drain: Option<Drain>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fence {
    NotSent,
    Waiting {
        until: Instant,
    },
    /// No echo in time: the line is online, but until the echo comes after all, what comes in may have waited.
    Missed,
    Passed,
}

#[derive(Debug)]
pub(super) struct Pause {
    pub(super) until: Instant,
    pub(super) fault: Fault,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drain {
    Records { until: Instant },
    Farewell { until: Instant },
    Disconnect { until: Instant },
}

impl Up {
    /// CONNACK has come; nothing is asked for yet.
    pub(super) fn new(
        version: Version,
        greeting: Greeting,
        settings: &Settings,
        token: String,
        now: Instant,
    ) -> Self {
        let fence = (TopicFilter::from(&settings.fence), QoS::AtLeastOnce);
        let fence = settings.limits.echoes.then_some(fence);
        let filters: Vec<_> = fence.into_iter().chain(settings.subscriptions.iter().cloned()).collect();
        Self {
            version,
            greeting,
            since: now,
            subscribing: filters
                .chunks(settings.limits.filters_per_subscribe.max(1))
                .map(<[_]>::to_vec)
                .collect(),
            asked: now,
            urgent: VecDeque::new(),
            token,
            fence: Fence::NotSent,
            heard: now,
            said: now,
            asking: None,
            outlived: Duration::ZERO,
            pinged: None,
            ping_sent: None,
            probed: None,
            progress: now,
            unacknowledged: 0,
            unhandled: 0,
            pause: None,
            held_up: None,
            paced: None,
            refusal: None,
            has_told_of_oversize: false,
            drain: None,
        }
    }

    pub(super) fn hear(&mut self, now: Instant) {
        let silence = match self.asking.take() {
            Some((_, silence)) => silence,
            None => now.saturating_duration_since(self.said),
        };
        self.outlived = self.outlived.max(silence);
        self.said = now;
        self.heard = now;
        self.pinged = None;
        if self.refusal.as_ref().is_some_and(|(_, when)| now.saturating_duration_since(*when) > REMEMBERED) {
            self.refusal = None;
        }
    }

    /// Something that must be answered goes out.
    pub(super) fn ask(&mut self, now: Instant) {
        let silence = now.saturating_duration_since(self.said);
        self.asking.get_or_insert((now, silence));
        self.said = now;
    }

    /// Whether nothing at all was heard since something was asked, at least so long ago.
    pub(super) fn is_deaf(&self, now: Instant, at_least: Duration) -> bool {
        self.asking.is_some_and(|(since, _)| now.saturating_duration_since(since) >= at_least)
    }

    /// The connection's end as `history` takes it, by what was said of it.
    pub(super) fn ending(&self, kind: FaultKind, now: Instant) -> Ending {
        let silence = match self.asking {
            Some((_, silence)) => silence,
            None => now.saturating_duration_since(self.said),
        };
        let how = match kind {
            FaultKind::Closed if self.asking.is_none() => How::CutIdle,
            FaultKind::Closed | FaultKind::HalfOpen => How::CutAsked,
            FaultKind::DuplicateClientId => How::TakenOver,
            _ => How::Other,
        };
        let life = now.saturating_duration_since(self.since);
        Ending { how, life, silence, outlived: self.outlived }
    }

    /// How often the line is pinged: the cloud's wish goes before ours; zero is answered with ours.
    pub(super) fn keep_alive(&self, settings: &Settings) -> Duration {
        self.greeting.keep_alive.filter(|wish| !wish.is_zero()).unwrap_or(settings.keep_alive)
    }

    pub(super) fn patience(&self, settings: &Settings, window: &Window) -> Duration {
        settings.answer_limit + Duration::from_secs((window.bytes() / BYTES_A_SECOND) as u64)
    }

    /// Until when each thing that must be answered is answered, with what to say when it is not.
    pub(super) fn limits(
        &self,
        settings: &Settings,
        window: &Window,
    ) -> [(Option<Instant>, FaultKind, &'static str); 5] {
        use FaultKind::{HalfOpen, NoAnswer};
        let patience = self.patience(settings, window);
        let is_subscribing = !self.subscribing.is_empty();
        let is_publishing = !window.is_empty();
        // A cloud that answers other things and not this one hangs; where nothing comes any more the line is dead.
        let of_publish = if self.asking.is_some() { HalfOpen } else { NoAnswer };
        [
            (
                is_subscribing.then(|| self.asked + settings.answer_limit),
                NoAnswer,
                "SUBSCRIBE was not answered",
            ),
            (self.pinged.map(|pinged| pinged + patience), HalfOpen, "nothing came after a PINGREQ"),
            (self.probed.map(|probed| probed + patience), HalfOpen, "nothing came after a test of the line"),
            (is_publishing.then(|| self.progress + patience), of_publish, "PUBLISH was not acknowledged"),
            // Also when the line hangs in a write and cannot even ping.
            (
                Some(self.heard + self.keep_alive(settings) + patience),
                HalfOpen,
                "nothing came for longer than the keep-alive",
            ),
        ]
    }

    pub(super) fn overdue(
        &self,
        settings: &Settings,
        window: &Window,
        now: Instant,
    ) -> Option<(FaultKind, &'static str)> {
        let limits = self.limits(settings, window);
        limits.into_iter().find_map(|(limit, kind, what)| (limit? <= now).then_some((kind, what)))
    }

    pub(super) fn probe_due(&self, settings: &Settings, window: &Window) -> Option<Instant> {
        let is_idle = self.probed.is_none() && window.is_empty() && self.subscribing.is_empty();
        (is_idle && self.keep_alive(settings) > settings.keep_alive).then(|| self.heard + settings.keep_alive)
    }

    pub(super) fn deadline(&self, settings: &Settings, window: &Window) -> Option<Instant> {
        let fence = match self.fence {
            Fence::Waiting { until } => Some(until),
            Fence::NotSent | Fence::Missed | Fence::Passed => None,
        };
        let drain = self.drain.map(|drain| match drain {
            Drain::Records { until } | Drain::Farewell { until } | Drain::Disconnect { until } => until,
        });
        let pause = self.pause.as_ref().map(|pause| pause.until);
        let limits = self.limits(settings, window).map(|(limit, ..)| limit);
        limits
            .into_iter()
            .chain([fence, drain, pause, self.paced, self.probe_due(settings, window)])
            .flatten()
            .min()
    }
}
