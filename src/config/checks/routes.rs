//! Routes to the cloud and from it: none comes back, none speaks in the gateway's name, none is dead, and none
//! takes a command past the allow-list.
//!
//! The link subscribes `<prefix>/<gateway>/+/set`, the fence, and what `routes_in` says. A route loops when it
//! publishes there. The one exception is a route like `sensors/#` whose `#` happens to cover `sensors/set`: it is
//! let through, in either direction, while no device is called `sensors`, and whoever routes messages takes that
//! single topic for a command's.

use std::net::IpAddr;

use super::Finding;
use crate::{
    config::{Config, Listener, Names, Route, RouteIn, Template},
    model::{GatewayId, QoS, Topic, TopicFilter},
};

/// The gateway's own tree at home.
const HOME: &str = "home";

pub(super) fn all(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, route) in config.routes.iter().enumerate() {
        let at = format!("routes[{index}]");
        if route.local.share().is_some() {
            findings.push(shared(format!("{at}.local")));
        }
        findings.extend(wildcards(format!("{at}.cloud"), &route.cloud, &route.local));
        if route.qos.is_some_and(|qos| qos != QoS::AtLeastOnce) {
            let what = "the line sends with QoS 1 only, since what was accepted for the cloud must arrive";
            findings.push(Finding::new(format!("{at}.qos"), what, "write 1, or leave it out"));
        }
        let earlier = config.routes[..index].iter().position(|other| covers(&other.local, &route.local));
        if let Some(first) = earlier {
            let other = &config.routes[first].local;
            let what = format!(
                "this route is never used: `{other}` before it (entry {}) takes all of it",
                first + 1
            );
            findings.push(Finding::new(format!("{at}.local"), what, "put this route before that one"));
        }
        if let Some(cloud) = &config.cloud {
            findings.extend(own_topics(&at, route, config, &cloud.prefix));
        }
    }
    findings.extend(into_itself(config));
    match &config.cloud {
        Some(cloud) => findings.extend(inwards(config, &cloud.prefix)),
        None if !config.routes_in.is_empty() => {
            let remedy = "write the section `cloud`, or leave this one out";
            findings.push(Finding::new(
                "routes_in",
                "there is no cloud that anything could come from",
                remedy,
            ));
        }
        None => {}
    }
    findings
}

fn shared(at: String) -> Finding {
    Finding::new(at, "a route cannot share a subscription", "write the filter without `$share/…/`")
}

/// What a template asks of its filter's wildcards.
fn wildcards(at: String, template: &Template, filter: &TopicFilter) -> Option<Finding> {
    let found: Vec<&str> = filter.wildcards().collect();
    if template.highest_wildcard() > found.len() {
        let number = template.highest_wildcard();
        let what = format!("`{{{number}}}` stands for nothing: `{filter}` has {} wildcards", found.len());
        return Some(Finding::new(at, what, "count the `+` and `#` of the filter from 1"));
    }
    let wide = found.iter().position(|wildcard| *wildcard == "#")? + 1;
    template.has_inside_level(wide).then(|| {
        let what = format!("`{{{wide}}}` may stand for several levels, so it must stand between slashes");
        Finding::new(at, what, format!("write for example `…/{{{wide}}}`"))
    })
}

/// What comes in. Every filter is one that the link subscribes to.
fn inwards(config: &Config, prefix: &Topic) -> Vec<Finding> {
    let gateway = &config.gateway.id;
    let mut findings = Vec::new();
    let mut earlier: Vec<TopicFilter> = Vec::new();
    for (index, route) in config.routes_in.iter().enumerate() {
        let at = format!("routes_in[{index}]");
        let Ok(filter) = route.cloud.filter(prefix, gateway) else {
            findings.push(Finding::new(format!("{at}.cloud"), "this filter is too long", "shorten it"));
            continue;
        };
        let found = from_cloud(&at, &filter, config, prefix)
            .or_else(|| twice(&at, &filter, &earlier))
            .or_else(|| wildcards(format!("{at}.local"), &route.local, &filter))
            .or_else(|| to_home(&at, route, &filter, config, prefix))
            .or_else(|| echo(&at, &filter, config, prefix));
        findings.extend(found);
        earlier.push(filter);
    }
    findings
}

