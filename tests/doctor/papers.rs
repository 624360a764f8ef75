//! Certificates for a cloud and a gateway, and for all that must be refused.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevocationReason, RevokedCertParams, SerialNumber,
};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};
use tokio_rustls::TlsAcceptor;

const HOUR: Duration = Duration::from_secs(3600);
/// The serial number of the gateway's certificate.
const SERIAL: u64 = 4711;

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub certificate: CertificateDer<'static>,
    pem: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        Self::made(name, None, SystemTime::now() + 24 * HOUR)
    }

    /// A CA below this one that was valid until yesterday.
    pub fn expired_below(&self, name: &str) -> Self {
        Self::made(name, Some(self), SystemTime::now() - 24 * HOUR)
    }

    fn made(name: &str, above: Option<&Self>, until: SystemTime) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (parameters.not_before, parameters.not_after) = ((until - 72 * HOUR).into(), until.into());
        let certificate = match above {
            Some(above) => parameters.signed_by(&key, &above.issuer),
            None => parameters.self_signed(&key),
        };
        let certificate = certificate.unwrap();
        let (pem, der) = (certificate.pem(), certificate.der().clone());
        Self { issuer: Issuer::new(parameters, key), certificate: der, pem }
    }

    fn issue(&self, name: &str, serial: u64) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.serial_number = Some(SerialNumber::from(serial));
        let now = SystemTime::now();
        (parameters.not_before, parameters.not_after) = ((now - HOUR).into(), (now + 24 * HOUR).into());
        (parameters.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// TLS of a server of this name; `between` stands between its certificate and the root.
    pub fn server(&self, name: &str, between: Option<&Self>, clients: Option<Clients>) -> TlsAcceptor {
        let (certificate, key) = between.unwrap_or(self).issue(name, 1);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(Clients { of, are_revoked }) => {
                let mut roots = RootCertStore::empty();
                roots.add(of.certificate.clone()).unwrap();
                let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                if are_revoked {
                    verifier = verifier.with_crls([of.revocations()]);
                }
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let chain = [Some(certificate.der().clone()), between.map(|between| between.certificate.clone())];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = builder.with_single_cert(chain.into_iter().flatten().collect(), key).unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    /// A list that revokes the gateway's certificate.
    fn revocations(&self) -> rustls::pki_types::CertificateRevocationListDer<'static> {
        let now = SystemTime::now();
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(SERIAL),
            revocation_time: (now - HOUR).into(),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: (now - HOUR).into(),
            next_update: (now + 24 * HOUR).into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().into()
    }
}

/// Whom a server lets in.
#[derive(Clone, Copy)]
pub struct Clients<'a> {
    /// Those of this CA.
    pub of: &'a Authority,
    /// But not the gateway.
    pub are_revoked: bool,
}

/// The CA, and the gateway's certificate by it, written beside the configuration.
pub struct Papers {
    pub ca: Authority,
}

impl Papers {
    pub fn write(directory: &Path) -> Self {
        let ca = Authority::new("Cloud CA");
        let (certificate, key) = ca.issue("home", SERIAL);
        fs::write(directory.join("ca.pem"), &ca.pem).unwrap();
        fs::write(directory.join("home.pem"), certificate.pem()).unwrap();
        secret(directory.join("home.key"), &key.serialize_pem());
        Self { ca }
    }
}

fn secret(path: PathBuf, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}
