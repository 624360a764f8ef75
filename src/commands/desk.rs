//! The desk where commands arrive: in order up to the mailbox, then each waits for its device.
//!
//! Order: what can be refused without memory is refused (and told) without touching the journal;
//! then `begin`, durable; then the MQTT acknowledgement; then the time (the command's age, the
//! allow-list's quiet hours and rates), and the mailbox. Those from home and those from the cloud have a way each. On
//! each way commands begin at once, so that those of a scene share a commit, and what follows is done in the order in
//! which they came: two commands of one origin for one device keep their order, and nobody at home waits behind the
//! cloud, however much comes from there. The waiting for devices, and the telling of an answer, which may wait for the
//! disk, are not part of that: a slow toaster does not hold up the lamp, nor a refusal.
//!
//! A disk that refuses or hangs: what carries an id, and everything from the cloud, does not run, for it could
//! run again. A command from home without an id, or a rule's, runs all the same and is not written down: nobody
//! could tell its repetition anyway, and the light must go on (promise 4). Nobody waits for a disk that hangs.

use std::{collections::HashMap, sync::Arc};

use futures_util::StreamExt;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    AllowList, Timing,
    admission::{self, Arrival, Now, Refusal},
    allow::Permission,
    lane::{Candidate, Lane, MOST_AT_ONCE, MOST_BEGINNING},
    payload::{self, Malformed, Order},
    register::{NotBegun, Register},
    teller::{ReplyTo, Slip, Tell, Teller, Told},
};
use crate::{
    clock::Clock,
    health::Board,
    model::{
        Ack, Actuation, ActuationReply, Command, CommandId, DeviceId, Mailbox, Message, Origin, Outcome,
        OutcomeStatus, Reason, Receipts, Stage, Staleness, Timestamp,
    },
    store::{Begun, Store, StoreError},
};

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
    allow: AllowList,
    timing: Timing,
    mailboxes: HashMap<DeviceId, Mailbox>,
    receipts: Receipts,
    register: Register,
    teller: Arc<Teller>,
    clock: Clock,
    /// Ends of interrupted commands that are not on the disk yet.
    unsettled: JoinSet<()>,
}

impl Desk {
    /// A desk whose outcomes go to `told` (full: who tells them waits) and, for commands from the cloud,
    /// into the outbox.
    pub fn new(
        options: CommandsOptions,
        store: Store,
        board: Board,
        clock: Clock,
        told: mpsc::Sender<Told>,
    ) -> Self {
        let CommandsOptions { allow, timing, mailboxes, tell, receipts } = options;
        let register = Register::new(store.clone(), clock.clone());
        let teller = Arc::new(Teller::new(tell, receipts.clone(), store, board, told));
        Self { allow, timing, mailboxes, receipts, register, teller, clock, unsettled: JoinSet::new() }
    }

    /// Begins to tell the end of every command that a stop or a crash interrupted: `unknown`, never run again. What the
    /// disk does not take is tried again until `stop`.
    ///
    /// # Errors
    /// [`StoreError`] when the journal cannot be read.
    pub async fn settle_interrupted(&mut self, stop: &CancellationToken) -> Result<(), StoreError> {
        for (id, device) in self.register.interrupted().await? {
            // The cloud is told, for it may still wait.
            let (origin, reply_to) = (Origin::Forgotten, ReplyTo::default());
            let slip = Slip { id, device, origin, reply_to, age: None, unkept: None };
            let reply = ActuationReply {
                status: OutcomeStatus::Unknown,
                detail: Some("the gateway stopped while the command ran; it will not run again".to_owned()),
            };
            let outcome = self.ended(&slip, reply, Some(Reason::Interrupted));
            self.unsettled.spawn(self.teller.clone().conclude(slip, outcome, None, stop.clone()));
        }
        Ok(())
    }

    /// Takes commands from home, a rule's among them, and commands from the cloud, until `stop` or until nobody can
    /// send any more; then waits for those that run. Devices answer within their own limits, or drop the way back.
    pub async fn run(
        mut self,
        home: mpsc::Receiver<Incoming>,
        cloud: mpsc::Receiver<Incoming>,
        stop: CancellationToken,
    ) {
        let unsettled = std::mem::take(&mut self.unsettled);
        let desk = Arc::new(self);
        // Each goes on while the other one waits for the disk.
        tokio::join!(
            desk.serve(home, Lane::new(unsettled, stop.clone())),
            desk.serve(cloud, Lane::new(JoinSet::new(), stop.clone())),
        );
    }

