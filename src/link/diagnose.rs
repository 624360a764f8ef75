//! From what MQTT, tungstenite, rustls and the system report to one [`Fault`].
//!
//! Never looks into texts: every branch is a match on a type. Invariant: each error ends in exactly
//! one kind. This file knows MQTT, [`transport`] what is below it.

mod transport;

use rumqttc::{
    ConnectReturnCode as Code4,
    v5::mqttbytes::v5::{ConnectReturnCode as Code5, DisconnectReasonCode},
};

use super::wire::LineError;
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

/// Why a line cannot go on, or did not come up.
pub(super) fn line(error: &LineError, scene: Scene) -> Breakage {
    match error {
        LineError::Ended(Some(error)) => hang_up(io_fault(error, scene), scene),
        LineError::Ended(None) => hang_up(silent(scene), scene),
        LineError::Garbled(what) => garbled(what, scene),
        LineError::RefusedV4(code) => refused_v4(*code),
        LineError::RefusedV5(code) => refused_v5(*code),
        LineError::Disconnected(code, reason) => disconnected(*code, reason.as_deref()),
        LineError::Unsayable(what) => Breakage::new(FaultKind::Protocol, what),
    }
}

/// Bytes that are no MQTT; before CONNACK perhaps an answer in the other version's form.
fn garbled(what: &str, scene: Scene) -> Breakage {
    let version = if scene.is_connected { VersionHint::None } else { VersionHint::Refused };
    Breakage { fault: Fault::new(FaultKind::Protocol, what), version }
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
