//! Routes to the cloud and from it: none comes back, none speaks in the gateway's name, none is dead, and none
//! takes a command past the allow-list.
//!
//! The link subscribes `<prefix>/<gateway>/+/set`, the fence, and what `routes_in` says. A route loops when it
//! publishes there. The one exception is a route like `sensors/#` whose `#` happens to cover `sensors/set`: it is
//! let through, in either direction, while no device is called `sensors`, and whoever routes messages takes that
//! single topic for a command's.

use super::Finding;
use crate::{
    config::{Config, Names, Route, RouteIn, Template},
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
    let own = own.chain([format!("{HOME}/bridge/#"), announced]);
    let own = own.filter_map(|own| TopicFilter::parse(&own).ok());
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
    reach.overlaps(&bridge).then(|| foreign(at, &reach, &bridge))
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
