//! Presence by an iBeacon: a tag on a key ring, or a telephone that sends as one, is at home or away.
//!
//! It is known by its UUID and, if they are given, its major and minor numbers, whatever its address: telephones change
//! theirs. How far away it is, nobody can say by a signal; its strength is a field, and what it means is the reader's.
//! Away is what the bus says after a silence in which it heard others (its frame `silence`): a Bluetooth adapter that is
//! gone sends nobody away. Anybody can send as somebody else's beacon: nothing should be unlocked by it.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, de};
use uuid::Uuid;

use super::{
    super::{
        Appliance, Changes, Device, DeviceError, DeviceSpec, Frame, Plan, Presence, Span, StandIn, Waves,
        Wiring,
        ble::{
            BleAddress, BleChannel, BlePeer, BleSettings, Heard,
            channel::{SILENCE, frame, frame_of},
        },
        bus::ble::BleOptions,
        options::options_of_both,
    },
    advertiser::{put_signal, signal},
};
use crate::model::{DeviceId, Entity, Fields, Platform, Request, Timestamp};

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    uuid: BeaconUuid,
    #[serde(default)]
    major: Option<u16>,
    /// Counts only together with `major`.
    #[serde(default)]
    minor: Option<u16>,
    /// After which silence it is away.
    #[serde(default = "away_after")]
    away_after: Span,
}

/// Telephones with their display off send only now and then.
fn away_after() -> Span {
    Span(Duration::from_secs(180))
}

/// A UUID as people write it, with or without dashes.
#[derive(Debug, Clone, Copy)]
struct BeaconUuid(Uuid);

impl<'de> Deserialize<'de> for BeaconUuid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // Without the forms in braces and as URN that the crate takes, too.
        let uuid = [32, 36].contains(&text.len()).then(|| Uuid::try_parse(&text).ok()).flatten();
        uuid.map(Self).ok_or_else(|| {
            let example = "2f234454-cf6d-4a0f-adf2-f4911ba9ffa6";
            de::Error::custom(format!(
                "`{text}` is no UUID; write it as the beacon's app shows it: `{example}`"
            ))
        })
    }
}

struct IBeacon {
    id: DeviceId,
    settings: BleSettings,
    options: Options,
    /// When it was last told that it is at home; `None` while it is not.
    told: Option<Timestamp>,
}

/// Apple (Bluetooth SIG, assigned numbers).
const COMPANY: u16 = 0x004c;
/// An iBeacon, and how many bytes follow (Apple, Proximity Beacon Specification, R1).
const IBEACON: [u8; 2] = [0x02, 0x15];
const LEAST: Duration = Duration::from_secs(10);
const SIMULATED_EVERY: Duration = Duration::from_secs(10);
/// A beacon sends up to ten times a second; how strong it comes is told so often while it is there.
const EVERY: Duration = Duration::from_secs(30);

pub(super) fn build(spec: &DeviceSpec) -> Result<Box<dyn Device>, DeviceError> {
    let (bus, options): (BleOptions, Options) = options_of_both(spec)?;
    let bad = |option: &str, problem: &str| Err(DeviceError::bad_option(&spec.id, option, problem));
    if options.minor.is_some() && options.major.is_none() {
        return bad("minor", "it counts within a `major`, which is missing");
    }
    if options.away_after.0 < LEAST {
        return bad("away_after", "beacons are not heard each time that they send; write `10s` or more");
    }
    Ok(Box::new(IBeacon { id: spec.id.clone(), settings: BleSettings::new(spec, bus)?, options, told: None }))
}

impl IBeacon {
    /// What every advertisement of it begins with.
    fn prefix(&self) -> Bytes {
        let numbers =
            [self.options.major, self.options.minor].into_iter().flatten().flat_map(u16::to_be_bytes);
        IBEACON.into_iter().chain(*self.options.uuid.0.as_bytes()).chain(numbers).collect()
    }

    fn presence(presence: &str) -> Fields {
        Fields::from_iter([("presence".to_owned(), presence.into())])
    }
}

impl Device for IBeacon {
    fn wiring(&self) -> Wiring {
        let peer = BlePeer::Anyone {
            channel: BleChannel::ManufacturerData(COMPANY),
            prefix: self.prefix(),
            silent_after: Some(self.options.away_after.0),
        };
        Wiring::Ble { settings: self.settings.clone(), peer }
    }

    fn simulation(&self) -> Box<dyn Appliance> {
        let (options, signal) = (self.options, Waves::of(&self.id, -72.0, 6.0));
        let numbers = [options.major.unwrap_or(1), options.minor.unwrap_or(1)];
        let data: Vec<u8> = (IBEACON.into_iter().chain(*options.uuid.0.as_bytes()))
            .chain(numbers.into_iter().flat_map(u16::to_be_bytes))
            .chain([0xc5])
            .collect();
        // Five minutes at home, five minutes away.
        let says = move |signal: &mut Waves, round: u32| {
            let address = BleAddress([0xd0, 0x0b, 0, 0, 0, 1]);
            let heard = signal.at(round, SIMULATED_EVERY) as i8;
            match round % 60 {
                0..30 => vec![frame_of(BleChannel::ManufacturerData(COMPANY), Some(heard), address, &data)],
                30 => vec![Frame { retained: true, ..frame(SILENCE, None, &[]) }],
                _ => Vec::new(),
            }
        };
        Box::new(StandIn::new(signal).says(says).every(SIMULATED_EVERY))
    }

    fn presence(&self) -> Presence {
        // To be away is no fault.
        Presence::Assumed
    }

    fn decode(&mut self, frame: &Frame, now: Timestamp) -> Result<Changes, DeviceError> {
        if &*frame.channel == SILENCE {
            self.told = None;
            return Ok(Changes::fields(Self::presence("away")));
        }
        let unreadable = |problem: &str| DeviceError::unreadable(&self.id, "advertisement", problem);
        let (_, heard) = Heard::of_anyone(frame).ok_or_else(|| unreadable("it is too short"))?;
        // Company's number and length aside: UUID, major, minor, and the strength a metre away.
        let data: &[u8; 23] = heard.data.first_chunk().ok_or_else(|| unreadable("it is no iBeacon"))?;
        if !data.starts_with(&self.prefix()) {
            return Err(unreadable("it is another beacon's"));
        }
        if self.told.is_some_and(|told| now.since(told).is_some_and(|since| since < EVERY)) {
            return Ok(Changes::none());
        }
        self.told = Some(now);
        let mut fields = Self::presence("home");
        fields.insert("major".to_owned(), u16::from_be_bytes([data[18], data[19]]).into());
        fields.insert("minor".to_owned(), u16::from_be_bytes([data[20], data[21]]).into());
        put_signal(&mut fields, heard);
        Ok(Changes::fields(fields))
    }

    fn encode(&self, request: &Request, _state: &Fields) -> Result<Plan, DeviceError> {
        Err(DeviceError::impossible(&self.id, request.first_field(), "a beacon is only heard"))
    }

    fn entities(&self, _state: &Fields) -> Vec<Entity> {
        let tracker = Platform::DeviceTracker { home: "home".into(), not_home: "away".into() };
        vec![Entity::new("presence", tracker), signal()]
    }
}

#[cfg(test)]
mod tests;
