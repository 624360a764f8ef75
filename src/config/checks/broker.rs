//! The local broker: addresses that can be bound, and nobody in who should not be.

use argon2::password_hash::PasswordHash;

use super::{Finding, between, clash, files, repeated};
use crate::{
    config::{Acl, Broker, Listener, Transport, User},
    model::TopicPattern,
};

pub(super) fn all(broker: &Broker, is_incomplete: bool) -> Vec<Finding> {
    let mut findings = listeners(broker, is_incomplete);
    findings.extend(users(broker, is_incomplete));
    findings.extend(limits(broker));
    findings
}

fn listeners(broker: &Broker, is_incomplete: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, listener) in broker.listeners.iter().enumerate() {
        let at = format!("broker.listeners[{index}]");
        let taken = broker.listeners[..index].iter().any(|other| clash(other.address, listener.address));
        if taken {
            let what = format!("another listener has the address {} already", listener.address);
            findings.push(Finding::new(format!("{at}.address"), what, "choose another port"));
        }
        findings.extend(access(&at, listener, broker.users.is_empty() && !is_incomplete));
        findings
            .extend(listener.acl.as_ref().into_iter().flat_map(|acl| permissions(&at, acl, is_incomplete)));
        findings.extend(strangers_acl(&at, listener));
        findings.extend(origins(&at, listener));
        if let Some(tls) = &listener.tls {
            findings.extend(files::readable(&format!("{at}.tls.certificate_file"), &tls.certificate_file));
            findings.extend(files::secret(&format!("{at}.tls.key_file"), &tls.key_file));
            let ca = tls.client_ca_file.as_ref();
            findings.extend(ca.and_then(|ca| files::readable(&format!("{at}.tls.client_ca_file"), ca)));
        }
    }
    findings
}

fn access(at: &str, listener: &Listener, has_no_users: bool) -> Option<Finding> {
    let address = listener.address;
    if listener.allows_anonymous() {
        return (!address.ip().is_loopback()).then(|| {
            let what = format!("anybody who reaches {address} could publish and command without a password");
            let remedy = "leave `anonymous` out and run `hearthlink user add NAME` (or name `broker.users`), or listen on 127.0.0.1";
            Finding::new(format!("{at}.anonymous"), what, remedy)
        });
    }
    has_no_users.then(|| {
        let what =
            format!("nobody could connect to {address}: anonymous clients may not, and there are no users");
        let remedy = "run `hearthlink user add NAME`, or name somebody in `broker.users`";
        Finding::new(format!("{at}.address"), what, remedy)
    })
}

/// A list for anonymous clients where there are none, or for the names that they do not have.
fn strangers_acl(at: &str, listener: &Listener) -> Vec<Finding> {
    let Some(acl) = &listener.acl else { return Vec::new() };
    if !listener.allows_anonymous() {
        let what = "this list is for clients without a name, and this listener takes none";
        let remedy = "give the users in `broker.users` an `acl` of their own";
        return vec![Finding::new(format!("{at}.acl"), what, remedy)];
    }
    let lists = [("read", &acl.read), ("write", &acl.write)];
    let patterns = lists.into_iter().flat_map(|(list, patterns)| {
        patterns.iter().enumerate().map(move |(index, pattern)| (list, index, pattern))
    });
    let named = patterns.filter(|(.., pattern)| pattern.as_str().contains("%u"));
    named
        .map(|(list, index, pattern)| {
            let what = format!("`{pattern}` permits nothing: clients without a name have no `%u`");
            let remedy = "take it out, or write `%c` for the client id, which each client chooses itself";
            Finding::new(format!("{at}.acl.{list}[{index}]"), what, remedy)
        })
        .collect()
}

fn origins(at: &str, listener: &Listener) -> Vec<Finding> {
    if listener.transport != Transport::WebSocket && !listener.origins.is_empty() {
        let what = "only a WebSocket listener is used by web pages";
        return vec![Finding::new(
            format!("{at}.origins"),
            what,
            "take `origins` out, or write `transport: websocket`",
        )];
    }
    let is_origin = |text: &str| {
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ', '*']))
    };
    let bad = listener.origins.iter().enumerate().filter(|(_, text)| !is_origin(text));
    bad.map(|(index, text)| {
        let what = format!("`{text}` is not what a browser calls the origin of a page");
        let remedy = "write it like `https://panel.home` or `http://panel.home:8080`, without a path";
        Finding::new(format!("{at}.origins[{index}]"), what, remedy)
    })
    .collect()
}

/// Permissions that nobody can have, and lists that permit nothing.
fn permissions(at: &str, acl: &Acl, is_incomplete: bool) -> Vec<Finding> {
    if acl.read.is_empty() && acl.write.is_empty() && !is_incomplete {
        let what = "whoever has this list could neither read nor write anything";
        let remedy =
            "name filters: `acl: { read: [\"home/#\"], write: [] }`; without `acl` everything is open";
        return vec![Finding::new(format!("{at}.acl"), what, remedy)];
    }
    let closed = acl.write.iter().enumerate().filter(|(_, pattern)| is_the_gateways(pattern));
    closed
        .map(|(index, pattern)| {
            let what = format!("nobody but the gateway itself writes to `{pattern}`");
            Finding::new(format!("{at}.acl.write[{index}]"), what, "take it out")
        })
        .collect()
}

