//! The loop that obeys the state machine: one task that owns the connection, the pump and the intake.
//!
//! Decides nothing. Every wait is cancel-safe; nothing here waits for the store or the inbox while
//! the line has something to say.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    LinkError, LinkOptions,
    access::Issuer,
    diagnose::Breakage,
    driver::{Driver, Errand, Full},
    enrolment,
    intake::{Intake, Taken},
    origin::count_down,
    pump::{Pump, Pumped},
    state::{Effect, Event, Machine, Place, Settings, View, Which},
    tls::Credentials,
    watch::{Stamps, Watch},
    way::Way,
    wire::{Version, Wire},
};
use crate::{
    clock::Clock,
    health::{Board, LinkReport},
    model::{Ack, Caller, Calls, Fault, FaultKind, Inbound, KeyEvent, LinkState, Stage, Timestamp},
    store::{Highest, Store},
};

/// How long the last words of connections may take when the link has ended.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A connection, and the credentials that it has.
struct Held {
    driver: Driver,
    credentials: Credentials,
}

/// The line to the cloud, ready to run.
pub struct Link {
    options: Arc<LinkOptions>,
    /// What worked last, or what there was at the start; or why that cannot be used.
    credentials: Result<Credentials, LinkError>,
    /// What lies in the files since, and was not proved yet, with its number.
    fresh: Option<(u64, Credentials)>,
    /// How many sets were read since the start.
    sets: u64,
    /// Of the files, when `credentials` were read.
    stamps: Stamps,
    issuer: Arc<Issuer>,
    appended: watch::Receiver<Highest>,
    pump: Pump,
    intake: Intake,
    board: Board,
    clock: Clock,
    driver: Option<Held>,
    /// The second connection beside a good one.
    trial: Option<Held>,
    /// When what was said to be let in must be said anew.
    renewal: Option<Instant>,
    /// Connections that we let go and that still close.
    tasks: TaskTracker,
    last_view: Option<View>,
    /// What was logged of each place since the line was up last: the same again is no news.
    logged: BTreeMap<Place, Fault>,
    connected: Option<(u64, Timestamp)>,
    calls: (Caller, Calls),
}

impl Link {
    /// Reads certificates and key. What is wrong with them is a fault of the line, which comes up once the files are
    /// mended.
    ///
    /// # Errors
    /// [`LinkError::NoWay`] and [`LinkError::HalfACertificate`].
    pub fn prepare(
        options: LinkOptions,
        store: Store,
        inbox: mpsc::Sender<Inbound>,
        board: Board,
        clock: Clock,
    ) -> Result<Self, LinkError> {
        if options.brokers.is_empty() || options.brokers.iter().any(Vec::is_empty) {
            return Err(LinkError::NoWay);
        }
        // Before they are read: what changes meanwhile is seen.
        let stamps = Stamps::of(files(&options));
        if options.certificate_file.is_some() != options.key_file.is_some() {
            return Err(LinkError::HalfACertificate);
        }
        // What is wrong with them keeps the line down, and not the home: a new certificate may lie there without its key
        // because the power went in between.
        let credentials = Credentials::of(&options);
        if let Ok(credentials) = &credentials {
            enrolment::tell(&board, credentials.certificate(), options.key_file.as_deref());
        }
        // Until the first connection it is down.
        store.set_line_up(false);
        Ok(Self {
            credentials,
            fresh: None,
            sets: 0,
            stamps,
            appended: store.appended(),
            pump: Pump::new(store, options.receipts.clone()),
            issuer: Arc::new(Issuer::new(options.access.clone())),
            options: Arc::new(options),
            intake: Intake::new(inbox),
            board,
            clock,
            driver: None,
            trial: None,
            renewal: None,
            tasks: TaskTracker::new(),
            last_view: None,
            logged: BTreeMap::new(),
            connected: None,
            calls: Calls::channel(),
        })
    }

    /// Asks whether its task turns. Whatever the network does, it does.
    pub fn caller(&self) -> Caller {
        self.calls.0.clone()
    }

