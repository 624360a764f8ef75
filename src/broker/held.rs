//! Acknowledgements that are held back until their message is on the disk or where it is to go, in the
//! client's order.
//!
//! Owns a connection's unanswered QoS 1 and 2 publishes. Never delivers. Invariant: PUBACK and PUBREC
//! leave in the order in which the publishes came (MQTT-4.6.0-2), and none leaves before what it
//! promises is durable. Bounded by `Limits::receive_maximum`: beyond it the client is not read.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::BytesMut;
use futures_util::FutureExt;

use super::{
    core::append_each,
    packet::{Ack, Reason},
    receipt::Settling,
    storing::{Batch, Storing},
};
use crate::{
    model::QoS,
    store::{Durable, Entry, Kept, Store, StoreError},
};

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
    keeping: Keeping,
    settling: Option<Settling>,
}

/// Where the message of an answer is.
#[derive(Debug)]
enum Keeping {
    /// Not for the store.
    Nowhere,
    /// At this place of what is gathered for it.
    Gathered(usize),
    Storing(Storing),
    Refused(StoreError),
}

/// Waiting for room in the store's queue.
type Appending = Pin<Box<dyn Future<Output = Result<Durable<Arc<[Kept]>>, StoreError>> + Send>>;

/// So many messages are handed to the store together at most, and so many bytes of them: the others have their turn.
const GATHERED: usize = 256;
const GATHERED_BYTES: usize = 64 << 10;

/// The acknowledgements of one connection.
#[derive(Default)]
pub(super) struct HeldBack {
    queue: VecDeque<Held>,
    /// What came in together for the store, with its size in bytes.
    gathered: Vec<Entry>,
    bytes: usize,
    appending: Option<Appending>,
    /// A QoS 2 message is among what is gathered or handed over: by this id it may come again, and must find it.
    exactly_once: Option<u16>,
}

/// What can go on now.
#[derive(Debug)]
pub(super) enum Progress {
    /// The store took what was gathered; of a QoS 2 message it is told where it is.
    Taken(Option<(u16, Storing)>),
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
        self.queue.is_empty() && self.appending.is_none() && self.gathered.is_empty()
    }

    /// Whether the client may go on: the store has room, and not too much waits.
    pub(super) fn has_room(&self, limit: u16) -> bool {
        let is_full = self.gathered.len() >= GATHERED || self.bytes >= GATHERED_BYTES;
        self.appending.is_none()
            && !is_full
            && self.exactly_once.is_none()
            && self.queue.len() < usize::from(limit)
    }

    /// An acknowledgement that needs no disk; true: it can go out at once, nothing is before it.
    pub(super) fn pass(&mut self, kind: Ack, id: u16, reason: Reason) -> bool {
        if self.is_empty() {
            return true;
        }
        let answer = Answer::Ack { kind, id, reason };
        self.queue.push_back(Held { answer, keeping: Keeping::Nowhere, settling: None });
        false
    }

    /// An acknowledgement that waits for a message which is on its way to the disk already.
    pub(super) fn hold(&mut self, kind: Ack, id: u16, storing: Storing) {
        let answer = Answer::Ack { kind, id, reason: Reason::Success };
        self.queue.push_back(Held { answer, keeping: Keeping::Storing(storing), settling: None });
    }

    /// An acknowledgement that waits for others at home.
    pub(super) fn settle(&mut self, settling: Settling, qos: QoS, id: u16) {
        if let Some(kind) = kind(qos) {
            let answer = Answer::Ack { kind, id, reason: Reason::Success };
            self.queue.push_back(Held { answer, keeping: Keeping::Nowhere, settling: Some(settling) });
        }
    }

    /// SUBACK or UNSUBACK, which wait for the disk.
    pub(super) fn answer(&mut self, settling: Settling, bytes: BytesMut) {
        let answer = Answer::Bytes(bytes);
        self.queue.push_back(Held { answer, keeping: Keeping::Nowhere, settling: Some(settling) });
    }

    /// Takes a message for the store, which [`HeldBack::submit`] hands over. Only when [`HeldBack::has_room`].
    pub(super) fn gather(&mut self, entry: Entry, settling: Option<Settling>, qos: QoS, id: u16) {
        if let Some(kind) = kind(qos) {
            let answer = Answer::Ack { kind, id, reason: Reason::Success };
            let keeping = Keeping::Gathered(self.gathered.len());
            self.queue.push_back(Held { answer, keeping, settling });
        }
        self.exactly_once = Some(id).filter(|_| qos == QoS::ExactlyOnce);
        self.bytes += entry.message.size();
        self.gathered.push(entry);
    }

    /// Hands what was gathered to the store, for one commit. It is the next [`Progress`] that tells that it was taken.
    pub(super) fn submit(&mut self, store: &Store) {
        if self.gathered.is_empty() || self.appending.is_some() {
            return;
        }
        let (entries, store) = (std::mem::take(&mut self.gathered), store.clone());
        self.bytes = 0;
        self.appending = Some(Box::pin(async move { append_each(&store, entries).await }));
    }

    /// Waits until the store has taken what was submitted, or does not take it; for a client that goes. Gives the QoS 2
    /// message among it, which may come again.
    pub(super) async fn hand_over(&mut self) -> Option<(u16, Storing)> {
        let result = self.appending.as_mut()?.as_mut().await;
        self.appending = None;
        self.taken(result.map(FutureExt::shared))
    }

    /// Whether a QoS 2 message is not known yet to be with the store.
    pub(super) fn has_exactly_once(&self) -> bool {
        self.exactly_once.is_some()
    }

    /// The next thing that can go on, if any can. Cancel safe.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Option<Progress> {
        if let Some(appending) = &mut self.appending
            && let Poll::Ready(result) = appending.as_mut().poll(context)
        {
            self.appending = None;
            return Some(Progress::Taken(self.taken(result.map(FutureExt::shared))));
        }
        let front = self.queue.front_mut()?;
        let mut refused = None;
        match &mut front.keeping {
            Keeping::Nowhere => {}
            Keeping::Gathered(_) => return None,
            Keeping::Storing(storing) => match storing.poll_unpin(context) {
                Poll::Pending => return None,
                Poll::Ready(result) => {
                    front.keeping = result.map_or_else(Keeping::Refused, |()| Keeping::Nowhere);
                }
            },
            Keeping::Refused(_) => {}
        }
        if let Keeping::Refused(error) = &front.keeping {
            refused = Some(error.clone());
        } else if let Some(settling) = &mut front.settling
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

    /// The store has taken what was gathered, or takes nothing. Gives the QoS 2 message among it.
    fn taken(&mut self, result: Result<Batch, StoreError>) -> Option<(u16, Storing)> {
        let mut last = None;
        for held in &mut self.queue {
            if let Keeping::Gathered(place) = held.keeping {
                held.keeping = match &result {
                    Ok(batch) => {
                        let storing = Storing::new(batch.clone(), place);
                        last = Some(storing.clone());
                        Keeping::Storing(storing)
                    }
                    Err(error) => Keeping::Refused(error.clone()),
                };
            }
        }
        // It is the last one: nothing is gathered behind it.
        self.exactly_once.take().zip(last)
    }
}
