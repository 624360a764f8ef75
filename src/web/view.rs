//! What the templates ask: each method answers one question of the page, in words or as escaped HTML.

use std::time::Duration;

use askama::Template;

use super::{chart, words};
use crate::{
    health::{
        CertificateStatus, CommandReport, DeviceReport, HostReport, LaneReport, Level, OutageReport,
        RefusalReport, Snapshot, TrafficDay,
    },
    model::{Availability, LinkState, OutcomeStatus, Timestamp},
};

/// Devices that are named as in need of attention; of more, the number is told.
const NAMED: usize = 20;
/// From this many devices on, each is told in short, without its history: so that 1,000 of them weigh less than 100 KB.
const CROWD: usize = 200;
/// Fields of a device in short.
const IN_SHORT: usize = 4;
/// Outages that are told one by one, the last ones.
const OUTAGES: usize = 20;

/// One snapshot, to be shown.
pub(super) struct View<'a> {
    pub(super) facts: &'a Snapshot,
    /// When it is looked at. `None`: times are left without words, and the script finds them.
    pub(super) now: Option<Timestamp>,
}

/// A sentence cut at its backticks; what stood between two of them is code.
#[derive(Template)]
#[template(
    source = "{% for (code, text) in parts %}{% if *code %}<code>{{ text }}</code>{% else %}{{ text }}{% endif %}{% endfor %}",
    ext = "html"
)]
struct Sentence<'a> {
    parts: Vec<(bool, &'a str)>,
}

impl<'a> View<'a> {
    pub(super) fn level(&self) -> &'static str {
        match self.facts.verdict.level {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }

    /// The page's title, which a tab shows.
    pub(super) fn title(&self) -> String {
        let word = if self.facts.verdict.level == Level::Ok { "Working" } else { "Attention" };
        format!("{word}: {} · Hearthlink", self.facts.gateway)
    }

    pub(super) fn span(&self, duration: &Duration) -> String {
        words::span(*duration)
    }

    /// A sentence with its code, escaped.
    pub(super) fn sentence(&self, text: &str) -> String {
        let parts = text.split('`').enumerate().map(|(index, part)| (index % 2 == 1, part));
        // Writing to a string cannot fail.
        Sentence { parts: parts.collect() }.render().unwrap_or_default()
    }

    /// How long ago, as an element.
    pub(super) fn ago(&self, then: &Timestamp) -> String {
        let words = self.now.map_or_else(String::new, |now| words::ago(now, *then));
        format!("<time datetime=\"{then}\">{words}</time>")
    }

    /// For how long, as an element.
    pub(super) fn lasting(&self, since: &Timestamp) -> String {
        let words = self.now.map_or_else(String::new, |now| words::lasting(now, *since));
        format!("<time class=\"lasting\" datetime=\"{since}\">{words}</time>")
    }

    pub(super) fn link_words(&self) -> String {
        words::link(&self.facts.link)
    }

