//! One device's task: frames in, readings out, one command at a time.
//!
//! Owns the timers that every device shares: a command's deadline, its confirmation, the silence
//! after which a device is offline. The device itself is asked, never waited for. What must outlive
//! the device's code, because that may panic, is the [`Desk`], which belongs to the supervisor.

use std::{future::pending, time::Duration};

use futures_util::future::BoxFuture;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    Changes, Check, Confirm, Device, DeviceError, Frame, Presence, Span,
    bus::{FromBus, Write, WriteError},
    desk::{DRAIN, Desk},
};
use crate::model::{Actuation, ActuationReply, Availability, DeviceId, Fields, OutcomeStatus};

/// How long a device that announces itself may be silent at the start before it counts as offline.
const FIRST_WORD: Duration = Duration::from_secs(10);
/// How long a frame may wait for its bus when no command's deadline bounds it.
const SEND_WITHIN: Duration = Duration::from_secs(2);

enum Phase {
    Sending { sending: BoxFuture<'static, Result<(), WriteError>>, check: Option<Check>, within: Duration },
    Waiting { check: Check, until: Instant },
}

/// The command under way.
struct Job {
    actuation: Actuation,
    detail: Option<String>,
    /// Fields read since the command was begun.
    seen: Fields,
    phase: Phase,
}

enum Wake {
    Stop,
    Command(Actuation),
    Bus(FromBus),
    Sent(Result<(), WriteError>),
    NotConfirmed,
    Silence,
}

/// Runs a device until `stop`; the command under way is then brought to an end within [`DRAIN`].
pub(super) async fn run(device: &mut dyn Device, desk: &mut Desk, stop: &CancellationToken) {
    let presence = device.presence();
    let mut runner = Runner { device, desk, stop, presence, silent_at: None, job: None, is_draining: false };
    runner.begin().await;
    while runner.turn().await {}
    runner.is_draining = true;
    runner.desk.refuse_waiting("the gateway is stopping");
    let hard_stop = Instant::now() + DRAIN;
    while runner.job.is_some() && timeout_at(hard_stop, runner.turn()).await.is_ok() {}
    runner.end(OutcomeStatus::Unknown, "it was sent, but the gateway stopped before the device showed it");
}

/// Sends frames one after the other. The first must be begun before `deadline`; what was begun is finished.
async fn send(
    bus: mpsc::Sender<Write>,
    device: DeviceId,
    frames: Vec<Frame>,
    deadline: Instant,
) -> Result<(), WriteError> {
    for (index, frame) in frames.into_iter().enumerate() {
        let deadline = if index == 0 { deadline } else { Instant::now() + SEND_WITHIN };
        let (write, ticket) = Write::new(device.clone(), frame, deadline);
        let result = match timeout_at(deadline, bus.send(write)).await {
            Ok(Ok(())) => ticket.wait().await,
            Ok(Err(_)) => Err(WriteError::NotSent("the bus has stopped".to_owned())),
            Err(_) => Err(WriteError::TooLate),
        };
        match result {
            Ok(()) => {}
            Err(error) if index == 0 => return Err(error),
            Err(error) => return Err(WriteError::Uncertain(format!("only a part of it was sent: {error}"))),
        }
    }
    Ok(())
}

struct Runner<'a> {
    device: &'a mut dyn Device,
    desk: &'a mut Desk,
    stop: &'a CancellationToken,
    presence: Presence,
    /// When the silence becomes an absence.
    silent_at: Option<Instant>,
    job: Option<Job>,
    is_draining: bool,
}

