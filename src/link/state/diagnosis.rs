//! What ended a connection, by its last moments and by the ends before it.
//!
//! Decides nothing but the fault's name; the rules about several ends are in `history`.

use std::time::Duration;

use tokio::time::Instant;

use super::{Machine, Phase, history::Shape, up::Fence};
use crate::model::{Fault, FaultKind};

/// A question unanswered for so long is no answer that is still on its way.
const DEAF: Duration = Duration::from_secs(1);

impl Machine {
    /// The fault by what the connection's last moments and the ends before it say.
    pub(super) fn judged(&mut self, mut fault: Fault, now: Instant) -> Fault {
        let Phase::Up(up) = &self.phase else {
            self.history.dial_failed();
            self.recurring = None;
            return fault;
        };
        if up.drain.is_some() || up.fence == Fence::NotSent {
            // What happens to a connection that is not subscribed yet says nothing about those that are.
            return fault;
        }
        if fault.kind == FaultKind::KeepAlive && up.is_deaf(now, DEAF) {
            // What the cloud did not hear, we had said.
            fault.kind = FaultKind::HalfOpen;
        }
        let shape = self.history.ended(up.ending(fault.kind, now));
        self.recurring = shape.map(|shape| recurring(shape, &fault));
        self.recurring.clone().unwrap_or(fault)
    }

    /// Forgets what the connection that is up refutes.
    pub(super) fn refute(&mut self, now: Instant) {
        let Phase::Up(up) = &self.phase else { return };
        if self.recurring.is_none() || up.fence == Fence::NotSent {
            return;
        }
        self.history.outlived(up.outlived);
        self.history.holds(now.saturating_duration_since(up.since));
        if self.history.shape().is_none() {
            self.recurring = None;
        }
    }
}

/// The fault that several ends in a row make of the last one.
fn recurring(shape: Shape, last: &Fault) -> Fault {
    let seconds = |time: Duration| time.as_secs_f32().round();
    match shape {
        Shape::IdleCut(silence) => Fault::new(
            FaultKind::IdleCut,
            format!("three times in a row after about {} s of silence; {}", seconds(silence), last.detail),
        ),
        Shape::Rival if last.kind == FaultKind::DuplicateClientId => last.clone(),
        Shape::Rival => Fault::new(
            FaultKind::DuplicateClientId,
            format!(
                "it looks so: the cloud closed several good connections in a row, each soon; {}",
                last.detail
            ),
        ),
        Shape::AgeLimit(age) => Fault::new(
            FaultKind::Closed,
            format!(
                "each time after about {} s whatever went over it: a proxy or load balancer with a time limit, or \
                 another client with this client id; {}",
                seconds(age),
                last.detail
            ),
        ),
    }
}
