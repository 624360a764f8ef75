//! A peripheral that is only played: it is connected, its numbers move, and it does what is written to it.

use std::{collections::BTreeMap, time::Duration};

use uuid::Uuid;

use super::{
    super::super::{
        Appliance, Frame,
        ble::channel::{self, BATTERY, CHARACTERISTIC, CONNECTION, Short, WRITE, frame},
        simulation::{StandIn, Waves},
    },
    BleGatt,
};

/// How often its numbers move.
const EVERY: Duration = Duration::from_secs(10);
/// How strong it comes in.
const SIGNAL: i8 = -58;

struct Played {
    /// The value of each characteristic.
    values: BTreeMap<Uuid, Vec<u8>>,
    wave: Waves,
}

pub(super) fn simulation(device: &BleGatt) -> Box<dyn Appliance> {
    let fields = device.fields.clone();
    let mut values = BTreeMap::new();
    for field in &fields {
        field.play(20.0, values.entry(field.uuid).or_default());
    }
    let says = move |played: &mut Played, round| {
        let number = played.wave.at(round, EVERY);
        for field in fields.iter().filter(|field| !field.is_writable()) {
            field.play(number, played.values.entry(field.uuid).or_default());
        }
        let connected = [frame(CONNECTION, Some(SIGNAL), &[]), frame(BATTERY, Some(SIGNAL), &[87])];
        let said = played.values.iter().map(|(uuid, value)| told(*uuid, value));
        connected.into_iter().filter(|_| round == 0).chain(said).collect()
    };
    let shown = device.characteristics.iter().filter(|one| one.shows_within.is_some());
    let shown: Vec<Uuid> = shown.map(|one| one.uuid).collect();
    let takes = move |played: &mut Played, order: &Frame| {
        let uuid = order.channel.strip_prefix(WRITE).and_then(channel::uuid);
        let uuid = uuid.ok_or_else(|| format!("`{}` is nothing of it", order.channel))?;
        played.values.insert(uuid, order.payload.to_vec());
        // As the bus does, which reads it back.
        Ok(if shown.contains(&uuid) { vec![told(uuid, &order.payload)] } else { Vec::new() })
    };
    let played = Played { values, wave: Waves::of(&device.id, 21.0, 2.0) };
    Box::new(StandIn::new(played).says(says).every(EVERY).takes(takes))
}

fn told(uuid: Uuid, value: &[u8]) -> Frame {
    frame(format!("{CHARACTERISTIC}{}", Short(uuid)), Some(SIGNAL), value)
}
