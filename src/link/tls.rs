//! Certificates and keys from files to one rustls configuration an attempt.
//!
//! Owns what we trust and what we present. Never turns verification off: there is no option, and the verifier
//! says what webpki's says ([`Witness`] only keeps what the server showed, so that a refusal can name it). Invariant: a [`Credentials`] that exists has a key that fits its certificate and
//! a certificate that had not expired when it was read. TLS 1.2 and 1.3 by `ring`, named explicitly
//! so that another provider in the tree cannot slip in. Session resumption is off: a resumed
//! session skips the client certificate, and one connection that lasts for days gains nothing by it.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use rustls::{
    ClientConfig, DigitallySignedStruct, InconsistentKeys, RootCertStore, SignatureScheme,
    client::{
        ResolvesClientCert, Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem, pem::PemObject},
    sign::CertifiedKey,
};

use super::{LinkError, LinkOptions, chain::Trust};
use crate::{clock::Clock, model::Timestamp};

/// What is trusted and what is presented, read and checked once.
#[derive(Clone)]
pub(super) struct Credentials {
    provider: Arc<rustls::crypto::CryptoProvider>,
    verifier: Arc<WebPkiServerVerifier>,
    trust: Arc<Trust>,
    own: Option<Own>,
}

#[derive(Clone)]
struct Own {
    key: Arc<CertifiedKey>,
    expires: Timestamp,
}

impl Credentials {
    /// Those that the options name. A certificate that has expired is no error here: the home must run all the same, and
    /// the cloud's refusal says so.
    pub(super) fn of(options: &LinkOptions) -> Result<Self, LinkError> {
        let own = match (&options.certificate_file, &options.key_file) {
            (Some(certificate), Some(key)) => Some((certificate.as_path(), key.as_path())),
            (None, None) => None,
            _ => return Err(LinkError::HalfACertificate),
        };
        Self::load(options.ca_file.as_deref(), own)
    }

    /// The same, to take the place of others that may still be good: so this one must not have expired.
    pub(super) fn renewed(options: &LinkOptions, clock: &Clock) -> Result<Self, LinkError> {
        let new = Self::of(options)?;
        match (&new.own, &options.certificate_file) {
            (Some(own), Some(path)) if new.has_expired(clock) => {
                Err(LinkError::CertificateExpired { path: path.clone(), expired: own.expires })
            }
            _ => Ok(new),
        }
    }

    /// Reads the private CA (or the system's roots) and the client certificate with its key.
    pub(super) fn load(ca_file: Option<&Path>, own: Option<(&Path, &Path)>) -> Result<Self, LinkError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let own = match own {
            None => None,
            Some((certificate_file, key_file)) => Some(Own::load(certificate_file, key_file, &provider)?),
        };
        let roots = match ca_file {
            Some(path) => private_roots(path)?,
            None => system_roots()?,
        };
        let subjects = roots.subjects().iter().map(|name| name.as_ref().to_vec()).collect();
        let trust = Arc::new(Trust::new(subjects, ca_file.is_some()));
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map_err(|error| LinkError::Tls(error.to_string()))?;
        Ok(Self { provider, verifier, trust, own })
    }

    /// A configuration for one attempt, with the witness of what the server showed and asked for in it.
    ///
    /// # Errors
    /// [`LinkError::Tls`].
    pub(super) fn for_attempt(
        &self,
        alpn: Option<&str>,
    ) -> Result<(Arc<ClientConfig>, Arc<Witness>), LinkError> {
        let witness = Arc::new(Witness {
            key: self.own.as_ref().map(|own| own.key.clone()),
            verifier: self.verifier.clone(),
            trust: self.trust.clone(),
            was_asked: AtomicBool::new(false),
            shown: OnceLock::new(),
        });
        let builder = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| LinkError::Tls(error.to_string()))?;
        #[allow(
            clippy::disallowed_methods,
            reason = "the verifier does as webpki's says; it only keeps what it saw"
        )]
        let builder = builder.dangerous().with_custom_certificate_verifier(witness.clone());
        let mut config = builder.with_client_cert_resolver(witness.clone());
        config.resumption = Resumption::disabled();
        config.alpn_protocols = alpn.iter().map(|alpn| alpn.as_bytes().to_vec()).collect();
        Ok((Arc::new(config), witness))
    }

    /// What is presented, without those behind it.
    pub(super) fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.own.as_ref()?.key.cert.first()
    }

    /// Whether our own certificate has expired by now, as far as the clock can be believed.
    pub(super) fn has_expired(&self, clock: &Clock) -> bool {
        self.own.as_ref().is_some_and(|own| clock.is_trusted() && own.expires < clock.now())
    }
}

