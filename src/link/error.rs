//! Why the link cannot be prepared: each broken file has its own error and remedy.

use std::path::PathBuf;

use crate::model::{Fault, FaultKind, Timestamp};

/// Why the link cannot begin. Troubles of a running link are [`Fault`](crate::model::Fault)s, never errors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// A file is not there.
    #[error("there is no file `{0}`; check the path in the configuration")]
    Missing(PathBuf),
    /// A file cannot be read.
    #[error("failed to read `{path}`: {reason}; let the user that runs Hearthlink read it")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A file that should hold certificates has none.
    #[error("`{0}` contains no PEM certificate (`-----BEGIN CERTIFICATE-----`); convert it to PEM")]
    NoCertificate(PathBuf),
    /// A file that should hold a key has none.
    #[error(
        "`{0}` contains no PEM private key (`-----BEGIN PRIVATE KEY-----`); convert it to PEM, without a passphrase"
    )]
    NoKey(PathBuf),
    /// The PEM text is damaged.
    #[error("`{path}` is not readable as PEM: {reason}; copy the file again")]
    BadPem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate that cannot be used.
    #[error("the certificate in `{path}` cannot be used: {reason}; get a new one")]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A key of a kind that is not supported.
    #[error("the key in `{path}` cannot be used: {reason}; use an ECDSA P-256, P-384, Ed25519 or RSA key")]
    BadKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The key belongs to another certificate.
    #[error(
        "the key in `{key}` does not belong to the certificate in `{certificate}`; put a matching pair there"
    )]
    KeyDoesNotFit {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// Our own certificate is no longer valid.
    #[error("the certificate in `{path}` expired on {expired}; put a renewed one there")]
    CertificateExpired {
        /// The file.
        path: PathBuf,
        /// When.
        expired: Timestamp,
    },
    /// Only one of certificate and key is configured.
    #[error(
        "a client certificate needs its key and a key its certificate: set both `cloud.certificate_file` and `cloud.key_file`, or none"
    )]
    HalfACertificate,
    /// No private CA is configured and the system trusts nobody.
    #[error("this system has no CA certificates; install `ca-certificates` or set `cloud.ca_file`")]
    NoSystemRoots,
    /// There is no broker, or no way to one.
    #[error("no way to the cloud is configured; set `cloud.url`")]
    NoWay,
    /// The store ended while the link still ran.
    #[error("the store has stopped, so nothing can be sent; look for its error in the log")]
    StoreStopped,
    /// rustls cannot be set up.
    #[error("failed to set up TLS: {0}")]
    Tls(String),
}

impl LinkError {
    /// The same as a fault: of a running link, which goes on with what it had, or for whoever examines it.
    pub fn fault(&self) -> Fault {
        let kind = match self {
            LinkError::CertificateExpired { .. } => FaultKind::ClientCertificateExpired,
            LinkError::Missing(_)
            | LinkError::Unreadable { .. }
            | LinkError::NoCertificate(_)
            | LinkError::NoKey(_)
            | LinkError::BadPem { .. }
            | LinkError::BadCertificate { .. }
            | LinkError::BadKey { .. }
            | LinkError::KeyDoesNotFit { .. }
            | LinkError::HalfACertificate
            | LinkError::NoSystemRoots
            | LinkError::NoWay
            | LinkError::StoreStopped
            | LinkError::Tls(_) => FaultKind::CredentialFiles,
        };
        Fault::new(kind, self.to_string())
    }
}
