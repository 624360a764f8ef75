//! What must hold beyond a value's own shape: between sections, and with the files that are named.
//!
//! Pure functions from a [`Config`] to findings, except `files`, which looks at the disk. Each finding
//! names its value by path (`broker.listeners[1].tls`); `load` turns paths into places.

mod access;
mod broker;
mod cloud;
mod files;
mod homie;
mod profile;
mod routes;
mod rules;
mod web;

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Debug,
    hash::Hash,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Config, Finding, suggestion::suggestion};

/// Makes relative file paths relative to `directory`, where the configuration lies.
pub(super) fn resolve(config: &mut Config, directory: &Path) {
    let tls = config.broker.listeners.iter_mut().filter_map(|listener| listener.tls.as_mut());
    let mut paths: Vec<&mut PathBuf> = vec![&mut config.gateway.data_dir];
    for tls in tls {
        paths.extend([&mut tls.certificate_file, &mut tls.key_file]);
        paths.extend(tls.client_ca_file.as_mut());
    }
    if let Some(cloud) = &mut config.cloud {
        cloud.complete_url();
        for (_, path) in cloud.secret_files() {
            *path = directory.join(&*path);
        }
        let files = [&mut cloud.ca_file, &mut cloud.certificate_file, &mut cloud.key_file];
        paths.extend(files.into_iter().flatten());
    }
    paths.extend(config.web.as_mut().and_then(|web| web.password_file.as_mut()));
    for path in paths {
        *path = directory.join(&path);
    }
    // An option that is called so names a file in every kind.
    let options = config.devices.iter_mut().flat_map(|device| device.options.iter_mut());
    for (_, value) in options.filter(|(name, _)| name.ends_with("_file")) {
        if let Some(path) = value.as_str() {
            *value = directory.join(path).to_string_lossy().into_owned().into();
        }
    }
}

/// Where the file of a device's key is on another machine, a made-up key stands in for it: the device is simulated here,
/// and whatever plays it seals by the same one.
pub(super) fn make_up_keys(config: &mut Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, device) in config.devices.iter_mut().enumerate() {
        let file = device.options.get("bind_key_file").and_then(|file| file.as_str()).map(PathBuf::from);
        let Some(file) = file.filter(|file| !file.exists()) else { continue };
        device.options.remove("bind_key_file");
        device.options.insert("bind_key".to_owned(), "0".repeat(32).into());
        let what = format!("there is no file `{}`; a made-up key stands in for it", file.display());
        let at = format!("devices[{index}].options.bind_key_file");
        findings.push(Finding::new(at, what, "on the gateway it must be there").warning());
    }
    findings
}

/// Everything that can be said without knowing other rooms. `incomplete` names the sections out of which
/// a bad value was taken, so that nothing is called unknown or unused only because of that.
pub(super) fn all(config: &Config, incomplete: &BTreeSet<String>) -> Vec<Finding> {
    let mut findings = devices(config);
    if !incomplete.contains("devices") {
        findings.extend(allowed_devices(config));
    }
    if !incomplete.contains("commands") {
        findings.extend(empty_permissions(config));
        findings.extend(rules::conditions(config));
    }
    if !incomplete.contains("cloud") {
        findings.extend(rules::safe_states(config));
    }
    findings.extend(bounds(config));
    findings.extend(home_assistant(config));
    findings.extend(homie::all(config));
    findings.extend(web::all(config, incomplete.contains("web")));
    findings.extend(broker::all(&config.broker, incomplete.contains("broker")));
    findings.extend(cloud::all(config));
    findings.extend(routes::all(config));
    findings.extend(profile::all(config));
    findings
}

fn devices(config: &Config) -> Vec<Finding> {
    let mut findings =
        repeated(config.devices.iter().map(|device| device.id.as_str()), |index, first, id| {
            Finding::new(
                format!("devices[{index}].id"),
                format!("the device id `{id}` is used twice"),
                format!("give this device its own id; entry {} of the list has it already", first + 1),
            )
        });
    let reserved = config.devices.iter().enumerate().filter(|(_, device)| device.id.as_str() == "bridge");
    findings.extend(reserved.map(|(index, _)| {
        let what = "no device can be called `bridge`: the gateway's own topics are below that name";
        Finding::new(format!("devices[{index}].id"), what, "choose another id")
    }));
    findings
}

