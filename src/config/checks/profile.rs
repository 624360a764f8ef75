//! Whether the configuration is one that the cloud takes: what is written against the profile, and the topics,
//! subscriptions and names of the whole file against the limits that hold.
//!
//! What a person wrote goes before the profile, so that is a warning; what cannot work by the limits that hold is an
//! error.

use std::fmt::Debug;

use super::{Finding, between};
use crate::{
    config::{Cloud, Config, Harm, Keep, MqttVersion, Names, Naming, Profile, ProfileName, Tree},
    model::TopicFilter,
};

pub(super) fn all(config: &Config) -> Vec<Finding> {
    let Some(cloud) = &config.cloud else { return Vec::new() };
    let mut findings = ranges(cloud);
    if let Some(name) = cloud.profile {
        findings.extend(outside(cloud, name, &name.profile()));
        findings.extend(names_who_it_is(cloud, name));
    }
    let terms = cloud.terms();
    findings.extend(client_id(config, cloud, &terms));
    findings.extend(rates(cloud, &terms));
    findings.extend(retained(config, &terms));
    match terms.tree {
        Tree::Own => {
            findings.extend(topics(config, cloud, &terms));
            findings.extend(subscriptions(config, &terms));
            findings.extend(naming(config, cloud, &terms));
        }
        Tree::ThingsBoard => findings.extend(thingsboard(config)),
    }
    findings
}

fn ranges(cloud: &Cloud) -> Vec<Finding> {
    let limits = &cloud.limits;
    let at = |name: &str| format!("cloud.limits.{name}");
    let small = |name: &str, value: Option<u16>, least: u16, most: u16| {
        value.and_then(|value| between(&at(name), value, least, most))
    };
    let payload = limits.max_payload.filter(|size| !(1 << 10..=255 << 20).contains(size)).map(|size| {
        let what = format!("a largest payload of {size} bytes makes no sense");
        Finding::new(at("max_payload"), what, "write a size from 1 KiB to 255 MiB")
    });
    let findings = [
        payload,
        small("topic_levels", limits.topic_levels, 1, u16::MAX),
        small("topic_length", limits.topic_length, 16, u16::MAX),
        small("filters_per_subscribe", limits.filters_per_subscribe, 1, 1000),
        small("subscriptions", limits.subscriptions, 1, u16::MAX),
        limits.publish_rate.and_then(|rate| between(&at("publish_rate"), rate, 1, 100_000)),
        small("client_id_length", limits.client_id_length, 1, u16::MAX),
    ];
    findings.into_iter().flatten().collect()
}

/// What is written and lies outside of what the cloud documents.
fn outside(cloud: &Cloud, name: ProfileName, table: &Profile) -> Vec<Finding> {
    fn more<T: PartialOrd + Debug>(
        at: &str,
        written: Option<T>,
        most: Option<T>,
        name: ProfileName,
    ) -> Option<Finding> {
        let (written, most) = (written?, most?);
        (written > most).then(|| {
            let what = format!("`{}` documents {most:?} at most, and this is {written:?}", name.as_str());
            Finding::new(format!("cloud.{at}"), what, "leave it out, or make sure that your cloud takes more")
                .warning()
        })
    }
    let limits = &cloud.limits;
    let mut findings = Vec::new();
    findings.extend(cloud.keep_alive.filter(|time| !table.keep_alives.contains(time)).map(|time| {
        let (least, most) = (table.keep_alives.start(), table.keep_alives.end());
        let what = format!("`{}` keeps to {least:?} up to {most:?}, and this is {time:?}", name.as_str());
        let remedy = format!("leave it out for {:?}", table.keep_alive);
        Finding::new("cloud.keep_alive", what, remedy).warning()
    }));
    findings.extend(more("window", cloud.window, table.most_in_flight, name));
    findings.extend(more("session_expiry", cloud.session_expiry, table.longest_session, name));
    findings.extend(more("limits.max_payload", limits.max_payload, table.max_payload, name));
    findings.extend(more("limits.topic_levels", limits.topic_levels, table.topic_levels, name));
    findings.extend(more("limits.topic_length", limits.topic_length, table.topic_length, name));
    let filters = (limits.filters_per_subscribe, table.filters_per_subscribe);
    findings.extend(more("limits.filters_per_subscribe", filters.0, filters.1, name));
    findings.extend(more("limits.subscriptions", limits.subscriptions, table.subscriptions, name));
    findings.extend(more("limits.publish_rate", limits.publish_rate, table.publish_rate, name));
    findings.extend(more("limits.client_id_length", limits.client_id_length, table.client_id_length, name));
    if limits.retain == Some(true) && !table.retain {
        let what = format!("`{}` keeps no retained messages", name.as_str());
        findings.push(Finding::new("cloud.limits.retain", what, "leave it out").warning());
    }
    let version =
        cloud.version.filter(|version| table.version == MqttVersion::V311 && *version != table.version);
    findings.extend(version.map(|version| {
        let what = format!("`{}` speaks MQTT 3.1.1 only, and this is `{version}`", name.as_str());
        Finding::new("cloud.version", what, "leave it out").warning()
    }));
    findings
}

