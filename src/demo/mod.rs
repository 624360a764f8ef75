//! The demonstration: a home, a cloud and a phone in one process, with no configuration and no network.
//!
//! Owns the wiring of its parts and what is told about them. Never reaches into the gateway: the
//! gateway is built from a file like any other, and the phone knows the cloud only.

pub mod certificates;
mod client;
pub mod cloud;
pub mod phone;

/// Below this the gateway's topics lie in the cloud: prefix and gateway id.
pub const CLOUD_ROOT: &str = "hearthlink/demo";
