//! The two ways between a bus's adapter and its device tasks.
//!
//! Invariant: a write whose deadline has passed, or whose device has given up on it, is never handed
//! to an adapter. Whether a write was handed over is decided by one atomic word, so the device
//! always knows which of "surely nothing happened" and "it may have happened" is true.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};

use super::super::device::Frame;
use crate::model::DeviceId;

/// How long the bus may take over a write that it has begun, beyond the write's deadline.
const GRACE: Duration = Duration::from_secs(2);

const WAITING: u8 = 0;
const TAKEN: u8 = 1;
const WITHDRAWN: u8 = 2;

/// Why a write did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Its time was over before the bus took it. Nothing happened.
    #[error("its time was over before it reached the bus")]
    TooLate,
    /// The bus could not do it. Surely nothing happened.
    #[error("{0}")]
    NotSent(String),
    /// The bus began and is not known to have finished.
    #[error("{0}")]
    Uncertain(String),
}

/// What the bus tells a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromBus {
    /// A frame.
    Frame(Frame),
    /// The device is out of reach (unplugged, disconnected), with the reason.
    Lost(String),
    /// The device is within reach again.
    Found,
    /// The whole bus failed and is being started again, with the reason.
    BusFailed(String),
}

/// A frame on its way to the bus.
#[derive(Debug)]
pub struct Write {
    /// Whose it is.
    pub device: DeviceId,
    /// What to send.
    pub frame: Frame,
    deadline: Instant,
    claim: Arc<AtomicU8>,
    done: oneshot::Sender<Result<(), WriteError>>,
}

/// A write on its way through a bus to where it is begun. Until then its device can take it back; dropped, nothing
/// happened.
#[derive(Debug)]
pub(in crate::devices) struct Waiting(Write);

impl Waiting {
    /// Whose it is.
    pub(in crate::devices) fn device(&self) -> &DeviceId {
        &self.0.device
    }

    /// Takes it, to carry it out now; from here on an answer is owed. `None`: it was taken back, or its time is over.
    pub(in crate::devices) fn begin(self) -> Option<Write> {
        let Self(write) = self;
        if !write.take() {
            return None;
        }
        if write.left().is_zero() {
            write.answer(Err(WriteError::TooLate));
            return None;
        }
        Some(write)
    }

    /// It cannot be carried out, and why.
    pub(in crate::devices) fn refuse(self, reason: &str) {
        if let Some(write) = self.begin() {
            write.answer(Err(WriteError::NotSent(reason.to_owned())));
        }
    }
}

impl Write {
    /// What is left until it must not be carried out any more.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// A write that must be begun before `deadline`, and the ticket that hears of its end.
    pub(in crate::devices) fn new(device: DeviceId, frame: Frame, deadline: Instant) -> (Self, Ticket) {
        let claim = Arc::new(AtomicU8::new(WAITING));
        let (done, answer) = oneshot::channel();
        (Self { device, frame, deadline, claim: claim.clone(), done }, Ticket { deadline, claim, answer })
    }

    /// A write whose end nobody waits for.
    pub(in crate::devices) fn unheard(device: DeviceId, frame: Frame, deadline: Instant) -> Self {
        let (done, _) = oneshot::channel();
        Self { device, frame, deadline, claim: Arc::new(AtomicU8::new(WAITING)), done }
    }

    /// Says how it went. A device that no longer waits is no error.
    pub fn answer(self, result: Result<(), WriteError>) {
        let _ = self.done.send(result);
    }

    fn take(&self) -> bool {
        self.claim.compare_exchange(WAITING, TAKEN, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// The right to hear how a write went. Dropped, it takes the write back if the bus has not begun it.
#[derive(Debug)]
pub(in crate::devices) struct Ticket {
    deadline: Instant,
    claim: Arc<AtomicU8>,
    answer: oneshot::Receiver<Result<(), WriteError>>,
}

impl Ticket {
    /// Waits for the end of the write.
    pub(in crate::devices) async fn wait(mut self) -> Result<(), WriteError> {
        let gone = || WriteError::Uncertain("the bus failed while it was sending".to_owned());
        // Cancel safe: a oneshot receiver by reference, and a timer.
        tokio::select! {
            biased;
            answer = &mut self.answer => return match answer {
                Ok(answer) => answer,
                Err(_) if self.withdraw() => {
                    Err(WriteError::NotSent("the bus failed before it began to send".to_owned()))
                }
                Err(_) => Err(gone()),
            },
            () = sleep_until(self.deadline) => {}
        }
        if self.withdraw() {
            return Err(WriteError::TooLate);
        }
        match timeout(GRACE, &mut self.answer).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(gone())),
            Err(_) => {
                Err(WriteError::Uncertain("the bus took it and did not say that it was sent".to_owned()))
            }
        }
    }

    fn withdraw(&self) -> bool {
        self.claim.compare_exchange(WAITING, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.withdraw();
    }
}

/// The writes of all devices of a bus. Bounded; full: the device that writes waits, until its deadline.
pub struct Writes(mpsc::Receiver<Write>);

impl Writes {
    /// The next write that is still wanted and still in time; from here on the adapter owes it an
    /// answer. `None` when every device is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<Write> {
        loop {
            if let Some(write) = self.pass().await?.begin() {
                return Some(write);
            }
        }
    }

    /// The next write, for a bus on which it waits once more before it is begun. `None` when every device is gone.
    /// Cancel safe.
    pub(in crate::devices) async fn pass(&mut self) -> Option<Waiting> {
        self.0.recv().await.map(Waiting)
    }
}

/// The way to every device of a bus.
pub struct ToDevices {
    inboxes: HashMap<DeviceId, mpsc::Sender<FromBus>>,
    has_failed: AtomicBool,
}

impl ToDevices {
    /// Tells a device. Full: waits, so that nothing that was read is lost; a device that is being
    /// restarted keeps emptying its end, so no device can hold up its bus.
    pub async fn tell(&self, device: &DeviceId, what: FromBus) {
        if let Some(inbox) = self.inboxes.get(device) {
            // The device's task has ended: the gateway is stopping.
            let _ = inbox.send(what).await;
        }
    }

