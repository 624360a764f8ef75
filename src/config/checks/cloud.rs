//! The line to the cloud: files, credentials that belong together, times.

use std::time::Duration;

use super::{Finding, access, between, files};
use crate::config::{Cloud, Config};

pub(super) fn all(config: &Config) -> Vec<Finding> {
    let Some(cloud) = &config.cloud else { return Vec::new() };
    let mut findings = named_files(cloud);
    findings.extend(credentials(cloud));
    findings.extend(access::all(cloud));
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
    let secrets = [("cloud.key_file", &cloud.key_file)];
    let certificates = certificates.into_iter().filter_map(|(at, path)| files::readable(at, path.as_ref()?));
    let secrets = secrets.into_iter().filter_map(|(at, path)| files::secret(at, path.as_ref()?));
    certificates.chain(secrets).collect()
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

fn times(cloud: &Cloud) -> Vec<Finding> {
    let seconds = Duration::from_secs;
    let mut findings = Vec::new();
    findings.extend(between("cloud.keep_alive", cloud.keep_alive, seconds(5), seconds(18 * 3600)));
    findings.extend(between("cloud.answer_limit", cloud.answer_limit, seconds(1), seconds(300)));
    findings.extend(between("cloud.connect_limit", cloud.connect_limit, seconds(1), seconds(300)));
    findings.extend(between("cloud.window", cloud.window, 1, u16::MAX));
    let rate = cloud.backlog_rate.and_then(|rate| between("cloud.backlog_rate", rate, 1, 100_000));
    findings.extend(rate);
    if cloud.keep_alive.subsec_nanos() != 0 {
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
