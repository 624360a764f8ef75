//! The decision in time: until when may a command run? Pure; the caller brings both clocks.
//!
//! A command is dated when it carries its own time (`at`, `expires_at`) or an MQTT 5 message expiry,
//! which the cloud counts down while the message waits. An undated one may run only when it cannot
//! have waited. Wall-clock times are believed only when our own clock is.

use std::time::Duration;

use tokio::time::Instant;

use super::payload::Order;
use crate::model::{OutcomeStatus, Reason, Staleness, Timestamp, WallTime};

/// The age limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How old a command may be when it reaches its device, whatever life it asks for.
    pub max_age: Duration,
    /// How far the sender's clock may be ahead of ours.
    pub clock_skew: Duration,
}

impl Default for Timing {
    /// 30 s old at most, 10 s ahead at most.
    fn default() -> Self {
        Self { max_age: Duration::from_secs(30), clock_skew: Duration::from_secs(10) }
    }
}

/// Why a command does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: OutcomeStatus,
    pub(super) reason: Reason,
    pub(super) detail: String,
}

impl Refusal {
    pub(super) fn refused(reason: Reason, detail: impl Into<String>) -> Self {
        Self { status: OutcomeStatus::Refused, reason, detail: detail.into() }
    }

    pub(super) fn expired(detail: impl Into<String>) -> Self {
        Self { status: OutcomeStatus::Expired, reason: Reason::TooLate, detail: detail.into() }
    }
}

/// How a message came, as far as time is concerned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    /// By the monotonic clock.
    pub(super) received: Instant,
    /// What the cloud said was left of its life then (MQTT 5 message expiry interval).
    pub(super) life_left: Option<Duration>,
    /// Whether it can have waited.
    pub(super) staleness: Staleness,
}

/// Both clocks, now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) monotonic: Instant,
    pub(super) wall: Timestamp,
    pub(super) is_trusted: bool,
    /// The hour; `None` when it is not known.
    pub(super) on_the_wall: Option<WallTime>,
}

/// Until when the command may reach its device.
pub(super) fn deadline(
    order: &Order,
    arrival: Arrival,
    timing: Timing,
    now: Now,
) -> Result<Instant, Refusal> {
    let has_wall_time = order.at.is_some() || order.expires_at.is_some();
    if has_wall_time && !now.is_trusted {
        return Err(Refusal::refused(
            Reason::ClockUnknown,
            "the command carries a time and the gateway's clock is not set yet",
        ));
    }
    if !has_wall_time && arrival.life_left.is_none() && arrival.staleness == Staleness::MayHaveWaited {
        return Err(Refusal::refused(
            Reason::Undated,
            "the command may have waited in the cloud while the line was down and carries no time of its own; send `at` or `expires_at`",
        ));
    }
    let mut deadline = arrival.received + timing.max_age;
    if let Some(left) = arrival.life_left {
        deadline = deadline.min(arrival.received + left);
    }
    match (order.at, order.ttl) {
        (Some(at), ttl) => {
            if at > now.wall.plus(timing.clock_skew) {
                return Err(Refusal::refused(
                    Reason::FromTheFuture,
                    format!(
                        "the command says it was sent at {at}, and here it is {}; set both clocks",
                        now.wall
                    ),
                ));
            }
            let life = ttl.map_or(timing.max_age, |ttl| ttl.min(timing.max_age));
            deadline = deadline.min(monotonic(at.plus(life), now)?);
        }
        (None, Some(ttl)) => deadline = deadline.min(arrival.received + ttl),
        (None, None) => {}
    }
    if let Some(expires_at) = order.expires_at {
        deadline = deadline.min(monotonic(expires_at, now)?);
    }
    if deadline <= now.monotonic {
        return Err(Refusal::expired("the command's time was over when it arrived"));
    }
    Ok(deadline)
}

