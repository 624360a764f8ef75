//! The narrator: says in words what happens, line by line, each with the time since the start.
//!
//! Owns what is printed, and a place in the cloud from where it watches what passes. Never decides or
//! measures anything that the story counts on.

use std::{
    collections::HashMap,
    fmt::Display,
    io::{self, Write},
    net::SocketAddr,
};

use serde_json::Value;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    CLOUD_ROOT,
    client::Client,
    cloud::{Line, LineState},
    words::duration,
};
use crate::model::{Outcome, OutcomeStatus};

/// Messages from the cloud that wait to be told. Full: the connection waits, and the broker keeps them.
const INCOMING: usize = 64;
/// Presses whose moment is remembered. Full: all are forgotten, and outcomes are told without their time.
const PRESSES: usize = 64;

/// Says lines; cheap to copy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Narrator {
    start: Instant,
}

impl Narrator {
    /// The clock of the lines starts now.
    pub(super) fn new() -> Self {
        Self { start: Instant::now() }
    }

    /// One line, with the time.
    pub(super) fn say(self, line: impl Display) {
        self.print(format_args!("{:6.1} s  {line}", self.start.elapsed().as_secs_f64()));
    }

    /// Several lines that belong to the last one, without a time.
    pub(super) fn show(self, text: impl Display) {
        for line in text.to_string().lines() {
            self.print(format_args!("          {line}"));
        }
    }

    /// Something that stands for itself, with a line of space around it.
    pub(super) fn table(self, table: impl Display) {
        self.print("");
        self.print(table);
        self.print("");
    }

    fn print(self, line: impl Display) {
        // Whoever closed the pipe does not want to read it, and the story goes on all the same.
        let _ = writeln!(io::stdout().lock(), "{}", line.to_string().trim_end());
    }

    /// Tells what passes through the cloud, and what becomes of the line, until `stop`.
    pub(super) fn follow(self, broker: SocketAddr, line: &Line, stop: &CancellationToken) {
        let filters = ["toaster", "toaster/set", "toaster/result", "bridge/state"];
        let filters = filters.map(|below| format!("{CLOUD_ROOT}/{below}")).to_vec();
        let (sender, mut incoming) = mpsc::channel(INCOMING);
        let client = Client::connect("demo-narrator", broker, filters, sender, stop.clone());
        let (mut line, stop) = (line.changes(), stop.clone());
        tokio::spawn(async move {
            // It keeps the connection for as long as there is somebody to tell.
            let _client = client;
            let mut memory = Memory::default();
            loop {
                // Cancel safety: `recv` and `changed` lose nothing when they are dropped.
                tokio::select! {
                    () = stop.cancelled() => return,
                    message = incoming.recv() => {
                        let Some(message) = message else { return };
                        let topic = String::from_utf8_lossy(&message.topic);
                        if let Some(sentence) = memory.tell(&topic, &message.payload, Instant::now()) {
                            self.say(sentence);
                        }
                    }
                    changed = line.changed() => {
                        let Ok(()) = changed else { return };
                        self.say(match *line.borrow_and_update() {
                            LineState::Cut => "✂  The line between home and cloud is cut.",
                            LineState::Stalled => "The line between home and cloud carries nothing more.",
                            LineState::Up => "The line is whole again; the gateway has to find that out by itself.",
                        });
                    }
                }
            }
        });
    }
}

/// What the narrator must remember to say something only when it changed.
#[derive(Default)]
struct Memory {
    home: Option<String>,
    toast: Option<String>,
    presses: HashMap<String, Instant>,
}

