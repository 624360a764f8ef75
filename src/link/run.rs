//! The loop that obeys the state machine: one task that owns the connection, the pump and the intake.
//!
//! Decides nothing. Every wait is cancel-safe; nothing here waits for the store or the inbox while
//! the line has something to say.

use std::sync::Arc;

use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    LinkError, LinkOptions,
    diagnose::Breakage,
    driver::Driver,
    intake::{Intake, Taken},
    origin::count_down,
    pump::{Pump, Pumped},
    state::{Effect, Event, Machine, Settings, View},
    tls::Credentials,
    wire::{Full, Wire},
};
use crate::{
    clock::Clock,
    health::{Board, LinkReport},
    model::{Ack, FaultKind, Inbound, LinkState, Stage, Timestamp},
    store::{Highest, Store},
};

/// The line to the cloud, ready to run: files read and checked.
pub struct Link {
    options: Arc<LinkOptions>,
    credentials: Credentials,
    appended: watch::Receiver<Highest>,
    pump: Pump,
    intake: Intake,
    board: Board,
    clock: Clock,
    driver: Option<Driver>,
    last_view: Option<View>,
    connected: Option<(u64, Timestamp)>,
}

impl Link {
    /// Reads and checks certificates and key.
    ///
    /// # Errors
    /// Each broken file has its own [`LinkError`], with the remedy.
    pub fn prepare(
        options: LinkOptions,
        store: Store,
        inbox: mpsc::Sender<Inbound>,
        board: Board,
        clock: Clock,
    ) -> Result<Self, LinkError> {
        let own = match (&options.certificate_file, &options.key_file) {
            (Some(certificate), Some(key)) => Some((certificate.as_path(), key.as_path())),
            (None, None) => None,
            _ => return Err(LinkError::HalfACertificate),
        };
        let credentials = Credentials::load(options.ca_file.as_deref(), own, &clock)?;
        // Until the first connection it is down.
        store.set_line_up(false);
        Ok(Self {
            credentials,
            appended: store.appended(),
            pump: Pump::new(store, options.receipts.clone()),
            options: Arc::new(options),
            intake: Intake::new(inbox),
            board,
            clock,
            driver: None,
            last_view: None,
            connected: None,
        })
    }

    /// Keeps the line up until `stop`: then waits for what is in flight (2 s at most), publishes the
    /// will as an ordinary message, disconnects and returns.
    ///
    /// # Errors
    /// [`LinkError::StoreStopped`].
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), LinkError> {
        let mut machine = Machine::new(self.settings(), fastrand::u64(..), Instant::now());
        let mut pending = Some(Event::Appended(*self.appended.borrow_and_update()));
        let mut is_stopping = false;
        loop {
            let event = match pending.take() {
                Some(event) => event,
                None => self.next_event(&machine, &stop, is_stopping).await?,
            };
            is_stopping |= matches!(event, Event::Stop);
            let effects = machine.step(event, Instant::now());
            for effect in effects {
                if effect == Effect::Finish {
                    self.driver = None;
                    self.pump.line_is_down();
                    self.report(&mut machine);
                    return self.pump.finish().await.map_err(|_| LinkError::StoreStopped);
                }
                if self.obey(effect, machine.turn()).is_err() {
                    let full = Breakage::new(FaultKind::NoAnswer, "the connection takes no more requests");
                    pending = Some(Event::Wire(Wire::Broken(full)));
                    break;
                }
            }
            self.report(&mut machine);
        }
    }

    fn settings(&self) -> Settings {
        let options = &self.options;
        Settings {
            subscriptions: options.subscriptions.clone(),
            birth: options.birth.clone(),
            will: options.will.clone(),
            fence: options.fence.clone(),
            keep_alive: options.keep_alive,
            answer_limit: options.answer_limit,
            backoff: options.backoff,
            window: options.window,
            backlog_rate: options.backlog_rate,
        }
    }

    async fn next_event(
        &mut self,
        machine: &Machine,
        stop: &CancellationToken,
        is_stopping: bool,
    ) -> Result<Event, LinkError> {
        let deadline = machine.deadline();
        // Every arm is cancel-safe: each says so where it is defined, and sleeping, `changed` and
        // `cancelled` are by tokio's word.
        tokio::select! {
            () = stop.cancelled(), if !is_stopping => Ok(Event::Stop),
            wire = next_wire(&mut self.driver) => Ok(Event::Wire(wire)),
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
            () = sleep_until(deadline) => Ok(Event::Tick),
        }
    }

    fn obey(&mut self, effect: Effect, turn: usize) -> Result<(), Full> {
        match effect {
            Effect::Dial(version) => {
                let (options, credentials) = (&self.options, &self.credentials);
                self.driver = Some(Driver::start(version, options, credentials, &self.clock, turn));
            }
            Effect::HangUp => {
                self.driver = None;
                self.pump.line_is_down();
                self.intake.clear();
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
            Effect::Subscribe(filters) => {
                self.tell(|client| client.subscribe(&filters))?;
            }
            Effect::Publish(mut message, origin) => {
                if let Some(origin) = &origin {
                    count_down(&mut message, self.pump.age(origin.born));
                }
                let id = origin.as_ref().map(|origin| &origin.id);
                let is_taken = self.tell(|client| client.publish(&message, id))?;
                if let Some(id) = id
                    && is_taken
                {
                    self.options.receipts.message(Stage::Sent, id, None);
                }
            }
            Effect::Acknowledge(packet) => {
                self.tell(|client| client.acknowledge(packet))?;
            }
            Effect::Disconnect => {
                self.tell(|client| client.disconnect())?;
            }
            // `run` returns at it.
            Effect::Finish => {}
        }
        Ok(())
    }

    /// Whether the connection took it: not when there is none or it is over.
    fn tell(&self, command: impl FnOnce(&super::wire::Client) -> Result<(), Full>) -> Result<bool, Full> {
        let Some(driver) = &self.driver else { return Ok(false) };
        let told = command(driver.client());
        // It is not full but over. What it still said, and why it is over, comes as events. A publish told from here on
        // has no receipt; the machine, which cannot know, has counted it as sent and counts it again as sent again.
        if driver.is_over() { Ok(false) } else { told.map(|()| true) }
    }

    /// Tells the board and the log what has changed.
    fn report(&mut self, machine: &mut Machine) {
        if let Some(counters) = machine.changed_counters() {
            self.board.link_counters(|sums| *sums = counters);
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
            endpoint: self.options.url.to_string(),
            protocol: view.protocol,
            connected_since: self.connected.map(|(_, since)| since),
            fault: view.fault.clone(),
            next_attempt_in: view.wait,
            keep_alive: view.keep_alive,
            echoed: view.echoed,
        });
        self.last_view = Some(view);
    }

    fn log(&self, view: &View) {
        let last = self.last_view.as_ref();
        if last.is_some_and(|last| last.state == view.state && last.connection == view.connection) {
            return;
        }
        match (view.state, &view.fault) {
            (LinkState::Waiting, Some(fault))
                if last.is_none_or(|last| last.fault.as_ref() != Some(fault)) =>
            {
                let (kind, remedy) = (fault.kind, fault.kind.remedy());
                tracing::warn!(?kind, detail = fault.detail, wait = ?view.wait, remedy, "the line to the cloud is down");
            }
            (LinkState::Online, _) => {
                tracing::info!(protocol = view.protocol, "the line to the cloud is up");
            }
            _ => tracing::debug!(state = ?view.state, "the line to the cloud changed"),
        }
    }
}

async fn next_wire(driver: &mut Option<Driver>) -> Wire {
    match driver {
        Some(driver) => driver.next().await,
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
