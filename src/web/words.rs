//! Numbers, times and states in words that a person at home understands.

use std::time::Duration;

use serde_json::Value;

use crate::{
    health::{CertificateStatus, LinkReport, WrittenReport},
    model::{LinkState, OutcomeStatus, Reason, Timestamp},
};

/// The longest text shown of a device's value, in characters.
const LONGEST: usize = 80;

/// `3 minutes`, `2 hours`: one unit is enough at a glance.
pub(crate) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (count, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// `3 minutes ago`, or `just now`.
pub(crate) fn ago(now: Timestamp, then: Timestamp) -> String {
    match now.since(then) {
        Some(age) if age >= Duration::from_secs(2) => format!("{} ago", span(age)),
        _ => "just now".to_owned(),
    }
}

/// `for 3 minutes`.
pub(crate) fn lasting(now: Timestamp, since: Timestamp) -> String {
    format!("for {}", span(now.since(since).unwrap_or_default()))
}

/// `12 ms`, `0.4 s`, `3 minutes`: of what is short most often.
pub(crate) fn short(duration: Duration) -> String {
    match duration.as_millis() {
        0 => "less than 1 ms".to_owned(),
        1..1000 => format!("{} ms", duration.as_millis()),
        1000..10_000 => format!("{:.1} s", duration.as_secs_f64()),
        _ => span(duration),
    }
}

/// `21.5`: a number as a person wants it, without what comes of computing.
pub(crate) fn number(value: f64) -> String {
    let digits = if value.abs() < 10.0 { 100.0 } else { 10.0 };
    ((value * digits).round() / digits).to_string()
}

/// `today`, `3 days ago`.
pub(crate) fn day(ago: usize) -> String {
    match ago {
        0 => "today".to_owned(),
        1 => "yesterday".to_owned(),
        ago => format!("{ago} days ago"),
    }
}

/// `1 message`, `12 messages`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// `4.0 MiB`.
pub(crate) fn bytes(number: u64) -> String {
    bytesize::ByteSize(number).display().iec().to_string()
}

/// `12.0 MiB of 500.0 MiB`, with the floor between commits when there is one.
pub(crate) fn written(report: &WrittenReport) -> String {
    let Some(today) = report.days.first() else { return "not counted by this kernel".to_owned() };
    let mut words = bytes(*today);
    if let Some(budget) = report.budget {
        words += &format!(" of {}", bytes(budget));
    }
    if !report.floor.is_zero() {
        words += &format!(", commits at least {} s apart", report.floor.as_secs_f64());
    }
    words
}

/// A field's value, shortened.
pub(crate) fn value(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Null => "unknown".to_owned(),
        Value::Number(number) if number.is_f64() => number.as_f64().map(self::number).unwrap_or_default(),
        other => other.to_string(),
    };
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// `21.5 °C`: a field's value in its unit, if it has one.
pub(crate) fn measured(value: &Value, unit: Option<&str>) -> String {
    let unit = unit.map(|unit| format!(" {unit}")).unwrap_or_default();
    self::value(value) + &unit
}

/// Where the line stands.
pub(crate) fn link(report: &LinkReport) -> String {
    match report.state {
        LinkState::Off => "No cloud is configured".to_owned(),
        LinkState::Connecting => "Connecting".to_owned(),
        LinkState::Subscribing => "Connected, subscribing".to_owned(),
        LinkState::CatchingUp => "Connected, catching up".to_owned(),
        LinkState::Online => "Connected".to_owned(),
        LinkState::Waiting => match report.next_attempt_in {
            Some(wait) => {
                format!("Not connected, tries again within {}", span(wait + Duration::from_secs(1)))
            }
            None => "Not connected, tries again by itself".to_owned(),
        },
    }
}

/// `CN=home, expires in 27 days`.
pub(crate) fn certificate(status: &CertificateStatus) -> String {
    let subject = &status.certificate.subject;
    match status.words() {
        Some(words) if status.days_left < Some(0) => format!("{subject}, expired {words}"),
        Some(words) => format!("{subject}, expires {words}"),
        None => format!("{subject}, valid until {}", status.certificate.not_after),
    }
}

/// Why messages of the queue were dropped, by the policy's name.
pub(crate) fn dropped(policy: &str) -> &str {
    match policy {
        "drop_oldest" => "dropped because the queue was full",
        "refuse_new" => "not accepted because the queue was full (their devices send them again)",
        "disk_too_slow" => "readings not kept because the disk was too slow",
        "max_age" => "dropped because they were too old",
        "refused_by_cloud" => "refused by the cloud",
        "beyond_limits" => "larger than the cloud takes, or on topics that it does not take",
        "unreadable" => "damaged on the disk",
        "superseded" => "replaced by newer ones of their topic (keep: latest)",
        "thinned" => "not kept while the line was down (keep: every)",
        "line_down" => "not kept while the line was down (keep: none)",
        other => other,
    }
}

/// What became of a command.
pub(crate) fn outcome(status: OutcomeStatus) -> &'static str {
    match status {
        OutcomeStatus::Applied => "Done",
        OutcomeStatus::Refused => "Refused",
        OutcomeStatus::Expired => "Too late",
        OutcomeStatus::Failed => "Failed",
        OutcomeStatus::Unknown => "Unknown",
    }
}

