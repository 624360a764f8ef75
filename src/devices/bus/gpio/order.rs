//! The words between a GPIO chip and its devices, as frames carry them.
//!
//! A frame has text, as on every bus: one can read it in a log, and a kind is tested by tables.

use std::fmt;

use super::super::super::device::Frame;

/// What is asked of a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Order {
    /// Be on; where the output pulses, for the length of a pulse.
    On,
    /// Be off.
    Off,
    /// Be on for the length of a pulse.
    Pulse,
    /// Be on for this part of the time, 0 to 1.
    Duty(f64),
    /// Say how it is.
    Tell,
}

impl Order {
    const CHANNEL: &str = "order";

    /// As a frame.
    pub fn frame(self) -> Frame {
        let text = match self {
            Self::On => "ON".to_owned(),
            Self::Off => "OFF".to_owned(),
            Self::Pulse => "PULSE".to_owned(),
            Self::Duty(part) => format!("DUTY {part}"),
            Self::Tell => "TELL".to_owned(),
        };
        Frame::new(Self::CHANNEL, text)
    }

    /// From a frame; `None` when it is none.
    pub fn read(frame: &Frame) -> Option<Self> {
        let text = frame.text().filter(|_| *frame.channel == *Self::CHANNEL)?;
        Some(match text {
            "ON" => Self::On,
            "OFF" => Self::Off,
            "PULSE" => Self::Pulse,
            "TELL" => Self::Tell,
            _ => {
                let part = text.strip_prefix("DUTY ")?.parse().ok();
                Self::Duty(part.filter(|part| (0.0..=1.0).contains(part))?)
            }
        })
    }
}

/// Why a line is as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It was claimed, and is in its safe state or as it shall be at first.
    Start,
    /// Somebody ordered it.
    Command,
    /// It was on for as long as it may be.
    MaxOn,
    /// The end of a pulse.
    Pulse,
    /// The gateway did not say for too long that it is alive.
    Watchdog,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Start, Self::Command, Self::MaxOn, Self::Pulse, Self::Watchdog];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Command => "command",
            Self::MaxOn => "max_on",
            Self::Pulse => "pulse",
            Self::Watchdog => "watchdog",
        }
    }

    fn read(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == word)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a chip says of a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Said {
    /// An output reads so.
    Output(bool, Cause),
    /// An output is on for this part of the time, 0 to 1.
    Duty(f64, Cause),
    /// An input reads so.
    Input(bool),
    /// Edges that the kernel dropped because they came too fast, since the line was claimed.
    Missed(u64),
    /// Of a counter.
    Pulses {
        /// Pulses since it said so last.
        count: u64,
        /// Seconds from the last pulse that it told of before to the last of these; `None`: there was none before, or
        /// none since.
        span: Option<f64>,
        /// Seconds since the last pulse; `None`: there was none yet.
        silence: Option<f64>,
    },
}

fn on_off(is_on: bool) -> &'static str {
    if is_on { "ON" } else { "OFF" }
}

impl Said {
    /// As a frame.
    pub fn frame(self) -> Frame {
        let seconds = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
        match self {
            Self::Output(is_on, cause) => Frame::new("output", format!("{} {cause}", on_off(is_on))),
            Self::Duty(part, cause) => Frame::new("duty", format!("{part} {cause}")),
            Self::Input(is_on) => Frame::new("input", on_off(is_on)),
            Self::Missed(count) => Frame::new("missed", count.to_string()),
            Self::Pulses { count, span, silence } => {
                Frame::new("pulses", format!("{count} {} {}", seconds(span), seconds(silence)))
            }
        }
    }

    /// From a frame; `None` when it is none.
    pub fn read(frame: &Frame) -> Option<Self> {
        let mut words = frame.text()?.split(' ');
        let is_on = |word: &str| match word {
            "ON" => Some(true),
            "OFF" => Some(false),
            _ => None,
        };
        let seconds = |word: &str| if word == "-" { Some(None) } else { word.parse().ok().map(Some) };
        let said = match &*frame.channel {
            "output" => Self::Output(is_on(words.next()?)?, Cause::read(words.next()?)?),
            "duty" => Self::Duty(words.next()?.parse().ok()?, Cause::read(words.next()?)?),
            "input" => Self::Input(is_on(words.next()?)?),
            "missed" => Self::Missed(words.next()?.parse().ok()?),
            "pulses" => Self::Pulses {
                count: words.next()?.parse().ok()?,
                span: seconds(words.next()?)?,
                silence: seconds(words.next()?)?,
            },
            _ => return None,
        };
        words.next().is_none().then_some(said)
    }
}
