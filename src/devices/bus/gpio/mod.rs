//! GPIO chips as a bus: one adapter a chip, with the devices on its lines.
//!
//! A [`Chip`] is the hardware: the Pi's registers (`rppal`) or the kernel's character device (`gpiocdev`). What must hold
//! whatever the rest of the program does is kept on a thread beside it: interlocks, times, safe states. The kinds
//! translate, and never touch a line.

mod adapter;
mod cdev;
mod chip;
mod counter;
mod guard;
mod keeper;
mod order;
mod pi;
mod role;
mod settings;
mod simulated;
mod switch;
mod wave;

pub(in crate::devices) use adapter::GpioAdapter;
pub(in crate::devices) use cdev::chips_found;
pub use chip::{Chip, ChipError, Edge, EdgeSink, Edges, InputWiring, OpenChip, Pull};
pub use order::{Cause, Order, Said};
pub use role::{GpioWiring, OutputRules, PwmRules, Role};
pub(in crate::devices) use role::{Member, complaints};
pub use settings::{ChipName, Connection, LineName};
pub(in crate::devices) use settings::{LineOptions, OnOff, doubts};
pub(in crate::devices) use simulated::simulated;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
