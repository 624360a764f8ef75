//! Modbus RTU, the client's side: questions out, answers in, one at a time.
//!
//! Not by `tokio-modbus` 0.17: its client takes the port for itself, so that no other device can share it and an
//! unplugging is noticed only by the next question; and its codec, which would do, is private. What is left is an
//! address before and a CRC behind. Source: Modbus Application Protocol 1.1b3, Modbus over Serial Line 1.02.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::super::super::{
    Frame, WriteError,
    serial::{GARBLED, Heard, Step, Talker, framing::Checksum},
};

/// The longest answer, in bytes, twice: noise and our own echo may come before it.
const LONGEST: usize = 512;

/// A question or an order, without address and checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pdu {
    /// Function, first one, how many.
    Read(u8, u16, u16),
    WriteCoil(u16, bool),
    /// First one, and two bytes for each.
    WriteRegisters(u16, Vec<u8>),
}

impl Pdu {
    /// The bytes on the wire between address and checksum.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Pdu::Read(function, first, count) => {
                bytes.push(*function);
                bytes.extend(first.to_be_bytes());
                bytes.extend(count.to_be_bytes());
            }
            Pdu::WriteCoil(number, is_on) => {
                bytes.push(5);
                bytes.extend(number.to_be_bytes());
                bytes.extend([if *is_on { 0xff } else { 0 }, 0]);
            }
            Pdu::WriteRegisters(first, data) if data.len() == 2 => {
                bytes.push(6);
                bytes.extend(first.to_be_bytes());
                bytes.extend(data);
            }
            Pdu::WriteRegisters(first, data) => {
                bytes.push(16);
                bytes.extend(first.to_be_bytes());
                // A value has two registers, never more.
                bytes.extend([0, (data.len() / 2) as u8, data.len() as u8]);
                bytes.extend(data);
            }
        }
        bytes
    }

    /// As a frame for the port, and as the channel of the answer to a question.
    pub(super) fn frame(&self) -> Frame {
        Frame::new("modbus", self.bytes())
    }
}

/// The channel on which the device hears the answer to the question `pdu`.
pub(super) fn channel(pdu: &[u8]) -> String {
    pdu.iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Poll {
    pdu: Bytes,
    every: Duration,
    next: Instant,
}

/// One device's side of the line.
pub(super) struct Client {
    address: u8,
    answer_within: Duration,
    polls: Vec<(Bytes, Duration)>,
    due: Vec<Poll>,
    asked: Option<Bytes>,
    heard: Vec<u8>,
}

impl Client {
    /// Asks the device `address` the questions of `polls`, each at its interval.
    pub(super) fn new(address: u8, answer_within: Duration, polls: Vec<(Bytes, Duration)>) -> Self {
        Self { address, answer_within, polls, due: Vec::new(), asked: None, heard: Vec::new() }
    }

    fn question(&mut self, pdu: Bytes) -> Step {
        let mut send = vec![self.address];
        send.extend_from_slice(&pdu);
        let crc = Checksum::Crc16Modbus.of(&send);
        send.extend(crc.to_le_bytes());
        self.heard.clear();
        self.asked = Some(pdu);
        Step { send: send.into(), answer_within: Some(self.answer_within), ..Step::default() }
    }

    /// The answer to `asked` in what was heard, without address and checksum.
    fn answer(&self, asked: &[u8]) -> Option<&[u8]> {
        (0..self.heard.len()).find_map(|start| {
            let bytes = &self.heard[start..];
            let [address, function, third, ..] = *bytes else { return None };
            let is_refusal = function == asked[0] | 0x80;
            if address != self.address || (function != asked[0] && !is_refusal) {
                return None;
            }
            let length = match asked[0] {
                _ if is_refusal => 5,
                1..=4 if usize::from(third) == data_length(asked) => 5 + usize::from(third),
                1..=4 => return None,
                // It repeats what was ordered: address and value, or address and count.
                _ if bytes.get(2..6) == asked.get(1..5) => 8,
                _ => return None,
            };
            let frame = bytes.get(..length)?;
            let (covered, crc) = frame.split_at(length - 2);
            (Checksum::Crc16Modbus.of(covered).to_le_bytes() == *crc).then_some(&covered[1..])
        })
    }
}

/// How many bytes of data the answer to a question has.
fn data_length(asked: &[u8]) -> usize {
    let count = usize::from(u16::from_be_bytes([asked[3], asked[4]]));
    if asked[0] <= 2 { count.div_ceil(8) } else { 2 * count }
}

impl Talker for Client {
    fn begin(&mut self, now: Instant) {
        self.asked = None;
        self.heard.clear();
        let poll = |(pdu, every): &(Bytes, Duration)| Poll { pdu: pdu.clone(), every: *every, next: now };
        self.due = self.polls.iter().map(poll).collect();
    }

    fn next(&self) -> Option<Instant> {
        self.due.iter().map(|poll| poll.next).min()
    }

    fn ask(&mut self, now: Instant) -> Option<Step> {
        let poll = self.due.iter_mut().min_by_key(|poll| poll.next).filter(|poll| poll.next <= now)?;
        // What was missed is not made up for.
        poll.next = now + poll.every;
        let pdu = poll.pdu.clone();
        Some(self.question(pdu))
    }

    fn tell(&mut self, frame: &Frame) -> Result<Step, String> {
        if frame.payload.len() < 5 {
            return Err("it is no Modbus question".to_owned());
        }
        Ok(self.question(frame.payload.clone()))
    }

    fn hear(&mut self, bytes: &[u8], _now: Instant) -> Heard {
        let Some(asked) = self.asked.clone() else { return Heard::default() };
        self.heard.extend_from_slice(bytes);
        if self.heard.len() > LONGEST {
            let excess = self.heard.len() - LONGEST;
            self.heard.drain(..excess);
        }
        let Some(answer) = self.answer(&asked).map(<[u8]>::to_vec) else { return Heard::default() };
        self.asked = None;
        let is_question = asked[0] <= 4;
        let (frame, result) = match (&answer[..], is_question) {
            ([function, code, ..], _) if function & 0x80 != 0 => {
                let sentence = refusal(*code);
                let result = match code {
                    // It looked at the order and did not begin; or it never got it.
                    1 | 2 | 3 | 6 | 10 => WriteError::NotSent(sentence.clone()),
                    // It may have begun, or the gateway passed it on and lost the answer.
                    _ => WriteError::Uncertain(sentence.clone()),
                };
                (is_question.then(|| Frame::new(GARBLED, sentence)), Err(result))
            }
            ([_, _, data @ ..], true) => (Some(Frame::new(&channel(&asked), data.to_vec())), Ok(())),
            _ => (None, Ok(())),
        };
        Heard { frames: frame.into_iter().collect(), next: None, ended: Some(result) }
    }

    fn give_up(&mut self) -> Heard {
        self.asked = None;
        let sentence = format!(
            "device {} does not answer; check `address`, `baud`, `parity` and its wires",
            self.address
        );
        Heard { frames: vec![Frame::new(GARBLED, sentence)], ..Heard::default() }
    }
}

fn refusal(code: u8) -> String {
    let what = match code {
        1 => "it does not know this function",
        2 => "it has no such register",
        3 => "it does not take this value",
        4 => "it failed while it did it",
        5 => "it needs longer for it",
        6 => "it is busy",
        8 => "its memory has an error",
        10 | 11 => "the gateway before it cannot reach it",
        _ => "it gives a reason that the standard does not have",
    };
    format!("the device refuses: {what} (code {code})")
}
