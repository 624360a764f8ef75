//! One client id: what its program remembers, over connections and over crashes of the broker.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::wire::{self, Packet};

/// A connection that was accepted, or waits to be.
pub struct Connection {
    stream: DuplexStream,
    input: Vec<u8>,
    pub version: u8,
    /// How many QoS 1 and 2 messages it takes at a time.
    pub window: usize,
    /// Messages that it has got and not acknowledged to the end, with their QoS.
    pub open: BTreeMap<u16, u8>,
    /// QoS 2 ids for which PUBREL came and PUBCOMP is not sent.
    pub to_complete: Vec<u16>,
    pub aliases: HashMap<u16, String>,
    /// It has sent something that no good client sends.
    pub is_wild: bool,
    pub is_accepted: bool,
    pub is_over: bool,
    pub pings: usize,
    /// What SUBACK has not come for.
    pub subscribes: VecDeque<(&'static str, u8)>,
}

impl Connection {
    pub fn new(stream: DuplexStream, version: u8, window: usize) -> Self {
        Self {
            stream,
            input: Vec::new(),
            version,
            window,
            open: BTreeMap::new(),
            to_complete: Vec::new(),
            aliases: HashMap::new(),
            is_wild: false,
            is_accepted: false,
            is_over: false,
            pings: 0,
            subscribes: VecDeque::new(),
        }
    }

    pub fn is_five(&self) -> bool {
        self.version == 5
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// Everything that has come.
    pub async fn packets(&mut self) -> Vec<Packet> {
        let mut chunk = [0; 4096];
        // The broker is idle: what is not there now does not come.
        while let Ok(result) =
            tokio::time::timeout(std::time::Duration::ZERO, self.stream.read(&mut chunk)).await
        {
            match result {
                Ok(0) | Err(_) => {
                    self.is_over = true;
                    break;
                }
                Ok(count) => self.input.extend_from_slice(&chunk[..count]),
            }
        }
        let five = self.is_five();
        let mut packets = Vec::new();
        while let Some(packet) = wire::next(&mut self.input, five) {
            packets.push(packet);
        }
        packets
    }

    /// Something newer was asked for `filter`: the answers to what was asked before must not count for more.
    pub fn will_be_at_most(&mut self, filter: &str, qos: u8) {
        for (asked, granted) in &mut self.subscribes {
            if *asked == filter {
                *granted = qos.min(*granted);
            }
        }
    }
}

/// A message that the client has published with QoS 1 or 2 and that is not done.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing {
    pub number: u32,
    pub qos: u8,
    /// QoS 2: PUBREC came.
    pub is_received: bool,
}

/// A session, as the client knows it.
#[derive(Debug, Default)]
pub struct Session {
    /// Which one of this client id.
    pub incarnation: u64,
    pub is_persistent: bool,
    /// Whether the disk may know of it all the same.
    pub was_persistent: bool,
    /// Filters with the QoS asked for, as far as SUBACK has come.
    pub subscriptions: BTreeMap<&'static str, u8>,
    /// The same, and those that were: messages may still be on their way.
    pub ever: BTreeMap<&'static str, u8>,
    /// Whether the disk may not know the last change of the subscriptions.
    pub is_unsaved: bool,
    /// Whether the broker may have lost the last changes, or the session.
    pub is_uncertain: bool,
    /// QoS 2 ids between PUBLISH and PUBREL.
    pub received: BTreeMap<u16, u32>,
    /// Messages that came, but for retained ones.
    pub seen: HashSet<u32>,
    /// The last one of each publisher on each topic.
    pub last: HashMap<(usize, usize), u32>,
    /// Acknowledged to their publishers, and still to come.
    pub owed: BTreeSet<u32>,
    /// Somebody has done as this client what no model follows.
    pub is_tainted: bool,
}

/// A client id.
#[derive(Default)]
pub struct Client {
    pub connection: Option<Connection>,
    pub session: Option<Session>,
    pub outgoing: BTreeMap<u16, Outgoing>,
    pub last_id: u16,
    pub incarnations: u64,
}
