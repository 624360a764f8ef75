//! BTHome v2 (bthome.io): sensors, buttons and dimmers that say by themselves what they measure, plain or encrypted.

mod objects;

use std::{collections::BTreeSet, time::Duration};

use super::{
    super::{
        Appliance, Changes, Device, DeviceError, DeviceSpec, Frame, Plan, Presence, Wiring, ble::BleChannel,
        bus::ble::BleOptions, options::options_of_both,
    },
    advertiser::{Advertiser, Freshness, MIC, Seal, SealedOptions, WRONG_KEY, entities, put_signal},
};
use crate::model::{Entity, Fields, Request, Timestamp};

const SERVICE: u16 = 0xfcd2;
/// A day: many speak only when something moves.
const SILENCE: Duration = Duration::from_secs(86_400);
/// For how long a packet id stands for one advertisement. There are 256 of them, and some devices begin anew each
/// time they wake up.
const ONE_PACKET: Duration = Duration::from_secs(4);

struct BtHome {
    sensor: Advertiser,
    seal: Seal,
    freshness: Freshness,
    /// The last packet id, and when it came.
    packet: Option<(u8, Timestamp)>,
    /// What can happen on the device, as far as it is known: it never stays in the state.
    events: BTreeSet<String>,
}

pub(super) fn build(spec: &DeviceSpec) -> Result<Box<dyn Device>, DeviceError> {
    let (bus, mut options): (BleOptions, SealedOptions) = options_of_both(spec)?;
    let silence = options.offline_after.map_or(SILENCE, |span| span.0);
    let seal = options.seal(spec)?;
    let sensor = Advertiser::new(spec, bus, options.address, silence)?;
    let freshness = Freshness::new(options.replay_protection);
    Ok(Box::new(BtHome { sensor, seal, freshness, packet: None, events: BTreeSet::new() }))
}

/// The parts of an advertisement.
#[derive(Debug, PartialEq)]
struct Envelope<'a> {
    info: u8,
    /// The address that some say themselves; on the air, so the other way round.
    address: Option<[u8; 6]>,
    body: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// # Errors
    /// A sentence for people.
    fn open(data: &'a [u8]) -> Result<Self, &'static str> {
        let (&info, body) = data.split_first().ok_or("it is empty")?;
        if info >> 5 != 2 {
            return Err("it is not of version 2 of BTHome");
        }
        // Reserved by now, but still sent by devices of 2022.
        if info & 0b10 == 0 {
            return Ok(Self { info, address: None, body });
        }
        let (address, body) = body.split_first_chunk().ok_or("it is too short")?;
        Ok(Self { info, address: Some(*address), body })
    }

    fn is_sealed(&self) -> bool {
        self.info & 1 == 1
    }
}

impl BtHome {
    /// The objects of an advertisement, and its counter if it was sealed.
    fn payload(&self, data: &[u8]) -> Result<(Vec<u8>, Option<u32>), &'static str> {
        let envelope = Envelope::open(data)?;
        let Some(key) = self.seal.key(envelope.is_sealed())? else {
            return Ok((envelope.body.to_vec(), None));
        };
        // bthome.io/encryption: ciphertext, counter, integrity check.
        let (rest, mic) = envelope.body.split_last_chunk::<MIC>().ok_or("it is too short")?;
        let (ciphertext, counter) = rest.split_last_chunk::<4>().ok_or("it is too short")?;
        let mut address = envelope.address.unwrap_or(self.sensor.address_on_air());
        address.reverse();
        let nonce = [&address[..], &SERVICE.to_le_bytes(), &[envelope.info], counter].concat();
        let payload = key.open(&nonce, &[], &[ciphertext, mic].concat()).ok_or(WRONG_KEY)?;
        Ok((payload, Some(u32::from_le_bytes(*counter))))
    }

    /// Whether this packet was heard already, or one that came after it. The ids go round.
    fn is_old(&mut self, id: u8, now: Timestamp) -> bool {
        let is_old = self.packet.is_some_and(|(last, at)| {
            let is_near = now.since(at).is_some_and(|since| since <= ONE_PACKET);
            is_near && !(1..64).contains(&id.wrapping_sub(last))
        });
        if !is_old {
            self.packet = Some((id, now));
        }
        is_old
    }
}

impl Device for BtHome {
    fn wiring(&self) -> Wiring {
        self.sensor.wiring(BleChannel::service(SERVICE))
    }

    fn simulation(&self) -> Box<dyn Appliance> {
        let (seal, mut address) = (self.seal.clone(), self.sensor.address_on_air());
        address.reverse();
        self.sensor.simulation(BleChannel::service(SERVICE), move |room| {
            let ([a, b], [c, d]) = (room.temperature.to_le_bytes(), room.humidity.to_le_bytes());
            let counter = room.counter.to_le_bytes();
            let objects = [0x00, counter[0], 0x01, room.battery, 0x02, a, b, 0x03, c, d];
            let nonce = [&address[..], &SERVICE.to_le_bytes(), &[0x41], &counter].concat();
            match seal.seal(&nonce, &[], &objects) {
                Some((ciphertext, check)) => [&[0x41], &ciphertext[..], &counter, &check].concat(),
                None => [&[0x40], &objects[..]].concat(),
            }
        })
    }

    fn presence(&self) -> Presence {
        self.sensor.presence()
    }

    fn decode(&mut self, frame: &Frame, now: Timestamp) -> Result<Changes, DeviceError> {
        let heard = self.sensor.heard(frame)?;
        let (payload, counter) =
            self.payload(heard.data).map_err(|problem| self.sensor.unreadable(problem))?;
        let said = objects::read(&payload);
        if said.objects == 0 && !payload.is_empty() {
            return Err(self.sensor.unreadable("nothing in it is an object of BTHome"));
        }
        let mut fields = said.fields;
        if let Some(counter) = counter
            && !self.sensor.is_news(&mut self.freshness, counter, &mut fields)?
        {
            return Ok(Changes::none());
        }
        if said.packet_id.is_some_and(|id| self.is_old(id, now)) {
            return Ok(Changes::none());
        }
        // What happens may well happen twice.
        if counter.is_none() && said.events.is_empty() && self.sensor.is_repeated(heard.data, now) {
            return Ok(Changes::none());
        }
        self.events.extend(said.events);
        put_signal(&mut fields, heard);
        Ok(Changes::fields(fields))
    }

    fn encode(&self, request: &Request, _state: &Fields) -> Result<Plan, DeviceError> {
        Err(self.sensor.refuses(request))
    }

    fn restore(&mut self, last: &Fields) {
        self.freshness.restore(last);
    }

    fn entities(&self, state: &Fields) -> Vec<Entity> {
        entities(state, &self.events, objects::entity)
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) use tests::every_field;
