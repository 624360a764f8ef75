//! The record that the cloud answers with a hang-up: without this it would stop the whole queue for ever.
//!
//! Pure. A record is suspected after so many connections in a row that the cloud ended while it was the
//! oldest unanswered one and no record was answered at all. Then it goes out alone, and so only after the
//! cloud has acknowledged the gateway's own state and fence on the same connection: a line that just
//! breaks often seldom gets as far. Invariant: only a record that broke a connection alone is given up. A
//! connection that broke before a record was sent, or for a reason that no message gives, proves nothing.

use crate::model::FaultKind;

/// So many connections make a suspect; one more, alone, convicts it.
pub(super) const CONNECTIONS: u32 = 3;

#[derive(Debug, Default)]
pub(super) struct Suspect {
    sequence: u64,
    broken: u32,
}

impl Suspect {
    /// Whether the next connection sends one record at a time.
    pub(super) fn is_alone(&self) -> bool {
        self.broken >= CONNECTIONS
    }

    /// The cloud answered a record: whatever it was, the queue moves. Says whether one was being sent alone.
    pub(super) fn clear(&mut self) -> bool {
        std::mem::take(self).is_alone()
    }

    /// The cloud ended a connection on which this record was the oldest unanswered one. Says whether to
    /// give it up.
    pub(super) fn broke(&mut self, sequence: u64) -> bool {
        if self.sequence != sequence {
            *self = Self { sequence, broken: 0 };
        }
        let is_convicted = self.is_alone();
        if is_convicted {
            *self = Self::default();
        } else {
            self.broken += 1;
        }
        is_convicted
    }
}

/// Whether a cloud may end a connection in this way because of what it was sent.
pub(super) fn may_be_meant(kind: FaultKind) -> bool {
    match kind {
        FaultKind::Closed | FaultKind::Protocol | FaultKind::NotAuthorized | FaultKind::TooLarge => true,
        FaultKind::Dns
        | FaultKind::OwnClock
        | FaultKind::ProxyUnreachable
        | FaultKind::ProxyRefused
        | FaultKind::ProxyCredentials
        | FaultKind::Tcp
        | FaultKind::NotTls
        | FaultKind::TlsIntercepted
        | FaultKind::ServerCertificateUntrusted
        | FaultKind::ServerNameMismatch
        | FaultKind::ServerCertificateExpired
        | FaultKind::ServerCertificateNotYetValid
        | FaultKind::ClientCertificateRefused
        | FaultKind::CredentialFiles
        | FaultKind::ClientCertificateExpired
        | FaultKind::Tls
        | FaultKind::WrongPath
        | FaultKind::Subprotocol
        | FaultKind::WebSocket
        | FaultKind::Credentials
        | FaultKind::OwnCredentials
        | FaultKind::KeyProvider
        | FaultKind::SubscriptionRefused
        | FaultKind::ClientId
        | FaultKind::Banned
        | FaultKind::DuplicateClientId
        | FaultKind::QuotaExceeded
        | FaultKind::ServerUnavailable
        | FaultKind::KeepAlive
        | FaultKind::IdleCut
        | FaultKind::HalfOpen
        | FaultKind::NoAnswer => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_record_four_times_in_a_row_without_an_answer_is_given_up() {
        // Zero stands for an answered record.
        for (story, given_up) in [
            (&[1, 1, 1][..], None),
            (&[1, 1, 1, 1], Some(1)),
            (&[1, 1, 0, 1, 1], None),
            (&[1, 1, 1, 0, 1], None),
            (&[1, 1, 1, 2, 1, 1, 1], None),
            (&[1, 2, 2, 2, 2], Some(2)),
            (&[1, 1, 1, 2, 2, 2, 2], Some(2)),
        ] {
            let mut suspect = Suspect::default();
            let mut last = None;
            for sequence in story {
                match sequence {
                    0 => drop(suspect.clear()),
                    sequence if suspect.broke(*sequence) => last = Some(*sequence),
                    _ => {}
                }
            }
            assert_eq!(last, given_up, "{story:?}");
        }
    }
}
