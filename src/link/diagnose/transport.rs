//! What went wrong below MQTT: WebSocket, TLS, the socket.
//!
//! The one inference of the diagnosis is here: a server that hangs up before the WebSocket is open,
//! right after it asked for our certificate, did not like it. TLS 1.3 lets a server refuse after the
//! handshake, and the alert is often lost in the reset that follows.

use std::{error::Error, io};

use async_tungstenite::tungstenite::{
    self,
    error::{ProtocolError, TlsError},
};
use rustls::{AlertDescription, CertificateError};

use super::Scene;
use crate::model::{Fault, FaultKind};

/// What the TLS handshake or the WebSocket upgrade reported.
pub(in crate::link) fn websocket_fault(error: &tungstenite::Error, scene: Scene) -> Fault {
    use tungstenite::Error as Ws;
    match error {
        Ws::Io(error) => io_fault(error, scene),
        Ws::Tls(TlsError::InvalidDnsName) => {
            Fault::new(FaultKind::ServerNameMismatch, "the host in the address is no DNS name")
        }
        Ws::Tls(error) => chain_fault(error, scene),
        Ws::ConnectionClosed | Ws::AlreadyClosed => ended(error, scene),
        Ws::Protocol(
            ProtocolError::HandshakeIncomplete
            | ProtocolError::ResetWithoutClosingHandshake
            | ProtocolError::SendAfterClosing
            | ProtocolError::ReceivedAfterClosing,
        ) => ended(error, scene),
        Ws::Http(response) => {
            let status = response.status();
            let kind = match status.as_u16() {
                401 | 407 => FaultKind::Credentials,
                403 => FaultKind::NotAuthorized,
                429 | 500..=599 => FaultKind::ServerUnavailable,
                // Whoever answers a good upgrade otherwise has something else at this path: a page, a redirection.
                _ => FaultKind::WrongPath,
            };
            Fault::new(kind, format!("the WebSocket upgrade was answered with HTTP status {status}"))
        }
        Ws::Protocol(ProtocolError::SecWebSocketSubProtocolError(_)) => {
            Fault::new(FaultKind::Subprotocol, error.to_string())
        }
        Ws::Protocol(_)
        | Ws::Capacity(_)
        | Ws::WriteBufferFull(_)
        | Ws::Utf8
        | Ws::AttackAttempt
        | Ws::Url(_)
        | Ws::HttpFormat(_) => Fault::new(FaultKind::WebSocket, error.to_string()),
    }
}

pub(in crate::link) fn io_fault(error: &io::Error, scene: Scene) -> Fault {
    if let Some(inner) = error.get_ref() {
        if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
            return tls_fault(tls, scene);
        }
        if let Some(websocket) = inner.downcast_ref::<tungstenite::Error>() {
            return websocket_fault(websocket, scene);
        }
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return io_fault(io, scene);
        }
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::NotConnected => ended(error, scene),
        // The kernel sent again and again and nothing came.
        io::ErrorKind::TimedOut if scene.is_connected => Fault::new(FaultKind::HalfOpen, error.to_string()),
        io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            Fault::new(FaultKind::NoAnswer, error.to_string())
        }
        io::ErrorKind::InvalidData => Fault::new(FaultKind::WebSocket, error.to_string()),
        _ => Fault::new(FaultKind::Closed, error.to_string()),
    }
}

/// The server hung up: closed without a word, or the inference of this file.
fn ended(error: &impl Error, scene: Scene) -> Fault {
    hung_up(&error.to_string(), scene)
}

/// The same, with nothing said at all.
pub(super) fn silent(scene: Scene) -> Fault {
    hung_up("without a word", scene)
}

fn hung_up(detail: &str, scene: Scene) -> Fault {
    if scene.is_connected || !scene.was_asked {
        return Fault::new(FaultKind::Closed, detail);
    }
    certificate_refused(detail, scene)
}

fn certificate_refused(detail: &str, scene: Scene) -> Fault {
    if !scene.has_certificate {
        let detail = format!("it asks for a client certificate and none is configured; {detail}");
        return Fault::new(FaultKind::ClientCertificateRefused, detail);
    }
    let kind = if scene.has_expired {
        FaultKind::ClientCertificateExpired
    } else {
        FaultKind::ClientCertificateRefused
    };
    Fault::new(kind, detail)
}

fn chain_fault(error: &(dyn Error + 'static), scene: Scene) -> Fault {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return tls_fault(tls, scene);
        }
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return io_fault(io, scene);
        }
        next = error.source();
    }
    Fault::new(FaultKind::Tls, error.to_string())
}

fn tls_fault(error: &rustls::Error, scene: Scene) -> Fault {
    use CertificateError as Certificate;
    let kind = match error {
        rustls::Error::InvalidCertificate(reason) => match reason {
            Certificate::Expired | Certificate::ExpiredContext { .. } => FaultKind::ServerCertificateExpired,
            // Before the clock is set no certificate is valid yet, and one that expired says nothing either.
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } if !scene.is_clock_trusted => {
                FaultKind::OwnClock
            }
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
                FaultKind::ServerCertificateNotYetValid
            }
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                FaultKind::ServerNameMismatch
            }
            _ => FaultKind::ServerCertificateUntrusted,
        },
        rustls::Error::AlertReceived(alert) => return alert_fault(*alert, error, scene),
        rustls::Error::InvalidMessage(_) => FaultKind::NotTls,
        _ => FaultKind::Tls,
    };
    Fault::new(kind, error.to_string())
}

/// What the server said about us in a TLS alert (RFC 8446 section 6.2).
fn alert_fault(alert: AlertDescription, error: &rustls::Error, scene: Scene) -> Fault {
    use AlertDescription as Alert;
    match alert {
        Alert::CertificateExpired => Fault::new(FaultKind::ClientCertificateExpired, error.to_string()),
        Alert::UnknownCA
        | Alert::CertificateUnknown
        | Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateRequired
        | Alert::NoCertificate
        | Alert::AccessDenied => certificate_refused(&error.to_string(), scene),
        // TLS 1.2 servers say these about a certificate that is missing or does not verify.
        Alert::HandshakeFailure | Alert::DecryptError if scene.was_asked => {
            certificate_refused(&error.to_string(), scene)
        }
        Alert::UnrecognisedName => Fault::new(FaultKind::ServerNameMismatch, error.to_string()),
        _ => Fault::new(FaultKind::Tls, error.to_string()),
    }
}
