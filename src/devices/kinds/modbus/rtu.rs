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

/// The longest pause between two questions to a device that does not answer.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);
/// The first pause before a register that does not yet show what was ordered is asked for again; doubled each time.
const FIRST_LOOK: Duration = Duration::from_millis(100);

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

/// The channel on which the device hears why the question `pdu` has no answer.
fn unanswered(pdu: &[u8]) -> String {
    format!("{GARBLED}/{}", channel(pdu))
}

struct Poll {
    pdu: Bytes,
    every: Duration,
    next: Instant,
}

/// An order that was taken, and whose register does not show it yet.
struct Look {
    question: Bytes,
    /// The data of the answer that shows it.
    wanted: Bytes,
    pause: Duration,
    next: Instant,
    until: Instant,
}

/// One device's side of the line.
pub(super) struct Client {
    address: u8,
    answer_within: Duration,
    confirm_within: Duration,
    polls: Vec<(Bytes, Duration)>,
    due: Vec<Poll>,
    looks: Vec<Look>,
    asked: Option<Bytes>,
    heard: Vec<u8>,
    /// How many times in a row it did not answer.
    silences: u32,
    /// When it was last asked by ourselves.
    last: Option<Instant>,
}

impl Client {
    /// Asks the device `address` the questions of `polls`, each at its interval; and for what was ordered, until the
    /// register shows it or `confirm_within` is over.
    pub(super) fn new(
        address: u8,
        (answer_within, confirm_within): (Duration, Duration),
        polls: Vec<(Bytes, Duration)>,
    ) -> Self {
        Self {
            address,
            answer_within,
            confirm_within,
            polls,
            due: Vec::new(),
            looks: Vec::new(),
            asked: None,
            heard: Vec::new(),
            silences: 0,
            last: None,
        }
    }

    /// Until when one that does not answer is left in peace, for the others on the line.
    fn rests_until(&self) -> Option<Instant> {
        let doublings = self.silences.checked_sub(1)?;
        // A silence takes the line for the wait, and as long for a late answer.
        let shortest = self.polls.iter().map(|(_, every)| *every).min()?.max(self.answer_within * 2);
        Some(self.last? + shortest.saturating_mul(1 << doublings.min(16)).min(LONGEST_SILENCE))
    }

    /// The order `asked` was taken: its register is to show it.
    fn look(&mut self, asked: &[u8], now: Instant) {
        let first = u16::from_be_bytes([asked[1], asked[2]]);
        let (question, wanted) = match asked[0] {
            5 => (Pdu::Read(1, first, 1), vec![u8::from(asked[3] != 0)]),
            6 => (Pdu::Read(3, first, 1), asked[3..].to_vec()),
            _ => (Pdu::Read(3, first, u16::from(asked[4])), asked[6..].to_vec()),
        };
        let question = Bytes::from(question.bytes());
        self.looks.retain(|look| look.question != question);
        let (next, until) = (now + FIRST_LOOK, now + self.confirm_within);
        self.looks.push(Look { question, wanted: wanted.into(), pause: FIRST_LOOK, next, until });
    }

    /// The question `asked` has this answer: what shows what was ordered need not be asked for again.
    fn seen(&mut self, asked: &[u8], data: &[u8]) {
        let is_shown = |wanted: &[u8]| match (asked[0], data) {
            // What stands beside a bit means nothing.
            (1, [bits, ..]) => wanted == [bits & 1],
            _ => wanted == data,
        };
        self.looks.retain(|look| look.question != asked || !is_shown(&look.wanted));
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
        (self.asked, self.silences, self.last) = (None, 0, None);
        self.heard.clear();
        self.looks.clear();
        let poll = |(pdu, every): &(Bytes, Duration)| Poll { pdu: pdu.clone(), every: *every, next: now };
        self.due = self.polls.iter().map(poll).collect();
    }

    fn next(&self) -> Option<Instant> {
        let looks = self.looks.iter().map(|look| look.next);
        let next = self.due.iter().map(|poll| poll.next).chain(looks).min()?;
        Some(self.rests_until().map_or(next, |end| end.max(next)))
    }

    fn ask(&mut self, now: Instant) -> Option<Step> {
        if self.rests_until().is_some_and(|end| end > now) {
            return None;
        }
        if let Some(look) = self.looks.iter_mut().min_by_key(|look| look.next).filter(|look| look.next <= now)
        {
            look.pause *= 2;
            look.next = now + look.pause;
            let question = look.question.clone();
            self.looks.retain(|look| look.next <= look.until);
            self.last = Some(now);
            return Some(self.question(question));
        }
        let poll = self.due.iter_mut().min_by_key(|poll| poll.next).filter(|poll| poll.next <= now)?;
        // What was missed is not made up for.
        poll.next = now + poll.every;
        let pdu = poll.pdu.clone();
        self.last = Some(now);
        Some(self.question(pdu))
    }

    fn tell(&mut self, frame: &Frame) -> Result<Step, String> {
        if frame.payload.len() < 5 {
            return Err("it is no Modbus question".to_owned());
        }
        Ok(self.question(frame.payload.clone()))
    }

    fn hear(&mut self, bytes: &[u8], now: Instant) -> Heard {
        let Some(asked) = self.asked.clone() else { return Heard::default() };
        self.heard.extend_from_slice(bytes);
        if self.heard.len() > LONGEST {
            let excess = self.heard.len() - LONGEST;
            self.heard.drain(..excess);
        }
        let Some(answer) = self.answer(&asked).map(<[u8]>::to_vec) else { return Heard::default() };
        (self.asked, self.silences) = (None, 0);
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
                (is_question.then(|| Frame::new(&unanswered(&asked), sentence)), Err(result))
            }
            ([_, _, data @ ..], true) => {
                self.seen(&asked, data);
                (Some(Frame::new(&channel(&asked), data.to_vec())), Ok(()))
            }
            _ => {
                self.look(&asked, now);
                (None, Ok(()))
            }
        };
        Heard { frames: frame.into_iter().collect(), ended: Some(result), ..Heard::default() }
    }

    fn give_up(&mut self) -> Heard {
        self.silences = self.silences.saturating_add(1);
        let channel = self.asked.take().map_or_else(|| GARBLED.to_owned(), |asked| unanswered(&asked));
        let sentence = format!(
            "device {} does not answer; check `address`, `baud`, `parity` and its wires",
            self.address
        );
        Heard { frames: vec![Frame::new(&channel, sentence)], ..Heard::default() }
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
