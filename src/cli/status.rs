//! `status`: what the status page says, in a terminal, once or again and again.

use std::{io::IsTerminal, thread, time::Duration};

use clap::Args;

use super::{
    Exit,
    gateway::{Device, Gateway, NoAnswer, Status, Which},
    say::{can_say, say},
};
use crate::{
    model::{Timestamp, printable},
    web::words,
};

/// Puts the cursor into the first corner of an empty terminal.
const CLEAR: &str = "\x1b[2J\x1b[H";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    which: Which,
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
    /// Show it again and again, every so many seconds, until Ctrl-C; with --json one line each time.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    watch: Option<u64>,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let gateway = match arguments.which.find() {
        Ok(gateway) => gateway,
        Err(exit) => return exit,
    };
    if let Some(seconds) = arguments.watch {
        return watch(&gateway, arguments.json, Duration::from_secs(seconds));
    }
    match gateway.ask() {
        Ok((body, status)) => {
            if arguments.json {
                say(body);
            } else {
                say(text(&status).trim_end());
            }
            if status.verdict.level == "error" { Exit::Failure } else { Exit::Success }
        }
        Err(error) => error.show(),
    }
}

/// Until nobody reads any more. A gateway that does not answer may be one that starts again.
fn watch(gateway: &Gateway, as_json: bool, every: Duration) -> Exit {
    let clear = if std::io::stdout().is_terminal() { CLEAR } else { "" };
    loop {
        let is_read = match gateway.ask() {
            Ok((body, _)) if as_json => can_say(body.trim_end()),
            Ok((_, status)) => can_say(format_args!("{clear}{}", text(&status))),
            Err(NoAnswer::Nobody(..)) if as_json => true,
            Err(error @ NoAnswer::Nobody(..)) => can_say(format_args!("{clear}{error}\n")),
            Err(error) => return error.show(),
        };
        if !is_read {
            return Exit::Success;
        }
        thread::sleep(every);
    }
}

fn text(status: &Status) -> String {
    let mut text = String::new();
    // What a device or a stranger says must not speak to the terminal.
    let mut line = |words: String| text.extend([printable(&words).as_str(), "\n"]);
    let ago = |then: Timestamp| words::ago(status.now, then);
    line(status.verdict.sentence.clone());
    if let Some(since) = status.verdict.since {
        line(format!("Since {} ({since}).", ago(since)));
    }
    if let Some(remedy) = &status.verdict.remedy {
        line(format!("What to do: {remedy}"));
    }
    if status.simulated {
        line("Its devices are simulated: what they say is not real.".to_owned());
    }
    line(String::new());
    line(format!("Line     {}", line_words(status)));
    if let Some(certificate) = &status.certificate {
        line(format!("Cert     {}", words::certificate(certificate)));
    }
    line(format!("Queue    {}", queue_words(status)));
    let width = status.devices.iter().map(|device| device.id.len()).max().unwrap_or_default();
    for (index, device) in status.devices.iter().enumerate() {
        let title = if index == 0 { "Devices" } else { "" };
        line(format!("{title:<8} {:<width$}  {}", device.id, device_words(device, &ago)));
    }
    line(format!("Gateway  {}, Hearthlink {}", status.gateway, status.version));
    text
}

fn line_words(status: &Status) -> String {
    let link = &status.link;
    let mut words = link.state.clone();
    if !link.endpoint.is_empty() {
        words += &format!(", {}", link.endpoint);
    }
    if let Some(protocol) = &link.protocol {
        words += &format!(", {protocol}");
    }
    if let Some(since) = link.connected_since {
        words += &format!(", connected {}", words::lasting(status.now, since));
    }
    words
}

fn queue_words(status: &Status) -> String {
    let store = &status.store;
    let mut words = match store.waiting {
        0 => "nothing waits".to_owned(),
        waiting => format!("{}, {}", words::count(waiting, "message"), words::bytes(store.waiting_bytes)),
    };
    if let Some(oldest) = store.oldest {
        words += &format!(", the oldest from {}", words::ago(status.now, oldest));
    }
    for (policy, count) in store.dropped.iter().filter(|(_, count)| *count > 0) {
        words += &format!("; {} {}", words::count(*count, "message"), words::dropped(policy));
    }
    words
}

/// What a device last said.
pub(super) fn value_words(device: &Device) -> String {
    let fields = device.fields.iter().flatten();
    let fields: Vec<String> = fields
        .map(|(name, value)| {
            format!("{name} {}", words::measured(value, device.units.get(name).map(String::as_str)))
        })
        .collect();
    fields.join(", ")
}

fn device_words(device: &Device, ago: &dyn Fn(Timestamp) -> String) -> String {
    let value = value_words(device);
    let mut words = format!("{:<8}", device.availability);
    if !value.is_empty() {
        words += &format!(" {value}");
    }
    if let Some(seen) = device.last_seen {
        words += &format!(" ({})", ago(seen));
    }
    if let Some(fault) = &device.fault {
        words += &format!(", {fault}");
    }
    words
}
