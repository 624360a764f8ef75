//! A part that is measured, and the list of them all.

use std::fmt;

use super::{ble, commands, packet, sessions, store, topics};

/// What is done again and again.
pub trait Work {
    /// Before each run, and outside of what the clock measures.
    fn prepare(&mut self) {}

    /// What is measured. Panics when the part does not do what it is there for: a refusal is quick.
    fn run(&mut self);
}

impl<F: FnMut()> Work for F {
    fn run(&mut self) {
        self();
    }
}

/// A part.
#[derive(Clone, Copy)]
pub struct Part {
    /// Its name, `room/what/how much`.
    pub name: &'static str,
    /// How many messages a run handles.
    pub messages: usize,
    /// Whether it neither waits nor touches the disk, so that its instructions can be counted.
    pub is_pure: bool,
    /// Sets it up.
    pub make: fn() -> Box<dyn Work>,
}

impl Part {
    /// One that computes only.
    pub const fn pure(name: &'static str, make: fn() -> Box<dyn Work>) -> Self {
        Self { name, messages: 1, is_pure: true, make }
    }

    /// One that waits for the disk, for so many messages at once.
    pub const fn on_disk(name: &'static str, messages: usize, make: fn() -> Box<dyn Work>) -> Self {
        Self { name, messages, is_pure: false, make }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// All, in the order of the gateway's way out.
pub fn all() -> Vec<Part> {
    let rooms: [&[Part]; 6] =
        [packet::PARTS, sessions::PARTS, topics::PARTS, store::PARTS, commands::PARTS, ble::PARTS];
    rooms.into_iter().flatten().copied().collect()
}
