//! One chip's adapter: between the keeper's thread and the devices' tasks.
//!
//! Owns what needs no hardware: who is meant, the numbering of edges, the gathering of pulses, and the signs of life that
//! the keeper waits for. Decides nothing about an output. Invariant: signs of life, writes and readings do not wait
//! for each other.

use std::{
    future::pending,
    sync::{Arc, mpsc::SyncSender},
    thread::JoinHandle,
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::{
    runtime::Handle,
    sync::mpsc,
    time::{Instant, interval, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    super::{Adapter, AdapterError, FromBus, Ports, ToDevices, WriteError, Writes},
    ChipName, Member, OpenChip, Role, Said,
    cdev::CharacterDevice,
    chip::Heard,
    counter::Counter,
    guard::{Told, What},
    keeper::{self, Request, Setup},
    pi::Pi,
};

/// What the keeper may have said and no device has heard yet. Full: the keeper keeps it.
const TOLD: usize = 256;
/// Edges that no device has heard of yet. Full: they wait in the kernel.
const EDGES: usize = 256;
/// After which silence the gateway counts as stuck.
const WATCHDOG: Duration = Duration::from_secs(10);
/// How long the keeper may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(3);

pub(in crate::devices) struct GpioAdapter {
    chip: ChipName,
    members: Vec<Member>,
    opener: Option<Arc<dyn OpenChip>>,
    watchdog: Duration,
    /// The keeper of the last start; its chip must be free before another can have it.
    keeper: Option<JoinHandle<()>>,
    was_started: bool,
}

impl GpioAdapter {
    pub(in crate::devices) fn new(chip: ChipName, members: Vec<Member>) -> Self {
        Self { chip, members, opener: None, watchdog: WATCHDOG, keeper: None, was_started: false }
    }

    /// On a chip of one's own.
    #[cfg(test)]
    pub(super) fn with(members: Vec<Member>, opener: Arc<dyn OpenChip>, watchdog: Duration) -> Self {
        Self { opener: Some(opener), watchdog, ..Self::new(ChipName::Auto, members) }
    }

    fn opener(&self) -> Arc<dyn OpenChip> {
        match (&self.opener, &self.chip) {
            (Some(opener), _) => opener.clone(),
            (None, ChipName::Auto) => Arc::new(Pi),
            (None, chip) => Arc::new(CharacterDevice::new(chip.clone(), Handle::current())),
        }
    }

    fn failed(&self, problem: impl Into<String>) -> AdapterError {
        AdapterError { bus: self.name(), problem: problem.into() }
    }

    /// Waits for the keeper's end, which makes its outputs safe; why it ended, if by a panic.
    async fn end(&mut self) -> Result<(), AdapterError> {
        let Some(keeper) = self.keeper.take() else { return Ok(()) };
        let until = Instant::now() + ENDS_WITHIN;
        // Not joined before it is over: that would block a thread of the runtime, for ever if the hardware does.
        while !keeper.is_finished() {
            if Instant::now() >= until {
                self.keeper = Some(keeper);
                return Err(self.failed("its hardware does not answer"));
            }
            sleep(Duration::from_millis(2)).await;
        }
        keeper.join().map_err(|panic| {
            let words = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let words = words.or_else(|| panic.downcast_ref::<String>().cloned());
            self.failed(format!("its thread failed: {}", words.unwrap_or_default()))
        })
    }
}

/// What is known of a device's edges.
struct Ear {
    /// The claim that they belong to.
    claim: u64,
    /// The number of the last one.
    sequence: u32,
    missed: u64,
    counter: Option<Counter>,
}

impl Ear {
    /// Whether news of this claim are worth hearing.
    fn turns_to(&mut self, claim: u64) -> bool {
        if claim > self.claim {
            (self.claim, self.sequence, self.missed) = (claim, 0, 0);
            if let Some(counter) = &mut self.counter {
                counter.begin();
            }
        }
        claim == self.claim
    }

    /// How many are missing before this one.
    fn gap(&mut self, sequence: u32) -> u64 {
        let gap = sequence.wrapping_sub(self.sequence).wrapping_sub(1);
        self.sequence = sequence;
        // One that goes back is a source that numbers in another way.
        if gap > u32::MAX / 2 { 0 } else { u64::from(gap) }
    }
}

/// The devices' side: hears the keeper and the edges, tells the devices.
struct Teller<'a> {
    members: &'a [Member],
    ears: Vec<Ear>,
    devices: &'a ToDevices,
    requests: &'a SyncSender<Request>,
}

impl Teller<'_> {
    /// Until the keeper has ended.
    async fn run(&mut self, told: &mut mpsc::Receiver<Told>, edges: &mut mpsc::Receiver<Heard>) {
        loop {
            let next = self.ears.iter().filter_map(|ear| Some(ear.counter.as_ref()?.next)).min();
            // Cancel safe: receivers and a timer.
            tokio::select! {
                biased;
                told = told.recv() => match told {
                    Some(told) => self.tell(told).await,
                    None => return,
                },
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => self.count().await,
                Some(heard) = edges.recv() => self.hear(heard).await,
            }
        }
    }

    async fn say(&self, post: usize, said: Said) {
        self.devices.tell(&self.members[post].id, FromBus::Frame(said.frame())).await;
    }

    async fn tell(&mut self, Told { post, what }: Told) {
        match what {
            What::Bus(what) => self.devices.tell(&self.members[post].id, what).await,
            What::Level { claim, is_high } => {
                let ear = &mut self.ears[post];
                // An edge of this claim knows better.
                let is_news = ear.turns_to(claim) && ear.sequence == 0;
                match &mut ear.counter {
                    Some(counter) => counter.next = Instant::now(),
                    None if is_news => {
                        self.say(post, Said::Input(self.members[post].connection.is_on(is_high))).await;
                    }
                    None => {}
                }
            }
        }
    }

    async fn hear(&mut self, Heard { post, claim, news }: Heard) {
        let ear = &mut self.ears[post];
        if !ear.turns_to(claim) {
            return;
        }
        let edge = match news {
            Ok(edge) => edge,
            Err(reason) => {
                // Full: the keeper has other troubles, and the device tells no lie, only nothing new.
                if self.requests.try_send(Request::Lost(reason)).is_err() {
                    warn!(device = %self.members[post].id, "the edges of a line ended");
                }
                return;
            }
        };
        let gap = ear.gap(edge.sequence);
        if gap > 0 {
            warn!(device = %self.members[post].id, gap, "edges came too fast, and the kernel dropped some");
            ear.missed = ear.missed.saturating_add(gap);
        }
        match &mut ear.counter {
            Some(counter) => counter.add(gap.saturating_add(1), edge.at, Instant::now()),
            None => {
                let missed = ear.missed;
                self.say(post, Said::Input(self.members[post].connection.is_on(edge.is_high))).await;
                if gap > 0 {
                    self.say(post, Said::Missed(missed)).await;
                }
            }
        }
    }

    async fn count(&mut self) {
        let now = Instant::now();
        for post in 0..self.ears.len() {
            let ear = &mut self.ears[post];
            // Before its line was claimed, it has nothing to tell.
            if let Some(counter) = ear.counter.as_mut().filter(|counter| counter.next <= now) {
                let (said, is_claimed) = (counter.tell(now), ear.claim > 0);
                if is_claimed {
                    self.say(post, said).await;
                }
            }
        }
    }
}

