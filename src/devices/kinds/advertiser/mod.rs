//! What all kinds have in common that listen to the advertisements of one sensor.
//!
//! Owns their options, how a frame is taken apart, and what is believed: nothing plain where a key is given, nothing
//! sealed that the key does not open, and no counter that goes back. Never knows what stands in an advertisement.

mod bind_key;
mod freshness;
pub(super) mod simulation;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use serde_json::Value;

use self::freshness::Verdict;
pub(super) use self::{
    bind_key::{BindKey, MIC},
    freshness::{Freshness, ReplayProtection},
};
use super::super::{
    Appliance, DeviceError, DeviceSpec, Frame, Presence, Span, Wiring,
    ble::{BleAddress, BleChannel, BlePeer, BleSettings, Heard},
    bus::ble::BleOptions,
};
use crate::model::{DeviceId, Entity, Fields, Request, Timestamp};

/// A sensor that only advertises.
pub(super) struct Advertiser {
    id: DeviceId,
    settings: BleSettings,
    address: BleAddress,
    silence: Duration,
    /// The bytes that were told last, and when.
    last: Option<(Vec<u8>, Timestamp)>,
}

/// So often the same is told again: some say every second what they measure every minute.
const AGAIN: Duration = Duration::from_secs(60);

impl Advertiser {
    /// `silence` is after how much of it the sensor counts as offline.
    ///
    /// # Errors
    /// [`DeviceError::BadOption`] for what the bus cannot do.
    pub(super) fn new(
        spec: &DeviceSpec,
        bus: BleOptions,
        address: BleAddress,
        silence: Duration,
    ) -> Result<Self, DeviceError> {
        let settings = BleSettings::new(spec, bus)?;
        Ok(Self { id: spec.id.clone(), settings, address, silence, last: None })
    }

    /// What stands in for it: a sensor in a room.
    pub(super) fn simulation(
        &self,
        channel: BleChannel,
        says: impl Fn(simulation::Room) -> Vec<u8> + Send + 'static,
    ) -> Box<dyn Appliance> {
        simulation::in_a_room(&self.id, channel, says)
    }

    /// Its address, the byte that people write first in front.
    pub(super) fn address(&self) -> [u8; 6] {
        self.address.0
    }

    /// Its address as it is on the air, the other way round.
    pub(super) fn address_on_air(&self) -> [u8; 6] {
        let mut bytes = self.address.0;
        bytes.reverse();
        bytes
    }

    pub(super) fn wiring(&self, channel: BleChannel) -> Wiring {
        let peer = BlePeer::Advertiser { address: self.address, hears: vec![channel] };
        Wiring::Ble { settings: self.settings.clone(), peer }
    }

    pub(super) fn presence(&self) -> Presence {
        Presence::Heard(Some(self.silence))
    }

    /// Takes a frame apart.
    pub(super) fn heard<'a>(&self, frame: &'a Frame) -> Result<Heard<'a>, DeviceError> {
        Heard::of(frame).ok_or_else(|| self.unreadable("it is empty"))
    }

    /// Whether these are the bytes that were told last, and that not long ago: then they are no news.
    pub(super) fn is_repeated(&mut self, data: &[u8], now: Timestamp) -> bool {
        let is_known = |(last, at): &(Vec<u8>, Timestamp)| {
            last == data && now.since(*at).is_some_and(|since| since < AGAIN)
        };
        if self.last.as_ref().is_some_and(is_known) {
            return true;
        }
        self.last = Some((data.to_vec(), now));
        false
    }

    pub(super) fn unreadable(&self, problem: impl Into<String>) -> DeviceError {
        DeviceError::unreadable(&self.id, "advertisement", problem)
    }

    /// Whether an advertisement with this counter says something new. The counter is put into its reading.
    ///
    /// # Errors
    /// [`DeviceError::Unreadable`] for a counter that went back.
    pub(super) fn is_news(
        &self,
        freshness: &mut Freshness,
        counter: u32,
        reading: &mut Fields,
    ) -> Result<bool, DeviceError> {
        match freshness.take(counter, reading) {
            Verdict::New => Ok(true),
            Verdict::Repeated => Ok(false),
            Verdict::Old => Err(self.unreadable(REPLAYED)),
        }
    }

    /// The answer to every request.
    pub(super) fn refuses(&self, request: &Request) -> DeviceError {
        DeviceError::impossible(&self.id, request.first_field(), "a sensor only tells")
    }
}

/// Puts the strength of the signal into a reading, in dBm, if it is known.
pub(super) fn put_signal(fields: &mut Fields, heard: Heard<'_>) {
    if let Some(signal) = heard.signal {
        fields.insert("signal".to_owned(), signal.into());
    }
}

