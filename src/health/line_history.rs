//! What the line did over hours and days: round trips, outages, bytes.
//!
//! Pure data. All lists are bounded; what does not fit is counted or forgotten, the oldest first. Outages and bytes outlive
//! a restart as a text that whoever has a disk keeps ([`LineHistory::note`]); round trips do not.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    LinkReport,
    moment::{Moment, Now},
    outages::Outages,
    report::{as_seconds, in_seconds},
    round_trips::RoundTrips,
    traffic::{Days, KeptDay},
};
use crate::model::{FaultKind, LinkState, Timestamp};

/// All of it.
#[derive(Debug, Default)]
pub(super) struct LineHistory {
    /// When there first was a line that could have an outage.
    since: Option<Moment>,
    outages: Outages,
    trips: RoundTrips,
    days: Days,
}

/// What is written down, as JSON.
#[derive(Serialize, Deserialize)]
pub(super) struct Note {
    at: Timestamp,
    #[serde(default)]
    since: Option<Timestamp>,
    outages: Vec<OutageReport>,
    days: Vec<KeptDay>,
}

impl LineHistory {
    /// Where the line stands now.
    pub(super) fn line(&mut self, report: &LinkReport, now: Now) {
        if report.state != LinkState::Off {
            self.since.get_or_insert(Moment::OfThisRun(now.uptime));
        }
        match report.state {
            // Not configured, or the gateway stops: then the next run goes on from what was noted.
            LinkState::Off => {}
            LinkState::CatchingUp | LinkState::Online => self.outages.up(now),
            LinkState::Connecting | LinkState::Subscribing | LinkState::Waiting => {
                self.outages.down(now, report.fault.as_ref().map(|fault| fault.kind));
            }
        }
        if report.connected_since.is_none() {
            self.trips.line_is_down();
        }
    }

    pub(super) fn round_trip(&mut self, trip: Duration, now: Now) {
        self.trips.add(now, trip);
    }

    /// To be called now and then: what was counted goes to its day, and what is too old goes.
    pub(super) fn settle(&mut self, sums: TrafficDay, now: Now) {
        self.days.count(sums, now);
        self.outages.settle(now);
    }

    fn since(&self, now: Now) -> Option<Timestamp> {
        self.since.map(|since| since.on_the_wall(now))
    }

    pub(super) fn report(&self, now: Now) -> LineHistoryReport {
        LineHistoryReport {
            round_trip: self.trips.report(now),
            outages: self.outages.report(now),
            outages_known_since: self.since(now),
            outages_forgotten: self.outages.forgotten(),
            traffic: self.days.report(now),
        }
    }

    /// What the next run is to know; `None` while the clock cannot be believed.
    pub(super) fn note(&self, now: Now) -> Option<Note> {
        now.is_trusted.then(|| Note {
            at: now.wall,
            since: self.since(now),
            outages: self.outages.report(now),
            days: self.days.kept(),
        })
    }

    /// Takes what an earlier run has noted.
    pub(super) fn restore(&mut self, Note { at, since, outages, days }: Note) {
        self.since = since.map(Moment::OnTheWall).or(self.since);
        self.outages.restore(outages, at);
        self.days.restore(days);
    }
}

/// The line's past.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LineHistoryReport {
    /// How long the cloud takes to answer.
    pub round_trip: RoundTripReport,
    /// When there was no line, of the last 7 days, the oldest first; the last one may still last.
    pub outages: Vec<OutageReport>,
    /// Since when they are known: the first start of a gateway with a cloud; `None`: there was none yet.
    pub outages_known_since: Option<Timestamp>,
    /// How many of the last 7 days the list had no room for.
    pub outages_forgotten: u64,
    /// What went over the line.
    pub traffic: TrafficReport,
}

/// How long the cloud takes to answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RoundTripReport {
    /// The last one on this connection; `None` without a connection, or before the first.
    #[serde(rename = "last_seconds", serialize_with = "as_seconds")]
    pub last: Option<Duration>,
    /// The last 24 hours by quarters of an hour, the oldest first; quarters without any are left out.
    pub points: Vec<RoundTripPoint>,
}

/// The round trips of a quarter of an hour.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RoundTripPoint {
    /// When the quarter began.
    pub from: Timestamp,
    /// How many there were.
    pub count: u32,
    /// The shortest.
    #[serde(rename = "min_seconds", serialize_with = "in_seconds")]
    pub min: Duration,
    /// Their mean.
    #[serde(rename = "mean_seconds", serialize_with = "in_seconds")]
    pub mean: Duration,
    /// The longest.
    #[serde(rename = "max_seconds", serialize_with = "in_seconds")]
    pub max: Duration,
}

/// A time without a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutageReport {
    /// When it began.
    pub from: Timestamp,
    /// When the line was up again; `None` while it lasts.
    pub to: Option<Timestamp>,
    /// Why, as far as it was known when it ended; `None`: the line was being set up, or the gateway did not run.
    pub fault: Option<FaultKind>,
}

/// What went over the line, in bytes as TCP carries them: with TLS and all attempts, without the headers of TCP and IP.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TrafficReport {
    /// By day (UTC), today first, seven at most.
    pub days: Vec<TrafficDay>,
    /// Received since the start.
    pub received_bytes: u64,
    /// Sent since the start.
    pub sent_bytes: u64,
}

/// A day's bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct TrafficDay {
    /// From the cloud.
    pub received_bytes: u64,
    /// To it.
    pub sent_bytes: u64,
}
