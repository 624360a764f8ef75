//! A Shelly of nothing but its manners: it says what it is in its firmware's words, and does what it is told.

use std::time::Duration;

use super::{
    super::super::{Appliance, Frame, StandIn, Waves},
    Order, Shelly,
};

/// How often it says how it is, as the first generation does.
const EVERY: Duration = Duration::from_secs(30);

/// What it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Thing {
    pub(super) is_on: bool,
    pub(super) brightness: u64,
    pub(super) position: u64,
    /// In °C, of a sensor.
    pub(super) degrees: f64,
}

impl Thing {
    fn obey(&mut self, order: Order) {
        match order {
            Order::Switch(is_on) => self.is_on = is_on,
            Order::Light { is_on, brightness } => {
                self.is_on = is_on.unwrap_or(self.is_on);
                self.brightness = brightness.unwrap_or(self.brightness);
            }
            Order::Open => self.position = 100,
            Order::Close => self.position = 0,
            // It is there at once.
            Order::Stop => {}
            Order::Position(position) => self.position = position,
        }
    }
}

pub(super) fn simulation(shelly: &Shelly) -> Box<dyn Appliance> {
    let thing = Thing { is_on: false, brightness: 50, position: 0, degrees: 21.0 };
    let (curve, speaker, listener) =
        (Waves::of(&shelly.id, 21.0, 2.0), shelly.dialect.copy(), shelly.dialect.copy());
    let says = move |thing: &mut Thing, round: u32| {
        thing.degrees = curve.rounded(round, EVERY, 1);
        speaker.say(thing)
    };
    let takes = move |thing: &mut Thing, frame: &Frame| {
        match listener.hear(frame) {
            Some(order) => thing.obey(order),
            None if listener.asks(frame) => {}
            None => return Err("a Shelly does not know this command".to_owned()),
        }
        Ok([listener.say(thing), listener.answer_to(frame, thing)].concat())
    };
    Box::new(StandIn::new(thing).says(says).every(EVERY).takes(takes))
}
