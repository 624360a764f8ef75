//! A line without a chip, for `--simulate`: the rules are the real ones, the levels are in memory.
//!
//! An input changes every half minute; a counter gets a pulse each two seconds. Each line is simulated by itself, so
//! an interlock has nobody to be locked against.

use std::{collections::HashMap, time::Duration};

use tokio::{sync::mpsc, time::Instant};

use super::{
    super::super::{Appliance, device::Frame},
    Chip, ChipError, EdgeSink, GpioWiring, InputWiring, LineName, Member, Order, Role, Said,
    guard::{Fault, Guard, What},
};
use crate::{devices::FromBus, model::DeviceId};

/// Between two changes of an input.
const CHANGES: Duration = Duration::from_secs(30);
/// Between two pulses.
const PULSES: Duration = Duration::from_secs(2);

/// Levels in memory.
#[derive(Default)]
struct Board(HashMap<u32, bool>);

impl Chip for Board {
    fn resolve(&self, line: &LineName) -> Result<u32, ChipError> {
        Ok(if let LineName::Number(number) = line { *number } else { 0 })
    }

    fn claim_output(&mut self, line: u32, is_high: bool) -> Result<(), ChipError> {
        self.set(line, is_high)
    }

    fn claim_input(&mut self, _line: u32, _input: InputWiring, _sink: EdgeSink) -> Result<(), ChipError> {
        Ok(())
    }

    fn set(&mut self, line: u32, is_high: bool) -> Result<(), ChipError> {
        self.0.insert(line, is_high);
        Ok(())
    }

    fn is_high(&mut self, line: u32) -> Result<bool, ChipError> {
        Ok(self.0.get(&line).copied().unwrap_or_default())
    }

    fn wave(&mut self, _line: u32, _period: Duration, _high: Duration) -> Result<(), ChipError> {
        Ok(())
    }
}

struct Simulated {
    member: Member,
    guard: Option<Guard>,
    /// When something happens outside, and how often it has.
    next: Option<Instant>,
    round: u64,
    runs: u64,
}

/// What stands in for a line.
pub(in crate::devices) fn simulated(id: &DeviceId, wiring: GpioWiring) -> Box<dyn Appliance> {
    let member = Member { id: id.clone(), connection: wiring.connection, role: wiring.role };
    Box::new(Simulated { member, guard: None, next: None, round: 0, runs: 0 })
}

impl Simulated {
    /// What the guard has said.
    fn said(&mut self) -> Vec<Frame> {
        let said = self.guard.as_mut().map(Guard::said).unwrap_or_default();
        let connection = &self.member.connection;
        let is_input = matches!(self.member.role, Role::Input { .. });
        let frame = |what| match what {
            What::Bus(FromBus::Frame(frame)) => Some(frame),
            What::Level { is_high, .. } if is_input => Some(Said::Input(connection.is_on(is_high)).frame()),
            _ => None,
        };
        said.into_iter().filter_map(|told| frame(told.what)).collect()
    }

    /// Something happens outside.
    fn happen(&mut self, now: Instant) -> Option<Frame> {
        self.round += 1;
        match self.member.role {
            Role::Input { .. } => {
                self.next = Some(now + CHANGES);
                Some(Said::Input(self.round % 2 == 1).frame())
            }
            Role::Counter { every, .. } => {
                self.next = Some(now + every);
                let count = every.as_secs().div_ceil(PULSES.as_secs()).max(1);
                let span = (self.round > 1).then_some(every.as_secs_f64());
                Some(Said::Pulses { count, span, silence: Some(0.0) }.frame())
            }
            Role::Output(_) | Role::Pwm(_) => None,
        }
    }
}

impl Appliance for Simulated {
    fn start(&mut self, now: Instant) -> Vec<Frame> {
        let (edges, _) = mpsc::channel(1);
        let members = std::slice::from_ref(&self.member);
        let mut guard = Guard::new(Box::<Board>::default(), members, edges, None, now.into_std());
        // A board in memory is never gone.
        let _ = guard.claim_all(1, now.into_std());
        let _ = guard.begin(now.into_std());
        self.guard = Some(guard);
        (self.next, self.round) = match self.member.role {
            Role::Input { .. } => (Some(now + CHANGES), 0),
            Role::Counter { every, .. } => (Some(now + every), 0),
            Role::Output(_) | Role::Pwm(_) => (None, 0),
        };
        let mut said = self.said();
        if matches!(self.member.role, Role::Counter { .. }) {
            said.push(Said::Pulses { count: 0, span: None, silence: None }.frame());
        }
        said
    }

    fn next(&self) -> Option<Instant> {
        let rule = self.guard.as_ref().and_then(Guard::next).map(Instant::from_std);
        [rule, self.next].into_iter().flatten().min()
    }

    fn tick(&mut self, now: Instant) -> Vec<Frame> {
        if let Some(guard) = &mut self.guard {
            let _ = guard.tick(1, now.into_std());
        }
        let mut said = self.said();
        if self.next.is_some_and(|next| next <= now) {
            said.extend(self.happen(now));
        }
        said
    }

    fn touch(&mut self, frame: &Frame, now: Instant) -> Result<Vec<Frame>, String> {
        let order = Order::read(frame).ok_or("it is no order for a GPIO line")?;
        let guard = self.guard.as_mut().ok_or("it is not plugged in")?;
        match guard.order(0, order, now.into_std()) {
            Ok(()) => {}
            Err(Fault::Refused(reason) | Fault::Doubtful(reason) | Fault::Lost(reason)) => {
                return Err(reason);
            }
        }
        self.runs += u64::from(matches!(order, Order::On | Order::Pulse | Order::Duty(_)));
        Ok(self.said())
    }

    fn runs(&self) -> u64 {
        self.runs
    }
}
