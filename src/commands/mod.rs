//! Decides whether a command may run, sees that it runs at most once, and says what became of it.
//!
//! Owns admission (allow-list with its senders, quiet hours and rates; time; duplicates), the rule for
//! a lost line, and the way from a command to its outcome. Never talks to hardware or to a broker:
//! devices are mailboxes, outcomes leave by a channel and by the outbox. Invariants: a command's id is
//! durable before the device hears of it; a command whose outcome was lost is `unknown` and never runs
//! again; every command that reaches [`Desk`] gets an outcome, or (from the cloud) no acknowledgement, so that it comes
//! again.

mod admission;
mod allow;
mod desk;
mod haste;
mod insistence;
mod lane;
mod line_lost;
#[cfg(feature = "parts")]
#[doc(hidden)]
pub mod parts;
mod payload;
mod quiet;
mod rate;
mod register;
mod teller;

pub use admission::Timing;
pub use allow::{AllowList, Rule, Values};
pub use desk::{CommandsOptions, Desk, Incoming};
pub use line_lost::{LineLost, SafeState};
pub use quiet::QuietHours;
pub use rate::Rate;
pub use teller::{ReplyTo, Tell, Told};

#[cfg(test)]
mod tests;
