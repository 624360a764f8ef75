//! One connected client, from its first packet after CONNECT to its end: one task, one `select!`.
//!
//! Owns the bytes in and out, keep-alive, and the acknowledgements that wait for the disk. Invariants:
//! acknowledgements leave in the order of the publishes (MQTT-4.6.0-2); a message bound for the cloud
//! is acknowledged only once it is durable, while its local subscribers have it already; what is read
//! but not yet answered is bounded, so a client that floods is simply read more slowly; a client that
//! does not read hurts only itself.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesOrdered};
use mqtt5_protocol::{
    packet::{
        Packet, disconnect::DisconnectPacket, publish::PublishPacket, suback::SubAckReasonCode,
        subscribe::SubscribePacket, subscribe_options::RetainHandling, unsuback::UnsubAckReasonCode,
        unsubscribe::UnsubscribePacket,
    },
    types::ReasonCode,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Uplink,
    hub::{Hub, Seat},
    packet::{self, AckKind, PacketError, Version},
    session::{Outgoing, Subscription},
};
use crate::{
    model::{Message, QoS, TopicFilter},
    store::{Store, StoreError},
};

/// Bytes that may wait for a client's socket before its session is asked for more.
const OUT_HIGH: usize = 64 * 1024;
/// Acknowledgements that may wait for the disk. Full: the client is read no further.
pub(super) const UNANSWERED: usize = 1024;
/// How long a client may take to read its last bytes when it is sent away.
const FAREWELL: Duration = Duration::from_secs(2);
/// The gateway's own topics at home: clients may read, but not write them.
const OWN_TOPICS: &str = "home/bridge/";

/// A stream to a client: TCP, TLS or WebSocket.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What all connections share.
pub(super) struct Shared {
    pub(super) hub: Hub,
    pub(super) uplink: Arc<dyn Uplink>,
    pub(super) store: Store,
}

/// How a connection ended.
#[derive(Debug)]
enum End {
    /// By DISCONNECT; `true` when the will is wanted all the same (MQTT 5 reason 0x04).
    Goodbye { wants_will: bool },
    /// The socket broke or was closed without a word.
    Lost,
    /// We send the client away.
    Sent(ReasonCode),
}

/// What a client waits for: an acknowledgement, once it is due.
type Answer = (AckKind, u16, Result<(), StoreError>);

/// A connected client.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) seat: Arc<Seat>,
    pub(super) version: Version,
    /// 1.5 times the keep-alive; `None` for keep-alive 0 (MQTT 3.1.1 section 3.1.2.10).
    pub(super) silence: Option<Duration>,
    pub(super) will: Option<Message>,
    /// The largest packet that the client takes (MQTT 5 section 3.1.2.11.4).
    pub(super) largest_out: usize,
    pub(super) taken_over: CancellationToken,
    pub(super) stop: CancellationToken,
    pub(super) input: BytesMut,
    pub(super) output: BytesMut,
    /// The session's life after this connection, when DISCONNECT changes it.
    pub(super) new_expiry: Option<Duration>,
}

impl Connection {
    /// Serves the client to its end; publishes its will if that is due.
    pub(super) async fn run(mut self, stream: Box<dyn Stream>) {
        let (reader, mut writer) = tokio::io::split(stream);
        let end = self.serve(reader, &mut writer).await;
        if let End::Sent(reason) = &end {
            tracing::info!(client = %self.seat.client, ?reason, "client sent away");
            packet::put_disconnect(&mut self.output, self.version, *reason);
        }
        // A client that does not read its last bytes is left alone with them.
        let _ = timeout(FAREWELL, async {
            let _ = writer.write_all_buf(&mut self.output).await;
            let _ = writer.shutdown().await;
        })
        .await;
        let wants_will = match end {
            End::Goodbye { wants_will } => wants_will,
            End::Lost | End::Sent(_) => true,
        };
        if let Some(will) = self.will.take().filter(|_| wants_will) {
            self.publish_will(will).await;
        }
        self.shared.hub.detach(&self.seat, self.new_expiry);
    }

