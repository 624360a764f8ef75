//! Decides whether a command may run, sees that it runs at most once, and says what became of it.
//!
//! Owns admission (allow-list with its senders, quiet hours and rates; time; duplicates), the rule for
//! a lost line, and the way from a command to its outcome. Never talks to hardware or to a broker:
//! devices are mailboxes, outcomes leave by a channel and by the outbox. Invariants: a command's id is
//! durable before the device hears of it; a command whose outcome was lost is `unknown` and never runs
//! again; every command that reaches [`Desk`] gets an outcome.

mod admission;
mod allow;
mod desk;
mod line_lost;
mod payload;
mod quiet;
mod rate;

pub use admission::Timing;
pub use allow::{AllowList, Rule, Values};
pub use desk::{CommandsOptions, Desk, Incoming, ReplyTo, Tell, Told};
pub use line_lost::{LineLost, SafeState};
pub use quiet::QuietHours;
pub use rate::Rate;

#[cfg(test)]
mod tests;
