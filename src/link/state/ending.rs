//! How a stopping link ends: what is in flight, the farewell, DISCONNECT, each with a limit.

use std::time::Duration;

use tokio::time::Instant;

use super::{Effect, Machine, Phase, up::Drain};
use crate::link::window::Parcel;

/// How long a stopping link waits for PUBACKs, and then for that of its farewell.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);
const FAREWELL_LIMIT: Duration = Duration::from_secs(1);

impl Machine {
    pub(super) fn on_stop(&mut self, now: Instant) {
        self.end_trial();
        match &mut self.phase {
            Phase::Up(up) if up.drain.is_none() => {
                up.urgent.clear();
                up.drain = Some(Drain::Records { until: now + DRAIN_LIMIT });
                self.on_drain_tick(now);
            }
            Phase::Up(_) => {}
            Phase::Waiting { .. } | Phase::Dialling | Phase::Ended => {
                self.effects.push(Effect::HangUp);
                self.finish();
            }
        }
    }

    pub(super) fn on_drain_tick(&mut self, now: Instant) {
        let Phase::Up(up) = &mut self.phase else { return };
        match up.drain {
            Some(Drain::Records { until }) if now >= until || self.window.has_no_record() => {
                up.drain = Some(Drain::Farewell { until: now + FAREWELL_LIMIT });
                // Past the window if need be: it is the last one.
                self.publish(Parcel::Farewell, now);
            }
            Some(Drain::Farewell { until }) if now >= until => self.disconnect(now),
            Some(Drain::Disconnect { until }) if now >= until => self.finish(),
            _ => {}
        }
    }

    pub(super) fn disconnect(&mut self, now: Instant) {
        let Phase::Up(up) = &mut self.phase else { return };
        up.drain = Some(Drain::Disconnect { until: now + FAREWELL_LIMIT });
        self.effects.push(Effect::Disconnect);
    }

    pub(super) fn finish(&mut self) {
        if !matches!(self.phase, Phase::Ended) {
            self.phase = Phase::Ended;
            self.effects.push(Effect::Finish);
        }
    }
}
