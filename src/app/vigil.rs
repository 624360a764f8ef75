//! The vigil: whoever watches over the gateway (systemd, by its watchdog) is told that it works only while its parts really
//! turn.
//!
//! Owns when they are asked, and what follows. Never knows who is told, nor what a part does. Invariants: each part on duty is
//! asked, and answers from its own task or thread; while one does not, nobody is told, and the log says once which it is,
//! before whoever watches ends the gateway; a disk that hangs is a known fault, at which home works, and no reason; time is
//! monotonic. [`Watch::until`] has a thread for itself, with a runtime of its own: a lock that is never let go may hold every
//! thread of the gateway's. It is the process' first thread, which would only wait otherwise. While nobody is on duty (the first start's page, a gateway that is being built or that ends in order) there is
//! nothing to ask, and systemd's own limits count.
//!
//! A thread that turns round and round in SQLite cannot be told from one that waits for the disk: it is reported as that.

use std::{
    io,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::{
    model::{Caller, KeyEvent},
    store::Store,
};

/// In so many parts of the time within which somebody wants to be told. One to wait until the parts are asked, one for them to
/// answer, and one for the log to say who did not.
const PARTS_OF_TIME: u32 = 3;
/// How long a part that was too late may still take, in parts of what it had. All of the machine may have stood still
/// (SIGSTOP, a suspended laptop), so that it had no time at all.
const LAST_LOOK: u32 = 4;
/// How often it is looked whether a part that is late has an excuse.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A part that is asked.
pub(super) struct Part {
    name: &'static str,
    caller: Caller,
    is_excused: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Part {
    /// A part that turns whatever the world does.
    pub(super) fn new(name: &'static str, caller: Caller) -> Self {
        Self { name, caller, is_excused: Box::new(|| false) }
    }

    /// The store's thread, which stands still with its disk. Excused from the first moment on, and not from when the disk is
    /// known to hang: whoever watches may have less patience than that.
    pub(super) fn store(store: &Store) -> Self {
        let asked = store.clone();
        Self { name: "store", caller: store.caller(), is_excused: Box::new(move || asked.is_at_disk()) }
    }

    /// Resolves when the part turns. Cancel safe.
    async fn turns(&self, patience: Duration) {
        if (self.is_excused)() {
            return;
        }
        let began = Instant::now();
        let mut answer = self.caller.call();
        for patience in [patience, patience / LAST_LOOK] {
            if timeout(patience, &mut answer).await.is_ok() {
                return;
            }
        }
        if (self.is_excused)() {
            return;
        }
        let (event, for_s) = (KeyEvent::PartStuck, began.elapsed().as_secs());
        tracing::error!(message_id = event.id(), part = self.name, for_s, "{}", event.says());
        while !(self.is_excused)() && timeout(LOOK_EVERY, &mut answer).await.is_err() {}
        tracing::warn!(part = self.name, "the part of the gateway turns again");
    }
}

/// The vigil; cheap to clone. It ends when the last one of it is gone.
#[derive(Clone, Default)]
pub struct Vigil {
    /// `None`: nobody wants to be told.
    roll: Option<watch::Sender<Arc<[Part]>>>,
}

impl Vigil {
    /// With the one who calls `tell` three times within `within`, while all parts on duty turn. `None`: nobody wants to be
    /// told, and nobody is asked.
    pub fn new(within: Option<Duration>, tell: impl FnMut() + 'static) -> (Self, Watch) {
        let Some(within) = within else { return (Self::default(), Watch(None)) };
        let (sender, roll) = watch::channel(Arc::default());
        (Self { roll: Some(sender) }, Watch(Some(Box::pin(keep(within / PARTS_OF_TIME, roll, tell)))))
    }

    /// These are asked until what is returned is dropped.
    pub(super) fn on_duty(self, parts: impl FnOnce() -> Vec<Part>) -> Duty {
        if let Some(roll) = &self.roll {
            roll.send_replace(parts().into());
        }
        Duty(self)
    }
}

/// The one who keeps the vigil.
pub struct Watch(Option<Pin<Box<dyn Future<Output = ()>>>>);

impl Watch {
    /// Keeps it on this thread until `work`, which goes on elsewhere, is done.
    ///
    /// # Errors
    /// What the system says when it has no runtime for it.
    pub fn until<T>(self, work: impl Future<Output = T>) -> io::Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        Ok(runtime.block_on(async {
            let Some(keeping) = self.0 else { return work.await };
            let mut work = pin!(work);
            // Cancel safety: what was asked of parts is of no interest when the work is done.
            tokio::select! {
                done = &mut work => done,
                // It ends when nobody can be on duty any more.
                () = keeping => work.await,
            }
        }))
    }
}

/// Parts that are asked until this is dropped.
#[must_use = "nobody is asked any more when it is dropped"]
pub(super) struct Duty(Vigil);

impl Drop for Duty {
    fn drop(&mut self) {
        if let Some(roll) = &self.0.roll {
            roll.send_replace(Arc::default());
        }
    }
}

/// Tells, every `every` while all parts turn, until nobody can be on duty any more.
async fn keep(every: Duration, mut roll: watch::Receiver<Arc<[Part]>>, mut tell: impl FnMut()) {
    loop {
        tell();
        sleep(every).await;
        let parts = roll.borrow_and_update().clone();
        // Cancel safety: what was asked of parts that are not on duty any more is of no interest.
        tokio::select! {
            _ = join_all(parts.iter().map(|part| part.turns(every))) => {}
            changed = roll.changed() => if changed.is_err() { return },
        }
    }
}

#[cfg(test)]
mod tests;
