//! From one session to others: queued, taken out, written and acknowledged.

use std::hint::black_box;

use hearthlink::{
    broker::parts::{Meeting, Protocol},
    model::TopicFilter,
};

use super::{
    packet::reading,
    part::{Part, Work},
};

pub const PARTS: &[Part] = &[
    Part::pure("sessions/1 subscriber", || fan_out(1)),
    Part::pure("sessions/10 subscribers", || fan_out(10)),
    Part::pure("sessions/100 subscribers", || fan_out(100)),
];

fn fan_out(subscribers: usize) -> Box<dyn Work> {
    let message = reading(false);
    let filters = [TopicFilter::parse("zigbee2mqtt/+").expect("a filter")];
    let mut meeting = Meeting::new(Protocol::V311, subscribers, &filters).expect("there is room");
    Box::new(move || {
        let written = meeting.relay(black_box(&message).clone());
        assert!(written > subscribers * message.payload.len(), "everybody has it: {written} bytes");
    })
}
