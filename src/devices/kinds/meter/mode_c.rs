//! A meter that tells its values when it is asked: IEC 62056-21, mode C, data readout.
//!
//! `/?!` at 300 bits a second; the meter names itself and how fast it can; we agree; it tells, faster.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    super::super::{
        Frame,
        serial::{GARBLED, Heard, Step, Talker, WHOLE, framing::Framing},
    },
    telegrams::{Envelope, Telegrams},
};

/// The standard gives the meter 1.5 s; at 300 bits a second its name takes another second.
const NAME_WITHIN: Duration = Duration::from_secs(5);
/// A meter pauses up to 1.5 s between two characters; whoever is silent for longer has ended.
const SILENCE: Duration = Duration::from_secs(3);
/// 4 KiB at 300 bits a second take two minutes; nobody's readout is longer.
const READOUT_WITHIN: Duration = Duration::from_secs(150);
/// The longest name that is awaited, with noise and our own echo before it.
const LONGEST_NAME: usize = 256;

enum State {
    Idle,
    Naming(Vec<u8>),
    /// Until then at the latest.
    Telling(Instant),
}

pub(super) struct ModeC {
    request: Bytes,
    /// Bits a second at the beginning.
    baud: u32,
    interval: Duration,
    next: Option<Instant>,
    state: State,
    telegrams: Telegrams,
}

impl ModeC {
    /// Asks the meter called `address` (empty: whichever is there) at an interval.
    pub(super) fn new(address: &str, baud: u32, interval: Duration) -> Self {
        let telegrams = Telegrams::new(Envelope::ModeC);
        let request = format!("/?{address}!\r\n").into();
        Self { request, baud, interval, next: None, state: State::Idle, telegrams }
    }

    fn garbled(&mut self, problem: &str) -> Heard {
        self.state = State::Idle;
        let frames = vec![Frame::new(GARBLED, problem.to_owned())];
        Heard { frames, ended: Some(Ok(())), ..Heard::default() }
    }

    /// The meter said its name: how to agree, or why not.
    fn agree(&mut self, name: &str, now: Instant) -> Heard {
        let Some(letter) = name.as_bytes().get(4).copied() else {
            return self.garbled("the meter's name is too short");
        };
        let speeds = [300, 600, 1200, 2400, 4800, 9600, 19200];
        let speed = letter.checked_sub(b'0').and_then(|index| speeds.get(usize::from(index)).copied());
        let Some(speed) = speed else {
            return self.garbled("the meter speaks in mode A or B of IEC 62056-21, not in mode C");
        };
        self.state = State::Telling(now + READOUT_WITHIN);
        self.telegrams.clear();
        let send = vec![6, b'0', letter, b'0', b'\r', b'\n'].into();
        let answer_within = Some(SILENCE);
        Heard {
            next: Some(Step { send, baud_before: None, baud_after: Some(speed), answer_within }),
            ..Heard::default()
        }
    }
}

impl Talker for ModeC {
    fn begin(&mut self, now: Instant) {
        self.state = State::Idle;
        self.next = Some(now);
        self.telegrams.clear();
    }

    fn next(&self) -> Option<Instant> {
        self.next
    }

    fn ask(&mut self, now: Instant) -> Option<Step> {
        self.next = Some(now + self.interval);
        self.state = State::Naming(Vec::new());
        let answer_within = Some(NAME_WITHIN);
        Some(Step {
            send: self.request.clone(),
            baud_before: Some(self.baud),
            baud_after: None,
            answer_within,
        })
    }

    fn hear(&mut self, bytes: &[u8], now: Instant) -> Heard {
        match &mut self.state {
            State::Idle => Heard::default(),
            State::Naming(heard) => {
                heard.extend_from_slice(bytes);
                if heard.len() > LONGEST_NAME {
                    return self.garbled("the meter's answer is garbled; check `baud` and `parity`");
                }
                let text = String::from_utf8_lossy(heard).into_owned();
                // A reading head may echo what we sent, and light makes noise before the name.
                let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
                let mut names = lines.filter_map(|line| line.rfind('/').map(|start| &line[start..]));
                match names.find(|name| !name.starts_with("/?")) {
                    Some(name) => self.agree(name.trim_end(), now),
                    None => Heard::default(),
                }
            }
            State::Telling(until) if now >= *until => self.garbled("the meter's readout does not end"),
            State::Telling(_) => match self.telegrams.push(bytes).pop() {
                // A damaged beginning or end is told by nothing but the silence behind it.
                None => Heard { awaits: Some(SILENCE), ..Heard::default() },
                Some(Ok(telegram)) => {
                    self.state = State::Idle;
                    let frames = vec![Frame::new(WHOLE, telegram)];
                    Heard { frames, ended: Some(Ok(())), ..Heard::default() }
                }
                Some(Err(garbled)) => self.garbled(&garbled.0),
            },
        }
    }

    fn give_up(&mut self) -> Heard {
        self.garbled("the meter did not answer, or broke off; check where the reading head sits")
    }
}
