//! The running gateway, asked by its status page: where that is, and what it says.
//!
//! Never changes anything: there is nothing on the page that could.

use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;

use super::{DEFAULT_FILE, Exit, configuration, http};
use crate::{
    config::{Loader, Web},
    health::CertificateStatus,
    model::{Fields, Timestamp},
};

/// Where the page is when neither a URL nor a configuration says so.
const DEFAULT_AUTHORITY: &str = "127.0.0.1:8080";

/// Which gateway is asked.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// The running gateway's configuration, for the address of its status page [default:
    /// /etc/hearthlink/hearthlink.yaml, if it is there].
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
    /// What its configuration says of the page, if that is known.
    page: Option<Web>,
}

/// Why it did not answer; printed as two lines.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error(
        "no gateway answers at http://{0}/ ({1}).\nIs it running? `systemctl status hearthlink` says so; its \
         configuration needs a `web` section."
    )]
    Nobody(String, std::io::Error),
    #[error("what answers at http://{0}/ is not Hearthlink ({1}).")]
    SomebodyElse(String, serde_json::Error),
}

impl Which {
    /// Finds out where it is; what is wrong with its configuration is shown.
    ///
    /// # Errors
    /// [`Exit::Config`].
    pub(super) fn find(&self) -> Result<Gateway, Exit> {
        let unconfigured = |authority: &str| Gateway { authority: authority.to_owned(), page: None };
        if let Some(authority) = &self.url {
            return Ok(unconfigured(authority));
        }
        let asked = self.config.is_some();
        let path = self.config.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
        match Loader::new(&path).shape_only().load() {
            Ok(config) => match config.web {
                Some(web) => Ok(Gateway { authority: web.address.to_string(), page: Some(web) }),
                None => {
                    eprintln!("hearthlink: {} has no `web` section, so nobody can be asked.", path.display());
                    eprintln!("Add `web: {{}}` to it and restart the gateway.");
                    Err(Exit::Config)
                }
            },
            Err(error) if asked => Err(configuration::show(&error)),
            // Often not readable for those who only look.
            Err(_) => Ok(unconfigured(DEFAULT_AUTHORITY)),
        }
    }
}

impl Gateway {
    /// What `/api/status` says, as text and read.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub(super) fn ask(&self) -> Result<(String, Status), NoAnswer> {
        let authority = &self.authority;
        let asked = match &self.page {
            Some(web) => http::get_configured(web, "/api/status"),
            None => http::get(authority, "/api/status"),
        };
        let body = asked.map_err(|error| NoAnswer::Nobody(authority.clone(), error))?;
        let status =
            serde_json::from_str(&body).map_err(|error| NoAnswer::SomebodyElse(authority.clone(), error))?;
        Ok((body, status))
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
}
