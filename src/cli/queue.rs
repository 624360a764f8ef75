//! `queue`: what waits for the cloud, and what of it nobody wants to send any more.
//!
//! Looks into the store's file by `store::visit`, also while the gateway runs; drops something only while it does not.

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    DEFAULT_FILE, Exit, configuration,
    devices::lines,
    question,
    say::{self, say},
};
use crate::{
    app::store_file,
    model::{Message, printable},
    store::{
        StoreError,
        visit::{self, Waiting},
    },
    web::words,
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
    /// The configuration, for where the queue is.
    #[arg(long, global = true, value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the messages that wait, the oldest first.
    List {
        /// How many at most.
        #[arg(long, value_name = "COUNT", default_value_t = 50)]
        most: u32,
        /// Print them as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show one message, whole, as it was accepted.
    Show {
        /// Its id, as `list` has it, or only the number at its end.
        id: String,
        /// Print it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Drop messages, so that the cloud never gets them. Only while the gateway does not run.
    Drop {
        /// Their ids, as `list` has them, or only the numbers at their ends.
        #[arg(required = true, num_args = 1..=1000)]
        ids: Vec<String>,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let config = match configuration::shape(&arguments.config) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let path = store_file(&config);
    let done = match &arguments.action {
        Action::List { most, json } => visit::look_at_queue(&path, *most).map_err(Into::into).map(|queue| {
            say(match queue {
                None if !json => "Nothing waits: there is no queue yet.".to_owned(),
                queue if *json => all_in_json(&queue.unwrap_or_default()),
                queue => table(&queue.unwrap_or_default()),
            });
        }),
        Action::Show { id, json } => show(&path, id, *json),
        Action::Drop { ids, yes } => drop_all(&path, ids, *yes),
    };
    done.map_or_else(|error| store_failed(&error), |()| Exit::Success)
}

/// Says what went wrong with the store; of a gateway that runs, what to do.
pub(super) fn store_failed(error: &anyhow::Error) -> Exit {
    if let Some(StoreError::InUse(path)) = error.downcast_ref() {
        eprintln!(
            "hearthlink: the gateway runs, and only one may change its store `{}` at a time; nothing was changed.",
            path.display()
        );
        eprintln!(
            "Stop it (`systemctl stop hearthlink`), say this again, and start it (`systemctl start hearthlink`)."
        );
        return Exit::Failure;
    }
    say::failed(error)
}

/// The number of a message: all of an id that is not the store's name.
fn number(id: &str) -> anyhow::Result<u64> {
    let digits = id.rsplit_once('-').map_or(id, |(_, digits)| digits);
    match digits.parse() {
        Ok(number) => Ok(number),
        Err(_) => bail!("`{id}` is no id of a message; `hearthlink queue list` has them"),
    }
}

/// The message, if it waits, and if it is of this store where the id names one.
fn find(path: &std::path::Path, id: &str) -> anyhow::Result<Waiting> {
    let found = visit::look_at_message(path, number(id)?)?;
    let found = found.filter(|waiting| !id.contains('-') || waiting.id.as_str() == id);
    match found {
        Some(waiting) => Ok(waiting),
        None => bail!("no message `{id}` waits; it may have been sent meanwhile: `hearthlink queue list`"),
    }
}

fn show(path: &std::path::Path, id: &str, as_json: bool) -> anyhow::Result<()> {
    let waiting = find(path, id)?;
    if as_json {
        say(in_json(&waiting));
        return Ok(());
    }
    let Message { topic, payload, qos, retain, properties } = &waiting.message;
    let mut text = format!(
        "Id        {}\nTopic     {}\nAccepted  {}\nQoS       {}{}\nSize      {}\n",
        waiting.id.as_str(),
        printable(topic.as_str()),
        accepted(&waiting),
        u8::from(*qos),
        if *retain { ", retained" } else { "" },
        words::bytes(payload.len() as u64),
    );
    if let Some(properties) = properties {
        text += &format!("MQTT 5    {}\n", serde_json::to_string(&**properties)?);
    }
    text += &format!("\n{}", payload_words(payload, usize::MAX));
    say(text);
    Ok(())
}

fn drop_all(path: &std::path::Path, ids: &[String], is_said: bool) -> anyhow::Result<()> {
    let mut found = Vec::new();
    for id in ids {
        found.push(find(path, id)?);
    }
    found.sort_by_key(|waiting| waiting.sequence);
    found.dedup_by_key(|waiting| waiting.sequence);
    let rows: Vec<_> = found.iter().map(row).collect();
    if !is_said {
        eprint!("{}", lines(&rows));
    }
    let what = words::count(found.len() as u64, "message");
    if !question::is_sure(&format!("Drop {what}, so that the cloud never gets them?"), is_said)? {
        say("Nothing was dropped.");
        return Ok(());
    }
    let sequences: Vec<u64> = found.iter().map(|waiting| waiting.sequence).collect();
    let dropped = visit::drop_waiting(path, &sequences)?;
    say(format_args!("{} dropped.", words::count(dropped, "message")));
    Ok(())
}

/// What of a payload is in a line of the list, in characters.
const SHOWN: usize = 60;

fn row(waiting: &Waiting) -> [String; 4] {
    [
        waiting.id.as_str().to_owned(),
        accepted(waiting),
        waiting.message.topic.to_string(),
        payload_words(&waiting.message.payload, SHOWN),
    ]
}

fn table(queue: &visit::Queue) -> String {
    if queue.count == 0 {
        return "Nothing waits.".to_owned();
    }
    let titles = ["ID", "ACCEPTED", "TOPIC", "PAYLOAD"].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(titles).chain(queue.messages.iter().map(row)).collect();
    let mut text = lines(&rows);
    let waiting = words::count(queue.count, "message");
    text += &format!("{waiting} in all, {}", words::bytes(queue.bytes));
    let left = queue.count.saturating_sub(rows.len() as u64 - 1 + queue.unreadable);
    if left > 0 {
        text += &format!("; {left} newer not shown (--most)");
    }
    if queue.unreadable > 0 {
        text += &format!("; {} cannot be read", queue.unreadable);
    }
    text
}

fn accepted(waiting: &Waiting) -> String {
    let sure = if waiting.is_unsure { " (?)" } else { "" };
    format!("{}{sure}", waiting.accepted_at)
}

/// A payload as a terminal may have it.
fn payload_words(payload: &[u8], most: usize) -> String {
    let Ok(text) = std::str::from_utf8(payload) else {
        return format!("{} that are no text", words::count(payload.len() as u64, "byte"));
    };
    let mut shown: String = text.chars().take(most).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    printable(&shown)
}

fn all_in_json(queue: &visit::Queue) -> String {
    let messages: Vec<Value> = queue.messages.iter().map(in_json).collect();
    let (count, bytes, unreadable) = (queue.count, queue.bytes, queue.unreadable);
    json!({"count": count, "bytes": bytes, "unreadable": unreadable, "messages": messages}).to_string()
}

fn in_json(waiting: &Waiting) -> Value {
    let message = &waiting.message;
    let (payload, encoding) = match std::str::from_utf8(&message.payload) {
        Ok(text) => (text.to_owned(), "text"),
        Err(_) => (data_encoding::BASE64.encode(&message.payload), "base64"),
    };
    json!({
        "id": waiting.id.as_str(),
        "sequence": waiting.sequence,
        "topic": message.topic.as_str(),
        "accepted_at": waiting.accepted_at.to_string(),
        "clock_was_known": !waiting.is_unsure,
        "qos": u8::from(message.qos),
        "retain": message.retain,
        "payload": payload,
        "payload_is": encoding,
        "properties": message.properties.as_deref(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_never_speak_to_the_terminal_and_ids_are_whole_or_a_number() {
        assert_eq!(payload_words(b"a\x1b[2Jb\n", 60), "a [2Jb ");
        assert_eq!(payload_words(&[0xff, 0xfe], 60), "2 bytes that are no text");
        assert_eq!(payload_words("ö".repeat(61).as_bytes(), 60).chars().count(), 61);
        assert_eq!((number("17").unwrap(), number("ab12-17").unwrap()), (17, 17));
        for bad in ["", "-", "x", "ab-", "17-x"] {
            assert!(number(bad).is_err(), "{bad}");
        }
    }
}
