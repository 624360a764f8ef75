//! The page, made from one snapshot. Everything that is shown goes through the template's escaping.

use askama::Template;
use axum::{
    extract::State,
    http::StatusCode,
    response::{Html, IntoResponse, Response},
};

use super::words;
use crate::{
    health::{
        Board, CertificateStatus, CommandReport, DeviceReport, Expiry, LaneReport, Level, RefusalReport,
        Snapshot,
    },
    model::{Availability, LinkState, OutcomeStatus, Timestamp},
};

/// Commands on the page; the board holds more.
const COMMANDS: usize = 20;

#[derive(Template)]
#[template(path = "page.html")]
struct Page {
    snapshot: Snapshot,
}

pub(super) async fn show(State(board): State<Board>) -> Response {
    match (Page { snapshot: board.snapshot() }).render() {
        Ok(page) => Html(page).into_response(),
        Err(error) => {
            tracing::error!(%error, "the status page could not be made");
            (StatusCode::INTERNAL_SERVER_ERROR, "The page could not be made; /api/status may still work.\n")
                .into_response()
        }
    }
}

// What the template asks. Askama calls methods, so each answers one question of the page.
impl Page {
    fn level(&self) -> &'static str {
        match self.snapshot.verdict.level {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }

    /// A sentence cut at its backticks; what stood between two of them is code.
    fn parts<'a>(&self, sentence: &'a str) -> Vec<(bool, &'a str)> {
        sentence.split('`').enumerate().map(|(index, part)| (index % 2 == 1, part)).collect()
    }

    fn ago(&self, then: &Timestamp) -> String {
        words::ago(self.snapshot.now, *then)
    }

    fn lasting(&self, since: &Timestamp) -> String {
        words::lasting(self.snapshot.now, *since)
    }

    fn link_words(&self) -> String {
        words::link(&self.snapshot.link)
    }

    fn link_level(&self) -> &'static str {
        match self.snapshot.link.state {
            LinkState::Off => "off",
            LinkState::Online | LinkState::CatchingUp => "ok",
            LinkState::Connecting | LinkState::Subscribing => "warning",
            LinkState::Waiting => "error",
        }
    }

    fn certificate_words(&self, status: &CertificateStatus) -> String {
        words::certificate(status)
    }

    fn is_certificate_near_its_end(&self, status: &CertificateStatus) -> bool {
        status.expiry.is_some_and(|expiry| expiry > Expiry::Far)
    }

    fn has_cloud(&self) -> bool {
        self.snapshot.link.state != LinkState::Off
    }

    fn waiting(&self) -> String {
        match self.snapshot.store.waiting {
            0 => "Nothing waits".to_owned(),
            1 => "1 message waits".to_owned(),
            count => format!("{count} messages wait"),
        }
    }

    /// Policies that dropped something, in words.
    fn dropped(&self) -> Vec<String> {
        let dropped = self.snapshot.store.dropped.iter().filter(|(_, count)| *count > 0);
        dropped
            .map(|(policy, number)| {
                format!("{} {}", words::count(*number, "message"), words::dropped(policy))
            })
            .collect()
    }

    fn refusal_words(&self, refusal: &RefusalReport) -> String {
        let times = words::count(refusal.count, "time");
        match refusal.dropped {
            0 => format!("{}; {times}", refusal.reason),
            dropped => format!("{}; {times}, {} dropped", refusal.reason, words::count(dropped, "message")),
        }
    }

    fn written(&self) -> String {
        words::written(&self.snapshot.store.written)
    }

    fn lane_words(&self, lane: &LaneReport) -> String {
        let waiting = words::count(lane.waiting, "message");
        let size = words::bytes(lane.waiting_bytes);
        match lane.dropped {
            0 => format!("{waiting}, {size}"),
            dropped => format!("{waiting}, {size}; {dropped} not kept"),
        }
    }

    fn bytes(&self, number: &u64) -> String {
        words::bytes(*number)
    }

    fn queued(&self) -> String {
        words::bytes(self.snapshot.broker.queued_bytes as u64)
    }

    fn memory_limit(&self) -> String {
        words::bytes(self.snapshot.broker.memory_limit as u64)
    }

    fn is_online(&self, device: &DeviceReport) -> bool {
        device.availability == Availability::Online
    }

    fn fields(&self, device: &DeviceReport) -> Vec<(String, String)> {
        let fields = device.fields.iter().flatten();
        fields.map(|(name, value)| (name.replace('_', " "), words::value(value))).collect()
    }

    fn spaced(&self, name: &str) -> String {
        name.replace('_', " ")
    }

    fn commands(&self) -> &[CommandReport] {
        let commands = &self.snapshot.commands;
        &commands[..commands.len().min(COMMANDS)]
    }

    fn outcome(&self, command: &CommandReport) -> &'static str {
        words::outcome(command.outcome.status)
    }

    fn outcome_level(&self, command: &CommandReport) -> &'static str {
        match command.outcome.status {
            OutcomeStatus::Applied => "ok",
            OutcomeStatus::Refused | OutcomeStatus::Expired => "warning",
            OutcomeStatus::Failed | OutcomeStatus::Unknown => "error",
        }
    }

    /// The outcome's own sentence, else what its reason means.
    fn because(&self, command: &CommandReport) -> String {
        let outcome = &command.outcome;
        let reason = || outcome.reason.map(|reason| words::reason(reason).to_owned());
        outcome.detail.clone().or_else(reason).unwrap_or_default()
    }
}
