//! One way to one broker of the cloud: where, and in what MQTT travels there.
//!
//! Owns the settings of a connection that are no secrets. Never dials. Everything is TLS: there is no variant without.

use std::fmt;

use crate::model::{CloudUrl, Scheme};

/// The subprotocol that MQTT over WebSocket has (MQTT 5 section 6.0).
const SUBPROTOCOL: &str = "mqtt";

/// In what MQTT travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// WebSocket in TLS.
    WebSocket {
        /// What the upgrade asks for and must be granted.
        subprotocol: String,
    },
    /// TLS alone.
    Tls {
        /// The protocol that the TLS handshake asks for (RFC 7301) and must be granted: brokers that share port 443
        /// with a web server need it.
        alpn: Option<String>,
    },
}

/// One way to one broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// Where; the path counts for WebSocket only.
    pub url: CloudUrl,
    /// In what.
    pub transport: Transport,
    /// The name that TLS asks for and the certificate must have (RFC 6066 section 3); `None`: the host's.
    pub server_name: Option<String>,
}

impl Way {
    /// What the address alone says.
    pub fn direct(url: CloudUrl) -> Self {
        let transport = match url.scheme() {
            Scheme::WebSocket => Transport::WebSocket { subprotocol: SUBPROTOCOL.to_owned() },
            Scheme::Tls => Transport::Tls { alpn: None },
        };
        Self { url, transport, server_name: None }
    }

    /// The name that TLS asks for.
    pub(super) fn name(&self) -> &str {
        self.server_name.as_deref().unwrap_or(self.url.host())
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.transport {
            Transport::Tls { alpn: Some(alpn) } => write!(f, "{} with ALPN {alpn}", self.url),
            Transport::Tls { alpn: None } | Transport::WebSocket { .. } => self.url.fmt(f),
        }
    }
}
