//! The keys of `cloud` that say how its brokers are reached: the ladder and the proxy.

use std::{fmt, path::PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::model::{CloudUrl, Scheme};

/// Another way to the same broker, tried when the network blocks the ones before it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rung {
    /// In what MQTT travels.
    pub transport: Wrapping,
    /// The TCP port; default 443 for `wss`, 8883 for `mqtts`.
    #[serde(default)]
    pub port: Option<u16>,
    /// The path of `wss`; default: that of `cloud.url`, or `/mqtt`.
    #[serde(default)]
    pub path: Option<String>,
    /// What TLS asks for by ALPN, for `mqtts`. Default: nothing.
    #[serde(default)]
    pub alpn: Option<String>,
}

/// In what MQTT travels, all of it in TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Wrapping {
    /// In WebSocket.
    Wss,
    /// By itself.
    Mqtts,
}

impl From<Wrapping> for Scheme {
    fn from(wrapping: Wrapping) -> Self {
        match wrapping {
            Wrapping::Wss => Scheme::WebSocket,
            Wrapping::Mqtts => Scheme::Tls,
        }
    }
}

impl Rung {
    /// This way to the broker of `url`.
    pub fn to(&self, url: &CloudUrl) -> CloudUrl {
        url.by(self.transport.into(), self.port, self.path.as_deref())
    }
}

/// The proxy on the way out. Without this section: what `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` of the environment
/// say.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Proxy {
    /// `http://host[:port]`, or `none` whatever the environment says.
    pub url: ProxyUrl,
    /// The user name for basic authentication.
    #[serde(default)]
    pub username: Option<String>,
    /// A file whose first line is its password; readable by its owner only.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// What is reached without the proxy: names with all below them, addresses and networks.
    #[serde(default)]
    pub except: Vec<String>,
}

/// Where a proxy is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum ProxyUrl {
    /// There is none.
    None,
    /// Here.
    At {
        /// A host name or an IP address, IPv6 without brackets.
        host: String,
        /// The TCP port.
        port: u16,
    },
}

/// What most proxies listen on.
const PROXY_PORT: u16 = 3128;

impl TryFrom<String> for ProxyUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "none" {
            return Ok(ProxyUrl::None);
        }
        let Some(rest) = text.strip_prefix("http://") else {
            return Err(format!(
                "`{text}` is no proxy that is known here\nwrite `http://proxy.example.org:{PROXY_PORT}`, or `none`"
            ));
        };
        if rest.contains('@') {
            return Err("user name and password do not belong into the URL\nuse `cloud.proxy.username` and \
                 `cloud.proxy.password_file`"
                .to_owned());
        }
        // A cloud's address has the same host and port.
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let url = if has_port {
            format!("mqtts://{authority}")
        } else {
            format!("mqtts://{authority}:{PROXY_PORT}")
        };
        let url = CloudUrl::parse(&url).map_err(|_| {
            format!("`{text}` is not the address of a proxy\nwrite `http://proxy.example.org:{PROXY_PORT}`")
        })?;
        Ok(ProxyUrl::At { host: url.host().to_owned(), port: url.port() })
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProxyUrl::None => f.write_str("none"),
            ProxyUrl::At { host, port } => write!(f, "http://{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_a_host_and_a_port_and_nothing_secret() {
        let at = |host: &str, port| Ok(ProxyUrl::At { host: host.to_owned(), port });
        for (text, expected) in [
            ("http://proxy.example:8080", at("proxy.example", 8080)),
            ("http://proxy.example/", at("proxy.example", 3128)),
            ("http://[::1]", at("::1", 3128)),
            ("none", Ok(ProxyUrl::None)),
        ] {
            assert_eq!(ProxyUrl::try_from(text.to_owned()), expected, "{text}");
        }
        for (text, words) in [
            ("socks5://proxy.example", "no proxy that is known"),
            ("https://proxy.example", "no proxy that is known"),
            ("http://user:secret@proxy.example", "do not belong into the URL"),
            ("http://proxy.example/path", "not the address of a proxy"),
            ("http://proxy.example:0", "not the address of a proxy"),
        ] {
            let error = ProxyUrl::try_from(text.to_owned()).unwrap_err();
            assert!(error.contains(words) && !error.contains("secret"), "{text}: {error}");
        }
    }
}
