//! Why an enrolment cannot go on: each reason with what to do, and nothing was changed.

use std::path::{Path, PathBuf};

use crate::model::Timestamp;

/// Why a key, a request or a certificate is refused. What was in place before still is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnrolmentError {
    /// A file is not there.
    #[error("there is no file `{0}`; check the path")]
    Missing(PathBuf),
    /// A file cannot be read.
    #[error("failed to read `{path}`: {reason}; run this as the user that may read it")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A file cannot be written.
    #[error(
        "failed to write `{path}`: {reason}; run this as a user that may write there, or name another place"
    )]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A temporary file is in the way.
    #[error(
        "another `hearthlink enroll` is at work, or one was interrupted: then remove `{0}` and try again"
    )]
    Busy(PathBuf),
    /// A file that should hold a key has none.
    #[error(
        "`{0}` contains no PEM private key (`-----BEGIN PRIVATE KEY-----`); move it away, and `hearthlink enroll` makes one"
    )]
    NoKey(PathBuf),
    /// A key of a kind that is not supported, or damaged.
    #[error("the key in `{path}` cannot be used: {reason}; use an ECDSA P-256, P-384, Ed25519 or RSA key")]
    BadKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no key that a certificate could be for.
    #[error("there is no key `{0}` yet; run `hearthlink enroll` first, and have its request signed")]
    NoKeyYet(PathBuf),
    /// The name for the request is empty, too long or has control characters.
    #[error("`{0}` cannot be the subject of a certificate: a common name has 1 to 64 printable characters")]
    BadSubject(String),
    /// The library could not make the key or the request.
    #[error("failed to make {what}: {reason}")]
    Make {
        /// What.
        what: &'static str,
        /// What the library said.
        reason: String,
    },
    /// A file that should hold certificates has none.
    #[error(
        "`{0}` contains no PEM certificate (`-----BEGIN CERTIFICATE-----`); ask the CA for PEM, or convert it with `openssl x509 -inform der`"
    )]
    NoCertificate(PathBuf),
    /// A certificate that cannot be read.
    #[error("certificate {number} in `{path}` is damaged: {reason}; copy the file again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which of them, from 1.
        number: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate is for another key.
    #[error(
        "the certificate of `{subject}` in `{path}` is not for the key in `{key}`; have the request signed that `hearthlink enroll` made of this key"
    )]
    OtherKey {
        /// The file.
        path: PathBuf,
        /// Whose certificate.
        subject: String,
        /// The key's file.
        key: PathBuf,
    },
    /// The certificate that is for the key is not the first.
    #[error(
        "the gateway's own certificate is number {number} in `{path}`; put it first, then the CA that signed it, and so on"
    )]
    NotFirst {
        /// The file.
        path: PathBuf,
        /// Its place, from 1.
        number: usize,
    },
    /// A certificate is over.
    #[error("the certificate of `{subject}` in `{path}` expired on {expired}; get a new one")]
    Expired {
        /// The file.
        path: PathBuf,
        /// Whose certificate.
        subject: String,
        /// When.
        expired: Timestamp,
    },
    /// A certificate is not valid yet.
    #[error(
        "the certificate of `{subject}` in `{path}` is not valid before {valid_from}, and it is {now} here; check this machine's clock with `timedatectl`, or wait"
    )]
    NotYetValid {
        /// The file.
        path: PathBuf,
        /// Whose certificate.
        subject: String,
        /// From when on.
        valid_from: Timestamp,
        /// What time it is.
        now: Timestamp,
    },
    /// The certificate is not made for a client.
    #[error(
        "the certificate of `{subject}` in `{path}` is not for a TLS client: {reason}; have it signed for client authentication (`clientAuth`)"
    )]
    WrongUsage {
        /// The file.
        path: PathBuf,
        /// Whose certificate.
        subject: String,
        /// What it says.
        reason: &'static str,
    },
    /// A certificate is followed by one that did not sign it.
    #[error(
        "the chain in `{path}` is broken: `{subject}` was signed by `{issuer}`, but `{next}` comes next; put the certificate of `{issuer}` between them"
    )]
    Broken {
        /// The file.
        path: PathBuf,
        /// Whose certificate.
        subject: String,
        /// Who it says signed it.
        issuer: String,
        /// Whose comes next.
        next: String,
    },
    /// A certificate names the next one as its issuer, and that one did not sign it.
    #[error(
        "the certificate of `{subject}` in `{path}` was not signed by the `{issuer}` that {place}: {reason}; get the certificate of the CA that really signed it"
    )]
    NotSignedBy {
        /// The file.
        path: PathBuf,
        /// Whose certificate.
        subject: String,
        /// Who should have signed it.
        issuer: String,
        /// Where that one is.
        place: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The chain ends before the CA that is trusted.
    #[error(
        "the chain in `{path}` is not complete: `{subject}` was signed by `{issuer}`, which is neither there nor in `{ca}`; append the certificate of `{issuer}`. If the cloud knows its clients by another CA than that, name it with `--ca FILE`, or say `--any-ca`"
    )]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// The last one in it.
        subject: String,
        /// Who signed that.
        issuer: String,
        /// The CA that should be reached.
        ca: PathBuf,
    },
    /// A strict server would refuse it.
    #[error(
        "a server that trusts `{ca}` would refuse the certificate in `{path}`: {reason}; get another one"
    )]
    Refused {
        /// The file.
        path: PathBuf,
        /// The CA.
        ca: PathBuf,
        /// What the verifier said.
        reason: String,
    },
}

impl EnrolmentError {
    pub(super) fn unwritable(path: &Path, error: &std::io::Error) -> Self {
        Self::Unwritable { path: path.to_owned(), reason: error.to_string() }
    }

    pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::Missing(path.to_owned()),
            _ => Self::Unreadable { path: path.to_owned(), reason: error.to_string() },
        }
    }
}
