//! A device that takes orders: what reaches it is on the bus, and that is written down before anything else.

use std::{net::SocketAddr, time::Duration};

use bytes::Buf;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::lan::Lan;
use crate::{
    history::{Diary, Event, Text},
    raw,
};

/// What an appliance does about its orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Acts and says nothing.
    Silent,
    /// Shows at once what it did.
    Prompt,
    /// Takes its time, and sometimes never shows it.
    Slow,
}

pub struct Appliance {
    pub broker: SocketAddr,
    pub name: &'static str,
    pub manner: Manner,
    /// Keeps its session and subscribes with QoS 1: whoever would queue a command for it is found out.
    pub is_persistent: bool,
    pub diary: Diary,
    pub random: fastrand::Rng,
}

impl Appliance {
    pub async fn run(mut self, stop: CancellationToken) {
        let set = format!("{}/set", self.name);
        let state = format!("{}/state", self.name);
        while !stop.is_cancelled() {
            let Some(mut lan) =
                stop.run_until_cancelled(Lan::connect(self.broker, self.name, !self.is_persistent)).await
            else {
                return;
            };
            let qos = u8::from(self.is_persistent);
            let subscribe = raw::packet(0x82, &[&[0, 9][..], &raw::text(&set), &[qos]].concat());
            let mut is_up = lan.send(&subscribe).await.is_ok();
            let mut to_show: Vec<(Instant, Vec<u8>)> = Vec::new();
            while is_up {
                let due = to_show.first().map_or_else(Instant::now, |(due, _)| *due);
                // Cancel safety: `next` keeps what it read, the others only wait.
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = sleep_until(due), if !to_show.is_empty() => {
                        let (_, word) = to_show.remove(0);
                        self.diary.write(Event::Shown { id: String::from_utf8_lossy(&word).into() });
                        is_up = lan.send(&raw::publish(0, &state, 0, &word)).await.is_ok();
                    }
                    packet = lan.next() => match packet {
                        Ok((first, body)) if first >> 4 == 3 => {
                            let (word, packet) = self.act(first, body);
                            if packet != 0 {
                                is_up = lan.send(&raw::puback(packet)).await.is_ok();
                            }
                            if let Some(wait) = self.wait() {
                                to_show.push((Instant::now() + wait, word));
                                to_show.sort();
                            }
                        }
                        Ok((0x90, _)) => self.listens(true),
                        Ok(_) => {}
                        Err(_) => is_up = false,
                    },
                }
            }
            self.listens(false);
        }
    }

    fn listens(&self, is_on: bool) {
        let device: Text = self.name.into();
        self.diary.write(Event::Listens { device, is_on });
    }

    /// The word, and the packet id if it wants an acknowledgement.
    fn act(&self, first: u8, mut body: bytes::Bytes) -> (Vec<u8>, u16) {
        let topic = usize::from(body.get_u16());
        body.advance(topic);
        let packet = if first & 6 == 0 { 0 } else { body.get_u16() };
        self.diary.write(Event::Acted { id: String::from_utf8_lossy(&body).into() });
        (body.to_vec(), packet)
    }

    fn wait(&mut self) -> Option<Duration> {
        match self.manner {
            Manner::Silent => None,
            Manner::Prompt => Some(Duration::ZERO),
            Manner::Slow => {
                let wait = Duration::from_millis(self.random.u64(0..1500));
                (self.random.u8(..) > 25).then_some(wait)
            }
        }
    }
}
