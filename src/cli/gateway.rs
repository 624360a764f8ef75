//! The running gateway, as it is reached from here: where its status page is and what that says, and where its broker is.
//!
//! Never changes anything: it only asks.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use clap::Args;
use serde::Deserialize;

use super::{
    DEFAULT_FILE, Exit, configuration,
    http::{self, HttpError},
};
use crate::{
    app::{BuildError, password_in},
    config::{Broker, Listener, Loader, Transport, Web},
    health::CertificateStatus,
    model::{Fields, Timestamp},
};

/// Where the page is when neither a URL nor a configuration says so.
const DEFAULT_AUTHORITY: &str = "127.0.0.1:8080";

/// Which gateway is asked.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// The running gateway's configuration, for the address of its status page [default:
    /// /etc/hearthlink/config.yaml, if it is there].
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    config: Option<PathBuf>,
    /// The status page itself, `http://HOST:PORT`.
    #[arg(long, value_name = "URL", value_parser = authority)]
    url: Option<String>,
}

/// The `host:port` of an `http://…` URL.
fn authority(url: &str) -> Result<String, String> {
    let rest = url.strip_prefix("http://").ok_or("write it like http://127.0.0.1:8080")?;
    let authority = rest.trim_end_matches('/');
    if authority.is_empty()
        || authority.contains(['/', '@', '?', '#'])
        || authority.contains(char::is_whitespace)
    {
        return Err("write only host and port, like http://127.0.0.1:8080".to_owned());
    }
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Ok(if has_port { authority.to_owned() } else { format!("{authority}:80") })
}

/// A gateway that can be asked.
pub(super) struct Gateway {
    authority: String,
    /// Where the page's password is, if it is known to have one.
    password_file: Option<PathBuf>,
}

/// Why it did not answer; some are printed as two lines.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error(
        "no gateway answers at http://{0}/ ({1}).\nIs it running? `systemctl status hearthlink` says so; its \
         configuration needs a `web` section."
    )]
    Nobody(String, io::Error),
    #[error(
        "what answers at http://{0}/ refuses this ({1}).\nWhere the page has a password, name the configuration with \
         --config: it says where the password is."
    )]
    Refused(String, HttpError),
    #[error("{0}.\nSay this as a user who may read it.")]
    Password(#[from] BuildError),
    #[error("what answers at http://{0}/ is not Hearthlink ({1}).")]
    SomebodyElse(String, serde_json::Error),
}

impl NoAnswer {
    /// Says it.
    pub(super) fn show(&self) -> Exit {
        eprintln!("hearthlink: {self}");
        Exit::Unavailable
    }
}

impl Which {
    /// Finds out where it is; what is wrong with its configuration is shown.
    ///
    /// # Errors
    /// [`Exit::Config`].
    pub(super) fn find(&self) -> Result<Gateway, Exit> {
        let unconfigured = |authority: &str| Gateway { authority: authority.to_owned(), password_file: None };
        if let Some(authority) = &self.url {
            return Ok(unconfigured(authority));
        }
        let asked = self.config.is_some();
        let path = self.config.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
        match Loader::new(&path).shape_only().load() {
            Ok(config) => config.web.as_ref().map(Gateway::of).ok_or_else(|| {
                eprintln!("hearthlink: {} has no `web` section, so nobody can be asked.", path.display());
                eprintln!("Add `web: {{}}` to it and restart the gateway.");
                Exit::Config
            }),
            Err(error) if asked => Err(configuration::show(&error)),
            // Often not readable for those who only look.
            Err(_) => Ok(unconfigured(DEFAULT_AUTHORITY)),
        }
    }
}

impl Gateway {
    /// The one whose page this is.
    pub(super) fn of(web: &Web) -> Self {
        Self { authority: from_here(web.address).to_string(), password_file: web.password_file.clone() }
    }

    /// What `/api/status` says.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub(super) fn status(&self) -> Result<String, NoAnswer> {
        let authority = &self.authority;
        let password = self.password_file.as_deref().map(password_in).transpose()?;
        http::get(authority, "/api/status", password.as_deref()).map_err(|error| match error {
            HttpError::Io(error) => NoAnswer::Nobody(authority.clone(), error),
            refused @ HttpError::Status { .. } => NoAnswer::Refused(authority.clone(), refused),
        })
    }

    /// The same as text and read.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub(super) fn ask(&self) -> Result<(String, Status), NoAnswer> {
        let body = self.status()?;
        let somebody_else = |error| NoAnswer::SomebodyElse(self.authority.clone(), error);
        let status = serde_json::from_str(&body).map_err(somebody_else)?;
        Ok((body, status))
    }
}

