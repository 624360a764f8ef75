//! Who may come in: names of this machine, pages of our own, and whoever knows the password.
//!
//! Owns the password, as a keyed digest, and the failures by network. Never keeps the password itself. Invariants: what
//! is given is compared in constant time; who fails waits (`patience`), and only then is the next one looked at.
//!
//! HTTP Basic, because every browser, `curl` and Prometheus speak it, without a page to log in at, a cookie to steal or
//! a session to keep. Its user name is not looked at: there is one password. It crosses the network as it is, which
//! `docs/page.md` says. Rejected: a hash in the configuration, which would have `hearthlink status` ask a person.

use std::{fmt, net::IpAddr};

use axum::http::{HeaderMap, Method, Uri, header, uri::Authority};
use data_encoding::BASE64;
use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};

use super::server::CONNECTION_TIME;
use crate::{
    model::{Network, Secret},
    patience::{Patience, TooMany},
};

/// What `Patience` knows failures by, beside the network: there is one password.
const ANYBODY: &str = "";

/// The door.
#[derive(Debug)]
pub(super) struct Entrance {
    bound: IpAddr,
    hosts: Vec<String>,
    lock: Option<Lock>,
}

struct Lock {
    key: hmac::Key,
    digest: hmac::Tag,
    patience: Patience,
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lock")
    }
}

/// Why somebody does not come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No password, or a wrong one.
    Password,
    /// So many wrong ones came from there that this one was not looked at.
    TooMany,
}

impl Entrance {
    /// The door of a page at `bound`, which also goes by the names `hosts`.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(super) fn new(
        bound: IpAddr,
        hosts: Vec<String>,
        password: Option<&Secret>,
    ) -> Result<Self, NoRandomness> {
        let lock = password.map(|password| {
            let mut seed = [0; 32];
            SystemRandom::new().fill(&mut seed).map_err(|_| NoRandomness)?;
            let key = hmac::Key::new(hmac::HMAC_SHA256, &seed);
            let digest = hmac::sign(&key, password.expose().as_bytes());
            Ok(Lock { key, digest, patience: Patience::new(CONNECTION_TIME) })
        });
        Ok(Self { bound, hosts, lock: lock.transpose()? })
    }

    /// Whether every name in the request is this machine's. The port is not looked at: behind `ssh -L` it is
    /// another one, and a page elsewhere cannot choose a name that is in the list.
    pub(super) fn is_ours(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        let Some(host) = host(headers) else { return false };
        self.is_local(host.host()) && uri.host().is_none_or(|host| self.is_local(host))
    }

    fn is_local(&self, host: &str) -> bool {
        let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        match literal.parse::<IpAddr>() {
            // Bound to every address, it is reached under any of them; an address cannot be rebound.
            Ok(address) => address.is_loopback() || address == self.bound || self.bound.is_unspecified(),
            Err(_) => {
                let mut names = self.hosts.iter().map(String::as_str).chain(["localhost"]);
                let host = host.strip_suffix('.').unwrap_or(host);
                names.any(|name| host.eq_ignore_ascii_case(name))
            }
        }
    }

    /// Lets somebody in who knows the password, if there is one. Cancel safe: a turn is lost.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) async fn admit(&self, from: IpAddr, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(lock) = &self.lock else { return Ok(()) };
        // A browser asks first without one, to learn that there is one.
        let Some(given) = headers.get(header::AUTHORIZATION) else { return Err(Refusal::Password) };
        let network = Network::of(from);
        lock.patience.turn(network).await.map_err(|TooMany| Refusal::TooMany)?;
        let given = password(given.as_bytes()).unwrap_or_default();
        match hmac::verify(&lock.key, &given, lock.digest.as_ref()) {
            Ok(()) => {
                lock.patience.succeeded(network, ANYBODY);
                Ok(())
            }
            Err(_) => {
                lock.patience.failed(network, ANYBODY);
                Err(Refusal::Password)
            }
        }
    }
}

/// The system has no random numbers.
#[derive(Debug)]
pub(super) struct NoRandomness;

/// The password of `Basic …` (RFC 7617).
fn password(given: &[u8]) -> Option<Vec<u8>> {
    let (scheme, rest) = given.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let login = BASE64.decode(rest.trim_ascii()).ok()?;
    let colon = login.iter().position(|byte| *byte == b':')?;
    Some(login[colon + 1..].to_vec())
}

fn host(headers: &HeaderMap) -> Option<Authority> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return None };
    host.to_str().ok()?.parse().ok()
}

/// Whether a page of somebody else has a browser ask this. A link to the page may be followed from anywhere; nothing of
/// it may be loaded by others, and only a page of our own may have something done. Browsers too old for `Sec-Fetch-Site`
/// say at least `Origin` with what is not GET; programs say neither.
pub(super) fn is_from_elsewhere(method: &Method, headers: &HeaderMap) -> bool {
    let word = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let is_reading = [Method::GET, Method::HEAD].contains(method);
    match (word("sec-fetch-site"), word("origin")) {
        (Some("same-origin" | "none"), _) => false,
        (Some(_), _) => !(is_reading && word("sec-fetch-mode") == Some("navigate")),
        (None, Some(origin)) => !is_ours(origin, headers),
        (None, None) => false,
    }
}

/// Whether it is said that a page of ours asks, by a browser or by hand. Stricter than not to be from elsewhere: old
/// browsers say nothing of a form of another page.
pub(super) fn is_from_here(headers: &HeaderMap) -> bool {
    let word = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    match (word("sec-fetch-site"), word("origin")) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => is_ours(origin, headers),
        (None, None) => false,
    }
}

