//! RuuviTag: the formats 3 and 5 of its advertisements (docs.ruuvi.com/communication/bluetooth-advertisements).
//!
//! What a tag does not have, or cannot measure now, is null. Units are those of Home Assistant: hPa and m/s²; the
//! voltage is in V as everywhere here.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::{
    super::{
        Appliance, Changes, Device, DeviceError, DeviceSpec, Frame, Plan, Presence, Span, Wiring,
        ble::{BleAddress, BleChannel},
        bus::ble::BleOptions,
        options::options_of_both,
    },
    advertiser::{Advertiser, put_signal, rounded, signal},
    values,
};
use crate::model::{Entity, Fields, Request, StateClass, Timestamp};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Its address.
    address: BleAddress,
    /// After which silence it counts as offline.
    #[serde(default)]
    offline_after: Option<Span>,
}

struct Ruuvi {
    tag: Advertiser,
}

/// Ruuvi Innovations (Bluetooth SIG, assigned numbers).
const COMPANY: u16 = 0x0499;
/// It advertises every 1.3 s, or every 2.6 s to 9 s to save its battery.
const SILENCE: Duration = Duration::from_secs(900);
/// Of the acceleration on earth, in m/s² (CGPM 1901).
const STANDARD_GRAVITY: f64 = 9.806_65;

pub(super) fn build(spec: &DeviceSpec) -> Result<Box<dyn Device>, DeviceError> {
    let (bus, options): (BleOptions, Options) = options_of_both(spec)?;
    let silence = options.offline_after.map_or(SILENCE, |span| span.0);
    Ok(Box::new(Ruuvi { tag: Advertiser::new(spec, bus, options.address, silence)? }))
}

/// What a measurement becomes; null where there is none.
fn put(fields: &mut Fields, name: &str, number: Option<f64>) {
    fields.insert(name.to_owned(), number.and_then(values::number).unwrap_or(Value::Null));
}

/// Three axes in thousandths of the standard gravity. If one is missing, all are.
fn put_acceleration(fields: &mut Fields, milli: [[u8; 2]; 3]) {
    let axes = milli.map(i16::from_be_bytes);
    let is_known = !axes.contains(&i16::MIN);
    let axes = axes.map(|axis| rounded(f64::from(axis) * STANDARD_GRAVITY / 1000.0, 2));
    for (name, axis) in ["acceleration_x", "acceleration_y", "acceleration_z"].into_iter().zip(axes) {
        put(fields, name, is_known.then_some(axis));
    }
    let total = axes.iter().map(|axis| axis * axis).sum::<f64>().sqrt();
    put(fields, "acceleration_total", is_known.then(|| rounded(total, 2)));
}

/// Format 5, "RAWv2": 24 bytes, big-endian; the largest number of a kind, or the smallest of a signed one, is "not
/// available".
fn format_5(data: &[u8; 24]) -> Fields {
    let mut fields = Fields::new();
    let word = |at: usize| u16::from_be_bytes([data[at], data[at + 1]]);
    let known = |word: u16| (word != u16::MAX).then_some(f64::from(word));
    let temperature = word(1).cast_signed();
    let temperature = (temperature != i16::MIN).then(|| rounded(f64::from(temperature) / 200.0, 2));
    put(&mut fields, "temperature", temperature);
    put(&mut fields, "humidity", known(word(3)).map(|steps| rounded(steps / 400.0, 2)));
    put(&mut fields, "pressure", known(word(5)).map(|pascal| rounded((pascal + 50_000.0) / 100.0, 2)));
    put_acceleration(&mut fields, [[data[7], data[8]], [data[9], data[10]], [data[11], data[12]]]);
    let (voltage, power) = (word(13) >> 5, word(13) & 0x1f);
    put(&mut fields, "voltage", (voltage != 0x7ff).then(|| f64::from(voltage + 1600) / 1000.0));
    put(&mut fields, "tx_power", (power != 0x1f).then(|| f64::from(power) * 2.0 - 40.0));
    put(&mut fields, "movement_counter", (data[15] != u8::MAX).then_some(f64::from(data[15])));
    put(&mut fields, "measurement_sequence", known(word(16)));
    fields
}