/// What two clouds want to be told of who connects.
fn names_who_it_is(cloud: &Cloud, name: ProfileName) -> Option<Finding> {
    if cloud.username.is_some() {
        return None;
    }
    let (what, remedy) = match name {
        ProfileName::AzureEventGrid => (
            "Event Grid wants the client's authentication name as user name, unless the namespace takes it from the certificate",
            "add `username:` with the authentication name of the client that you registered",
        ),
        ProfileName::Thingsboard if cloud.certificate_file.is_none() => (
            "ThingsBoard knows the gateway by its access token, which is the user name",
            "add `username:` with the access token of the device that is marked `Is gateway`",
        ),
        ProfileName::AwsIot
        | ProfileName::HivemqCloud
        | ProfileName::Emqx
        | ProfileName::Mosquitto
        | ProfileName::Rabbitmq
        | ProfileName::Nats
        | ProfileName::Thingsboard => return None,
    };
    Some(Finding::new("cloud.profile", what, remedy).warning())
}

fn client_id(config: &Config, cloud: &Cloud, terms: &Profile) -> Option<Finding> {
    let most = usize::from(terms.client_id_length?);
    let (at, id) = match &cloud.client_id {
        Some(id) => ("cloud.client_id", id.as_str()),
        None => ("gateway.id", config.gateway.id.as_str()),
    };
    (id.len() > most).then(|| {
        let what = format!("a client id of {} bytes is longer than the cloud takes", id.len());
        Finding::new(at, what, format!("write up to {most} bytes into `cloud.client_id`"))
    })
}

fn rates(cloud: &Cloud, terms: &Profile) -> Option<Finding> {
    let (backlog, all) = (cloud.backlog_rate?, terms.publish_rate?);
    (backlog > all).then(|| {
        let what = format!("what waited can go no faster than everything together, {all} a second");
        Finding::new("cloud.backlog_rate", what, format!("write up to {all}, or leave it out")).warning()
    })
}

fn retained(config: &Config, terms: &Profile) -> Vec<Finding> {
    let routes = config.routes.iter().enumerate();
    let wanted = routes.filter(|(_, route)| route.retain == Some(true) && !terms.retain);
    wanted
        .map(|(index, _)| {
            let what = "this cloud keeps no retained messages, so it is sent without the flag";
            Finding::new(format!("routes[{index}].retain"), what, "leave it out").warning()
        })
        .collect()
}

/// Depth and length of every topic and filter that the file makes.
fn topics(config: &Config, cloud: &Cloud, terms: &Profile) -> Vec<Finding> {
    let (prefix, gateway) = (&cloud.prefix, &config.gateway.id);
    let root = format!("{prefix}/{gateway}");
    let has_senders = config.commands.allow.iter().any(|allow| allow.senders.is_some());
    let deepest = if has_senders { "<device>/set/<sender>" } else { "<device>/set" };
    let own = root.split('/').count() + deepest.split('/').count();
    let mut findings = Vec::new();
    if let Some(most) = terms.topic_levels.map(usize::from).filter(|most| own > *most) {
        let what = format!("`{root}/{deepest}` has {own} levels, and the cloud takes {most}");
        findings.push(Finding::new("cloud.prefix", what, "write a prefix with fewer slashes"));
        return findings;
    }
    let length = terms.topic_length.map(usize::from);
    for (index, device) in config.devices.iter().enumerate() {
        let longest = format!("{root}/{}/availability", device.id);
        if let Some(most) = length.filter(|most| longest.len() > *most) {
            let what = format!("`{longest}` has {} bytes, and the cloud takes {most}", longest.len());
            let remedy = "shorten `id` or `cloud.prefix`";
            findings.push(Finding::new(format!("devices[{index}].id"), what, remedy));
        }
    }
    for (index, route) in config.routes.iter().enumerate() {
        let names = Names { prefix, gateway, filter: &route.local };
        if let Ok(reach) = route.cloud.widest(&names) {
            findings.extend(reaches(&format!("routes[{index}].cloud"), &reach, terms, true));
        }
    }
    for (index, route) in config.routes_in.iter().enumerate() {
        if let Ok(filter) = route.cloud.filter(prefix, gateway) {
            findings.extend(reaches(&format!("routes_in[{index}].cloud"), &filter, terms, false));
        }
    }
    findings
}