    /// Keeps the line up until `stop`: then waits for what is in flight (2 s at most), publishes the
    /// will as an ordinary message, disconnects and returns.
    ///
    /// # Errors
    /// [`LinkError::StoreStopped`].
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), LinkError> {
        let mut machine = Machine::new(self.settings(), fastrand::u64(..), Instant::now());
        let mut watch = {
            let (options, clock) = (self.options.clone(), self.clock.clone());
            Watch::start(self.stamps.clone(), move || Credentials::renewed(&options, &clock))
        };
        let mut pending = Some(Event::Appended(*self.appended.borrow_and_update()));
        let mut is_stopping = false;
        loop {
            let event = match pending.take() {
                Some(event) => event,
                None => self.next_event(&machine, &mut watch, &stop, is_stopping).await?,
            };
            is_stopping |= matches!(event, Event::Stop);
            let mut next = Some(event);
            // What came together is told together.
            while let Some(event) = next.take() {
                let effects = machine.step(event, Instant::now());
                for effect in effects {
                    if effect == Effect::Finish {
                        return self.finish(&mut machine).await;
                    }
                    match self.obey(effect, machine.turn()) {
                        Ok(None) => {}
                        // Dialling is the last of its effects.
                        Ok(Some(event)) => pending = Some(event),
                        Err(Full) => {
                            let full =
                                Breakage::new(FaultKind::NoAnswer, "the connection takes no more requests");
                            pending = Some(Event::Wire(Wire::Broken(full)));
                            break;
                        }
                    }
                }
                if pending.is_none() {
                    next = self.driver.as_mut().and_then(|held| held.driver.more()).map(Event::Wire);
                }
            }
            self.report(&mut machine);
        }
    }

    /// Nothing more will come.
    async fn finish(mut self, machine: &mut Machine) -> Result<(), LinkError> {
        for held in [self.driver.take(), self.trial.take()] {
            self.hang_up(held);
        }
        self.pump.line_is_down();
        self.report(machine);
        self.tasks.close();
        // What they still have to say is the cloud's loss after that.
        let _ = timeout(LAST_WORDS, self.tasks.wait()).await;
        self.pump.finish().await.map_err(|_| LinkError::StoreStopped)
    }

    fn settings(&self) -> Settings {
        let options = &self.options;
        Settings {
            ways: options.brokers.iter().map(Vec::len).collect(),
            climb_after: options.climb_after,
            subscriptions: options.subscriptions.clone(),
            hellos: options.hellos.clone(),
            birth: options.birth.clone(),
            will: options.will.clone(),
            fence: options.fence.clone(),
            keep_alive: options.keep_alive,
            answer_limit: options.answer_limit,
            backoff: options.backoff,
            window: options.window,
            backlog_rate: options.backlog_rate,
            version: options.version,
            limits: options.limits.clone(),
        }
    }

    async fn next_event(
        &mut self,
        machine: &Machine,
        watch: &mut Watch<Result<Credentials, LinkError>>,
        stop: &CancellationToken,
        is_stopping: bool,
    ) -> Result<Event, LinkError> {
        let deadline = machine.deadline();
        let renewal = self.renewal;
        // Every arm is cancel-safe: each says so where it is defined, and sleeping, `changed` and
        // `cancelled` are by tokio's word.
        tokio::select! {
            () = stop.cancelled(), if !is_stopping => Ok(Event::Stop),
            wire = next_wire(&mut self.driver) => {
                if matches!(wire, Wire::Connected(_)) {
                    self.plan_renewal();
                }
                Ok(Event::Wire(wire))
            }
            wire = next_wire(&mut self.trial) => Ok(Event::Trial(wire)),
            loaded = watch.next() => Ok(self.on_loaded(loaded)),
            () = sleep_until(renewal) => {
                self.renewal = None;
                Ok(Event::Due)
            }
            answer = self.pump.next() => match answer {
                Ok(Pumped::Read(fetch, records)) => Ok(Event::Stored(fetch, records)),
                Ok(Pumped::Settled(sequences)) => Ok(Event::Settled(sequences)),
                Err(_) => Err(LinkError::StoreStopped),
            },
            changed = self.appended.changed() => match changed {
                Ok(()) => Ok(Event::Appended(*self.appended.borrow_and_update())),
                Err(_) => Err(LinkError::StoreStopped),
            },
            taken = self.intake.next() => Ok(match taken {
                Taken::Handled(packet) => Event::Handled(packet),
                Taken::Unhandled => Event::Unhandled,
            }),
            never = self.calls.1.answer() => match never {},
            () = sleep_until(deadline) => Ok(Event::Tick),
        }
    }

    /// What is to be done; an event that follows at once, if one does.
    fn obey(&mut self, effect: Effect, turn: usize) -> Result<Option<Event>, Full> {
        match effect {
            Effect::Dial(version, place, which) => match self.credentials(which) {
                Ok(credentials) => self.driver = Some(self.start(version, place, turn, credentials)),
                Err(fault) => return Ok(Some(Event::Wire(Wire::Broken(fault.into())))),
            },
            Effect::Try(version, place, which, purpose) => match self.credentials(which) {
                Ok(credentials) => {
                    tracing::info!(?purpose, way = %self.way(place), "trying a second connection to the cloud");
                    self.trial = Some(self.start(version, place, turn, credentials));
                }
                Err(fault) => return Ok(Some(Event::Trial(Wire::Broken(fault.into())))),
            },
            Effect::EndTrial => {
                let held = self.trial.take();
                self.hang_up(held);
            }
            Effect::ChangeOver => {
                self.driver = self.trial.take();
                self.plan_renewal();
            }
            Effect::Adopt => self.adopt(),
            Effect::HangUp => {
                let held = self.driver.take();
                self.hang_up(held);
                self.let_go();
            }
            Effect::Leave => {
                if let Some(held) = self.driver.take() {
                    self.tasks.spawn(held.driver.leave());
                }
                self.let_go();
            }
            Effect::LineUp => self.pump.line_is_up(),
            Effect::Deliver { message, redelivered, staleness, packet } => {
                let (ack, handled) = if packet == 0 {
                    (Ack::none(), tokio::sync::oneshot::channel().1)
                } else {
                    Ack::channel()
                };
                let inbound = Inbound { message, received: Instant::now(), redelivered, staleness, ack };
                self.intake.deliver(inbound, packet, handled);
            }
            Effect::AcknowledgeInTurn(packet) => self.intake.acknowledge_in_turn(packet),
            Effect::Fetch(fetch) => self.pump.fetch(fetch),
            Effect::Delete(sequence) => self.pump.delete(sequence),
            Effect::Hurry => self.pump.hurry(),
            Effect::Discard(sequence) => self.pump.discard(sequence),
            Effect::DiscardOversize(sequence) => self.pump.discard_oversize(sequence),
            Effect::Subscribe(filters) => {
                self.tell(|driver| driver.subscribe(filters))?;
            }
            Effect::Publish(mut message, origin) => {
                if let Some(origin) = &origin {
                    count_down(&mut message, self.pump.age(origin.born));
                }
                let id = origin.map(|origin| origin.id);
                let told = id.clone().filter(|_| self.options.receipts.follow_messages());
                let is_taken = self.tell(|driver| driver.publish(message, id))?;
                if let Some(id) = told
                    && is_taken
                {
                    self.options.receipts.message(Stage::Sent, &id, None);
                }
            }
            Effect::Acknowledge(packet) => {
                self.tell(|driver| driver.acknowledge(packet))?;
            }
            Effect::Disconnect => {
                self.tell(Driver::disconnect)?;
            }
            // `run` returns at it.
            Effect::Finish => {}
        }
        Ok(None)
    }

    fn way(&self, place: Place) -> &Way {
        // The machine knows only places that are there, and `prepare` saw to it that there is one.
        let ways = self.options.brokers.get(place.broker).unwrap_or(&self.options.brokers[0]);
        ways.get(place.way).unwrap_or(&ways[0])
    }

    fn credentials(&self, which: Which) -> Result<Credentials, Fault> {
        match (which, &self.fresh) {
            (Which::Fresh(wanted), Some((number, fresh))) if *number == wanted => Ok(fresh.clone()),
            _ => self.credentials.clone().map_err(|error| error.fault()),
        }
    }

    fn start(&self, version: Version, place: Place, turn: usize, credentials: Credentials) -> Held {
        let errand = Errand {
            options: self.options.clone(),
            issuer: self.issuer.clone(),
            credentials: credentials.clone(),
            clock: self.clock.clone(),
            traffic: self.board.traffic(),
            way: self.way(place).clone(),
            version,
            turn,
        };
        Held { driver: Driver::start(errand), credentials }
    }

    /// The line is up with what it has: that is good, and stays so whatever comes into the files.
    fn adopt(&mut self) {
        let Some(held) = &self.driver else { return };
        tracing::info!("the line has new credentials");
        enrolment::tell(&self.board, held.credentials.certificate(), self.options.key_file.as_deref());
        self.credentials = Ok(held.credentials.clone());
    }

    /// The connection is let in; what it said for that may be good for some time only.
    fn plan_renewal(&mut self) {
        let Some(held) = &self.driver else { return };
        let due = held.driver.renew_at().filter(|_| self.clock.is_trusted());
        let left = due.map(|due| due.since(self.clock.now()).unwrap_or_default());
        self.renewal = left.map(|left| Instant::now() + left);
    }

    fn on_loaded(&mut self, loaded: Result<Credentials, LinkError>) -> Event {
        match loaded {
            Ok(credentials) => {
                self.sets += 1;
                self.fresh = Some((self.sets, credentials));
                Event::Fresh(self.sets)
            }
            Err(error) => {
                self.fresh = None;
                Event::Stale(error.fault())
            }
        }
    }

    /// What was written still goes out.
    fn hang_up(&self, held: Option<Held>) {
        if let Some(held) = held {
            self.tasks.spawn(held.driver.close());
        }
    }

    /// From now on nothing is sent.
    fn let_go(&mut self) {
        self.renewal = None;
        self.pump.line_is_down();
        self.intake.clear();
    }

    /// Whether the connection took it: not when there is none or it is over. Why it is over comes as an event. A publish
    /// told from then on has no receipt; the machine, which cannot know, has counted it as sent and counts it again as
    /// sent again.
    fn tell(&mut self, command: impl FnOnce(&mut Driver) -> Result<(), Full>) -> Result<bool, Full> {
        match &mut self.driver {
            Some(Held { driver, .. }) if !driver.is_over() => command(driver).map(|()| true),
            _ => Ok(false),
        }
    }

    /// Tells the board and the log what has changed.
    fn report(&mut self, machine: &mut Machine) {
        if let Some(counters) = machine.changed_counters() {
            self.board.link_counters(|sums| *sums = counters);
        }
        if let Some(trip) = machine.take_round_trip() {
            self.board.round_trip(trip);
        }
        for refusal in machine.take_refusals() {
            self.board.refused(refusal);
        }
        let view = machine.view();
        if self.last_view.as_ref() == Some(&view) {
            return;
        }
        if view.connection == 0 {
            self.connected = None;
        } else if self.connected.is_none_or(|(number, _)| number != view.connection) {
            self.connected = Some((view.connection, self.clock.now()));
        }
        self.log(&view);
        self.board.link(LinkReport {
            state: view.state,
            endpoint: self.way(view.place).to_string(),
            protocol: view.protocol,
            connected_since: self.connected.map(|(_, since)| since),
            fault: view.fault.clone(),
            next_attempt_in: view.wait,
            keep_alive: view.keep_alive,
            echoed: view.echoed,
            kept_out: view.refusal.clone(),
        });
        self.last_view = Some(view);
    }

    fn log(&mut self, view: &View) {
        let last = self.last_view.as_ref();
        if let Some(fault) = &view.refusal
            && last.is_none_or(|last| last.refusal != view.refusal)
        {
            let remedy = fault.kind.remedy();
            tracing::warn!(
                kind = fault.kind.name(),
                detail = fault.detail,
                remedy,
                "new credentials are kept out; the line goes on with the old ones"
            );
        }
        if last.is_some_and(|last| last.state == view.state && last.connection == view.connection) {
            return;
        }
        match (view.state, &view.fault) {
            (LinkState::Waiting, Some(fault)) => {
                let before = self.logged.insert(view.place, fault.clone());
                if before.as_ref() != Some(fault) {
                    let event = KeyEvent::LineDown;
                    let (kind, remedy, way) = (fault.kind.name(), fault.kind.remedy(), self.way(view.place));
                    tracing::warn!(
                        message_id = event.id(), kind, detail = fault.detail, %way, wait = ?view.wait, remedy, "{}", event.says()
                    );
                }
            }
            (LinkState::Online, _) => {
                self.logged.clear();
                let (event, way) = (KeyEvent::LineUp, self.way(view.place));
                tracing::info!(message_id = event.id(), protocol = view.protocol, %way, "{}", event.says());
            }
            _ => tracing::debug!(state = ?view.state, "the line to the cloud changed"),
        }
    }
}

fn files(options: &LinkOptions) -> Vec<PathBuf> {
    let files = [&options.ca_file, &options.certificate_file, &options.key_file];
    files.into_iter().flatten().chain(options.access.files()).cloned().collect()
}

async fn next_wire(held: &mut Option<Held>) -> Wire {
    match held {
        Some(held) => held.driver.next().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