    pub(super) fn link_level(&self) -> &'static str {
        match self.facts.link.state {
            LinkState::Off => "off",
            LinkState::Online | LinkState::CatchingUp => "ok",
            LinkState::Connecting | LinkState::Subscribing => "warning",
            LinkState::Waiting => "error",
        }
    }

    pub(super) fn certificate_words(&self, status: &CertificateStatus) -> String {
        words::certificate(status)
    }

    pub(super) fn has_cloud(&self) -> bool {
        self.facts.link.state != LinkState::Off
    }

    /// The round trips of a day: the lines of the longest and of the mean ones.
    pub(super) fn round_trips(&self) -> Option<(String, String)> {
        chart::round_trips(&self.facts.line_history.round_trip.points, self.facts.now)
    }

    /// What the chart shows.
    pub(super) fn round_trip_words(&self) -> Option<String> {
        let points = &self.facts.line_history.round_trip.points;
        let least = points.iter().map(|point| point.min).min()?;
        let most = points.iter().map(|point| point.max).max()?;
        Some(format!("In 24 hours {} to {}", words::short(least), words::short(most)))
    }

    pub(super) fn round_trip(&self) -> Option<String> {
        self.facts.line_history.round_trip.last.map(words::short)
    }

    /// The outages of seven days on their strip: where, and how wide.
    pub(super) fn strip(&self) -> Vec<(u64, u64)> {
        let outages = self.facts.line_history.outages.iter();
        outages.filter_map(|outage| chart::outage(outage, self.facts.now)).collect()
    }

    /// How much of the strip, from its left, nothing is known of.
    pub(super) fn unknown(&self) -> u64 {
        let since = self.facts.line_history.outages_known_since;
        since.map_or(0, |since| chart::before(since, self.facts.now))
    }

    /// What the strip shows.
    pub(super) fn outages_words(&self) -> String {
        let history = &self.facts.line_history;
        let outages = &history.outages;
        let number = outages.len() as u64 + history.outages_forgotten;
        let ended = |outage: &OutageReport| outage.to?.since(outage.from);
        let longest = outages.iter().filter_map(ended).max();
        let words = match (number, longest) {
            (0, _) => "No outage in the last 7 days".to_owned(),
            (_, None) => format!("{} in the last 7 days", words::count(number, "outage")),
            (1, Some(longest)) => format!("1 outage in the last 7 days, of {}", words::span(longest)),
            (_, Some(longest)) => {
                format!("{number} outages in the last 7 days, the longest of {}", words::span(longest))
            }
        };
        match self.unknown() {
            0 => words,
            _ => words + "; of the time before the first start nothing is known",
        }
    }

    /// The last outages, the newest first.
    pub(super) fn outages(&self) -> impl Iterator<Item = &'a OutageReport> {
        self.facts.line_history.outages.iter().rev().take(OUTAGES)
    }

    pub(super) fn outage_words(&self, outage: &OutageReport) -> String {
        let fault = outage.fault.map_or("set up anew, or the gateway did not run", |fault| fault.sentence());
        match outage.to.and_then(|to| to.since(outage.from)) {
            Some(length) => format!("for {}: {fault}", words::span(length)),
            None => format!("and still: {fault}"),
        }
    }

    /// What went over the line, day by day.
    pub(super) fn traffic(&self) -> Vec<(String, &'a TrafficDay)> {
        self.facts
            .line_history
            .traffic
            .days
            .iter()
            .enumerate()
            .map(|(ago, day)| (words::day(ago), day))
            .collect()
    }

    /// What was written to the disk, day by day.
    pub(super) fn written_days(&self) -> Vec<(String, String)> {
        let days = self.facts.store.written.days.iter().enumerate();
        days.map(|(ago, bytes)| (words::day(ago), words::bytes(*bytes))).collect()
    }

    /// When the queue will be full.
    pub(super) fn outlook(&self) -> Option<String> {
        let full_in = self.facts.outlook.full_in?;
        Some(format!("in {} at today's rate", words::span(full_in)))
    }

    pub(super) fn waiting(&self) -> String {
        match self.facts.store.waiting {
            0 => "Nothing waits".to_owned(),
            1 => "1 message waits".to_owned(),
            count => format!("{count} messages wait"),
        }
    }

    /// Policies that dropped something, in words.
    pub(super) fn dropped(&self) -> Vec<String> {
        let dropped = self.facts.store.dropped.iter().filter(|(_, count)| *count > 0);
        dropped
            .map(|(policy, number)| {
                format!("{} {}", words::count(*number, "message"), words::dropped(policy))
            })
            .collect()
    }

    pub(super) fn refusal_words(&self, refusal: &RefusalReport) -> String {
        let times = words::count(refusal.count, "time");
        match refusal.dropped {
            0 => format!("{}; {times}", refusal.reason),
            dropped => format!("{}; {times}, {} dropped", refusal.reason, words::count(dropped, "message")),
        }
    }

    pub(super) fn written(&self) -> String {
        words::written(&self.facts.store.written)
    }

    pub(super) fn lane_words(&self, lane: &LaneReport) -> String {
        let waiting = words::count(lane.waiting, "message");
        let size = words::bytes(lane.waiting_bytes);
        match lane.dropped {
            0 => format!("{waiting}, {size}"),
            dropped => format!("{waiting}, {size}; {dropped} not kept"),
        }
    }

    pub(super) fn bytes(&self, number: &u64) -> String {
        words::bytes(*number)
    }

    pub(super) fn queued(&self) -> String {
        words::bytes(self.facts.broker.queued_bytes as u64)
    }

    pub(super) fn memory_limit(&self) -> String {
        words::bytes(self.facts.broker.memory_limit as u64)
    }

    pub(super) fn is_online(&self, device: &DeviceReport) -> bool {
        device.availability == Availability::Online
    }

    /// Those in need of attention, a bounded number of them.
    pub(super) fn ill(&self) -> Vec<&'a DeviceReport> {
        self.facts.devices.iter().filter(|device| device.is_ill()).take(NAMED).collect()
    }

    /// What is said of all devices together.
    pub(super) fn devices_words(&self) -> String {
        let all = self.facts.devices.len() as u64;
        let ill = self.facts.devices.iter().filter(|device| device.is_ill()).count();
        let all = words::count(all, "device");
        match ill {
            0 => format!("{all}, nothing to complain of"),
            1 => format!("{all}, 1 needs attention:"),
            ill if ill > NAMED => format!("{all}, {ill} need attention, the first of them:"),
            ill => format!("{all}, {ill} need attention:"),
        }
    }

    fn is_crowded(&self) -> bool {
        self.facts.devices.len() > CROWD
    }

    /// What it is there for: `temperature` and `21.5 °C`.
    pub(super) fn headline(&self, device: &DeviceReport) -> Option<(String, String)> {
        let number = device.number.as_ref()?;
        let value = number.value.into();
        Some((self.spaced(&number.field), words::measured(&value, number.unit.as_deref())))
    }

    /// The last 24 hours of it: its line, how many steps that has, and what it shows, in words.
    pub(super) fn history(&self, device: &DeviceReport) -> Option<(String, usize, String)> {
        let number = device.number.as_ref().filter(|_| !self.is_crowded())?;
        let (line, least, most) = chart::line(&number.history)?;
        let (least, most) = (words::number(least), words::number(most));
        let words = match least == most {
            true => format!("{least} all the time in 24 h"),
            false => format!("{least} to {most} in 24 h"),
        };
        Some((line, number.history.len() - 1, words))
    }

    /// Its further fields, with battery and signal in words of their own.
    pub(super) fn fields(&self, device: &DeviceReport) -> Vec<(String, String)> {
        let is_shown = |name: &str, value: &serde_json::Value| {
            let is = |known: Option<f64>| known.is_some() && value.as_f64() == known;
            device.number.as_ref().is_some_and(|number| number.field == name)
                || (name.contains("battery") && is(device.battery_percent))
                || (name == "signal" && is(device.signal_dbm))
        };
        let others = device.fields.iter().flatten().filter(|(name, value)| !is_shown(name, value));
        let others = others.map(|(name, value)| {
            (name.replace('_', " "), words::measured(value, device.units.get(name).map(String::as_str)))
        });
        let battery = device.battery_percent.map(|left| ("battery".to_owned(), format!("{left:.0} %")));
        let signal = device.signal_dbm.map(|level| ("signal".to_owned(), signal(level)));
        let most = if self.is_crowded() { IN_SHORT } else { usize::MAX };
        battery.into_iter().chain(signal).chain(others).take(most).collect()
    }

    pub(super) fn spaced(&self, name: &str) -> String {
        name.replace('_', " ")
    }

    /// Who asked for it.
    pub(super) fn origin(&self, command: &CommandReport) -> String {
        match command.origin.as_str() {
            "local" => "home".to_owned(),
            "local (page)" => "home, by this page".to_owned(),
            "rule" => "a rule".to_owned(),
            "unknown" => "before the last start".to_owned(),
            other => format!("the {other}"),
        }
    }

    pub(super) fn outcome(&self, command: &CommandReport) -> &'static str {
        words::outcome(command.outcome.status)
    }

    pub(super) fn outcome_level(&self, command: &CommandReport) -> &'static str {
        match command.outcome.status {
            OutcomeStatus::Applied => "ok",
            OutcomeStatus::Refused | OutcomeStatus::Expired => "warning",
            OutcomeStatus::Failed | OutcomeStatus::Unknown => "error",
        }
    }

    /// How old it was when it came.
    pub(super) fn age(&self, command: &CommandReport) -> Option<String> {
        command.age.map(|age| format!("{} old on arrival", words::short(age)))
    }

    /// The machine, what of it is known: a name, words, and whether somebody should look after it.
    pub(super) fn host(&self) -> Vec<(&'static str, String, bool)> {
        let HostReport { temperature_celsius, under_voltage, disk, memory, load, clock_synchronised } =
            self.facts.host;
        let mut rows = Vec::new();
        if let Some(degrees) = temperature_celsius {
            let is_hot = self.facts.host.is_hot();
            let words = if is_hot { ": too hot, it slows down" } else { "" };
            rows.push(("Temperature", format!("{degrees:.1} °C{words}"), is_hot));
        }
        if let Some(voltage) = under_voltage {
            let words = match (voltage.now, voltage.since_boot) {
                (true, _) => "too little now: use a stronger power supply",
                (false, true) => "was too little since the start: use a stronger power supply",
                (false, false) => "enough",
            };
            rows.push(("Voltage", words.to_owned(), voltage.is_bad()));
        }
        let free = |free, total| format!("{} free of {}", words::bytes(free), words::bytes(total));
        if let Some(disk) = disk {
            rows.push(("Disk", free(disk.free_bytes, disk.total_bytes), disk.is_short()));
        }
        if let Some(memory) = memory {
            rows.push(("Memory", free(memory.available_bytes, memory.total_bytes), memory.is_short()));
        }
        if let Some([one, five, fifteen]) = load {
            rows.push(("Load, 1, 5 and 15 min", format!("{one:.2}, {five:.2}, {fifteen:.2}"), false));
        }
        let is_set = clock_synchronised.unwrap_or(self.facts.clock_trusted);
        let clock = match (clock_synchronised, self.facts.clock_trusted) {
            (Some(true), _) => "synchronised",
            (None, true) => "set",
            (Some(false), true) => "set, not synchronised at the moment",
            (Some(false) | None, false) => "not set yet",
        };
        rows.push(("Clock", clock.to_owned(), !is_set));
        rows
    }

    /// The outcome's own sentence, else what its reason means; escaped.
    pub(super) fn because(&self, command: &CommandReport) -> String {
        let outcome = &command.outcome;
        let reason = || outcome.reason.map(|reason| words::reason(reason).to_owned());
        self.sentence(&outcome.detail.clone().or_else(reason).unwrap_or_default())
    }
}

/// `-61 dBm, good`: few know what the number means.
fn signal(level: f64) -> String {
    let word = match level {
        -65.0.. => "good",
        -80.0.. => "fair",
        _ => "weak",
    };
    format!("{level:.0} dBm, {word}")
}
