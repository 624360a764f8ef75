//! The line to the cloud: files, credentials that belong together, times.

use std::time::Duration;

use super::{Finding, access, between, files};
use crate::{
    config::{Cloud, Config, Wrapping},
    model::{CloudUrl, Scheme},
};

pub(super) fn all(config: &Config) -> Vec<Finding> {
    let Some(cloud) = &config.cloud else { return Vec::new() };
    let mut findings = named_files(cloud);
    findings.extend(credentials(cloud));
    findings.extend(access::all(cloud));
    findings.extend(ways(cloud));
    findings.extend(times(cloud));
    let prefix = cloud.prefix.as_str();
    if prefix.starts_with(['/', '$']) || prefix.ends_with('/') || prefix.contains("//") {
        let what = format!("`{prefix}` makes topics with empty or reserved levels");
        findings.push(Finding::new(
            "cloud.prefix",
            what,
            "write it without a slash at its ends, for example `hearthlink`",
        ));
    }
    findings
}

fn named_files(cloud: &Cloud) -> Vec<Finding> {
    let certificates =
        [("cloud.ca_file", &cloud.ca_file), ("cloud.certificate_file", &cloud.certificate_file)];
    let certificates = certificates.into_iter().filter_map(|(at, path)| files::readable(at, path.as_ref()?));
    let key = cloud.key_file.iter().filter_map(|path| files::secret("cloud.key_file", path));
    certificates.chain(key).collect()
}

fn credentials(cloud: &Cloud) -> Vec<Finding> {
    let half = |at: &str, has: &str, wants: &str| {
        Finding::new(
            format!("cloud.{at}"),
            format!("{has} is given without {wants}"),
            format!("add `{wants}:`"),
        )
    };
    let mut findings = Vec::new();
    match (&cloud.certificate_file, &cloud.key_file) {
        (Some(_), None) => findings.push(half("certificate_file", "a certificate", "key_file")),
        (None, Some(_)) => findings.push(half("key_file", "a private key", "certificate_file")),
        (Some(_), Some(_)) | (None, None) => {}
    }
    if cloud.client_id.as_ref().is_some_and(|id| id.is_empty() || id.len() > 256) {
        let remedy = "leave it out: `gateway.id` is taken then";
        findings.push(Finding::new("cloud.client_id", "a client id has 1 to 256 characters", remedy));
    }
    findings
}

/// So many brokers, and ways to each, are more than anybody has.
const MOST: usize = 16;

fn ways(cloud: &Cloud) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, url) in cloud.other_urls.iter().enumerate() {
        let before = [&cloud.url].into_iter().chain(&cloud.other_urls[..index]);
        if before.into_iter().any(|other| other == url) {
            let what = format!("`{url}` is named twice");
            findings.push(Finding::new(format!("cloud.other_urls[{index}]"), what, "leave it out here"));
        }
    }
    for (at, count) in [("other_urls", cloud.other_urls.len()), ("ladder", cloud.ladder.len())] {
        if count > MOST {
            let what = format!("there are {count} of them, and {MOST} at most are tried");
            findings.push(Finding::new(
                format!("cloud.{at}"),
                what,
                "leave out those that are seldom of use",
            ));
        }
    }
    for (index, rung) in cloud.ladder.iter().enumerate() {
        let at = |key: &str| format!("cloud.ladder[{index}].{key}");
        match (rung.transport, &rung.path, &rung.alpn) {
            (Wrapping::Mqtts, Some(_), _) => {
                findings.push(Finding::new(at("path"), "only `wss` has a path", "leave it out"));
            }
            (Wrapping::Wss, _, Some(_)) => {
                let remedy = "leave it out, or write `transport: mqtts`";
                findings.push(Finding::new(at("alpn"), "ALPN is asked for with `mqtts` only", remedy));
            }
            _ => {}
        }
        if let Some(path) = rung.path.as_ref().filter(|path| !path.starts_with('/') || !is_graphic(path)) {
            let what = format!("`{path}` is no path of a URL");
            findings.push(Finding::new(at("path"), what, "begin with a slash and write it percent-encoded"));
        }
        if rung.port == Some(0) {
            findings.push(Finding::new(at("port"), "0 is not a port", "write a number from 1 to 65535"));
        }
        findings.extend(protocol(at("alpn"), rung.alpn.as_deref()));
    }
    findings.extend(protocol("cloud.alpn".to_owned(), cloud.alpn.as_deref()));
    if cloud.alpn.is_some() && cloud.url.scheme() == Scheme::WebSocket {
        let remedy = "leave it out, or begin `cloud.url` with `mqtts://`";
        findings.push(Finding::new("cloud.alpn", "ALPN is asked for with `mqtts` only", remedy));
    }
    if cloud.subprotocol.is_empty() || !is_graphic(&cloud.subprotocol) || cloud.subprotocol.contains(',') {
        let what = format!("`{}` is no WebSocket subprotocol", cloud.subprotocol);
        findings.push(Finding::new(
            "cloud.subprotocol",
            what,
            "leave it out for `mqtt`, which nearly all brokers want",
        ));
    }
    if let Some(name) = &cloud.server_name
        && CloudUrl::parse(&format!("wss://{name}")).is_err()
    {
        let what = format!("`{name}` is no name that a certificate can have");
        findings.push(Finding::new(
            "cloud.server_name",
            what,
            "write a host name, or leave it out for the URL's",
        ));
    }
    if let Some(proxy) = &cloud.proxy
        && proxy.password_file.is_some()
        && proxy.username.is_none()
    {
        let what = "a password is given without username";
        findings.push(Finding::new("cloud.proxy.password_file", what, "add `username:`"));
    }
    findings
}

/// A name of a protocol as ALPN has it (RFC 7301 section 3.1).
fn protocol(at: String, name: Option<&str>) -> Option<Finding> {
    let is_bad = name.is_some_and(|name| name.is_empty() || name.len() > 255);
    let what = "a protocol of ALPN has 1 to 255 bytes";
    is_bad.then(|| Finding::new(at, what, "leave it out if none is wanted"))
}

fn is_graphic(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn times(cloud: &Cloud) -> Vec<Finding> {
    let seconds = Duration::from_secs;
    let mut findings = Vec::new();
    let terms = cloud.terms();
    findings.extend(between("cloud.keep_alive", terms.keep_alive, seconds(5), seconds(18 * 3600)));
    findings.extend(between("cloud.answer_limit", cloud.answer_limit, seconds(1), seconds(300)));
    findings.extend(between("cloud.connect_limit", cloud.connect_limit, seconds(1), seconds(300)));
    findings.extend(between("cloud.climb_after", cloud.climb_after, seconds(10), seconds(24 * 3600)));
    findings.extend(between("cloud.window", terms.window, 1, u16::MAX));
    let rate = cloud.backlog_rate.and_then(|rate| between("cloud.backlog_rate", rate, 1, 100_000));
    findings.extend(rate);
    if terms.keep_alive.subsec_nanos() != 0 {
        findings.push(Finding::new("cloud.keep_alive", "MQTT counts this in whole seconds", "round it"));
    }
    let backoff = &cloud.backoff;
    if backoff.first.is_zero() || backoff.first > backoff.longest {
        let what = format!(
            "the first wait ({:?}) must lie between 1 ms and `longest` ({:?})",
            backoff.first, backoff.longest
        );
        findings.push(Finding::new("cloud.backoff.first", what, "leave both out for 1s and 5min"));
    }
    findings
}
