//! Where a meter's telegram begins and ends on the wire, and whether it is as it was sent.
//!
//! Written here after reading `dsmr5` 0.4 (a fixed 2 KiB buffer, unknown OBIS codes are errors), `dsmr-parse` 0.4
//! (its own names for a fixed list of codes) and `sml-rs` 0.4 (last release in June 2024; it counts noise in 16
//! bits, which overflows after 64 KiB of it, and reserves memory for as many list entries as a telegram claims to
//! have, up to 2^32): a gateway must survive a hostile or broken meter, and wants any code. There is no crate for
//! IEC 62056-21.

use super::super::super::serial::framing::{Checksum, Framing, Garbled, Order};

/// The longest telegram that is believed, in bytes; P1 ones have up to 2 KiB, SML ones up to 1 KiB.
const LONGEST: usize = 8192;

/// How a telegram is enclosed and checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Envelope {
    /// `/…!CRC`, CRC-16/ARC.
    P1,
    /// `/…!`, nothing to check.
    ModeD,
    /// STX … ETX BCC.
    ModeC,
    /// Escape sequences and CRC-16/X.25.
    Sml,
}

pub(super) struct Telegrams {
    envelope: Envelope,
    buffer: Vec<u8>,
}

enum Found {
    /// The first so many bytes are none of a telegram; more are needed.
    Nothing(usize),
    /// The first so many bytes are none of a telegram, and no fault: the port was opened in the midst of one.
    Noise(usize),
    Garbled(usize, &'static str),
    Whole(usize, Vec<u8>),
}

impl Telegrams {
    pub(super) fn new(envelope: Envelope) -> Self {
        Self { envelope, buffer: Vec::new() }
    }

    fn find(&self) -> Found {
        match self.envelope {
            Envelope::P1 | Envelope::ModeD => text(&self.buffer, self.envelope == Envelope::P1),
            Envelope::ModeC => enclosed(&self.buffer),
            Envelope::Sml => sml(&self.buffer),
        }
    }
}

impl Framing for Telegrams {
    fn push(&mut self, bytes: &[u8]) -> Vec<Result<Vec<u8>, Garbled>> {
        let mut telegrams = Vec::new();
        for chunk in bytes.chunks(LONGEST) {
            self.buffer.extend_from_slice(chunk);
            loop {
                match self.find() {
                    Found::Nothing(noise) => {
                        self.buffer.drain(..noise);
                        break;
                    }
                    Found::Noise(length) => drop(self.buffer.drain(..length)),
                    Found::Garbled(length, problem) => {
                        self.buffer.drain(..length);
                        telegrams.push(Err(Garbled(problem.to_owned())));
                    }
                    Found::Whole(length, telegram) => {
                        self.buffer.drain(..length);
                        telegrams.push(Ok(telegram));
                    }
                }
            }
            if self.buffer.len() > LONGEST {
                self.buffer.clear();
                telegrams.push(Err(Garbled(format!("a telegram was longer than {LONGEST} bytes"))));
            }
        }
        telegrams
    }

