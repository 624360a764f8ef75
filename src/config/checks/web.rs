//! The status page: an address that can be had, names that are names, a password beyond loopback, and something to press.

use super::{Finding, clash, files};
use crate::config::{Config, Web};

/// The longest name there is (RFC 1035, 2.3.4).
const LONGEST: usize = 253;

pub(super) fn all(config: &Config, is_incomplete: bool) -> Vec<Finding> {
    let Some(web) = &config.web else { return Vec::new() };
    let mut findings = Vec::new();
    if !web.address.ip().is_loopback() && web.password_file.is_none() && !is_incomplete {
        let port = web.address.port();
        let what = format!("everybody who reaches {} could read the status page", web.address);
        let remedy = format!(
            "write a password into a file, `chmod 600` it, and name it: `password_file: page-password`; or write \
             `127.0.0.1:{port}`, and look from elsewhere with `ssh -L {port}:127.0.0.1:{port} …`"
        );
        findings.push(Finding::new("web.address", what, remedy));
    }
    if config.broker.listeners.iter().any(|listener| clash(listener.address, web.address)) {
        let what = format!("a listener of the broker has the address {} already", web.address);
        findings.push(Finding::new("web.address", what, "choose another port"));
    }
    let allows = config.commands.allow.iter().any(|allow| allow.senders.as_ref().is_none_or(Vec::is_empty));
    if web.control && !allows && !is_incomplete {
        let what = "no button is on the page: `commands.allow` allows nothing to somebody without a name";
        let remedy = "allow what may be pressed, like `- {device: toaster, set: {state: [\"ON\", \"OFF\"]}}`";
        findings.push(Finding::new("web.control", what, remedy).warning());
    }
    findings.extend(web.password_file.as_ref().and_then(|path| files::secret("web.password_file", path)));
    findings.extend(hosts(web));
    findings
}

fn hosts(web: &Web) -> Vec<Finding> {
    let is_name = |host: &str| {
        let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        (1..=LONGEST).contains(&host.len()) && host.bytes().all(of_name)
    };
    let bad = web.hosts.iter().enumerate().filter(|(_, host)| !is_name(host));
    bad.map(|(index, host)| {
        let what = format!("`{host}` is no host name");
        let remedy =
            "write what stands in the browser between `http://` and the port, like `hearthlink.local`";
        Finding::new(format!("web.hosts[{index}]"), what, remedy)
    })
    .collect()
}