    /// The bus works: devices that were told of its failure hear that they are within reach again.
    /// An adapter says so at every start, when it can move frames.
    pub async fn up(&self) {
        self.up_but(|_| false).await;
    }

    /// The same for a bus that works while some of its devices are not yet within reach (a peripheral without a
    /// connection): it tells those by itself when they are, or they would be online for a moment in between.
    pub(in crate::devices) async fn up_but(&self, is_missing: impl Fn(&DeviceId) -> bool) {
        if !self.has_failed.swap(false, Ordering::Relaxed) {
            return;
        }
        for (device, inbox) in &self.inboxes {
            if !is_missing(device) {
                // As in `tell`.
                let _ = inbox.send(FromBus::Found).await;
            }
        }
    }

    /// The bus failed, with the reason.
    pub(in crate::devices) async fn failed(&self, reason: &str) {
        self.has_failed.store(true, Ordering::Relaxed);
        self.tell_all(&FromBus::BusFailed(reason.to_owned())).await;
    }

    async fn tell_all(&self, what: &FromBus) {
        for inbox in self.inboxes.values() {
            let _ = inbox.send(what.clone()).await;
        }
    }
}

/// An adapter's two ends. Apart, so that a bus can read and write at the same time.
pub struct Ports {
    /// What is to be sent.
    pub writes: Writes,
    /// Who is to hear what was read.
    pub devices: ToDevices,
}

impl Ports {
    pub(in crate::devices) fn new(
        writes: mpsc::Receiver<Write>,
        inboxes: HashMap<DeviceId, mpsc::Sender<FromBus>>,
    ) -> Self {
        let devices = ToDevices { inboxes, has_failed: AtomicBool::new(false) };
        Self { writes: Writes(writes), devices }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A write that has a second left, on its way, and the ticket of its device.
    async fn waiting() -> (Waiting, Ticket) {
        let (bus, writes) = mpsc::channel(1);
        let device = DeviceId::parse("a").unwrap();
        let (write, ticket) = Write::new(device, Frame::new("x", ""), Instant::now() + SECOND);
        bus.send(write).await.unwrap();
        (Writes(writes).pass().await.unwrap(), ticket)
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_is_begun_in_time_or_never() {
        let (write, ticket) = waiting().await;
        write.begin().unwrap().answer(Ok(()));
        assert_eq!(ticket.wait().await, Ok(()));

        let (write, ticket) = waiting().await;
        assert_eq!(ticket.wait().await, Err(WriteError::TooLate), "its device does not wait for the bus");
        assert!(write.begin().is_none());

        let (write, ticket) = waiting().await;
        tokio::time::advance(SECOND).await;
        assert!(write.begin().is_none());
        assert_eq!(ticket.wait().await, Err(WriteError::TooLate));

        let (write, ticket) = waiting().await;
        drop(ticket);
        assert!(write.begin().is_none(), "nobody waits for it any more");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_lost_on_its_way_surely_did_not_happen_and_what_was_begun_may_have() {
        let (write, ticket) = waiting().await;
        drop(write);
        assert!(matches!(ticket.wait().await, Err(WriteError::NotSent(_))));
        let (write, ticket) = waiting().await;
        write.refuse("it is away");
        assert_eq!(ticket.wait().await, Err(WriteError::NotSent("it is away".to_owned())));
        let (write, ticket) = waiting().await;
        drop(write.begin());
        assert!(matches!(ticket.wait().await, Err(WriteError::Uncertain(_))));
    }
}
