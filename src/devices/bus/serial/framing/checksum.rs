//! Checksums: of what, by which rule, and in which order of bytes.
//!
//! One rule for all CRC-16: they differ in four parameters alone (Williams' model). Bit by bit: a telegram a
//! second is no load, and a table is no gain.

use serde::Deserialize;

use super::Order;

/// A rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Checksum {
    /// The sum of the bytes, its lowest eight bits.
    Sum8,
    /// All bytes, exclusive or.
    Xor8,
    /// CRC-8, polynomial 0x07.
    Crc8,
    /// CRC-16/MODBUS.
    Crc16Modbus,
    /// CRC-16/ARC, as in P1 telegrams.
    Crc16Arc,
    /// CRC-16/IBM-SDLC, called X.25.
    Crc16X25,
    /// CRC-16/CCITT-FALSE, starting with 0xffff.
    Crc16Ccitt,
    /// CRC-16/XMODEM, starting with 0.
    Crc16Xmodem,
}

/// Which bytes before the checksum it is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Covers {
    /// All.
    #[default]
    All,
    /// Those behind the sync word.
    AfterSync,
}

impl Checksum {
    /// Its bytes on the wire, 1 or 2.
    pub fn length(self) -> usize {
        match self {
            Checksum::Sum8 | Checksum::Xor8 | Checksum::Crc8 => 1,
            Checksum::Crc16Modbus
            | Checksum::Crc16Arc
            | Checksum::Crc16X25
            | Checksum::Crc16Ccitt
            | Checksum::Crc16Xmodem => 2,
        }
    }

    /// The checksum of `bytes`.
    pub fn of(self, bytes: &[u8]) -> u16 {
        match self {
            Checksum::Sum8 => bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)).into(),
            Checksum::Xor8 => bytes.iter().fold(0_u8, |sum, byte| sum ^ byte).into(),
            Checksum::Crc8 => bytes.iter().fold(0_u8, |crc, byte| shift8(crc ^ byte)).into(),
            Checksum::Crc16Modbus => crc16_reflected(0xa001, 0xffff, 0, bytes),
            Checksum::Crc16Arc => crc16_reflected(0xa001, 0, 0, bytes),
            Checksum::Crc16X25 => crc16_reflected(0x8408, 0xffff, 0xffff, bytes),
            Checksum::Crc16Ccitt => crc16(0x1021, 0xffff, bytes),
            Checksum::Crc16Xmodem => crc16(0x1021, 0, bytes),
        }
    }

    /// Whether the bytes behind the frame say its checksum.
    pub fn holds(self, frame: &[u8], said: &[u8], order: Order) -> bool {
        order.number(said) == u64::from(self.of(frame))
    }
}

fn shift8(byte: u8) -> u8 {
    (0..8).fold(byte, |crc, _| if crc & 0x80 != 0 { crc << 1 ^ 0x07 } else { crc << 1 })
}

/// A CRC-16 that takes the highest bit first.
fn crc16(polynomial: u16, start: u16, bytes: &[u8]) -> u16 {
    let shift = |crc: u16, _| if crc & 0x8000 != 0 { crc << 1 ^ polynomial } else { crc << 1 };
    bytes.iter().fold(start, |crc, byte| (0..8).fold(crc ^ u16::from(*byte) << 8, shift))
}

/// A CRC-16 that takes the lowest bit first; `polynomial` is written backwards.
fn crc16_reflected(polynomial: u16, start: u16, end: u16, bytes: &[u8]) -> u16 {
    let shift = |crc: u16, _| if crc & 1 != 0 { crc >> 1 ^ polynomial } else { crc >> 1 };
    bytes.iter().fold(start, |crc, byte| (0..8).fold(crc ^ u16::from(*byte), shift)) ^ end
}
