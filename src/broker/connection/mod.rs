//! One connected client, from its CONNACK to its end.
//!
//! Owns the wire, the acknowledgements that are held back, the keep-alive and the will. One task a
//! connection: reading, writing and waiting in one `select`, since everything that it touches is its
//! own or behind a short lock. Invariants: a client can hold up nobody but itself; it is read only
//! while its acknowledgements have room; its will is published unless it says goodbye.
//!
//! `inbound` is a PUBLISH's way in, `farewell` the end, `alarm` the keep-alive.

mod alarm;
mod farewell;
mod inbound;

use std::{io, sync::Arc, task::Poll, time::Duration};

use bytes::BytesMut;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep_until},
};

pub(super) use alarm::Alarm;
use farewell::Over;

use super::{
    auth::Identity,
    core::Core,
    counters::Counters,
    held::{HeldBack, Progress},
    network::Guest,
    packet::{
        Ack, Encoder, Packet, PacketError, Reason, SubscriptionOptions, TheirAliases, Version, Will, decode,
    },
    receipt::Pledge,
    seat::Seat,
    session::{Appetite, End},
    wire::{FILL, Turn, Wire},
};
use crate::model::{QoS, TopicFilter};

/// Full readings of 16 KiB in a row after which the others have their turns, so that a flood is not read
/// until the runtime cuts it off after 2 MiB. Each time costs a look at all sockets: at one reading a
/// burst to ten subscribers took half as long again.
const IN_A_ROW: u8 = 4;

/// How long a 3.1.1 client stays connected after the store has refused a message of it, see `inbound`.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connected client.
pub(super) struct Connection {
    pub(super) core: Arc<Core>,
    pub(super) wire: Wire,
    pub(super) seat: Seat,
    pub(super) identity: Identity,
    pub(super) encoder: Encoder,
    pub(super) aliases: TheirAliases,
    /// What it takes.
    pub(super) appetite: Appetite,
    pub(super) alarm: Option<Alarm>,
    /// Until when it is not read.
    pub(super) rest: Option<Instant>,
    /// Its QoS 1 and 2 publishes on this connection that are not acknowledged to their end: a MQTT 5 client
    /// has promised to keep within our Receive Maximum.
    pub(super) unfinished: u16,
    /// The store has refused a message, which cannot be said in 3.1.1: it is asked to send it again then.
    pub(super) is_refused_until: Option<Instant>,
    /// Whether somebody else's task is to have its turn first: a task that it woke waits for it otherwise.
    pub(super) gives_way: bool,
    /// Readings since the last one that was not full.
    pub(super) in_a_row: u8,
    /// Whether a message of this turn woke somebody who slept.
    pub(super) has_woken: bool,
    pub(super) will: Option<Will>,
    /// Its place among the clients connected at a time.
    pub(super) place: OwnedSemaphorePermit,
    /// Its count among those of its network.
    pub(super) guest: Guest,
}

