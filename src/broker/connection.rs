//! One connected client, from its CONNACK to its end.
//!
//! Owns the wire, the acknowledgements that are held back, the keep-alive and the will. One task a
//! connection: reading, writing and waiting in one `select`, since everything that it touches is its
//! own or behind a short lock. Invariants: a client can hold up nobody but itself; it is read only
//! while its acknowledgements have room; its will is published unless it says goodbye.

use std::{io, pin::Pin, sync::Arc, task::Poll, time::Duration};

use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep, sleep_until, timeout},
};

use super::{
    auth::Identity,
    core::Core,
    counters::Counters,
    held::{HeldBack, Progress},
    packet::{
        Ack, Encoder, Packet, PacketError, Publish, Reason, SubscriptionOptions, Version, Will, decode,
    },
    seat::Seat,
    session::{Appetite, Arrived, End},
    wire::{FILL, Turn, Wire},
};
use crate::{
    model::{QoS, TopicFilter},
    store::{Entry, StoreError},
};

/// How long a client may take for the last bytes when the connection is closed by us, and how long a
/// stopping broker waits for the disk.
const GOODBYE: Duration = Duration::from_secs(1);

/// How long a client is not read whose messages crowd a queue of somebody who reads: at most 16 KiB
/// come in meanwhile, so a burst is slowed to what is taken, and a lone message not at all.
const REST: Duration = Duration::from_millis(2);

/// Full readings of 16 KiB in a row after which the others have their turns, so that a flood is not read
/// until the runtime cuts it off after 2 MiB. Each time costs a look at all sockets: at one reading a
/// burst to ten subscribers took half as long again.
const IN_A_ROW: u8 = 4;

/// A connected client.
pub(super) struct Connection {
    pub(super) core: Arc<Core>,
    pub(super) wire: Wire,
    pub(super) seat: Seat,
    pub(super) identity: Identity,
    pub(super) encoder: Encoder,
    /// What it takes.
    pub(super) appetite: Appetite,
    pub(super) alarm: Option<Alarm>,
    /// Until when it is not read.
    pub(super) rest: Option<Instant>,
    /// Whether somebody else's task is to have its turn first: a task that it woke waits for it otherwise.
    pub(super) gives_way: bool,
    /// Readings since the last one that was not full.
    pub(super) in_a_row: u8,
    /// Whether a message of this turn woke somebody who slept.
    pub(super) has_woken: bool,
    pub(super) will: Option<Will>,
    /// Its place among the clients connected at a time.
    pub(super) place: OwnedSemaphorePermit,
}

/// The keep-alive: rings when nothing was heard for one and a half times its length (MQTT-3.1.2-24).
pub(super) struct Alarm {
    limit: Duration,
    heard: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Alarm {
    /// Zero means that there is none.
    pub(super) fn new(keep_alive: Duration) -> Option<Self> {
        let limit = keep_alive + keep_alive / 2;
        let heard = Instant::now();
        (!limit.is_zero()).then(|| Self { limit, heard, sleep: Box::pin(sleep_until(heard + limit)) })
    }

    /// Waits for the silence. Cancel safe. The timer is set once a period, not once a packet.
    async fn silence(alarm: &mut Option<Self>) {
        let Some(alarm) = alarm else { return std::future::pending().await };
        loop {
            alarm.sleep.as_mut().await;
            let end = alarm.heard + alarm.limit;
            if end <= Instant::now() {
                return;
            }
            alarm.sleep.as_mut().reset(end);
        }
    }
}

/// Why a connection ends.
#[derive(Debug)]
enum Over {
    /// DISCONNECT, with or without the will.
    Goodbye { with_will: bool },
    /// The client is gone, or does what it must not; it is told if it can be.
    Lost(Option<Reason>),
    /// The broker stops.
    Stopping,
}

impl From<PacketError> for Over {
    fn from(error: PacketError) -> Self {
        Self::Lost(Some(error.reason))
    }
}

impl From<io::Error> for Over {
    fn from(_: io::Error) -> Self {
        Self::Lost(None)
    }
}

/// What the loop woke up for.
enum Event {
    Bell,
    Progress(Progress),
    Wire(io::Result<Turn>),
    Silence,
    Rested,
}

impl Connection {
    /// Serves the client until it ends, and tidies up.
    ///
    /// In a box, as is its end: a future holds whatever it is handed once more for each time that it hands
    /// it on, which made an idle client three times as large.
    pub(super) async fn run(mut self: Box<Self>) {
        let mut held = HeldBack::default();
        let over = loop {
            if let Err(over) = self.step(&mut held).await {
                break over;
            }
        };
        Box::pin(self.end(over, held)).await;
    }

