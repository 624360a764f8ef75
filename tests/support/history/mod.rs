//! What happened in a run, as each party wrote it down, and what is wrong with it.
//!
//! Owns the diary and its words; [`verdict`] judges, and [`work`] whether there was anything to judge. Every party writes what it did or saw at the moment it did or
//! saw it, by one monotonic clock. A message is known by its topic and its payload, which its sender makes unique;
//! a command by its id, which is also the word that reaches the bus.

mod commands;
mod messages;
mod outcomes;
pub mod verdict;
pub mod work;

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

pub type Text = Arc<str>;

/// What a party did or saw.
#[derive(Debug, Clone)]
pub enum Event {
    /// The gateway may say something of its own on this topic; where it may not, only devices may.
    Own(Text),
    /// A device is about to send this, perhaps again.
    Published { topic: Text, payload: Text },
    /// A device read its PUBACK.
    Accepted { topic: Text, payload: Text },
    /// The cloud has this and will acknowledge it, or died before it could.
    Received(Receipt),
    /// The cloud got the gateway's fence on this connection: what it is asked from now on comes after its echo.
    Fence { connection: u64 },
    /// The gateway acknowledged what the cloud had not sent it on this connection.
    Stray { connection: u64, packet: u16 },
    /// A phone sent this command, for the first time.
    Asked(Command),
    /// A phone sent one of them again.
    AskedAgain,
    /// The cloud writes it to the gateway's connection; this copy it was asked for at `asked`.
    Handed { id: Text, connection: u64, asked: Duration },
    /// The gateway acknowledged it to the cloud.
    Taken { id: Text },
    /// It reached the bus: the device read it.
    Acted { id: Text },
    /// The device showed that it did it.
    Shown { id: Text },
    /// A device has its subscription for commands, or its connection is gone.
    Listens { device: Text, is_on: bool },
    /// An outcome reached the cloud.
    Told(Outcome),
    /// The gateway was started.
    Started,
    /// The gateway is dead.
    Killed,
    /// How everything stood when it had had time to heal; `waiting`: in the gateway's queue and in the cloud's.
    AtTheEnd { is_online: bool, waiting: Option<u64> },
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
    pub device: Text,
    /// When its life is over, by the diary's clock; `None`: it carries no time.
    pub expires: Option<Duration>,
    /// How long it lives at most once the gateway has it.
    pub lives: Duration,
    /// Whether the allow-list names it.
    pub is_listed: bool,
    /// Whether its device shows what it did, so that `applied` means that it acted.
    pub is_confirmed: bool,
}

/// What became of a command, in the gateway's words.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub id: Text,
    pub status: Text,
    /// Empty: none.
    pub reason: Text,
    /// When the gateway says that it was decided, by the diary's clock.
    pub decided: Duration,
    pub is_duplicate: bool,
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
    /// The same moment by the wall clock, which the gateway on this machine goes by, too.
    wall: SystemTime,
    entries: Arc<Mutex<Vec<Entry>>>,
}

impl Diary {
    pub fn new() -> Self {
        Self { start: Instant::now(), wall: SystemTime::now(), entries: Arc::default() }
    }

    /// Now, by the diary's clock.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// A moment of the wall clock, in milliseconds since 1970, by the diary's clock.
    pub fn moment(&self, millis: u64) -> Duration {
        let moment = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        moment.duration_since(self.wall).unwrap_or_default()
    }

    /// Whether something like this happened since then.
    pub fn has_since(&self, from: Duration, is_it: impl Fn(&Event) -> bool) -> bool {
        let entries = self.entries.lock().unwrap();
        entries.iter().rev().take_while(|entry| entry.at >= from).any(|entry| is_it(&entry.event))
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
