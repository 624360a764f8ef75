//! What holds on the line: what a person wrote, else what the profile says, else what is usual.
//!
//! Pure. Invariant: whoever needs a value of these asks [`Cloud::terms`] and not the section, so that a profile counts
//! everywhere or nowhere.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Cloud, json_schema::Size, profile::Profile, units};

/// What the cloud takes; what is left out is the profile's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CloudLimits {
    /// The largest payload. 1 KiB to 255 MiB. A larger message is dropped, counted as `beyond_limits`.
    #[serde(deserialize_with = "units::bytes")]
    #[schemars(with = "Option<Size>")]
    pub max_payload: Option<u64>,
    /// The most levels of a topic (one more than its slashes), 1 to 65,535.
    pub topic_levels: Option<u16>,
    /// The longest topic in bytes, 16 to 65,535.
    pub topic_length: Option<u16>,
    /// The most filters in one SUBSCRIBE, 1 to 1,000. Default 8.
    pub filters_per_subscribe: Option<u16>,
    /// The most subscriptions of a connection, 1 to 65,535.
    pub subscriptions: Option<u16>,
    /// The most publishes a second, of all that go out. 1 to 100,000.
    pub publish_rate: Option<u32>,
    /// The longest client id in bytes, 1 to 65,535.
    pub client_id_length: Option<u16>,
    /// Whether the cloud keeps retained messages; where not, nothing is sent as one.
    pub retain: Option<bool>,
}

impl Cloud {
    /// The profile's line of the table, or what holds without one.
    pub fn table(&self) -> Profile {
        self.profile.map_or_else(Profile::plain, super::ProfileName::profile)
    }

    /// What holds on the line: the table, with what is written over it.
    pub fn terms(&self) -> Profile {
        let table = self.table();
        let limits = &self.limits;
        Profile {
            version: self.version.unwrap_or(table.version),
            keep_alive: self.keep_alive.unwrap_or(table.keep_alive),
            window: self.window.unwrap_or(table.window),
            session_expiry: self.session_expiry.unwrap_or(table.session_expiry),
            max_payload: limits.max_payload.or(table.max_payload),
            topic_levels: limits.topic_levels.or(table.topic_levels),
            topic_length: limits.topic_length.or(table.topic_length),
            filters_per_subscribe: limits.filters_per_subscribe.or(table.filters_per_subscribe),
            subscriptions: limits.subscriptions.or(table.subscriptions),
            publish_rate: limits.publish_rate.or(table.publish_rate),
            client_id_length: limits.client_id_length.or(table.client_id_length),
            retain: limits.retain.unwrap_or(table.retain),
            ..table
        }
    }

    /// Fills in what the URLs leave to the profile.
    pub(super) fn complete_url(&mut self) {
        let table = self.table();
        for url in [&mut self.url].into_iter().chain(&mut self.other_urls) {
            *url = url.clone().or(table.port, table.path);
        }
    }
}
