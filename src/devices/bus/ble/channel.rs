//! The channels of frames on this bus, and what stands in them.
//!
//! | channel | said by | what stands in the payload |
//! | --- | --- | --- |
//! | `service_data/fcd2` | an advertisement | signal, data behind the service's UUID |
//! | `manufacturer_data/0499` | an advertisement | signal, data behind the company's number |
//! | `name` | an advertisement | signal, the name in UTF-8 |
//! | `silence` | the bus, for [`BlePeer::Anyone`] | signal (unknown) |
//! | `connection` | the bus, for [`BlePeer::Peripheral`] | signal when it was last heard: it is connected |
//! | `characteristic/2a6e` | a connected peripheral | signal, the characteristic's value |
//! | `missing/2a6e` | the bus, for [`BlePeer::Peripheral`] | signal, a sentence in UTF-8 about why it cannot be had |
//! | `battery` | a connected peripheral | signal, per cent, 0 to 100 |
//!
//! The signal is one signed byte: the RSSI in dBm, 127 when it is not known (Core Specification 5.3, volume 4, part E,
//! 7.7.65.2). For [`BlePeer::Anyone`], and only there, the six bytes of the sender's address follow it, in the order
//! in which people write them; then comes the data. 16-bit UUIDs and company numbers are four lower-case hexadecimal
//! digits; any other UUID is written whole.
//!
//! To a connected peripheral a device writes `write/2a6e` with the value alone. Where it is to show what was written, the
//! bus reads it back by itself ([`Characteristic::shows_within`]), as `characteristic/2a6e`.
//!
//! [`Characteristic::shows_within`]: super::Characteristic::shows_within
//! [`BlePeer::Anyone`]: super::BlePeer::Anyone
//! [`BlePeer::Peripheral`]: super::BlePeer::Peripheral

use std::fmt;

use bytes::{BufMut, BytesMut};
use uuid::Uuid;

use super::{super::super::device::Frame, BleAddress};

/// The signal of a frame for which it is not known.
pub const UNKNOWN_SIGNAL: i8 = 127;
/// Nothing was heard for a while.
pub const SILENCE: &str = "silence";
/// The peripheral is connected.
pub const CONNECTION: &str = "connection";
/// How full a peripheral's battery is.
pub const BATTERY: &str = "battery";
/// Before a characteristic's UUID: its value.
pub const CHARACTERISTIC: &str = "characteristic/";
/// Before a characteristic's UUID: why it cannot be had.
pub const MISSING: &str = "missing/";
/// Before a characteristic's UUID: it is to be written.
pub const WRITE: &str = "write/";

/// The UUIDs that have a short form end so (Core Specification 5.3, volume 3, part B, 2.5.1).
const BASE: u128 = 0x0000_0000_0000_1000_8000_0080_5f9b_34fb;

/// The whole UUID of a short one.
pub const fn short(number: u16) -> Uuid {
    Uuid::from_u128(BASE | (number as u128) << 96)
}

/// A UUID as it stands in channels and files: four lower-case digits where it has a short form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Short(pub Uuid);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = (self.0.as_u128() >> 96) as u16;
        if short(number) == self.0 { write!(f, "{number:04x}") } else { self.0.fmt(f) }
    }
}

/// Reads a UUID, whole or in its short form of four digits.
pub fn uuid(text: &str) -> Option<Uuid> {
    if text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return u16::from_str_radix(text, 16).ok().map(short);
    }
    // Without the forms in braces and as URN that the crate takes too.
    (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten()
}

/// A part of an advertisement that a device wants to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BleChannel {
    /// Data of a service.
    ServiceData(Uuid),
    /// Data of a company.
    ManufacturerData(u16),
    /// The local name.
    Name,
}

impl BleChannel {
    /// Data of the service with this 16-bit UUID.
    pub const fn service(number: u16) -> Self {
        Self::ServiceData(short(number))
    }
}

impl fmt::Display for BleChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BleChannel::ServiceData(uuid) => write!(f, "service_data/{}", Short(*uuid)),
            BleChannel::ManufacturerData(company) => write!(f, "manufacturer_data/{company:04x}"),
            BleChannel::Name => f.write_str("name"),
        }
    }
}

