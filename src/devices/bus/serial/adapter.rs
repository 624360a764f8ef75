//! One port's adapter: opens it, has a [`Conversation`] on it, and opens it again when it was lost.
//!
//! Owns how often it looks for a port that is gone. Invariants: a port that is lost is closed at once, and its devices
//! hear so before anything else; opening holds up no stop, and neither opening nor closing whoever writes meanwhile.

use std::{future::pending, time::Duration};

use futures_util::future::BoxFuture;
use tokio::{task::spawn_blocking, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    super::{Adapter, AdapterError, FromBus, Ports, WriteError},
    Hardware, Line, OpenLine, PortSettings,
    conversation::{Conversation, Member},
};
use crate::retry::{Backoff, Policy};

/// How long it is waited before a port that is gone is looked for again. At most so long that one that is plugged in
/// again is open in half of a person's two seconds.
const LOOKS: Policy = Policy::of_attempts(Duration::from_millis(20), Duration::from_millis(500));
/// How long a driver may take to open a port before its devices hear of it.
const OPENS_WITHIN: Duration = Duration::from_secs(1);

pub(in crate::devices) struct SerialAdapter {
    settings: PortSettings,
    opener: Box<dyn OpenLine>,
    members: Vec<Member>,
    /// Why the port is gone, as the devices were told.
    lost: Option<String>,
}

impl SerialAdapter {
    pub(in crate::devices) fn new(settings: PortSettings, members: Vec<Member>) -> Self {
        Self::with(settings, members, Box::new(Hardware))
    }

    pub(in crate::devices) fn with(
        settings: PortSettings,
        members: Vec<Member>,
        opener: Box<dyn OpenLine>,
    ) -> Self {
        Self { settings, opener, members, lost: None }
    }

    async fn tell_all(&mut self, ports: &Ports, what: &FromBus) {
        for member in &mut self.members {
            ports.devices.tell(&member.id, what.clone()).await;
        }
    }

    async fn lose(&mut self, ports: &Ports, reason: String) {
        if self.lost.as_ref() != Some(&reason) {
            warn!(port = %self.settings, reason, "a serial port is out of reach");
            self.tell_all(ports, &FromBus::Lost(reason.clone())).await;
            self.lost = Some(reason);
        }
    }

    /// Opens the port, however long it takes; `None` at a stop.
    async fn open(&mut self, ports: &mut Ports, stop: &CancellationToken) -> Option<Box<dyn Line>> {
        let mut looks = Backoff::new(LOOKS);
        loop {
            let reason = match self.look(ports, stop).await? {
                Ok(line) => return Some(line),
                Err(reason) => reason,
            };
            self.lose(ports, reason.clone()).await;
            let wait = looks.after_failure(Duration::ZERO, 1.0);
            refusing(&reason, ports, stop, sleep(wait)).await?;
        }
    }

    /// Tries to open the port once; `None` at a stop.
    async fn look(
        &mut self,
        ports: &mut Ports,
        stop: &CancellationToken,
    ) -> Option<Result<Box<dyn Line>, String>> {
        let mut opening = self.opener.open(&self.settings);
        if self.lost.is_none() {
            // At the start the devices' first words wait for the port: nothing would ask for them again.
            // Cancel safe: the opening is kept.
            tokio::select! {
                () = stop.cancelled() => return None,
                opened = &mut opening => return Some(opened),
                () = sleep(OPENS_WITHIN) => {}
            }
            let reason = format!("the port {} takes long to open; plug it out and in again", self.settings);
            self.lose(ports, reason).await;
        }
        refusing(self.lost.as_deref().unwrap_or_default(), ports, stop, opening).await
    }
}

/// Waits for `what`; who writes meanwhile hears the `reason` why not. `None` at a stop.
async fn refusing<T>(
    reason: &str,
    ports: &mut Ports,
    stop: &CancellationToken,
    what: impl Future<Output = T>,
) -> Option<T> {
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

/// Closes the port. A driver may wait for half a minute until its last bytes have left: they are thrown away, and
/// it waits on a thread of its own.
async fn close(mut line: Box<dyn Line>) {
    let closing = spawn_blocking(move || {
        line.discard();
        drop(line);
    });
    if let Err(problem) = closing.await {
        warn!(%problem, "closing a serial port failed");
    }
}

impl Adapter for SerialAdapter {
    fn name(&self) -> String {
        format!("the serial port {}", self.settings)
    }

    fn run<'a>(
        &'a mut self,
        ports: &'a mut Ports,
        stop: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), AdapterError>> {
        Box::pin(async move {
            while let Some(line) = self.open(ports, stop).await {
                ports.devices.up().await;
                info!(port = %self.settings, "a serial port is open");
                if self.lost.take().is_some() {
                    self.tell_all(ports, &FromBus::Found).await;
                }
                let mut conversation = Conversation::new(&self.settings, &mut self.members, line);
                let end = conversation.run(ports, stop).await;
                // Closed before anybody hears of it.
                let closing = close(conversation.into_line());
                let Some(end) = end else {
                    closing.await;
                    return Ok(());
                };
                let reason = format!("the port {} was lost: {end}; is it plugged in?", self.settings);
                if refusing(&reason, ports, stop, closing).await.is_none() {
                    return Ok(());
                }
                self.lose(ports, reason).await;
            }
            Ok(())
        })
    }
}