    async fn step(&mut self, held: &mut HeldBack) -> Result<(), Over> {
        self.understand(held)?;
        self.give()?;
        if std::mem::take(&mut self.gives_way) {
            tokio::task::yield_now().await;
        }
        match self.wait(held).await {
            Event::Bell => match self.seat.owner().end() {
                None => Ok(()),
                Some(End::TakenOver) => Err(Over::Lost(Some(Reason::SessionTakenOver))),
                Some(End::ShuttingDown) => Err(Over::Stopping),
            },
            Event::Progress(progress) => self.progress(progress),
            Event::Wire(turn) => match turn? {
                Turn::Read { is_all } => {
                    self.in_a_row = if is_all { 0 } else { self.in_a_row + 1 };
                    if self.in_a_row >= IN_A_ROW {
                        self.in_a_row = 0;
                        self.gives_way = true;
                    }
                    Ok(())
                }
                Turn::Wrote => Ok(()),
                Turn::Closed => Err(Over::Lost(None)),
            },
            Event::Rested => {
                self.rest = None;
                Ok(())
            }
            Event::Silence => Err(Over::Lost(Some(Reason::KeepAliveTimeout))),
        }
    }

    async fn wait(&mut self, held: &mut HeldBack) -> Event {
        let rest = self.rest;
        let may_read = rest.is_none() && held.has_room(self.core.hub.limits.receive_maximum);
        if let Some(alarm) = self.alarm.as_mut().filter(|_| !may_read) {
            // It is we who do not listen.
            alarm.heard = Instant::now();
        }
        // Cancel safety: `notified` keeps its permit; `poll`, `turn` and `silence` keep their state in
        // what they borrow.
        tokio::select! {
            biased;
            () = self.seat.owner().bell.notified() => Event::Bell,
            progress = next_progress(held), if !held.is_empty() => Event::Progress(progress),
            turn = self.wire.turn(may_read) => Event::Wire(turn),
            () = sleep_until(rest.unwrap_or_else(Instant::now)), if rest.is_some() => Event::Rested,
            () = Alarm::silence(&mut self.alarm) => Event::Silence,
        }
    }

    /// Handles the whole packets that came in.
    fn understand(&mut self, held: &mut HeldBack) -> Result<(), Over> {
        let mut heard = 0_usize;
        while held.has_room(self.core.hub.limits.receive_maximum) {
            let Some(raw) = self.wire.packet()? else { break };
            let (first, body) = self.wire.body(&raw);
            let packet = decode(self.encoder.version, first, body)?;
            self.wire.consume(&raw);
            heard += 1;
            self.handle(held, packet)?;
        }
        if let Some(alarm) = self.alarm.as_mut().filter(|_| heard > 0) {
            alarm.heard = Instant::now();
        }
        // A lone message is with its subscriber before its publisher hears that it was taken. A burst is
        // not interrupted for that.
        self.gives_way |= std::mem::take(&mut self.has_woken) && heard == 1 && !self.wire.output.is_empty();
        Ok(())
    }

    /// Writes what waits for the client, as far as it takes it.
    fn give(&mut self) -> Result<(), Over> {
        if self.wire.output.len() >= FILL {
            return Ok(());
        }
        let Self { wire, seat, encoder, appetite, core, .. } = self;
        seat.session()
            .fill(seat.owner(), *encoder, &mut wire.output, *appetite, &core.hub.counters)
            .ok_or(Over::Lost(Some(Reason::SessionTakenOver)))
    }

