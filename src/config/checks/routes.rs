//! Routes to the cloud: none comes back, none speaks in the gateway's name, none is dead.
//!
//! The link subscribes `<prefix>/<gateway>/+/set` and the fence. A route loops when it publishes there. The
//! one exception is a route like `sensors/#` whose `#` happens to cover `sensors/set`: it is let through
//! while no device is called `sensors`, and whoever routes messages skips that single topic.

use super::Finding;
use crate::{
    config::{Config, Route},
    model::{GatewayId, Topic, TopicFilter},
};

pub(super) fn all(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, route) in config.routes.iter().enumerate() {
        let at = format!("routes[{index}]");
        if route.local.share().is_some() {
            let remedy = "write the filter without `$share/…/`";
            findings.push(Finding::new(format!("{at}.local"), "a route cannot share a subscription", remedy));
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
    findings
}

fn own_topics(at: &str, route: &Route, config: &Config, prefix: &Topic) -> Option<Finding> {
    let gateway = &config.gateway.id;
    let reach = match route.cloud.widest(prefix, gateway, &route.local) {
        Ok(reach) => reach,
        Err(error) => {
            return Some(Finding::new(format!("{at}.cloud"), error.to_string(), "shorten it"));
        }
    };
    let commands = filter(prefix, gateway, "+/set")?;
    if reach.overlaps(&commands) && (is_wild(&reach, &commands) || asks_for_set(&reach, &commands)) {
        return Some(loops(at, &reach, &commands));
    }
    for device in &config.devices {
        if reach.overlaps(&filter(prefix, gateway, &format!("{}/set", device.id))?) {
            return Some(loops(at, &reach, &commands));
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

/// Whether the route can reach any device: a wildcard stands where the device's id does.
fn is_wild(reach: &TopicFilter, commands: &TopicFilter) -> bool {
    let device = commands.levels().count() - 2;
    reach.levels().take(device + 1).any(|level| level == "#") || reach.levels().nth(device) == Some("+")
}

/// Whether the route asks for `set` itself, and does not only cover it by a wildcard.
fn asks_for_set(reach: &TopicFilter, commands: &TopicFilter) -> bool {
    reach.levels().nth(commands.levels().count() - 1) == Some("set")
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