/// What [`put_signal`] puts in, for people.
pub(super) fn signal() -> Entity {
    Entity::measurement("signal", "signal_strength", "dBm").diagnostic()
}

/// The fields that were read and the events that are known, for people; `of` knows those of the sensor itself.
pub(super) fn entities(
    state: &Fields,
    events: &BTreeSet<String>,
    of: fn(&str) -> Option<Entity>,
) -> Vec<Entity> {
    let entity = |field: &String| match field.as_str() {
        "signal" => Some(signal()),
        freshness::FIELD => Some(freshness::entity()),
        field => of(field),
    };
    // What happens never stays in the state.
    let unseen = events.iter().filter(|event| !state.contains_key(*event));
    state.keys().chain(unseen).filter_map(entity).collect()
}

/// The options of a sensor that may encrypt.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SealedOptions {
    /// Its address.
    pub(super) address: BleAddress,
    /// The key, 32 hexadecimal digits.
    #[serde(default)]
    bind_key: Option<BindKey>,
    /// Instead: a file with the key in its first line, which only its owner may read.
    #[serde(default)]
    bind_key_file: Option<PathBuf>,
    /// Whether it encrypts. Default: if there is a key.
    #[serde(default)]
    encrypted: Option<bool>,
    /// How long a counter is remembered.
    #[serde(default)]
    pub(super) replay_protection: ReplayProtection,
    /// After which silence it counts as offline.
    #[serde(default)]
    pub(super) offline_after: Option<Span>,
}

impl SealedOptions {
    /// Whether it encrypts, and with which key.
    ///
    /// # Errors
    /// As [`Seal::given`].
    pub(super) fn seal(&mut self, spec: &DeviceSpec) -> Result<Seal, DeviceError> {
        Seal::given(spec, self.bind_key.take(), self.bind_key_file.as_deref(), self.encrypted)
    }
}

/// Whether a sensor encrypts, and with which key.
#[derive(Clone)]
pub(super) struct Seal(Option<BindKey>);

impl Seal {
    /// What the options of a device say.
    ///
    /// # Errors
    /// [`DeviceError::BadOption`] when there is a key too few or too many, or it cannot be used.
    pub(super) fn given(
        spec: &DeviceSpec,
        key: Option<BindKey>,
        file: Option<&Path>,
        encrypted: Option<bool>,
    ) -> Result<Self, DeviceError> {
        let key = BindKey::given(spec, key, file)?;
        match (encrypted, &key) {
            (Some(true), None) => {
                let problem = "it is missing: `encrypted: true` needs it, or a `bind_key_file`";
                Err(DeviceError::bad_option(&spec.id, "bind_key", problem))
            }
            (Some(false), Some(_)) => {
                let problem =
                    "a key is given, and what is plain would not be believed; leave one of them out";
                Err(DeviceError::bad_option(&spec.id, "encrypted", problem))
            }
            _ => Ok(Self(key)),
        }
    }

    /// Ciphertext and check as the sensor would send them; `None` where it sends plain.
    pub(super) fn seal(&self, nonce: &[u8], in_front: &[u8], opened: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut sealed = self.0.as_ref()?.seal(nonce, in_front, opened)?;
        let check = sealed.split_off(sealed.len().saturating_sub(MIC));
        Some((sealed, check))
    }

    /// The key for an advertisement that is sealed, or `None` for one that is plain and may be so.
    ///
    /// # Errors
    /// A sentence for people where it is the other way than the options say.
    pub(super) fn key(&self, is_sealed: bool) -> Result<Option<&BindKey>, &'static str> {
        match (is_sealed, &self.0) {
            (true, None) => Err("this device sends encrypted; give `bind_key`"),
            (false, Some(_)) => Err(
                "it came unencrypted though a `bind_key` is given, and is not believed: anybody can send such; if the device sends so, leave the key out",
            ),
            (_, key) => Ok(key.as_ref()),
        }
    }
}

/// A number with so many decimals: the nearest, of two that are as near the even one, as the number is in binary.
/// (`0.35` with one decimal is `0.3`: it is a little less than it looks.) So does Python, and with it Home Assistant.
pub(super) fn rounded(number: f64, decimals: usize) -> f64 {
    format!("{number:.decimals$}").parse().unwrap_or(number)
}

/// How a state says yes and no.
pub(super) fn binary(is_on: bool) -> Value {
    if is_on { "ON".into() } else { "OFF".into() }
}

/// What is said of an advertisement that the key does not open.
pub(super) const WRONG_KEY: &str =
    "it cannot be decrypted: `bind_key` or `address` is wrong, or it was forged or garbled on the way";
/// What is said of an advertisement whose counter went back.
const REPLAYED: &str = "its counter went back: somebody replays a recording, or its battery was changed; for the latter see `replay_protection`";

#[cfg(test)]
mod tests;
