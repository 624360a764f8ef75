//! What became of a message that was handed to the store together with others.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::{FutureExt, future::Shared};

use crate::store::{Durable, Kept, StoreError};

/// Several messages that the store writes in one commit, or refuses one by one.
pub(super) type Batch = Shared<Durable<Arc<[Kept]>>>;

/// One message on its way to the disk; shared with a QoS 2 message's entry in the session.
#[derive(Debug, Clone)]
pub(super) struct Storing {
    batch: Batch,
    place: usize,
}

impl Storing {
    pub(super) fn new(batch: Batch, place: usize) -> Self {
        Self { batch, place }
    }

    /// Whether it is known that the store does not have it.
    pub(super) fn has_failed(&self) -> bool {
        self.batch.peek().is_some_and(|result| self.own(result).is_err())
    }

    fn own(&self, result: &Result<Arc<[Kept]>, StoreError>) -> Result<(), StoreError> {
        match result {
            Ok(all) => match all.get(self.place) {
                Some(kept) => kept.clone().map(drop),
                // Not ours to know: the store has answered for fewer than it was given.
                None => Err(StoreError::Stopped),
            },
            Err(error) => Err(error.clone()),
        }
    }
}

impl Future for Storing {
    type Output = Result<(), StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(self.batch.poll_unpin(context));
        Poll::Ready(self.own(&result))
    }
}
