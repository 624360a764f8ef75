//! A Modbus RTU device on a serial line, by its registers; several share a line by their addresses.
//!
//! Registers are asked for at their intervals. What is ordered counts as done only when the register, read back,
//! shows it.

mod registers;
mod rtu;
mod simulation;

use std::time::Duration;

use serde::Deserialize;

use self::{
    registers::Register,
    rtu::{Client, Pdu},
};
use super::super::{
    Appliance, Changes, Device, DeviceError, DeviceSpec, Frame, Plan, Presence, Span, Wiring,
    bus::serial::PortOptions,
    options::options_of_both,
    serial::{GARBLED, Parity, PortSettings, Talker},
};
use crate::model::{DeviceId, Entity, Fields, Request, Timestamp};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// The device's number on the line, 1 to 247.
    address: u8,
    registers: Vec<registers::Options>,
    /// How often a register is asked for that does not say it.
    #[serde(default = "every")]
    every: Span,
    /// How long an answer may take.
    #[serde(default = "answer_within")]
    answer_within: Span,
    /// How long the register may take to show what was ordered.
    #[serde(default = "confirm_within")]
    confirm_within: Span,
    /// After which silence it counts as offline. Default three times the longest interval and 5 s.
    #[serde(default)]
    offline_after: Option<Span>,
}

fn every() -> Span {
    Span(Duration::from_secs(10))
}

fn answer_within() -> Span {
    Span(Duration::from_millis(500))
}

fn confirm_within() -> Span {
    Span(Duration::from_secs(2))
}

struct Modbus {
    id: DeviceId,
    port: PortSettings,
    registers: Vec<Register>,
    options: Options,
}

pub(super) fn build(spec: &DeviceSpec) -> Result<Box<dyn Device>, DeviceError> {
    let (port, options): (PortOptions, Options) = options_of_both(spec)?;
    // The standard says 19200 and even; almost no device is sold so.
    let port = PortSettings::new(spec, port, (9600, 8, Parity::None))?;
    let bad = |option: &str, problem: String| Err(DeviceError::bad_option(&spec.id, option, problem));
    if port.data_bits != 8 {
        return bad("data_bits", "Modbus RTU has 8 of them".to_owned());
    }
    if !(1..=247).contains(&options.address) {
        return bad("address", "devices on a line are numbered from 1 to 247".to_owned());
    }
    if options.answer_within.0 > Duration::from_millis(1500) {
        return bad("answer_within", "write up to `1500ms`: the others on the line wait as long".to_owned());
    }
    if options.registers.is_empty() {
        return bad("registers", "name at least one".to_owned());
    }
    let mut registers: Vec<Register> = Vec::new();
    for (index, register) in options.registers.iter().enumerate() {
        match Register::new(register, options.every) {
            Ok(register) if registers.iter().any(|other| other.name == register.name) => {
                return bad(&format!("registers[{index}].name"), format!("`{}` stands twice", register.name));
            }
            Ok(register) => registers.push(register),
            Err((option, problem)) => return bad(&format!("registers[{index}].{option}"), problem),
        }
    }
    Ok(Box::new(Modbus { id: spec.id.clone(), port, registers, options }))
}

impl Modbus {
    fn talker(&self) -> Box<dyn Talker> {
        let polls = self.questions().map(|(register, pdu)| (pdu.bytes().into(), register.every)).collect();
        let within = (self.options.answer_within.0, self.options.confirm_within.0);
        Box::new(Client::new(self.options.address, within, polls))
    }

    fn questions(&self) -> impl Iterator<Item = (&Register, Pdu)> {
        self.registers.iter().map(|register| (register, register.question()))
    }
}

impl Device for Modbus {
    fn wiring(&self) -> Wiring {
        Wiring::Serial { port: self.port.clone(), talker: self.talker() }
    }

    fn simulation(&self) -> Box<dyn Appliance> {
        simulation::simulation(self, self.talker())
    }

    fn presence(&self) -> Presence {
        let longest = self.registers.iter().map(|register| register.every).max().unwrap_or_default();
        let habit = longest * 3 + Duration::from_secs(5);
        Presence::Heard(Some(self.options.offline_after.map_or(habit, |span| span.0)))
    }

    fn decode(&mut self, frame: &Frame, _now: Timestamp) -> Result<Changes, DeviceError> {
        let problem = frame.text().unwrap_or("the answer is garbled");
        let (channel, is_answer) = match frame.channel.strip_prefix(GARBLED) {
            Some(question) => (question.trim_start_matches('/'), false),
            None => (&*frame.channel, true),
        };
        let mut fields = Fields::new();
        for (register, question) in self.questions() {
            if rtu::channel(&question.bytes()) != channel {
                continue;
            }
            let unread = |problem: &str| Err(DeviceError::unread(&self.id, &register.name, problem));
            if !is_answer {
                return unread(problem);
            }
            match register.read(&frame.payload) {
                Some(value) => drop(fields.insert(register.name.clone(), value)),
                None => return unread("it is not a finite number"),
            }
        }
        if !is_answer {
            return Err(DeviceError::unreadable(&self.id, "registers", problem));
        }
        Ok(Changes::fields(fields))
    }

    fn encode(&self, request: &Request, _state: &Fields) -> Result<Plan, DeviceError> {
        let (mut orders, mut questions, mut wanted) = (Vec::new(), Vec::new(), Vec::new());
        for (name, value) in request.fields() {
            let impossible = |problem: &str| DeviceError::impossible(&self.id, name, problem);
            let register = self.registers.iter().find(|register| register.name == *name);
            let register = register.ok_or_else(|| impossible("the device has no such register"))?;
            let order = register.order(value).map_err(|problem| impossible(&problem))?;
            orders.push(order.frame());
            questions.push(register.question().frame());
            wanted.push((register.clone(), value.clone()));
        }
        orders.append(&mut questions);
        let shows = move |seen: &Fields| {
            wanted.iter().all(|(register, value)| {
                seen.get(&register.name).is_some_and(|seen| register.shows(seen, value))
            })
        };
        let within = self.options.confirm_within.0;
        Ok(Plan::confirmed(orders, within, shows).saying("read back, the register shows it"))
    }

    fn entities(&self, _state: &Fields) -> Vec<Entity> {
        self.registers.iter().map(Register::entity).collect()
    }
}

#[cfg(test)]
mod tests;
