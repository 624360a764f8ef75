//! A Bluetooth LE peripheral that is connected, by the characteristics that its maker wrote down.
//!
//! What can be read is read after connecting, and then as it says by itself (`notify`) or as often as wanted. What is
//! ordered counts as done only when the characteristic, read back by the bus or notified, shows it.

mod field;
mod simulation;

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use self::field::Field;
use super::super::{
    Appliance, Changes, Device, DeviceError, DeviceSpec, Frame, Plan, Presence, Span, Wiring,
    ble::{
        BleAddress, BlePeer, BleSettings, Characteristic, Heard,
        channel::{self, BATTERY, CHARACTERISTIC, CONNECTION, MISSING, Short, WRITE},
    },
    bus::ble::BleOptions,
    options::options_of_both,
};
use crate::model::{Availability, DeviceId, Entity, Fields, Request, Timestamp};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    address: BleAddress,
    characteristics: Vec<field::Options>,
    /// How long the peripheral may take to show what was ordered.
    #[serde(default = "confirm_within")]
    confirm_within: Span,
}

fn confirm_within() -> Span {
    Span(Duration::from_secs(3))
}

struct BleGatt {
    id: DeviceId,
    settings: BleSettings,
    address: BleAddress,
    fields: Vec<Field>,
    characteristics: Vec<Characteristic>,
    confirm_within: Duration,
}

pub(super) fn build(spec: &DeviceSpec) -> Result<Box<dyn Device>, DeviceError> {
    let (bus, options): (BleOptions, Options) = options_of_both(spec)?;
    let settings = BleSettings::new(spec, bus)?;
    if options.characteristics.is_empty() {
        return Err(DeviceError::bad_option(&spec.id, "characteristics", "name at least one"));
    }
    let (mut fields, mut characteristics): (Vec<Field>, Vec<Characteristic>) = (Vec::new(), Vec::new());
    for (index, one) in options.characteristics.iter().enumerate() {
        let bad = |(option, problem): (&str, String)| {
            DeviceError::bad_option(&spec.id, &format!("characteristics[{index}].{option}"), problem)
        };
        let (field, characteristic) = Field::new(one, options.confirm_within.0).map_err(bad)?;
        if fields.iter().any(|other| other.name == field.name) {
            return Err(bad(("field", format!("`{}` stands twice", field.name))));
        }
        let shares =
            |other: &&Field| other.uuid == field.uuid && (other.is_writable() || field.is_writable());
        if let Some(other) = fields.iter().find(shares) {
            let problem = format!(
                "`{}` stands in this characteristic, too, and one that is written has one field",
                other.name
            );
            return Err(bad(("writable", problem)));
        }
        field::merge(&mut characteristics, characteristic).map_err(bad)?;
        fields.push(field);
    }
    Ok(Box::new(BleGatt {
        id: spec.id.clone(),
        settings,
        address: options.address,
        fields,
        characteristics,
        confirm_within: options.confirm_within.0,
    }))
}

impl BleGatt {
    /// The fields that stand in the characteristic behind `prefix`.
    fn behind<'a>(&'a self, channel: &'a str, prefix: &str) -> Option<impl Iterator<Item = &'a Field>> {
        let uuid = channel::uuid(channel.strip_prefix(prefix)?)?;
        Some(self.fields.iter().filter(move |field| field.uuid == uuid))
    }

    fn values(&self, channel: &str, data: &[u8]) -> Result<Fields, DeviceError> {
        let unreadable = |problem: &str| DeviceError::unreadable(&self.id, channel, problem);
        if channel == BATTERY {
            let percent = data.first().ok_or_else(|| unreadable("it is empty"))?;
            return Ok(Fields::from_iter([("battery".to_owned(), Value::from(*percent))]));
        }
        let unread = |field: &Field, problem: &str| DeviceError::unread(&self.id, &field.name, problem);
        if let Some(mut fields) = self.behind(channel, MISSING) {
            let problem = std::str::from_utf8(data).unwrap_or("it cannot be had");
            return Err(fields.next().map_or_else(|| unreadable(problem), |field| unread(field, problem)));
        }
        let fields =
            self.behind(channel, CHARACTERISTIC).ok_or_else(|| unreadable("nothing of it is wanted"))?;
        fields
            .map(|field| match field.read(data) {
                Ok(value) => Ok((field.name.clone(), value)),
                Err(problem) => Err(unread(field, &problem)),
            })
            .collect()
    }
}

impl Device for BleGatt {
    fn wiring(&self) -> Wiring {
        let peer =
            BlePeer::Peripheral { address: self.address, characteristics: self.characteristics.clone() };
        Wiring::Ble { settings: self.settings.clone(), peer }
    }

    fn simulation(&self) -> Box<dyn Appliance> {
        simulation::simulation(self)
    }

    /// By its connection.
    fn presence(&self) -> Presence {
        Presence::Announced
    }

    fn decode(&mut self, frame: &Frame, _now: Timestamp) -> Result<Changes, DeviceError> {
        let channel = &*frame.channel;
        let heard =
            Heard::of(frame).ok_or_else(|| DeviceError::unreadable(&self.id, channel, "it is empty"))?;
        let mut changes = if channel == CONNECTION {
            Changes::availability(Availability::Online)
        } else {
            Changes::fields(self.values(channel, heard.data)?)
        };
        if let Some(signal) = heard.signal {
            changes.fields.insert("signal".to_owned(), signal.into());
        }
        Ok(changes)
    }

    fn encode(&self, request: &Request, _state: &Fields) -> Result<Plan, DeviceError> {
        let (mut writes, mut wanted) = (Vec::new(), Vec::new());
        for (name, value) in request.fields() {
            let impossible = |problem: &str| DeviceError::impossible(&self.id, name, problem);
            let field = self.fields.iter().find(|field| field.name == *name);
            let field = field.ok_or_else(|| impossible("the device has no such field"))?;
            let bytes = field.bytes(value).map_err(|problem| impossible(&problem))?;
            writes.push(Frame::new(&format!("{WRITE}{}", Short(field.uuid)), bytes));
            if field.is_confirmed {
                wanted.push((field.clone(), value.clone()));
            }
        }
        if wanted.is_empty() {
            return Ok(Plan::sent(writes, "it was written; the peripheral is not asked whether it did it"));
        }
        let shows = move |seen: &Fields| {
            wanted
                .iter()
                .all(|(field, value)| seen.get(&field.name).is_some_and(|seen| field.shows(seen, value)))
        };
        Ok(Plan::confirmed(writes, self.confirm_within, shows).saying("read back, the peripheral shows it"))
    }

    fn entities(&self, state: &Fields) -> Vec<Entity> {
        let signal = Entity::measurement("signal", "signal_strength", "dBm").diagnostic();
        let battery = Entity::measurement("battery", "battery", "%").diagnostic();
        let battery = state.contains_key("battery").then_some(battery);
        self.fields.iter().map(Field::entity).chain([signal]).chain(battery).collect()
    }
}

#[cfg(test)]
mod tests;
