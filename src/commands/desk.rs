//! The desk where commands arrive: one at a time up to the mailbox, then each waits for its device.
//!
//! Order: what can be refused without memory is refused (and told) without touching the journal;
//! then `begin`, durable; then the MQTT acknowledgement; then the time (the command's age, the
//! allow-list's quiet hours and rates), and the mailbox. One at a time, so that two commands for one
//! device keep their order; the waiting for devices is not part of that, so a slow toaster does not hold up the lamp.
//!
//! A disk that refuses or hangs: what carries an id, and everything from the cloud, does not run, for it could
//! run again. A command from home without an id, or a rule's, runs all the same and is not written down: nobody
//! could tell its repetition anyway, and the light must go on (promise 4). Nobody waits for a disk that hangs.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use serde::{Serialize, Serializer};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    AllowList, Timing,
    admission::{self, Arrival, Now, Refusal},
    allow::Permission,
    payload::{self, Malformed, Order},
};
use crate::{
    clock::Clock,
    health::{Board, CommandReport},
    model::{
        Ack, Actuation, ActuationReply, Command, CommandId, DeviceId, Mailbox, Message, Origin, Outcome,
        OutcomeStatus, Reason, Receipts, Sender, Stage, Staleness, Topic,
    },
    store::{Begun, Entry, Store, StoreError},
};

/// How many commands may wait for their devices at once. Full: the next one is refused as busy.
const MOST_AT_ONCE: usize = 256;

/// A message that asks a device for something.
#[derive(Debug)]
pub struct Incoming {
    /// The device that its topic names.
    pub device: DeviceId,
    /// The message.
    pub message: Message,
    /// When it arrived.
    pub received: Instant,
    /// Whether it was sent before (DUP).
    pub redelivered: bool,
    /// Whether it can have waited.
    pub staleness: Staleness,
    /// Who asks.
    pub origin: Origin,
    /// Sent once the command's id is safe, or the command needs no memory.
    pub ack: Ack,
}

/// Where the sender wants an answer beside the usual topic (MQTT 5 section 4.10).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplyTo {
    /// The response topic.
    pub topic: Option<Topic>,
    /// What the answer carries back.
    pub correlation: Option<Bytes>,
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

/// What the desk works with.
pub struct CommandsOptions {
    /// What the cloud may ask for.
    pub allow: AllowList,
    /// How old a command may be.
    pub timing: Timing,
    /// Every device's mailbox.
    pub mailboxes: HashMap<DeviceId, Mailbox>,
    /// How the cloud is told.
    pub tell: Tell,
    /// Who is told how far each command has come.
    pub receipts: Receipts,
}

/// The desk.
pub struct Desk {
    options: CommandsOptions,
    store: Store,
    board: Board,
    clock: Clock,
    told: mpsc::Sender<Told>,
}

/// What the desk keeps of a command until its outcome.
#[derive(Clone)]
struct Slip {
    id: CommandId,
    device: DeviceId,
    origin: Origin,
    reply_to: ReplyTo,
    /// Why it is not in the journal, if it is not.
    unkept: Option<String>,
}

impl Desk {
    /// A desk whose outcomes go to `told` (full: the desk waits) and, for commands from the cloud,
    /// into the outbox.
    pub fn new(
        options: CommandsOptions,
        store: Store,
        board: Board,
        clock: Clock,
        told: mpsc::Sender<Told>,
    ) -> Self {
        Self { options, store, board, clock, told }
    }

    /// Tells the end of every command that a stop or a crash interrupted: `unknown`, never run again.
    ///
    /// # Errors
    /// [`StoreError`] when the journal cannot be read.
    pub async fn settle_interrupted(&self) -> Result<(), StoreError> {
        for (id, device) in self.store.interrupted().await? {
            // The cloud is told, for it may still wait.
            let slip =
                Slip { id, device, origin: Origin::Forgotten, reply_to: ReplyTo::default(), unkept: None };
            let reply = ActuationReply {
                status: OutcomeStatus::Unknown,
                detail: Some("the gateway stopped while the command ran; it will not run again".to_owned()),
            };
            let (id, device) = (slip.id.clone(), slip.device.clone());
            // One that cannot be told now is told at the next start; home must not wait for it.
            if let Err(error) = self.conclude(slip, reply, Some(Reason::Interrupted)).await {
                tracing::error!(%id, %device, %error, "failed to tell of an interrupted command");
            }
        }
        Ok(())
    }

