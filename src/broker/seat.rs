//! A connection's hold on its session, given back however the connection ends, a panic included.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    hub::{Attached, Hub},
    session::{Owner, Session},
};
use crate::model::Message;

/// The hold.
pub(super) struct Seat {
    hub: Arc<Hub>,
    attached: Attached,
    is_left: bool,
}

impl Seat {
    pub(super) fn new(hub: Arc<Hub>, attached: Attached) -> Self {
        hub.counters.clients.fetch_add(1, Ordering::Relaxed);
        hub.stir.ring();
        Self { hub, attached, is_left: false }
    }

    pub(super) fn attached(&self) -> &Attached {
        &self.attached
    }

    pub(super) fn session(&self) -> &Session {
        &self.attached.session
    }

    pub(super) fn owner(&self) -> &Arc<Owner> {
        &self.attached.owner
    }

    /// Gives it back with a will that waits; gives the will that is due now.
    pub(super) fn leave(mut self, will: Option<(Duration, Message)>) -> Option<Message> {
        self.is_left = true;
        self.hub.detach(&self.attached, will)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.hub.counters.clients.fetch_sub(1, Ordering::Relaxed);
        if !self.is_left {
            self.hub.detach(&self.attached, None);
            self.attached.owner.gone.notify_one();
        }
        self.hub.stir.ring();
    }
}