impl Memory {
    fn tell(&mut self, topic: &str, payload: &[u8], now: Instant) -> Option<String> {
        let below = topic.strip_prefix(CLOUD_ROOT)?.strip_prefix('/')?;
        let text = String::from_utf8_lossy(payload);
        match below {
            "bridge/state" => changed(&mut self.home, &text).then(|| match &*text {
                "online" => "The gateway tells the cloud that it is there.".to_owned(),
                "offline" => "The cloud learns that the gateway is gone: `offline`.".to_owned(),
                other => format!("The gateway tells the cloud: {other}."),
            }),
            "toaster" => {
                let state: Value = serde_json::from_str(&text).ok()?;
                let toast = state.get("toast")?.as_str()?;
                changed(&mut self.toast, toast).then(|| match toast {
                    "toasting" => "The toaster is toasting.".to_owned(),
                    "ready" => "The toast is ready.".to_owned(),
                    "early" => "The toast came out early.".to_owned(),
                    _ => "The toaster stands idle.".to_owned(),
                })
            }
            "toaster/set" => {
                let order: Value = serde_json::from_str(&text).ok()?;
                let id = order.get("id")?.as_str()?;
                let again = self.presses.contains_key(id);
                if self.presses.len() >= PRESSES {
                    self.presses.clear();
                }
                self.presses.insert(id.to_owned(), now);
                Some(format!(
                    "The cloud has a command for the toaster{}: {text}",
                    if again { ", again" } else { "" }
                ))
            }
            "toaster/result" => {
                let outcome: Outcome = serde_json::from_str(&text).ok()?;
                let after = self.presses.get(outcome.id.as_str()).map(|pressed| now - *pressed);
                Some(outcome_sentence(&outcome, after.map(duration)))
            }
            _ => None,
        }
    }
}

fn changed(memory: &mut Option<String>, now: &str) -> bool {
    let changed = memory.as_deref() != Some(now);
    *memory = Some(now.to_owned());
    changed
}

fn outcome_sentence(outcome: &Outcome, after: Option<String>) -> String {
    let what = match outcome.status {
        OutcomeStatus::Applied => "the toaster did it",
        OutcomeStatus::Refused => "the home refused it",
        OutcomeStatus::Expired => "too late, it was not run",
        OutcomeStatus::Failed => "the toaster could not do it",
        OutcomeStatus::Unknown => "nobody knows whether the toaster did it",
    };
    let mut sentence = format!("The answer of the home, `{}`: {what}", outcome.status.as_str());
    if let Some(detail) = &outcome.detail {
        sentence.push_str(&format!(" ({detail})"));
    }
    if outcome.duplicate {
        sentence.push_str(", as recorded the first time; it did not run again");
    }
    if let Some(after) = after {
        sentence.push_str(&format!(", {after} after the command"));
    }
    sentence + "."
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn something_is_said_when_it_changed_and_only_then() {
        let mut memory = Memory::default();
        let start = Instant::now();
        let mut tell = |below: &str, payload: &str, after: u64| {
            let now = start + Duration::from_millis(after);
            memory.tell(&format!("{CLOUD_ROOT}/{below}"), payload.as_bytes(), now)
        };
        assert!(tell("bridge/state", "online", 0).unwrap().contains("is there"));
        assert_eq!(tell("bridge/state", "online", 1), None);
        assert!(tell("toaster/set", r#"{"id":"p1","state":"ON"}"#, 10).unwrap().contains("p1"));
        assert!(tell("toaster", r#"{"toast":"toasting","progress":0}"#, 20).unwrap().contains("toasting"));
        assert_eq!(tell("toaster", r#"{"toast":"toasting","progress":10}"#, 30), None);
        let outcome = r#"{"id":"p1","device":"toaster","status":"applied","detail":"the lever is down","at":"2026-11-22T12:00:00Z"}"#;
        let told = tell("toaster/result", outcome, 52).unwrap();
        assert!(told.contains("the lever is down") && told.contains("42 ms"), "{told}");
        assert!(tell("toaster/set", r#"{"id":"p1","state":"ON"}"#, 60).unwrap().contains("again"));
        let again = outcome.replace("\"at\"", "\"duplicate\":true,\"at\"");
        assert!(tell("toaster/result", &again, 70).unwrap().contains("did not run again"));
        assert_eq!(tell("tele/meter", "{", 80), None);
    }
}