async fn write(writes: &mut Writes, members: &[Member], requests: &SyncSender<Request>) {
    while let Some(write) = writes.next().await {
        let Some(post) = members.iter().position(|member| member.id == write.device) else {
            write.answer(Err(WriteError::NotSent("it is not on this chip".to_owned())));
            continue;
        };
        use std::sync::mpsc::TrySendError;
        let refused = match requests.try_send(Request::Write { post, write }) {
            Ok(()) => continue,
            Err(TrySendError::Full(refused) | TrySendError::Disconnected(refused)) => refused,
        };
        if let Request::Write { write, .. } = refused {
            write.answer(Err(WriteError::NotSent("the hardware does not answer".to_owned())));
        }
    }
    pending::<()>().await;
}

/// Gives the keeper ten signs of life in the time that it waits for one.
async fn feed(requests: &SyncSender<Request>, watchdog: Duration) {
    let mut feeds = interval(watchdog / 10);
    loop {
        feeds.tick().await;
        // Full: it has other signs of life.
        let _ = requests.try_send(Request::Feed);
    }
}

impl Adapter for GpioAdapter {
    fn name(&self) -> String {
        self.chip.to_string()
    }

    fn run<'a>(
        &'a mut self,
        ports: &'a mut Ports,
        stop: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), AdapterError>> {
        Box::pin(async move {
            self.end().await?;
            let (to_told, mut told) = mpsc::channel(TOLD);
            let (to_edges, mut edges) = mpsc::channel(EDGES);
            let setup = Setup {
                name: self.name(),
                opener: self.opener(),
                members: self.members.clone(),
                is_start: !std::mem::replace(&mut self.was_started, true),
                watchdog: self.watchdog,
                told: to_told,
                edges: to_edges,
            };
            let (requests, keeper) = keeper::start(setup)
                .map_err(|problem| self.failed(format!("its thread cannot be started: {problem}")))?;
            self.keeper = Some(keeper);
            ports.devices.up().await;
            let ear = |member: &Member| Ear {
                claim: 0,
                sequence: 0,
                missed: 0,
                counter: match member.role {
                    Role::Counter { every, .. } => Some(Counter::new(every, Instant::now() + every)),
                    _ => None,
                },
            };
            let ears = self.members.iter().map(ear).collect();
            let mut teller =
                Teller { members: &self.members, ears, devices: &ports.devices, requests: &requests };
            // Cancel safe: at the stop nobody listens any more, and a write cut off answers by its drop.
            tokio::select! {
                () = stop.cancelled() => {}
                () = teller.run(&mut told, &mut edges) => {}
                () = write(&mut ports.writes, &self.members, &requests) => {}
                () = feed(&requests, self.watchdog) => {}
            }
            drop(requests);
            self.end().await
        })
    }
}
