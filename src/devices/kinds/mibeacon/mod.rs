//! Xiaomi's, Qingping's, Linptech's and others' sensors with the firmware that they come with: MiBeacon 2 to 5.
//!
//! Plain, or encrypted as from version 4 on, with a check of four bytes. The encryption of versions 2 and 3 has no
//! check: whatever comes becomes a reading, so it is refused.

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

struct MiBeacon {
    sensor: Advertiser,
    seal: Seal,
    freshness: Freshness,
    /// What can happen on the device, as far as it is known: it never stays in the state.
    events: BTreeSet<String>,
}

const SERVICE: u16 = 0xfe95;
/// A day: many speak only when something moves.
const SILENCE: Duration = Duration::from_secs(86_400);

pub(super) fn build(spec: &DeviceSpec) -> Result<Box<dyn Device>, DeviceError> {
    let (bus, mut options): (BleOptions, SealedOptions) = options_of_both(spec)?;
    let silence = options.offline_after.map_or(SILENCE, |span| span.0);
    let seal = options.seal(spec)?;
    let sensor = Advertiser::new(spec, bus, options.address, silence)?;
    let freshness = Freshness::new(options.replay_protection);
    Ok(Box::new(MiBeacon { sensor, seal, freshness, events: BTreeSet::new() }))
}

/// The parts of an advertisement. Its head is: control (two bytes), product (two), counter; then come, if the control
/// says so, the address, capabilities and objects.
#[derive(Debug, PartialEq)]
struct Envelope<'a> {
    version: u16,
    is_sealed: bool,
    head: &'a [u8; 5],
    address: Option<&'a [u8; 6]>,
    /// `None`: there are no objects in it.
    body: Option<&'a [u8]>,
}

const TOO_SHORT: &str = "it is too short";

impl<'a> Envelope<'a> {
    /// # Errors
    /// A sentence for people.
    fn open(data: &'a [u8]) -> Result<Self, &'static str> {
        let (head, mut rest) = data.split_first_chunk::<5>().ok_or(TOO_SHORT)?;
        let control = u16::from_le_bytes([head[0], head[1]]);
        let has = |bit: u32| control >> bit & 1 == 1;
        let version = control >> 12;
        if has(7) {
            return Err("it is part of a mesh, which is another protocol");
        }
        if !(2..=5).contains(&version) {
            return Err("it is of a version of MiBeacon that is not known; 2 to 5 are");
        }
        let mut address = None;
        if has(4) {
            let (own, behind) = rest.split_first_chunk::<6>().ok_or(TOO_SHORT)?;
            (address, rest) = (Some(own), behind);
        }
        if has(5) {
            let (capability, behind) = rest.split_first().ok_or(TOO_SHORT)?;
            // Input and output: a byte more.
            rest = if capability & 0x20 == 0 { behind } else { behind.get(1..).ok_or(TOO_SHORT)? };
        }
        Ok(Self { version, is_sealed: has(3), head, address, body: has(6).then_some(rest) })
    }

    fn product(&self) -> objects::Product {
        u16::from_le_bytes([self.head[2], self.head[3]])
    }
}

impl MiBeacon {
    /// The objects of an advertisement, and its counter if it was sealed.
    fn payload(&self, envelope: &Envelope<'_>, body: &[u8]) -> Result<(Vec<u8>, Option<u32>), &'static str> {
        if envelope.is_sealed && envelope.version < 4 {
            return Err(
                "it is encrypted as MiBeacon 2 and 3 do it, where nobody can see whether it is right; it cannot be used",
            );
        }
        let Some(key) = self.seal.key(envelope.is_sealed)? else { return Ok((body.to_vec(), None)) };
        let (rest, mic) = body.split_last_chunk::<MIC>().ok_or(TOO_SHORT)?;
        let (ciphertext, upper) = rest.split_last_chunk::<3>().ok_or(TOO_SHORT)?;
        let [.., low, high, counter] = *envelope.head;
        let nonce = [&self.sensor.address_on_air()[..], &[low, high, counter], upper].concat();
        let payload = key.open(&nonce, &[0x11], &[ciphertext, mic].concat()).ok_or(WRONG_KEY)?;
        Ok((payload, Some(u32::from_le_bytes([counter, upper[0], upper[1], upper[2]]))))
    }
}

impl Device for MiBeacon {
    fn wiring(&self) -> Wiring {
        self.sensor.wiring(BleChannel::service(SERVICE))
    }

    fn simulation(&self) -> Box<dyn Appliance> {
        let (seal, address) = (self.seal.clone(), self.sensor.address_on_air());
        self.sensor.simulation(BleChannel::service(SERVICE), move |room| {
            let tenths = (room.temperature / 10, room.humidity / 10);
            let ([a, b], [c, d]) = (tenths.0.to_le_bytes(), tenths.1.to_le_bytes());
            let objects = [0x0d, 0x10, 4, a, b, c, d, 0x0a, 0x10, 1, room.battery];
            let [counter, upper @ ..] = room.counter.to_le_bytes();
            // LYWSDCGQ, version 5, with objects and perhaps sealed.
            let head = |control| [control, 0x50, 0xaa, 0x01, counter];
            let nonce = [&address[..], &[0xaa, 0x01, counter], &upper].concat();
            match seal.seal(&nonce, &[0x11], &objects) {
                Some((ciphertext, check)) => [&head(0x48)[..], &ciphertext, &upper, &check].concat(),
                None => [&head(0x40)[..], &objects].concat(),
            }
        })
    }

    fn presence(&self) -> Presence {
        self.sensor.presence()
    }

    fn decode(&mut self, frame: &Frame, now: Timestamp) -> Result<Changes, DeviceError> {
        let heard = self.sensor.heard(frame)?;
        let envelope = Envelope::open(heard.data).map_err(|problem| self.sensor.unreadable(problem))?;
        if envelope.address.is_some_and(|address| *address != self.sensor.address_on_air()) {
            return Err(self.sensor.unreadable("another address stands in it than it came from"));
        }
        // A sign of life, but of nothing else; even devices that encrypt send it plain.
        let Some(body) = envelope.body else { return Ok(Changes::none()) };
        let (payload, counter) =
            self.payload(&envelope, body).map_err(|problem| self.sensor.unreadable(problem))?;
        let said = objects::read(&payload, envelope.product());
        if let (true, Some(id)) = (said.fields.is_empty(), said.unknown) {
            return Err(self.sensor.unreadable(format!("nothing is known of its object 0x{id:04x}")));
        }
        let mut fields = said.fields;
        if let Some(counter) = counter
            && !self.sensor.is_news(&mut self.freshness, counter, &mut fields)?
        {
            return Ok(Changes::none());
        }
        if counter.is_none() && self.sensor.is_repeated(heard.data, now) {
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
