//! The kills of the gateway that count, and what the line to the cloud was like at each.
//!
//! A kill counts when the gateway had accepted something in that life: before, nothing was under way. The others are
//! wanted too, for they hit a gateway that starts, and are told apart.

use super::plan::Sky;

/// Of so many kills on, each kind must have had its share.
const ENOUGH: u64 = 100;
/// In hundredths.
const SHARE: u64 = 10;

/// The line at the moment of a kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// It carries, and the gateway is connected.
    Up,
    /// The line is shut, or the cloud is dead.
    Down,
    Flapping,
    /// Hung, half open, slow, dripping, dropping some, or not found yet.
    Else,
}

impl Line {
    pub fn new(sky: Sky, is_cloud_alive: bool, is_connected: bool) -> Self {
        match sky {
            Sky::Flapping => Self::Flapping,
            Sky::Down => Self::Down,
            _ if !is_cloud_alive => Self::Down,
            Sky::Up if is_connected => Self::Up,
            _ => Self::Else,
        }
    }
}

#[derive(Debug, Default)]
pub struct Kills {
    pub up: u64,
    pub down: u64,
    pub flapping: u64,
    pub others: u64,
    /// Those before anything was accepted.
    pub idle: u64,
}

impl Kills {
    pub fn add(&mut self, line: Line, is_under_load: bool) {
        let count = match line {
            _ if !is_under_load => &mut self.idle,
            Line::Up => &mut self.up,
            Line::Down => &mut self.down,
            Line::Flapping => &mut self.flapping,
            Line::Else => &mut self.others,
        };
        *count += 1;
    }

    /// Those that count.
    pub fn under_load(&self) -> u64 {
        self.up + self.down + self.flapping + self.others
    }

    /// Whether each kind of line had its share, as soon as there are enough to say so.
    pub fn are_spread(&self) -> bool {
        let all = self.under_load();
        all < ENOUGH || [self.up, self.down, self.flapping].iter().all(|kills| 100 * kills >= SHARE * all)
    }
}

#[test]
fn a_kill_counts_where_the_line_really_was_and_only_under_load() {
    assert_eq!(Line::new(Sky::Up, true, true), Line::Up);
    assert_eq!(Line::new(Sky::Up, true, false), Line::Else);
    assert_eq!(Line::new(Sky::Up, false, false), Line::Down);
    assert_eq!(Line::new(Sky::Down, true, false), Line::Down);
    assert_eq!(Line::new(Sky::Flapping, false, false), Line::Flapping);
    assert_eq!(Line::new(Sky::Hung, true, true), Line::Else);
    let mut kills = Kills::default();
    kills.add(Line::Up, false);
    assert_eq!((kills.under_load(), kills.idle), (0, 1));
    kills.add(Line::Up, true);
    assert_eq!((kills.under_load(), kills.up), (1, 1));
}

#[test]
fn a_hundred_kills_must_be_spread() {
    let kills = |up, down, flapping| Kills { up, down, flapping, ..Kills::default() };
    assert!(kills(99, 0, 0).are_spread(), "too few to say");
    assert!(kills(80, 10, 10).are_spread());
    assert!(!kills(90, 0, 10).are_spread());
    assert!(!kills(81, 10, 9).are_spread());
}
