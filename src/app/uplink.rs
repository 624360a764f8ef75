//! What goes to the cloud beside the gateway's own messages: the routes of the configuration, the first that
//! matches counts.

use std::sync::Arc;

use crate::{
    broker::Uplink,
    config::{Names, Route},
    model::{GatewayId, Message, Topic, TopicFilter},
    store::Entry,
};

/// The routes, with what fills their templates.
pub(super) struct Routes {
    /// Each with its lane in the store, if it has one.
    pub(super) routes: Vec<(Route, Option<usize>)>,
    pub(super) prefix: Topic,
    pub(super) gateway: GatewayId,
    /// What the cloud would send back as a command.
    pub(super) sets: TopicFilter,
}

impl Uplink for Routes {
    fn route(&self, message: &Message) -> Option<Entry> {
        let (route, lane) = self.routes.iter().find(|(route, _)| route.local.matches(&message.topic))?;
        let names = Names { prefix: &self.prefix, gateway: &self.gateway, filter: &route.local };
        // Both topics were checked; together they may still be too long for MQTT, which no broker delivers.
        let topic = route.cloud.expand(&names, &message.topic).ok()?;
        // `sensors/#` covers `sensors/set`, too, which would come back as a command; the check of the
        // configuration lets such a route through and counts on this.
        if self.sets.matches(&topic) {
            return None;
        }
        let mut message = message.clone();
        message.topic = topic;
        message.retain = route.retain.unwrap_or(message.retain);
        let life = message.properties.as_ref().and_then(|properties| properties.expiry);
        Some(Entry { life, lane: *lane, ..Entry::new(message) })
    }
}

/// No cloud: nothing is kept for it.
pub(super) struct NoCloud;

impl Uplink for NoCloud {
    fn route(&self, _: &Message) -> Option<Entry> {
        None
    }
}

/// Either, as the broker takes it.
pub(super) type AnyUplink = Arc<dyn Uplink>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        app::CloudTopics,
        config::{Queue, Template},
        model::QoS,
    };

    #[test]
    fn what_would_come_back_as_a_command_never_goes_out() {
        let (prefix, gateway) = (Topic::parse("p").unwrap(), GatewayId::parse("g").unwrap());
        let local = TopicFilter::parse("sensors/#").unwrap();
        let cloud = Template::parse("{prefix}/{gateway}/{topic}").unwrap();
        let route = Route { local, cloud, qos: None, retain: None, queue: Queue::default() };
        let sets = CloudTopics::new(&prefix, &gateway).unwrap().sets();
        let routes = Routes { routes: vec![(route, Some(3))], prefix, gateway, sets };
        for (topic, expected) in [
            ("sensors/attic", Some("p/g/sensors/attic")),
            ("sensors/attic/set", Some("p/g/sensors/attic/set")),
            ("sensors/set", None),
            ("other", None),
        ] {
            let message = Message::new(Topic::parse(topic).unwrap(), "x", QoS::AtLeastOnce);
            let entry = routes.route(&message);
            assert_eq!(entry.as_ref().map(|entry| entry.message.topic.as_str()), expected, "{topic}");
            assert!(entry.is_none_or(|entry| entry.lane == Some(3)));
        }
    }
}