    async fn serve<'a>(self: &'a Arc<Self>, mut incoming: mpsc::Receiver<Incoming>, mut lane: Lane<'a>) {
        loop {
            // Cancel safety: `recv`, `cancelled`, `next` and `join_next` lose nothing when dropped. Biased: what has
            // ended makes room before something new is taken.
            tokio::select! {
                biased;
                () = lane.stop.cancelled() => break,
                Some(_) = lane.tasks.join_next(), if !lane.tasks.is_empty() => {}
                Some((candidate, begun)) = lane.beginning.next(), if !lane.beginning.is_empty() => {
                    self.decide(candidate, begun, &mut lane).await;
                }
                next = incoming.recv(), if lane.beginning.len() < MOST_BEGINNING => match next {
                    None => break,
                    Some(command) => self.take(command, &mut lane).await,
                },
            }
        }
        while let Some((candidate, begun)) = lane.beginning.next().await {
            self.decide(candidate, begun, &mut lane).await;
        }
        while lane.tasks.join_next().await.is_some() {}
    }

    /// Refuses the command or has it begin.
    async fn take<'a>(self: &'a Arc<Self>, incoming: Incoming, lane: &mut Lane<'a>) {
        let Incoming { device, message, received, redelivered, staleness, origin, ack } = incoming;
        let properties = message.properties.as_deref();
        let reply_to = properties.map(ReplyTo::of).unwrap_or_default();
        let arrival = Arrival { received, life_left: properties.and_then(|p| p.expiry), staleness };
        let parsed = payload::parse(&message.payload);
        let (named, reply_to) = match &parsed {
            Ok(Order { id, reply_to: said, .. }) | Err(Malformed { id, reply_to: said, .. }) => {
                (id.clone(), reply_to.or(said))
            }
        };
        let may_run_unkept = match origin {
            Origin::Local(_) => named.is_none(),
            // Their ids are our own, and each is used once.
            Origin::Rule | Origin::Page => true,
            Origin::Cloud(_) | Origin::Forgotten => false,
        };
        let id = named.clone().unwrap_or_else(new_id);
        let sent = parsed.as_ref().ok().and_then(|order| order.at).filter(|_| self.clock.is_trusted());
        // The time since it was received is the gateway's own, and not its age on arrival.
        let arrived = |sent: Timestamp| self.clock.now().since(sent.plus(received.elapsed()));
        let slip = Slip { id, device, origin, reply_to, age: sent.and_then(arrived), unkept: None };
        self.receipts.command(Stage::Received, &slip.id, &slip.device);
        match self.judge_without_memory(&slip, parsed, message.retain, redelivered && named.is_none()) {
            Err(refusal) => {
                let outcome = self.outcome(&slip, refusal);
                self.answer(slip, outcome, ack, lane).await;
            }
            Ok((order, permission)) => {
                let candidate = Candidate { slip, order, permission, arrival, may_run_unkept, ack };
                let stop = lane.stop.clone();
                lane.beginning.push_back(Box::pin(async move {
                    let Slip { id, device, .. } = &candidate.slip;
                    let begun = self.register.begin(id, device, stop).await;
                    (candidate, begun)
                }));
            }
        }
    }

    /// What is done by what the journal said.
    async fn decide(
        self: &Arc<Self>,
        mut candidate: Candidate<'_>,
        begun: Result<Begun, NotBegun>,
        lane: &mut Lane<'_>,
    ) {
        let Slip { id, device, .. } = &candidate.slip;
        let begun = begun.map_err(|NotBegun { error, way_back }| {
            if let Some(way_back) = way_back {
                lane.tasks.spawn(way_back);
            }
            error
        });
        match begun {
            Err(error) if candidate.may_run_unkept => {
                tracing::warn!(%id, %device, %error, "a command from home runs without the journal");
                candidate.slip.unkept = Some(error.to_string());
                self.start(candidate, lane).await;
            }
            Err(error) => {
                // Not acknowledged: the cloud sends it again, and by then it may be too late.
                tracing::error!(%id, %device, %error, "command not run: its id cannot be kept");
                let refusal = Refusal::refused(Reason::NotDurable, error.to_string());
                self.teller.report(&candidate.slip, self.outcome(&candidate.slip, refusal)).await;
            }
            Ok(Begun::Running) => {
                tracing::info!(%id, %device, "duplicate of a command that still runs");
                candidate.ack.send();
            }
            Ok(Begun::Finished(outcome)) => {
                tracing::info!(%id, %device, "duplicate of a finished command");
                let duplicate = Outcome { duplicate: true, ..outcome };
                self.answer(candidate.slip, duplicate, candidate.ack, lane).await;
            }
            Ok(Begun::Fresh) => self.start(candidate, lane).await,
        }
    }

    /// Answers what is not to be written into the journal, without waiting for the disk. Acknowledged when the answer
    /// is kept: until then the cloud sends it again, and is told then.
    async fn answer(&self, slip: Slip, outcome: Outcome, ack: Ack, lane: &mut Lane<'_>) {
        let Some(room) = lane.room_for_answer(&slip.origin).await else { return };
        let teller = self.teller.clone();
        lane.tasks.spawn(async move {
            match teller.answer(&slip, outcome).await {
                Ok(()) => ack.send(),
                Err(error) => {
                    tracing::error!(id = %slip.id, %error, "failed to keep an answer for the cloud");
                }
            }
            drop(room);
        });
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
        if !self.mailboxes.contains_key(&slip.device) {
            return Err(Refusal::refused(
                Reason::NoSuchDevice,
                format!("there is no device {}", slip.device),
            ));
        }
        let permission = self.allow.permission(&slip.device, &order.request, &slip.origin)?;
        Ok((order, permission))
    }

    /// The id is durable, or need not be: acknowledges, checks the time and hands the command to its device.
    async fn start(self: &Arc<Self>, candidate: Candidate<'_>, lane: &mut Lane<'_>) {
        let Candidate { slip, order, permission, arrival, may_run_unkept: _, ack } = candidate;
        ack.send();
        let now = Now {
            monotonic: Instant::now(),
            wall: self.clock.now(),
            is_trusted: self.clock.is_trusted(),
            on_the_wall: permission.asks_the_hour().then(|| self.clock.wall_time()).flatten(),
        };
        let admitted = admission::deadline(&order, arrival, self.timing, now)
            .and_then(|deadline| Ok((deadline, permission.now(now)?)))
            .and_then(|(deadline, one_use)| match lane.under_way.clone().try_acquire_owned() {
                Ok(room) => Ok((deadline, one_use, room)),
                Err(_) => Err(Refusal::refused(
                    Reason::Busy,
                    format!("{MOST_AT_ONCE} commands are under way already"),
                )),
            });
        let refusal = match admitted {
            Err(refusal) => refusal,
            Ok((deadline, one_use, room)) => {
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
                    .mailboxes
                    .get(&slip.device)
                    .is_some_and(|mailbox| mailbox.try_send(Actuation { command, reply }).is_ok());
                if sent {
                    self.receipts.command(Stage::Admitted, &slip.id, &slip.device);
                    one_use.count(now);
                    let (desk, stop) = (self.clone(), lane.stop.clone());
                    lane.tasks.spawn(async move { desk.wait(slip, answer, room, stop).await });
                    // What began in one commit follows at once: the device has a turn before its mailbox is full.
                    tokio::task::yield_now().await;
                    return;
                }
                Refusal::refused(Reason::Busy, "the device still works on earlier commands")
            }
        };
        let outcome = self.outcome(&slip, refusal);
        // It is in the journal, so it must be answered: whoever came by this way waits.
        let room = lane.answers.clone().acquire_owned().await.ok();
        lane.tasks.spawn(self.teller.clone().conclude(slip, outcome, room, lane.stop.clone()));
    }

    async fn wait(
        &self,
        slip: Slip,
        answer: oneshot::Receiver<ActuationReply>,
        room: OwnedSemaphorePermit,
        stop: CancellationToken,
    ) {
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
        let outcome = self.ended(&slip, reply, reason);
        self.teller.clone().conclude(slip, outcome, Some(room), stop).await;
    }

    fn ended(&self, slip: &Slip, reply: ActuationReply, reason: Option<Reason>) -> Outcome {
        Outcome {
            id: slip.id.clone(),
            device: slip.device.clone(),
            status: reply.status,
            reason,
            detail: reply.detail,
            at: self.clock.now(),
            duplicate: false,
        }
    }

    fn outcome(&self, slip: &Slip, refusal: Refusal) -> Outcome {
        let reply = ActuationReply { status: refusal.status, detail: Some(refusal.detail) };
        self.ended(slip, reply, Some(refusal.reason))
    }
}

fn new_id() -> CommandId {
    let text = format!("gw-{:016x}", fastrand::u64(..));
    CommandId::parse(&text).expect("hexadecimal digits are printable and few")
}
