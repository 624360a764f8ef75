//! Home Assistant discovery: one retained message a device, from which Home Assistant makes all of its entities.
//!
//! Owns what was announced. Kept by the broker, an announcement outlives the gateway: at the start those of this
//! gateway are read back, and what is not in the configuration any more is cleared. What has not changed is not
//! published again, which spares the flash, but when Home Assistant comes up.
//!
//! Rejected: a list of its own on the disk of what was announced; the broker has it already, and two lists differ
//! after a crash. Rejected: to announce only when Home Assistant comes up; it may have been there all the time.

mod payload;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use self::payload::Announced;
use super::{LocalTopics, bridge_health::bridge};
use crate::{
    broker::{BrokerHandle, Heard},
    config::Config,
    devices::KINDS,
    model::{DeviceId, Entity, GatewayId, Message, QoS, Topic, TopicFilter},
};

/// Devices' entities that wait to be announced. Full: the devices' readings wait.
pub(super) const TOLD: usize = 64;
/// Announcements that are read back at the start. More: the rest is cleared at a later one.
const KEPT: usize = 4096;
/// Words of Home Assistant that wait to be heard. Full: the newest is left out; one is as good as many.
const WORDS: usize = 8;
/// After Home Assistant came up, it is waited for this long and as much again at most, so that not everybody in the
/// house talks to it at once.
const AFTER_BIRTH: Duration = Duration::from_millis(500);
/// From one announcement to the next of those that are made again.
const PACE: Duration = Duration::from_millis(20);
/// The least time from one round of announcements to the next, whoever says how often that Home Assistant came up.
const BETWEEN_ROUNDS: Duration = Duration::from_secs(10);

/// What the announcements need to know of the configuration.
#[derive(Debug, Clone)]
pub(super) struct Discovery {
    is_enabled: bool,
    prefix: Topic,
    gateway: GatewayId,
    /// The devices, each with its kind in a few words; the gateway itself is one of them.
    devices: BTreeMap<DeviceId, &'static str>,
}

impl Discovery {
    pub(super) fn new(config: &Config) -> Self {
        let about =
            |kind: &str| KINDS.iter().find(|known| known.name == kind).map_or("", |known| known.about);
        Self {
            is_enabled: config.home_assistant.enabled,
            prefix: config.home_assistant.prefix.clone(),
            gateway: config.gateway.id.clone(),
            devices: (config.devices.iter())
                .map(|device| (device.id.clone(), about(&device.kind)))
                .chain([(bridge(), "Hearthlink gateway")])
                .collect(),
        }
    }

    /// Where the devices are announced: nobody else may publish there.
    pub(super) fn topics(&self) -> Vec<Topic> {
        let devices = self.devices.keys().filter(|_| self.is_enabled);
        devices.filter_map(|device| self.topic(device)).collect()
    }

    /// All that Home Assistant takes for an announcement, of whomever: closed to the cloud, also where this gateway
    /// announces nothing, for other devices of the house may.
    pub(super) fn tree(&self) -> Option<TopicFilter> {
        TopicFilter::parse(&format!("{}/#", self.prefix)).ok()
    }

    /// An id has no other characters than Home Assistant takes there. The check of the configuration leaves room
    /// behind the prefix.
    fn topic(&self, device: &DeviceId) -> Option<Topic> {
        self.prefix.join(&format!("device/{device}/config")).ok()
    }

    /// Where announcements of this gateway may be kept, also from when it had another prefix.
    fn places(&self) -> Vec<TopicFilter> {
        let places = [format!("{}/device/+/config", self.prefix), "+/device/+/config".to_owned()];
        places.iter().filter_map(|place| TopicFilter::parse(place).ok()).collect()
    }
}

/// Announces the devices.
pub(super) struct Announcer {
    discovery: Discovery,
    broker: BrokerHandle,
    topics: LocalTopics,
    /// What Home Assistant was last told of each device.
    announced: HashMap<DeviceId, Value>,
    round: Round,
}

/// The announcements that are made again.
#[derive(Debug, Default)]
struct Round {
    /// Whether Home Assistant came up since the last round was begun.
    is_wanted: bool,
    waiting: VecDeque<DeviceId>,
    /// When the next one of it is made.
    due: Option<Instant>,
    /// Before this no round begins.
    not_before: Option<Instant>,
}

