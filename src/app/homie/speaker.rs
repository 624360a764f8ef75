//! Describes the devices and tells their values and states, as the Homie convention has it.
//!
//! Owns what was said. Invariants: a description changes only while its device's `$state` is `init`; what is retained is
//! published only when it is not what is retained already, also by an earlier run, for it is written to the flash; what is
//! not described any more is cleared, a device's `$state` first. Nothing here waits, so that no device ever waits for it
//! for long.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use super::{
    DESCRIPTION, Ear, Homie, MAJOR, Named, SETS, STATE,
    description::{self, Place},
    ear::Settable,
    property::{Ids, Property, properties},
    value,
};
use crate::{
    app::bridge_health::bridge,
    broker::BrokerHandle,
    clock::Clock,
    commands::Incoming,
    model::{Availability, DeviceEvent, DeviceId, Entity, Fields, Message, QoS, Topic, TopicFilter},
};

/// Descriptions of everybody that are read back at the start. More: of the rest what is gone is cleared at a later one.
const KEPT: usize = 4096;
/// Messages of one device that are read back: what it may have, several times over.
const OF_DEVICE: usize = 2048;

/// What is said of one device.
#[derive(Debug, Default)]
struct Spoken {
    ids: Ids,
    properties: Vec<Property>,
    /// Its last state in the house.
    fields: Fields,
    /// `None`: nobody has said yet.
    availability: Option<Availability>,
}

/// The one who speaks.
pub(in crate::app) struct Speaker {
    homie: Homie,
    broker: BrokerHandle,
    clock: Clock,
    /// What is retained of ours.
    said: HashMap<Topic, Bytes>,
    devices: BTreeMap<DeviceId, Spoken>,
    settable: watch::Sender<Settable>,
}

impl Speaker {
    /// What an earlier run has left is cleared, or taken over; then all devices are there, and what they are follows.
    /// `None`: nothing is to be told.
    pub(in crate::app) fn begin(homie: Homie, broker: BrokerHandle, clock: Clock) -> Option<Self> {
        let (settable, _) = watch::channel(Settable::default());
        let mut it = Self { homie, broker, clock, said: HashMap::new(), devices: BTreeMap::new(), settable };
        it.clear_the_gone();
        if !it.homie.is_enabled {
            return None;
        }
        it.greet();
        Some(it)
    }

    /// Who hears what is to be set.
    pub(in crate::app) fn ear(&self, desk: mpsc::Sender<Incoming>) -> Ear {
        let sets = self.broker.subscribe(&[self.homie.sets()], SETS);
        Ear { sets, settable: self.settable.subscribe(), desk }
    }

    fn greet(&mut self) {
        let ids: Vec<DeviceId> = [bridge()].into_iter().chain(self.homie.children.keys().cloned()).collect();
        for device in &ids {
            self.read_back(device);
            self.devices.insert(device.clone(), Spoken::default());
            self.state(device, "init");
        }
        // The children before the parent that names them.
        for device in ids.iter().skip(1) {
            let is_described = self.homie.named(device).is_some_and(|named| {
                self.said.contains_key(&self.homie.below(&[named.id.as_str(), DESCRIPTION]))
            });
            // What it has is known when it is told; until then the last description is better than none.
            if !is_described {
                self.describe(device);
            }
        }
        self.devices.entry(bridge()).or_default().availability = Some(Availability::Online);
        self.describe(&bridge());
    }

    /// Runs until nobody has anything to say any more.
    pub(in crate::app) async fn run(mut self, mut events: mpsc::Receiver<DeviceEvent>) {
        while let Some(event) = events.recv().await {
            self.hear(event);
        }
        let devices: Vec<DeviceId> =
            self.devices.keys().filter(|device| **device != bridge()).cloned().collect();
        for device in devices.iter().chain([&bridge()]) {
            self.state(device, "disconnected");
        }
    }

