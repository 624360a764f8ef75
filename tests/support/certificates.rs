//! Certificates made on the spot for a broker and its clients.

use std::{fs, path::PathBuf, sync::Arc};

use hearthlink::broker::TlsFiles;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tempfile::TempDir;

/// A CA, a server's certificate for 127.0.0.1, a client's for `phone.home`, and one that is nobody's.
pub struct Files {
    directory: TempDir,
}

impl Files {
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn server(&self) -> TlsFiles {
        TlsFiles {
            certificate: self.path("server.pem"),
            key: self.path("server.key"),
            client_ca: Some(self.path("ca.pem")),
        }
    }

    /// Trusts the CA, and shows this certificate.
    pub fn client(&self, certificate: Option<&str>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("ca.pem")).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(if let Some(name) = certificate {
            let chain = vec![CertificateDer::from_pem_file(self.path(&format!("{name}.pem"))).unwrap()];
            let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        } else {
            builder.with_no_client_auth()
        })
    }
}

pub fn certificates() -> Files {
    let directory = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = parameters.self_signed(&key).unwrap();
    fs::write(directory.path().join("ca.pem"), ca.pem()).unwrap();
    let issuer = Issuer::new(parameters, key);
    for (name, common, alternative) in [
        ("server", "broker", "127.0.0.1"),
        ("client", "phone.home", "phone"),
        ("nobody", "nobody.home", "nobody"),
    ] {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(vec![alternative.to_owned()]).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, common);
        let certificate = parameters.signed_by(&key, &issuer).unwrap();
        fs::write(directory.path().join(format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(directory.path().join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
    Files { directory }
}