/// Whether an `Origin` is what is asked.
fn is_ours(origin: &str, headers: &HeaderMap) -> bool {
    let name = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    let ours = host(headers);
    ours.is_some_and(|ours| name.is_some_and(|name| name.eq_ignore_ascii_case(ours.as_str())))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn entrance(bound: &str, hosts: &[&str], password: Option<&str>) -> Entrance {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        Entrance::new(bound.parse().unwrap(), hosts, password.map(Secret::new).as_ref()).unwrap()
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn only_names_of_this_machine_are_served() {
        for (host, bound, expected) in [
            ("localhost", "127.0.0.1", true),
            ("LOCALHOST:8080", "127.0.0.1", true),
            ("127.0.0.1:8080", "127.0.0.1", true),
            ("127.8.8.8", "127.0.0.1", true),
            ("[::1]:9000", "::1", true),
            ("192.168.1.7:80", "192.168.1.7", true),
            ("192.168.1.8:80", "192.168.1.7", false),
            ("192.168.1.8:80", "0.0.0.0", true),
            ("Hearthlink.local:80", "0.0.0.0", true),
            ("hearthlink.local.", "127.0.0.1", true),
            ("x.hearthlink.local", "0.0.0.0", false),
            ("evil.example", "127.0.0.1", false),
            ("localhost.evil.example", "127.0.0.1", false),
            ("127.0.0.1.evil.example", "0.0.0.0", false),
            ("", "127.0.0.1", false),
        ] {
            let found = entrance(bound, &["hearthlink.local"], None)
                .is_ours(&headers(&[("host", host)]), &Uri::from_static("/"));
            assert_eq!(found, expected, "{host} at {bound}");
        }
    }

    #[test]
    fn a_request_with_no_host_two_hosts_or_a_foreign_target_is_refused() {
        let entrance = entrance("127.0.0.1", &[], None);
        let ours = || headers(&[("host", "localhost")]);
        let two = {
            let mut headers = ours();
            headers.append(header::HOST, HeaderValue::from_static("localhost"));
            headers
        };
        assert!(!entrance.is_ours(&HeaderMap::new(), &Uri::from_static("/")));
        assert!(!entrance.is_ours(&two, &Uri::from_static("/")));
        assert!(!entrance.is_ours(&ours(), &Uri::from_static("http://evil.example/")));
    }

    #[test]
    fn pages_of_others_load_nothing_and_do_nothing() {
        let (site, mode) = ("sec-fetch-site", "sec-fetch-mode");
        for (method, said, expected) in [
            ("GET", &[][..], false),
            ("POST", &[], false),
            ("GET", &[(site, "none"), (mode, "navigate")], false),
            ("GET", &[(site, "cross-site"), (mode, "navigate")], false),
            ("GET", &[(site, "cross-site"), (mode, "no-cors")], true),
            ("GET", &[(site, "same-site"), (mode, "cors")], true),
            ("GET", &[(site, "same-origin"), (mode, "cors")], false),
            ("POST", &[(site, "cross-site"), (mode, "navigate")], true),
            ("POST", &[(site, "same-origin"), ("origin", "http://evil.example")], false),
            ("POST", &[("origin", "http://pi.home:8080")], false),
            ("POST", &[("origin", "http://pi.home:8081")], true),
            ("POST", &[("origin", "http://evil.example")], true),
            ("POST", &[("origin", "null")], true),
            ("GET", &[("origin", "http://evil.example")], true),
        ] {
            let mut headers = headers(said);
            headers.insert(header::HOST, HeaderValue::from_static("pi.home:8080"));
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(is_from_elsewhere(&method, &headers), expected, "{method} {said:?}");
        }
    }

    fn login(text: &str) -> HeaderMap {
        headers(&[("authorization", &format!("Basic {}", BASE64.encode(text.as_bytes())))])
    }

    #[tokio::test(start_paused = true)]
    async fn the_password_opens_whatever_the_name_is_and_nothing_else_does() {
        let entrance = entrance("0.0.0.0", &[], Some("to:äst"));
        let from = IpAddr::from([192, 168, 1, 9]);
        for right in ["me:to:äst", ":to:äst"] {
            assert_eq!(entrance.admit(from, &login(right)).await, Ok(()), "{right}");
        }
        let odd = |value: &str| headers(&[("authorization", value)]);
        for wrong in [
            HeaderMap::new(),
            login("to:äst"),
            login("me:"),
            login("me:to:äst2"),
            odd("Bearer x"),
            odd("Basic"),
            odd("Basic !!!"),
        ] {
            assert_eq!(entrance.admit(from, &wrong).await, Err(Refusal::Password), "{wrong:?}");
        }
        assert_eq!(self::entrance("127.0.0.1", &[], None).admit(from, &HeaderMap::new()).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_guesses_waits_and_many_at_once_are_turned_away() {
        let entrance = entrance("0.0.0.0", &[], Some("right"));
        let (bad, good) = (IpAddr::from([192, 168, 1, 9]), IpAddr::from([192, 168, 1, 10]));
        let start = tokio::time::Instant::now();
        for _ in 0..8 {
            assert_eq!(entrance.admit(bad, &login("me:wrong")).await, Err(Refusal::Password));
        }
        assert!(start.elapsed() > Duration::from_secs(10), "{:?}", start.elapsed());
        let wrong = login("me:wrong");
        let many = futures_util::future::join_all((0..20).map(|_| entrance.admit(bad, &wrong))).await;
        assert!(many.contains(&Err(Refusal::TooMany)), "{many:?}");
        let now = tokio::time::Instant::now();
        assert_eq!(entrance.admit(good, &login("me:right")).await, Ok(()));
        assert_eq!(now.elapsed(), Duration::ZERO, "others do not wait");
    }
}