impl Runner<'_> {
    async fn begin(&mut self) {
        if !self.desk.state.is_empty() {
            self.device.restore(&self.desk.state);
        }
        let entities = self.device.entities(&self.desk.state);
        self.desk.tell_entities(entities, self.stop).await;
        let now = Instant::now();
        match self.presence {
            Presence::Assumed => self.desk.own_word = Some(Availability::Online),
            Presence::Heard(silence) => self.silent_at = silence.map(|silence| now + silence),
            Presence::Announced if self.desk.own_word.is_none() => self.silent_at = Some(now + FIRST_WORD),
            Presence::Announced => {}
        }
        // One that announces itself is asked when it says that it is there.
        if self.presence != Presence::Announced || self.desk.own_word == Some(Availability::Online) {
            self.inquire();
        }
        self.desk.tell_availability(self.stop).await;
    }

    /// One thing that happens; false when it was the stop.
    async fn turn(&mut self) -> bool {
        match self.wake().await {
            Wake::Stop => return false,
            Wake::Command(actuation) => self.start(actuation),
            Wake::Bus(said) => self.hear(said).await,
            Wake::Sent(result) => self.sent(result),
            Wake::NotConfirmed => self.not_confirmed(),
            Wake::Silence => {
                self.silent_at = None;
                self.desk.own_word = Some(Availability::Offline);
                if let (Presence::Heard(Some(silence)), None) = (self.presence, &self.desk.bus_fault) {
                    let silence = Span(silence);
                    // Told apart from one that its bus cannot reach, which has a sentence of its own.
                    self.desk.fault =
                        Some(format!("its bus works, but nothing was heard of it for {silence}"));
                }
                self.desk.tell_availability(self.stop).await;
                self.desk.report();
            }
        }
        true
    }

    async fn wake(&mut self) -> Wake {
        let Desk { inbox, mailbox, held, .. } = &mut *self.desk;
        if let Some(said) = held.pop_front() {
            return Wake::Bus(said);
        }
        let (is_idle, is_open) = (self.job.is_none(), !self.is_draining);
        let progress = async {
            match self.job.as_mut().map(|job| &mut job.phase) {
                Some(Phase::Sending { sending, .. }) => Wake::Sent(sending.await),
                Some(Phase::Waiting { until, .. }) => {
                    sleep_until(*until).await;
                    Wake::NotConfirmed
                }
                None => pending().await,
            }
        };
        // Cancel safe: receivers, timers, and a sending future that is kept and polled by reference.
        tokio::select! {
            biased;
            () = self.stop.cancelled(), if is_open => Wake::Stop,
            Some(actuation) = mailbox.recv(), if is_idle && is_open => Wake::Command(actuation),
            wake = progress => wake,
            Some(said) = inbox.recv() => Wake::Bus(said),
            () = sleep_until(self.silent_at.unwrap_or_else(Instant::now)), if self.silent_at.is_some() => Wake::Silence,
        }
    }

    fn start(&mut self, actuation: Actuation) {
        let command = &actuation.command;
        if Instant::now() >= command.deadline {
            return answer(actuation, OutcomeStatus::Expired, Some(WriteError::TooLate.to_string()));
        }
        let plan = match self.device.encode(&command.request, &self.desk.state) {
            Ok(plan) => plan,
            Err(error) => return answer(actuation, OutcomeStatus::Failed, Some(error.to_string())),
        };
        let (check, within) = match plan.confirm {
            Confirm::Sent => (None, Duration::ZERO),
            Confirm::State { check, within } => (Some(check), within),
        };
        let (bus, id) = (self.desk.bus.clone(), self.desk.id.clone());
        let sending = Box::pin(send(bus, id, plan.frames, command.deadline));
        let phase = Phase::Sending { sending, check, within };
        self.job = Some(Job { actuation, detail: plan.detail, seen: Fields::new(), phase });
    }

    fn sent(&mut self, result: Result<(), WriteError>) {
        match result {
            Ok(()) => {}
            Err(error @ WriteError::TooLate) => return self.end(OutcomeStatus::Expired, &error.to_string()),
            Err(WriteError::NotSent(problem)) => return self.end(OutcomeStatus::Failed, &problem),
            Err(WriteError::Uncertain(problem)) => return self.end(OutcomeStatus::Unknown, &problem),
        }
        let Some(mut job) = self.job.take() else { return };
        job.phase = match job.phase {
            Phase::Sending { check: Some(check), within, .. } => {
                let until = (Instant::now() + within).min(job.actuation.command.deadline);
                Phase::Waiting { check, until }
            }
            Phase::Sending { check: None, .. } => {
                return answer(job.actuation, OutcomeStatus::Applied, job.detail);
            }
            waiting @ Phase::Waiting { .. } => waiting,
        };
        self.job = Some(job);
        self.settle();
    }

    /// Ends the command under way if what was seen since its beginning shows that it was done.
    fn settle(&mut self) {
        let is_shown = |job: &mut Job| matches!(&job.phase, Phase::Waiting { check, .. } if check(&job.seen));
        if let Some(job) = self.job.take_if(is_shown) {
            answer(job.actuation, OutcomeStatus::Applied, job.detail);
        }
    }

    fn not_confirmed(&mut self) {
        let absent = match self.desk.availability() {
            Some(Availability::Offline) => "; it was offline",
            Some(Availability::Online) | None => "",
        };
        self.end(
            OutcomeStatus::Unknown,
            &format!("it was sent, but the device did not show it in time{absent}"),
        );
    }

    fn end(&mut self, status: OutcomeStatus, detail: &str) {
        if let Some(job) = self.job.take() {
            answer(job.actuation, status, Some(detail.to_owned()));
        }
    }

    async fn hear(&mut self, said: FromBus) {
        match said {
            FromBus::Frame(frame) => return self.read(&frame).await,
            FromBus::Found => {
                self.desk.bus_fault = None;
                if let Presence::Heard(Some(silence)) = self.presence {
                    // It could not be heard while it was out of reach.
                    self.silent_at = Some(Instant::now() + silence);
                }
                self.inquire();
            }
            FromBus::Lost(reason) => self.desk.bus_fault = Some(reason),
            FromBus::BusFailed(reason) => {
                self.desk.restarts = self.desk.restarts.saturating_add(1);
                self.desk.bus_fault = Some(reason);
            }
        }
        self.desk.tell_availability(self.stop).await;
        self.desk.report();
    }

    async fn read(&mut self, frame: &Frame) {
        let now = self.desk.clock.now();
        let changes = match self.device.decode(frame, now) {
            Ok(changes) => changes,
            Err(error) => {
                let fault = error.to_string();
                if let DeviceError::Unread { field, .. } = &error {
                    self.unread(field, fault);
                } else if self.desk.fault.as_ref() != Some(&fault) {
                    warn!(device = %self.desk.id, fault, "a frame was not understood");
                    self.desk.fault = Some(fault);
                }
                return self.desk.report();
            }
        };
        self.desk.fault = None;
        for (field, problem) in &changes.unread {
            let fault = DeviceError::unread(&self.desk.id, field, problem).to_string();
            self.unread(field, fault);
        }
        self.desk.unread.retain(|field, _| !changes.fields.contains_key(field));
        if !frame.retained {
            self.desk.last_seen = Some(now);
            if let Presence::Heard(silence) = self.presence {
                self.desk.own_word = Some(Availability::Online);
                self.silent_at = silence.map(|silence| Instant::now() + silence);
            }
            self.confirm(&changes);
        }
        if let Some(word) = changes.availability {
            let came = word == Availability::Online && self.desk.own_word != Some(word);
            self.desk.own_word = Some(word);
            self.silent_at = None;
            if came {
                self.inquire();
            }
        }
        self.desk.tell_availability(self.stop).await;
        self.describe(&changes.fields).await;
        self.desk.tell_reading(changes.fields, frame.retained, now, self.stop).await;
        self.desk.report();
    }

    /// A field is not told. Logged once: what is asked for again and again is refused again and again.
    fn unread(&mut self, field: &str, fault: String) {
        if self.desk.unread.get(field) != Some(&fault) {
            warn!(device = %self.desk.id, fault, "a frame was not understood");
            self.desk.unread.insert(field.to_owned(), fault);
        }
    }

    /// Before a reading brings a field that was not there, the world is told what it is.
    async fn describe(&mut self, read: &Fields) {
        if read.keys().all(|field| self.desk.state.contains_key(field)) {
            return;
        }
        let mut state = self.desk.state.clone();
        state.extend(read.clone());
        let entities = self.device.entities(&state);
        self.desk.tell_entities(entities, self.stop).await;
    }

    fn confirm(&mut self, changes: &Changes) {
        if let Some(reason) = &changes.refusal {
            self.end(OutcomeStatus::Failed, reason);
        } else if let Some(job) = &mut self.job {
            job.seen.extend(changes.fields.clone());
            self.settle();
        }
    }

    fn inquire(&mut self) {
        for frame in self.device.inquire() {
            let write = Write::unheard(self.desk.id.clone(), frame, Instant::now() + SEND_WITHIN);
            // Full: left out. It is asked again when it comes back, and speaks by itself at last.
            let _ = self.desk.bus.try_send(write);
        }
    }
}

fn answer(actuation: Actuation, status: OutcomeStatus, detail: Option<String>) {
    // Whoever asked may have gone.
    let _ = actuation.reply.send(ActuationReply { status, detail });
}
