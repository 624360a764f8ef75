//! Xiaomi's and others' thermometers with the firmware of ATC1441 or of PVVX, in their own formats.
//!
//! Both stand behind the service 0x181A, plain or encrypted, and are told apart by their length
//! (github.com/pvvx/ATC_MiThermometer, README and `src/custom_beacon.h`). The counter of the encrypted ones has eight
//! bits and comes round every few minutes, so there is no protection against recordings: where that matters, the same
//! firmware sends BTHome.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

use super::{
    super::{
        Appliance, Changes, Device, DeviceError, DeviceSpec, Frame, Plan, Presence, Span, Wiring,
        ble::{BleAddress, BleChannel},
        bus::ble::BleOptions,
        options::options_of_both,
    },
    advertiser::{Advertiser, BindKey, MIC, Seal, WRONG_KEY, put_signal, rounded, signal},
    values,
};
use crate::model::{Entity, Fields, Request, Timestamp};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Its address.
    address: BleAddress,
    /// The key, 32 hexadecimal digits.
    #[serde(default)]
    bind_key: Option<BindKey>,
    /// Instead: a file with the key in its first line, which only its owner may read.
    #[serde(default)]
    bind_key_file: Option<PathBuf>,
    /// Whether it encrypts. Default: if there is a key.
    #[serde(default)]
    encrypted: Option<bool>,
    /// After which silence it counts as offline.
    #[serde(default)]
    offline_after: Option<Span>,
}

struct Atc {
    sensor: Advertiser,
    seal: Seal,
}

const SERVICE: u16 = 0x181a;
/// It advertises every few seconds.
const SILENCE: Duration = Duration::from_secs(900);

pub(super) fn build(spec: &DeviceSpec) -> Result<Box<dyn Device>, DeviceError> {
    let (bus, options): (BleOptions, Options) = options_of_both(spec)?;
    let silence = options.offline_after.map_or(SILENCE, |span| span.0);
    let seal = Seal::given(spec, options.bind_key, options.bind_key_file.as_deref(), options.encrypted)?;
    Ok(Box::new(Atc { sensor: Advertiser::new(spec, bus, options.address, silence)?, seal }))
}

/// What a thermometer says. The plain ones say the voltage, too, in mV.
struct Said {
    temperature: f64,
    humidity: f64,
    battery: u8,
    voltage: Option<u16>,
}

impl Said {
    /// The degrees and per cents in steps of so many decimals.
    fn new((temperature, humidity): (i16, u16), decimals: i32, battery: u8, voltage: Option<u16>) -> Self {
        let one = 10f64.powi(decimals);
        Self {
            temperature: f64::from(temperature) / one,
            humidity: f64::from(humidity) / one,
            battery,
            voltage,
        }
    }

    /// Half degrees from -40 on and half per cents; the battery's highest bit says that a trigger is on.
    fn half([temperature, humidity, battery]: [u8; 3]) -> Self {
        let temperature = (i16::from(temperature) - 80) * 5;
        Self::new((temperature, u16::from(humidity) * 5), 1, battery & 0x7f, None)
    }

    fn fields(&self) -> Fields {
        let voltage = self.voltage.map(|voltage| f64::from(voltage) / 1000.0);
        let numbers = [
            ("temperature", Some(self.temperature)),
            ("humidity", Some(self.humidity)),
            ("battery", Some(f64::from(self.battery))),
            ("voltage", voltage),
        ];
        let known = numbers.into_iter().filter_map(|(name, number)| Some((name, number?)));
        known
            .filter_map(|(name, number)| Some((name.to_owned(), values::number(rounded(number, 3))?)))
            .collect()
    }
}

const TOO_SHORT: &str =
    "it is neither of ATC1441's nor of PVVX's format; the firmware has others, such as BTHome";
const ANOTHER: &str = "another address stands in it than it came from";

/// How the nonce goes on behind the address: with the beginning of the advertisement's own structure, its length, its
/// type (service data) and the service.
fn head(length: u8, counter: u8) -> [u8; 5] {
    let [low, high] = SERVICE.to_le_bytes();
    [length + 3, 0x16, low, high, counter]
}

