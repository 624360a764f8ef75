//! `status`: what the status page says, in a terminal.

use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;

use super::{DEFAULT_FILE, Exit, configuration, http};
use crate::{
    config::{Loader, Web},
    health::CertificateStatus,
    model::{Fields, Timestamp},
    web::words,
};

/// Where the page is when neither a URL nor a configuration says so.
const DEFAULT_AUTHORITY: &str = "127.0.0.1:8080";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The running gateway's configuration, for the address of its status page [default:
    /// /etc/hearthlink/hearthlink.yaml, if it is there].
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    config: Option<PathBuf>,
    /// The status page itself, `http://HOST:PORT`.
    #[arg(long, value_name = "URL", value_parser = authority)]
    url: Option<String>,
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
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

pub(super) fn run(arguments: &Arguments) -> Exit {
    let (authority, page) = match find(arguments) {
        Ok(found) => found,
        Err(exit) => return exit,
    };
    let asked = match &page {
        Some(web) => http::get_configured(web, "/api/status"),
        None => http::get(&authority, "/api/status"),
    };
    let body = match asked {
        Ok(body) => body,
        Err(error) => {
            eprintln!("hearthlink: no gateway answers at http://{authority}/ ({error}).");
            eprintln!(
                "Is it running? `systemctl status hearthlink` says so; its configuration needs a `web` section."
            );
            return Exit::Unavailable;
        }
    };
    let status: Status = match serde_json::from_str(&body) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("hearthlink: what answers at http://{authority}/ is not Hearthlink ({error}).");
            return Exit::Unavailable;
        }
    };
    if arguments.json {
        super::say::say(body);
    } else {
        super::say::say(text(&status).trim_end());
    }
    if status.verdict.level == "error" { Exit::Failure } else { Exit::Success }
}

/// Where the page is, and what the configuration says of it, if that is known.
fn find(arguments: &Arguments) -> Result<(String, Option<Web>), Exit> {
    if let Some(authority) = &arguments.url {
        return Ok((authority.clone(), None));
    }
    let asked = arguments.config.is_some();
    let path = arguments.config.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    match Loader::new(&path).shape_only().load() {
        Ok(config) => match config.web {
            Some(web) => Ok((web.address.to_string(), Some(web))),
            None => {
                eprintln!("hearthlink: {} has no `web` section, so nobody can be asked.", path.display());
                eprintln!("Add `web: {{}}` to it and restart the gateway.");
                Err(Exit::Config)
            }
        },
        Err(error) if asked => Err(configuration::show(&error)),
        // Often not readable for those who only look.
        Err(_) => Ok((DEFAULT_AUTHORITY.to_owned(), None)),
    }
}

/// The part of `/api/status` that is printed.
#[derive(Debug, Deserialize)]
struct Status {
    version: String,
    gateway: String,
    now: Timestamp,
    #[serde(default)]
    simulated: bool,
    verdict: Verdict,
    link: Link,
    #[serde(default)]
    certificate: Option<CertificateStatus>,
    store: Store,
    devices: Vec<Device>,
}

#[derive(Debug, Deserialize)]
struct Verdict {
    level: String,
    sentence: String,
    remedy: Option<String>,
    since: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
struct Link {
    state: String,
    endpoint: String,
    protocol: Option<String>,
    connected_since: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
struct Store {
    waiting: u64,
    waiting_bytes: u64,
    oldest: Option<Timestamp>,
    dropped: Vec<(String, u64)>,
}

#[derive(Debug, Deserialize)]
struct Device {
    id: String,
    availability: String,
    fields: Option<Fields>,
    last_seen: Option<Timestamp>,
    fault: Option<String>,
}

fn text(status: &Status) -> String {
    let mut text = String::new();
    let mut line = |words: String| text.extend([words.as_str(), "\n"]);
    let ago = |then: Timestamp| words::ago(status.now, then);
    line(status.verdict.sentence.clone());
    if let Some(since) = status.verdict.since {
        line(format!("Since {} ({since}).", ago(since)));
    }
    if let Some(remedy) = &status.verdict.remedy {
        line(format!("What to do: {remedy}"));
    }
    if status.simulated {
        line("Its devices are simulated: what they say is not real.".to_owned());
    }
    line(String::new());
    line(format!("Line     {}", line_words(status)));
    if let Some(certificate) = &status.certificate {
        line(format!("Cert     {}", words::certificate(certificate)));
    }
    line(format!("Queue    {}", queue_words(status)));
    let width = status.devices.iter().map(|device| device.id.len()).max().unwrap_or_default();
    for (index, device) in status.devices.iter().enumerate() {
        let title = if index == 0 { "Devices" } else { "" };
        line(format!("{title:<8} {:<width$}  {}", device.id, device_words(device, &ago)));
    }
    line(format!("Gateway  {}, Hearthlink {}", status.gateway, status.version));
    text
}

fn line_words(status: &Status) -> String {
    let link = &status.link;
    let mut words = link.state.clone();
    if !link.endpoint.is_empty() {
        words += &format!(", {}", link.endpoint);
    }
    if let Some(protocol) = &link.protocol {
        words += &format!(", {protocol}");
    }
    if let Some(since) = link.connected_since {
        words += &format!(", connected {}", words::lasting(status.now, since));
    }
    words
}

fn queue_words(status: &Status) -> String {
    let store = &status.store;
    let mut words = match store.waiting {
        0 => "nothing waits".to_owned(),
        waiting => format!("{}, {}", words::count(waiting, "message"), words::bytes(store.waiting_bytes)),
    };
    if let Some(oldest) = store.oldest {
        words += &format!(", the oldest from {}", words::ago(status.now, oldest));
    }
    for (policy, count) in store.dropped.iter().filter(|(_, count)| *count > 0) {
        words += &format!("; {} {}", words::count(*count, "message"), words::dropped(policy));
    }
    words
}

fn device_words(device: &Device, ago: &dyn Fn(Timestamp) -> String) -> String {
    let fields = device.fields.iter().flatten();
    let fields: Vec<String> = fields.map(|(name, value)| format!("{name} {}", words::value(value))).collect();
    let mut words = format!("{:<8}", device.availability);
    if !fields.is_empty() {
        words += &format!(" {}", fields.join(", "));
    }
    if let Some(seen) = device.last_seen {
        words += &format!(" ({})", ago(seen));
    }
    if let Some(fault) = &device.fault {
        words += &format!(", {fault}");
    }
    words
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
