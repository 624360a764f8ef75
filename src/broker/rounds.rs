//! The rounds: what is over in time is ended, and the board is told what has changed.
//!
//! Owns when. Invariants: while anything happens there is a round every [`ROUND`]; while nothing does, the next is at the
//! moment at which something will be over, or after [`REST`], so that a house in which everybody sleeps wakes nobody; what
//! happens then is on the board at once. Whoever changes what a round looks at rings [`Stir`] afterwards; a counter that
//! nobody rings for (a denied subscription) is told [`REST`] later at most.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::core::Core;
use crate::health::{Board, BrokerReport};

/// How often sessions, wills and retained messages are looked through for what is over, and the board is told.
const ROUND: Duration = Duration::from_secs(1);
/// How long there is no round while nothing happens.
const REST: Duration = Duration::from_secs(10);

/// Whether something has happened since the last round.
#[derive(Debug, Default)]
pub(super) struct Stir {
    is_rung: AtomicBool,
    bell: Notify,
}

impl Stir {
    /// Something has happened. Costs a look while it is rung already: it is for every message.
    pub(super) fn ring(&self) {
        if !self.is_rung.load(Ordering::Relaxed) && !self.is_rung.swap(true, Ordering::AcqRel) {
            self.bell.notify_one();
        }
    }

    /// Before it is looked: what happens from now on rings again.
    fn hush(&self) {
        self.is_rung.swap(false, Ordering::AcqRel);
    }

    /// Resolves when it was rung since [`Stir::hush`], or before it. Cancel safe.
    async fn rung(&self) {
        self.bell.notified().await;
    }
}

/// Goes on for ever. Cancel safe, but for a will that is being published.
pub(super) async fn rounds(core: &Core, board: &Board, urls: &[String]) {
    let mut last = BrokerReport::default();
    loop {
        core.hub.stir.hush();
        let (wills, next_end) = core.hub.sweep();
        for (client, will) in wills {
            core.publish_will(will, &client).await;
        }
        let now = report(core, urls.to_vec());
        let is_quiet = now == last && now.queued_bytes == 0;
        if !is_quiet {
            board.broker(now.clone());
            last = now;
        }
        sleep(ROUND).await;
        if is_quiet {
            let left = next_end.map(|end| end.saturating_duration_since(Instant::now()));
            // Whichever it is, the next round is due.
            let _ = timeout(left.map_or(REST, |left| left.min(REST)), core.hub.stir.rung()).await;
        }
    }
}

pub(super) fn report(core: &Core, listeners: Vec<String>) -> BrokerReport {
    let counters = &core.hub.counters;
    let (sessions, retained) = core.hub.sizes();
    BrokerReport {
        listeners,
        clients: counters.clients.load(Ordering::Relaxed),
        sessions,
        retained,
        queued_bytes: counters.queued_bytes.load(Ordering::Relaxed),
        memory_limit: core.hub.limits.memory(),
        dropped: counters.dropped.load(Ordering::Relaxed),
        refused: counters.refused.load(Ordering::Relaxed),
        denied: counters.denied.load(Ordering::Relaxed),
        not_retained: counters.not_retained.load(Ordering::Relaxed),
        ended_early: counters.ended_early.load(Ordering::Relaxed),
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::poll_fn, pin::pin, sync::Arc};

    use tokio::time::Instant;

    use super::*;
    use crate::{
        broker::{Broker, BrokerOptions, Uplink, delivery::Publication},
        clock::Clock,
        model::{Message, Properties, QoS, Topic},
        store::{Entry, Store, StoreOptions},
    };

    struct NoCloud;

    impl Uplink for NoCloud {
        fn route(&self, _message: &Message) -> Option<Entry> {
            None
        }
    }

    fn retained(life: Option<Duration>) -> Arc<Publication> {
        let mut message = Message::new(Topic::parse("a").unwrap(), "1", QoS::AtMostOnce).retained();
        let properties = Properties { expiry: life, ..Properties::default() };
        message.properties = life.map(|_| Arc::new(properties));
        Publication::new(message)
    }

    #[tokio::test(start_paused = true)]
    async fn a_house_at_rest_is_looked_at_seldom_and_what_happens_then_is_told_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("s.db"), &StoreOptions::default(), Clock::system());
        let board = Board::new("g", Clock::system());
        let broker =
            Broker::bind(BrokerOptions::default(), Arc::new(NoCloud), store.unwrap(), board.clone()).await;
        let core = broker.unwrap().core;
        let woken = Cell::new(0);
        let mut going_on = pin!(rounds(&core, &board, &[]));
        let counted = poll_fn(|context| {
            woken.set(woken.get() + 1);
            going_on.as_mut().poll(context)
        });
        let scene = async {
            sleep(Duration::from_secs(3600)).await;
            // Two timers a round.
            let most = 2 * 3600 / REST.as_secs();
            assert!((60..=most).contains(&woken.get()), "{} times in an hour", woken.get());
            let (mut changes, before) = (board.watch(), Instant::now());
            core.hub.publish(&retained(None), 0);
            while board.snapshot().broker.retained == 0 {
                changes.changed().await.unwrap();
            }
            assert!(before.elapsed() <= ROUND, "{:?}", before.elapsed());
            // By the clock of the machine, which no test turns: it is over when the next round comes.
            core.hub.publish(&retained(Some(Duration::from_millis(1))), 0);
            std::thread::sleep(Duration::from_millis(2));
            while board.snapshot().broker.retained == 1 {
                changes.changed().await.unwrap();
            }
            assert!(before.elapsed() <= 3 * ROUND, "{:?}", before.elapsed());
        };
        tokio::select! {
            () = counted => {}
            () = scene => {}
        }
    }
}
