//! The kinds of devices: one folder a kind, one line of registration.
//!
//! A kind knows its device and nothing of tasks, channels, deadlines or restarts.
//! `docs/devices.md` shows a complete one.

mod advertiser;
mod atc;
mod ble_gatt;
mod bthome;
mod describe;
mod esphome;
mod gpio_counter;
mod gpio_input;
mod gpio_output;
mod gpio_pwm;
mod ibeacon;
mod lan;
mod meter;
mod mibeacon;
mod modbus;
mod ruuvi;
mod serial_frame;
mod serial_line;
mod shelly;
mod tasmota;
mod thermometer;
mod toaster;
mod values;

use std::time::Duration;

use super::{Device, DeviceError, DeviceSpec, Span, options};

/// How a kind is called and built.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Its name in the configuration.
    pub name: &'static str,
    /// What it is, in a few words for people.
    pub about: &'static str,
    /// Builds a device from its description. Reads no more of the disk than a file with a secret that an option names.
    pub build: fn(&DeviceSpec) -> Result<Box<dyn Device>, DeviceError>,
}

/// Every kind that Hearthlink knows. A new kind is one line here.
pub const KINDS: &[Kind] = &[
    Kind { name: "atc", about: "a thermometer with ATC1441's or PVVX's firmware", build: atc::build },
    Kind {
        name: "ble_gatt",
        about: "a Bluetooth LE peripheral, by its characteristics",
        build: ble_gatt::build,
    },
    Kind { name: "bthome", about: "a BTHome v2 sensor or button, plain or encrypted", build: bthome::build },
    Kind { name: "esphome", about: "a node with ESPHome's MQTT client", build: esphome::build },
    Kind { name: "gpio_counter", about: "a pulse meter on a GPIO line", build: gpio_counter::build },
    Kind { name: "gpio_input", about: "a button or contact on a GPIO line", build: gpio_input::build },
    Kind { name: "gpio_output", about: "a relay or lamp on a GPIO line", build: gpio_output::build },
    Kind { name: "gpio_pwm", about: "a dimmed lamp or fan on a GPIO line", build: gpio_pwm::build },
    Kind { name: "ibeacon", about: "presence by an iBeacon, at home or away", build: ibeacon::build },
    Kind { name: "lan", about: "any MQTT device of the house, by its own topics", build: lan::build },
    Kind { name: "meter", about: "an electricity meter: P1, SML or IEC 62056-21", build: meter::build },
    Kind {
        name: "mibeacon",
        about: "a Xiaomi sensor or button with its own firmware",
        build: mibeacon::build,
    },
    Kind { name: "modbus", about: "a Modbus RTU device, by its registers", build: modbus::build },
    Kind { name: "ruuvi", about: "a RuuviTag", build: ruuvi::build },
    Kind {
        name: "serial_frame",
        about: "a device on a serial port that speaks in binary frames",
        build: serial_frame::build,
    },
    Kind {
        name: "serial_line",
        about: "a device on a serial port that speaks in lines",
        build: serial_line::build,
    },
    Kind { name: "shelly", about: "a Shelly's relay, dimmer, cover, input or sensors", build: shelly::build },
    Kind { name: "tasmota", about: "a Tasmota plug or relay", build: tasmota::build },
    Kind { name: "thermometer", about: "a simulated thermometer", build: thermometer::build },
    Kind { name: "toaster", about: "a simulated toaster", build: toaster::build },
];

/// The kind that a device says it is.
///
/// # Errors
/// [`DeviceError::UnknownKind`] with the nearest name and the list.
pub(super) fn find(kinds: &[Kind], spec: &DeviceSpec) -> Result<Kind, DeviceError> {
    kinds.iter().find(|kind| kind.name == spec.kind).copied().ok_or_else(|| {
        let known: Vec<&'static str> = kinds.iter().map(|kind| kind.name).collect();
        DeviceError::UnknownKind {
            device: spec.id.clone(),
            kind: spec.kind.clone(),
            nearest: options::nearest(&spec.kind, &known),
            known,
        }
    })
}

/// Every kind says what its fields are for people.
#[cfg(test)]
mod described_tests;
#[cfg(test)]
pub(crate) use described_tests::every_kind;

/// The kernel debounces for less than a minute.
fn check_debounce(spec: &DeviceSpec, debounce: Option<Span>) -> Result<(), DeviceError> {
    match debounce {
        Some(Span(time)) if time > Duration::from_secs(60) => {
            Err(DeviceError::bad_option(&spec.id, "debounce", "it is a minute at most"))
        }
        _ => Ok(()),
    }
}

/// What the tables of the kinds' tests are written with.
#[cfg(test)]
mod testing;
