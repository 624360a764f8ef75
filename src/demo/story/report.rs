//! What the steps of the story found, and the table of it.

use std::{fmt, future::Future, time::Duration};

use tokio::time::Instant;

use crate::demo::words::duration;

/// What a step found: what was measured, or what was seen instead of what should be.
pub(super) type Finding = Result<Measured, String>;

/// What was measured.
#[derive(Debug)]
pub(super) struct Measured {
    took: Duration,
    words: String,
}

impl Measured {
    pub(super) fn new(took: Duration, words: impl Into<String>) -> Self {
        Self { took, words: words.into() }
    }
}

struct Step {
    claim: &'static str,
    took: Duration,
    seen: String,
    is_kept: bool,
}

/// The steps so far.
#[derive(Default)]
pub struct Report(Vec<Step>);

impl Report {
    /// Plays a step and writes down what it found.
    pub(super) async fn judge(&mut self, claim: &'static str, step: impl Future<Output = Finding>) {
        let began = Instant::now();
        let (took, seen, is_kept) = match step.await {
            Ok(Measured { took, words }) => (took, words, true),
            Err(instead) => (began.elapsed(), instead, false),
        };
        self.0.push(Step { claim, took, seen, is_kept });
    }

    /// Whether there were steps, and every one held.
    pub fn is_kept(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|step| step.is_kept)
    }
}

impl fmt::Display for Report {
    /// The table: one line a step, and a closing line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("No step was played.");
        }
        const HEAD: [&str; 4] = ["step", "time", "verdict", "seen"];
        let rows: Vec<[String; 4]> = self
            .0
            .iter()
            .map(|step| {
                let verdict = if step.is_kept { "ok" } else { "FAILED" };
                [step.claim.to_owned(), duration(step.took), verdict.to_owned(), step.seen.clone()]
            })
            .collect();
        let width = |column: usize| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.chain([HEAD[column].len()]).max().unwrap_or_default()
        };
        let (claim, took, verdict) = (width(0), width(1), width(2));
        let mut line = |[a, b, c, d]: [&str; 4]| writeln!(f, "{a:claim$}  {b:>took$}  {c:verdict$}  {d}");
        line(HEAD)?;
        line(["─".repeat(claim).as_str(), &"─".repeat(took), &"─".repeat(verdict), &"─".repeat(width(3))])?;
        for [a, b, c, d] in &rows {
            line([a, b, c, d])?;
        }
        let failed = self.0.iter().filter(|step| !step.is_kept).count();
        match failed {
            0 => write!(f, "All {} steps held.", self.0.len()),
            _ => write!(f, "{failed} of {} steps failed.", self.0.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_step_that_fails_says_what_was_seen_and_spoils_the_whole() {
        let mut report = Report::default();
        assert!(!report.is_kept(), "an empty story proves nothing");
        assert_eq!(report.to_string(), "No step was played.");
        report
            .judge("Bread is there", async { Ok(Measured::new(Duration::from_millis(7), "2 slices")) })
            .await;
        assert!(report.is_kept());
        report.judge("Butter is there", async { Err("only jam".to_owned()) }).await;
        assert!(!report.is_kept());
        let table = report.to_string();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[2], "Bread is there   7 ms  ok       2 slices");
        assert_eq!(lines[3].split_whitespace().collect::<Vec<_>>()[5..], ["FAILED", "only", "jam"]);
        assert_eq!(lines[4], "1 of 2 steps failed.");
    }
}
