//! What stands in for a sensor that advertises: the frames that the air would bring, sealed if the device has a key.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::super::super::{
    Appliance, StandIn, Waves,
    ble::{BleChannel, channel::frame},
};
use crate::model::DeviceId;

/// Between two advertisements that say something new.
const PERIOD: Duration = Duration::from_secs(10);

/// What a sensor in a room measures.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Room {
    /// Hundredths of a degree.
    pub(in super::super) temperature: i16,
    /// Hundredths of a per cent.
    pub(in super::super) humidity: u16,
    pub(in super::super) battery: u8,
    /// Goes on for ever, also over a restart, as a sealed advertisement's must.
    pub(in super::super) counter: u32,
}

/// A sensor in a room, whose advertisements on a channel `says` makes.
pub(in super::super) fn in_a_room(
    device: &DeviceId,
    channel: BleChannel,
    says: impl Fn(Room) -> Vec<u8> + Send + 'static,
) -> Box<dyn Appliance> {
    let curves = (Waves::of(device, 21.0, 2.0), Waves::of(device, 45.0, 6.0), Waves::of(device, -67.0, 4.0));
    // Seconds fit until 2106, and there are more of them than rounds.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let first = u32::try_from(since.as_secs()).unwrap_or_default();
    let says = move |(temperature, humidity, signal): &mut (Waves, Waves, Waves), round| {
        let room = Room {
            // Neither leaves its type.
            temperature: (temperature.at(round, PERIOD) * 100.0) as i16,
            humidity: (humidity.at(round, PERIOD) * 100.0) as u16,
            battery: 93,
            counter: first.wrapping_add(round),
        };
        vec![frame(channel, Some(signal.at(round, PERIOD) as i8), &says(room))]
    };
    Box::new(StandIn::new(curves).says(says).every(PERIOD))
}