/// Format 3, "RAWv1": 14 bytes, of firmware before 2018.
fn format_3(data: &[u8; 14]) -> Fields {
    let mut fields = Fields::new();
    let word = |at: usize| f64::from(u16::from_be_bytes([data[at], data[at + 1]]));
    put(&mut fields, "humidity", (data[1] <= 200).then_some(f64::from(data[1]) / 2.0));
    // A sign, whole degrees, and hundredths.
    let degrees = f64::from(data[2] & 0x7f) + f64::from(data[3]) / 100.0;
    let degrees = if data[2] & 0x80 == 0 { degrees } else { -degrees };
    put(&mut fields, "temperature", (data[3] < 100).then(|| rounded(degrees, 2)));
    put(&mut fields, "pressure", Some(rounded((word(4) + 50_000.0) / 100.0, 2)));
    put_acceleration(&mut fields, [[data[6], data[7]], [data[8], data[9]], [data[10], data[11]]]);
    put(&mut fields, "voltage", Some(word(12) / 1000.0));
    fields
}

/// # Errors
/// A sentence for people.
fn read(data: &[u8]) -> Result<Fields, &'static str> {
    match data.first() {
        Some(3) => data.try_into().map(format_3).map_err(|_| "it has not the 14 bytes of format 3"),
        Some(5) => data.try_into().map(format_5).map_err(|_| "it has not the 24 bytes of format 5"),
        Some(_) => Err("it is of a format that is not known; 3 and 5 are"),
        None => Err("it is empty"),
    }
}

impl Device for Ruuvi {
    fn wiring(&self) -> Wiring {
        self.tag.wiring(BleChannel::ManufacturerData(COMPANY))
    }

    fn simulation(&self) -> Box<dyn Appliance> {
        let address = self.tag.address();
        self.tag.simulation(BleChannel::ManufacturerData(COMPANY), move |room| {
            let (temperature, humidity) =
                (room.temperature.saturating_mul(2), room.humidity.saturating_mul(4));
            // The number of the measurement has 16 bits, and 65535 is none.
            let number = u16::try_from(room.counter % 0xffff).unwrap_or_default();
            let words = [temperature.cast_unsigned(), humidity, 51_325, 4, 0xfffc, 0x040c, 0xac36];
            let words = words.into_iter().flat_map(u16::to_be_bytes);
            [5].into_iter().chain(words).chain([66]).chain(number.to_be_bytes()).chain(address).collect()
        })
    }

    fn presence(&self) -> Presence {
        self.tag.presence()
    }

    fn decode(&mut self, frame: &Frame, now: Timestamp) -> Result<Changes, DeviceError> {
        let heard = self.tag.heard(frame)?;
        let mut fields = read(heard.data).map_err(|problem| self.tag.unreadable(problem))?;
        // Each measurement has a number, and is sent more than once.
        if self.tag.is_repeated(heard.data, now) {
            return Ok(Changes::none());
        }
        put_signal(&mut fields, heard);
        Ok(Changes::fields(fields))
    }

    fn encode(&self, request: &Request, _state: &Fields) -> Result<Plan, DeviceError> {
        Err(self.tag.refuses(request))
    }

    fn entities(&self, state: &Fields) -> Vec<Entity> {
        let acceleration = |axis: &str| {
            let field = format!("acceleration_{axis}");
            Entity::sensor(field).unit("m/s²").stated(StateClass::Measurement)
        };
        let mut entities = vec![
            Entity::measurement("temperature", "temperature", "°C").precision(2),
            Entity::measurement("humidity", "humidity", "%").precision(2),
            Entity::measurement("pressure", "atmospheric_pressure", "hPa").precision(2),
            Entity::measurement("voltage", "voltage", "V").precision(3).diagnostic(),
            signal(),
        ];
        entities.extend(["x", "y", "z", "total"].map(acceleration));
        if state.contains_key("movement_counter") {
            entities.push(Entity::sensor("movement_counter").stated(StateClass::TotalIncreasing));
            entities.push(Entity::measurement("tx_power", "signal_strength", "dBm").diagnostic());
        }
        entities
    }
}

#[cfg(test)]
mod tests;