fn from_cloud(at: &str, filter: &TopicFilter, config: &Config, prefix: &Topic) -> Option<Finding> {
    let at = format!("{at}.cloud");
    if filter.share().is_some() {
        return Some(shared(at));
    }
    let gateway = &config.gateway.id;
    if let Some(commands) = commands_in(filter, config, prefix) {
        let what = format!("`{filter}` would bring commands (`{commands}`) in past the allow-list");
        return Some(Finding::new(
            at,
            what,
            "name a tree of its own, for example `{prefix}/{gateway}/news/#`",
        ));
    }
    let own = config.devices.iter().map(|device| format!("{}/#", device.id)).chain(["bridge/#".to_owned()]);
    let own =
        own.filter_map(|below| self::filter(prefix, gateway, &below)).find(|own| filter.overlaps(own))?;
    let what = format!("`{filter}` would bring back what the gateway itself says on `{own}`");
    Some(Finding::new(at, what, "name a tree of its own, for example `{prefix}/{gateway}/news/#`"))
}

fn twice(at: &str, filter: &TopicFilter, earlier: &[TopicFilter]) -> Option<Finding> {
    let first = earlier.iter().position(|other| other.overlaps(filter))?;
    let what = format!(
        "`{filter}` and `{}` (entry {}) share topics, which the cloud may send twice",
        earlier[first],
        first + 1
    );
    Some(Finding::new(format!("{at}.cloud"), what, "make one of them narrower"))
}

fn to_home(
    at: &str,
    route: &RouteIn,
    filter: &TopicFilter,
    config: &Config,
    prefix: &Topic,
) -> Option<Finding> {
    let at = format!("{at}.local");
    let names = Names { prefix, gateway: &config.gateway.id, filter };
    let reach = match route.local.widest(&names) {
        Ok(reach) => reach,
        Err(error) => return Some(Finding::new(at, error.to_string(), "shorten it")),
    };
    if reach.as_str().starts_with('$') {
        let what = format!("`{reach}` at home begins with `$`, which is the broker's own");
        return Some(Finding::new(at, what, "choose a topic without it"));
    }
    let sets = TopicFilter::parse(&format!("{HOME}/+/set")).ok()?;
    if reach.overlaps(&sets) {
        let what = format!("`{reach}` at home would bring commands (`{sets}`) in past the allow-list");
        return Some(Finding::new(at, what, "choose another tree, for example `cloud/{topic}`"));
    }
    let own = config.devices.iter().map(|device| format!("{HOME}/{}/#", device.id));
    // Also where this gateway announces nothing: Home Assistant may read this broker for the sake of others.
    let announced = format!("{}/#", config.home_assistant.prefix);
    // There somebody who may not use `home/<device>/set` could say the same.
    let own = own.chain([format!("{HOME}/bridge/#"), announced]);
    let own = own.filter_map(|own| TopicFilter::parse(&own).ok()).chain(config.homie_tree());
    let own = { own }.find(|own| reach.overlaps(own))?;
    let what = format!("`{reach}` at home would speak in the gateway's own name on `{own}`");
    Some(Finding::new(at, what, "choose another tree, for example `cloud/{topic}`"))
}

/// A route out that publishes where this one listens.
fn echo(at: &str, filter: &TopicFilter, config: &Config, prefix: &Topic) -> Option<Finding> {
    let out = config.routes.iter().enumerate().find_map(|(index, route)| {
        let names = Names { prefix, gateway: &config.gateway.id, filter: &route.local };
        let reach = route.cloud.widest(&names).ok()?;
        reach.overlaps(filter).then_some((index, reach))
    });
    let (index, reach) = out?;
    let what = format!(
        "this would loop: `{reach}`, where entry {} of `routes` publishes in the cloud, comes back in by `{filter}`",
        index + 1
    );
    Some(Finding::new(
        format!("{at}.cloud"),
        what,
        "make one of them narrower, or give each its own tree in the cloud",
    ))
}