/// A filter that is too deep or too long, or whose topics can be.
fn reaches(at: &str, reach: &TopicFilter, terms: &Profile, is_published: bool) -> Option<Finding> {
    let levels = reach.levels().count();
    if let Some(most) = terms.topic_levels.map(usize::from) {
        let is_open = reach.as_str().ends_with('#');
        let least = if is_open { levels - 1 } else { levels };
        if least > most || (!is_published && levels > most) {
            let what = format!("`{reach}` has {levels} levels, and the cloud takes {most}");
            return Some(Finding::new(at, what, "write fewer levels"));
        }
        if is_open && is_published {
            let what = format!(
                "topics of `{reach}` can have more levels than the {most} that the cloud takes; such messages are dropped, \
                 counted as `beyond_limits`"
            );
            let remedy = "name the levels with `+` and `{1}` instead of `#`, if devices may go deeper";
            return Some(Finding::new(at, what, remedy).warning());
        }
    }
    let most = terms.topic_length.map(usize::from).filter(|most| reach.as_str().len() > *most)?;
    let what = format!("`{reach}` is longer than the {most} bytes that the cloud takes");
    Some(Finding::new(at, what, "shorten it"))
}

fn subscriptions(config: &Config, terms: &Profile) -> Option<Finding> {
    let most = usize::from(terms.subscriptions?);
    let has_senders = config.commands.allow.iter().any(|allow| allow.senders.is_some());
    // The fence, the commands, those with a sender.
    let count = 2 + usize::from(has_senders) + config.routes_in.len();
    (count > most).then(|| {
        let what = format!("this makes {count} subscriptions, and the cloud takes {most} of a connection");
        Finding::new("routes_in", what, "let fewer entries with wildcards do the same")
    })
}

/// Names that are made into topics, and characters that the cloud does not take in them.
fn naming(config: &Config, cloud: &Cloud, terms: &Profile) -> Vec<Finding> {
    let devices = config.devices.iter().enumerate();
    let devices = devices.map(|(index, device)| (format!("devices[{index}].id"), device.id.to_string()));
    let routes = config.routes.iter().enumerate();
    let routes = routes.map(|(index, route)| (format!("routes[{index}].cloud"), route.cloud.to_string()));
    let names: Vec<(String, String)> = [("cloud.prefix".to_owned(), cloud.prefix.to_string())]
        .into_iter()
        .chain(devices)
        .chain(routes)
        .collect();
    let mut findings = Vec::new();
    for Naming { characters, why, harm } in terms.naming {
        findings.extend(names.iter().filter(|(_, name)| name.contains(*characters)).map(|(at, name)| {
            let finding =
                Finding::new(at, format!("`{}`: {why}", name.escape_debug()), "choose another name");
            if *harm == Harm::Puzzles { finding.warning() } else { finding }
        }));
    }
    findings
}

/// Topics of ThingsBoard are its own; everything else it refuses, and some of it by ending the connection.
fn thingsboard(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, route) in config.routes.iter().enumerate() {
        let cloud = route.cloud.to_string();
        if ![
            "v1/devices/me/telemetry",
            "v1/devices/me/attributes",
            "v1/gateway/telemetry",
            "v1/gateway/attributes",
        ]
        .contains(&cloud.as_str())
        {
            let what = format!("ThingsBoard has no topic `{cloud}`");
            let remedy = "write `cloud: v1/devices/me/telemetry` (the payload must be what ThingsBoard reads there), or make the \
                          sender a device of kind `lan`";
            findings.push(Finding::new(format!("routes[{index}].cloud"), what, remedy));
        }
    }
    for (index, _) in config.routes_in.iter().enumerate() {
        let what = "ThingsBoard sends nothing but attributes and remote procedure calls";
        let remedy = "leave it out: calls come to the devices by themselves";
        findings.push(Finding::new(format!("routes_in[{index}].cloud"), what, remedy));
    }
    if matches!(config.store.states.keep, Keep::Latest | Keep::Every(_)) {
        let what = "all devices have one topic in ThingsBoard, of which only the last message would be kept";
        findings.push(Finding::new("store.states.keep", what, "write `all` or `none`, or leave it out"));
    }
    for (index, allow) in config.commands.allow.iter().enumerate() {
        if allow.senders.is_some() {
            let what = "a remote procedure call of ThingsBoard does not say who sent it, so nobody may";
            let remedy = "leave `senders` out, and let ThingsBoard's roles decide who may call";
            findings.push(Finding::new(format!("commands.allow[{index}].senders"), what, remedy).warning());
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What MQTT can say.
    const LONGEST_KEEP_ALIVE: Duration = Duration::from_secs(65_535);

    #[test]
    fn every_profile_keeps_to_its_own_limits() {
        for name in ProfileName::all() {
            let table = name.profile();
            let is = name.as_str();
            assert!(table.keep_alives.contains(&table.keep_alive), "{is}");
            assert!(*table.keep_alives.end() <= LONGEST_KEEP_ALIVE, "{is}");
            assert!(table.most_in_flight.is_none_or(|most| table.window <= most), "{is}");
            assert!(table.longest_session.is_none_or(|most| table.session_expiry <= most), "{is}");
            assert!(table.topic_levels.is_none_or(|levels| levels >= 5), "{is}");
            assert!(table.path.starts_with('/'), "{is}");
            let written: ProfileName = serde_json::from_str(&format!("\"{is}\"")).unwrap();
            assert_eq!(written, name);
        }
    }
}
