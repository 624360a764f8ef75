//! What the templates ask: each method answers one question of the page, in words or as escaped HTML.

use std::time::Duration;

use askama::Template;

use super::words;
use crate::{
    health::{
        CertificateStatus, CommandReport, DeviceReport, Expiry, LaneReport, Level, RefusalReport, Snapshot,
    },
    model::{Availability, LinkState, OutcomeStatus, Timestamp},
};

/// Devices that are named as in need of attention; of more, the number is told.
const NAMED: usize = 20;

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

    pub(super) fn is_certificate_near_its_end(&self, status: &CertificateStatus) -> bool {
        status.expiry.is_some_and(|expiry| expiry > Expiry::Far)
    }

    pub(super) fn has_cloud(&self) -> bool {
        self.facts.link.state != LinkState::Off
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

    pub(super) fn is_ill(&self, device: &DeviceReport) -> bool {
        device.fault.is_some() || !self.is_online(device)
    }

    /// Those in need of attention, a bounded number of them.
    pub(super) fn ill(&self) -> Vec<&'a DeviceReport> {
        self.facts.devices.iter().filter(|device| self.is_ill(device)).take(NAMED).collect()
    }

    /// What is said of all devices together.
    pub(super) fn devices_words(&self) -> String {
        let all = self.facts.devices.len() as u64;
        let ill = self.facts.devices.iter().filter(|device| self.is_ill(device)).count();
        let all = words::count(all, "device");
        match ill {
            0 => format!("{all}, nothing to complain of"),
            1 => format!("{all}, 1 needs attention:"),
            ill if ill > NAMED => format!("{all}, {ill} need attention, the first of them:"),
            ill => format!("{all}, {ill} need attention:"),
        }
    }

    pub(super) fn fields(&self, device: &DeviceReport) -> Vec<(String, String)> {
        let fields = device.fields.iter().flatten();
        fields.map(|(name, value)| (name.replace('_', " "), words::value(value))).collect()
    }

    pub(super) fn spaced(&self, name: &str) -> String {
        name.replace('_', " ")
    }

    /// Who asked for it.
    pub(super) fn origin(&self, command: &CommandReport) -> String {
        match command.origin.as_str() {
            "local" => "home".to_owned(),
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

    /// The outcome's own sentence, else what its reason means.
    pub(super) fn because(&self, command: &CommandReport) -> String {
        let outcome = &command.outcome;
        let reason = || outcome.reason.map(|reason| words::reason(reason).to_owned());
        outcome.detail.clone().or_else(reason).unwrap_or_default()
    }
}
