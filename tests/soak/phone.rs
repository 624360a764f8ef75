//! A phone somewhere: commands of every kind, some twice, some too late, and again what the cloud forgot before
//! there was an outcome.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, SystemTime},
};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    cloud::Cloud,
    history::{Command, Diary, Event, Text},
};

/// `commands.max_age` of the gateway: short, so that it counts for some.
pub const MAX_AGE: Duration = Duration::from_secs(5);

/// So many wait in the cloud at most before the phone asks for more: on a slow machine they would only pile up, and
/// all be over when their turn comes.
const CROWD: usize = 40;

pub struct Phone {
    pub cloud: Cloud,
    /// The devices, and whether they show what they did.
    pub devices: Vec<(&'static str, bool)>,
    pub pace: Duration,
    pub diary: Diary,
    pub random: fastrand::Rng,
}

struct Sent {
    device: &'static str,
    payload: String,
}

impl Phone {
    /// Sends commands until `stop`; then only those again that the cloud forgot, until `end`.
    pub async fn run(mut self, stop: CancellationToken, end: CancellationToken) {
        let mut sent: HashMap<Text, Sent> = HashMap::new();
        let mut recent: Vec<Text> = Vec::new();
        // What the cloud did not take when it was sent again.
        let mut owed: HashSet<Text> = HashSet::new();
        let mut number = 0u64;
        while !end.is_cancelled() {
            owed.extend(self.cloud.forgotten());
            owed.retain(|id| !self.cloud.is_told(id) && !self.again(id, &sent));
            if !stop.is_cancelled() && self.cloud.waiting() < CROWD {
                let id: Text = format!("c-{number}").into();
                if let Some(order) = self.ask(&id) {
                    sent.insert(id.clone(), order);
                    recent.push(id);
                    number += 1;
                }
                if self.random.u8(..) < 25 && !recent.is_empty() {
                    let id = recent[self.random.usize(recent.len().saturating_sub(30)..recent.len())].clone();
                    self.again(&id, &sent);
                }
            }
            // Cancel safety: it only waits.
            end.run_until_cancelled(sleep(self.pace)).await;
        }
    }

    fn again(&self, id: &Text, sent: &HashMap<Text, Sent>) -> bool {
        let Sent { device, payload } = &sent[id];
        self.cloud.ask(device, id, payload.clone(), Event::AskedAgain)
    }

    /// Sends a new command; `None`: the cloud does not take any now.
    fn ask(&mut self, id: &Text) -> Option<Sent> {
        let (device, is_confirmed) = self.devices[self.random.usize(..self.devices.len())];
        let (now, wall) = self.both_clocks();
        let life = self.random.u64(100..8000);
        let over = |millis: u64| Some(now + Duration::from_millis(millis));
        let longest = MAX_AGE.as_millis() as u64;
        let ttl = format!(r#","ttl":{}"#, life as f64 / 1000.0);
        // Its text, when it is over by its own words, and how long it lives once the gateway has it.
        let (rest, expires, lives) = match self.random.u8(..100) {
            0..35 => (format!(r#","expires_at":{}"#, wall + life), over(life), longest),
            35..50 => {
                let lives = life.min(longest);
                (format!(r#","at":{wall}{ttl}"#), over(lives), lives)
            }
            // Over before it was sent: as forbidden as what the allow-list does not name.
            50..60 => {
                (format!(r#","expires_at":{}"#, wall - life), Some(now.saturating_sub(after(life))), longest)
            }
            // Undated, with a life of its own or not: counted from when the gateway gets it.
            60..77 => (ttl, None, life.min(longest)),
            77..95 => (String::new(), None, longest),
            _ => (r#","power":"max""#.to_owned(), None, longest),
        };
        let payload = format!(r#"{{"id":"{id}","state":"{id}"{rest}}}"#);
        let command = Command {
            id: id.clone(),
            device: device.into(),
            expires,
            lives: after(lives),
            is_listed: !rest.contains("power"),
            is_confirmed,
        };
        let is_taken = self.cloud.ask(device, id, payload.clone(), Event::Asked(command));
        is_taken.then_some(Sent { device, payload })
    }

    /// The diary's clock and, in milliseconds since 1970, the wall clock, at one moment: nothing came in between.
    fn both_clocks(&self) -> (Duration, u64) {
        loop {
            let before = self.diary.now();
            let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            if self.diary.now() - before < Duration::from_millis(1) {
                return (before, wall.as_millis() as u64);
            }
        }
    }
}

fn after(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
