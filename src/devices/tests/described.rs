//! What the world is told of a device's fields, and of what happens at it.

use super::*;
use crate::model::Entity;

/// A doorbell: it rings, and it has a battery.
struct Bell;

impl Device for Bell {
    fn wiring(&self) -> Wiring {
        Wiring::Lan { hears: vec![TopicFilter::parse("bell/#").unwrap()], obeys: Vec::new() }
    }
    fn presence(&self) -> Presence {
        Presence::Assumed
    }
    fn decode(&mut self, frame: &Frame, _now: Timestamp) -> Result<Changes, DeviceError> {
        let name = frame.channel.strip_prefix("bell/").unwrap_or_default();
        Ok(Changes::field(name, frame.text().unwrap_or_default()))
    }
    fn encode(&self, request: &Request, _state: &Fields) -> Result<Plan, DeviceError> {
        Err(DeviceError::impossible(&id("bell"), request.first_field(), "it only rings"))
    }
    fn entities(&self, state: &Fields) -> Vec<Entity> {
        let seen = state.iter().filter(|(field, _)| *field != "button");
        let seen = seen.filter_map(|(field, value)| Entity::of_value(field, value));
        [Entity::event("button", ["ring"])].into_iter().chain(seen).collect()
    }
}

fn ring(specs: &[DeviceSpec], last: HashMap<DeviceId, Fields>) -> House {
    let bell: Kind = Kind { name: "bell", about: "", build: |_| Ok(Box::new(Bell)) };
    House::of(Fleet::build_with(specs, &[bell]).unwrap(), last)
}

#[tokio::test(start_paused = true)]
async fn a_new_field_is_described_before_it_is_told_and_only_once() {
    let mut house = ring(&[spec("bell", "bell", Value::Null)], HashMap::new());
    let mut heard: Vec<String> = Vec::new();
    for (topic, word) in [("bell/battery", "low"), ("bell/battery", "full"), ("bell/mood", "good")] {
        house.say(topic, word).await;
    }
    while heard.iter().filter(|word| *word == "reading").count() < 3 {
        match house.event().await {
            DeviceEvent::Reading(_) => heard.push("reading".to_owned()),
            DeviceEvent::Happened(_) | DeviceEvent::Availability(..) => {}
            DeviceEvent::Entities(_, entities) => {
                heard.push(entities.iter().map(|entity| &*entity.field).collect::<Vec<_>>().join(" "));
            }
        }
    }
    let expected = ["button", "button battery", "reading", "reading", "button battery mood", "reading"];
    assert_eq!(heard, expected);
}

#[tokio::test(start_paused = true)]
async fn what_happened_is_told_once_and_is_no_part_of_the_state() {
    let before =
        Fields::from_iter([("button".to_owned(), json!("ring")), ("battery".to_owned(), json!("low"))]);
    let last = HashMap::from([(id("bell"), before)]);
    let mut house = ring(&[spec("bell", "bell", Value::Null)], last);
    house.say("bell/battery", "full").await;
    assert_eq!(
        Value::Object(house.reading().await.fields),
        json!({"battery": "full"}),
        "not of before the start"
    );
    house.say("bell/button", "ring").await;
    let happened = loop {
        match house.event().await {
            DeviceEvent::Happened(reading) => break reading,
            DeviceEvent::Reading(reading) => panic!("{reading:?} came before what happened"),
            DeviceEvent::Availability(..) | DeviceEvent::Entities(..) => {}
        }
    };
    assert_eq!(Value::Object(happened.fields), json!({"battery": "full", "button": "ring"}));
    assert_eq!(Value::Object(house.reading().await.fields), json!({"battery": "full"}));
    house.say("bell/battery", "low").await;
    assert_eq!(Value::Object(house.reading().await.fields), json!({"battery": "low"}));
}
