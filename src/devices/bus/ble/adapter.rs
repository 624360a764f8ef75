//! One Bluetooth adapter: waits until it is there, has a [`session`] on it, and waits again when it was lost.
//!
//! Owns what the devices are told of it and what the board shows. Invariant: whatever is missing (bus, daemon, right,
//! adapter, power) has its sentence, is looked for again, and heals without a hand on the gateway.

use std::{
    future::pending,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    super::{Adapter, AdapterError, FromBus, Ports, WriteError},
    BleMember, BleSettings,
    bluez::{self, Sight},
    central::Connection,
    counts::{Counts, count},
    session::{End, Session},
};
use crate::{
    health::{Board, BusReport},
    model::DeviceId,
    retry::{Backoff, Policy},
};

/// How long it is waited before what is missing is looked for again: a dongle that was plugged in is found within
/// seconds.
const LOOKS: Policy = Policy::of_attempts(Duration::from_millis(250), Duration::from_secs(2));
/// Switching on what somebody switched off, and opening what does not open, may do harm if it is done too often.
const TRIES: Policy = Policy::of_attempts(Duration::from_secs(1), Duration::from_secs(30));
/// From the end of a session to the look for the next one: one that ends as soon as it began must not spin.
const RENEWALS: Policy = Policy {
    first: Duration::from_millis(250),
    longest: Duration::from_secs(5),
    stable_after: Duration::from_secs(60),
};

pub(in crate::devices) struct BleAdapter {
    settings: BleSettings,
    members: Vec<BleMember>,
    board: Board,
    counts: Arc<Counts>,
    /// Why it does not work, as the devices were told.
    lost: Option<String>,
}

impl BleAdapter {
    pub(in crate::devices) fn new(settings: BleSettings, members: Vec<BleMember>, board: Board) -> Self {
        Self { settings, members, board, counts: Arc::default(), lost: None }
    }

    fn report(&self) {
        self.board.bus(BusReport {
            name: self.settings.to_string(),
            fault: self.lost.clone(),
            counts: self.counts.list(),
        });
    }

    async fn lose(&mut self, ports: &Ports, reason: String) {
        if self.lost.as_ref() == Some(&reason) {
            return;
        }
        warn!(adapter = %self.settings, reason, "Bluetooth does not work");
        if self.lost.is_none() {
            count(&self.counts.adapter_lost);
        }
        for member in &self.members {
            ports.devices.tell(&member.id, FromBus::Lost(reason.clone())).await;
        }
        self.lost = Some(reason);
        self.report();
    }

    /// Waits for an adapter that is there and switched on; `None` at a stop.
    async fn find(&mut self, ports: &mut Ports, stop: &CancellationToken) -> Option<Sight> {
        let (mut looks, mut tries) = (Backoff::new(LOOKS), Backoff::new(TRIES));
        loop {
            let wanted = self.settings.adapter.clone();
            let (result, backoff) = match self.refusing(ports, stop, bluez::look(wanted)).await? {
                Ok(sight) if sight.is_powered => return Some(sight),
                Ok(sight) => {
                    info!(adapter = sight.name, "the Bluetooth adapter is off; it is switched on");
                    (self.refusing(ports, stop, bluez::switch_on(&sight)).await?, &mut tries)
                }
                Err(trouble) => (Err(trouble), &mut looks),
            };
            let Err(trouble) = result else { continue };
            let wait = backoff.after_failure(Duration::ZERO, 1.0);
            self.lose(ports, trouble.to_string()).await;
            self.refusing(ports, stop, sleep(wait)).await?;
        }
    }

    /// Waits for `what`; who writes meanwhile hears why not. `None` at a stop.
    async fn refusing<T>(
        &self,
        ports: &mut Ports,
        stop: &CancellationToken,
        what: impl Future<Output = T>,
    ) -> Option<T> {
        let reason = self.lost.as_deref().unwrap_or("the Bluetooth adapter is being opened; ask again");
        let refuse = async {
            while let Some(write) = ports.writes.next().await {
                write.answer(Err(WriteError::NotSent(reason.to_owned())));
            }
            pending::<()>().await;
        };
        // Cancel safe: a write that was taken is answered without waiting, and `what` is given up only at the stop.
        tokio::select! {
            () = stop.cancelled() => None,
            done = what => Some(done),
            () = refuse => None,
        }
    }
}

impl Adapter for BleAdapter {
    fn name(&self) -> String {
        self.settings.to_string()
    }

    fn run<'a>(
        &'a mut self,
        ports: &'a mut Ports,
        stop: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), AdapterError>> {
        Box::pin(async move {
            self.report();
            // A new one after a failure, which may have been its own.
            let mut connection = Connection::default();
            let (mut tries, mut renewals) = (Backoff::new(TRIES), Backoff::new(RENEWALS));
            while let Some(sight) = self.find(ports, stop).await {
                let (settings, members) = (&self.settings, &self.members);
                let (counts, board) = (&self.counts, &self.board);
                let opening = async {
                    let central = connection.open(&sight.name).await?;
                    Session::open(settings, members, counts, board, (central, sight)).await
                };
                let trouble = match self.refusing(ports, stop, opening).await {
                    None => break,
                    Some(Err(trouble)) => trouble,
                    Some(Ok(session)) => {
                        let is_peripheral = |id: &DeviceId| {
                            self.members.iter().any(|member| member.id == *id && member.peer.is_connected())
                        };
                        ports.devices.up_but(is_peripheral).await;
                        info!(adapter = %self.settings, "Bluetooth works");
                        tries = Backoff::new(TRIES);
                        self.lost = None;
                        // Always: the session before may have told them of a silence.
                        for member in self.members.iter().filter(|member| !member.peer.is_connected()) {
                            ports.devices.tell(&member.id, FromBus::Found).await;
                        }
                        self.report();
                        let since = Instant::now();
                        match session.run(ports, stop).await {
                            End::Stop => break,
                            End::Trouble(trouble) => {
                                // Gone or off: `find` says so, or finds it again before anybody has missed it.
                                info!(adapter = %self.settings, %trouble, "Bluetooth is looked for anew");
                                let wait = renewals.after_failure(since.elapsed(), 1.0);
                                if self.refusing(ports, stop, sleep(wait)).await.is_none() {
                                    break;
                                }
                                continue;
                            }
                            End::Broken(problem) => {
                                return Err(AdapterError { bus: self.name(), problem });
                            }
                        }
                    }
                };
                self.lose(ports, trouble.to_string()).await;
                let wait = tries.after_failure(Duration::ZERO, 1.0);
                if self.refusing(ports, stop, sleep(wait)).await.is_none() {
                    break;
                }
            }
            let connections = self.counts.connections.load(Ordering::Relaxed);
            info!(adapter = %self.settings, connections, "Bluetooth is given back");
            Ok(())
        })
    }
}
