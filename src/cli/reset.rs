//! `reset`: the store forgets what it is told to, while the gateway does not run.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value};

use super::{DEFAULT_FILE, Exit, configuration, progress::Progress, question, queue::store_failed, say::say};
use crate::{
    app::store_file,
    store::visit::{self, Forget},
};

/// Forgets what the flags name; without one, nothing.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub(super) struct Arguments {
    /// The configuration, for where the store is.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,
    /// What waits for the cloud: it never gets it.
    #[arg(long, group = "what")]
    queue: bool,
    /// Which commands ran: one that is sent again with an old id runs again.
    #[arg(long, group = "what")]
    journal: bool,
    /// The retained messages of the broker at home, and its clients' sessions with what waits for them.
    #[arg(long, group = "what")]
    retained: bool,
    /// All of this, and the devices' last known states.
    #[arg(long, group = "what")]
    all: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Print as JSON how much was forgotten.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    fn what(&self) -> Forget {
        let all = self.all;
        Forget {
            queue: all || self.queue,
            journal: all || self.journal,
            retained: all || self.retained,
            sessions: all || self.retained,
            states: all,
        }
    }

    /// What it is, for the question.
    fn words(&self) -> String {
        let what = self.what();
        let named = [
            (what.queue, "what waits for the cloud"),
            (what.journal, "which commands ran"),
            (what.retained, "the broker's retained messages and sessions"),
            (what.states, "the devices' last states"),
        ];
        let named: Vec<&str> = named.into_iter().filter_map(|(is, words)| is.then_some(words)).collect();
        named.join(", ")
    }
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let config = match configuration::shape(&arguments.config) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let path = store_file(&config);
    if !path.exists() {
        say(if arguments.json { "{}" } else { "There is no store yet, so there is nothing to forget." });
        return Exit::Success;
    }
    let question = format!("Forget for good {} of `{}`?", arguments.words(), config.gateway.id);
    match question::is_sure(&question, arguments.yes) {
        Ok(true) => {}
        Ok(false) => {
            say(if arguments.json { "{}" } else { "Nothing was forgotten." });
            return Exit::Success;
        }
        Err(error) => return store_failed(&error),
    }
    let progress = Progress::of("Forgetting, and making the file smaller");
    let forgotten = visit::forget(&path, arguments.what());
    drop(progress);
    match forgotten {
        Ok(forgotten) => {
            if arguments.json {
                let counts =
                    forgotten.iter().map(|(table, count)| ((*table).to_owned(), Value::from(*count)));
                say(Value::Object(Map::from_iter(counts)));
            } else {
                let counts: Vec<String> =
                    forgotten.iter().map(|(table, count)| format!("{table} {count}")).collect();
                say(format_args!("Forgotten: {}.", counts.join(", ").replace('_', " ")));
            }
            Exit::Success
        }
        Err(error) => store_failed(&error.into()),
    }
}
