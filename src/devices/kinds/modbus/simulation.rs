//! A simulated Modbus device: a memory of the registers that the options name, behind a server of its own.
//!
//! Source: Modbus Application Protocol 1.1b3, sections 6 and 7. What is writable keeps what is written; the rest moves.

use std::{collections::BTreeMap, time::Duration};

use super::{
    super::super::{
        Appliance, Frame, SimulatedLine, StandIn, Waves,
        serial::{Talker, framing::Checksum},
    },
    Modbus, Pdu, Register,
};

/// How often what is measured moves.
const PERIOD: Duration = Duration::from_secs(5);
/// What registers have in them before their scale, and how far a day takes it from that: fits into every type.
const NUMBER: (f64, f64) = (100.0, 15.0);

const ILLEGAL_FUNCTION: u8 = 1;
const ILLEGAL_ADDRESS: u8 = 2;

struct Server {
    address: u8,
    registers: Vec<Register>,
    curve: Waves,
    /// By the function that reads it and its number; a bit is in the second byte.
    cells: BTreeMap<(u8, u16), [u8; 2]>,
}

impl Server {
    /// What is measured; at first everything.
    fn measure(&mut self, round: u32) {
        for register in &self.registers {
            if register.is_writable && round > 0 {
                continue;
            }
            let Pdu::Read(function, first, _) = register.question() else { continue };
            let is_on = !register.is_writable && round % 4 >= 2;
            let data = register.data(self.curve.at(round, PERIOD).round(), is_on);
            for (cell, number) in data.chunks_exact(2).zip(first..=u16::MAX) {
                self.cells.insert((function, number), [cell[0], cell[1]]);
            }
        }
    }

    /// The answer to a question with address and checksum; `None` to one that is garbled or another's.
    fn serve(&mut self, question: &[u8]) -> Option<Vec<u8>> {
        let (covered, crc) = question.split_at_checked(question.len().checked_sub(2)?)?;
        let (address, pdu) = covered.split_first()?;
        if *address != self.address || Checksum::Crc16Modbus.of(covered).to_le_bytes() != *crc {
            return None;
        }
        let function = *pdu.first()?;
        let answer = self.answer(pdu).unwrap_or_else(|code| vec![function | 0x80, code]);
        let mut bytes = [&[*address], &answer[..]].concat();
        bytes.extend(Checksum::Crc16Modbus.of(&bytes).to_le_bytes());
        Some(bytes)
    }

    fn answer(&mut self, pdu: &[u8]) -> Result<Vec<u8>, u8> {
        match *pdu {
            [function @ 1..=4, a, b, c, d] => {
                let (first, count) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
                let cells: Option<Vec<[u8; 2]>> = (0..count)
                    .map(|place| self.cells.get(&(function, first.checked_add(place)?)).copied())
                    .collect();
                let cells = cells.ok_or(ILLEGAL_ADDRESS)?;
                let data = if function <= 2 { packed(&cells) } else { cells.concat() };
                Ok([&[function, data.len() as u8], &data[..]].concat())
            }
            [5, a, b, value, _] => self.set((1, u16::from_be_bytes([a, b])), &[0, u8::from(value != 0)]),
            [6, a, b, ref data @ ..] => self.set((3, u16::from_be_bytes([a, b])), data),
            [16, a, b, _, _, _, ref data @ ..] => self.set((3, u16::from_be_bytes([a, b])), data),
            _ => Err(ILLEGAL_FUNCTION),
        }
        // An order is answered by its first five bytes.
        .map(|data| if data.is_empty() { pdu[..5].to_vec() } else { data })
    }

    /// Sets cells from `first` on; nothing of it when one is not there.
    fn set(&mut self, (function, first): (u8, u16), data: &[u8]) -> Result<Vec<u8>, u8> {
        let cells: Vec<_> = data.chunks_exact(2).zip(first..=u16::MAX).collect();
        if cells.iter().any(|(_, number)| !self.cells.contains_key(&(function, *number))) {
            return Err(ILLEGAL_ADDRESS);
        }
        for (cell, number) in cells {
            self.cells.insert((function, number), [cell[0], cell[1]]);
        }
        Ok(Vec::new())
    }
}

