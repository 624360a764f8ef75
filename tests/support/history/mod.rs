//! What happened in a run, as each party wrote it down, and what is wrong with it.
//!
//! Owns the diary and its words; [`verdict`] judges. Every party writes what it did or saw at the moment it did or
//! saw it, by one monotonic clock. A message is known by its topic and its payload, which its sender makes unique;
//! a command by its id, which is also the word that reaches the bus.

pub mod verdict;

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

pub type Text = Arc<str>;

/// What a party did or saw.
#[derive(Debug, Clone)]
pub enum Event {
    /// A device is about to send this, perhaps again.
    Published { topic: Text, payload: Text },
    /// A device read its PUBACK.
    Accepted { topic: Text, payload: Text },
    /// The cloud has this and will acknowledge it, or died before it could.
    Received(Receipt),
    /// A phone sent this command, for the first time.
    Asked(Command),
    /// A phone sent one of them again.
    AskedAgain,
    /// The gateway acknowledged it to the cloud.
    Taken { id: Text },
    /// It reached the bus: the device read it.
    Acted { id: Text },
    /// An outcome reached the cloud.
    Told { id: Text, status: Text, is_duplicate: bool },
    /// The rig itself did not run for so long, up to now: nobody's clock is to be blamed for that.
    Stutter(Duration),
    /// Something that explains the rest: `the gateway is killed`.
    Mark(Text),
}

/// A publish as the cloud got it.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// Which of the gateway's connections it came on, counted up.
    pub connection: u64,
    /// The topic below the gateway's own.
    pub topic: Text,
    pub payload: Text,
    /// The user property `message-id`.
    pub id: Option<Text>,
    /// Whether the gateway itself wrote the payload as a JSON object, so that the id can stand in it too.
    pub is_ours: bool,
}

/// What a phone asked for.
#[derive(Debug, Clone)]
pub struct Command {
    pub id: Text,
    /// When its life is over, by the diary's clock; `None`: nobody but the gateway can tell.
    pub expires: Option<Duration>,
    /// Whether the allow-list names it.
    pub is_allowed: bool,
    /// Whether its device shows what it did, so that `applied` means that it acted.
    pub is_confirmed: bool,
}

/// An entry of the diary.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Since the run began.
    pub at: Duration,
    pub event: Event,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>11.6} {:?}", self.at.as_secs_f64(), self.event)
    }
}

/// The diary that all parties write into; cheap to clone.
#[derive(Clone)]
pub struct Diary {
    start: Instant,
    entries: Arc<Mutex<Vec<Entry>>>,
}

impl Diary {
    pub fn new() -> Self {
        Self { start: Instant::now(), entries: Arc::default() }
    }

    /// Now, by the diary's clock.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub fn write(&self, event: Event) {
        let mut entries = self.entries.lock().unwrap();
        // Under the lock, so that the entries are in the order of their times.
        entries.push(Entry { at: self.start.elapsed(), event });
    }

    pub fn mark(&self, what: impl Into<Text>) {
        self.write(Event::Mark(what.into()));
    }

    /// Writes everything so far into a file, an entry a line.
    pub fn keep(&self, path: &std::path::Path) {
        let lines: Vec<String> = self.entries().iter().map(ToString::to_string).collect();
        std::fs::write(path, lines.join("\n")).unwrap();
    }

    /// Everything so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap().clone()
    }

    /// Writes down whenever this process was held up for long; runs until it is dropped.
    pub async fn watch_for_stutter(self) {
        const TICK: Duration = Duration::from_millis(10);
        loop {
            let before = Instant::now();
            tokio::time::sleep(TICK).await;
            let late = before.elapsed().saturating_sub(TICK);
            if late > Duration::from_millis(50) {
                self.write(Event::Stutter(late));
            }
        }
    }
}