impl Atc {
    /// # Errors
    /// A sentence for people.
    fn read(&self, data: &[u8]) -> Result<Said, &'static str> {
        match data.len() {
            8 | 11 => self.sealed(data),
            13 => {
                let data: &[u8; 13] = data.try_into().map_err(|_| TOO_SHORT)?;
                self.plain(&data[..6], self.sensor.address())?;
                let [_, _, _, _, _, _, t, emperature, humidity, battery, v, oltage, _] = *data;
                let temperature = i16::from_be_bytes([t, emperature]);
                let voltage = u16::from_be_bytes([v, oltage]);
                // Whole per cents.
                let measured = (temperature, u16::from(humidity) * 10);
                Ok(Said::new(measured, 1, battery, Some(voltage)))
            }
            // Older ones have no flags at their end.
            14 | 15 => {
                let (address, data) = data.split_at(6);
                self.plain(address, self.sensor.address_on_air())?;
                let word = |at: usize| u16::from_le_bytes([data[at], data[at + 1]]);
                Ok(Said::new((word(0).cast_signed(), word(2)), 2, data[6], Some(word(4))))
            }
            _ => Err(TOO_SHORT),
        }
    }

    /// Whether a plain one may come, and says the address that it comes from.
    fn plain(&self, address: &[u8], own: [u8; 6]) -> Result<(), &'static str> {
        self.seal.key(false)?;
        if address == own { Ok(()) } else { Err(ANOTHER) }
    }

    fn sealed(&self, data: &[u8]) -> Result<Said, &'static str> {
        let key = self.seal.key(true)?.ok_or(WRONG_KEY)?;
        let (counter, sealed) = data.split_first().ok_or(TOO_SHORT)?;
        let length = u8::try_from(data.len()).map_err(|_| TOO_SHORT)?;
        let nonce = [&self.sensor.address_on_air()[..], &head(length, *counter)].concat();
        let opened = key.open(&nonce, &[0x11], sealed).ok_or(WRONG_KEY)?;
        debug_assert_eq!(opened.len(), sealed.len() - MIC, "what is opened lacks the integrity check alone");
        match *opened {
            [temperature, humidity, battery] => Ok(Said::half([temperature, humidity, battery])),
            [a, b, c, d, battery, _] => {
                let measured = (i16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
                Ok(Said::new(measured, 2, battery, None))
            }
            _ => Err(TOO_SHORT),
        }
    }
}

impl Device for Atc {
    fn wiring(&self) -> Wiring {
        self.sensor.wiring(BleChannel::service(SERVICE))
    }

    fn simulation(&self) -> Box<dyn Appliance> {
        let (seal, address) = (self.seal.clone(), self.sensor.address_on_air());
        self.sensor.simulation(BleChannel::service(SERVICE), move |room| {
            let ([a, b], [c, d]) = (room.temperature.to_le_bytes(), room.humidity.to_le_bytes());
            let [counter, ..] = room.counter.to_le_bytes();
            let nonce = [&address[..], &head(11, counter)].concat();
            match seal.seal(&nonce, &[0x11], &[a, b, c, d, room.battery, 0]) {
                Some((ciphertext, check)) => [&[counter], &ciphertext[..], &check].concat(),
                // 2.95 V.
                None => [&address[..], &[a, b, c, d, 0x86, 0x0b, room.battery, counter, 0]].concat(),
            }
        })
    }

    fn presence(&self) -> Presence {
        self.sensor.presence()
    }

    fn decode(&mut self, frame: &Frame, now: Timestamp) -> Result<Changes, DeviceError> {
        let heard = self.sensor.heard(frame)?;
        let said = self.read(heard.data).map_err(|problem| self.sensor.unreadable(problem))?;
        // Each measurement has a number, and is sent more than once.
        if self.sensor.is_repeated(heard.data, now) {
            return Ok(Changes::none());
        }
        let mut fields = said.fields();
        put_signal(&mut fields, heard);
        Ok(Changes::fields(fields))
    }

    fn encode(&self, request: &Request, _state: &Fields) -> Result<Plan, DeviceError> {
        Err(self.sensor.refuses(request))
    }

    fn entities(&self, state: &Fields) -> Vec<Entity> {
        let mut entities = vec![
            Entity::measurement("temperature", "temperature", "°C").precision(1),
            Entity::measurement("humidity", "humidity", "%").precision(0),
            Entity::measurement("battery", "battery", "%").diagnostic(),
            signal(),
        ];
        if state.contains_key("voltage") {
            entities.push(Entity::measurement("voltage", "voltage", "V").precision(3).diagnostic());
        }
        entities
    }
}

#[cfg(test)]
mod tests;
