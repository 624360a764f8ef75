//! Who wants a topic: the routes to the cloud, of which the first that matches counts, and the tree of subscriptions.

use std::hint::black_box;

use hearthlink::{
    app,
    broker::parts::{Meeting, Protocol},
    config::Route,
    model::{GatewayId, Message, QoS, Topic, TopicFilter},
};

use super::part::{Part, Work};

pub const PARTS: &[Part] = &[
    Part::pure("topics/1 route", || routes(1)),
    Part::pure("topics/1000 routes, the last", || routes(1_000)),
    Part::pure("topics/1000 filters, 1 of them", || filters(1_000)),
    Part::pure("topics/10000 filters, 1 of them", || filters(10_000)),
];

/// A message that the last of so many routes is for.
fn routes(count: usize) -> Box<dyn Work> {
    let route = |number: usize| -> Route {
        serde_json::from_value(serde_json::json!({"local": format!("house/floor-{number}/+/state")}))
            .expect("a route")
    };
    let (prefix, gateway) =
        (Topic::parse("homes").expect("a topic"), GatewayId::parse("home").expect("an id"));
    let routes = (0..count).map(route).collect();
    let uplink = app::parts::uplink(routes, &prefix, &gateway).expect("short names");
    let topic = Topic::parse(&format!("house/floor-{}/lamp/state", count - 1)).expect("a topic");
    let message = Message::new(topic, "ON", QoS::AtLeastOnce);
    Box::new(move || {
        uplink.route(black_box(&message)).expect("the last route is for it");
    })
}

/// A QoS 0 message for one of so many filters, of a client that takes it.
fn filters(count: usize) -> Box<dyn Work> {
    let filters: Vec<TopicFilter> = (0..count)
        .map(|number| {
            let text = format!("house/{}/{}/+/state", number % 100, number / 100);
            TopicFilter::parse(&text).expect("a filter")
        })
        .collect();
    let mut meeting = Meeting::new(Protocol::V311, count, &filters).expect("there is room");
    let topic = Topic::parse("house/42/7/lamp/state").expect("a topic");
    let message = Message::new(topic, "ON", QoS::AtMostOnce);
    // Client 742, filter 7 * 100 + 42.
    Box::new(move || {
        assert_eq!(meeting.publish(black_box(&message).clone()), 1);
        assert!(meeting.take(742) > 0);
    })
}