fn allowed_devices(config: &Config) -> Vec<Finding> {
    let known: Vec<&str> = config.devices.iter().map(|device| device.id.as_str()).collect();
    let mut findings = Vec::new();
    for (index, allow) in config.commands.allow.iter().enumerate() {
        if !known.contains(&allow.device.as_str()) {
            let remedy = match known.is_empty() {
                true => "no device is configured yet: add it to `devices`".to_owned(),
                false => suggestion(allow.device.as_str(), &known),
            };
            let what = format!("there is no device `{}`", allow.device);
            findings.push(Finding::new(format!("commands.allow[{index}].device"), what, remedy));
        }
    }
    findings
}

fn empty_permissions(config: &Config) -> Vec<Finding> {
    let empty = config.commands.allow.iter().enumerate().filter(|(_, allow)| allow.set.is_empty());
    let remedy = "name the fields and their values, for example `set: { state: [\"ON\", \"OFF\"] }`";
    empty
        .map(|(index, _)| Finding::new(format!("commands.allow[{index}].set"), "this allows nothing", remedy))
        .collect()
}

fn bounds(config: &Config) -> Vec<Finding> {
    let day = Duration::from_secs(24 * 3600);
    let second = Duration::from_secs(1);
    let mut findings = Vec::new();
    findings.extend(between("commands.max_age", config.commands.max_age, second, day));
    findings.extend(between("store.max_age", config.store.max_age, second, 3650 * day));
    findings.extend(between("store.commit_floor", config.store.commit_floor, Duration::ZERO, 3 * second));
    if config.store.flash_budget.is_some_and(|budget| budget < 1 << 20) {
        let what = "no day's writing fits into this";
        findings.push(Finding::new("store.flash_budget", what, "write 1 MiB or more"));
    }
    let queues = config
        .routes
        .iter()
        .enumerate()
        .map(|(index, route)| (format!("routes[{index}].queue"), &route.queue));
    for (at, queue) in queues.chain([("store.states".to_owned(), &config.store.states)]) {
        let age = queue.max_age.and_then(|age| between(&format!("{at}.max_age"), age, second, 3650 * day));
        findings.extend(age);
        if queue.max_size.is_some_and(|size| size < 4 << 10) {
            let what = "this is too small to hold a message of the usual size";
            findings.push(Finding::new(format!("{at}.max_size"), what, "write 4 KiB or more"));
        }
    }
    if config.store.max_size < 64 << 10 {
        let what = "the queue is too small to hold a message of the usual size";
        findings.push(Finding::new("store.max_size", what, "write 64 KiB or more"));
    }
    findings
}

/// The longest prefix, so that a topic has room for a device's name behind it.
const LONGEST_PREFIX: usize = 256;

fn home_assistant(config: &Config) -> Option<Finding> {
    let prefix = config.home_assistant.prefix.as_str();
    let (what, remedy) = if prefix == "home" || prefix.starts_with("home/") {
        (
            "the devices' own topics are below `home`",
            "write the prefix that Home Assistant has, `homeassistant`",
        )
    } else if prefix.starts_with('$') {
        (
            "what begins with `$` is the broker's own",
            "write the prefix that Home Assistant has, `homeassistant`",
        )
    } else if prefix.len() > LONGEST_PREFIX {
        ("this prefix is too long", "write up to 256 bytes")
    } else {
        return None;
    };
    Some(Finding::new("home_assistant.prefix", what, remedy))
}

/// Whether two addresses cannot be bound at the same time. Port 0 is a new one each time.
fn clash(a: std::net::SocketAddr, b: std::net::SocketAddr) -> bool {
    let same_ip = a.ip() == b.ip()
        || (a.is_ipv4() == b.is_ipv4() && (a.ip().is_unspecified() || b.ip().is_unspecified()));
    a.port() == b.port() && a.port() != 0 && same_ip
}

/// A finding for every value that stood in the list before; `say` gets its index, the first one's, and it.
fn repeated<T: Eq + Hash + Copy>(
    values: impl Iterator<Item = T>,
    say: impl Fn(usize, usize, T) -> Finding,
) -> Vec<Finding> {
    let mut seen = HashMap::new();
    let mut findings = Vec::new();
    for (index, value) in values.enumerate() {
        match seen.get(&value) {
            Some(first) => findings.push(say(index, *first, value)),
            None => drop(seen.insert(value, index)),
        }
    }
    findings
}

/// A finding when `value` is not from `least` to `most`.
fn between<T: PartialOrd + Debug>(at: &str, value: T, least: T, most: T) -> Option<Finding> {
    (value < least || value > most).then(|| {
        Finding::new(
            at,
            format!("{value:?} is out of range"),
            format!("write a value from {least:?} to {most:?}"),
        )
    })
}
