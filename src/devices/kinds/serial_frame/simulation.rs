//! A simulated device that sends binary frames, as the options describe them.

use std::time::Duration;

use super::{
    super::super::{
        Appliance, Frame, SimulatedLine, StandIn, Waves,
        serial::{
            Talker,
            framing::{Counts, Covers, Length, Order},
        },
    },
    SerialFrame,
};

/// Between two frames.
const PERIOD: Duration = Duration::from_secs(5);
/// What fields have in them before their scale, and how far a day takes it from that: fits into every type.
const NUMBER: (f64, f64) = (100.0, 15.0);

/// `number` in the last bytes of it, in an order.
fn ordered(number: u32, count: usize, order: Order) -> Vec<u8> {
    let mut bytes = number.to_be_bytes()[4 - count..].to_vec();
    if order == Order::Little {
        bytes.reverse();
    }
    bytes
}

/// A frame with `number` in each field.
fn frame(device: &SerialFrame, number: f64) -> Vec<u8> {
    let options = &device.options;
    let check = options.check.map_or(0, |check| check.kind.length());
    let ends = options.fields.iter().map(|field| field.offset + field.kind.size());
    let (whole, head) = match device.length {
        Length::Fixed(length) => (length, device.sync.len()),
        Length::Prefixed(prefix) => {
            let head = device.sync.len() + prefix.bytes;
            (ends.max().unwrap_or_default().max(head) + check, head)
        }
    };
    let mut frame = vec![0; whole];
    for field in &options.fields {
        let mut bytes = field.kind.write(number).unwrap_or_default();
        if field.order.unwrap_or(options.order) == Order::Little {
            bytes.reverse();
        }
        frame[field.offset..field.offset + bytes.len()].copy_from_slice(&bytes);
    }
    frame[..device.sync.len()].copy_from_slice(&device.sync);
    if let Length::Prefixed(prefix) = device.length {
        let counted = match prefix.counts {
            Counts::Payload => whole - head - check,
            Counts::Rest => whole - head,
            Counts::Frame => whole,
        };
        frame[device.sync.len()..head].copy_from_slice(&ordered(counted as u32, prefix.bytes, prefix.order));
    }
    if let Some(rule) = options.check {
        let from = if rule.covers == Covers::AfterSync { device.sync.len() } else { 0 };
        let sum = rule.kind.of(&frame[from..whole - check]);
        let sum = ordered(sum.into(), check, rule.order.unwrap_or(options.order));
        frame[whole - check..].copy_from_slice(&sum);
    }
    frame
}

pub(super) fn simulation(device: &SerialFrame, talker: Box<dyn Talker>) -> Box<dyn Appliance> {
    let curve = Waves::of(&device.id, NUMBER.0, NUMBER.1);
    let device = device.clone();
    let says =
        move |(): &mut (), round| vec![Frame::new("line", frame(&device, curve.at(round, PERIOD).round()))];
    Box::new(SimulatedLine::new(talker, StandIn::new(()).says(says).every(PERIOD)))
}
