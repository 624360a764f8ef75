//! From what rumqttc, tungstenite, rustls and the system report to one [`Fault`].
//!
//! Never looks into texts: every branch is a match on a type. Invariant: each error ends in exactly
//! one kind. This file knows MQTT, [`transport`] what is below it.

mod transport;

use std::{error::Error, io};

use rumqttc::{ConnectReturnCode as Code4, ConnectionError as Error4, StateError as State4, v5};
use v5::{
    ConnectionError as Error5, StateError as State5,
    mqttbytes::v5::{ConnectReturnCode as Code5, DisconnectReasonCode},
};

use crate::model::{Fault, FaultKind};
use transport::silent;
pub(super) use transport::{io_fault, websocket_fault};

/// What was known about the attempt when it failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scene {
    /// CONNACK had been received.
    pub(super) is_connected: bool,
    /// The server had asked for a client certificate, and may not have judged it yet.
    pub(super) was_asked: bool,
    /// There was one to present.
    pub(super) has_certificate: bool,
    /// Our own certificate has expired.
    pub(super) has_expired: bool,
    /// The wall clock can be believed.
    pub(super) is_clock_trusted: bool,
}

/// What the failure says about the MQTT version that was spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VersionHint {
    /// Nothing.
    None,
    /// The server refused it in so many words, or answered in the other version's form.
    Refused,
    /// The server hung up on our CONNECT: so do servers that do not know the version.
    PerhapsRefused,
}

/// A failed attempt or a lost connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Breakage {
    pub(super) fault: Fault,
    pub(super) version: VersionHint,
}

impl Breakage {
    pub(super) fn new(kind: FaultKind, detail: impl Into<String>) -> Self {
        Fault::new(kind, detail).into()
    }
}

impl From<Fault> for Breakage {
    fn from(fault: Fault) -> Self {
        Self { fault, version: VersionHint::None }
    }
}

/// Errors of the 3.1.1 event loop; `below` is why the stream under it ended.
pub(super) fn v4(error: &Error4, below: Option<&io::Error>, scene: Scene) -> Breakage {
    match error {
        Error4::MqttState(
            State4::Io(_)
            | State4::Deserialization(rumqttc::mqttbytes::Error::Io(_))
            | State4::ConnectionAborted,
        )
        | Error4::Io(_) => hang_up(ended(below, scene), scene),
        Error4::MqttState(State4::AwaitPingResp) => half_open(error),
        Error4::MqttState(State4::CollisionTimeout) => no_answer(error),
        Error4::MqttState(State4::Deserialization(_) | State4::WrongPacket) | Error4::NotConnAck(_) => {
            garbled(error, scene)
        }
        Error4::MqttState(State4::InvalidState | State4::Unsolicited(_) | State4::EmptySubscription) => {
            Breakage::new(FaultKind::Protocol, error.to_string())
        }
        Error4::NetworkTimeout | Error4::FlushTimeout => no_answer(error),
        // It is given a Unix socket, and has nothing to do with these.
        Error4::Websocket(_)
        | Error4::WsConnect(_)
        | Error4::InvalidUrl(_)
        | Error4::ResponseValidation(_)
        | Error4::Tls(_) => Breakage::new(FaultKind::Protocol, error.to_string()),
        Error4::ConnectionRefused(code) => refused_v4(*code),
        Error4::RequestsDone => Breakage::new(FaultKind::Closed, "the gateway ended the connection"),
    }
}

/// Errors of the MQTT 5 event loop; `below` is why the stream under it ended.
pub(super) fn v5(error: &Error5, below: Option<&io::Error>, scene: Scene) -> Breakage {
    match error {
        Error5::MqttState(
            State5::Io(_) | State5::Deserialization(v5::mqttbytes::Error::Io(_)) | State5::ConnectionAborted,
        )
        | Error5::Io(_) => hang_up(ended(below, scene), scene),
        Error5::MqttState(State5::AwaitPingResp) => half_open(error),
        Error5::MqttState(State5::CollisionTimeout) => no_answer(error),
        Error5::MqttState(State5::ServerDisconnect { reason_code, reason_string }) => {
            disconnected(*reason_code, reason_string.as_deref())
        }
        Error5::MqttState(State5::ConnFail { reason }) => refused_v5(*reason),
        Error5::MqttState(State5::Deserialization(_) | State5::WrongPacket) | Error5::NotConnAck(_) => {
            garbled(error, scene)
        }
        Error5::MqttState(
            State5::InvalidState
            | State5::Unsolicited(_)
            | State5::EmptySubscription
            | State5::Coversion(_)
            | State5::InvalidAlias { .. }
            | State5::IncomingPacketTooLarge { .. },
        ) => Breakage::new(FaultKind::Protocol, error.to_string()),
        Error5::MqttState(State5::OutgoingPacketTooLarge { .. }) => {
            Breakage::new(FaultKind::TooLarge, error.to_string())
        }
        Error5::Timeout(_) => no_answer(error),
        Error5::Websocket(_)
        | Error5::WsConnect(_)
        | Error5::InvalidUrl(_)
        | Error5::ResponseValidation(_)
        | Error5::Tls(_) => Breakage::new(FaultKind::Protocol, error.to_string()),
        Error5::ConnectionRefused(code) => refused_v5(*code),
        Error5::RequestsDone => Breakage::new(FaultKind::Closed, "the gateway ended the connection"),
    }
}

