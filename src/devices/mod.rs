//! Devices: what hangs on the gateway, on which bus, and how a request becomes an action.
//!
//! Owns the kinds, the buses, and the tasks that run both. Never knows topics of the cloud or of
//! `home/…`: readings go out and commands come in as `model` types through bounded channels.
//!
//! Invariants:
//! - a command whose deadline has passed never reaches a bus;
//! - every command in a mailbox is answered, or its way back is dropped, which means `unknown`;
//! - a panic in a device or a bus ends there: it is counted, that part starts again, the others go on.

mod bus;
mod desk;
mod device;
mod error;
mod fleet;
mod kinds;
mod options;
mod runner;
mod supervisor;

pub use bus::{
    Adapter, AdapterError, Appliance, FromBus, LanPort, LanPublish, Ports, SimulationProbe, Tally, ToDevices,
    Wiring, Write, WriteError, Writes,
};
pub use device::{Changes, Check, Confirm, Device, Frame, Plan, Presence};
pub use error::DeviceError;
pub use fleet::{Fleet, MAILBOX_CAPACITY};
pub use kinds::{KINDS, Kind};
pub use options::{Span, options};

use crate::model::{DeviceId, Fields, Request, TopicFilter};

/// A device as the configuration describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceSpec {
    /// Its id.
    pub id: DeviceId,
    /// The name of its kind.
    pub kind: String,
    /// The kind's options: a map with names in snake_case, or null for none.
    pub options: serde_json::Value,
}

/// Checks a description without starting anything, and gives the topics at home that are the device's own: where
/// it speaks and where it is told what to do.
///
/// # Errors
/// [`DeviceError`] names the device, the option and what was probably meant.
pub fn check(spec: &DeviceSpec) -> Result<Vec<TopicFilter>, DeviceError> {
    Ok(match build(KINDS, spec)?.wiring() {
        Wiring::Lan { hears, obeys } => [hears, obeys].concat(),
        Wiring::Simulated(_) => Vec::new(),
    })
}

/// Checks that a device could be asked for this, whatever state it is in, without starting anything.
///
/// # Errors
/// As [`check`]; [`DeviceError::Impossible`] names the field and what is possible.
pub fn check_request(spec: &DeviceSpec, request: &Request) -> Result<(), DeviceError> {
    build(KINDS, spec)?.encode(request, &Fields::new()).map(drop)
}

fn build(kinds: &[Kind], spec: &DeviceSpec) -> Result<Box<dyn Device>, DeviceError> {
    (kinds::find(kinds, spec)?.build)(spec)
}

/// The guide's example is compiled and run by `cargo test --doc`.
#[cfg(doctest)]
#[doc = include_str!("../../docs/devices.md")]
struct Guide;

#[cfg(test)]
mod tests;
