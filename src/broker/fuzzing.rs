//! The broker's inner parts for the fuzz targets in `fuzz/`, which are built with `--cfg fuzzing`.
//!
//! Owns a broker without sockets and without a disk: clients come over streams in memory, and what the
//! recorder would write goes to a [`Disk`] when the target says so, from which the broker can be started
//! again as after a power cut. Nothing here is in the product.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use tokio::{io::DuplexStream, sync::Semaphore, task::JoinSet};

use super::{
    auth::Auth,
    closed::Closed,
    core::Core,
    handshake::{CONNECT_LIMIT, Stranger, greet},
    hub::Hub,
    network::Crowd,
    options::{Limits, Uplink},
    packet::{Body, Encoder, Frame, Outgoing, Packet, TheirAliases, Version, connect, decode, frame},
    session::{Remembered, Work},
    socket::Socket,
    wire::Wire,
};
use crate::{
    model::{ClientId, Message, Network, Topic},
    store::{Awaiting, AwaitingChange, Entry, SessionState, Store},
};

/// Reads a stream of packets as the broker does, CONNECT first if there is one; what it makes of a
/// PUBLISH must come out the same when it is written and read again.
pub fn read_stream(version: u8, mut bytes: &[u8]) {
    let version = [Version::V31, Version::V311, Version::V5][usize::from(version % 3)];
    let mut aliases = TheirAliases::new(4);
    while let Ok(Frame::Whole { first, header, length }) = frame(bytes, 1 << 20) {
        let body = &bytes[header..header + length];
        bytes = &bytes[header + length..];
        if first == 0x10 {
            let _ = connect(first, body);
            continue;
        }
        if let Ok(Packet::Publish(publish)) = decode(version, first, Body::from(body), &mut aliases) {
            let outgoing = Outgoing {
                message: &publish.message,
                qos: publish.message.qos,
                retain: publish.message.retain,
                id: publish.id,
                is_duplicate: publish.is_duplicate,
                left: publish.message.properties.as_ref().and_then(|properties| properties.expiry),
                identifiers: &[],
            };
            let mut out = bytes::BytesMut::new();
            let written = Encoder::new(version).publish(&mut out, outgoing);
            assert!(written.is_ok(), "a PUBLISH that came in cannot be written");
            let Ok(Frame::Whole { first, header, length }) = frame(&out, usize::MAX) else {
                panic!("a PUBLISH that was written is no packet: {out:02x?}");
            };
            assert_eq!(header + length, out.len());
            let again = decode(version, first, Body::from(&out[header..]), &mut aliases);
            assert_eq!(again, Ok(Packet::Publish(publish)), "written as {out:02x?}");
        }
    }
}

struct Nothing;

impl Uplink for Nothing {
    fn route(&self, _message: &Message) -> Option<Entry> {
        None
    }
}

/// What the recorder would have written.
#[derive(Default)]
struct Disk {
    retained: HashMap<Topic, Message>,
    sessions: BTreeMap<String, (SessionState, BTreeMap<u64, Awaiting>)>,
}

impl Disk {
    fn take(&mut self, work: &Work) {
        let client = work.session.client.as_str();
        if work.is_over {
            self.sessions.remove(client);
            return;
        }
        let (state, rows) = self
            .sessions
            .entry(client.to_owned())
            .or_insert_with(|| (SessionState { bytes: Vec::new(), left: None }, BTreeMap::new()));
        if let Some(new) = &work.state {
            *state = new.clone();
        }
        for change in &work.changes {
            match change {
                AwaitingChange::Put(row) => drop(rows.insert(row.sequence, row.clone())),
                AwaitingChange::Deleted(sequence) => drop(rows.remove(sequence)),
                AwaitingChange::Released(sequence) => {
                    if let Some(row) = rows.get_mut(sequence) {
                        row.is_released = true;
                    }
                }
            }
        }
    }
}

/// A broker without sockets and without a disk.
pub struct House {
    core: Arc<Core>,
    places: Arc<Semaphore>,
    crowd: Arc<Crowd>,
    clients: JoinSet<()>,
    disk: Disk,
}