impl Own {
    fn load(
        certificate_file: &Path,
        key_file: &Path,
        provider: &rustls::crypto::CryptoProvider,
    ) -> Result<Self, LinkError> {
        let chain = read_certificates(certificate_file)?;
        let key = PrivateKeyDer::from_pem_slice(&read(key_file)?).map_err(|error| match error {
            pem::Error::NoItemsFound => LinkError::NoKey(key_file.to_owned()),
            other => LinkError::BadPem { path: key_file.to_owned(), reason: other.to_string() },
        })?;
        let bad_certificate =
            |reason: String| LinkError::BadCertificate { path: certificate_file.to_owned(), reason };
        let (_, certificate) = x509_parser::parse_x509_certificate(&chain[0])
            .map_err(|error| bad_certificate(error.to_string()))?;
        let expires =
            Timestamp::from_millis(certificate.validity().not_after.timestamp().saturating_mul(1000));
        let signing = provider
            .key_provider
            .load_private_key(key)
            .map_err(|error| LinkError::BadKey { path: key_file.to_owned(), reason: error.to_string() })?;
        let key = CertifiedKey::new(chain, signing);
        match key.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                return Err(LinkError::KeyDoesNotFit {
                    certificate: certificate_file.to_owned(),
                    key: key_file.to_owned(),
                });
            }
            Err(error) => return Err(bad_certificate(error.to_string())),
        }
        Ok(Self { key: Arc::new(key), expires })
    }
}

/// Presents our certificate when the server asks for one, and remembers that it did, and what the server showed.
///
/// With TLS 1.3 a refusal shows only after the handshake, often as a bare reset: that we were asked
/// is then the only trace of the cause.
pub(super) struct Witness {
    key: Option<Arc<CertifiedKey>>,
    verifier: Arc<WebPkiServerVerifier>,
    trust: Arc<Trust>,
    was_asked: AtomicBool,
    shown: OnceLock<Vec<CertificateDer<'static>>>,
}

impl Witness {
    /// Whether the server asked for a client certificate in this attempt.
    pub(super) fn was_asked(&self) -> bool {
        self.was_asked.load(Ordering::Relaxed)
    }

    /// Whether there was a certificate to present.
    pub(super) fn has_certificate(&self) -> bool {
        self.key.is_some()
    }

    /// Whom we trust.
    pub(super) fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The certificates that the server showed, its own first; none before it did.
    pub(super) fn shown(&self) -> &[CertificateDer<'static>] {
        self.shown.get().map_or(&[], Vec::as_slice)
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let all = [end_entity].into_iter().chain(intermediates);
        self.shown.get_or_init(|| all.map(|certificate| certificate.clone().into_owned()).collect());
        let verdict =
            self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        if verdict.is_ok() {
            self.trust.verified();
        }
        verdict
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Witness").field("was_asked", &self.was_asked()).finish_non_exhaustive()
    }
}

impl ResolvesClientCert for Witness {
    fn resolve(&self, _issuers: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.was_asked.store(true, Ordering::Relaxed);
        self.key.clone().filter(|key| key.key.choose_scheme(schemes).is_some())
    }

    fn has_certs(&self) -> bool {
        self.key.is_some()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, LinkError> {
    fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => LinkError::Missing(path.to_owned()),
        _ => LinkError::Unreadable { path: path.to_owned(), reason: error.to_string() },
    })
}

