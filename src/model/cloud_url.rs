//! The address of a cloud: always TLS, with WebSocket in it or without, so there is nothing that could be turned off.
//!
//! A query can carry a token, so what is shown (`Display`, `Debug`) leaves it out. The whole address comes
//! only from [`CloudUrl::with_query`], for dialling, and from serde, for what was written.

use std::{fmt, net::Ipv6Addr};

use serde::{Deserialize, Serialize};

const DEFAULT_PATH: &str = "/mqtt";

/// In what MQTT travels, all of it in TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `wss`: in WebSocket.
    WebSocket,
    /// `mqtts`: by itself.
    Tls,
}

impl Scheme {
    const ALL: [Self; 2] = [Self::WebSocket, Self::Tls];

    /// As it stands in an address.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::WebSocket => "wss",
            Scheme::Tls => "mqtts",
        }
    }

    /// The port when none is written: IANA's `https` and `secure-mqtt`.
    pub fn default_port(self) -> u16 {
        match self {
            Scheme::WebSocket => 443,
            Scheme::Tls => 8883,
        }
    }
}

/// Why a text is not the address of a cloud: what is wrong and, behind a line break, what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Another scheme than `wss` and `mqtts`, or none.
    #[error(
        "`{0}` does not begin with `wss://` or `mqtts://`\nthe line to the cloud is always in TLS: write `wss://broker.example.org/mqtt`, or `mqtts://broker.example.org` where it speaks no WebSocket"
    )]
    Scheme(String),
    /// A path behind `mqtts`.
    #[error("`{0}` has a path, which only WebSocket knows\nleave it out, or begin with `wss://`")]
    NoPath(String),
    /// A user name or password in the address.
    #[error(
        "user name and password do not belong into the URL\nuse `cloud.username` and `cloud.password_file`"
    )]
    UserInfo,
    /// A `#…` at the end.
    #[error("a `#` means nothing in the address of a cloud\nleave it out of `{0}`")]
    Fragment(String),
    /// The host is no DNS name and no IP address.
    #[error(
        "`{0}` is not a host name\nwrite a host name or an IP address behind `wss://` or `mqtts://`, IPv6 in brackets"
    )]
    Host(String),
    /// The port is no number from 1 to 65535.
    #[error(
        "`{0}` is not a port\nwrite a number from 1 to 65535, or leave it out for the usual one (443 for `wss`, 8883 for `mqtts`)"
    )]
    Port(String),
    /// The path has characters that no address may have.
    #[error("the path `{0}` has a character that a URL cannot have\nwrite it percent-encoded")]
    Path(String),
}

/// The address of a cloud: `wss://host[:port][/path]`, port 443 and path `/mqtt` when not written, or
/// `mqtts://host[:port]`, port 8883 when not written.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CloudUrl {
    scheme: Scheme,
    host: String,
    port: u16,
    path: String,
    /// What of this was not written and may be filled in.
    left_out: LeftOut,
}

/// Two addresses that lead to the same place are the same, whoever filled in what.
#[derive(Clone, Copy)]
struct LeftOut {
    port: bool,
    path: bool,
}

