//! The demonstration: a home, a cloud and a phone in one process, with no configuration and no network.

pub mod certificates;
pub mod cloud;
