//! The cloud's addresses, and how long each of them has.
//!
//! Owns the name resolution in front of rumqttc's own dialling. Never opens a connection itself.
//! Resolving here first is what tells a missing name from a host that does not answer, which rumqttc
//! reports as the same `io::Error`. rumqttc is then given one address after the other: by itself it
//! waits two minutes for one that swallows everything, and the attempt is over before the next one
//! has its turn, each time. Rejected: dialling ourselves and handing rumqttc the socket; its MQTT 5
//! event loop takes none. Rejected: opening TCP to all addresses at once to see who is first (RFC
//! 8305): the winner's connection cannot be handed on, so each dial would be a connection more that
//! says nothing, at clouds that count them.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use crate::model::{CloudUrl, Fault, FaultKind};

/// How long an address may take to open TCP while another one waits: three SYNs on Linux, which sends
/// the second after one second and the third after three. The last one has all the time that is left.
const TURN: Duration = Duration::from_secs(4);

/// The addresses of the name, at least one, found within `limit`.
///
/// # Errors
/// [`FaultKind::Dns`].
pub(super) async fn resolve(url: &CloudUrl, limit: Duration) -> Result<Vec<SocketAddr>, Fault> {
    let lookup = tokio::net::lookup_host((url.host(), url.port()));
    let fault = |detail| Err(Fault::new(FaultKind::Dns, detail));
    match tokio::time::timeout(limit, lookup).await {
        Ok(Ok(addresses)) => match addresses.collect::<Vec<_>>() {
            none if none.is_empty() => fault(format!("`{}` has no address", url.host())),
            addresses => Ok(addresses),
        },
        Ok(Err(error)) => fault(format!("`{}`: {error}", url.host())),
        Err(_) => fault(format!("`{}`: no answer within {} s", url.host(), limit.as_secs())),
    }
}

/// The addresses from another one on at each turn: one that opens TCP and then says nothing takes an attempt's whole
/// time, so it must not be the first each time.
pub(super) fn in_turn(mut addresses: Vec<SocketAddr>, turn: usize) -> Vec<SocketAddr> {
    let first = turn.checked_rem(addresses.len()).unwrap_or(0);
    addresses.rotate_left(first);
    addresses
}

/// Returns when an address has had its turn and TCP is not open; else never.
pub(super) async fn turn_is_over(is_tcp_open: &AtomicBool) {
    tokio::time::sleep(TURN).await;
    if is_tcp_open.load(Ordering::Relaxed) {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_a_dns_fault() {
        let url = CloudUrl::parse("wss://nowhere.invalid").unwrap();
        assert_eq!(resolve(&url, Duration::from_secs(10)).await.unwrap_err().kind, FaultKind::Dns);
    }
}
