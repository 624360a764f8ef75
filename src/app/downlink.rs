//! What comes from the cloud beside commands: the routes `routes_in` of the configuration, the first that matches
//! counts.
//!
//! Holds names only. What may come in at all was checked with the configuration; here it is looked at once
//! more for each message, so that no topic of the gateway's own is reached by a wildcard.

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
        Some(message)
    }
}
