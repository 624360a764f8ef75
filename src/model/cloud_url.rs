//! The address of a cloud: always WebSocket in TLS, so there is nothing that could be turned off.
//!
//! A query can carry a token, so what is shown (`Display`, `Debug`) leaves it out. The whole address comes
//! only from [`CloudUrl::with_query`], for dialling, and from serde, for what was written.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use serde::{Deserialize, Serialize};

const DEFAULT_PORT: u16 = 443;
const DEFAULT_PATH: &str = "/mqtt";

/// Why a text is not the address of a cloud: what is wrong and, behind a line break, what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Another scheme than `wss`, or none.
    #[error(
        "`{0}` does not begin with `wss://`\nthe line to the cloud is always WebSocket in TLS: write `wss://broker.example.org/mqtt`"
    )]
    Scheme(String),
    /// A user name or password in the address.
    #[error(
        "user name and password do not belong into the URL\nuse `cloud.username` and `cloud.password_file`"
    )]
    UserInfo,
    /// A `#…` at the end.
    #[error("a `#` means nothing in the address of a cloud\nleave it out of `{0}`")]
    Fragment(String),
    /// The host is no DNS name and no IP address.
    #[error("`{0}` is not a host name\nwrite a host name or an IP address behind `wss://`, IPv6 in brackets")]
    Host(String),
    /// The port is no number from 1 to 65535.
    #[error("`{0}` is not a port\nwrite a number from 1 to 65535, or leave it out for 443")]
    Port(String),
    /// The path has characters that no address may have.
    #[error("the path `{0}` has a character that a URL cannot have\nwrite it percent-encoded")]
    Path(String),
}

/// The address of a cloud, `wss://host[:port][/path]`; port 443 and path `/mqtt` when not written.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CloudUrl {
    host: String,
    port: u16,
    path: String,
}

impl CloudUrl {
    /// Parses an address.
    ///
    /// # Errors
    /// [`UrlError`] names what is wrong and what to write instead.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        // First of all, since every other error repeats the text.
        let authority = text.split_once("://").map_or(text, |(_, rest)| rest);
        if authority.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@')) {
            return Err(UrlError::UserInfo);
        }
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("wss") => rest,
            _ => return Err(UrlError::Scheme(text.to_owned())),
        };
        if rest.contains('#') {
            return Err(UrlError::Fragment(text.to_owned()));
        }
        let (authority, path) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (host, port) = split_port(authority);
        let bad_host = || UrlError::Host(host.to_owned());
        let host = match host.strip_prefix('[') {
            Some(inner) => inner
                .strip_suffix(']')
                .filter(|inner| inner.parse::<Ipv6Addr>().is_ok())
                .ok_or_else(bad_host)?,
            None if is_name(host) => host,
            None => return Err(bad_host()),
        };
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => match port.parse() {
                Ok(number) if number != 0 => number,
                _ => return Err(UrlError::Port(port.to_owned())),
            },
        };
        let path = match path {
            "" | "/" => DEFAULT_PATH.to_owned(),
            path if path.starts_with('?') => format!("{DEFAULT_PATH}{path}"),
            path => path.to_owned(),
        };
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(UrlError::Path(path));
        }
        Ok(Self { host: host.to_owned(), port, path })
    }

    /// The host name or IP address, an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query, with whatever secret that carries: to dial, never to show.
    pub fn target(&self) -> &str {
        &self.path
    }

    /// The whole address, with a query and whatever secret it carries: to dial, never to show.
    pub fn with_query(&self) -> String {
        self.up_to(&self.host, &self.path)
    }

    /// The same at one of the addresses of its host.
    pub fn with_query_at(&self, address: IpAddr) -> String {
        self.up_to(&address.to_string(), &self.path)
    }

    fn up_to(&self, host: &str, path: &str) -> String {
        let port = self.port;
        if host.contains(':') {
            format!("wss://[{host}]:{port}{path}")
        } else {
            format!("wss://{host}:{port}{path}")
        }
    }
}

