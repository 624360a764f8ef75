//! Which web pages may use a WebSocket listener.
//!
//! A browser lets any page in the world open a WebSocket to a house, and only says from where it comes
//! (`Origin`, RFC 6455 section 10.2). Where a client needs no name, or shows a certificate, which browsers
//! do by themselves, that must be looked at. A password is nothing that a browser gives away, so a listener
//! that wants one takes every page, unless it names some.
//!
//! A page of the same host as the one that is asked for is ours, but not under every name: whoever owns
//! a name can point it at this machine after the page was loaded (DNS rebinding), and both are then the
//! same. So that holds for addresses and for names that nobody outside can own.

use std::net::{Ipv4Addr, Ipv6Addr};

use async_tungstenite::tungstenite::http::{
    HeaderMap,
    header::{HOST, HeaderName, ORIGIN},
};

/// The pages that may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origins {
    /// Every page.
    Any,
    /// Those of the same host, and these.
    OwnAnd(Vec<String>),
}

impl Origins {
    /// Whether a request may go on. Programs that are no browsers say no origin.
    pub(super) fn allow(&self, headers: &HeaderMap) -> bool {
        let Self::OwnAnd(listed) = self else { return true };
        if !headers.contains_key(ORIGIN) {
            return true;
        }
        let Some(origin) = only(headers, ORIGIN) else { return false };
        if listed.iter().any(|listed| listed.eq_ignore_ascii_case(origin)) {
            return true;
        }
        let page = origin.split_once("://").and_then(|(_, authority)| host(authority));
        let asked = only(headers, HOST).and_then(host);
        page.zip(asked).is_some_and(|(page, asked)| page.eq_ignore_ascii_case(asked) && is_at_home(asked))
    }
}

/// The only header of this name.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    value.to_str().ok()
}

/// The host of `host:port` or `[address]:port`. The port is not compared: the page's server and the broker
/// are two programs.
fn host(authority: &str) -> Option<&str> {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => authority.split(':').next()?,
    };
    (!host.is_empty() && !host.contains(['/', '@'])).then_some(host)
}

/// An address, or a name that cannot be registered (RFC 6761, 6762 and 8375; those without a dot).
fn is_at_home(host: &str) -> bool {
    let is_address = host.parse::<Ipv4Addr>().is_ok() || host.parse::<Ipv6Addr>().is_ok();
    let name = host.to_ascii_lowercase();
    is_address
        || !name.contains(['.', ':'])
        || [".local", ".localhost", ".home.arpa", ".internal"].iter().any(|zone| name.ends_with(zone))
}

#[cfg(test)]
mod tests {
    use async_tungstenite::tungstenite::http::HeaderValue;

    use super::*;

    fn allows(origins: &Origins, origin: &[&str], host: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, values) in [(ORIGIN, origin), (HOST, host)] {
            for value in values {
                headers.append(name.clone(), HeaderValue::from_str(value).unwrap());
            }
        }
        origins.allow(&headers)
    }

    #[test]
    fn pages_of_this_host_and_those_listed_may_and_no_others() {
        let origins = Origins::OwnAnd(vec!["https://panel.example".to_owned()]);
        for (origin, host, expected) in [
            (&[][..], &["127.0.0.1:9001"][..], true),
            (&["http://127.0.0.1:8080"], &["127.0.0.1:9001"], true),
            (&["http://[::1]"], &["[::1]:9001"], true),
            (&["http://pi:8080"], &["PI:9001"], true),
            (&["http://hearth.local"], &["hearth.local:9001"], true),
            (&["https://panel.example"], &["pi:9001"], true),
            (&["https://Panel.example"], &["pi:9001"], true),
            (&["https://panel.example:444"], &["pi:9001"], false),
            (&["http://panel.example"], &["pi:9001"], false),
            (&["https://evil.example"], &["pi:9001"], false),
            // The name was pointed at this machine.
            (&["http://evil.example:9001"], &["evil.example:9001"], false),
            (&["http://evil.local.example"], &["evil.local.example"], false),
            (&["null"], &["pi:9001"], false),
            (&[""], &[""], false),
            (&["http://pi", "https://evil.example"], &["pi"], false),
            (&["http://pi"], &["pi", "pi"], false),
            (&["http://pi"], &[], false),
            (&["http://evil.example@pi"], &["pi"], false),
        ] {
            assert_eq!(allows(&origins, origin, host), expected, "{origin:?} to {host:?}");
        }
        assert!(allows(&Origins::Any, &["https://evil.example"], &["pi"]));
    }
}
