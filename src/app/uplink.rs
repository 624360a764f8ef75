//! What goes to the cloud beside the gateway's own messages: the routes of the configuration, the first that
//! matches counts.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    broker::Uplink,
    config::{Names, Route},
    model::{GatewayId, Message, Topic, TopicFilter},
    store::Entry,
};

/// For how many topics it is remembered where they go. Full: all are forgotten, which costs as much as it did before.
const REMEMBERED: usize = 1_024;

/// The route of a topic at home, by its place, and its topic at the cloud; `None`: it does not go there.
type Way = Option<(usize, Topic)>;

/// The routes, with what fills their templates.
pub(super) struct Routes {
    /// Each with its lane in the store, if it has one.
    pub(super) routes: Vec<(Route, Option<usize>)>,
    pub(super) prefix: Topic,
    pub(super) gateway: GatewayId,
    /// What the cloud would send back as a command.
    pub(super) sets: TopicFilter,
    /// A device publishes on the same few topics for years.
    pub(super) remembered: Mutex<HashMap<Topic, Way>>,
}

impl Routes {
    fn way(&self, local: &Topic) -> Way {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(way) = remembered.get(local) {
            return way.clone();
        }
        let way = self.find(local);
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(local.clone(), way.clone());
        way
    }

    fn find(&self, local: &Topic) -> Way {
        let place = self.routes.iter().position(|(route, _)| route.local.matches(local))?;
        let (route, _) = &self.routes[place];
        let names = Names { prefix: &self.prefix, gateway: &self.gateway, filter: &route.local };
        // Both topics were checked; together they may still be too long for MQTT, which no broker delivers.
        let topic = route.cloud.expand(&names, local).ok()?;
        // `sensors/#` covers `sensors/set`, too, which would come back as a command; the check of the
        // configuration lets such a route through and counts on this.
        (!self.sets.matches(&topic)).then_some((place, topic))
    }
}

impl Uplink for Routes {
    fn route(&self, message: &Message) -> Option<Entry> {
        let (place, topic) = self.way(&message.topic)?;
        let (route, lane) = &self.routes[place];
        let local = message.topic.clone();
        let mut message = message.clone();
        message.topic = topic;
        message.retain = route.retain.unwrap_or(message.retain);
        let life = message.properties.as_ref().and_then(|properties| properties.expiry);
        let stamp = route.envelope.then_some(ACCEPTED_AT);
        if route.envelope {
            message.payload = enveloped(&message, &local).into();
        }
        Some(Entry { life, lane: *lane, stamp, ..Entry::new(message) })
    }
}

/// The member of an envelope that the store adds beside `message_id`: a time that is right even if the clock was set
/// only after the message was accepted.
const ACCEPTED_AT: &str = "at";

/// The payload in an object, with what MQTT 5 says beside a payload.
fn enveloped(message: &Message, local: &Topic) -> String {
    let mut fields = serde_json::Map::new();
    fields.insert("topic".to_owned(), local.as_str().into());
    match str::from_utf8(&message.payload) {
        Ok(text) => fields.insert("payload".to_owned(), text.into()),
        Err(_) => {
            let digits = message.payload.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            fields.insert("payload_hex".to_owned(), digits.into())
        }
    };
    if let Some(properties) = &message.properties {
        if let Some(life) = properties.expiry {
            fields.insert("ttl".to_owned(), life.as_secs().into());
        }
        if let Some(content_type) = &properties.content_type {
            fields.insert("content_type".to_owned(), content_type.as_str().into());
        }
    }
    serde_json::Value::Object(fields).to_string()
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
        let route = Route { local, cloud, qos: None, retain: None, envelope: false, queue: Queue::default() };
        let sets = CloudTopics::new(&prefix, &gateway).unwrap().sets();
        let remembered = Default::default();
        let routes = Routes { routes: vec![(route, Some(3))], prefix, gateway, sets, remembered };
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

    #[test]
    fn as_many_topics_as_there_are_go_where_they_belong_and_a_bounded_number_is_remembered() {
        let (prefix, gateway) = (Topic::parse("p").unwrap(), GatewayId::parse("g").unwrap());
        let route: Route = serde_json::from_str(r#"{"local": "sensors/#"}"#).unwrap();
        let sets = CloudTopics::new(&prefix, &gateway).unwrap().sets();
        let remembered = Default::default();
        let routes = Routes { routes: vec![(route, None)], prefix, gateway, sets, remembered };
        for number in (0..3 * REMEMBERED).chain(0..9) {
            let message =
                Message::new(Topic::parse(&format!("sensors/{number}")).unwrap(), "x", QoS::AtLeastOnce);
            let expected = format!("p/g/sensors/{number}");
            assert_eq!(routes.route(&message).unwrap().message.topic.as_str(), expected);
            assert!(routes.remembered.lock().unwrap().len() <= REMEMBERED);
        }
    }

    #[test]
    fn an_envelope_says_what_only_mqtt_5_says_beside_the_payload() {
        use std::time::Duration;

        use crate::model::Properties;

        let (prefix, gateway) = (Topic::parse("p").unwrap(), GatewayId::parse("g").unwrap());
        let route: Route = serde_json::from_str(r#"{"local": "sensors/#", "envelope": true}"#).unwrap();
        let sets = CloudTopics::new(&prefix, &gateway).unwrap().sets();
        let remembered = Default::default();
        let routes = Routes { routes: vec![(route, None)], prefix, gateway, sets, remembered };
        let payload = |message: &Message| {
            let entry = routes.route(message).unwrap();
            assert_eq!(entry.stamp, Some("at"), "the store adds the time and the message's id");
            serde_json::from_slice::<serde_json::Value>(&entry.message.payload).unwrap()
        };
        let mut message = Message::new(Topic::parse("sensors/attic").unwrap(), "21.5", QoS::AtLeastOnce);
        message.properties = Some(Arc::new(Properties {
            expiry: Some(Duration::from_secs(60)),
            content_type: Some("text/plain".to_owned()),
            ..Properties::default()
        }));
        let expected = serde_json::json!({
            "topic": "sensors/attic", "payload": "21.5", "ttl": 60, "content_type": "text/plain"
        });
        assert_eq!(payload(&message), expected);
        message.properties = None;
        message.payload = vec![0xff, 0x00].into();
        let expected = serde_json::json!({"topic": "sensors/attic", "payload_hex": "ff00"});
        assert_eq!(payload(&message), expected);
    }
}
