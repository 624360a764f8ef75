//! What Homie 5 controllers are told of the devices, on the local broker.
//!
//! Owns the section and how the names of the house become the convention's ids. Invariant of a configuration that was
//! checked: while it is enabled, the gateway and each device have an id, and no two have the same one.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Config;
use crate::model::{DeviceId, HomieId, Topic, TopicFilter};

/// The version of the convention, in topics.
pub const HOMIE_MAJOR: &str = "5";

/// What Homie 5 controllers are told of the devices, on the local broker.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Homie {
    /// Whether devices are described there. Default false: each field of each device is one retained message more.
    pub enabled: bool,
    /// The convention's domain, the level in front of `5`; of `a-z`, `0-9` and `-`. Default `homie`.
    pub domain: Topic,
}

impl Default for Homie {
    fn default() -> Self {
        Self { enabled: false, domain: Topic::parse("homie").expect("a plain word") }
    }
}

impl Config {
    /// The gateway's id as a Homie device; `None`: its name has no letter and no digit.
    pub fn homie_root(&self) -> Option<HomieId> {
        HomieId::of(self.gateway.id.as_str())
    }

    /// All that is Homie's on the local broker, of whomever; `None` while it is off.
    pub fn homie_tree(&self) -> Option<TopicFilter> {
        TopicFilter::parse(&format!("{}/{HOMIE_MAJOR}/#", self.homie.domain))
            .ok()
            .filter(|_| self.homie.enabled)
    }

    /// The topics below which only the gateway speaks while Homie is enabled: those of itself and of its devices.
    pub fn homie_own(&self) -> Vec<TopicFilter> {
        let ids = self.homie_root().into_iter();
        let ids = ids.chain(self.devices.iter().filter_map(|device| homie_device(&device.id)));
        let below = |id| TopicFilter::parse(&format!("{}/{HOMIE_MAJOR}/{id}/#", self.homie.domain)).ok();
        ids.filter(|_| self.homie.enabled).filter_map(below).collect()
    }
}

/// The id of a device as a Homie device; `None`: its name has no letter and no digit.
pub fn homie_device(device: &DeviceId) -> Option<HomieId> {
    HomieId::of(device.as_str())
}