    /// Takes commands until `stop` or until nobody can send any more; then waits for those that run.
    /// Devices answer within their own limits, or drop the way back.
    pub async fn run(self, mut incoming: mpsc::Receiver<Incoming>, stop: CancellationToken) {
        let desk = Arc::new(self);
        let mut running = JoinSet::new();
        loop {
            // Cancel safety: `recv`, `cancelled` and `join_next` lose nothing when dropped.
            tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = running.join_next(), if !running.is_empty() => {}
                next = incoming.recv() => match next {
                    None => break,
                    Some(command) => desk.take(command, &mut running).await,
                },
            }
        }
        while running.join_next().await.is_some() {}
    }

    async fn take(self: &Arc<Self>, incoming: Incoming, running: &mut JoinSet<()>) {
        let Incoming { device, message, received, redelivered, staleness, origin, ack } = incoming;
        let properties = message.properties.as_deref();
        let reply_to = ReplyTo {
            topic: properties
                .and_then(|p| p.response_topic.as_deref())
                .and_then(|text| Topic::parse(text).ok()),
            correlation: properties.and_then(|p| p.correlation_data.clone()),
        };
        let arrival = Arrival { received, life_left: properties.and_then(|p| p.expiry), staleness };
        let parsed = payload::parse(&message.payload);
        let named = match &parsed {
            Ok(Order { id, .. }) | Err(Malformed { id, .. }) => id.clone(),
        };
        let may_run_unkept = match origin {
            Origin::Local(_) => named.is_none(),
            // Its ids are our own, and each is used once.
            Origin::Rule => true,
            Origin::Cloud(_) | Origin::Forgotten => false,
        };
        let id = named.clone().unwrap_or_else(new_id);
        let slip = Slip { id, device, origin, reply_to, unkept: None };
        self.options.receipts.command(Stage::Received, &slip.id, &slip.device);
        let (order, permission) =
            match self.judge_without_memory(&slip, parsed, message.retain, redelivered && named.is_none()) {
                Ok(judged) => judged,
                Err(refusal) => {
                    // Not kept, not acknowledged: the cloud sends it again, and is told then.
                    match self.tell(&slip, self.outcome(&slip, refusal), false).await {
                        Ok(()) => ack.send(),
                        Err(error) => {
                            tracing::error!(id = %slip.id, %error, "failed to keep a refusal for the cloud");
                        }
                    }
                    return;
                }
            };
        match self.begin(&slip, running).await {
            Err(error) if may_run_unkept => {
                tracing::warn!(id = %slip.id, device = %slip.device, %error, "a command from home runs without the journal");
                ack.send();
                let slip = Slip { unkept: Some(error.to_string()), ..slip };
                self.start(slip, (order, permission), arrival, running).await;
            }
            Err(error) => {
                // Not acknowledged: the cloud sends it again, and by then it may be too late.
                tracing::error!(id = %slip.id, device = %slip.device, %error, "command not run: its id cannot be kept");
                let refusal = Refusal::refused(Reason::NotDurable, error.to_string());
                self.report(&slip, self.outcome(&slip, refusal)).await;
            }
            Ok(Begun::Running) => {
                tracing::info!(id = %slip.id, device = %slip.device, "duplicate of a command that still runs");
                ack.send();
            }
            Ok(Begun::Finished(outcome)) => {
                tracing::info!(id = %slip.id, device = %slip.device, "duplicate of a finished command");
                let duplicate = Outcome { duplicate: true, ..outcome };
                match self.tell(&slip, duplicate, false).await {
                    Ok(()) => ack.send(),
                    Err(error) => {
                        tracing::error!(id = %slip.id, %error, "failed to keep a repeated outcome for the cloud");
                    }
                }
            }
            Ok(Begun::Fresh) => {
                ack.send();
                self.start(slip, (order, permission), arrival, running).await;
            }
        }
    }

    /// Makes the command's id durable. What a disk that hung still writes after we have given it up is taken
    /// back, so that the id is as unknown as if the disk had refused it.
    async fn begin(&self, slip: &Slip, running: &mut JoinSet<()>) -> Result<Begun, StoreError> {
        if self.store.hangs() {
            return Err(StoreError::Hangs);
        }
        let (store, id, device) = (self.store.clone(), slip.id.clone(), slip.device.clone());
        let at = self.clock.now();
        let mut beginning = Box::pin(async move {
            let begun = store.begin(&id, &device, at).await;
            (store, id, device, begun)
        });
        let known = async { Ok(beginning.as_mut().await.3) };
        match self.store.unless_it_hangs(known).await {
            Ok(begun) => begun,
            Err(error) => {
                running.spawn(async move {
                    if let (store, id, device, Ok(Begun::Fresh)) = beginning.await
                        && let Err(error) = store.withdraw(&id, &device).await
                    {
                        tracing::error!(%id, %device, %error, "a command that was not to be kept stays in the journal");
                    }
                });
                Err(error)
            }
        }
    }

    /// What the same message would be answered at any time.
    fn judge_without_memory(
        &self,
        slip: &Slip,
        parsed: Result<Order, Malformed>,
        is_retained: bool,
        is_nameless_redelivery: bool,
    ) -> Result<(Order, Permission<'_>), Refusal> {
        let order = parsed.map_err(|malformed| Refusal::refused(Reason::Malformed, malformed.detail))?;
        if is_retained {
            return Err(Refusal::refused(
                Reason::Retained,
                "a retained command is an order from the past; publish it without the retain flag",
            ));
        }
        if is_nameless_redelivery {
            return Err(Refusal::refused(
                Reason::Redelivered,
                "the command was sent again and carries no `id`, so it may have run already",
            ));
        }
        if !self.options.mailboxes.contains_key(&slip.device) {
            return Err(Refusal::refused(
                Reason::NoSuchDevice,
                format!("there is no device {}", slip.device),
            ));
        }
        let permission = self.options.allow.permission(&slip.device, &order.request, &slip.origin)?;
        Ok((order, permission))
    }

    /// The id is durable: checks the time and hands the command to its device.
    async fn start(
        self: &Arc<Self>,
        slip: Slip,
        (order, permission): (Order, Permission<'_>),
        arrival: Arrival,
        running: &mut JoinSet<()>,
    ) {
        let now = Now {
            monotonic: Instant::now(),
            wall: self.clock.now(),
            is_trusted: self.clock.is_trusted(),
            on_the_wall: permission.asks_the_hour().then(|| self.clock.wall_time()).flatten(),
        };
        let admitted = admission::deadline(&order, arrival, self.options.timing, now)
            .and_then(|deadline| Ok((deadline, permission.now(now)?)));
        let refusal = match admitted {
            Err(refusal) => refusal,
            Ok(_) if running.len() >= MOST_AT_ONCE => {
                Refusal::refused(Reason::Busy, format!("{MOST_AT_ONCE} commands are under way already"))
            }
            Ok((deadline, one_use)) => {
                let (reply, answer) = oneshot::channel();
                let command = Command {
                    id: slip.id.clone(),
                    device: slip.device.clone(),
                    request: order.request,
                    origin: slip.origin.clone(),
                    deadline,
                };
                tracing::info!(id = %slip.id, device = %slip.device, origin = %slip.origin, "command admitted");
                let sent = self
                    .options
                    .mailboxes
                    .get(&slip.device)
                    .is_some_and(|mailbox| mailbox.try_send(Actuation { command, reply }).is_ok());
                if sent {
                    self.options.receipts.command(Stage::Admitted, &slip.id, &slip.device);
                    one_use.count(now);
                    let desk = self.clone();
                    running.spawn(async move { desk.wait(slip, answer).await });
                    return;
                }
                Refusal::refused(Reason::Busy, "the device still works on earlier commands")
            }
        };
        let outcome = self.outcome(&slip, refusal);
        if let Err(error) = self.tell(&slip, outcome, true).await {
            tracing::error!(id = %slip.id, %error, "failed to keep a command's outcome");
        }
    }

    async fn wait(&self, slip: Slip, answer: oneshot::Receiver<ActuationReply>) {
        let (reply, reason) = match answer.await {
            Ok(reply) => {
                let reason = match reply.status {
                    OutcomeStatus::Applied => None,
                    OutcomeStatus::Refused => Some(Reason::Malformed),
                    OutcomeStatus::Expired => Some(Reason::TooLate),
                    OutcomeStatus::Failed => Some(Reason::DeviceError),
                    OutcomeStatus::Unknown => Some(Reason::NotConfirmed),
                };
                (reply, reason)
            }
            Err(_) => (
                ActuationReply {
                    status: OutcomeStatus::Unknown,
                    detail: Some("the device's part of the gateway stopped while the command ran".to_owned()),
                },
                Some(Reason::Interrupted),
            ),
        };
        let id = slip.id.clone();
        if let Err(error) = self.conclude(slip, reply, reason).await {
            tracing::error!(%id, %error, "failed to keep a command's outcome; the next start reports it as unknown");
        }
    }

    async fn conclude(
        &self,
        slip: Slip,
        reply: ActuationReply,
        reason: Option<Reason>,
    ) -> Result<(), StoreError> {
        let outcome = Outcome {
            id: slip.id.clone(),
            device: slip.device.clone(),
            status: reply.status,
            reason,
            detail: reply.detail,
            at: self.clock.now(),
            duplicate: false,
        };
        self.tell(&slip, outcome, true).await
    }

    fn outcome(&self, slip: &Slip, refusal: Refusal) -> Outcome {
        Outcome {
            id: slip.id.clone(),
            device: slip.device.clone(),
            status: refusal.status,
            reason: Some(refusal.reason),
            detail: Some(refusal.detail),
            at: self.clock.now(),
            duplicate: false,
        }
    }

    /// Tells an outcome: durable (with the journal if `is_first`), then to the house; to the house at once when
    /// the disk hangs. What came from home is told there only; what a rule did is told in the cloud, too, since
    /// nobody asked for it there.
    async fn tell(&self, slip: &Slip, mut outcome: Outcome, is_first: bool) -> Result<(), StoreError> {
        if let Some(why) = &slip.unkept {
            let happened = outcome.detail.map(|detail| format!("{detail}; ")).unwrap_or_default();
            outcome.detail = Some(format!("{happened}not written down: {why}"));
            self.report(slip, outcome).await;
            return Ok(());
        }
        let told = Told { origin: slip.origin.clone(), outcome };
        let entries = match slip.origin {
            Origin::Cloud(_) | Origin::Rule | Origin::Forgotten => (self.options.tell)(&told, &slip.reply_to),
            Origin::Local(_) => Vec::new(),
        };
        let keeping = async {
            if is_first {
                self.store.finish(told.outcome.clone(), entries).await?.await.map(drop)
            } else {
                self.append(entries).await
            }
        };
        let kept = self.store.unless_it_hangs(keeping).await;
        self.report(slip, told.outcome).await;
        kept
    }

    async fn append(&self, entries: Vec<Entry>) -> Result<(), StoreError> {
        for entry in entries {
            self.store.append(entry).await?.await?;
        }
        Ok(())
    }

    async fn report(&self, slip: &Slip, outcome: Outcome) {
        tracing::info!(
            id = %slip.id, device = %slip.device, origin = %slip.origin, status = outcome.status.as_str(),
            reason = ?outcome.reason, detail = outcome.detail.as_deref().unwrap_or_default(), "command concluded"
        );
        self.options.receipts.command(Stage::Ended(outcome.status), &slip.id, &slip.device);
        self.board.command(CommandReport { origin: slip.origin.to_string(), outcome: outcome.clone() });
        // Nobody listens any more only at the very end of a stop.
        let _ = self.told.send(Told { origin: slip.origin.clone(), outcome }).await;
    }
}

fn new_id() -> CommandId {
    let text = format!("gw-{:016x}", fastrand::u64(..));
    CommandId::parse(&text).expect("hexadecimal digits are printable and few")
}