/// Bits, eight to a byte, the first one lowest.
fn packed(cells: &[[u8; 2]]) -> Vec<u8> {
    let byte = |bits: &[[u8; 2]]| bits.iter().rev().fold(0, |byte, bit| byte << 1 | bit[1]);
    cells.chunks(8).map(byte).collect()
}

pub(super) fn simulation(modbus: &Modbus, talker: Box<dyn Talker>) -> Box<dyn Appliance> {
    let server = Server {
        address: modbus.options.address,
        registers: modbus.registers.clone(),
        curve: Waves::of(&modbus.id, NUMBER.0, NUMBER.1),
        cells: BTreeMap::new(),
    };
    let says = |server: &mut Server, round| {
        server.measure(round);
        Vec::new()
    };
    let takes = |server: &mut Server, frame: &Frame| {
        let answer = server.serve(&frame.payload);
        Ok(answer.into_iter().map(|bytes| Frame::new("line", bytes)).collect())
    };
    Box::new(SimulatedLine::new(talker, StandIn::new(server).says(says).every(PERIOD).takes(takes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(bytes: &[u8]) -> Vec<u8> {
        [bytes, &Checksum::Crc16Modbus.of(bytes).to_le_bytes()].concat()
    }

    #[test]
    fn it_answers_as_the_standard_has_it_and_only_what_is_for_it() {
        let curve = Waves::new(1, 0.0, 0.0);
        let cells =
            [((1, 0), [0, 1]), ((1, 1), [0, 0]), ((1, 2), [0, 1]), ((3, 7), [1, 2]), ((3, 8), [3, 4])];
        let mut server = Server { address: 5, registers: Vec::new(), curve, cells: BTreeMap::from(cells) };
        for (question, answer) in [
            (&[5, 3, 0, 7, 0, 2][..], &[5, 3, 4, 1, 2, 3, 4][..]),
            (&[5, 1, 0, 0, 0, 3], &[5, 1, 1, 0b101]),
            (&[5, 6, 0, 8, 9, 9], &[5, 6, 0, 8, 9, 9]),
            (&[5, 3, 0, 8, 0, 1], &[5, 3, 2, 9, 9]),
            (&[5, 5, 0, 1, 0xff, 0], &[5, 5, 0, 1, 0xff, 0]),
            (&[5, 1, 0, 1, 0, 1], &[5, 1, 1, 1]),
            (&[5, 16, 0, 7, 0, 2, 4, 0, 1, 0, 2], &[5, 16, 0, 7, 0, 2]),
            (&[5, 3, 0, 7, 0, 2], &[5, 3, 4, 0, 1, 0, 2]),
            // Beyond its end, another table, another function.
            (&[5, 3, 0, 8, 0, 2], &[5, 0x83, ILLEGAL_ADDRESS]),
            (&[5, 4, 0, 7, 0, 1], &[5, 0x84, ILLEGAL_ADDRESS]),
            (&[5, 16, 0, 8, 0, 2, 4, 0, 1, 0, 2], &[5, 0x90, ILLEGAL_ADDRESS]),
            (&[5, 3, 0xff, 0xff, 0, 2], &[5, 0x83, ILLEGAL_ADDRESS]),
            (&[5, 43, 14], &[5, 0xab, ILLEGAL_FUNCTION]),
        ] {
            assert_eq!(server.serve(&sealed(question)), Some(sealed(answer)), "{question:?}");
        }
        let mut garbled = sealed(&[5, 3, 0, 7, 0, 2]);
        garbled[2] ^= 1;
        for silence in [garbled, sealed(&[6, 3, 0, 7, 0, 2]), vec![], vec![5], sealed(&[])] {
            assert_eq!(server.serve(&silence), None, "{silence:?}");
        }
    }
}
