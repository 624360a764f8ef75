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
            if !stop.is_cancelled() {
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
        let millis = |from: SystemTime, add: i64| {
            let now = from.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64;
            now + add
        };
        let (now, wall) = (self.diary.now(), SystemTime::now());
        let life = self.random.u64(100..8000);
        let after = |millis: u64| Some(now + Duration::from_millis(millis));
        let (rest, expires, is_allowed) = match self.random.u8(..100) {
            0..40 => (format!(r#","expires_at":{}"#, millis(wall, life as i64)), after(life), true),
            40..60 => {
                let seconds = life as f64 / 1000.0;
                (format!(r#","at":{},"ttl":{seconds}"#, millis(wall, 0)), after(life), true)
            }
            // Over before it was sent: as forbidden as what the allow-list does not name.
            60..70 => (format!(r#","expires_at":{}"#, millis(wall, -(life as i64))), Some(now), false),
            // Undated, with a life of its own or not: counted from when the gateway gets it.
            70..80 => (format!(r#","ttl":{}"#, life as f64 / 1000.0), None, true),
            80..95 => (String::new(), None, true),
            _ => (r#","power":"max""#.to_owned(), None, false),
        };
        let payload = format!(r#"{{"id":"{id}","state":"{id}"{rest}}}"#);
        let command = Command { id: id.clone(), expires, is_allowed, is_confirmed };
        let is_taken = self.cloud.ask(device, id, payload.clone(), Event::Asked(command));
        is_taken.then_some(Sent { device, payload })
    }
}
