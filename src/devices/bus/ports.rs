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
            answer = &mut self.answer => return answer.unwrap_or_else(|_| Err(gone())),
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
            let write = self.0.recv().await?;
            if Instant::now() >= write.deadline {
                if write.take() {
                    write.answer(Err(WriteError::TooLate));
                }
            } else if write.take() {
                return Some(write);
            }
        }
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
