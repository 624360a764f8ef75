//! A program with any number of clients of one library in it, told what to do line by line.
//!
//! Python and JavaScript are processes; rumqttc is a thread of ours that hears and says the same words.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use super::{
    rumqttc,
    words::{Login, Message, News, Order, Post, Subscription, Task},
};
use crate::process::{Heard, PATIENCE, Process, program};

/// A library of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Paho,
    MqttJs,
    Rumqttc,
}

enum Link {
    Process(Process),
    Thread(rumqttc::Station),
}

/// A running program; ends at once when it is dropped, as its connections then do.
pub struct Station {
    pub kind: Kind,
    link: RefCell<Link>,
    heard: Arc<Heard>,
    inbox: RefCell<Inbox>,
    last: Cell<u64>,
}

/// What was heard, sorted.
#[derive(Default)]
struct Inbox {
    read: usize,
    answers: HashMap<u64, News>,
    messages: HashMap<String, Vec<Message>>,
}

impl Inbox {
    fn read(&mut self, lines: &[String]) {
        for line in &lines[self.read..] {
            // What is no news is a library's complaint; the process's guard shows it.
            let Ok(news) = serde_json::from_str::<News>(line) else { continue };
            match (news.n, news.client, news.message) {
                (_, Some(client), Some(message)) => self.messages.entry(client).or_default().push(message),
                (Some(n), client, message) => {
                    self.answers.insert(n, News { n: Some(n), client, message, ..news });
                }
                _ => {}
            }
        }
        self.read = lines.len();
    }
}

/// Where the drivers lie.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop")
}

impl Station {
    #[track_caller]
    pub fn start(kind: Kind) -> Self {
        let link = match kind {
            Kind::Rumqttc => Link::Thread(rumqttc::Station::start()),
            Kind::Paho => {
                // Debian's Python by its path: another one in front of it has no paho-mqtt, or a different one.
                let mut command = Command::new("/usr/bin/python3");
                Link::Process(Process::start("paho-mqtt", command.arg(folder().join("paho/driver.py"))))
            }
            Kind::MqttJs => {
                let folder = folder().join("mqttjs");
                assert!(
                    folder.join("node_modules/mqtt").is_dir(),
                    "mqtt.js is missing: `npm ci --ignore-scripts` in {} (`.ci/run` does)",
                    folder.display()
                );
                let mut command = Command::new(program("node"));
                Link::Process(Process::start("mqtt.js", command.arg(folder.join("driver.mjs"))))
            }
        };
        let heard = match &link {
            Link::Process(process) => process.heard(),
            Link::Thread(station) => station.heard(),
        };
        Self { kind, link: RefCell::new(link), heard, inbox: RefCell::default(), last: Cell::new(0) }
    }

    /// Ends it as a power cut would: no client says goodbye.
    pub fn kill(self) {}

    #[track_caller]
    fn wait_for<T>(&self, what: &str, mut wanted: impl FnMut(&mut Inbox) -> Option<T>) -> T {
        let found = self.heard.wait_for(PATIENCE, |lines| {
            let mut inbox = self.inbox.borrow_mut();
            inbox.read(lines);
            wanted(&mut inbox)
        });
        found.unwrap_or_else(|| panic!("{:?} did not say within {PATIENCE:?}: {what}", self.kind))
    }

    #[track_caller]
    fn ask(&self, client: &str, task: Task) -> News {
        let n = self.last.get() + 1;
        self.last.set(n);
        let order = Order { n, client: client.to_owned(), task };
        let line = serde_json::to_string(&order).expect("an order is JSON");
        match &mut *self.link.borrow_mut() {
            Link::Process(process) => process.say(&format!("{line}\n")),
            Link::Thread(station) => station.say(line),
        }
        let answer = self.wait_for(&format!("the answer to {order:.300?}"), |inbox| inbox.answers.remove(&n));
        assert!(answer.failed.is_none(), "{:?}: {client}: {:?}", self.kind, answer.failed);
        answer
    }

