//! The thread that keeps a chip: it makes every call to the hardware, and has the last word on the outputs.
//!
//! Owns the [`Guard`], the times, and the watchdog: whatever comes from the gateway's runtime says that the runtime lives,
//! and after a silence the outputs go to their safe state. It does so, too, at the stop, when the chip is lost and comes
//! back, and when its own code panics. Invariant: it never waits for the runtime. Rejected: tasks of the runtime; a
//! gateway that is stuck would leave the heating on.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::sync::mpsc;
use tracing::{error, info, warn};

use super::{
    super::{FromBus, Write, WriteError},
    Cause, Member, OpenChip, Order,
    chip::Heard,
    guard::{Fault, Guard, Told, What},
};
use crate::retry::{Backoff, Policy};

/// How many requests may wait. Full: a write is refused, a sign of life left out.
const REQUESTS: usize = 64;
/// What may wait for a runtime that does not listen. Full: the oldest goes, for the newest is how it is.
const BACKLOG: usize = 256;
/// How often it is looked whether the runtime listens again.
const LOOK: Duration = Duration::from_millis(50);
/// How long it is waited before a chip that is gone is opened again.
const OPENS: Policy = Policy {
    first: Duration::from_millis(50),
    longest: Duration::from_secs(2),
    stable_after: Duration::from_secs(10),
};

/// What comes from the runtime.
pub(super) enum Request {
    /// A device's write.
    Write { post: usize, write: Write },
    /// Nothing but that it lives.
    Feed,
    /// A source of edges has dried up, with the reason.
    Lost(String),
}

/// What a keeper needs.
pub(super) struct Setup {
    pub(super) name: String,
    pub(super) opener: Arc<dyn OpenChip>,
    pub(super) members: Vec<Member>,
    /// The gateway has just started: outputs become what they shall be at first. Else something failed, and they stay safe.
    pub(super) is_start: bool,
    /// After which silence the runtime counts as stuck.
    pub(super) watchdog: Duration,
    pub(super) told: mpsc::Sender<Told>,
    pub(super) edges: mpsc::Sender<Heard>,
}

/// Starts a keeper. It ends, its outputs safe, when the sender is dropped.
pub(super) fn start(setup: Setup) -> std::io::Result<(SyncSender<Request>, JoinHandle<()>)> {
    let (sender, requests) = sync_channel(REQUESTS);
    let keeper = Keeper { setup, requests, backlog: VecDeque::new(), lost: None, claim: 0 };
    let thread = thread::Builder::new().name("gpio".to_owned()).spawn(move || keeper.run())?;
    Ok((sender, thread))
}

enum End {
    Stop,
    Lost(String),
}

struct Keeper {
    setup: Setup,
    requests: Receiver<Request>,
    backlog: VecDeque<Told>,
    /// Why the chip is gone, as the devices were told.
    lost: Option<String>,
    /// Counts the openings.
    claim: u64,
}

impl Keeper {
    fn run(mut self) {
        let mut opens = Backoff::new(OPENS);
        loop {
            let since = Instant::now();
            let reason = match self.setup.opener.open() {
                Ok(chip) => {
                    self.claim += 1;
                    let (members, lost) = (&self.setup.members, self.lost.as_deref());
                    let mut guard = Guard::new(chip, members, self.setup.edges.clone(), lost, Instant::now());
                    let end = catch_unwind(AssertUnwindSafe(|| self.serve(&mut guard)));
                    // A chip counts as lost, too, when only a source of edges has ended: some outputs may still obey.
                    if let Err(problem) = guard.make_safe(Cause::Start, Instant::now()) {
                        error!(chip = self.setup.name, problem, "outputs may not be in their safe state");
                    }
                    match end {
                        Ok(End::Stop) => return,
                        Ok(End::Lost(reason)) => reason,
                        Err(panic) => resume_unwind(panic),
                    }
                }
                Err(reason) => reason,
            };
            self.lose(reason);
            if !self.wait(opens.after_failure(since.elapsed(), 1.0)) {
                return;
            }
        }
    }

    /// Keeps an open chip.
    fn serve(&mut self, guard: &mut Guard) -> End {
        let result = self.turn_until_stop(guard);
        let said = guard.said();
        self.tell(said);
        match result {
            Ok(()) => End::Stop,
            Err(reason) => End::Lost(reason),
        }
    }