impl PartialEq for LeftOut {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for LeftOut {}

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
        let bad_scheme = || UrlError::Scheme(text.to_owned());
        let (scheme, rest) = text.split_once("://").ok_or_else(bad_scheme)?;
        let known = Scheme::ALL.into_iter().find(|known| scheme.eq_ignore_ascii_case(known.name()));
        let scheme = known.ok_or_else(bad_scheme)?;
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
        let left_out = LeftOut { port: port.is_none(), path: !path.starts_with('/') || path == "/" };
        let port = match port {
            None => scheme.default_port(),
            Some(port) => match port.parse() {
                Ok(number) if number != 0 => number,
                _ => return Err(UrlError::Port(port.to_owned())),
            },
        };
        let path = match path {
            "" | "/" if scheme == Scheme::Tls => String::new(),
            _ if scheme == Scheme::Tls => return Err(UrlError::NoPath(text.to_owned())),
            "" | "/" => DEFAULT_PATH.to_owned(),
            path if path.starts_with('?') => format!("{DEFAULT_PATH}{path}"),
            path => path.to_owned(),
        };
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(UrlError::Path(path));
        }
        Ok(Self { scheme, host: host.to_owned(), port, path, left_out })
    }

    /// The same with this port and this path for WebSocket where none was written; a query stays.
    #[must_use]
    pub fn or(mut self, port: u16, path: &str) -> Self {
        if self.scheme == Scheme::Tls {
            return self;
        }
        if self.left_out.port {
            self.port = port;
        }
        if self.left_out.path {
            let query = self.path.split_once('?').map(|(_, query)| format!("?{query}")).unwrap_or_default();
            self.path = format!("{path}{query}");
        }
        self
    }

    /// In what MQTT travels.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host name or IP address, an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path with the query, from its first slash on: to dial, never to show. Empty for `mqtts`.
    pub fn path_with_query(&self) -> &str {
        &self.path
    }

    /// The host, and the port unless it is the usual one: what HTTP calls the authority, IPv6 in brackets, in small
    /// letters, since signatures are over it.
    pub fn authority(&self) -> String {
        let authority = if self.port == self.scheme.default_port() {
            in_brackets(&self.host)
        } else {
            self.host_and_port()
        };
        authority.to_ascii_lowercase()
    }

    /// The region that an endpoint of AWS IoT tells: `a1b2c3-ats.iot.eu-central-1.amazonaws.com` is in eu-central-1.
    pub fn aws_region(&self) -> Option<String> {
        let host = self.host.to_ascii_lowercase();
        let mut levels = host.split('.').skip_while(|level| *level != "iot").skip(1);
        let region = levels.next()?;
        (levels.next() == Some("amazonaws")).then(|| region.to_owned())
    }

    /// The host and the port, IPv6 in brackets.
    pub fn host_and_port(&self) -> String {
        format!("{}:{}", in_brackets(&self.host), self.port)
    }

    /// The whole address, with a query and whatever secret it carries: to dial, never to show.
    pub fn with_query(&self) -> String {
        self.up_to(&self.path)
    }

    /// Another way to the same host; what it says of its path is taken over where it needs one and has none.
    #[must_use]
    pub fn by(&self, scheme: Scheme, port: Option<u16>, path: Option<&str>) -> Self {
        let path = match scheme {
            Scheme::Tls => "",
            Scheme::WebSocket => path.unwrap_or(if self.path.is_empty() { DEFAULT_PATH } else { &self.path }),
        };
        let port = port.unwrap_or(scheme.default_port());
        let left_out = LeftOut { port: false, path: false };
        Self { scheme, host: self.host.clone(), port, path: path.to_owned(), left_out }
    }

    fn up_to(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme.name(), self.host_and_port())
    }
}

fn in_brackets(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
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
        f.write_str(&self.up_to(path))
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
    fn only_what_was_not_written_is_filled_in() {
        for (text, expected) in [
            ("wss://a", "wss://a:15676/ws"),
            ("wss://a/", "wss://a:15676/ws"),
            ("wss://a?t=1", "wss://a:15676/ws?t=1"),
            ("wss://a:443", "wss://a:443/ws"),
            ("wss://a/mqtt", "wss://a:15676/mqtt"),
            ("wss://a:1/b?c", "wss://a:1/b?c"),
        ] {
            assert_eq!(CloudUrl::parse(text).unwrap().or(15_676, "/ws").with_query(), expected, "{text}");
        }
    }

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
            ("mqtts://cloud.example", "mqtts://cloud.example:8883"),
            ("MQTTS://cloud.example:443/", "mqtts://cloud.example:443"),
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
    fn another_way_leads_to_the_same_host() {
        let url = CloudUrl::parse("wss://cloud.example:8443/ws?token=a").unwrap();
        for (scheme, port, path, expected) in [
            (Scheme::Tls, None, None, "mqtts://cloud.example:8883"),
            (Scheme::Tls, Some(443), None, "mqtts://cloud.example:443"),
            (Scheme::WebSocket, None, None, "wss://cloud.example:443/ws?token=a"),
            (Scheme::WebSocket, Some(80), Some("/mqtt"), "wss://cloud.example:80/mqtt"),
        ] {
            assert_eq!(url.by(scheme, port, path).with_query(), expected);
        }
        let plain = CloudUrl::parse("mqtts://[::1]").unwrap();
        assert_eq!(plain.by(Scheme::WebSocket, None, None).with_query(), "wss://[::1]:443/mqtt");
        assert_eq!((plain.authority().as_str(), url.authority().as_str()), ("[::1]", "cloud.example:8443"));
    }

    #[test]
    fn what_is_no_cloud_address_is_refused_with_the_reason() {
        for (text, expected) in [
            ("mqtt://cloud.example", UrlError::Scheme("mqtt://cloud.example".into())),
            ("mqtts://cloud.example/ws", UrlError::NoPath("mqtts://cloud.example/ws".into())),
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