fn own_topics(at: &str, route: &Route, config: &Config, prefix: &Topic) -> Option<Finding> {
    let gateway = &config.gateway.id;
    let reach = match route.cloud.widest(&Names { prefix, gateway, filter: &route.local }) {
        Ok(reach) => reach,
        Err(error) => {
            return Some(Finding::new(format!("{at}.cloud"), error.to_string(), "shorten it"));
        }
    };
    if let Some(commands) = commands_in(&reach, config, prefix) {
        return Some(loops(at, &reach, &commands));
    }
    for device in &config.devices {
        if reach.overlaps(&filter(prefix, gateway, &format!("{}/set", device.id))?) {
            return Some(loops(at, &reach, &filter(prefix, gateway, "+/set")?));
        }
        let own = filter(prefix, gateway, &format!("{}/#", device.id))?;
        if reach.overlaps(&own) {
            return Some(foreign(at, &reach, &own));
        }
    }
    let bridge = filter(prefix, gateway, "bridge/#")?;
    if reach.overlaps(&bridge) {
        return Some(foreign(at, &reach, &bridge));
    }
    reserved(at, &reach).or_else(|| others(at, &reach, prefix))
}

/// What begins with `$` is the broker's own; AWS has topics there that clients do publish to.
fn reserved(at: &str, reach: &TopicFilter) -> Option<Finding> {
    let is_reserved =
        reach.share().is_some() || (reach.as_str().starts_with('$') && !reach.as_str().starts_with("$aws/"));
    is_reserved.then(|| {
        let what = format!("`{reach}` in the cloud begins with `$`, which is the broker's own");
        Finding::new(format!("{at}.cloud"), what, "choose a topic without it")
    })
}

/// A route into the tree of another gateway with the same prefix: it must not speak in that one's name, and what it
/// commands there, that one's allow-list decides; which a person should know.
fn others(at: &str, reach: &TopicFilter, prefix: &Topic) -> Option<Finding> {
    let of_all = |below: &str| TopicFilter::parse(&format!("{prefix}/+/{below}")).ok();
    let bridges = of_all("bridge/#")?;
    let device = prefix.levels().count() + 1;
    if reach.overlaps(&bridges) && reach.levels().nth(device) == Some("bridge") {
        let what =
            format!("`{reach}` in the cloud would speak in the name of another gateway on `{bridges}`");
        let remedy = "begin `cloud` with `{prefix}/{gateway}/`, or with a tree that no gateway has";
        return Some(Finding::new(format!("{at}.cloud"), what, remedy));
    }
    let sets = [of_all("+/set")?, of_all("+/set/+")?];
    let asks = reach.levels().any(|level| level == "set");
    let Some(commands) = sets.iter().find(|sets| asks && reach.overlaps(sets)) else {
        // With a wildcard where the device stands it reaches whatever that gateway has.
        return reach.overlaps(&bridges).then(|| {
            let what =
                format!("`{reach}` in the cloud can speak in the name of another gateway and its devices");
            let remedy = "begin `cloud` with `{prefix}/{gateway}/`, or with a tree that no gateway has";
            Finding::new(format!("{at}.cloud"), what, remedy).warning()
        });
    };
    let what = format!("`{reach}` in the cloud commands another gateway on `{commands}`");
    let remedy = "good if you mean it: that gateway's `commands.allow` decides; a route back from there must not end here";
    Some(Finding::new(format!("{at}.cloud"), what, remedy).warning())
}

