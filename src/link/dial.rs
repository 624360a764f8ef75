//! Where the cloud is, and whether its name resolves.
//!
//! Owns [`CloudUrl`] and the name resolution in front of rumqttc's own dialling. Never opens a
//! connection itself. rumqttc resolves the name once more when it dials and tries all addresses in
//! turn; resolving here first is what tells a missing name from a host that does not answer, which
//! rumqttc reports as the same `io::Error`. Rejected: dialling ourselves and handing rumqttc the
//! socket; its MQTT 5 event loop takes none.

use std::{fmt, time::Duration};

use async_tungstenite::tungstenite::http::Uri;
use rustls::pki_types::ServerName;

use crate::model::{Fault, FaultKind};

const DEFAULT_PORT: u16 = 443;
const DEFAULT_PATH: &str = "/mqtt";

/// Why a text is not the address of a cloud.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Another scheme than `wss`.
    #[error(
        "`{0}` does not begin with `wss://`: Hearthlink speaks to the cloud by MQTT over WebSocket over TLS only"
    )]
    Scheme(String),
    /// A user name or password in the address.
    #[error(
        "the cloud's address must not contain a user name or password: write them as `cloud.username` and `cloud.password_file`"
    )]
    UserInfo,
    /// A `#…` at the end.
    #[error("`{0}` contains a `#`, which means nothing in the address of a cloud")]
    Fragment(String),
    /// The host is no DNS name and no IP address.
    #[error("`{0}` has no valid host name: write `wss://host`, `wss://host:port` or `wss://host:port/path`")]
    Host(String),
    /// The port is no number from 1 to 65535.
    #[error("`{0}` is not a port: write a number from 1 to 65535")]
    Port(String),
    /// The path has characters that no address may have.
    #[error("`{0}` is not a valid path: write letters, digits and `/`, and `%` codes for the rest")]
    Path(String),
}

/// The address of a cloud, `wss://host[:port][/path]`; port 443 and path `/mqtt` when not written.
#[derive(Debug, Clone, PartialEq, Eq)]
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
        if authority.contains('@') {
            return Err(UrlError::UserInfo);
        }
        let (host, port) = split_port(authority);
        let bad_host = || UrlError::Host(text.to_owned());
        let host = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').ok_or_else(bad_host)?,
            None => host,
        };
        ServerName::try_from(host).map_err(|_| bad_host())?;
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
        let url = Self { host: host.to_owned(), port, path };
        match url.to_string().parse::<Uri>() {
            Ok(_) => Ok(url),
            Err(_) => Err(UrlError::Path(url.path)),
        }
    }

    /// The host name or IP address, an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }
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
        let Self { host, port, path } = self;
        if host.contains(':') {
            write!(f, "wss://[{host}]:{port}{path}")
        } else {
            write!(f, "wss://{host}:{port}{path}")
        }
    }
}

/// Makes sure that the name resolves to at least one address within `limit`.
///
/// # Errors
/// [`FaultKind::Dns`].
pub(super) async fn resolve(url: &CloudUrl, limit: Duration) -> Result<(), Fault> {
    let lookup = tokio::net::lookup_host((url.host(), url.port()));
    let fault = |detail| Err(Fault::new(FaultKind::Dns, detail));
    match tokio::time::timeout(limit, lookup).await {
        Ok(Ok(addresses)) => match addresses.count() {
            0 => fault(format!("`{}` has no address", url.host())),
            _ => Ok(()),
        },
        Ok(Err(error)) => fault(format!("`{}`: {error}", url.host())),
        Err(_) => fault(format!("`{}`: no answer within {} s", url.host(), limit.as_secs())),
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
            assert_eq!(CloudUrl::parse(text).unwrap().to_string(), expected, "{text}");
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
            ("wss://", UrlError::Host("wss://".into())),
            ("wss://cloud example", UrlError::Host("wss://cloud example".into())),
            ("wss://[::1", UrlError::Host("wss://[::1".into())),
            ("wss://cloud.example:0", UrlError::Port("0".into())),
            ("wss://cloud.example:70000", UrlError::Port("70000".into())),
            ("wss://cloud.example/a b", UrlError::Path("/a b".into())),
        ] {
            assert_eq!(CloudUrl::parse(text), Err(expected), "{text}");
        }
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_a_dns_fault() {
        let url = CloudUrl::parse("wss://nowhere.invalid").unwrap();
        assert_eq!(resolve(&url, Duration::from_secs(10)).await.unwrap_err().kind, FaultKind::Dns);
    }
}