/// At least one certificate.
fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, LinkError> {
    let text = read(path)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| LinkError::BadPem { path: path.to_owned(), reason: error.to_string() })?;
    if certificates.is_empty() {
        return Err(LinkError::NoCertificate(path.to_owned()));
    }
    Ok(certificates)
}

fn private_roots(path: &Path) -> Result<RootCertStore, LinkError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(path)? {
        roots.add(certificate).map_err(|error| LinkError::BadCertificate {
            path: PathBuf::from(path),
            reason: error.to_string(),
        })?;
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, LinkError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    // Systems carry a few roots that webpki cannot read; the rest is what counts.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() { Err(LinkError::NoSystemRoots) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    struct Files {
        directory: tempfile::TempDir,
    }

    impl Files {
        fn new() -> Self {
            Self { directory: tempfile::tempdir().unwrap() }
        }

        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.directory.path().join(name);
            fs::write(&path, text).unwrap();
            path
        }

        fn load(&self, certificate: &Path, key: &Path) -> Result<Credentials, LinkError> {
            let ca = self.write("ca.pem", &self_signed(2040).0);
            Credentials::load(Some(&ca), Some((certificate, key)))
        }
    }

    fn self_signed(last_year: i32) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(vec!["gateway".to_owned()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(last_year, 1, 1);
        (parameters.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn a_certificate_with_its_key_is_taken() {
        let files = Files::new();
        let (certificate, key) = self_signed(2040);
        assert!(files.load(&files.write("c.pem", &certificate), &files.write("k.pem", &key)).is_ok());
    }

    #[test]
    fn each_broken_file_has_its_own_error_that_names_it() {
        let files = Files::new();
        let (certificate, key) = self_signed(2040);
        let (_, expired_key) = self_signed(2021);
        let good_certificate = files.write("c.pem", &certificate);
        let good_key = files.write("k.pem", &key);
        let nothing = files.write("nothing.pem", "hello\n");
        let missing = files.directory.path().join("missing.pem");
        let load = |certificate: &Path, key: &Path| files.load(certificate, key).err().unwrap();
        assert!(matches!(load(&missing, &good_key), LinkError::Missing(path) if path == missing));
        assert!(matches!(load(&good_certificate, &missing), LinkError::Missing(path) if path == missing));
        assert!(matches!(load(files.directory.path(), &good_key), LinkError::Unreadable { .. }));
        assert!(matches!(load(&nothing, &good_key), LinkError::NoCertificate(path) if path == nothing));
        assert!(matches!(load(&good_certificate, &nothing), LinkError::NoKey(path) if path == nothing));
        let other_key = files.write("other.pem", &expired_key);
        assert!(matches!(load(&good_certificate, &other_key), LinkError::KeyDoesNotFit { .. }));
        let broken =
            files.write("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        assert!(matches!(load(&broken, &good_key), LinkError::BadCertificate { path, .. } if path == broken));
    }

    #[test]
    fn an_expired_certificate_passes_while_the_clock_is_not_set() {
        let files = Files::new();
        let (certificate, key) = self_signed(2021);
        let (certificate, key) = (files.write("c.pem", &certificate), files.write("k.pem", &key));
        let clock = Clock::manual(Timestamp::from_millis(0));
        clock.set_trusted(false);
        let credentials = Credentials::load(Some(&certificate), Some((&certificate, &key))).unwrap();
        assert!(!credentials.has_expired(&clock));
    }

    #[test]
    fn an_expired_certificate_keeps_nobody_from_starting_and_takes_no_good_ones_place() {
        let files = Files::new();
        let (certificate, key) = self_signed(2021);
        let (certificate, key) = (files.write("c.pem", &certificate), files.write("k.pem", &key));
        let mut options = crate::link::driver::tests::options(1, &certificate);
        (options.certificate_file, options.key_file) = (Some(certificate.clone()), Some(key));
        assert!(Credentials::of(&options).unwrap().has_expired(&Clock::system()));
        let error = Credentials::renewed(&options, &Clock::system()).err().unwrap();
        assert!(matches!(error, LinkError::CertificateExpired { path, .. } if path == certificate));
    }
}