/// The broker's listener that this machine reaches best: MQTT over TCP without TLS, on loopback if there is one, and without
/// a user only where nobody needs one.
pub(super) fn listener(broker: &Broker, has_user: bool) -> Option<SocketAddr> {
    let is_usable = |listener: &&Listener| {
        listener.transport == Transport::Tcp
            && listener.tls.is_none()
            && (has_user || listener.allows_anonymous())
    };
    let addresses = broker.listeners.iter().filter(is_usable).map(|listener| listener.address);
    addresses.min_by_key(|address| !address.ip().is_loopback()).map(from_here)
}

/// Where somebody on this machine reaches who listens there.
pub(super) fn from_here(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(address) if address.ip().is_unspecified() => {
            (Ipv4Addr::LOCALHOST, address.port()).into()
        }
        SocketAddr::V6(address) if address.ip().is_unspecified() => {
            (Ipv6Addr::LOCALHOST, address.port()).into()
        }
        address => address,
    }
}

/// The part of `/api/status` that is printed.
#[derive(Debug, Deserialize)]
pub(super) struct Status {
    pub(super) version: String,
    pub(super) gateway: String,
    pub(super) now: Timestamp,
    #[serde(default)]
    pub(super) simulated: bool,
    pub(super) verdict: Verdict,
    pub(super) link: Link,
    #[serde(default)]
    pub(super) certificate: Option<CertificateStatus>,
    pub(super) store: Store,
    pub(super) devices: Vec<Device>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Verdict {
    pub(super) level: String,
    pub(super) sentence: String,
    pub(super) remedy: Option<String>,
    pub(super) since: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Link {
    pub(super) state: String,
    pub(super) endpoint: String,
    pub(super) protocol: Option<String>,
    pub(super) connected_since: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Store {
    pub(super) waiting: u64,
    pub(super) waiting_bytes: u64,
    pub(super) oldest: Option<Timestamp>,
    pub(super) dropped: Vec<(String, u64)>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Device {
    pub(super) id: String,
    #[serde(default)]
    pub(super) kind: String,
    pub(super) availability: String,
    pub(super) fields: Option<Fields>,
    #[serde(default)]
    pub(super) units: BTreeMap<String, String>,
    pub(super) last_seen: Option<Timestamp>,
    pub(super) fault: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_addresses_are_asked() {
        assert_eq!(authority("http://127.0.0.1:8080/").unwrap(), "127.0.0.1:8080");
        assert_eq!(authority("http://localhost").unwrap(), "localhost:80");
        assert_eq!(authority("http://[::1]:9000").unwrap(), "[::1]:9000");
        for bad in ["https://a", "a:80", "http://", "http://a/b", "http://u@a", "http://a b"] {
            assert!(authority(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_nearest_listener_without_tls_is_used_and_without_a_name_only_where_none_is_needed() {
        let listener_at = |address: &str, anonymous: Option<bool>, transport| Listener {
            address: address.parse().unwrap(),
            transport,
            tls: None,
            anonymous,
            acl: None,
            origins: Vec::new(),
        };
        let house = listener_at("0.0.0.0:1884", None, Transport::Tcp);
        let page = listener_at("127.0.0.1:9001", None, Transport::WebSocket);
        let local = listener_at("127.0.0.1:1883", None, Transport::Tcp);
        let of = |listeners: &[&Listener], has_user| {
            let listeners = listeners.iter().map(|listener| (*listener).clone()).collect();
            listener(&Broker { listeners, ..Broker::default() }, has_user).map(|address| address.to_string())
        };
        assert_eq!(of(&[&house, &page, &local], false).as_deref(), Some("127.0.0.1:1883"));
        assert_eq!(of(&[&house, &page], false), None);
        assert_eq!(of(&[&house, &page], true).as_deref(), Some("127.0.0.1:1884"));
    }
}
