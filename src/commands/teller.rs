//! Says what became of a command: to the cloud by the outbox, at home, and on the board.
//!
//! Invariants: at home an outcome is told once, and at once when the disk refuses or hangs; what is in the journal
//! as begun is tried until the disk has its outcome too, for until then its repetition is told nothing.

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::{haste::Haste, insistence::insist};
use crate::{
    health::{Board, CommandReport},
    model::{
        CommandId, DeviceId, KeyEvent, Origin, Outcome, OutcomeStatus, Properties, Receipts, Sender, Stage,
        Topic,
    },
    store::{Entry, Store, StoreError},
};

/// So many outcomes may wait for a disk that refused them. Full: the next one is left to the next start, which
/// reports it as unknown.
const MOST_HELD: usize = 256;

/// Where the sender wants an answer beside the usual topic (MQTT 5 section 4.10), by properties or by the payload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplyTo {
    /// The response topic.
    pub topic: Option<Topic>,
    /// What the answer carries back as a property.
    pub correlation: Option<Bytes>,
    /// What it carries back in its payload.
    pub said: Option<Value>,
}

impl ReplyTo {
    pub(super) fn of(properties: &Properties) -> Self {
        Self {
            topic: properties.response_topic.as_deref().and_then(|text| Topic::parse(text).ok()),
            correlation: properties.correlation_data.clone(),
            said: None,
        }
    }

    /// With what the payload says beside it; a property goes before.
    pub(super) fn or(self, payload: &Self) -> Self {
        Self {
            topic: self.topic.or_else(|| payload.topic.clone()),
            correlation: self.correlation,
            said: payload.said.clone(),
        }
    }
}

/// Puts an outcome into the words of the cloud's topics; `app/` knows these.
pub type Tell = Arc<dyn Fn(&Told, &ReplyTo) -> Vec<Entry> + Send + Sync>;

/// An outcome, for the house and for the cloud.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// Who had asked.
    pub origin: Origin,
    /// What became of it.
    pub outcome: Outcome,
}

impl Serialize for Told {
    /// The outcome with `origin` beside it and, where it is known, `sender`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Payload<'a> {
            #[serde(flatten)]
            outcome: &'a Outcome,
            origin: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            sender: Option<&'a str>,
        }
        let (origin, sender) = (self.origin.as_str(), self.origin.sender().map(Sender::as_str));
        Payload { outcome: &self.outcome, origin, sender }.serialize(serializer)
    }
}

/// What is kept of a command until its outcome.
#[derive(Clone)]
pub(super) struct Slip {
    pub(super) id: CommandId,
    pub(super) device: DeviceId,
    pub(super) origin: Origin,
    pub(super) reply_to: ReplyTo,
    /// How old it was when it arrived, if it said so.
    pub(super) age: Option<Duration>,
    /// Why it is not in the journal, if it is not.
    pub(super) unkept: Option<String>,
}

type Keeping = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

/// An outcome that the disk has not taken yet.
struct Unkept {
    outcome: Outcome,
    entries: Vec<Entry>,
    error: StoreError,
    /// The attempt that a disk that hangs may still make.
    under_way: Option<Keeping>,
}

pub(super) struct Teller {
    tell: Tell,
    receipts: Receipts,
    store: Store,
    board: Board,
    /// To the house. Full: who tells waits.
    told: mpsc::Sender<Told>,
    held: Semaphore,
    haste: Haste,
}

impl Teller {
    pub(super) fn new(
        tell: Tell,
        receipts: Receipts,
        store: Store,
        board: Board,
        told: mpsc::Sender<Told>,
    ) -> Self {
        Self { tell, receipts, store, board, told, held: Semaphore::new(MOST_HELD), haste: Haste::default() }
    }

    /// Answers a command of which there is nothing to write into the journal: one that was refused without memory, or
    /// the repetition of one that has its outcome. Somebody waits for it, so it does not wait for the floor between
    /// commits.
    ///
    /// # Errors
    /// [`StoreError`]: the cloud will not hear of it.
    pub(super) async fn answer(&self, slip: &Slip, outcome: Outcome) -> Result<(), StoreError> {
        let told = Told { origin: slip.origin.clone(), outcome };
        let entries = self.entries(&told, slip);
        let keeping = async {
            if entries.is_empty() {
                return Ok(());
            }
            let kept = self.store.append_all(entries).await?;
            self.haste.wait(kept, || self.store.hurry()).await.map(drop)
        };
        let kept = self.store.unless_it_hangs(keeping).await;
        self.report(slip, told.outcome).await;
        kept
    }