fn is_the_gateways(pattern: &TopicPattern) -> bool {
    let text = pattern.as_str();
    text.starts_with('$')
        || text.strip_prefix("home/bridge").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn users(broker: &Broker, is_incomplete: bool) -> Vec<Finding> {
    let mut findings = repeated(broker.users.iter().map(|user| user.name.as_str()), |index, first, name| {
        let what = format!("the user `{name}` is there twice");
        let remedy = format!("keep one of the two; entry {} of the list has the name already", first + 1);
        Finding::new(format!("broker.users[{index}].name"), what, remedy)
    });
    let certificates = broker.users.iter().enumerate();
    let certificates: Vec<(usize, &str)> =
        certificates.filter_map(|(index, user)| Some((index, user.certificate_name.as_deref()?))).collect();
    let twice = repeated(certificates.iter().map(|(_, name)| *name), |index, first, name| {
        let what = format!("the certificate `{name}` would be two users");
        let remedy = format!("keep one of the two; entry {} of the list has it", certificates[first].0 + 1);
        Finding::new(format!("broker.users[{}].certificate_name", certificates[index].0), what, remedy)
    });
    findings.extend(twice);
    let mut listeners = broker.listeners.iter().filter_map(|listener| listener.tls.as_ref());
    let asks_for_certificates = listeners.any(|tls| tls.client_ca_file.is_some());
    for (index, user) in broker.users.iter().enumerate() {
        let at = format!("broker.users[{index}]");
        findings.extend(user_alone(&at, user));
        findings.extend(user.acl.as_ref().into_iter().flat_map(|acl| permissions(&at, acl, is_incomplete)));
        if user.certificate_name.is_some() && !asks_for_certificates && !is_incomplete {
            let what = "no listener asks for client certificates";
            let remedy = "give one of `broker.listeners` a `tls.client_ca_file`";
            findings.push(Finding::new(format!("{at}.certificate_name"), what, remedy));
        }
    }
    findings
}

fn user_alone(at: &str, user: &User) -> Option<Finding> {
    if user.name.is_empty() || user.name.chars().any(char::is_control) {
        let what = "a user name needs at least one character, and none that cannot be printed";
        return Some(Finding::new(format!("{at}.name"), what, "write the name that the device sends"));
    }
    match (&user.password_hash, &user.certificate_name) {
        (None, None) => {
            let remedy = "add `password_hash:` (from `hearthlink hash-password`) or `certificate_name:`";
            Some(Finding::new(at, format!("the user `{}` has no way to prove who it is", user.name), remedy))
        }
        (Some(hash), _) => {
            let is_argon2 = PasswordHash::new(hash.expose())
                .is_ok_and(|hash| hash.algorithm.as_str().starts_with("argon2"));
            (!is_argon2).then(|| {
                let what = "this is not an Argon2 hash; a password itself is never written here";
                let remedy = "run `hearthlink hash-password` and put what it prints here, in quotes";
                Finding::new(format!("{at}.password_hash"), what, remedy)
            })
        }
        (None, Some(_)) => None,
    }
}

fn limits(broker: &Broker) -> Vec<Finding> {
    let limits = &broker.limits;
    let at = |name: &str| format!("broker.limits.{name}");
    let second = std::time::Duration::from_secs(1);
    let checks = [
        limits.max_clients.and_then(|count| between(&at("max_clients"), count, 1, 1_000_000)),
        limits
            .max_clients_per_address
            .and_then(|count| between(&at("max_clients_per_address"), count, 1, 1_000_000)),
        limits.max_sessions.and_then(|count| between(&at("max_sessions"), count, 1, 1_000_000)),
        limits
            .longest_session
            .and_then(|time| between(&at("longest_session"), time, second, 3650 * 24 * 3600 * second)),
        limits
            .longest_keep_alive
            .and_then(|time| between(&at("longest_keep_alive"), time, 5 * second, 65_535 * second)),
        limits.handshake_time.and_then(|time| between(&at("handshake_time"), time, second, 300 * second)),
        limits.max_packet.and_then(|size| between(&at("max_packet"), size, 1 << 10, 256 << 20)),
        limits.incoming_in_all.and_then(|size| between(&at("incoming_in_all"), size, 1 << 10, 1 << 40)),
        limits.queue_per_session.and_then(|size| between(&at("queue_per_session"), size, 1 << 10, 1 << 40)),
        limits.inflight.and_then(|count| between(&at("inflight"), count, 1, u16::MAX)),
        limits.queue_in_all.and_then(|size| between(&at("queue_in_all"), size, 1 << 10, 1 << 40)),
        limits.receive_maximum.and_then(|count| between(&at("receive_maximum"), count, 1, u16::MAX)),
        limits.max_handshakes.and_then(|count| between(&at("max_handshakes"), count, 1, u32::MAX)),
        limits
            .subscriptions_per_client
            .and_then(|count| between(&at("subscriptions_per_client"), count, 1, 1_000_000)),
        limits
            .subscriptions_in_all
            .and_then(|size| between(&at("subscriptions_in_all"), size, 1 << 10, 1 << 40)),
        limits.topic_depth.and_then(|count| between(&at("topic_depth"), count, 1, 128)),
        limits.topic_length.and_then(|count| between(&at("topic_length"), count, 16, u16::MAX)),
    ];
    checks.into_iter().flatten().collect()
}
