//! A certificate with those that lead to its CA, as somebody sent it back, and whether it may take its place.
//!
//! Pure but for the reading of files. Each reason for a refusal is its own error, found here; where the CA is known,
//! rustls' own verifier has the last word, so that what passes here passes at a strict server, too.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, UnixTime, pem::PemObject},
    server::WebPkiClientVerifier,
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::{EnrolmentError, Key};
use crate::{health::CertificateReport, model::Timestamp};

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The gateway's certificate, and those behind it in its file.
#[derive(Debug, Clone)]
pub struct Chain {
    path: PathBuf,
    ders: Vec<CertificateDer<'static>>,
    text: String,
}

/// Which CAs the cloud knows its clients by.
#[derive(Debug, Clone)]
pub enum Anchors {
    /// These, of this file.
    Known(Chain),
    /// Nobody here knows them: a cloud that registers each certificate, or has a CA of its own for them.
    Unknown,
}

/// Where a chain that was found good ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// At a CA that is known.
    Anchored,
    /// At this issuer, of whom nothing is known here.
    Open(String),
}

impl Chain {
    /// Reads a file.
    ///
    /// # Errors
    /// [`EnrolmentError::Missing`], `Unreadable`, and as [`Chain::parse`].
    pub fn read(path: &Path) -> Result<Self, EnrolmentError> {
        let text = fs::read(path).map_err(|error| EnrolmentError::unreadable(path, &error))?;
        Self::parse(path, &text)
    }

    /// Reads a text; `path` is only its name. What is beside the certificates is left out, a private key above all.
    ///
    /// # Errors
    /// [`EnrolmentError::NoCertificate`] and `Damaged`.
    pub fn parse(path: &Path, text: &[u8]) -> Result<Self, EnrolmentError> {
        let text = certificates_of(&String::from_utf8_lossy(text));
        let mut ders = Vec::new();
        for der in CertificateDer::pem_slice_iter(text.as_bytes()) {
            let number = ders.len() + 1;
            let damaged = |reason: String| EnrolmentError::Damaged { path: path.to_owned(), number, reason };
            let der = der.map_err(|error| damaged(error.to_string()))?;
            match X509Certificate::from_der(&der) {
                Ok(([], _)) => ders.push(der),
                Ok(_) => return Err(damaged("something follows it".to_owned())),
                Err(error) => return Err(damaged(error.to_string())),
            }
        }
        if ders.is_empty() {
            return Err(EnrolmentError::NoCertificate(path.to_owned()));
        }
        Ok(Self { path: path.to_owned(), ders, text })
    }

    /// The certificates as PEM, and nothing else.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The gateway's own certificate.
    pub fn report(&self) -> Option<CertificateReport> {
        report(self.ders.first()?)
    }

    /// Whether its first certificate is for this key.
    pub fn is_for(&self, key: &Key) -> bool {
        self.parsed().first().is_some_and(|own| key.is_of(own.public_key().raw))
    }

    /// Whether it may take its place: it is for `key`, valid at `now` (unless nobody knows what time it is), made for a
    /// client, in order, and complete up to `anchors`.
    ///
    /// # Errors
    /// One [`EnrolmentError`] for each of these.
    pub fn judge(&self, key: &Key, anchors: &Anchors, now: Option<Timestamp>) -> Result<End, EnrolmentError> {
        let chain = self.parsed();
        let [own, ..] = &chain[..] else { return Err(EnrolmentError::NoCertificate(self.path.clone())) };
        if !key.is_of(own.public_key().raw) {
            let place = chain.iter().position(|other| key.is_of(other.public_key().raw));
            let path = self.path.clone();
            return Err(match place {
                Some(index) => EnrolmentError::NotFirst { path, number: index + 1 },
                None => EnrolmentError::OtherKey { path, subject: subject(own), key: key.path().to_owned() },
            });
        }
        if let Some(now) = now {
            chain.iter().try_for_each(|certificate| self.is_valid(certificate, now))?;
        }
        self.is_for_a_client(own)?;
        for pair in chain.windows(2) {
            if let [certificate, next] = pair {
                self.is_signed_by(certificate, next)?;
            }
        }
        let Some(last) = chain.last() else { return Err(EnrolmentError::NoCertificate(self.path.clone())) };
        match anchors {
            Anchors::Unknown => Ok(End::Open(last.issuer().to_string())),
            Anchors::Known(known) => {
                self.ends_at(last, known)?;
                self.passes(known, now)?;
                Ok(End::Anchored)
            }
        }
    }