/// A wall-clock moment in the future, by the monotonic clock.
fn monotonic(moment: Timestamp, now: Now) -> Result<Instant, Refusal> {
    match moment.since(now.wall) {
        Some(left) if !left.is_zero() => {
            // Far beyond every age limit; keeps the addition in range.
            Ok(now.monotonic + left.min(Duration::from_secs(365 * 24 * 3600)))
        }
        _ => {
            Err(Refusal::expired(format!("the command's time was over at {moment}; here it is {}", now.wall)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::payload;

    const NOW: &str = "2026-11-22T12:00:00Z";

    fn check(
        payload: &str,
        life_left: Option<u64>,
        staleness: Staleness,
        is_trusted: bool,
    ) -> Result<u64, Reason> {
        let order = payload::parse(payload.as_bytes()).unwrap();
        let received = Instant::now();
        let arrival = Arrival { received, life_left: life_left.map(Duration::from_secs), staleness };
        let wall = Timestamp::parse_rfc3339(NOW).unwrap();
        let now = Now { monotonic: received, wall, is_trusted, on_the_wall: None };
        deadline(&order, arrival, Timing::default(), now)
            .map(|deadline| (deadline - received).as_secs())
            .map_err(|refusal| refusal.reason)
    }

    #[tokio::test]
    async fn the_shortest_of_all_lives_counts() {
        use Staleness::{Live, MayHaveWaited};
        for (payload, life_left, staleness, expected) in [
            ("ON", None, Live, Ok(30)),
            ("ON", Some(5), Live, Ok(5)),
            ("ON", Some(5), MayHaveWaited, Ok(5)),
            ("ON", Some(0), Live, Err(Reason::TooLate)),
            ("ON", None, MayHaveWaited, Err(Reason::Undated)),
            (r#"{"state":1,"ttl":2}"#, None, Live, Ok(2)),
            (r#"{"state":1,"ttl":0}"#, None, Live, Err(Reason::TooLate)),
            (r#"{"state":1,"ttl":900}"#, None, Live, Ok(30)),
            (r#"{"state":1,"ttl":2}"#, None, MayHaveWaited, Err(Reason::Undated)),
            (r#"{"state":1,"at":"2026-11-22T11:59:50Z"}"#, None, MayHaveWaited, Ok(20)),
            (r#"{"state":1,"at":"2026-11-22T11:59:59Z","ttl":2}"#, None, MayHaveWaited, Ok(1)),
            (r#"{"state":1,"at":"2026-11-22T11:59:58Z","ttl":2}"#, None, Live, Err(Reason::TooLate)),
            (r#"{"state":1,"at":"2026-11-22T11:00:00Z","ttl":9999}"#, None, Live, Err(Reason::TooLate)),
            (r#"{"state":1,"at":"2026-11-22T12:00:05Z"}"#, None, Live, Ok(30)),
            (r#"{"state":1,"at":"2026-11-22T12:00:11Z"}"#, None, Live, Err(Reason::FromTheFuture)),
            (r#"{"state":1,"expires_at":"2026-11-22T12:00:07Z"}"#, None, MayHaveWaited, Ok(7)),
            (r#"{"state":1,"expires_at":"2026-11-22T11:59:59Z"}"#, Some(9), Live, Err(Reason::TooLate)),
        ] {
            assert_eq!(
                check(payload, life_left, staleness, true),
                expected,
                "{payload} {life_left:?} {staleness:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_clock_that_was_never_set_judges_no_times_but_the_monotonic_ones() {
        use Staleness::Live;
        for (payload, life_left, expected) in [
            (r#"{"state":1,"at":"2026-11-22T12:00:00Z"}"#, None, Err(Reason::ClockUnknown)),
            (r#"{"state":1,"expires_at":"2099-01-01T00:00:00Z"}"#, None, Err(Reason::ClockUnknown)),
            (r#"{"state":1,"ttl":2}"#, None, Ok(2)),
            ("ON", Some(3), Ok(3)),
        ] {
            assert_eq!(check(payload, life_left, Live, false), expected, "{payload}");
        }
    }
}