/// What the loop woke up for.
enum Event {
    Bell,
    Progress(Progress),
    Wire(io::Result<Turn>),
    Silence,
    Timer,
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
        if self.give()? {
            tokio::task::yield_now().await;
            return Ok(());
        }
        if std::mem::take(&mut self.gives_way) {
            tokio::task::yield_now().await;
        }
        match self.wait(held).await {
            Event::Bell => match self.seat.owner().end() {
                None => Ok(()),
                Some(End::TakenOver) => Err(Reason::SessionTakenOver.into()),
                Some(End::ShuttingDown) => Err(Over::Stopping),
            },
            Event::Progress(progress) => {
                self.progress(progress);
                Ok(())
            }
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
                Turn::Closed => Err(Over::Lost),
            },
            Event::Timer if self.is_refused_until.is_some_and(|end| end <= Instant::now()) => Err(Over::Lost),
            Event::Timer if self.is_overdue() => {
                let rule = "a packet takes too long to come in";
                Err(PacketError { reason: Reason::QuotaExceeded, rule }.into())
            }
            Event::Timer => {
                self.rest = None;
                Ok(())
            }
            Event::Silence => Err(Reason::KeepAliveTimeout.into()),
        }
    }

    async fn wait(&mut self, held: &mut HeldBack) -> Event {
        let rest = self.rest;
        let may_read = rest.is_none() && held.has_room(self.held_at_most());
        let is_heard = may_read && !self.wire.waits_for_room();
        if !may_read {
            self.wire.excuse();
        }
        let packet = self.wire.since().map(|since| since + self.core.hub.limits.longest_packet);
        let timer = rest.into_iter().chain(self.is_refused_until).chain(packet).min();
        if let Some(alarm) = self.alarm.as_mut().filter(|_| !is_heard) {
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
            () = until(timer), if timer.is_some() => Event::Timer,
            () = Alarm::silence(&mut self.alarm) => Event::Silence,
        }
    }

    fn is_overdue(&self) -> bool {
        let longest = self.core.hub.limits.longest_packet;
        self.wire.since().is_some_and(|since| since.elapsed() >= longest)
    }

    /// How many acknowledgements may be held back before the client is not read. One of MQTT 5 is read on:
    /// one publish more, and it has broken its promise.
    fn held_at_most(&self) -> u16 {
        let promised = self.core.hub.limits.receive_maximum;
        if self.encoder.version == Version::V5 { promised.saturating_add(1) } else { promised }
    }

    /// Handles the whole packets that came in. What of them is for the store is handed over however this ends: DISCONNECT
    /// may stand right behind it.
    fn understand(&mut self, held: &mut HeldBack) -> Result<(), Over> {
        let understood = self.understand_each(held);
        held.submit(&self.core.store);
        understood
    }

    fn understand_each(&mut self, held: &mut HeldBack) -> Result<(), Over> {
        let mut heard = 0_usize;
        while held.has_room(self.held_at_most()) {
            let Some(raw) = self.wire.packet()? else { break };
            let (first, body) = self.wire.body(&raw);
            let packet = decode(self.encoder.version, first, body, &mut self.aliases)?;
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

    /// Writes what waits for the client, as far as it takes it. Whether it is to be called again at once:
    /// retained messages are looked for in portions, and others have their turn between them.
    fn give(&mut self) -> Result<bool, Over> {
        if self.wire.output.len() >= FILL {
            return Ok(false);
        }
        let Self { wire, seat, encoder, appetite, core, .. } = self;
        let (bounds, counters) = (core.hub.bounds(), &core.hub.counters);
        let wants_more = seat
            .session()
            .fill(seat.owner(), encoder, &mut wire.output, *appetite, bounds, counters)
            .ok_or(Reason::SessionTakenOver)?;
        Ok(wants_more && core.hub.replay(seat.attached()))
    }

    fn handle(&mut self, held: &mut HeldBack, packet: Packet) -> Result<(), Over> {
        match packet {
            Packet::Publish(publish) => return self.publish(held, publish),
            Packet::Ack { kind, id, is_failure } => {
                let seat = &self.seat;
                let answer =
                    seat.session().acknowledge(seat.owner(), (kind, id, is_failure), &self.core.hub.counters);
                if let Some((kind, reason)) = answer {
                    self.acknowledge(kind, id, reason);
                }
            }
            Packet::Subscribe { filters, .. }
                if filters.len() > self.core.hub.limits.subscriptions_per_client =>
            {
                return Err(Reason::QuotaExceeded.into());
            }
            Packet::Subscribe { id, filters } => {
                let mut pledge = Pledge::default();
                let granted: Vec<_> = filters
                    .iter()
                    .map(|(filter, options)| self.subscribe(filter, *options, &mut pledge))
                    .collect();
                let mut answer = BytesMut::new();
                self.encoder.suback(&mut answer, id, &granted)?;
                self.answer_when(held, pledge, answer);
            }
            Packet::Unsubscribe { id, filters } => {
                let mut pledge = Pledge::default();
                let found: Vec<_> =
                    filters.iter().map(|filter| self.unsubscribe(filter, &mut pledge)).collect();
                let mut answer = BytesMut::new();
                self.encoder.unsuback(&mut answer, id, &found)?;
                self.answer_when(held, pledge, answer);
            }
            Packet::Ping => self.encoder.pong(&mut self.wire.output),
            Packet::Disconnect { with_will, session_expiry } => {
                if let Some(expiry) = session_expiry {
                    let is_brief = self.seat.session().lock().expiry.is_zero();
                    if is_brief && expiry.is_none_or(|expiry| !expiry.is_zero()) {
                        let rule = "a session that CONNECT has made to end stays so (3.14.2.2.2)";
                        return Err(PacketError::protocol(rule).into());
                    }
                    self.core.hub.set_expiry(self.seat.attached(), expiry);
                }
                return Err(Over::Goodbye { with_will });
            }
        }
        Ok(())
    }

    /// Sends an answer when what it promises is kept.
    fn answer_when(&mut self, held: &mut HeldBack, pledge: Pledge, answer: BytesMut) {
        match pledge.settling() {
            None => self.wire.output.extend_from_slice(&answer),
            Some(settling) => held.answer(settling, answer),
        }
    }

    fn subscribe(
        &self,
        filter: &str,
        options: SubscriptionOptions,
        pledge: &mut Pledge,
    ) -> Result<QoS, Reason> {
        if !self.core.hub.limits.takes(filter) {
            return Err(Reason::TopicFilterInvalid);
        }
        let filter = TopicFilter::parse(filter).map_err(|_| Reason::TopicFilterInvalid)?;
        if !self.identity.rights.may_subscribe(&filter) {
            Counters::count(&self.core.hub.counters.denied);
            return Err(Reason::NotAuthorized);
        }
        self.core.hub.subscribe(self.seat.attached(), &filter, options, pledge)
    }

    fn unsubscribe(&self, filter: &str, pledge: &mut Pledge) -> Reason {
        match TopicFilter::parse(filter) {
            Err(_) => Reason::TopicFilterInvalid,
            Ok(filter) if self.core.hub.unsubscribe(self.seat.attached(), &filter, pledge) => Reason::Success,
            Ok(_) => Reason::NoSubscriptionExisted,
        }
    }

    /// Answers in the QoS 1 and 2 exchanges, from which the client's send quota follows (section 4.9).
    fn acknowledge(&mut self, kind: Ack, id: u16, reason: Reason) {
        let is_end = match kind {
            Ack::Taken | Ack::Complete => true,
            Ack::Received => reason.is_failure(),
            Ack::Release => false,
        };
        if is_end {
            // A PUBCOMP may end what began on an earlier connection, of which nothing is counted here.
            self.unfinished = self.unfinished.saturating_sub(1);
        }
        self.encoder.ack(&mut self.wire.output, kind, id, reason);
    }
}

/// For ever, when there is no time. Cancel safe.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

async fn next_progress(held: &mut HeldBack) -> Progress {
    std::future::poll_fn(|context| held.poll(context).map_or(Poll::Pending, Poll::Ready)).await
}