/// A cloud that is this gateway's own broker: whatever goes out would be there again.
fn into_itself(config: &Config) -> Option<Finding> {
    let url = &config.cloud.as_ref()?.url;
    let address = url.host().parse::<IpAddr>();
    let is_here = address.as_ref().map_or(url.host().eq_ignore_ascii_case("localhost"), IpAddr::is_loopback);
    let listeners = config.broker.listeners.iter().enumerate();
    let hears = |listener: &Listener| {
        let ip = listener.address.ip();
        let is_same = is_here && (ip.is_loopback() || ip.is_unspecified());
        (is_same || address.as_ref().is_ok_and(|address| *address == ip))
            && listener.address.port() == url.port()
            && url.port() != 0
    };
    let (index, _) = { listeners }.find(|(_, listener)| hears(listener))?;
    let what = format!(
        "this would loop: the cloud is this gateway's own broker (entry {} of `broker.listeners`)",
        index + 1
    );
    Some(Finding::new("cloud.url", what, "write the address of the cloud"))
}

fn filter(prefix: &Topic, gateway: &GatewayId, below: &str) -> Option<TopicFilter> {
    TopicFilter::parse(&format!("{prefix}/{gateway}/{below}")).ok()
}

/// The commands that the line subscribes to and that `reach` means to reach: a wildcard stands where the device's id
/// does, or it asks for `set` itself and does not only cover it by a wildcard.
fn commands_in(reach: &TopicFilter, config: &Config, prefix: &Topic) -> Option<TopicFilter> {
    let has_senders = config.commands.allow.iter().any(|allow| allow.senders.is_some());
    let device = prefix.levels().count() + 1;
    let levels: Vec<&str> = reach.levels().collect();
    let is_wild =
        levels.iter().take(device + 1).any(|level| *level == "#") || levels.get(device) == Some(&"+");
    if !is_wild && levels.get(device + 1) != Some(&"set") {
        return None;
    }
    let all = ["+/set", "+/set/+"].into_iter().take(if has_senders { 2 } else { 1 });
    let mut all = all.filter_map(|below| filter(prefix, &config.gateway.id, below));
    all.find(|commands| reach.overlaps(commands))
}

fn loops(at: &str, reach: &TopicFilter, commands: &TopicFilter) -> Finding {
    let what =
        format!("this route would loop: `{reach}` in the cloud comes back as commands on `{commands}`");
    let remedy = "put a level of your own into `cloud`, for example `{prefix}/{gateway}/local/{topic}`";
    Finding::new(format!("{at}.cloud"), what, remedy)
}

fn foreign(at: &str, reach: &TopicFilter, own: &TopicFilter) -> Finding {
    let what = format!("`{reach}` in the cloud would speak in the gateway's own name on `{own}`");
    let remedy = "put a level of your own into `cloud`, for example `{prefix}/{gateway}/local/{topic}`";
    Finding::new(format!("{at}.cloud"), what, remedy)
}

/// Whether every topic that `narrow` matches is matched by `wide`, too.
fn covers(wide: &TopicFilter, narrow: &TopicFilter) -> bool {
    let wild = |filter: &TopicFilter| filter.as_str().starts_with(['+', '#']);
    if narrow.as_str().starts_with('$') && wild(wide) {
        return false;
    }
    let mut narrow = narrow.levels();
    for level in wide.levels() {
        match (level, narrow.next()) {
            ("#", _) => return true,
            ("+", Some(other)) if other != "#" => {}
            (level, Some(other)) if level == other => {}
            _ => return false,
        }
    }
    narrow.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_covers_what_it_matches_whole_and_nothing_else() {
        for (wide, narrow, expected) in [
            ("a/#", "a/b/+", true),
            ("a/#", "a", true),
            ("a/+", "a/b", true),
            ("a/+", "a/#", false),
            ("a/b", "a/+", false),
            ("#", "$SYS/x", false),
            ("+/b", "a/b/c", false),
        ] {
            let parse = |text| TopicFilter::parse(text).unwrap();
            assert_eq!(covers(&parse(wide), &parse(narrow)), expected, "{wide} over {narrow}");
        }
    }
}
