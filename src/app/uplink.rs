//! Which local messages go to the cloud: the routes of the configuration, the first that matches counts.

use std::sync::Arc;

use crate::{
    broker::Uplink,
    clock::Clock,
    config::Route,
    model::{GatewayId, Message, Topic},
    store::Entry,
};

/// The routes, with what fills their templates.
pub(super) struct Routes {
    pub(super) routes: Vec<Route>,
    pub(super) prefix: Topic,
    pub(super) gateway: GatewayId,
    pub(super) clock: Clock,
}

impl Uplink for Routes {
    fn route(&self, message: &Message) -> Option<Entry> {
        let route = self.routes.iter().find(|route| route.local.matches(&message.topic))?;
        // Both topics were checked; together they may still be too long for MQTT, which no broker delivers.
        let topic = route.cloud.expand(&self.prefix, &self.gateway, &message.topic).ok()?;
        let mut message = message.clone();
        message.topic = topic;
        message.qos = route.qos.unwrap_or(message.qos);
        message.retain = route.retain.unwrap_or(message.retain);
        let life = message.properties.as_ref().and_then(|properties| properties.expiry);
        Some(Entry { expires: life.map(|life| self.clock.now().plus(life)), message })
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