    fn handle(&mut self, held: &mut HeldBack, packet: Packet) -> Result<(), Over> {
        match packet {
            Packet::Publish(publish) => return self.publish(held, publish),
            Packet::Ack { kind, id, is_failure } => {
                let seat = &self.seat;
                let answer =
                    seat.session().acknowledge(seat.owner(), (kind, id, is_failure), &self.core.hub.counters);
                if let Some((kind, reason)) = answer {
                    self.encoder.ack(&mut self.wire.output, kind, id, reason);
                }
            }
            Packet::Subscribe { id, filters } => {
                let granted: Vec<_> =
                    filters.iter().map(|(filter, options)| self.subscribe(filter, *options)).collect();
                self.encoder.suback(&mut self.wire.output, id, &granted);
            }
            Packet::Unsubscribe { id, filters } => {
                let found: Vec<_> = filters.iter().map(|filter| self.unsubscribe(filter)).collect();
                self.encoder.unsuback(&mut self.wire.output, id, &found);
            }
            Packet::Ping => self.encoder.pong(&mut self.wire.output),
            Packet::Disconnect { with_will, session_expiry } => {
                if let Some(expiry) = session_expiry {
                    self.core.hub.set_expiry(self.seat.attached(), expiry);
                }
                return Err(Over::Goodbye { with_will });
            }
        }
        Ok(())
    }

    fn subscribe(&self, filter: &str, options: SubscriptionOptions) -> Result<QoS, Reason> {
        let filter = TopicFilter::parse(filter).map_err(|_| Reason::TopicFilterInvalid)?;
        if filter.levels().count() > self.core.hub.limits.topic_depth {
            return Err(Reason::TopicFilterInvalid);
        }
        if !self.identity.may_subscribe(&filter) {
            return Err(Reason::NotAuthorized);
        }
        self.core.hub.subscribe(self.seat.attached(), &filter, options)
    }

    fn unsubscribe(&self, filter: &str) -> Reason {
        match TopicFilter::parse(filter) {
            Err(_) => Reason::TopicFilterInvalid,
            Ok(filter) if self.core.hub.unsubscribe(self.seat.attached(), &filter) => Reason::Success,
            Ok(_) => Reason::NoSubscriptionExisted,
        }
    }

    fn publish(&mut self, held: &mut HeldBack, publish: Publish) -> Result<(), Over> {
        let Publish { message, id, .. } = &publish;
        let (id, qos) = (*id, message.qos);
        if message.topic.levels().count() > self.core.hub.limits.topic_depth {
            return Err(Over::Lost(Some(Reason::TopicNameInvalid)));
        }
        if !self.identity.may_publish(&message.topic) {
            Counters::count(&self.core.hub.counters.denied);
            // 3.1.1 knows no refusal: acknowledged and dropped (MQTT-3.3.5-2).
            self.answer(held, qos, id, Reason::NotAuthorized);
            return Ok(());
        }
        if qos == QoS::ExactlyOnce {
            match self.seat.session().arrived(id) {
                None => {}
                Some(Arrived::Done) => {
                    self.answer(held, qos, id, Reason::Success);
                    return Ok(());
                }
                Some(Arrived::Storing(storing)) if !matches!(storing.peek(), Some(Err(_))) => {
                    held.hold(Ack::Received, id, storing);
                    return Ok(());
                }
                // Delivered at home before, and never stored: only the store is tried again.
                Some(Arrived::Storing(_) | Arrived::NotStored) => {
                    let entry = self.core.uplink.route(message);
                    self.keep(held, entry, qos, id);
                    return Ok(());
                }
            }
        }
        let session = self.seat.session();
        let (entry, delivered) = self.core.take_in(publish, &session.client, session.key);
        if delivered.is_crowded && self.rest.is_none() {
            self.rest = Some(Instant::now() + REST);
        }
        self.gives_way |= delivered.is_unread;
        self.has_woken |= delivered.has_woken;
        self.keep(held, entry, qos, id);
        Ok(())
    }

    /// Hands a message to the store, if it is for the cloud, and sees to its acknowledgement.
    fn keep(&mut self, held: &mut HeldBack, entry: Option<Entry>, qos: QoS, id: u16) {
        if qos == QoS::ExactlyOnce {
            let arrived = if entry.is_some() { Arrived::NotStored } else { Arrived::Done };
            self.seat.session().set_arrived(self.seat.owner(), id, Some(arrived));
        }
        match entry {
            None => self.answer(held, qos, id, Reason::Success),
            Some(entry) => held.append(&self.core.store, entry, qos, id),
        }
    }

