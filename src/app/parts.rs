//! The routes for `benches/`, by the feature `parts`: packages are built without it.
//!
//! Owns nothing: this is how `build` makes them, for messages that no lane of the store is for.

use std::sync::Arc;

use super::{CloudTopics, uplink::Routes};
use crate::{
    broker::Uplink,
    config::Route,
    model::{GatewayId, Topic},
};

/// What these routes do with a message; `None`: the prefix and the gateway's name are too long for topics.
pub fn uplink(routes: Vec<Route>, prefix: &Topic, gateway: &GatewayId) -> Option<Arc<dyn Uplink>> {
    let sets = CloudTopics::new(prefix, gateway).ok()?.sets();
    let routes = routes.into_iter().map(|route| (route, None)).collect();
    Some(Arc::new(Routes {
        routes,
        prefix: prefix.clone(),
        gateway: gateway.clone(),
        sets,
        remembered: Default::default(),
    }))
}
