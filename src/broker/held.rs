//! Acknowledgements that are held back until their message is on the disk or where it is to go, in the
//! client's order.
//!
//! Owns a connection's unanswered QoS 1 and 2 publishes. Never delivers. Invariant: PUBACK and PUBREC
//! leave in the order in which the publishes came (MQTT-4.6.0-2), and none leaves before what it
//! promises is durable. Bounded by `Limits::receive_maximum`: beyond it the client is not read.

use std::{collections::VecDeque, future::Future, pin::Pin, task::Context};

use bytes::BytesMut;
use futures_util::{FutureExt, future::Shared};

use super::{
    core::append,
    packet::{Ack, Reason},
    receipt::Settling,
};
use crate::{
    model::QoS,
    store::{Durable, Entry, Store, StoreError},
};

/// A message on its way to the disk; shared with a QoS 2 message's entry in the session.
pub(super) type Storing = Shared<Durable<Option<u64>>>;

/// What an answer is.
#[derive(Debug)]
enum Answer {
    Ack {
        kind: Ack,
        id: u16,
        reason: Reason,
    },
    /// A packet as it will be sent.
    Bytes(BytesMut),
}

/// An answer to come.
#[derive(Debug)]
struct Held {
    answer: Answer,
    storing: Option<Storing>,
    settling: Option<Settling>,
}

/// Waiting for room in the store's queue.
type Appending = Pin<Box<dyn Future<Output = Result<Durable<Option<u64>>, StoreError>> + Send>>;

/// The acknowledgements of one connection.
#[derive(Default)]
pub(super) struct HeldBack {
    queue: VecDeque<Held>,
    appending: Option<(Appending, Option<Settling>, QoS, u16)>,
}

/// What can go on now.
#[derive(Debug)]
pub(super) enum Progress {
    /// The store took a message that had waited for room; `None` with QoS 0.
    Taken { id: u16, qos: QoS, storing: Option<Storing> },
    /// This acknowledgement can be sent, or its message is not kept.
    Answer { kind: Ack, id: u16, result: Result<Reason, StoreError> },
    /// This can be sent.
    Bytes(BytesMut),
}

fn kind(qos: QoS) -> Option<Ack> {
    match qos {
        QoS::AtMostOnce => None,
        QoS::AtLeastOnce => Some(Ack::Taken),
        QoS::ExactlyOnce => Some(Ack::Received),
    }
}

impl HeldBack {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.appending.is_none()
    }

    /// Whether the client may go on: the store has room, and not too much waits.
    pub(super) fn has_room(&self, limit: u16) -> bool {
        self.appending.is_none() && self.queue.len() < usize::from(limit)
    }

    /// An acknowledgement that needs no disk; true: it can go out at once, nothing is before it.
    pub(super) fn pass(&mut self, kind: Ack, id: u16, reason: Reason) -> bool {
        if self.is_empty() {
            return true;
        }
        let answer = Answer::Ack { kind, id, reason };
        self.queue.push_back(Held { answer, storing: None, settling: None });
        false
    }

    /// An acknowledgement that waits for a message which is on its way to the disk already.
    pub(super) fn hold(&mut self, kind: Ack, id: u16, storing: Storing) {
        let answer = Answer::Ack { kind, id, reason: Reason::Success };
        self.queue.push_back(Held { answer, storing: Some(storing), settling: None });
    }

    /// An acknowledgement that waits for others at home.
    pub(super) fn settle(&mut self, settling: Settling, qos: QoS, id: u16) {
        if let Some(kind) = kind(qos) {
            let answer = Answer::Ack { kind, id, reason: Reason::Success };
            self.queue.push_back(Held { answer, storing: None, settling: Some(settling) });
        }
    }

    /// SUBACK or UNSUBACK, which wait for the disk.
    pub(super) fn answer(&mut self, settling: Settling, bytes: BytesMut) {
        let answer = Answer::Bytes(bytes);
        self.queue.push_back(Held { answer, storing: None, settling: Some(settling) });
    }

    /// Hands a message to the store. Only when [`HeldBack::has_room`]. It is the next [`Progress`] that
    /// tells that it was taken.
    pub(super) fn append(
        &mut self,
        store: &Store,
        entry: Entry,
        settling: Option<Settling>,
        qos: QoS,
        id: u16,
    ) {
        let store = store.clone();
        let appending = Box::pin(async move { append(&store, entry).await });
        self.appending = Some((appending, settling, qos, id));
    }

    /// The next thing that can go on, if any can. Cancel safe.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Option<Progress> {
        if let Some((appending, settling, qos, id)) = &mut self.appending
            && let std::task::Poll::Ready(result) = appending.as_mut().poll(context)
        {
            let (settling, qos, id) = (settling.take(), *qos, *id);
            self.appending = None;
            match (result, kind(qos)) {
                (Ok(durable), Some(kind)) => {
                    let storing = durable.shared();
                    let answer = Answer::Ack { kind, id, reason: Reason::Success };
                    self.queue.push_back(Held { answer, storing: Some(storing.clone()), settling });
                    return Some(Progress::Taken { id, qos, storing: Some(storing) });
                }
                (Ok(_), None) => return Some(Progress::Taken { id, qos, storing: None }),
                (Err(error), Some(kind)) => {
                    return Some(Progress::Answer { kind, id, result: Err(error) });
                }
                (Err(_), None) => return Some(Progress::Taken { id, qos, storing: None }),
            }
        }
        let front = self.queue.front_mut()?;
        let mut refused = None;
        if let Some(storing) = &mut front.storing {
            match storing.poll_unpin(context) {
                std::task::Poll::Pending => return None,
                std::task::Poll::Ready(result) => refused = result.err(),
            }
            front.storing = None;
        }
        if refused.is_none()
            && let Some(settling) = &mut front.settling
            && settling.poll_unpin(context).is_pending()
        {
            return None;
        }
        Some(match self.queue.pop_front()?.answer {
            Answer::Bytes(bytes) => Progress::Bytes(bytes),
            Answer::Ack { kind, id, reason } => {
                Progress::Answer { kind, id, result: refused.map_or(Ok(reason), Err) }
            }
        })
    }
}
