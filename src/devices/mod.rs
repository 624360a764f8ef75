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
mod simulation;
mod summary;
mod supervisor;
pub mod survey;

pub use bus::{
    Adapter, AdapterError, Appliance, FromBus, LanPort, LanPublish, Ports, SimulationProbe, Tally, ToDevices,
    Wiring, Write, WriteError, Writes, ble, gpio, serial,
};
pub use device::{Changes, Check, Confirm, Device, Frame, Plan, Presence};
pub use error::DeviceError;
pub use fleet::{Fleet, MAILBOX_CAPACITY};
#[cfg(test)]
pub(crate) use kinds::every_kind;
pub use kinds::{KINDS, Kind};
pub use options::{Span, options};
use simulation::SimulatedLine;
pub use simulation::{StandIn, Waves};

use std::path::{Path, PathBuf};

use self::bus::Buses;
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

/// What a device takes for itself in the house.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// The topics at home where it speaks and where it is told what to do.
    pub topics: Vec<TopicFilter>,
    /// Its serial port.
    pub port: Option<PathBuf>,
    /// Its GPIO chip.
    pub chip: Option<gpio::ChipName>,
}

/// Checks descriptions without starting anything, each against those that it saw before.
#[derive(Default)]
pub struct Checker {
    buses: Buses,
}

impl Checker {
    /// Checks a description.
    ///
    /// # Errors
    /// [`DeviceError`] names the device, the option and what was probably meant.
    pub fn check(&mut self, spec: &DeviceSpec) -> Result<Claims, DeviceError> {
        let wiring = build(KINDS, spec)?.wiring();
        let claims = match &wiring {
            Wiring::Lan { hears, obeys } => {
                Claims { topics: [&hears[..], obeys].concat(), ..Claims::default() }
            }
            Wiring::Simulated(_) | Wiring::Ble { .. } => Claims::default(),
            Wiring::Serial { port, .. } => Claims { port: Some(port.path.clone()), ..Claims::default() },
            Wiring::Gpio(wiring) => {
                Claims { chip: Some(wiring.connection.chip.clone()), ..Claims::default() }
            }
        };
        self.buses.hang(&spec.id, wiring)?;
        Ok(claims)
    }

    /// What is wrong with the devices together, once all were checked.
    pub fn complaints(&self) -> Vec<DeviceError> {
        self.buses.complaints()
    }
}

/// What a person should know of a port before the start: that its name may soon be another device's, or that it is
/// not there now. Looks at the disk.
pub fn doubts(port: &Path) -> Vec<String> {
    let bare = serial::is_bare_name(port).then(|| {
        format!("{} is named in the order of plugging in, and may be another device tomorrow", port.display())
    });
    bare.into_iter().chain(bus::serial::absence(port)).collect()
}

/// What a person should know of a GPIO chip before the start. Looks at the disk.
pub fn chip_doubts(chip: &gpio::ChipName) -> Option<String> {
    gpio::doubts(chip)
}

/// Checks that a device could be asked for this, whatever state it is in, without starting anything.
///
/// # Errors
/// As [`Checker::check`]; [`DeviceError::Impossible`] names the field and what is possible.
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
