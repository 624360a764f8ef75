//! When there was no line.
//!
//! Pure data. Bounded: [`MOST`] outages (full: the oldest is forgotten, and counted while it would be kept) of [`KEPT`]. One
//! begins when the line is not up and ends when the cloud has granted the subscriptions again. A time in which the gateway
//! did not run is one, too, when it is longer than [`UNKNOWN`]: shorter ones lie within what a crash may have left unwritten.

use std::{collections::VecDeque, time::Duration};

use super::{
    OutageReport,
    moment::{Moment, Now},
};
use crate::model::{FaultKind, Timestamp};

/// How many are remembered.
const MOST: usize = 200;
/// How long they are remembered.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// How old what was written down last may be when the gateway crashes: `store` writes it every ten minutes in a house that
/// says something. Where nothing was written for hours before a power cut, those hours count as one without a line.
const UNKNOWN: Duration = Duration::from_secs(15 * 60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Outage {
    from: Moment,
    to: Option<Moment>,
    fault: Option<FaultKind>,
}

/// The outages, the oldest first; only the last one may still last.
#[derive(Debug, Default)]
pub(super) struct Outages {
    list: VecDeque<Outage>,
    forgotten: u64,
    /// Until when an earlier run has known what was, until the time from then to the first outage of this run is judged.
    /// `None` also when the earlier run ended without a line: what lasted then goes on by itself.
    known_until: Option<Timestamp>,
}

impl Outages {
    /// The line is not up, for this reason if one is known.
    pub(super) fn down(&mut self, now: Now, fault: Option<FaultKind>) {
        match self.list.back_mut().filter(|outage| outage.to.is_none()) {
            Some(outage) => outage.fault = fault.or(outage.fault),
            None => {
                let from = Moment::OfThisRun(now.uptime);
                self.add(Outage { from, to: None, fault });
            }
        }
    }

    /// The line is up.
    pub(super) fn up(&mut self, now: Now) {
        let moment = Moment::OfThisRun(now.uptime);
        if let Some(outage) = self.list.back_mut().filter(|outage| outage.to.is_none()) {
            outage.to = Some(moment);
        } else if self.known_until.is_some() && self.first_of_this_run().is_none() {
            // Nobody said that it was down before: what may have been without a line ends here, and an outage that comes
            // later is none with which the run began.
            self.add(Outage { from: moment, to: Some(moment), fault: None });
        }
    }

    fn add(&mut self, outage: Outage) {
        if self.list.len() >= MOST {
            self.list.pop_front();
            self.forgotten += 1;
        }
        self.list.push_back(outage);
    }

    fn first_of_this_run(&self) -> Option<usize> {
        self.list.iter().position(|outage| matches!(outage.from, Moment::OfThisRun(_)))
    }

    /// Takes what an earlier run has written down, until when it has known.
    pub(super) fn restore(&mut self, kept: Vec<OutageReport>, known_until: Timestamp) {
        let of_this_run = std::mem::take(&mut self.list);
        for OutageReport { from, to, fault } in kept {
            let to = to.map(Moment::OnTheWall);
            self.add(Outage { from: Moment::OnTheWall(from), to, fault });
        }
        let lasts = self.list.back().is_some_and(|outage| outage.to.is_none());
        self.known_until = (!lasts).then_some(known_until);
        of_this_run.into_iter().for_each(|outage| self.add(outage));
    }

    /// Once the clock can be believed: whether the gateway was off before this run, and what is too old.
    pub(super) fn settle(&mut self, now: Now) {
        if !now.is_trusted {
            return;
        }
        self.bridge(now);
        let is_old = |outage: &Outage| {
            let to = outage.to.map(|to| to.on_the_wall(now));
            to.is_some_and(|to| now.wall.since(to).is_some_and(|age| age > KEPT))
        };
        while self.list.front().is_some_and(is_old) {
            self.list.pop_front();
            // What had no room was older still.
            self.forgotten = 0;
        }
    }

    /// A gateway that was off had no line, up to the end of the outage with which this run has begun; before there is one,
    /// nobody knows yet how long that was.
    fn bridge(&mut self, now: Now) {
        let (Some(until), Some(first)) = (self.known_until, self.first_of_this_run()) else { return };
        self.known_until = None;
        let outage = &mut self.list[first];
        if now.wall_at(Duration::ZERO).since(until).is_some_and(|gap| gap > UNKNOWN) {
            outage.from = Moment::OnTheWall(until);
        } else if outage.to == Some(outage.from) {
            self.list.remove(first);
        }
    }

    /// As it is told, and written down for [`Outages::restore`].
    pub(super) fn report(&self, now: Now) -> Vec<OutageReport> {
        let report = |outage: &Outage| OutageReport {
            from: outage.from.on_the_wall(now),
            to: outage.to.map(|to| to.on_the_wall(now)),
            fault: outage.fault,
        };
        self.list.iter().map(report).collect()
    }

    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60;
    const HOUR: u64 = 3600;
    const DAY: u64 = 24 * HOUR;

    /// `up` seconds after the start of a run that began at `start` seconds on the wall.
    fn now(start: u64, up: u64) -> Now {
        let wall = Timestamp::from_millis(((start + up) * 1000) as i64);
        Now { uptime: Duration::from_secs(up), wall, is_trusted: true }
    }

    fn seconds(outages: &Outages, now: Now) -> Vec<(u64, Option<u64>, Option<FaultKind>)> {
        let seconds = |moment: Timestamp| (moment.as_millis() / 1000) as u64;
        let reports = outages.report(now).into_iter();
        reports.map(|outage| (seconds(outage.from), outage.to.map(seconds), outage.fault)).collect()
    }

    #[test]
    fn an_outage_has_the_last_fault_that_was_seen_and_lasts_until_the_line_is_up() {
        let mut outages = Outages::default();
        outages.down(now(1000, 0), None);
        outages.up(now(1000, 2));
        outages.up(now(1000, 3));
        outages.down(now(1000, 100), Some(FaultKind::Closed));
        outages.down(now(1000, 110), Some(FaultKind::Dns));
        outages.down(now(1000, 120), None);
        let expected = [(1000, Some(1002), None), (1100, None, Some(FaultKind::Dns))];
        assert_eq!(seconds(&outages, now(1000, 130)), expected);
        outages.up(now(1000, 160));
        assert_eq!(seconds(&outages, now(1000, 200))[1].1, Some(1160));
    }

    #[test]
    fn what_happened_before_the_clock_was_set_is_right_afterwards() {
        let mut outages = Outages::default();
        let early = Now { is_trusted: false, ..now(0, 10) };
        outages.down(early, None);
        outages.settle(early);
        assert_eq!(seconds(&outages, now(500_000, 20)), [(500_010, None, None)]);
    }

    #[test]
    fn seven_days_are_kept_and_a_list_that_is_full_counts_what_it_forgets() {
        let mut outages = Outages::default();
        for number in 0..MOST as u64 + 3 {
            outages.down(now(1000, number * MINUTE), None);
            outages.up(now(1000, number * MINUTE + 1));
        }
        assert_eq!((outages.report(now(1000, DAY)).len(), outages.forgotten()), (MOST, 3));
        outages.down(now(1000, 3 * DAY), None);
        outages.settle(now(1000, 30 * DAY));
        assert_eq!(seconds(&outages, now(1000, 30 * DAY)), [(1000 + 3 * DAY, None, None)], "it still lasts");
        assert_eq!(outages.forgotten(), 0, "what had no room is too old by now, too");
    }

    /// What a run leaves behind and the next one, that begins at `start`, makes of it.
    fn restarted(before: &Outages, end: Now, start: u64) -> Outages {
        let mut after = Outages::default();
        after.restore(before.report(end), end.wall);
        after.down(now(start, 0), None);
        after.settle(Now { is_trusted: false, ..now(0, 1) });
        after.settle(now(start, 1));
        after.up(now(start, 5));
        after
    }

    #[test]
    fn a_gateway_that_was_off_for_long_had_no_line_and_a_restart_is_none() {
        let mut before = Outages::default();
        before.down(now(1000, 0), None);
        before.up(now(1000, 5));
        let end = now(1000, HOUR);
        let known = (1000, Some(1005), None);
        let soon = 1000 + HOUR + 3;
        let after = restarted(&before, end, soon);
        assert_eq!(seconds(&after, now(soon, 10)), [known, (soon, Some(soon + 5), None)]);
        let late = 1000 + 5 * HOUR;
        let after = restarted(&before, end, late);
        let off = (1000 + HOUR, Some(late + 5), None);
        assert_eq!(seconds(&after, now(late, 10)), [known, off]);
        // A run that ended without a line: it came back in the next one only.
        before.down(now(1000, HOUR - 60), Some(FaultKind::Tcp));
        let after = restarted(&before, end, soon);
        let lasted = (1000 + HOUR - 60, Some(soon + 5), Some(FaultKind::Tcp));
        assert_eq!(seconds(&after, now(soon, 10)), [known, lasted]);
    }

    /// A run that was noted at `HOUR`, and the next one, in which nobody has looked at the line yet.
    fn begun(before: &Outages) -> Outages {
        let mut after = Outages::default();
        after.restore(before.report(now(0, HOUR)), now(0, HOUR).wall);
        after
    }

    #[test]
    fn a_gap_is_an_outage_also_when_the_clock_is_looked_at_before_the_line() {
        let start = 5 * HOUR;
        let mut after = begun(&Outages::default());
        after.settle(now(start, 0));
        after.down(now(start, 1), None);
        after.settle(now(start, 30));
        after.up(now(start, 40));
        assert_eq!(seconds(&after, now(start, 60)), [(HOUR, Some(start + 40), None)]);
        // What comes later begins when it does.
        after.down(now(start, 50), Some(FaultKind::Tcp));
        after.settle(now(start, 60));
        assert_eq!(seconds(&after, now(start, 60))[1], (start + 50, None, Some(FaultKind::Tcp)));
    }

    #[test]
    fn a_gap_before_a_line_that_is_up_at_once_ends_with_it_and_reaches_no_later_outage() {
        for (start, gap) in [(5 * HOUR, Some((HOUR, Some(5 * HOUR + 2), None))), (HOUR + 3, None)] {
            let mut after = begun(&Outages::default());
            after.settle(now(start, 1));
            after.up(now(start, 2));
            after.up(now(start, 3));
            after.settle(now(start, 30));
            after.down(now(start, 2 * HOUR), Some(FaultKind::Tcp));
            after.settle(now(start, 2 * HOUR + 30));
            let later = (start + 2 * HOUR, None, Some(FaultKind::Tcp));
            let expected: Vec<_> = gap.into_iter().chain([later]).collect();
            assert_eq!(seconds(&after, now(start, 3 * HOUR)), expected);
        }
    }

    #[test]
    fn after_a_run_that_ended_without_a_line_a_second_outage_is_not_moved_back() {
        let mut before = Outages::default();
        before.down(now(0, HOUR - 60), Some(FaultKind::Tcp));
        let start = 5 * HOUR;
        let early = |up: u64| Now { is_trusted: false, ..now(0, up) };
        let mut after = begun(&before);
        after.down(early(1), None);
        after.up(early(10));
        after.down(early(20), Some(FaultKind::Dns));
        after.up(early(30));
        after.settle(now(start, 40));
        let expected = [
            (HOUR - 60, Some(start + 10), Some(FaultKind::Tcp)),
            (start + 20, Some(start + 30), Some(FaultKind::Dns)),
        ];
        assert_eq!(seconds(&after, now(start, 50)), expected);
    }
}