    fn clear(&mut self) {
        self.buffer.clear();
    }
}

fn find(bytes: &[u8], what: u8) -> Option<usize> {
    bytes.iter().position(|byte| *byte == what)
}

/// `/…!`, with four hexadecimal digits behind it or none. Neither `/` nor `!` may stand inside (IEC 62056-21, 6.3):
/// what begins anew was cut off before.
fn text(bytes: &[u8], has_crc: bool) -> Found {
    let Some(end) = find(bytes, b'!') else {
        let start = bytes.iter().rposition(|byte| *byte == b'/').unwrap_or(bytes.len());
        return Found::Nothing(start);
    };
    let Some(start) = bytes[..end].iter().rposition(|byte| *byte == b'/') else {
        return Found::Noise(end + 1);
    };
    let telegram = &bytes[start..=end];
    if !has_crc {
        return Found::Whole(end + 1, telegram.to_vec());
    }
    let Some(digits) = bytes.get(end + 1..end + 5) else {
        // An old one has none, and may be the last for a while.
        return match bytes[end + 1..].first() {
            Some(b'\r' | b'\n') => Found::Garbled(end + 1, NO_CRC),
            _ => Found::Nothing(start),
        };
    };
    if digits.starts_with(b"\r") || digits.starts_with(b"\n") {
        return Found::Garbled(end + 1, NO_CRC);
    }
    let hexadecimal = digits.iter().all(u8::is_ascii_hexdigit);
    let said = std::str::from_utf8(digits).ok().filter(|_| hexadecimal);
    match said.and_then(|digits| u16::from_str_radix(digits, 16).ok()) {
        Some(said) if said == Checksum::Crc16Arc.of(telegram) => Found::Whole(end + 5, telegram.to_vec()),
        _ => Found::Garbled(end + 1, WRONG),
    }
}

const NO_CRC: &str = "a telegram has no checksum; if the meter is so old, write `protocol: iec_mode_d`";
const WRONG: &str = "a telegram's checksum is wrong; check the cable, `baud` and `parity`";

const STX: u8 = 2;
const ETX: u8 = 3;

/// STX … ETX and the exclusive or of all between them, with the ETX.
fn enclosed(bytes: &[u8]) -> Found {
    let Some(first) = find(bytes, STX) else { return Found::Nothing(bytes.len()) };
    let Some(length) = find(&bytes[first..], ETX) else {
        // What begins anew was cut off before.
        return Found::Nothing(bytes.iter().rposition(|byte| *byte == STX).unwrap_or(first));
    };
    let end = first + length;
    let Some(bcc) = bytes.get(end + 1) else { return Found::Nothing(first) };
    let start = bytes[..end].iter().rposition(|byte| *byte == STX).unwrap_or(first);
    if Checksum::Xor8.holds(&bytes[start + 1..=end], &[*bcc], Order::Big) {
        Found::Whole(end + 2, bytes[start + 1..end].to_vec())
    } else {
        Found::Garbled(end + 1, WRONG)
    }
}

const ESCAPE: [u8; 4] = [0x1b; 4];
const BEGIN: [u8; 8] = [0x1b, 0x1b, 0x1b, 0x1b, 1, 1, 1, 1];

/// SML transport, version 1 (BSI TR-03109-1, annex IV): the file comes between two escape sequences, filled up to a
/// multiple of four; an escape in it is doubled.
fn sml(bytes: &[u8]) -> Found {
    let Some(start) = bytes.windows(BEGIN.len()).position(|window| window == BEGIN) else {
        return Found::Nothing(bytes.len().saturating_sub(BEGIN.len() - 1));
    };
    let message = &bytes[start..];
    let (mut file, mut at) = (Vec::new(), BEGIN.len());
    loop {
        let rest = &message[at..];
        if !rest.starts_with(&ESCAPE) {
            let Some(byte) = rest.first().filter(|_| rest.len() >= ESCAPE.len()) else {
                return Found::Nothing(start);
            };
            file.push(*byte);
            at += 1;
            continue;
        }
        let Some(code) = rest.get(4..8) else { return Found::Nothing(start) };
        match *code {
            [0x1b, 0x1b, 0x1b, 0x1b] => {
                file.extend(ESCAPE);
                at += 8;
            }
            [0x1a, fill, ..] if at % 4 == 0 => {
                let (end, covered) = (start + at + 8, &message[..at + 6]);
                let is_filled = fill < 4 && usize::from(fill) <= file.len();
                if !is_filled || !Checksum::Crc16X25.holds(covered, &code[2..], Order::Little) {
                    return Found::Garbled(start + BEGIN.len(), WRONG);
                }
                file.truncate(file.len() - usize::from(fill));
                return Found::Whole(end, file);
            }
            [1, 1, 1, 1] => return Found::Garbled(start + at, "a telegram broke off"),
            // Some meters end their file in 0x1b and double nothing: the end is where the fours are.
            _ if at % 4 != 0 => {
                file.push(0x1b);
                at += 1;
            }
            _ => {
                return Found::Garbled(
                    start + BEGIN.len(),
                    "a telegram has an escape sequence that means nothing",
                );
            }
        }
    }
}

#[cfg(test)]
impl Telegrams {
    /// How many bytes wait for more.
    pub(super) fn held(&self) -> usize {
        self.buffer.len()
    }
}
