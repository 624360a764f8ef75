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
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

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
/// time, so it must not be the first each time. Any `addresses.len()` turns in a row from the first one on begin with
/// each of them once, because they are sorted then: a name server turns its list too, and the one could undo the other.
/// Turn 0 takes them as they came, which is how a cloud spreads its load. The family that came first stays first.
pub(super) fn in_turn(mut addresses: Vec<SocketAddr>, turn: usize) -> Vec<SocketAddr> {
    if turn == 0 {
        return addresses;
    }
    let family = addresses.first().map(SocketAddr::is_ipv6);
    addresses.sort_by_key(|address| (Some(address.is_ipv6()) != family, *address));
    let first = turn.checked_rem(addresses.len()).unwrap_or(0);
    addresses.rotate_left(first);
    addresses
}

/// A connection with TLS to another host than the cloud, on which no MQTT is spoken.
///
/// # Errors
/// [`FaultKind::Dns`], [`FaultKind::Tcp`], [`FaultKind::Tls`].
pub(super) async fn open(
    host: String,
    port: u16,
    tls: Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, Fault> {
    let name = ServerName::try_from(host.clone())
        .map_err(|_| Fault::new(FaultKind::Dns, format!("`{host}` is no host name")))?;
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), port))
        .await
        .map_err(|error| Fault::new(FaultKind::Dns, format!("`{host}`: {error}")))?
        .collect();
    let tcp = TcpStream::connect(&addresses[..])
        .await
        .map_err(|error| Fault::new(FaultKind::Tcp, error.to_string()))?;
    let connected = TlsConnector::from(tls).connect(name, tcp).await;
    connected.map_err(|error| Fault::new(FaultKind::Tls, error.to_string()))
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

    fn addresses(texts: [&str; 3]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn each_address_has_its_turn_however_the_name_server_turns_the_list() {
        let [a, b, c] = ["192.0.2.9:1", "192.0.2.10:1", "192.0.2.11:1"];
        let orders = [[a, b, c], [c, a, b], [b, c, a]];
        // The server's own rotation may begin anywhere, and go either way.
        for begin in 0..3 {
            for step in [0, 1, 2] {
                let answer = |turn: usize| addresses(orders[(begin + step * turn) % 3]);
                let mut first: Vec<_> = (1..4).map(|turn| in_turn(answer(turn), turn)[0]).collect();
                first.sort();
                assert_eq!(first, addresses([a, b, c]), "{begin} {step}");
                assert_eq!(in_turn(answer(0), 0), answer(0), "the first attempt is the server's to direct");
            }
        }
    }

    #[test]
    fn the_kind_of_address_that_the_system_prefers_goes_before_the_other() {
        let listed = addresses(["[2001:db8::2]:1", "192.0.2.1:1", "[2001:db8::1]:1"]);
        let sorted = addresses(["[2001:db8::1]:1", "[2001:db8::2]:1", "192.0.2.1:1"]);
        assert_eq!(in_turn(listed, 3), sorted);
    }
}