/// A DNS name or an IPv4 address.
fn is_name(host: &str) -> bool {
    (1..=253).contains(&host.len())
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// Splits `host:port`; the colons of a bracketed IPv6 address do not count.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

impl fmt::Display for CloudUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.split('?').next().unwrap_or_default();
        f.write_str(&self.up_to(&self.host, path))
    }
}

impl fmt::Debug for CloudUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloudUrl({self})")
    }
}

impl TryFrom<String> for CloudUrl {
    type Error = UrlError;
    fn try_from(text: String) -> Result<Self, UrlError> {
        Self::parse(&text)
    }
}

impl From<CloudUrl> for String {
    fn from(url: CloudUrl) -> Self {
        url.with_query()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_and_path_have_defaults() {
        for (text, expected) in [
            ("wss://cloud.example", "wss://cloud.example:443/mqtt"),
            ("WSS://cloud.example/", "wss://cloud.example:443/mqtt"),
            ("wss://cloud.example:8443/ws", "wss://cloud.example:8443/ws"),
            ("wss://cloud.example?token=a", "wss://cloud.example:443/mqtt?token=a"),
            ("wss://127.0.0.1:9001", "wss://127.0.0.1:9001/mqtt"),
            ("wss://[::1]:9001/a/b", "wss://[::1]:9001/a/b"),
            ("wss://[::1]", "wss://[::1]:443/mqtt"),
        ] {
            assert_eq!(CloudUrl::parse(text).unwrap().with_query(), expected, "{text}");
        }
    }

    #[test]
    fn a_query_is_dialled_and_written_but_never_shown() {
        for (text, shown) in [
            ("wss://cloud.example?token=secret", "wss://cloud.example:443/mqtt"),
            ("wss://cloud.example/ws?token=secret?secret", "wss://cloud.example:443/ws"),
            ("wss://[::1]:9001/ws?token=secret", "wss://[::1]:9001/ws"),
            ("wss://cloud.example/ws", "wss://cloud.example:443/ws"),
        ] {
            let url = CloudUrl::parse(text).unwrap();
            assert_eq!(url.to_string(), shown, "{text}");
            assert_eq!(format!("{url:?}"), format!("CloudUrl({shown})"), "{text}");
            let query = text.split_once('?').map_or(String::new(), |(_, query)| format!("?{query}"));
            assert_eq!(url.with_query(), format!("{shown}{query}"), "{text}");
            let written = serde_json::to_string(&url).unwrap();
            assert_eq!(serde_json::from_str::<CloudUrl>(&written).unwrap(), url, "{text}");
        }
    }

    #[test]
    fn the_address_of_a_host_takes_the_place_of_its_name() {
        let url = CloudUrl::parse("wss://cloud.example:8443/ws?token=a").unwrap();
        for (address, expected) in [
            ("198.51.100.9", "wss://198.51.100.9:8443/ws?token=a"),
            ("2001:db8::1", "wss://[2001:db8::1]:8443/ws?token=a"),
        ] {
            assert_eq!(url.with_query_at(address.parse().unwrap()), expected);
        }
    }

    #[test]
    fn what_is_no_cloud_address_is_refused_with_the_reason() {
        for (text, expected) in [
            ("mqtts://cloud.example", UrlError::Scheme("mqtts://cloud.example".into())),
            ("ws://cloud.example", UrlError::Scheme("ws://cloud.example".into())),
            ("cloud.example", UrlError::Scheme("cloud.example".into())),
            ("wss://user:secret@cloud.example", UrlError::UserInfo),
            ("wss://cloud.example/#a", UrlError::Fragment("wss://cloud.example/#a".into())),
            ("wss://", UrlError::Host(String::new())),
            ("wss://cloud example", UrlError::Host("cloud example".into())),
            ("wss://[::1", UrlError::Host("[:".into())),
            ("wss://cloud.example:0", UrlError::Port("0".into())),
            ("wss://cloud.example:70000", UrlError::Port("70000".into())),
            ("wss://cloud.example/a b", UrlError::Path("/a b".into())),
        ] {
            assert_eq!(CloudUrl::parse(text), Err(expected), "{text}");
        }
    }
}