    /// Acknowledges, now or after those before.
    fn answer(&mut self, held: &mut HeldBack, qos: QoS, id: u16, reason: Reason) {
        let kind = match qos {
            QoS::AtMostOnce => return,
            QoS::AtLeastOnce => Ack::Taken,
            QoS::ExactlyOnce => Ack::Received,
        };
        if held.pass(kind, id, reason) {
            self.encoder.ack(&mut self.wire.output, kind, id, reason);
        }
    }

    fn progress(&mut self, progress: Progress) -> Result<(), Over> {
        let (session, owner) = (self.seat.session(), self.seat.owner());
        match progress {
            Progress::Taken { id, qos: QoS::ExactlyOnce, storing: Some(storing) } => {
                session.set_arrived(owner, id, Some(Arrived::Storing(storing)));
            }
            Progress::Taken { .. } => {}
            Progress::Answer { kind, id, result: Ok(reason) } => {
                if kind == Ack::Received && reason == Reason::Success {
                    session.set_arrived(owner, id, Some(Arrived::Done));
                }
                self.encoder.ack(&mut self.wire.output, kind, id, reason);
            }
            Progress::Answer { kind, id, result: Err(error) } => {
                if self.encoder.version != Version::V5 {
                    // The client will come back and send it again (there is no way to say no).
                    return Err(Over::Lost(None));
                }
                if kind == Ack::Received {
                    session.set_arrived(owner, id, None);
                }
                self.encoder.ack(&mut self.wire.output, kind, id, refusal(&error));
            }
        }
        Ok(())
    }

    async fn end(self: Box<Self>, over: Over, mut held: HeldBack) {
        let Self { core, mut wire, seat, encoder, will, place, .. } = *self;
        let (reason, will) = match over {
            Over::Goodbye { with_will } => (None, will.filter(|_| with_will)),
            Over::Lost(reason) => (reason, will),
            Over::Stopping => {
                // What is nearly on the disk is still acknowledged. Wills wait for the next start of
                // the clients themselves (MQTT 5 section 3.1.2.5 lets a stopping server defer them).
                let _ = timeout(GOODBYE, async {
                    while !held.is_empty() {
                        if let Progress::Answer { kind, id, result: Ok(reason) } =
                            next_progress(&mut held).await
                        {
                            encoder.ack(&mut wire.output, kind, id, reason);
                        }
                    }
                })
                .await;
                (Some(Reason::ServerShuttingDown), None)
            }
        };
        let client = seat.session().client.clone();
        let (delayed, at_once) = match will {
            Some(will) if !will.delay.is_zero() => (Some((will.delay, will.message)), None),
            will => (None, will.map(|will| will.message)),
        };
        let of_the_session = seat.leave(delayed);
        drop(place);
        for will in at_once.into_iter().chain(of_the_session) {
            core.publish_will(will, &client).await;
        }
        if let Some(reason) = reason {
            tracing::debug!(client = client.as_str(), ?reason, "closing a client's connection");
            encoder.disconnect(&mut wire.output, reason);
        }
        // A client that does not read its last bytes is not waited for.
        let _ = timeout(GOODBYE, async {
            wire.drain().await?;
            wire.shutdown().await
        })
        .await;
    }
}

async fn next_progress(held: &mut HeldBack) -> Progress {
    std::future::poll_fn(|context| held.poll(context).map_or(Poll::Pending, Poll::Ready)).await
}

/// What a MQTT 5 client is told when the store says no.
fn refusal(error: &StoreError) -> Reason {
    match error {
        StoreError::Full { .. } | StoreError::TooLarge { .. } => Reason::QuotaExceeded,
        StoreError::Open { .. }
        | StoreError::InUse(_)
        | StoreError::FromTheFuture { .. }
        | StoreError::Disk(_)
        | StoreError::Row { .. }
        | StoreError::Stopped => Reason::ImplementationSpecific,
    }
}
