//! `doctor`: walks the whole way from the cloud's name to the last device and says what is wrong first.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{DEFAULT_FILE, Exit, configuration, gateway::Gateway, progress::Progress, say::say};
use crate::{
    app::{
        Hardware,
        examination::{self, Line, Running, Verdict},
    },
    clock::Clock,
    config::Config,
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    gateway: &'a str,
    /// Whether a gateway runs and was asked.
    running: bool,
    healthy: bool,
    lines: &'a [Line],
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let config = match configuration::load(&arguments.config, Hardware::Real) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("hearthlink: failed to begin: {error}; too many processes, or no memory is left");
            return Exit::Failure;
        }
    };
    let progress = Progress::of("Walking the way to the cloud and through the house");
    let running = ask(&config);
    let is_running = running.is_some();
    let lines = runtime.block_on(examination::examine(&config, running, &Clock::system()));
    drop(progress);
    let lines = match lines {
        Ok(lines) => lines,
        Err(error) => {
            eprintln!("hearthlink: {error}");
            return Exit::Config;
        }
    };
    // A resolver or a disk that hangs must not keep the terminal.
    runtime.shutdown_background();
    let is_healthy = !lines.iter().any(|line| line.verdict == Verdict::Bad);
    if arguments.json {
        let gateway = config.gateway.id.as_str();
        let report = Report { gateway, running: is_running, healthy: is_healthy, lines: &lines };
        match serde_json::to_string_pretty(&report) {
            Ok(text) => say(text),
            Err(error) => {
                eprintln!("hearthlink: failed to write JSON: {error}");
                return Exit::Failure;
            }
        }
    } else {
        say(text(&lines).trim_end());
    }
    if is_healthy { Exit::Success } else { Exit::Failure }
}

/// What the gateway that runs says; `None` when none answers that could be ours.
fn ask(config: &Config) -> Option<Running> {
    let body = Gateway::of(config.web.as_ref()?).status().ok()?;
    serde_json::from_str(&body).ok()
}

fn text(lines: &[Line]) -> String {
    let mut text = String::new();
    let width = lines.iter().map(|line| line.step.len()).max().unwrap_or_default();
    for line in lines {
        let mark = match line.verdict {
            Verdict::Good => '✓',
            Verdict::Bad => '✗',
            Verdict::NotTried => '–',
        };
        text += &format!("{mark} {:<width$}  {}\n", line.step.replace('_', " "), line.seen);
    }
    // Another way is worth mending once the preferred one is.
    let is_bad = |line: &&Line| line.verdict == Verdict::Bad;
    let first = lines.iter().filter(is_bad).find(|line| line.step != "way");
    let first = first.or_else(|| lines.iter().find(is_bad));
    // Without a failure, what failed a moment ago and healed is worth a word.
    let told = first.or_else(|| lines.iter().find(|line| line.remedy.is_some()));
    if let Some(remedy) = told.and_then(|line| line.remedy.as_deref()) {
        text += &format!("\nWhat to do: {remedy}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_remedy_is_printed_that_of_the_first_failure() {
        let line = |step, verdict, remedy: Option<&str>| Line {
            step,
            verdict,
            seen: "seen".to_owned(),
            fault: None,
            remedy: remedy.map(str::to_owned),
        };
        let lines = [
            line("dns", Verdict::Good, Some("healed")),
            line("round_trip", Verdict::NotTried, None),
            line("store", Verdict::Bad, Some("mend it")),
            line("devices", Verdict::Bad, Some("look at it")),
        ];
        let expected = "✓ dns         seen\n– round trip  seen\n✗ store       seen\n✗ devices     seen\n\nWhat to do: mend it\n";
        assert_eq!(text(&lines), expected);
        assert!(text(&lines[..1]).ends_with("What to do: healed\n"));
    }
}
