//! What comes in: messages for the inbox, and the fence that tells old ones from new ones.

use std::time::Duration;

use tokio::time::Instant;

use super::{Effect, Machine, Phase, up::Fence};
use crate::{
    link::wire::{Arrival, RECEIVE_MAXIMUM},
    model::{Fault, FaultKind, Staleness},
};

/// How long the fence's echo may take before the line counts as online without it. Messages do not become
/// live by that: what waited in the cloud may come at any time.
pub(super) const FENCE_LIMIT: Duration = Duration::from_secs(10);
/// So many unacknowledged messages break the connection: the cloud sends more than MQTT 5 allows it,
/// or (3.1.1) more than anybody should. Bounds the memory for what came in.
pub(super) const UNACKNOWLEDGED: usize = 256;
/// So many messages that nobody could handle renew the connection, so that the cloud sends them again.
pub(super) const UNHANDLED: usize = RECEIVE_MAXIMUM as usize / 2;

impl Machine {
    pub(super) fn on_arrived(&mut self, arrival: Arrival, now: Instant) {
        let Phase::Up(up) = &mut self.phase else { return };
        let Arrival { message, packet, redelivered } = arrival;
        if packet != 0 {
            up.unacknowledged += 1;
        }
        if up.unacknowledged > UNACKNOWLEDGED {
            let detail =
                format!("it sent {} messages without waiting for acknowledgements", up.unacknowledged);
            return self.break_off(Fault::new(FaultKind::Protocol, detail), now);
        }
        let message = match message {
            Ok(message) => message,
            Err(reason) => {
                tracing::warn!(reason, "dropped a message from the cloud whose topic is not valid");
                self.acknowledge_in_turn(packet);
                return;
            }
        };
        if self.settings.limits.echoes && message.topic == self.settings.fence {
            if !message.retain && message.payload == up.token.as_bytes() {
                if up.fence == Fence::Missed {
                    let topic = &self.settings.fence;
                    tracing::info!(%topic, "the fence's echo has come: commands without a time are taken again");
                }
                up.fence = Fence::Passed;
            }
            self.acknowledge_in_turn(packet);
            return;
        }
        self.counters.received += 1;
        let has_waited = up.fence != Fence::Passed || message.retain || redelivered;
        let staleness = if has_waited { Staleness::MayHaveWaited } else { Staleness::Live };
        self.effects.push(Effect::Deliver { message, redelivered, staleness, packet });
    }

    pub(super) fn acknowledge_in_turn(&mut self, packet: u16) {
        if packet != 0 {
            self.effects.push(Effect::AcknowledgeInTurn(packet));
        }
    }

    pub(super) fn on_unhandled(&mut self, now: Instant) {
        let Phase::Up(up) = &mut self.phase else { return };
        up.unacknowledged = up.unacknowledged.saturating_sub(1);
        up.unhandled += 1;
        if up.unhandled >= UNHANDLED {
            let detail =
                format!("the gateway could not keep {} commands and asks for them again", up.unhandled);
            self.break_off(Fault::new(FaultKind::Closed, detail), now);
        }
    }

    pub(super) fn on_fence_tick(&mut self, now: Instant) {
        let Phase::Up(up) = &mut self.phase else { return };
        let Fence::Waiting { until } = &mut up.fence else { return };
        if now < *until {
            return;
        }
        if up.unacknowledged > 0 {
            // The cloud may hold the echo back until we acknowledge what came before it.
            *until = now + FENCE_LIMIT;
            return;
        }
        if !self.settings.limits.echoes {
            // Nothing can tell more surely: what waited in such a cloud comes at once.
            up.fence = Fence::Passed;
            return;
        }
        let topic = &self.settings.fence;
        tracing::warn!(
            %topic,
            "no echo: undated commands are refused until the cloud lets the gateway publish and receive this topic"
        );
        up.fence = Fence::Missed;
    }
}
