//! Bluetooth LE: one adapter of the machine, and every device that hangs on it.
//!
//! Owns the way from BlueZ to frames ([`channel`] says what stands in them) and back. Never looks into what a device
//! says. [`adapter`] waits for what may be missing; a [`session`] is an adapter that works, with a [`peripheral`] task
//! for each connection; [`audience`], [`ladder`] and [`settings`] are pure.
//!
//! btleplug scans and connects. What it has no call for (power, the reason why nothing works, batteries) is asked of
//! BlueZ itself ([`bluez`]). Rejected: all of it by D-Bus, which would be btleplug again; `bluer`, which asks for a
//! newer libdbus and its build tools.

#[cfg(target_os = "linux")]
mod adapter;
#[cfg(not(target_os = "linux"))]
#[path = "elsewhere.rs"]
mod adapter;
mod address;
#[cfg(target_os = "linux")]
mod audience;
#[cfg(target_os = "linux")]
mod bluez;
#[cfg(target_os = "linux")]
mod central;
pub mod channel;
#[cfg(target_os = "linux")]
mod counts;
#[cfg(target_os = "linux")]
mod ladder;
#[cfg(target_os = "linux")]
mod link;
#[cfg(target_os = "linux")]
mod looks;
#[cfg(target_os = "linux")]
pub(in crate::devices) mod neighbours;
#[cfg(not(target_os = "linux"))]
#[path = "silence.rs"]
pub(in crate::devices) mod neighbours;
#[cfg(target_os = "linux")]
mod peripheral;
#[cfg(target_os = "linux")]
mod session;
mod settings;
#[cfg(target_os = "linux")]
mod voices;
#[cfg(target_os = "linux")]
mod watchdog;

pub(in crate::devices) use adapter::BleAdapter;
pub use address::{BadAddress, BleAddress};
pub use channel::{BleChannel, Heard};
pub(in crate::devices) use settings::{BleMember, BleOptions};
pub use settings::{BlePeer, BleSettings, Characteristic};

#[cfg(test)]
mod tests;
