//! What comes from the cloud beside commands: the routes `routes_in` of the configuration, the first that matches
//! counts.
//!
//! Holds names only. What may come in at all was checked with the configuration; here it is looked at once
//! more for each message, so that no topic of the gateway's own is reached by a wildcard.

use std::sync::Arc;

use crate::{
    config::{Names, RouteIn},
    model::{GatewayId, Message, Topic, TopicFilter},
};

/// The routes, with what fills their templates.
#[derive(Default)]
pub(super) struct Downlink {
    routes: Vec<(TopicFilter, RouteIn)>,
    tree: Option<(Topic, GatewayId)>,
    /// What the cloud may not say at home.
    closed: Vec<TopicFilter>,
}

impl Downlink {
    pub(super) fn new(
        routes: &[RouteIn],
        prefix: &Topic,
        gateway: &GatewayId,
        closed: Vec<TopicFilter>,
    ) -> Self {
        let with_filter = |route: &RouteIn| Some((route.cloud.filter(prefix, gateway).ok()?, route.clone()));
        Self {
            routes: routes.iter().filter_map(with_filter).collect(),
            tree: Some((prefix.clone(), gateway.clone())),
            closed,
        }
    }

    /// What the cloud may not say at home, either.
    pub(super) fn close(&mut self, more: &[TopicFilter]) {
        self.closed.extend(more.iter().cloned());
    }

    /// What the line is to subscribe to.
    pub(super) fn filters(&self) -> impl Iterator<Item = &TopicFilter> {
        self.routes.iter().map(|(filter, _)| filter)
    }

    /// The message as it is published at home; `None`: no route wants it, or its topic there is not possible.
    pub(super) fn at_home(&self, message: &Message) -> Option<Message> {
        let (prefix, gateway) = self.tree.as_ref()?;
        let (filter, route) = self.routes.iter().find(|(filter, _)| filter.matches(&message.topic))?;
        let topic = route.local.expand(&Names { prefix, gateway, filter }, &message.topic).ok()?;
        if topic.is_reserved() || self.closed.iter().any(|closed| closed.matches(&topic)) {
            return None;
        }
        let mut message = message.clone();
        message.topic = topic;
        message.qos = route.qos.unwrap_or(message.qos);
        message.retain = route.retain.unwrap_or(message.retain);
        if let Some(properties) = &mut message.properties {
            // They ask whoever answers at home to publish where the cloud says: on a topic of the house.
            let properties = Arc::make_mut(properties);
            (properties.response_topic, properties.correlation_data) = (None, None);
        }
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Properties, QoS};

    #[test]
    fn what_a_device_obeys_is_closed_although_a_route_leads_there() {
        let (prefix, gateway) = (Topic::parse("p").unwrap(), GatewayId::parse("g").unwrap());
        let text = r#"{"cloud": "{prefix}/{gateway}/in/#", "local": "{1}"}"#;
        let route: RouteIn = serde_json::from_str(text).unwrap();
        let mut downlink = Downlink::new(&[route], &prefix, &gateway, Vec::new());
        downlink.close(&[TopicFilter::parse("shellies/+/relay/0/command").unwrap()]);
        let at_home = |topic: &str| {
            let message = Message::new(Topic::parse(topic).unwrap(), "on", QoS::AtLeastOnce);
            downlink.at_home(&message).map(|message| message.topic.to_string())
        };
        assert_eq!(at_home("p/g/in/shellies/x/relay/0").as_deref(), Some("shellies/x/relay/0"));
        assert_eq!(at_home("p/g/in/shellies/x/relay/0/command"), None);
    }

    #[test]
    fn the_cloud_names_no_topic_of_the_house_for_an_answer() {
        let (prefix, gateway) = (Topic::parse("p").unwrap(), GatewayId::parse("g").unwrap());
        let text = r#"{"cloud": "{prefix}/{gateway}/news/#", "local": "news/{1}"}"#;
        let route: RouteIn = serde_json::from_str(text).unwrap();
        let downlink = Downlink::new(&[route], &prefix, &gateway, Vec::new());
        let mut message = Message::new(Topic::parse("p/g/news/a").unwrap(), "x", QoS::AtLeastOnce);
        message.properties = Some(Arc::new(Properties {
            content_type: Some("text/plain".into()),
            response_topic: Some("cmnd/plug/POWER".into()),
            correlation_data: Some("ON".into()),
            ..Properties::default()
        }));
        let at_home = downlink.at_home(&message).unwrap();
        assert_eq!(at_home.topic.as_str(), "news/a");
        let expected = Properties { content_type: Some("text/plain".into()), ..Properties::default() };
        assert_eq!(at_home.properties.as_deref(), Some(&expected));
    }
}
