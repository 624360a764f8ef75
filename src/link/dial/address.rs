//! From a name to an open TCP connection.
//!
//! Owns the name resolution and the race of the addresses. Resolving by itself is what tells a missing name from a
//! host that does not answer. Addresses are raced as RFC 8305 ("happy eyeballs") has it: the families by turns, each
//! with a head start before the next, the first that opens TCP wins and the others are dropped. Rejected: the crates
//! for it, which bring a resolver of their own and take no order from outside; ours must begin with another address
//! after a vain attempt, since one that opens TCP and then says nothing would win each race.

use std::{io, net::SocketAddr, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::net::TcpStream;

use crate::model::{Fault, FaultKind};

/// How long an address has for itself before the next one is tried beside it (RFC 8305 section 5).
const HEAD_START: Duration = Duration::from_millis(250);
/// So many addresses of a name are tried.
const ADDRESSES: usize = 16;

/// A host as it is dialled, the cloud's or a proxy's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Host<'a> {
    pub(super) name: &'a str,
    pub(super) port: u16,
}

/// The addresses of the name, at least one.
///
/// # Errors
/// [`FaultKind::Dns`].
pub(super) async fn resolve(host: Host<'_>) -> Result<Vec<SocketAddr>, Fault> {
    let fault = |detail| Err(Fault::new(FaultKind::Dns, detail));
    match tokio::net::lookup_host((host.name, host.port)).await {
        Ok(addresses) => match addresses.collect::<Vec<_>>() {
            none if none.is_empty() => fault(format!("`{}` has no address", host.name)),
            addresses => Ok(addresses),
        },
        Err(error) => fault(format!("`{}`: {error}", host.name)),
    }
}

/// The first of the addresses that opens TCP, without Nagle's delay. Never gives up by itself while one is silent.
///
/// # Errors
/// What the last one said that failed.
pub(super) async fn race(addresses: Vec<SocketAddr>) -> io::Result<(TcpStream, SocketAddr)> {
    let mut waiting = by_turns(addresses).into_iter().take(ADDRESSES);
    let mut attempts = FuturesUnordered::new();
    let mut error = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        match waiting.next() {
            Some(address) => attempts.push(open(address)),
            None if attempts.is_empty() => return Err(error),
            None => {}
        }
        // Cancel-safe: an attempt stays in the list. One that fails lets the next one begin.
        tokio::select! {
            Some(result) = attempts.next() => match result {
                Ok(open) => return Ok(open),
                Err(failed) => error = failed,
            },
            () = tokio::time::sleep(HEAD_START), if waiting.len() > 0 => {}
        }
    }
}

async fn open(address: SocketAddr) -> io::Result<(TcpStream, SocketAddr)> {
    let stream = TcpStream::connect(address).await;
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{address}: {error}"));
    let stream = stream.map_err(named)?;
    stream.set_nodelay(true)?;
    Ok((stream, address))
}

/// The families by turns, each in its order; the one that comes first stays first.
fn by_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first = addresses.first().map(SocketAddr::is_ipv6);
    let (own, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| Some(address.is_ipv6()) == first);
    let (mut own, mut other) = (own.into_iter(), other.into_iter());
    let mut turns = Vec::new();
    loop {
        let pair = [own.next(), other.next()];
        if pair == [None, None] {
            return turns;
        }
        turns.extend(pair.into_iter().flatten());
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_a_dns_fault() {
        let host = Host { name: "nowhere.invalid", port: 443 };
        assert_eq!(resolve(host).await.unwrap_err().kind, FaultKind::Dns);
    }

    fn addresses<const N: usize>(texts: [&str; N]) -> Vec<SocketAddr> {
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
    fn families_are_tried_by_turns_and_the_one_that_the_system_prefers_begins() {
        let listed =
            addresses(["[2001:db8::2]:1", "[2001:db8::1]:1", "192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"]);
        let turns =
            addresses(["[2001:db8::2]:1", "192.0.2.1:1", "[2001:db8::1]:1", "192.0.2.2:1", "192.0.2.3:1"]);
        assert_eq!(by_turns(listed.clone()), turns);
        let sorted =
            addresses(["[2001:db8::1]:1", "[2001:db8::2]:1", "192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"]);
        assert_eq!(in_turn(listed, 5), sorted);
    }

    #[tokio::test]
    async fn an_address_that_refuses_or_is_silent_does_not_keep_the_others_waiting() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let good = listener.local_addr().unwrap();
        // Nobody listens at the first; packets to the second, of a network for documentation, come to nothing or are
        // refused by the router.
        let refused = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
        let silent: SocketAddr = "192.0.2.1:9".parse().unwrap();
        let (_stream, winner) = race(vec![refused, silent, good]).await.unwrap();
        assert_eq!(winner, good);
        let error = race(vec![refused]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(error.to_string().contains(&refused.to_string()), "{error}");
    }
}