/// What a frame of this bus carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard<'a> {
    /// How strong it came, in dBm.
    pub signal: Option<i8>,
    /// What was said.
    pub data: &'a [u8],
}

impl<'a> Heard<'a> {
    /// Takes a frame apart. `None` when there is not even a signal in it: it is no frame of this bus.
    pub fn of(frame: &'a Frame) -> Option<Self> {
        let (&signal, data) = frame.payload.split_first()?;
        let signal = signal.cast_signed();
        Some(Self { signal: (signal != UNKNOWN_SIGNAL).then_some(signal), data })
    }

    /// Takes a frame for [`BlePeer::Anyone`](super::BlePeer::Anyone) apart, into who said it and what.
    pub fn of_anyone(frame: &'a Frame) -> Option<(BleAddress, Self)> {
        let heard = Self::of(frame)?;
        let (address, data) = heard.data.split_first_chunk()?;
        Some((BleAddress(*address), Self { data, ..heard }))
    }
}

/// A frame of this bus.
pub fn frame(channel: impl fmt::Display, signal: Option<i8>, data: &[u8]) -> Frame {
    of(&channel.to_string(), signal, &[data])
}

/// A frame of this bus for [`BlePeer::Anyone`](super::BlePeer::Anyone).
pub fn frame_of(channel: impl fmt::Display, signal: Option<i8>, address: BleAddress, data: &[u8]) -> Frame {
    of(&channel.to_string(), signal, &[&address.0, data])
}

fn of(channel: &str, signal: Option<i8>, parts: &[&[u8]]) -> Frame {
    let mut payload = BytesMut::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    payload.put_i8(signal.unwrap_or(UNKNOWN_SIGNAL));
    parts.iter().for_each(|part| payload.put_slice(part));
    Frame::new(channel, payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_written_as_agreed() {
        let whole = Uuid::parse_str("EBE0CCB0-7A0A-4B0C-8A1A-6FF2997DA3A6").unwrap();
        for (channel, text) in [
            (BleChannel::service(0xfcd2), "service_data/fcd2"),
            (BleChannel::ServiceData(whole), "service_data/ebe0ccb0-7a0a-4b0c-8a1a-6ff2997da3a6"),
            (BleChannel::ManufacturerData(0x0499), "manufacturer_data/0499"),
            (BleChannel::Name, "name"),
        ] {
            assert_eq!(channel.to_string(), text);
        }
    }

    #[test]
    fn uuids_are_read_whole_or_short_and_written_as_short_as_they_are() {
        let base = "0000181a-0000-1000-8000-00805f9b34fb";
        assert_eq!(uuid("181A"), uuid(base));
        assert_eq!(Short(uuid(base).unwrap()).to_string(), "181a");
        // One of 32 bits has no short form here.
        let long = "1234181a-0000-1000-8000-00805f9b34fb";
        assert_eq!(Short(uuid(long).unwrap()).to_string(), long);
        for text in
            ["", "1", "181", "0x2a", "181g", "+81a", "0000181a", "{0000181a-0000-1000-8000-00805f9b34fb}"]
        {
            assert_eq!(uuid(text), None, "{text}");
        }
    }

    #[test]
    fn frames_are_taken_apart_as_they_were_put_together() {
        let said = frame(BleChannel::Name, Some(-67), b"Thermo");
        assert_eq!(Heard::of(&said), Some(Heard { signal: Some(-67), data: b"Thermo" }));
        assert_eq!(said.payload[0], 189);
        assert_eq!(Heard::of(&frame(SILENCE, None, b"")), Some(Heard { signal: None, data: b"" }));
        assert_eq!(Heard::of(&Frame::new("name", "")), None);
        let address = BleAddress([1, 2, 3, 4, 5, 6]);
        let said = frame_of(BleChannel::ManufacturerData(0x4c), None, address, &[2, 0x15]);
        assert_eq!(&said.payload[..], [127, 1, 2, 3, 4, 5, 6, 2, 0x15]);
        assert_eq!(Heard::of_anyone(&said), Some((address, Heard { signal: None, data: &[2, 0x15] })));
        assert_eq!(Heard::of_anyone(&Frame::new("x", &[127, 1, 2, 3, 4, 5][..])), None);
    }
}
