//! Passwords that are guessed: who failed waits before the next one is looked at.
//!
//! Owns the failures by network. Never locks anybody out: the wait doubles up to [`LONGEST`], the others
//! of a network only wait with it, and other networks not at all. Invariants: the passwords of a network
//! that fails are looked at one after the other, so that many connections guess no faster than one;
//! at most [`MOST`] networks are remembered, and those that failed most stay.
//!
//! The broker and the status page each have one: who guesses at one door has failed at that one only.
//!
//! A success makes up only for failures of its own user: otherwise whoever has one password could guess
//! another's between two logins.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use crate::model::Network;

/// The wait after the first failure.
const FIRST: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(5);
/// How long after its last failure a network is forgotten.
const MEMORY: Duration = Duration::from_secs(600);
/// How many networks are remembered; about 100 bytes each.
const MOST: usize = 1024;
/// From this many failures on the log says so, once.
const TELLING: u32 = 5;

/// So many wait already that this one's turn does not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMany;

/// The failures of all networks.
#[derive(Debug)]
pub(crate) struct Patience {
    longest: Duration,
    names: RandomState,
    table: Mutex<HashMap<Network, Record>>,
}

#[derive(Debug)]
struct Record {
    failures: u32,
    last: Instant,
    /// When its next password may be looked at.
    free: Instant,
    /// Which user all failures were for, hashed; `None`: several.
    user: Option<u64>,
}

impl Record {
    fn wait(&self, longest: Duration) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(16);
        (FIRST * 2_u32.pow(doublings)).min(longest)
    }
}

impl Patience {
    /// `handshake` is the time that a client has for everything: half of it may be spent waiting.
    pub(crate) fn new(handshake: Duration) -> Self {
        Self { longest: LONGEST.min(handshake / 2), names: RandomState::new(), table: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Network, Record>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a password of this network may be looked at; whether it had to be in a turn, because
    /// others of it were wrong. Cancel safe: the turn is lost.
    ///
    /// # Errors
    /// [`TooMany`] when so many wait already that this one's turn does not come.
    pub(crate) async fn turn(&self, network: Network) -> Result<bool, TooMany> {
        let now = Instant::now();
        let turn = {
            let mut table = self.lock();
            let Some(record) = table.get_mut(&network) else { return Ok(false) };
            if now.duration_since(record.last) >= MEMORY {
                table.remove(&network);
                return Ok(false);
            }
            let turn = record.free.max(now);
            if turn - now > self.longest {
                return Err(TooMany);
            }
            record.free = turn + record.wait(self.longest);
            turn
        };
        sleep_until(turn).await;
        Ok(true)
    }

    /// Whether a password of this network was wrong lately.
    pub(crate) fn has_failed(&self, network: Network) -> bool {
        self.lock().contains_key(&network)
    }

    /// A password was wrong.
    pub(crate) fn failed(&self, network: Network, user: &str) {
        let (now, user) = (Instant::now(), self.names.hash_one(user));
        let mut table = self.lock();
        if !table.contains_key(&network) && table.len() >= MOST {
            make_room(&mut table, now);
        }
        let fresh = Record { failures: 0, last: now, free: now, user: Some(user) };
        let record = table.entry(network).or_insert(fresh);
        record.failures = record.failures.saturating_add(1);
        record.last = now;
        record.user = record.user.filter(|before| *before == user);
        record.free = record.free.max(now + record.wait(self.longest));
        let is_to_be_told = record.failures == TELLING;
        drop(table);
        if is_to_be_told {
            tracing::warn!(address = %network, failures = TELLING, "wrong passwords again and again");
        }
    }

    /// A password was right.
    pub(crate) fn succeeded(&self, network: Network, user: &str) {
        let mut table = self.lock();
        // The usual case is that nobody fails.
        if table.is_empty() {
            return;
        }
        let user = self.names.hash_one(user);
        if table.get(&network).is_some_and(|record| record.user == Some(user)) {
            table.remove(&network);
        }
    }
}

/// Forgets whose time is over, else who failed least, the longest ago.
fn make_room(table: &mut HashMap<Network, Record>, now: Instant) {
    table.retain(|_, record| now.duration_since(record.last) < MEMORY);
    if table.len() >= MOST
        && let Some(least) =
            table.iter().min_by_key(|(_, record)| (record.failures, record.last)).map(|(network, _)| *network)
    {
        table.remove(&least);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(number: u32) -> Network {
        Network::of(std::net::Ipv4Addr::from_bits(number).into())
    }

    fn v6(number: u128) -> Network {
        Network::of(std::net::Ipv6Addr::from_bits(number << 64).into())
    }

    async fn waits(patience: &Patience, network: Network) -> Duration {
        let start = Instant::now();
        patience.turn(network).await.unwrap();
        start.elapsed()
    }

    fn patience() -> Patience {
        Patience::new(Duration::from_secs(10))
    }

    #[tokio::test(start_paused = true)]
    async fn waits_double_up_to_a_bound_and_are_one_networks_own() {
        let patience = patience();
        let mut last = Duration::ZERO;
        assert_eq!(waits(&patience, network(1)).await, last);
        for failures in 1..12 {
            patience.failed(network(1), "a");
            let wait = waits(&patience, network(1)).await;
            assert!(wait > last || wait >= LONGEST, "{failures}: {wait:?}");
            assert!(wait <= LONGEST + Duration::from_millis(1), "{failures}: {wait:?}");
            last = wait;
        }
        assert_eq!(waits(&patience, network(2)).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_makes_up_for_its_own_users_failures_only() {
        let patience = patience();
        patience.failed(network(1), "a");
        patience.failed(network(1), "a");
        patience.succeeded(network(1), "b");
        assert_ne!(waits(&patience, network(1)).await, Duration::ZERO);
        patience.succeeded(network(1), "a");
        assert_eq!(waits(&patience, network(1)).await, Duration::ZERO);
        for user in ["a", "b", "b"] {
            patience.failed(network(1), user);
        }
        patience.succeeded(network(1), "b");
        assert_ne!(waits(&patience, network(1)).await, Duration::ZERO);
        tokio::time::advance(MEMORY).await;
        assert_eq!(waits(&patience, network(1)).await, Duration::ZERO);
        assert!(patience.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn many_connections_guess_no_faster_than_one() {
        let patience = patience();
        for _ in 0..20 {
            patience.failed(network(1), "a");
        }
        let turns = (0..50).map(|_| async { patience.turn(network(1)).await.is_ok() });
        let start = Instant::now();
        let taken = futures_util::future::join_all(turns).await.into_iter().filter(|taken| *taken).count();
        assert_eq!(taken, 1, "one now, and the others may come again");
        assert!(start.elapsed() <= LONGEST + Duration::from_millis(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_scan_from_many_networks_takes_bounded_memory_and_does_not_wash_out_the_worst() {
        let patience = patience();
        for _ in 0..3 {
            patience.failed(network(1), "a");
        }
        for number in 0..20_000 {
            patience.failed(v6(number), "a");
        }
        assert_eq!(patience.lock().len(), MOST);
        assert!(patience.lock().contains_key(&network(1)));
    }
}