    fn hear(&mut self, event: DeviceEvent) {
        match event {
            DeviceEvent::Entities(device, entities) => self.entities(&device, &entities),
            DeviceEvent::Availability(device, availability) => {
                let Some(spoken) = self.devices.get_mut(&device) else { return };
                spoken.availability = Some(availability);
                self.present(&device);
            }
            DeviceEvent::Reading(reading) => {
                let Some(spoken) = self.devices.get_mut(&reading.device) else { return };
                spoken.fields = reading.fields;
                self.values(&reading.device);
            }
            DeviceEvent::Happened(reading) => self.happened(&reading.device, &reading.fields),
        }
    }

    fn entities(&mut self, device: &DeviceId, entities: &[Entity]) {
        let Some(spoken) = self.devices.get_mut(device) else { return };
        let fresh = properties(entities, &mut spoken.ids);
        let before = std::mem::replace(&mut spoken.properties, fresh);
        self.describe(device);
        self.clear_values(device, &before);
        self.values(device);
        self.settable.send_replace(self.all_settable());
    }

    /// Publishes the description, if it is another one, and the state that the device is in.
    fn describe(&mut self, device: &DeviceId) {
        let (Some(named), Some(spoken)) = (self.homie.named(device).cloned(), self.devices.get(device))
        else {
            return;
        };
        let place = if *device == bridge() {
            Place::Root(self.homie.children.values().map(|child| &child.id).collect())
        } else {
            Place::Child(&self.homie.root.id)
        };
        let fresh = description::description(&named, &place, &spoken.properties);
        let topic = self.homie.below(&[named.id.as_str(), DESCRIPTION]);
        let old = self.said.get(&topic).and_then(|old| serde_json::from_slice::<Value>(old).ok());
        if !old.as_ref().is_some_and(|old| description::is_same(&fresh, old)) {
            self.state(device, "init");
            let fresh = description::versioned(fresh, old.as_ref(), self.clock.now());
            self.keep(topic, fresh.to_string().into());
        }
        self.present(device);
    }

    /// Clears the values of what is not described any more, or is of another shape now.
    fn clear_values(&mut self, device: &DeviceId, before: &[Property]) {
        let (Some(named), Some(spoken)) = (self.homie.named(device), self.devices.get(device)) else {
            return;
        };
        let front = format!("{}/", self.homie.device(&named.id));
        let topic = |property: &Property| self.value_topic(named, property);
        let kept: HashMap<Topic, &Property> = spoken
            .properties
            .iter()
            .filter(|property| property.is_retained)
            .map(|it| (topic(it), it))
            .collect();
        let is_other =
            |property: &&Property| kept.get(&topic(property)).is_some_and(|now| now.shape != property.shape);
        let others: HashSet<Topic> = before.iter().filter(is_other).map(topic).collect();
        let is_gone = |topic: &Topic| {
            let below = topic.as_str().strip_prefix(&front);
            below.is_some_and(|below| below.contains('/'))
                && (!kept.contains_key(topic) || others.contains(topic))
        };
        let gone: Vec<Topic> = self.said.keys().filter(|topic| is_gone(topic)).cloned().collect();
        for topic in gone {
            self.keep(topic, Bytes::new());
        }
    }

    fn values(&mut self, device: &DeviceId) {
        let (Some(named), Some(spoken)) = (self.homie.named(device), self.devices.get(device)) else {
            return;
        };
        let said = spoken.properties.iter().filter(|property| property.is_retained).filter_map(|property| {
            let payload = value::payload(&property.shape, spoken.fields.get(&property.field)?)?;
            Some((self.value_topic(named, property), payload))
        });
        for (topic, payload) in said.collect::<Vec<_>>() {
            self.keep(topic, payload.into());
        }
    }

    /// For those who are there now, and for nobody else.
    fn happened(&self, device: &DeviceId, fields: &Fields) {
        let (Some(named), Some(spoken)) = (self.homie.named(device), self.devices.get(device)) else {
            return;
        };
        for property in spoken.properties.iter().filter(|it| !it.is_retained && !it.is_settable) {
            let payload =
                fields.get(&property.field).and_then(|value| value::payload(&property.shape, value));
            if let Some(payload) = payload {
                let topic = self.value_topic(named, property);
                self.broker.publish(&Message::new(topic, payload, QoS::AtMostOnce));
            }
        }
    }

