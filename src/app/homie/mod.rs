//! The devices as Homie 5 controllers know them: described, with their values, and ready to be set.
//!
//! Source: the Homie convention, version 5 (github.com/homieiot/convention). The gateway is the root device and each
//! device of the configuration a child of it; what a device has comes from the same [`Entity`](crate::model::Entity) as
//! Home Assistant's announcement. Owns where they are; what is said there is the [`Speaker`]'s business, and what is heard
//! the [`Ear`]'s.
//!
//! Rejected: `$target`. Who uses it once must say it with every value, and a bridge must not say it for what its hardware
//! did by itself; that is a second retained message a value, for what `home/<device>/result` says better.
//! Rejected: a last will. The broker is a part of this program, so nobody is left to publish one.

mod description;
mod ear;
mod property;
mod speaker;
mod value;

use std::collections::BTreeMap;

pub(super) use self::{ear::Ear, speaker::Speaker};
use super::bridge_health::bridge;
use crate::{
    config::{Config, HOMIE_MAJOR as MAJOR, homie_device},
    model::{DeviceId, HomieId, Topic, TopicFilter},
};

/// What devices say, on its way to be told there. Full: the devices wait.
pub(super) const EVENTS: usize = 64;
/// Values that somebody sets and that wait. Full: the newest is not heard, and counted with the broker's drops.
const SETS: usize = 64;
const STATE: &str = "$state";
const DESCRIPTION: &str = "$description";

/// A device as it is told of.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    id: HomieId,
    /// Its name in the house.
    name: String,
    /// Its kind in the configuration.
    kind: String,
}

/// Who is told of, and where.
#[derive(Debug, Clone)]
pub(super) struct Homie {
    is_enabled: bool,
    domain: Topic,
    root: Named,
    /// The devices; the gateway is not among them.
    children: BTreeMap<DeviceId, Named>,
}

impl Homie {
    /// From a configuration that was checked; `None`: the gateway's name has no id, and then it is off.
    pub(super) fn new(config: &Config) -> Option<Self> {
        let named =
            |id: HomieId, name: &str, kind: &str| Named { id, name: name.to_owned(), kind: kind.to_owned() };
        let children = config.devices.iter().filter_map(|device| {
            let named = named(homie_device(&device.id)?, device.id.as_str(), &device.kind);
            Some((device.id.clone(), named))
        });
        Some(Self {
            is_enabled: config.homie.enabled,
            domain: config.homie.domain.clone(),
            root: named(config.homie_root()?, config.gateway.id.as_str(), "gateway"),
            children: children.collect(),
        })
    }

    /// Where the gateway speaks: nobody else may publish there. Where values are set is a level deeper.
    pub(super) fn closed(&self) -> Vec<TopicFilter> {
        let all = self.all().filter(|_| self.is_enabled).map(|named| self.device(&named.id));
        let below =
            |device: Topic| ["+", "+/+"].map(|levels| TopicFilter::parse(&format!("{device}/{levels}")));
        all.flat_map(below).filter_map(Result::ok).collect()
    }

    /// Where values are set, of whomever.
    fn sets(&self) -> TopicFilter {
        TopicFilter::parse(&format!("{}/{MAJOR}/+/+/+/set", self.domain)).expect("a word and good levels")
    }

    fn all(&self) -> impl Iterator<Item = &Named> {
        [&self.root].into_iter().chain(self.children.values())
    }

    /// The device that the gateway calls so; itself among them.
    fn named(&self, device: &DeviceId) -> Option<&Named> {
        if *device == bridge() { Some(&self.root) } else { self.children.get(device) }
    }

    /// Everything of a device is below this.
    fn device(&self, id: &HomieId) -> Topic {
        self.below(&[id.as_str()])
    }

    fn below(&self, levels: &[&str]) -> Topic {
        let path = format!("{MAJOR}/{}", levels.join("/"));
        self.domain.join(&path).expect("ids have no wildcards, and the domain leaves room")
    }
}

#[cfg(test)]
mod tests;
