//! The connection that owns a session, as others see it.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

/// Why a connection is to end, told by others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::broker) enum End {
    /// Another connection came with the same client id.
    TakenOver,
    /// The broker stops.
    ShuttingDown,
}

/// The connection that owns a session, as others see it.
#[derive(Debug, Default)]
pub(in crate::broker) struct Owner {
    /// Rung when there is something to send or a reason to end.
    pub(in crate::broker) bell: Notify,
    /// Rung when it has ended and its will is published; its successor waits for that.
    pub(in crate::broker) gone: Notify,
    end: AtomicU8,
}

impl Owner {
    /// Asks the connection to end.
    pub(in crate::broker) fn ask_to_end(&self, why: End) {
        self.end.store(if why == End::TakenOver { 1 } else { 2 }, Ordering::Release);
        self.bell.notify_one();
    }

    /// Whether it was asked to, and why.
    pub(in crate::broker) fn end(&self) -> Option<End> {
        match self.end.load(Ordering::Acquire) {
            0 => None,
            1 => Some(End::TakenOver),
            _ => Some(End::ShuttingDown),
        }
    }
}