    /// The state that the device is in, as far as it is known.
    fn present(&mut self, device: &DeviceId) {
        let state = match self.devices.get(device).and_then(|spoken| spoken.availability) {
            None => "init",
            Some(Availability::Online) => "ready",
            // It was not the device that said goodbye.
            Some(Availability::Offline) => "lost",
        };
        self.state(device, state);
    }

    fn state(&mut self, device: &DeviceId, state: &'static str) {
        let Some(named) = self.homie.named(device) else { return };
        let topic = self.homie.below(&[named.id.as_str(), STATE]);
        self.keep(topic, Bytes::from_static(state.as_bytes()));
    }

    fn value_topic(&self, named: &Named, property: &Property) -> Topic {
        self.homie.below(&[named.id.as_str(), property.node, property.id.as_str()])
    }

    fn all_settable(&self) -> Settable {
        let all = self
            .devices
            .iter()
            .filter_map(|(device, spoken)| Some((device, spoken, self.homie.named(device)?)));
        let all = all.filter(|(device, ..)| **device != bridge());
        let settable = all.flat_map(|(device, spoken, named)| {
            let own = spoken.properties.iter().filter(|property| property.is_settable);
            own.filter_map(|property| {
                let topic = self.value_topic(named, property).join("set").ok()?;
                Some((topic, (device.clone(), property.clone())))
            })
        });
        Arc::new(settable.collect())
    }

    /// Publishes what is to be retained, unless it is already. Nothing: it is cleared.
    fn keep(&mut self, topic: Topic, payload: Bytes) {
        let is_known = match self.said.get(&topic) {
            Some(known) => *known == payload,
            None => payload.is_empty(),
        };
        if is_known {
            return;
        }
        self.broker.publish(&Message::new(topic.clone(), payload.clone(), QoS::ExactlyOnce).retained());
        match payload.is_empty() {
            true => drop(self.said.remove(&topic)),
            false => drop(self.said.insert(topic, payload)),
        }
    }

    /// What is retained of a device of ours.
    fn read_back(&mut self, device: &DeviceId) {
        let Some(named) = self.homie.named(device) else { return };
        let below = self.homie.device(&named.id);
        let all = self.retained(&format!("{below}/#"), OF_DEVICE);
        self.said.extend(all.into_iter().map(|message| (message.topic, message.payload)));
    }

    /// Devices of this gateway that are not described any more, here or below another domain.
    fn clear_the_gone(&self) {
        for message in self.retained(&format!("+/{MAJOR}/+/{DESCRIPTION}"), KEPT) {
            let Ok(said) = serde_json::from_slice::<Value>(&message.payload) else { continue };
            let mut levels = message.topic.levels();
            let (Some(domain), Some(_), Some(id)) = (levels.next(), levels.next(), levels.next()) else {
                continue;
            };
            let is_here = self.homie.is_enabled
                && domain == self.homie.domain.as_str()
                && self.homie.all().any(|named| named.id.as_str() == id);
            if is_here || !description::is_of(&self.homie.root.id, id, &said) {
                continue;
            }
            tracing::info!(topic = %message.topic, "a device is taken back from Homie");
            let device = format!("{domain}/{MAJOR}/{id}");
            // Without a state it ceases to exist.
            let mut all: Vec<Topic> = self
                .retained(&format!("{device}/#"), OF_DEVICE)
                .into_iter()
                .map(|message| message.topic)
                .collect();
            all.sort_by_key(|topic| !topic.as_str().ends_with(STATE));
            for topic in all {
                self.broker.publish(&Message::new(topic, Bytes::new(), QoS::ExactlyOnce).retained());
            }
        }
    }

    fn retained(&self, filter: &str, most: usize) -> Vec<Message> {
        let filter = TopicFilter::parse(filter).ok();
        filter.map(|filter| self.broker.retained(&[filter], most)).unwrap_or_default()
    }
}
