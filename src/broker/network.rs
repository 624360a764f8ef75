//! Where clients come from, how many connections each place has, and how often it broke the protocol.
//!
//! Owns the count of connections by place. Invariants: a count leaves with its connection, however that
//! ends; there are at most as many counts as connections, which the listeners bound.
//!
//! Whoever breaks the protocol hangs, unread, before the connection is closed, and keeps its place
//! meanwhile: a loop of garbage, of malice or by a fault of a program, leaves the others their processor.
//! The wait doubles with each offence from a place that has not been empty since.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::sleep;

use crate::model::Network;

/// The wait after a place's first offence.
const FIRST: Duration = Duration::from_millis(50);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(1);

/// The connections by network, those in their handshake included.
#[derive(Debug)]
pub(super) struct Crowd {
    most: usize,
    counts: Mutex<HashMap<Network, Count>>,
}

#[derive(Debug, Default)]
struct Count {
    connections: usize,
    offences: u32,
}

/// One connection of a network.
#[derive(Debug)]
pub(super) struct Guest {
    crowd: Arc<Crowd>,
    pub(super) network: Network,
}

impl Crowd {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, counts: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Network, Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more; `None`: there are enough of them.
    pub(super) fn admit(self: &Arc<Self>, network: Network) -> Option<Guest> {
        let mut counts = self.lock();
        let count = counts.entry(network).or_default();
        // An entry that was made just now stays only if it is counted: `most` is 1 or more.
        if count.connections >= self.most.max(1) {
            return None;
        }
        count.connections += 1;
        Some(Guest { crowd: self.clone(), network })
    }
}

impl Guest {
    /// It broke the protocol: waits as long as it is to hang.
    pub(super) async fn atone(&self) {
        sleep(self.penalty()).await;
    }

    /// How long this offence costs; by chance a half less or more, so that many do not come back in step.
    fn penalty(&self) -> Duration {
        let mut counts = self.crowd.lock();
        let Some(count) = counts.get_mut(&self.network) else { return FIRST };
        let wait = (FIRST * 2_u32.pow(count.offences.min(16))).min(LONGEST);
        count.offences = count.offences.saturating_add(1);
        wait.mul_f64(0.5 + fastrand::f64())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut counts = self.crowd.lock();
        if let Some(count) = counts.get_mut(&self.network) {
            count.connections -= 1;
            if count.connections == 0 {
                counts.remove(&self.network);
            }
        }
        if counts.is_empty() {
            *counts = HashMap::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str) -> Network {
        Network::of(address.parse().unwrap())
    }

    #[test]
    fn a_place_has_so_many_connections_and_leaves_nothing_behind() {
        let crowd = Crowd::new(2);
        let one = network("10.0.0.1");
        let (first, second) = (crowd.admit(one), crowd.admit(one));
        assert!(first.is_some() && second.is_some() && crowd.admit(one).is_none());
        assert!(crowd.admit(network("10.0.0.2")).is_some());
        drop(first);
        assert!(crowd.admit(one).is_some());
        drop(second);
        assert!(crowd.lock().is_empty());
    }

    #[test]
    fn offences_cost_more_and_more_until_their_place_is_empty() {
        let crowd = Crowd::new(9);
        let (bad, good) = (crowd.admit(network("10.0.0.1")), crowd.admit(network("10.0.0.2")));
        let (bad, good) = (bad.unwrap(), good.unwrap());
        assert!(bad.penalty() >= FIRST / 2);
        for _ in 0..40 {
            bad.penalty();
        }
        let (again, other) = (bad.penalty(), good.penalty());
        assert!(again >= LONGEST / 2 && again <= LONGEST * 3 / 2, "{again:?}");
        assert!(other <= FIRST * 3 / 2, "{other:?}");
        drop(bad);
        assert!(crowd.admit(network("10.0.0.1")).unwrap().penalty() <= FIRST * 3 / 2);
    }
}