    async fn serve(
        &mut self,
        mut reader: ReadHalf<Box<dyn Stream>>,
        writer: &mut WriteHalf<Box<dyn Stream>>,
    ) -> End {
        let mut answers: FuturesOrdered<BoxFuture<'static, Answer>> = FuturesOrdered::new();
        let mut needs_flush = !self.output.is_empty();
        let mut heard = Instant::now();
        let seat = self.seat.clone();
        // What came behind CONNECT in the same read, and what waits in the session.
        if let Err(end) = self.handle_input(&mut answers).await {
            return end;
        }
        self.fill();
        loop {
            needs_flush |= !self.output.is_empty();
            let can_read = answers.len() < UNANSWERED && self.output.len() < OUT_HIGH;
            if !can_read {
                // It is us who do not listen.
                heard = Instant::now();
            }
            let deadline = self.silence.map(|silence| heard + silence);
            // Cancel safety: read_buf, write_buf, flush, notified, next and the timers lose nothing when
            // dropped; everything that must not be dropped half-way is awaited inside the arms.
            tokio::select! {
                () = self.taken_over.cancelled() => return End::Sent(ReasonCode::SessionTakenOver),
                () = self.stop.cancelled() => return End::Sent(ReasonCode::ServerShuttingDown),
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    return End::Sent(ReasonCode::KeepAliveTimeout);
                }
                read = reader.read_buf(&mut self.input), if can_read => {
                    match read {
                        Ok(0) | Err(_) => return End::Lost,
                        Ok(_) => heard = Instant::now(),
                    }
                    if let Err(end) = self.handle_input(&mut answers).await {
                        return end;
                    }
                    self.fill();
                }
                Some(answer) = answers.next(), if !answers.is_empty() => {
                    if let Err(end) = self.answer(answer) {
                        return end;
                    }
                    // What else is due leaves in the same write.
                    while let Some(Some(answer)) = answers.next().now_or_never() {
                        if let Err(end) = self.answer(answer) {
                            return end;
                        }
                    }
                    if let Err(end) = self.handle_input(&mut answers).await {
                        return end;
                    }
                }
                () = seat.wake.notified(), if self.output.len() < OUT_HIGH => self.fill(),
                pushed = push(writer, &mut self.output), if needs_flush => {
                    match pushed {
                        Err(_) => return End::Lost,
                        Ok(is_flushed) => needs_flush = !is_flushed,
                    }
                    // There is room again for what was read but not handled.
                    if let Err(end) = self.handle_input(&mut answers).await {
                        return end;
                    }
                    self.fill();
                }
            }
        }
    }

    /// Moves deliveries from the session to the socket's buffer, as far as both allow.
    fn fill(&mut self) {
        let mut session = self.seat.state();
        while self.output.len() < OUT_HIGH {
            match session.next() {
                None => break,
                Some(Outgoing::Release { packet_id }) => {
                    packet::put_ack(
                        &mut self.output,
                        self.version,
                        AckKind::Released,
                        packet_id,
                        ReasonCode::Success,
                    );
                }
                Some(Outgoing::Publish { packet_id, is_again, delivery }) => {
                    let before = self.output.len();
                    packet::put_publish(&mut self.output, self.version, &delivery, packet_id, is_again);
                    if self.output.len() - before > self.largest_out {
                        // The client must not see it, and it counts as delivered (MQTT-3.1.2-25).
                        self.output.truncate(before);
                        if let Some(packet_id) = packet_id {
                            session.discard(packet_id);
                        }
                    }
                }
            }
        }
    }

    /// Handles every whole packet that has arrived, while answers have room.
    async fn handle_input(
        &mut self,
        answers: &mut FuturesOrdered<BoxFuture<'static, Answer>>,
    ) -> Result<(), End> {
        while answers.len() < UNANSWERED && self.output.len() < OUT_HIGH {
            let largest = self.shared.hub.limits.max_packet;
            match packet::decode(&mut self.input, self.version, largest) {
                Ok(None) => break,
                Ok(Some(packet)) => self.handle(packet, answers).await?,
                Err(error) => return Err(self.offence(&error)),
            }
        }
        Ok(())
    }

    fn offence(&self, error: &PacketError) -> End {
        tracing::info!(client = %self.seat.client, %error, "the client broke the protocol");
        End::Sent(error.reason())
    }

    async fn handle(
        &mut self,
        packet: Packet,
        answers: &mut FuturesOrdered<BoxFuture<'static, Answer>>,
    ) -> Result<(), End> {
        match packet {
            Packet::Publish(publish) => self.publish(publish, answers).await?,
            Packet::PubAck(ack) => drop(self.seat.state().puback(ack.packet_id)),
            Packet::PubRec(ack) => {
                let is_error = u8::from(ack.reason_code) >= 0x80;
                let was_known = self.seat.state().pubrec(ack.packet_id, is_error);
                if !is_error {
                    let reason =
                        if was_known { ReasonCode::Success } else { ReasonCode::PacketIdentifierNotFound };
                    packet::put_ack(&mut self.output, self.version, AckKind::Released, ack.packet_id, reason);
                }
            }
            Packet::PubRel(ack) => {
                let was_known = self.seat.state().release(ack.packet_id);
                let reason =
                    if was_known { ReasonCode::Success } else { ReasonCode::PacketIdentifierNotFound };
                packet::put_ack(&mut self.output, self.version, AckKind::Complete, ack.packet_id, reason);
            }
            Packet::PubComp(ack) => drop(self.seat.state().pubcomp(ack.packet_id)),
            Packet::Subscribe(subscribe) => self.subscribe(subscribe)?,
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(unsubscribe)?,
            Packet::PingReq => packet::put_pingresp(&mut self.output),
            Packet::Disconnect(disconnect) => return Err(self.goodbye(&disconnect)),
            Packet::Connect(_) => return Err(self.offend("a second CONNECT")),
            Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => {
                return Err(self.offend("a packet that only a server sends"));
            }
            Packet::Auth(_) => return Err(self.offend("AUTH without an authentication method")),
        }
        Ok(())
    }

    fn offend(&self, what: &'static str) -> End {
        tracing::info!(client = %self.seat.client, what, "the client broke the protocol");
        End::Sent(ReasonCode::ProtocolError)
    }

    fn goodbye(&mut self, packet: &DisconnectPacket) -> End {
        if let Some(seconds) = packet.properties.get_session_expiry_interval() {
            self.new_expiry = Some(self.shared.hub.limits.session_expiry(u64::from(seconds)));
        }
        End::Goodbye { wants_will: packet.reason_code == ReasonCode::DisconnectWithWillMessage }
    }

    async fn publish(
        &mut self,
        packet: PublishPacket,
        answers: &mut FuturesOrdered<BoxFuture<'static, Answer>>,
    ) -> Result<(), End> {
        let packet_id = packet.packet_id;
        if packet_id == Some(0) {
            return Err(self.offend("packet id 0"));
        }
        if packet.properties.get_topic_alias().is_some() {
            // We announce no topic aliases (MQTT 5 section 3.2.2.3.8).
            return Err(End::Sent(ReasonCode::TopicAliasInvalid));
        }
        let message = match packet::message(packet) {
            Ok(message) => message,
            Err(error) => return Err(self.offence(&error)),
        };
        let kind = match message.qos {
            QoS::AtMostOnce | QoS::AtLeastOnce => AckKind::Acknowledged,
            QoS::ExactlyOnce => AckKind::Received,
        };
        if let (QoS::ExactlyOnce, Some(packet_id)) = (message.qos, packet_id) {
            let mut session = self.seat.state();
            if session.unreleased() >= UNANSWERED {
                return Err(End::Sent(ReasonCode::ReceiveMaximumExceeded));
            }
            if !session.receive(packet_id) {
                // Handed on already: the answer alone is repeated.
                drop(session);
                answers.push_back(std::future::ready((kind, packet_id, Ok(()))).boxed());
                return Ok(());
            }
        }
        if let Err(reason) = self.may_publish(&message) {
            tracing::debug!(client = %self.seat.client, topic = %message.topic, "publish not allowed");
            return match (self.version, packet_id) {
                // 3.1.1 has no word for it but the end of the connection.
                (Version::V3, _) => Err(End::Sent(reason)),
                (Version::V5, None) => Ok(()),
                (Version::V5, Some(packet_id)) => {
                    if message.qos == QoS::ExactlyOnce {
                        self.seat.state().release(packet_id);
                    }
                    packet::put_ack(&mut self.output, self.version, kind, packet_id, reason);
                    Ok(())
                }
            };
        }
        self.shared.hub.publish(&message, Some(&self.seat));
        let kept = match self.shared.uplink.route(&message) {
            None => None,
            Some(entry) => Some(self.shared.store.append(entry).await),
        };
        let Some(packet_id) = packet_id else {
            if let Some(Ok(durable)) = kept {
                // QoS 0 promises nothing: nobody waits for the disk.
                drop(durable);
            }
            return Ok(());
        };
        match kept {
            None if answers.is_empty() => {
                packet::put_ack(&mut self.output, self.version, kind, packet_id, ReasonCode::Success);
            }
            None => answers.push_back(std::future::ready((kind, packet_id, Ok(()))).boxed()),
            Some(Ok(durable)) => {
                answers.push_back(durable.map(move |kept| (kind, packet_id, kept.map(drop))).boxed());
            }
            Some(Err(error)) => answers.push_back(std::future::ready((kind, packet_id, Err(error))).boxed()),
        }
        Ok(())
    }

    fn may_publish(&self, message: &Message) -> Result<(), ReasonCode> {
        let topic = message.topic.as_str();
        if message.topic.is_reserved() || topic.starts_with(OWN_TOPICS) {
            return Err(ReasonCode::NotAuthorized);
        }
        if message.topic.levels().count() > self.shared.hub.limits.topic_depth {
            return Err(ReasonCode::TopicNameInvalid);
        }
        Ok(())
    }

    /// An acknowledgement is due, or the disk said no.
    fn answer(&mut self, (kind, packet_id, kept): Answer) -> Result<(), End> {
        let reason = match kept {
            Ok(()) => ReasonCode::Success,
            Err(error) => {
                tracing::warn!(client = %self.seat.client, %error, "a message for the cloud was not kept; its sender is not acknowledged");
                if kind == AckKind::Received {
                    self.seat.state().release(packet_id);
                }
                match error {
                    StoreError::Full { .. } | StoreError::TooLarge { .. } => ReasonCode::QuotaExceeded,
                    _ => ReasonCode::ImplementationSpecificError,
                }
            }
        };
        if reason != ReasonCode::Success && self.version == Version::V3 {
            // No PUBACK, and no connection: the client sends it again.
            return Err(End::Sent(reason));
        }
        packet::put_ack(&mut self.output, self.version, kind, packet_id, reason);
        Ok(())
    }

    fn subscribe(&mut self, packet: SubscribePacket) -> Result<(), End> {
        if packet.packet_id == 0 || packet.filters.is_empty() {
            return Err(self.offend("a SUBSCRIBE without packet id or filters"));
        }
        let id = packet.properties.get_subscription_identifier();
        let mut codes = Vec::with_capacity(packet.filters.len());
        // The SUBACK goes out before any retained message: those wait in the session meanwhile.
        for wish in &packet.filters {
            let Ok(filter) = TopicFilter::parse(&wish.filter) else {
                if self.version == Version::V3 && !wish.filter.starts_with("$share") {
                    return Err(self.offend("a malformed topic filter"));
                }
                codes.push(SubAckReasonCode::TopicFilterInvalid);
                continue;
            };
            let options = wish.options;
            if filter.share().is_some() && options.no_local {
                return Err(self.offend("a shared subscription with no-local"));
            }
            let subscription = Subscription {
                qos: packet::model_qos(options.qos),
                no_local: options.no_local,
                retain_as_published: options.retain_as_published,
                id,
            };
            let wants_retained = |is_new: bool| match options.retain_handling {
                RetainHandling::SendAtSubscribe => true,
                RetainHandling::SendAtSubscribeIfNew => is_new,
                RetainHandling::DoNotSend => false,
            };
            let depth = filter.levels().count();
            let granted = depth <= self.shared.hub.limits.topic_depth
                && self.shared.hub.subscribe(&self.seat, &filter, subscription, wants_retained);
            codes.push(if granted {
                SubAckReasonCode::from_qos(options.qos)
            } else {
                SubAckReasonCode::QuotaExceeded
            });
        }
        if self.version == Version::V3 {
            for code in &mut codes {
                if !code.is_success() {
                    *code = SubAckReasonCode::UnspecifiedError;
                }
            }
        }
        packet::put_suback(&mut self.output, self.version, packet.packet_id, codes);
        Ok(())
    }

    fn unsubscribe(&mut self, packet: UnsubscribePacket) -> Result<(), End> {
        if packet.packet_id == 0 || packet.filters.is_empty() {
            return Err(self.offend("an UNSUBSCRIBE without packet id or filters"));
        }
        let codes = packet
            .filters
            .iter()
            .map(|text| match TopicFilter::parse(text) {
                Err(_) => UnsubAckReasonCode::TopicFilterInvalid,
                Ok(filter) if self.shared.hub.unsubscribe(&self.seat, &filter) => UnsubAckReasonCode::Success,
                Ok(_) => UnsubAckReasonCode::NoSubscriptionExisted,
            })
            .collect();
        packet::put_unsuback(&mut self.output, self.version, packet.packet_id, codes);
        Ok(())
    }

    async fn publish_will(&self, will: Message) {
        if self.may_publish(&will).is_err() {
            return;
        }
        self.shared.hub.publish(&will, Some(&self.seat));
        if let Some(entry) = self.shared.uplink.route(&will) {
            let kept = match self.shared.store.append(entry).await {
                Ok(durable) => durable.await.map(drop),
                Err(error) => Err(error),
            };
            if let Err(error) = kept {
                tracing::error!(client = %self.seat.client, %error, "a last will was not kept for the cloud");
            }
        }
    }
}

/// Writes some bytes or, when none are left, flushes; whether it flushed. Cancel safe.
async fn push(writer: &mut WriteHalf<Box<dyn Stream>>, output: &mut BytesMut) -> std::io::Result<bool> {
    if output.is_empty() {
        return writer.flush().await.map(|()| true);
    }
    match writer.write_buf(output).await? {
        0 => Err(std::io::ErrorKind::WriteZero.into()),
        _ => Ok(false),
    }
}