/// What is held at one moment.
#[derive(Debug, PartialEq, Eq)]
pub struct Held {
    /// In all queues, in bytes.
    pub queued_bytes: usize,
    /// Sessions, those of absent clients included.
    pub sessions: usize,
    /// Sessions on the disk.
    pub on_disk: usize,
    /// Messages on the disk.
    pub rows: usize,
}

fn core(store: Store) -> Option<Arc<Core>> {
    let limits = Limits { handshake_time: Duration::from_secs(3600), ..Limits::default() };
    let auth = Auth::new(&[], limits.handshake_time).ok()?;
    Some(Arc::new(Core::new(Hub::new(limits), auth, Arc::new(Nothing), store, Closed::default())))
}

impl House {
    /// An empty one. Nothing is written to `store`. `None`: never.
    pub fn new(store: Store) -> Option<Self> {
        Some(Self {
            core: core(store)?,
            places: Arc::new(Semaphore::new(100)),
            crowd: Crowd::new(100),
            clients: JoinSet::new(),
            disk: Disk::default(),
        })
    }

    /// A new connection; the other end is the client's.
    pub fn enter(&mut self) -> Option<DuplexStream> {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let (core, places) = (self.core.clone(), self.places.clone());
        let guest = self.crowd.admit(Network::of(IpAddr::V4(Ipv4Addr::LOCALHOST)))?;
        self.clients.spawn(async move {
            let wire = Wire::new(Socket::Wrapped(Box::new(ours)), CONNECT_LIMIT);
            let stranger = Stranger { guest, certificate_names: Vec::new(), anonymous: true, acl: None };
            if let Some(connection) = greet(&core, &places, wire, stranger).await {
                connection.run().await;
            }
        });
        while self.clients.try_join_next().is_some() {}
        Some(theirs)
    }

    /// A round of the recorder; `all`: as at an orderly stop.
    pub fn save(&mut self, all: bool) {
        let hub = &self.core.hub;
        let changes = hub.agenda.take();
        for client in changes.ended.keys() {
            self.disk.sessions.remove(client.as_str());
        }
        for topic in changes.topics.keys() {
            match hub.retained(topic) {
                Some(message) => drop(self.disk.retained.insert(topic.clone(), message)),
                None => drop(self.disk.retained.remove(topic)),
            }
        }
        let works: Vec<Work> = changes.sessions.iter().filter_map(|session| session.collect(all)).collect();
        for mut work in works {
            self.disk.take(&work);
            drop(work.take_receipts());
            work.session.let_go(&work);
        }
    }

    /// A round of the recorder that the disk refuses.
    pub fn fail_to_save(&mut self) {
        let agenda = &self.core.hub.agenda;
        let changes = agenda.take();
        let works: Vec<Work> = changes.sessions.iter().filter_map(|session| session.collect(false)).collect();
        for mut work in works {
            drop(work.take_receipts());
            work.session.clone().not_saved(work);
        }
        agenda.give_back(changes.topics.into_keys().collect(), changes.ended.into_keys().collect());
    }

    /// The plug is pulled, and the broker started again with what the disk has.
    pub async fn pull_the_plug(&mut self) {
        self.clients.shutdown().await;
        self.forget();
        if let Some(core) = core(self.core.store.clone()) {
            self.core = core;
        }
        let hub = &self.core.hub;
        for message in self.disk.retained.values() {
            hub.restore_retained(message.clone());
        }
        for (name, (state, rows)) in &self.disk.sessions {
            if let Some(known) = Remembered::read(&state.bytes) {
                let rows = rows.values().cloned().collect();
                hub.restore(&ClientId::new(name), (known, None), rows, state.left);
            }
        }
    }

    /// The agenda and the sessions on it hold each other, which nobody minds in a broker that runs as long
    /// as its process.
    fn forget(&self) {
        drop(self.core.hub.agenda.take());
    }

    /// What is held now.
    pub fn held(&self) -> Held {
        let queued_bytes = &self.core.hub.counters.queued_bytes;
        Held {
            queued_bytes: queued_bytes.load(std::sync::atomic::Ordering::Relaxed),
            sessions: self.core.hub.sizes().0,
            on_disk: self.disk.sessions.len(),
            rows: self.disk.sessions.values().map(|(_, rows)| rows.len()).sum(),
        }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.forget();
    }
}