    fn turn_until_stop(&mut self, guard: &mut Guard) -> Result<(), String> {
        if let Err(reason) = guard.claim_all(self.claim, Instant::now()) {
            // Nothing of it is true any more.
            guard.said();
            return Err(reason);
        }
        if std::mem::take(&mut self.setup.is_start) {
            guard.begin(Instant::now())?;
        }
        info!(chip = self.setup.name, "a GPIO chip is open");
        self.lost = None;
        let (mut fed, mut is_starving) = (Instant::now(), false);
        loop {
            let now = Instant::now();
            guard.tick(self.claim, now)?;
            if !is_starving && now >= fed + self.setup.watchdog {
                is_starving = true;
                self.starve(guard, now)?;
            }
            let said = guard.said();
            self.tell(said);
            let starves = (!is_starving).then(|| fed + self.setup.watchdog);
            let looks = (!self.backlog.is_empty()).then(|| now + LOOK);
            let next = [guard.next(), starves, looks].into_iter().flatten().min();
            let wait =
                next.map_or(Duration::from_secs(60), |next| next.saturating_duration_since(Instant::now()));
            match self.requests.recv_timeout(wait) {
                Ok(request) => {
                    let silence = fed.elapsed();
                    fed += silence;
                    if !is_starving && silence >= self.setup.watchdog {
                        // The whole program stood still, and this thread with it.
                        is_starving = true;
                        self.starve(guard, fed)?;
                    }
                    if std::mem::take(&mut is_starving) {
                        warn!(chip = self.setup.name, "the gateway goes on");
                    }
                    match request {
                        Request::Write { post, write } => carry_out(guard, post, write)?,
                        Request::Feed => {}
                        Request::Lost(reason) => return Err(reason),
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    /// The runtime was silent for too long.
    fn starve(&self, guard: &mut Guard, now: Instant) -> Result<(), String> {
        let silence = self.setup.watchdog.as_secs_f64();
        error!(chip = self.setup.name, silence, "the gateway is stuck; the outputs go to their safe state");
        guard.make_safe(Cause::Watchdog, now)
    }

    /// Waits while there is no chip; who writes meanwhile hears why not. False at a stop.
    fn wait(&mut self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        loop {
            self.tell(Vec::new());
            let left = until.saturating_duration_since(Instant::now());
            let left = if self.backlog.is_empty() { left } else { left.min(LOOK) };
            match self.requests.recv_timeout(left) {
                Ok(Request::Write { write, .. }) => {
                    let reason = self.lost.clone().unwrap_or_default();
                    write.answer(Err(WriteError::NotSent(reason)));
                }
                Ok(Request::Feed | Request::Lost(_)) => {}
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) if Instant::now() >= until => return true,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn lose(&mut self, reason: String) {
        if self.lost.as_ref() == Some(&reason) {
            return;
        }
        warn!(chip = self.setup.name, reason, "a GPIO chip is out of reach");
        let what = What::Bus(FromBus::Lost(reason.clone()));
        let all = 0..self.setup.members.len();
        self.tell(all.map(|post| Told { post, what: what.clone() }).collect());
        self.lost = Some(reason);
    }

    /// Tells what is to be told, as far as the runtime listens.
    fn tell(&mut self, said: Vec<Told>) {
        self.backlog.extend(said);
        while let Some(told) = self.backlog.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(told)) = self.setup.told.try_send(told) {
                self.backlog.push_front(told);
                break;
            }
        }
        let overrun = self.backlog.len().saturating_sub(BACKLOG);
        if overrun > 0 {
            warn!(chip = self.setup.name, overrun, "the gateway does not listen; old states were dropped");
            self.backlog.drain(..overrun);
        }
    }
}

/// Carries out a device's write. An error: the chip is gone.
fn carry_out(guard: &mut Guard, post: usize, write: Write) -> Result<(), String> {
    // It may have waited here.
    if write.left().is_zero() {
        write.answer(Err(WriteError::TooLate));
        return Ok(());
    }
    let Some(order) = Order::read(&write.frame) else {
        write.answer(Err(WriteError::NotSent("it is no order for a GPIO line".to_owned())));
        return Ok(());
    };
    match guard.order(post, order, Instant::now()) {
        Ok(()) => write.answer(Ok(())),
        Err(Fault::Refused(reason)) => write.answer(Err(WriteError::NotSent(reason))),
        Err(Fault::Doubtful(reason)) => write.answer(Err(WriteError::Uncertain(reason))),
        Err(Fault::Lost(reason)) => {
            write
                .answer(Err(WriteError::Uncertain(format!("the chip was lost while it switched: {reason}"))));
            return Err(reason);
        }
    }
    Ok(())
}