    /// Tells the end of a command that is in the journal: durable, then to the house; to the house at once when the
    /// disk hangs. Goes on trying a disk that does not take it, until `stop`; `room` is given back before that.
    pub(super) async fn conclude(
        self: Arc<Self>,
        slip: Slip,
        outcome: Outcome,
        room: Option<OwnedSemaphorePermit>,
        stop: CancellationToken,
    ) {
        let unkept = self.try_to_conclude(&slip, outcome).await;
        drop(room);
        if let Some(unkept) = unkept {
            self.hold(unkept, &stop).await;
        }
    }

    async fn try_to_conclude(&self, slip: &Slip, mut outcome: Outcome) -> Option<Unkept> {
        if let Some(why) = &slip.unkept {
            let happened = outcome.detail.map(|detail| format!("{detail}; ")).unwrap_or_default();
            outcome.detail = Some(format!("{happened}not written down: {why}"));
            self.report(slip, outcome).await;
            return None;
        }
        let told = Told { origin: slip.origin.clone(), outcome };
        let entries = self.entries(&told, slip);
        let mut keeping = self.finish(&told.outcome, &entries);
        let kept = self.store.unless_it_hangs(keeping.as_mut()).await;
        let outcome = told.outcome.clone();
        self.report(slip, told.outcome).await;
        let error = kept.err()?;
        // Given up by us, not by the disk: to ask once more would tell the cloud twice.
        let under_way = matches!(error, StoreError::Hangs).then_some(keeping);
        Some(Unkept { outcome, entries, error, under_way })
    }

    /// Tries until the disk has it.
    async fn hold(&self, unkept: Unkept, stop: &CancellationToken) {
        let Unkept { outcome, entries, error, mut under_way } = unkept;
        let (id, device) = (&outcome.id, &outcome.device);
        let kept = match self.held.try_acquire() {
            Err(_) => Err(error),
            Ok(_room) => {
                tracing::warn!(%id, %device, %error, "a command's outcome cannot be kept yet; it is tried again");
                insist(
                    &self.store,
                    || under_way.take().unwrap_or_else(|| self.finish(&outcome, &entries)),
                    stop,
                )
                .await
            }
        };
        match kept {
            Ok(()) => tracing::info!(%id, %device, "the command's outcome is kept now"),
            Err(error) => {
                tracing::error!(%id, %device, %error, "failed to keep a command's outcome; the next start reports it as unknown");
            }
        }
    }

    /// What the cloud is told. What came from home is told there only; what a rule did is told in the cloud, too,
    /// since nobody asked for it there.
    fn entries(&self, told: &Told, slip: &Slip) -> Vec<Entry> {
        match slip.origin {
            Origin::Cloud(_) | Origin::Rule | Origin::Forgotten => (self.tell)(told, &slip.reply_to),
            Origin::Local(_) | Origin::Page => Vec::new(),
        }
    }

    fn finish(&self, outcome: &Outcome, entries: &[Entry]) -> Keeping {
        let (store, outcome, entries) = (self.store.clone(), outcome.clone(), entries.to_vec());
        Box::pin(async move { store.finish(outcome, entries).await?.await.map(drop) })
    }

    /// Tells it at home and on the board.
    pub(super) async fn report(&self, slip: &Slip, outcome: Outcome) {
        let event = match outcome.status {
            OutcomeStatus::Refused | OutcomeStatus::Expired => KeyEvent::CommandRefused,
            OutcomeStatus::Applied | OutcomeStatus::Failed | OutcomeStatus::Unknown => {
                KeyEvent::CommandConcluded
            }
        };
        tracing::info!(
            message_id = event.id(), id = %slip.id, device = %slip.device, origin = %slip.origin,
            status = outcome.status.as_str(), reason = outcome.reason.map(tracing::field::debug),
            detail = outcome.detail, "{}", event.says()
        );
        self.receipts.command(Stage::Ended(outcome.status), &slip.id, &slip.device);
        let origin = slip.origin.to_string();
        self.board.command(CommandReport { origin, age: slip.age, outcome: outcome.clone() });
        // Nobody listens any more only at the very end of a stop.
        let _ = self.told.send(Told { origin: slip.origin.clone(), outcome }).await;
    }
}
