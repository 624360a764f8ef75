//! One of the two ways by which commands come to the desk, and what is under way on it.
//!
//! Owns the bounds: how many may begin, wait for their devices and be answered at once, and what happens to the next one.

use std::sync::Arc;

use futures_util::{future::BoxFuture, stream::FuturesOrdered};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{admission::Arrival, allow::Permission, payload::Order, register::NotBegun, teller::Slip};
use crate::{
    model::{Ack, Origin},
    store::Begun,
};

/// How many commands from home, and how many from the cloud, may wait for their devices at once. Full: the next one is
/// refused as busy.
pub(super) const MOST_AT_ONCE: usize = 256;
/// How many answers to those from home, and to those from the cloud, may wait for the disk at once. Full: at home the
/// next one waits; a command from the cloud is not answered, not acknowledged and counted, and the cloud sends it again.
pub(super) const MOST_ANSWERS: usize = 256;
/// How many commands from home, and how many from the cloud, may wait at once until their ids are on the disk. Full:
/// nothing more is received from there.
pub(super) const MOST_BEGINNING: usize = 64;

/// A command that nothing speaks against but, perhaps, what the journal knows.
pub(super) struct Candidate<'a> {
    pub(super) slip: Slip,
    pub(super) order: Order,
    pub(super) permission: Permission<'a>,
    pub(super) arrival: Arrival,
    pub(super) may_run_unkept: bool,
    pub(super) ack: Ack,
}

/// What the journal said of it.
pub(super) type Beginning<'a> = BoxFuture<'a, (Candidate<'a>, Result<Begun, NotBegun>)>;

/// What is under way of the commands that came by one of the two ways.
pub(super) struct Lane<'a> {
    /// Whose ids are on their way to the disk, in the order in which they came; [`MOST_BEGINNING`] at most.
    pub(super) beginning: FuturesOrdered<Beginning<'a>>,
    /// Bounded by those four: whose way into the journal is taken back, who waits for a device, what is to be told,
    /// and what the teller holds.
    pub(super) tasks: JoinSet<()>,
    pub(super) under_way: Arc<Semaphore>,
    pub(super) answers: Arc<Semaphore>,
    /// Commands from the cloud that were left without an answer since there was room for one.
    pub(super) unanswered: u64,
    pub(super) stop: CancellationToken,
}

impl Lane<'_> {
    pub(super) fn new(tasks: JoinSet<()>, stop: CancellationToken) -> Self {
        Self {
            beginning: FuturesOrdered::new(),
            tasks,
            under_way: Arc::new(Semaphore::new(MOST_AT_ONCE)),
            answers: Arc::new(Semaphore::new(MOST_ANSWERS)),
            unanswered: 0,
            stop,
        }
    }

    /// Room for one more answer to who asked; `None`: the cloud has to ask again.
    pub(super) async fn room_for_answer(&mut self, origin: &Origin) -> Option<OwnedSemaphorePermit> {
        let answers = self.answers.clone();
        let room = match origin {
            Origin::Local(_) | Origin::Page | Origin::Rule => answers.acquire_owned().await.ok(),
            Origin::Cloud(_) | Origin::Forgotten => answers.try_acquire_owned().ok(),
        };
        if room.is_none() {
            if self.unanswered == 0 {
                tracing::warn!(
                    "more commands from the cloud are refused than can be answered; it has to send them again"
                );
            }
            self.unanswered += 1;
        } else if self.unanswered > 0 {
            let count = std::mem::take(&mut self.unanswered);
            tracing::warn!(count, "commands from the cloud were left without an answer");
        }
        room
    }
}
