//! Serial ports as a bus: one adapter a port, with the devices that share it.
//!
//! What the bytes mean is the kinds' business, in two halves: a [`Talker`] on this side cuts and asks, the device on
//! the other side translates. Both are pure.

mod adapter;
mod conversation;
pub mod framing;
mod line;
mod settings;
mod talker;

pub(in crate::devices) use adapter::SerialAdapter;
pub(in crate::devices) use conversation::Member;
use line::Hardware;
pub(in crate::devices) use line::absence;
pub use line::{Line, OpenLine};
pub(in crate::devices) use settings::PortOptions;
pub use settings::{Parity, PortSettings, is_bare_name};
pub use talker::{GARBLED, Heard, Listener, Step, Talker, WHOLE, garbled};

#[cfg(test)]
mod tests;
