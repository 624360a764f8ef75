//! `mosquitto_pub` and `mosquitto_sub` in the words of the other clients; what they must do is in `claims`.

mod claims;

use super::{
    house::Line,
    words::{Message, Post, Properties, hex},
};
use crate::{clients::Subscriber, process::PATIENCE};

/// Everything that mosquitto_sub tells of a message; without spaces in the user properties' values.
const FORMAT: &str = "FULL\t%t\t%q\t%r\t%C\t%R\t%D\t%E\t%F\t%S\t%P\t%x";

fn parse(line: &str) -> Option<Message> {
    let parts: Vec<&str> = line.strip_prefix("FULL\t")?.split('\t').collect();
    let [
        topic,
        qos,
        retain,
        content_type,
        response_topic,
        correlation,
        expiry,
        format,
        identifier,
        user,
        payload,
    ] = parts[..]
    else {
        return None;
    };
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let pairs = user.split(' ').filter_map(|pair| pair.split_once(':'));
    Some(Message {
        topic: topic.to_owned(),
        payload: hex::decode(payload)?,
        qos: qos.parse().ok()?,
        retain: retain == "1",
        properties: Properties {
            user: pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            content_type: text(content_type),
            response_topic: text(response_topic),
            correlation: text(correlation).map(|text| hex::encode(text.as_bytes())),
            expiry: expiry.parse().ok(),
            format: format.parse().ok(),
            identifiers: identifier.parse().into_iter().collect(),
        },
    })
}

/// A running mosquitto_sub.
pub struct Listener(Subscriber);

/// Subscribes by mosquitto_sub; it is subscribed when this returns.
#[track_caller]
pub fn subscribe(line: &Line<'_>, options: &[&str]) -> Listener {
    Listener(line.mosquitto().subscribe(&[&["-F", FORMAT][..], options].concat()))
}

impl Listener {
    fn received(&self) -> Vec<Message> {
        self.0.process.lines().iter().filter_map(|line| parse(line)).collect()
    }

    /// Everything up to now, when there are `count` messages.
    #[track_caller]
    pub fn take(&self, count: usize) -> Vec<Message> {
        self.0.process.wait_for(&format!("{count} messages"), PATIENCE, |lines| {
            let is_message = |line: &&String| line.starts_with("FULL\t");
            (lines.iter().filter(is_message).count() >= count)
                .then(|| lines.iter().filter_map(|line| parse(line)).collect())
        })
    }

    /// Ends it in order: it sends DISCONNECT.
    #[track_caller]
    fn leave(mut self) {
        self.0.process.signal("TERM");
        self.0.process.wait(PATIENCE);
    }
}

/// Publishes by mosquitto_pub.
#[track_caller]
pub fn publish(line: &Line<'_>, post: &Post) {
    let (qos, text) = (post.qos.to_string(), String::from_utf8(post.payload.clone()).expect("text"));
    let mut options = vec!["-t", &post.topic, "-q", &qos];
    options.extend(if text.is_empty() { vec!["-n"] } else { vec!["-m", &text] });
    options.extend(post.retain.then_some("-r"));
    let Properties { user, content_type, response_topic, correlation, expiry, format, .. } = &post.properties;
    let number = |number: u32| number.to_string();
    let correlation = correlation.as_ref().map(|text| hex::decode(text).expect("hexadecimal"));
    let properties = [
        ("content-type", content_type.clone()),
        ("response-topic", response_topic.clone()),
        ("correlation-data", correlation.map(|bytes| String::from_utf8(bytes).expect("text"))),
        ("message-expiry-interval", expiry.map(number)),
        ("payload-format-indicator", format.map(u32::from).map(number)),
    ];
    for (name, value) in &properties {
        options.extend(value.iter().flat_map(|value| ["-D", "publish", name, value]));
    }
    for (name, value) in user {
        options.extend(["-D", "publish", "user-property", name, value]);
    }
    line.mosquitto().publish(&options);
}