/// Why a command was not applied.
pub(crate) fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::NotAllowed => "The configuration does not allow it.",
        Reason::UnknownSender => "The configuration does not allow it to this sender.",
        Reason::QuietHours => "The configuration does not allow it at this hour.",
        Reason::RateLimited => "It came too often.",
        Reason::Retained => "It was a retained message, an order from the past.",
        Reason::Undated => "It may have waited in the cloud and carries no time of its own.",
        Reason::Redelivered => "It was sent again and carries no id.",
        Reason::NoSuchDevice => "There is no such device.",
        Reason::Malformed => "It cannot be understood.",
        Reason::TooLate => "Its time was over.",
        Reason::ClockUnknown => "This machine's clock is not synchronised yet.",
        Reason::FromTheFuture => "It says that it was sent in the future.",
        Reason::Busy => "The device was still busy with earlier commands.",
        Reason::NotDurable => "The disk could not keep its id.",
        Reason::DeviceError => "The device or its connection reported an error.",
        Reason::NotConfirmed => "The device did not confirm it in time.",
        Reason::Interrupted => "The gateway stopped while it ran.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_say_them() {
        for (seconds, expected) in
            [(0, "0 seconds"), (1, "1 second"), (61, "1 minute"), (7200, "2 hours"), (200_000, "2 days")]
        {
            assert_eq!(span(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn numbers_have_no_more_digits_than_somebody_reads() {
        for (value, expected) in
            [(21.5, "21.5"), (0.1 + 0.2, "0.3"), (1013.2499, "1013.2"), (-3.0, "-3"), (0.014, "0.01")]
        {
            assert_eq!(number(value), expected);
        }
        for (millis, expected) in
            [(0, "less than 1 ms"), (1, "1 ms"), (999, "999 ms"), (1_250, "1.2 s"), (61_000, "1 minute")]
        {
            assert_eq!(short(Duration::from_millis(millis)), expected);
        }
    }

    #[test]
    fn what_was_written_is_said_with_its_budget_and_what_is_done_about_it() {
        let report = |days: &[u64], budget, millis| WrittenReport {
            days: days.to_vec(),
            budget,
            floor: Duration::from_millis(millis),
        };
        for (days, budget, floor, expected) in [
            (&[][..], Some(1), 0, "not counted by this kernel"),
            (&[12 << 20, 5], None, 0, "12.0 MiB"),
            (&[12 << 20, 5], Some(500 << 20), 0, "12.0 MiB of 500.0 MiB"),
            (&[499 << 20], Some(500 << 20), 1_250, "499.0 MiB of 500.0 MiB, commits at least 1.25 s apart"),
        ] {
            assert_eq!(written(&report(days, budget, floor)), expected);
        }
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let text = value(&Value::from("ä".repeat(200)));
        assert_eq!(text.chars().count(), LONGEST + 1);
    }
}
