//! A sensor that counts: QoS 1, a window of its own, and what was not acknowledged is sent again in order.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::lan::{Lan, packet_id};
use crate::{
    history::{Diary, Event, Text},
    raw,
};

/// So many may be unacknowledged.
const IN_FLIGHT: usize = 20;

pub struct Sensor {
    pub broker: SocketAddr,
    pub topic: Text,
    /// The number of its first message.
    pub first: u64,
    /// The time between two messages; now and then they come in bursts.
    pub pace: Duration,
    pub diary: Diary,
    pub random: fastrand::Rng,
}

struct Message {
    number: u64,
    payload: Text,
}

impl Message {
    /// Never that of another one in flight.
    fn packet(&self) -> u16 {
        (self.number % 60_000) as u16 + 1
    }
}

impl Sensor {
    /// Publishes until `stop`, then until all is acknowledged. Gives the number that comes next.
    pub async fn run(mut self, stop: CancellationToken) -> u64 {
        let mut pending: VecDeque<Message> = VecDeque::new();
        let (mut next, mut due, mut burst) = (self.first, Instant::now(), 0);
        while !(stop.is_cancelled() && pending.is_empty()) {
            let mut lan = Lan::connect(self.broker, &self.topic.replace('/', "-"), true).await;
            let mut is_up = true;
            for message in &pending {
                is_up &= self.publish(&mut lan, message, 8).await;
            }
            while is_up && !(stop.is_cancelled() && pending.is_empty()) {
                let may_send = pending.len() < IN_FLIGHT && !stop.is_cancelled();
                // Cancel safety: `next` keeps what it read, the others only wait.
                tokio::select! {
                    packet = lan.next() => match packet {
                        Ok((0x40, body)) => self.accepted(&mut pending, packet_id(body)),
                        Ok(_) => {}
                        Err(_) => is_up = false,
                    },
                    () = stop.cancelled(), if may_send => {}
                    () = sleep_until(due), if may_send => {
                        let message = Message { number: next, payload: next.to_string().into() };
                        next += 1;
                        if burst == 0 && self.random.u8(..) < 3 {
                            burst = self.random.u32(20..120);
                        }
                        due = if burst > 0 { Instant::now() } else { Instant::now() + self.pace };
                        burst = burst.saturating_sub(1);
                        is_up = self.publish(&mut lan, &message, 0).await;
                        pending.push_back(message);
                    }
                }
            }
        }
        next
    }

    async fn publish(&self, lan: &mut Lan, message: &Message, dup: u8) -> bool {
        let (topic, payload) = (self.topic.clone(), message.payload.clone());
        self.diary.write(Event::Published { topic, payload });
        let bytes = raw::publish(2 | dup, &self.topic, message.packet(), message.payload.as_bytes());
        lan.send(&bytes).await.is_ok()
    }

    fn accepted(&self, pending: &mut VecDeque<Message>, packet: u16) {
        if let Some(at) = pending.iter().position(|message| message.packet() == packet)
            && let Some(message) = pending.remove(at)
        {
            self.diary.write(Event::Accepted { topic: self.topic.clone(), payload: message.payload });
        }
    }
}