impl Round {
    /// Home Assistant came up. `jitter` is from 0 to 1.
    fn want(&mut self, now: Instant, jitter: f64) {
        self.is_wanted = true;
        if self.due.is_none() {
            let earliest = self.not_before.map_or(now, |moment| moment.max(now));
            self.due = Some(earliest + AFTER_BIRTH + AFTER_BIRTH.mul_f64(jitter));
        }
    }

    /// The moment has come: which device is next, if any is. `all` are those that were announced.
    fn next(&mut self, now: Instant, all: impl FnOnce() -> VecDeque<DeviceId>) -> Option<DeviceId> {
        if self.waiting.is_empty() && std::mem::take(&mut self.is_wanted) {
            self.waiting = all();
            self.not_before = Some(now + BETWEEN_ROUNDS);
        }
        let next = self.waiting.pop_front();
        self.due = match (self.waiting.is_empty(), self.is_wanted) {
            (false, _) => Some(now + PACE),
            (true, true) => Some(self.not_before.map_or(now, |moment| moment.max(now))),
            (true, false) => None,
        };
        next
    }
}

impl Announcer {
    pub(super) fn new(discovery: Discovery, broker: BrokerHandle, topics: LocalTopics) -> Self {
        Self { discovery, broker, topics, announced: HashMap::new(), round: Round::default() }
    }

    /// Runs until nobody can tell it of devices any more.
    pub(super) async fn run(mut self, mut told: mpsc::Receiver<(DeviceId, Vec<Entity>)>) {
        self.read_back();
        let status = self.discovery.prefix.join("status").ok().filter(|_| self.discovery.is_enabled);
        let mut words =
            self.broker.subscribe(&status.iter().map(TopicFilter::from).collect::<Vec<_>>(), WORDS);
        loop {
            let due = self.round.due;
            // Cancel safe: receivers and a timer.
            tokio::select! {
                biased;
                entities = told.recv() => match entities {
                    None => break,
                    Some((device, entities)) => self.announce(&device, &entities),
                },
                Some(heard) = words.recv() => self.hear(&heard),
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.again(),
            }
        }
    }

    /// What is kept from before: what stays is remembered, and what is gone from the configuration is cleared.
    fn read_back(&mut self) {
        for message in self.broker.retained(&self.discovery.places(), KEPT) {
            let Ok(announcement) = serde_json::from_slice::<Value>(&message.payload) else { continue };
            if !payload::is_of(&self.discovery.gateway, &announcement) {
                continue;
            }
            let is_its = |device: &&DeviceId| self.discovery.topic(device).as_ref() == Some(&message.topic);
            match self.discovery.devices.keys().find(is_its).filter(|_| self.discovery.is_enabled) {
                Some(device) => drop(self.announced.insert(device.clone(), announcement)),
                None => {
                    tracing::info!(topic = %message.topic, "an announcement to Home Assistant is taken back");
                    self.publish(message.topic, String::new());
                }
            }
        }
    }

    fn announce(&mut self, device: &DeviceId, entities: &[Entity]) {
        let Discovery { is_enabled, gateway, devices, .. } = &self.discovery;
        let (true, Some(about), Some(topic)) =
            (*is_enabled, devices.get(device), self.discovery.topic(device))
        else {
            return;
        };
        let announced = Announced { gateway, device, about, topics: &self.topics };
        match (self.announced.get(device), payload::announcement(&announced, entities)) {
            (None, None) => {}
            (Some(_), None) => {
                self.announced.remove(device);
                self.publish(topic, String::new());
            }
            (Some(old), Some(new)) if *old == new => {}
            (old, Some(new)) => {
                if let Some(telling) = old.and_then(|old| payload::without_the_gone(old, &new)) {
                    self.publish(topic.clone(), telling.to_string());
                }
                self.publish(topic, new.to_string());
                self.announced.insert(device.clone(), new);
            }
        }
    }

    /// Home Assistant's birth message (its documentation, "MQTT", "Birth and last will messages").
    fn hear(&mut self, Heard { message, .. }: &Heard) {
        if &*message.payload == b"online" && !message.retain {
            self.round.want(Instant::now(), fastrand::f64());
        }
    }

    fn again(&mut self) {
        let all = || self.announced.keys().cloned().collect();
        let Some(device) = self.round.next(Instant::now(), all) else { return };
        if let (Some(announcement), Some(topic)) =
            (self.announced.get(&device), self.discovery.topic(&device))
        {
            self.publish(topic, announcement.to_string());
        }
    }

    fn publish(&self, topic: Topic, payload: String) {
        self.broker.publish(&Message::new(topic, payload, QoS::AtLeastOnce).retained());
    }
}

#[cfg(test)]
mod tests;
