//! Bytes over the line: a counter that the connection itself turns, and what of it was on which day.
//!
//! Bounded: [`DAYS`] days. What is counted while the clock cannot be believed goes to the day on which it first can.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Serialize};

use super::{TrafficDay, TrafficReport, moment::Now};

const DAYS: i64 = 7;
const DAY: i64 = 86_400_000;

/// What went over the line since the start, in bytes; cheap to clone, all clones count together.
#[derive(Debug, Clone, Default)]
pub struct Traffic(Arc<Sums>);

#[derive(Debug, Default)]
struct Sums {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Traffic {
    /// So many bytes more came in.
    pub fn received(&self, bytes: usize) {
        self.0.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// So many bytes more went out.
    pub fn sent(&self, bytes: usize) {
        self.0.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Both sums.
    pub fn sums(&self) -> TrafficDay {
        TrafficDay {
            received_bytes: self.0.received.load(Ordering::Relaxed),
            sent_bytes: self.0.sent.load(Ordering::Relaxed),
        }
    }
}

/// A day, as it is written down: its number since 1970 in UTC, and its bytes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct KeptDay {
    day: i64,
    received_bytes: u64,
    sent_bytes: u64,
}

/// The counter's days.
#[derive(Debug, Default)]
pub(super) struct Days {
    days: BTreeMap<i64, TrafficDay>,
    /// Of no day yet.
    undated: TrafficDay,
    /// What of the counter is in one of them.
    counted: TrafficDay,
}

impl Days {
    /// Puts what was counted since the last time into its day.
    pub(super) fn count(&mut self, sums: TrafficDay, now: Now) {
        self.undated.received_bytes += sums.received_bytes.saturating_sub(self.counted.received_bytes);
        self.undated.sent_bytes += sums.sent_bytes.saturating_sub(self.counted.sent_bytes);
        self.counted = sums;
        if !now.is_trusted {
            return;
        }
        let number = now.wall.as_millis().div_euclid(DAY);
        let today = self.days.entry(number).or_default();
        let fresh = std::mem::take(&mut self.undated);
        today.received_bytes += fresh.received_bytes;
        today.sent_bytes += fresh.sent_bytes;
        self.days.retain(|day, _| *day > number - DAYS);
    }

    /// Takes what an earlier run has written down.
    pub(super) fn restore(&mut self, kept: Vec<KeptDay>) {
        for KeptDay { day, received_bytes, sent_bytes } in kept {
            let known = self.days.entry(day).or_default();
            known.received_bytes += received_bytes;
            known.sent_bytes += sent_bytes;
        }
    }

    /// For [`Days::restore`].
    pub(super) fn kept(&self) -> Vec<KeptDay> {
        let kept = |(&day, bytes): (&i64, &TrafficDay)| KeptDay {
            day,
            received_bytes: bytes.received_bytes,
            sent_bytes: bytes.sent_bytes,
        };
        self.days.iter().map(kept).collect()
    }

    pub(super) fn report(&self, now: Now) -> TrafficReport {
        let TrafficDay { received_bytes, sent_bytes } = self.counted;
        let today = now.wall.as_millis().div_euclid(DAY);
        let first = self.days.keys().copied().filter(|day| *day <= today && *day > today - DAYS).min();
        let days = match first {
            Some(first) if now.is_trusted => {
                (first..=today).rev().map(|day| self.days.get(&day).copied().unwrap_or_default()).collect()
            }
            // Nobody knows which day it is.
            Some(_) | None => vec![self.undated],
        };
        TrafficReport { days, received_bytes, sent_bytes }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::Timestamp;

    fn now(day: i64, is_trusted: bool) -> Now {
        Now { uptime: Duration::ZERO, wall: Timestamp::from_millis(day * DAY + 5), is_trusted }
    }

    fn received(report: &TrafficReport) -> Vec<u64> {
        report.days.iter().map(|day| day.received_bytes).collect()
    }

    #[test]
    fn bytes_are_of_the_day_on_which_they_were_counted_and_seven_days_are_kept() {
        let (counter, mut days) = (Traffic::default(), Days::default());
        for day in [100, 101, 103] {
            counter.received(day as usize);
            counter.clone().sent(1);
            days.count(counter.sums(), now(day, true));
        }
        let report = days.report(now(103, true));
        assert_eq!(received(&report), [103, 0, 101, 100]);
        assert_eq!((report.days[0].sent_bytes, report.received_bytes, report.sent_bytes), (1, 304, 3));
        days.count(counter.sums(), now(108, true));
        assert_eq!(received(&days.report(now(108, true))), [0, 0, 0, 0, 0, 103]);
    }

    #[test]
    fn what_is_counted_before_the_clock_is_set_goes_to_the_day_on_which_it_is() {
        let (counter, mut days) = (Traffic::default(), Days::default());
        counter.received(7);
        days.count(counter.sums(), now(0, false));
        assert_eq!(received(&days.report(now(0, false))), [7]);
        let mut earlier = Days::default();
        let of_before = Traffic::default();
        of_before.received(1000);
        earlier.count(of_before.sums(), now(500, true));
        days.restore(earlier.kept());
        counter.received(1);
        days.count(counter.sums(), now(500, true));
        let report = days.report(now(500, true));
        assert_eq!((received(&report), report.received_bytes), (vec![1008], 8));
    }
}