    /// Connects a client that is let in.
    #[track_caller]
    pub fn connect(&self, login: Login) -> Client<'_> {
        let id = login.id.clone();
        self.try_connect(login).unwrap_or_else(|code| panic!("{:?}: {id} was refused: {code}", self.kind))
    }

    /// Connects a client.
    ///
    /// # Errors
    /// CONNACK's code, when it is refused.
    #[track_caller]
    pub fn try_connect(&self, login: Login) -> Result<Client<'_>, u8> {
        let name = login.id.clone();
        // A new client, also where one with this name was before.
        self.inbox.borrow_mut().messages.remove(&name);
        let answer = self.ask(&name, Task::Connect(login));
        match answer.code {
            Some(0) => {
                let was_present = answer.session_present.expect("CONNACK says it");
                Ok(Client { station: self, name, was_present, flushes: Cell::new(0) })
            }
            code => Err(code.expect("CONNACK has a code")),
        }
    }
}

/// A connected client of a station.
pub struct Client<'a> {
    station: &'a Station,
    name: String,
    /// Whether the broker still had its session.
    pub was_present: bool,
    flushes: Cell<u32>,
}

impl Client<'_> {
    /// Subscribes, and insists that it is granted.
    #[track_caller]
    pub fn subscribe(&self, filter: &str, qos: u8) {
        self.subscribe_with(Subscription { filter: filter.to_owned(), qos, ..Subscription::default() });
    }

    #[track_caller]
    pub fn subscribe_with(&self, subscription: Subscription) {
        let wanted = subscription.qos;
        let answer = self.station.ask(&self.name, Task::Subscribe(subscription));
        assert_eq!(answer.code, Some(wanted), "SUBACK to {}", self.name);
    }

    #[track_caller]
    pub fn unsubscribe(&self, filter: &str) {
        self.station.ask(&self.name, Task::Unsubscribe { filter: filter.to_owned() });
    }

    /// Publishes a text.
    #[track_caller]
    pub fn publish(&self, topic: &str, qos: u8, payload: &str) {
        self.post(Post { topic: topic.to_owned(), qos, payload: payload.into(), ..Post::default() });
    }

    #[track_caller]
    pub fn post(&self, post: Post) {
        self.station.ask(&self.name, Task::Publish(post));
    }

    /// Publishes the numbers from 0 to `count` - 1.
    #[track_caller]
    pub fn burst(&self, topic: &str, qos: u8, count: usize) {
        self.station.ask(&self.name, Task::Burst { topic: topic.to_owned(), qos, count });
    }

    #[track_caller]
    pub fn disconnect(self) {
        self.station.ask(&self.name, Task::Disconnect);
    }

    /// Waits for as many as `count` messages, and takes all that came.
    #[track_caller]
    pub fn take(&self, count: usize) -> Vec<Message> {
        self.station.wait_for(&format!("{count} messages for {}", self.name), |inbox| {
            let messages = inbox.messages.entry(self.name.clone()).or_default();
            (messages.len() >= count).then(|| std::mem::take(messages))
        })
    }

    /// Takes everything that the broker had for it up to now.
    ///
    /// No waiting for silence: it sends itself a message, which comes behind all others. With QoS 2, because
    /// some libraries give such a message out only when it is released, after later ones of lower QoS.
    #[track_caller]
    pub fn drain(&self) -> Vec<Message> {
        let topic = format!("flush/{}", self.name);
        if self.flushes.replace(self.flushes.get() + 1) == 0 {
            self.subscribe(&topic, 2);
        }
        let number = self.flushes.get().to_string();
        self.publish(&topic, 2, &number);
        self.station.wait_for(&format!("{} hears itself", self.name), |inbox| {
            let messages = inbox.messages.entry(self.name.clone()).or_default();
            let is_own = |message: &Message| message.topic == topic && message.text() == number;
            let own = messages.iter().position(is_own)?;
            let later = messages.split_off(own + 1);
            messages.pop();
            Some(std::mem::replace(messages, later))
        })
    }
}