    /// `parse` has seen each of them, so none is left out.
    fn parsed(&self) -> Vec<X509Certificate<'_>> {
        self.ders.iter().filter_map(|der| Some(X509Certificate::from_der(der).ok()?.1)).collect()
    }

    fn is_valid(&self, certificate: &X509Certificate<'_>, now: Timestamp) -> Result<(), EnrolmentError> {
        let (valid_from, expired) = validity(certificate);
        let (path, subject) = (self.path.clone(), subject(certificate));
        if now < valid_from {
            Err(EnrolmentError::NotYetValid { path, subject, valid_from, now })
        } else if expired < now {
            Err(EnrolmentError::Expired { path, subject, expired })
        } else {
            Ok(())
        }
    }

    fn is_for_a_client(&self, own: &X509Certificate<'_>) -> Result<(), EnrolmentError> {
        let reason = match (own.key_usage(), own.extended_key_usage(), own.basic_constraints()) {
            (Err(_), ..) | (_, Err(_), _) | (.., Err(_)) => "it says twice what it is for",
            (.., Ok(Some(basic))) if basic.value.ca => "it is a CA's",
            (Ok(Some(usage)), ..) if !usage.value.digital_signature() => {
                "its key usage leaves out digital signatures"
            }
            (_, Ok(Some(usage)), _) if !usage.value.client_auth && !usage.value.any => {
                "its extended key usage leaves out client authentication"
            }
            _ => return Ok(()),
        };
        Err(EnrolmentError::WrongUsage { path: self.path.clone(), subject: subject(own), reason })
    }

    fn is_signed_by(
        &self,
        certificate: &X509Certificate<'_>,
        next: &X509Certificate<'_>,
    ) -> Result<(), EnrolmentError> {
        let (path, subject, issuer) =
            (self.path.clone(), subject(certificate), certificate.issuer().to_string());
        if certificate.issuer().as_raw() != next.subject().as_raw() {
            return Err(EnrolmentError::Broken { path, subject, issuer, next: self::subject(next) });
        }
        let reason = match next.basic_constraints() {
            Ok(Some(basic)) if !basic.value.ca => "that is not a CA's certificate",
            _ if certificate.verify_signature(Some(next.public_key())).is_err() => {
                "the signature is another one's"
            }
            _ => return Ok(()),
        };
        let place = "comes next".to_owned();
        Err(EnrolmentError::NotSignedBy { path, subject, issuer, place, reason })
    }

    /// The last one is a known CA itself, or signed by one.
    fn ends_at(&self, last: &X509Certificate<'_>, known: &Chain) -> Result<(), EnrolmentError> {
        let cas = known.parsed();
        let is_its_issuer = |ca: &&X509Certificate<'_>| ca.subject().as_raw() == last.issuer().as_raw();
        let mut named = cas.iter().filter(is_its_issuer).peekable();
        let (path, subject, issuer) = (self.path.clone(), subject(last), last.issuer().to_string());
        if known.ders.iter().any(|ca| self.ders.last() == Some(ca)) {
            return Ok(());
        }
        if named.peek().is_none() {
            return Err(EnrolmentError::Incomplete { path, subject, issuer, ca: known.path.clone() });
        }
        if named.any(|ca| last.verify_signature(Some(ca.public_key())).is_ok()) {
            return Ok(());
        }
        let place = format!("`{}` has", known.path.display());
        let reason = "the signature is another one's, of the same name";
        Err(EnrolmentError::NotSignedBy { path, subject, issuer, place, reason })
    }

    /// As a server that trusts `known` sees it.
    fn passes(&self, known: &Chain, now: Option<Timestamp>) -> Result<(), EnrolmentError> {
        let refused = |reason: String| EnrolmentError::Refused {
            path: self.path.clone(),
            ca: known.path.clone(),
            reason,
        };
        let mut roots = RootCertStore::empty();
        for ca in &known.ders {
            roots.add(ca.clone()).map_err(|error| refused(error.to_string()))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let verifier = verifier.map_err(|error| refused(error.to_string()))?;
        // Without a clock: the first moment at which all of them are valid.
        let youngest = || self.parsed().iter().map(|certificate| validity(certificate).0).max();
        let now = now.or_else(youngest).map_or(0, Timestamp::as_millis);
        let now = UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(now).unwrap_or(0)));
        let [own, intermediates @ ..] = &self.ders[..] else {
            return Err(EnrolmentError::NoCertificate(self.path.clone()));
        };
        let passed = verifier.verify_client_cert(own, intermediates, now);
        passed.map(drop).map_err(|error| refused(error.to_string()))
    }
}

/// What people want to know of a certificate; `None`: it cannot be read.
pub(super) fn report(der: &CertificateDer<'_>) -> Option<CertificateReport> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let (not_before, not_after) = validity(&certificate);
    let digest = ring::digest::digest(&ring::digest::SHA256, der);
    Some(CertificateReport {
        subject: subject(&certificate),
        issuer: certificate.issuer().to_string(),
        serial: hex(certificate.raw_serial()),
        fingerprint_sha256: hex(digest.as_ref()),
        not_before,
        not_after,
    })
}

fn subject(certificate: &X509Certificate<'_>) -> String {
    certificate.subject().to_string()
}

fn validity(certificate: &X509Certificate<'_>) -> (Timestamp, Timestamp) {
    let validity = certificate.validity();
    let moment = |seconds: i64| Timestamp::from_millis(seconds.saturating_mul(1000));
    (moment(validity.not_before.timestamp()), moment(validity.not_after.timestamp()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

/// The certificates in a text, each from its first line to its last.
fn certificates_of(text: &str) -> String {
    let mut certificates = String::new();
    for part in text.split(BEGIN).skip(1) {
        if let Some((body, _)) = part.split_once(END) {
            certificates.extend([BEGIN, body, END, "\n"]);
        }
    }
    certificates.replace('\r', "")
}
