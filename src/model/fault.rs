//! What is wrong with the line, as a kind for programs, a sentence for people and what to do.

use std::fmt;

use serde::Serialize;

/// What is wrong with the line to the cloud. Each kind has its own sentence and its own remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The name does not resolve.
    Dns,
    /// Nothing answers at the address, or it refuses.
    Tcp,
    /// The server's certificate was signed by nobody we trust.
    ServerCertificateUntrusted,
    /// The server's certificate is for another host name.
    ServerNameMismatch,
    /// The server's certificate is no longer valid.
    ServerCertificateExpired,
    /// The server's certificate is not valid yet: most often our own clock.
    ServerCertificateNotYetValid,
    /// The server does not accept our certificate.
    ClientCertificateRefused,
    /// Our own certificate is no longer valid.
    ClientCertificateExpired,
    /// Any other TLS failure.
    Tls,
    /// The server speaks no WebSocket at this path.
    WebSocket,
    /// User name or password refused, or the certificate is not mapped to a user.
    Credentials,
    /// What we are to log in with cannot be used: a file of it is missing, say.
    OwnCredentials,
    /// Whoever sells us keys for the cloud does not.
    KeyProvider,
    /// The cloud's policy forbids what we want (connect, subscribe or publish).
    NotAuthorized,
    /// The cloud does not like the client id.
    ClientId,
    /// Another connection with our client id took over.
    DuplicateClientId,
    /// The cloud speaks neither MQTT 5 nor 3.1.1 with us, or broke the protocol.
    Protocol,
    /// The cloud is busy or going down.
    ServerUnavailable,
    /// No answer within the limit: the line is dead or the cloud hangs.
    NoAnswer,
    /// The cloud closed the connection without a word.
    Closed,
}

impl FaultKind {
    /// What is wrong, as the beginning of a sentence.
    pub fn sentence(self) -> &'static str {
        match self {
            FaultKind::Dns => "The cloud's host name cannot be resolved",
            FaultKind::Tcp => "Nothing answers at the cloud's address",
            FaultKind::ServerCertificateUntrusted => {
                "The cloud's certificate was not signed by the configured CA"
            }
            FaultKind::ServerNameMismatch => "The cloud's certificate is for another host name",
            FaultKind::ServerCertificateExpired => "The cloud's certificate has expired",
            FaultKind::ServerCertificateNotYetValid => "The cloud's certificate is not valid yet",
            FaultKind::ClientCertificateRefused => "The cloud does not accept this gateway's certificate",
            FaultKind::ClientCertificateExpired => "This gateway's own certificate has expired",
            FaultKind::Tls => "The encrypted connection to the cloud failed",
            FaultKind::WebSocket => "The cloud's server does not speak WebSocket at this address",
            FaultKind::Credentials => "The cloud refused the user name or password",
            FaultKind::OwnCredentials => "What this gateway is to log in with cannot be used",
            FaultKind::KeyProvider => "AWS's credentials provider gave this gateway no keys",
            FaultKind::NotAuthorized => "The cloud does not allow this gateway what it asks for",
            FaultKind::ClientId => "The cloud refused this gateway's client id",
            FaultKind::DuplicateClientId => "Another client with the same client id took over the connection",
            FaultKind::Protocol => "The cloud and this gateway do not understand each other's MQTT",
            FaultKind::ServerUnavailable => "The cloud is busy or shutting down",
            FaultKind::NoAnswer => "The cloud does not answer",
            FaultKind::Closed => "The cloud closed the connection",
        }
    }

    /// What a person can do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            FaultKind::Dns => "Check `cloud.url` for a misspelt host name and the router's DNS.",
            FaultKind::Tcp => {
                "Check that the Internet works, that `cloud.url` has the right port and that no firewall blocks it."
            }
            FaultKind::ServerCertificateUntrusted => {
                "Set `cloud.ca_file` to the CA that signed the cloud's certificate; a proxy that opens TLS shows up like this too."
            }
            FaultKind::ServerNameMismatch => {
                "Write the host name in `cloud.url` as it stands in the cloud's certificate."
            }
            FaultKind::ServerCertificateExpired => {
                "The cloud's operator must renew it; if only you see this, check this machine's clock with `timedatectl`."
            }
            FaultKind::ServerCertificateNotYetValid => {
                "Check this machine's clock with `timedatectl`; it is probably not synchronised yet."
            }
            FaultKind::ClientCertificateRefused => {
                "Register the certificate in `cloud.certificate_file` with the cloud, or have its CA trusted there."
            }
            FaultKind::ClientCertificateExpired => {
                "Put a renewed certificate at `cloud.certificate_file` and restart Hearthlink."
            }
            FaultKind::Tls => "Read the detail; the server may speak only an older TLS than 1.2.",
            FaultKind::WebSocket => "Check the path in `cloud.url`, most brokers use `/mqtt`.",
            FaultKind::Credentials => "Check `cloud.username` and the file named by `cloud.password_file`.",
            FaultKind::OwnCredentials => {
                "Put right what the detail names; Hearthlink reads it again at every attempt."
            }
            FaultKind::KeyProvider => {
                "Check `cloud.aws.role`: host, role alias, that the thing has the certificate and that its policy allows `iot:AssumeRoleWithCertificate`."
            }
            FaultKind::NotAuthorized => {
                "Let the cloud's policy allow this client id to connect, and its topics below `cloud.prefix` to be published and subscribed."
            }
            FaultKind::ClientId => "Check `gateway.id`; some clouds want it to equal the certificate's name.",
            FaultKind::DuplicateClientId => "Give each gateway its own `gateway.id`.",
            FaultKind::Protocol => "Check that `cloud.url` leads to an MQTT broker.",
            FaultKind::ServerUnavailable => "Nothing to do here: Hearthlink tries again by itself.",
            FaultKind::NoAnswer => "Check the Internet connection; Hearthlink tries again by itself.",
            FaultKind::Closed => {
                "Look into the cloud's log for the reason; Hearthlink tries again by itself."
            }
        }
    }
}

/// A fault with its detail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// What is wrong.
    pub kind: FaultKind,
    /// What the library or the cloud said, for whoever wants to know more.
    pub detail: String,
}

impl Fault {
    /// A fault with what was said.
    pub fn new(kind: FaultKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}). {}", self.kind.sentence(), self.detail, self.kind.remedy())
    }
}
