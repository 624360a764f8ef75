//! A chip in memory, for the tests: levels that one can see and set, edges that come as the kernel's would, and faults.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use super::{Chip, ChipError, Edge, EdgeSink, Edges, InputWiring, LineName, OpenChip, Pull};

/// One line, as somebody with a meter sees it.
#[derive(Debug, Default)]
pub(super) struct Pin {
    pub(super) is_high: bool,
    pub(super) is_output: bool,
    pub(super) wave: Option<(Duration, Duration)>,
    input: Option<(Edges, EdgeSink, u32)>,
    /// Something outside holds it at this level.
    pub(super) held: Option<bool>,
    /// Somebody else has it.
    pub(super) is_taken: bool,
    /// So often it is not decided yet whether it may be an input.
    pub(super) pending: u32,
    /// Each call to drive it panics.
    pub(super) panics: bool,
}

#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) pins: BTreeMap<u32, Pin>,
    /// Every level that an output was driven to, in order.
    pub(super) driven: Vec<(u32, bool)>,
    /// The chip is not there.
    pub(super) is_gone: bool,
    /// The next call to drive an output panics.
    pub(super) panics: bool,
    pub(super) openings: u32,
    is_open: bool,
}

/// The chip and its world; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Fake(Arc<Mutex<World>>);

impl Fake {
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) fn is_high(&self, line: u32) -> bool {
        self.world().pins.get(&line).is_some_and(|pin| pin.is_high)
    }

    pub(super) fn is_output(&self, line: u32) -> bool {
        self.world().pins.get(&line).is_some_and(|pin| pin.is_output)
    }

    /// Somebody outside changes an input's level; `dropped` edges before it got lost in the kernel.
    pub(super) fn turn(&self, line: u32, is_high: bool, at: u64, dropped: u32) {
        let mut world = self.world();
        let pin = world.pins.entry(line).or_default();
        pin.is_high = is_high;
        let Some((edges, sink, sequence)) = &mut pin.input else { return };
        let is_told = match edges {
            Edges::Both => true,
            Edges::Rising => is_high,
            Edges::Falling => !is_high,
        };
        if is_told {
            *sequence += 1 + dropped;
            let edge = Edge { is_high, at, sequence: *sequence };
            let sink = sink.clone();
            drop(world);
            sink.hand_blocking(Ok(edge), || false);
        }
    }
}

impl OpenChip for Fake {
    fn open(&self) -> Result<Box<dyn Chip>, String> {
        let mut world = self.world();
        if world.is_gone {
            return Err("there is no such chip".to_owned());
        }
        assert!(!world.is_open, "a chip is opened while it is open");
        world.is_open = true;
        world.openings += 1;
        drop(world);
        Ok(Box::new(Open(self.clone())))
    }
}

struct Open(Fake);

impl Drop for Open {
    fn drop(&mut self) {
        let mut world = self.0.world();
        world.is_open = false;
        for pin in world.pins.values_mut() {
            pin.input = None;
        }
    }
}

impl Open {
    fn present(&self) -> Result<MutexGuard<'_, World>, ChipError> {
        let world = self.0.world();
        if world.is_gone { Err(ChipError::Lost("the chip is gone".to_owned())) } else { Ok(world) }
    }

    fn claim(&self, line: u32) -> Result<MutexGuard<'_, World>, ChipError> {
        let mut world = self.present()?;
        if world.pins.entry(line).or_default().is_taken {
            return Err(ChipError::Line(format!("line {line} is in use by another")));
        }
        Ok(world)
    }
}

impl Chip for Open {
    fn resolve(&self, line: &LineName) -> Result<u32, ChipError> {
        match line {
            LineName::Number(number) => Ok(*number),
            LineName::Name(name) => name
                .strip_prefix("LINE")
                .and_then(|number| number.parse().ok())
                .ok_or_else(|| ChipError::Line(format!("there is no line `{name}`"))),
        }
    }

    fn claim_output(&mut self, line: u32, is_high: bool) -> Result<(), ChipError> {
        let mut world = self.claim(line)?;
        world.driven.push((line, is_high));
        if let Some(pin) = world.pins.get_mut(&line) {
            (pin.is_output, pin.is_high, pin.wave) = (true, is_high, None);
        }
        Ok(())
    }

    fn claim_input(&mut self, line: u32, input: InputWiring, sink: EdgeSink) -> Result<(), ChipError> {
        let mut world = self.claim(line)?;
        if let Some(pin) = world.pins.get_mut(&line) {
            if let Some(left) = pin.pending.checked_sub(1) {
                pin.pending = left;
                return Err(ChipError::Pending);
            }
            pin.is_high |= input.pull == Pull::Up;
            pin.input = Some((input.edges, sink, 0));
        }
        Ok(())
    }

    fn set(&mut self, line: u32, is_high: bool) -> Result<(), ChipError> {
        let mut world = self.present()?;
        assert!(!std::mem::take(&mut world.panics), "the driver's fault");
        assert!(!world.pins.get(&line).is_some_and(|pin| pin.panics), "the driver's fault, again and again");
        world.driven.push((line, is_high));
        if let Some(pin) = world.pins.get_mut(&line) {
            (pin.is_high, pin.wave) = (is_high, None);
        }
        Ok(())
    }

    fn is_high(&mut self, line: u32) -> Result<bool, ChipError> {
        let world = self.present()?;
        Ok(world.pins.get(&line).is_some_and(|pin| pin.held.unwrap_or(pin.is_high)))
    }

    fn wave(&mut self, line: u32, period: Duration, high: Duration) -> Result<(), ChipError> {
        let mut world = self.present()?;
        if let Some(pin) = world.pins.get_mut(&line) {
            pin.wave = Some((period, high));
        }
        Ok(())
    }
}