/// The socket that we gave it has ended: the reason is that of the stream below.
fn ended(below: Option<&io::Error>, scene: Scene) -> Fault {
    match below {
        Some(error) => io_fault(error, scene),
        None => silent(scene),
    }
}

fn half_open(error: &impl Error) -> Breakage {
    Breakage::new(FaultKind::HalfOpen, error.to_string())
}

fn no_answer(error: &impl Error) -> Breakage {
    Breakage::new(FaultKind::NoAnswer, error.to_string())
}

/// Bytes that are no MQTT; before CONNACK perhaps an answer in the other version's form.
fn garbled(error: &impl Error, scene: Scene) -> Breakage {
    let version = if scene.is_connected { VersionHint::None } else { VersionHint::Refused };
    Breakage { fault: Fault::new(FaultKind::Protocol, error.to_string()), version }
}

/// MQTT had begun. Before CONNACK this is how servers refuse a version they do not know.
fn hang_up(fault: Fault, scene: Scene) -> Breakage {
    let is_closed = fault.kind == FaultKind::Closed;
    let version =
        if is_closed && !scene.is_connected { VersionHint::PerhapsRefused } else { VersionHint::None };
    Breakage { fault, version }
}

fn refused_v4(code: Code4) -> Breakage {
    let kind = match code {
        Code4::Success => FaultKind::Protocol,
        Code4::RefusedProtocolVersion => {
            let fault = Fault::new(FaultKind::Protocol, "MQTT 3.1.1 refused");
            return Breakage { fault, version: VersionHint::Refused };
        }
        Code4::BadClientId => FaultKind::ClientId,
        Code4::ServiceUnavailable => FaultKind::ServerUnavailable,
        Code4::BadUserNamePassword => FaultKind::Credentials,
        Code4::NotAuthorized => FaultKind::NotAuthorized,
    };
    Breakage::new(kind, format!("CONNACK: {code:?}"))
}

fn refused_v5(code: Code5) -> Breakage {
    let kind = match code {
        Code5::RefusedProtocolVersion | Code5::UnsupportedProtocolVersion => {
            let fault = Fault::new(FaultKind::Protocol, "MQTT 5 refused");
            return Breakage { fault, version: VersionHint::Refused };
        }
        Code5::Success
        | Code5::UnspecifiedError
        | Code5::MalformedPacket
        | Code5::ProtocolError
        | Code5::ImplementationSpecificError
        | Code5::PayloadFormatInvalid
        | Code5::RetainNotSupported
        | Code5::QoSNotSupported => FaultKind::Protocol,
        Code5::BadClientId | Code5::ClientIdentifierNotValid => FaultKind::ClientId,
        Code5::BadUserNamePassword | Code5::BadAuthenticationMethod => FaultKind::Credentials,
        Code5::Banned => FaultKind::Banned,
        Code5::NotAuthorized | Code5::TopicNameInvalid => FaultKind::NotAuthorized,
        Code5::QuotaExceeded => FaultKind::QuotaExceeded,
        Code5::PacketTooLarge => FaultKind::TooLarge,
        Code5::ServiceUnavailable
        | Code5::ServerUnavailable
        | Code5::ServerBusy
        | Code5::UseAnotherServer
        | Code5::ServerMoved
        | Code5::ConnectionRateExceeded => FaultKind::ServerUnavailable,
    };
    Breakage::new(kind, format!("CONNACK: {code:?}"))
}

fn disconnected(code: DisconnectReasonCode, reason: Option<&str>) -> Breakage {
    use DisconnectReasonCode as Reason;
    let kind = match code {
        Reason::SessionTakenOver => FaultKind::DuplicateClientId,
        Reason::NotAuthorized | Reason::TopicFilterInvalid | Reason::TopicNameInvalid => {
            FaultKind::NotAuthorized
        }
        Reason::ServerBusy
        | Reason::ServerShuttingDown
        | Reason::AdministrativeAction
        | Reason::UseAnotherServer
        | Reason::ServerMoved
        | Reason::ConnectionRateExceeded
        | Reason::MaximumConnectTime => FaultKind::ServerUnavailable,
        Reason::QuotaExceeded | Reason::MessageRateTooHigh => FaultKind::QuotaExceeded,
        Reason::PacketTooLarge => FaultKind::TooLarge,
        // The machine, which knows whether something of ours was unanswered, makes a half-open line of it.
        Reason::KeepAliveTimeout => FaultKind::KeepAlive,
        Reason::NormalDisconnection | Reason::DisconnectWithWillMessage | Reason::UnspecifiedError => {
            FaultKind::Closed
        }
        Reason::MalformedPacket
        | Reason::ProtocolError
        | Reason::ImplementationSpecificError
        | Reason::ReceiveMaximumExceeded
        | Reason::TopicAliasInvalid
        | Reason::PayloadFormatInvalid
        | Reason::RetainNotSupported
        | Reason::QoSNotSupported
        | Reason::SharedSubscriptionNotSupported
        | Reason::SubscriptionIdentifiersNotSupported
        | Reason::WildcardSubscriptionsNotSupported => FaultKind::Protocol,
    };
    match reason {
        Some(reason) => Breakage::new(kind, format!("DISCONNECT: {code:?}, {reason}")),
        None => Breakage::new(kind, format!("DISCONNECT: {code:?}")),
    }
}
