//! Bluetooth LE: one adapter of the machine, and every device that hangs on it.
//!
//! Owns the way from BlueZ to frames ([`channel`] says what stands in them) and back. Never looks into what a device
//! says.

mod adapter;
mod address;
mod audience;
mod bluez;
pub mod channel;
mod counts;
mod ladder;
mod peripheral;
mod session;
mod settings;

pub(in crate::devices) use adapter::{BleAdapter, BleMember};
pub use address::{BadAddress, BleAddress};
pub use channel::{BleChannel, Heard};
pub(in crate::devices) use settings::BleOptions;
pub use settings::{BlePeer, BleSettings, Characteristic};
