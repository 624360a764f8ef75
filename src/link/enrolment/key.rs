//! The gateway's private key: made here, read from any of the three PEM forms, and what is signed with it.
//!
//! Owns what of a key may be known: its public half and signatures. Never gives the private half away: it is written
//! to its file once, when it is made, and nothing prints it. PKCS #8, SEC1 and PKCS #1 are read by rustls, as the line
//! does. Rejected: rcgen's own reading of keys, which knows PKCS #8 only with ring.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, PublicKeyData};
use rustls::{
    SignatureScheme,
    pki_types::{PrivateKeyDer, pem, pem::PemObject},
};

use super::EnrolmentError;

/// The longest common name (RFC 5280, `ub-common-name`).
const LONGEST_NAME: usize = 64;

/// A private key that can be used.
pub struct Key {
    path: PathBuf,
    signing: Arc<dyn rustls::sign::SigningKey>,
    /// SubjectPublicKeyInfo, DER.
    public: Vec<u8>,
    /// The key in that, without its algorithm.
    bits: Vec<u8>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
struct Kind {
    name: &'static str,
    scheme: SignatureScheme,
    algorithm: &'static rcgen::SignatureAlgorithm,
}

/// The kinds of key that the line can use.
static KINDS: [Kind; 4] = [
    Kind {
        name: "ECDSA P-256",
        scheme: SignatureScheme::ECDSA_NISTP256_SHA256,
        algorithm: &rcgen::PKCS_ECDSA_P256_SHA256,
    },
    Kind {
        name: "ECDSA P-384",
        scheme: SignatureScheme::ECDSA_NISTP384_SHA384,
        algorithm: &rcgen::PKCS_ECDSA_P384_SHA384,
    },
    Kind { name: "Ed25519", scheme: SignatureScheme::ED25519, algorithm: &rcgen::PKCS_ED25519 },
    Kind { name: "RSA", scheme: SignatureScheme::RSA_PKCS1_SHA256, algorithm: &rcgen::PKCS_RSA_SHA256 },
];

impl Key {
    /// A new ECDSA P-256 key as PEM text (PKCS #8). Every cloud takes this kind, and a Pi signs with it in a
    /// millisecond.
    pub(super) fn make() -> Result<String, EnrolmentError> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256);
        let make = |error: rcgen::Error| EnrolmentError::Make { what: "a key", reason: error.to_string() };
        Ok(key.map_err(make)?.serialize_pem())
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`EnrolmentError::Missing`], `Unreadable`, `NoKey` or `BadKey`, each with the file.
    pub fn read(path: &Path) -> Result<Self, EnrolmentError> {
        let text = fs::read(path).map_err(|error| EnrolmentError::unreadable(path, &error))?;
        let bad = |reason: String| EnrolmentError::BadKey { path: path.to_owned(), reason };
        let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
            pem::Error::NoItemsFound => EnrolmentError::NoKey(path.to_owned()),
            other => bad(other.to_string()),
        })?;
        let provider = rustls::crypto::ring::default_provider();
        let signing = provider.key_provider.load_private_key(key).map_err(|error| bad(error.to_string()))?;
        let kind = KINDS.iter().find(|kind| signing.choose_scheme(&[kind.scheme]).is_some());
        let kind = *kind.ok_or_else(|| bad("it is of an unknown kind".to_owned()))?;
        let no_public = || bad("its public half cannot be told".to_owned());
        let public = signing.public_key().ok_or_else(no_public)?.to_vec();
        let (_, info) =
            <x509_parser::x509::SubjectPublicKeyInfo<'_> as x509_parser::prelude::FromDer<_>>::from_der(
                &public,
            )
            .map_err(|_| no_public())?;
        let bits = info.subject_public_key.data.to_vec();
        Ok(Self { path: path.to_owned(), signing, public, bits, kind })
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `ECDSA P-256` and the like.
    pub fn kind(&self) -> &'static str {
        self.kind.name
    }

    /// Whether a certificate with this SubjectPublicKeyInfo is for this key.
    pub(super) fn is_of(&self, public: &[u8]) -> bool {
        self.public == public
    }

    /// A request for a certificate of this name: PKCS #10, PEM.
    ///
    /// # Errors
    /// [`EnrolmentError::BadSubject`].
    pub fn request(&self, name: &str) -> Result<String, EnrolmentError> {
        let length = name.chars().count();
        if length == 0 || length > LONGEST_NAME || name.chars().any(char::is_control) {
            return Err(EnrolmentError::BadSubject(name.to_owned()));
        }
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let make =
            |error: rcgen::Error| EnrolmentError::Make { what: "a request", reason: error.to_string() };
        parameters.serialize_request(self).and_then(|request| request.pem()).map_err(make)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("path", &self.path).field("kind", &self.kind.name).finish_non_exhaustive()
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.bits
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.kind.algorithm
    }
}

impl rcgen::SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signer = self.signing.choose_scheme(&[self.kind.scheme]).ok_or(rcgen::Error::RemoteKeyError)?;
        signer.sign(message).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}
