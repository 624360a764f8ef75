//! A listener's certificate and key, made into what TLS needs.

use std::{path::Path, sync::Arc};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};

use super::{BrokerError, TlsFiles};

/// Reads the files. Client certificates are optional, so that a user with a password may do without.
pub(super) fn config(files: &TlsFiles) -> Result<Arc<ServerConfig>, BrokerError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(&files.certificate, &error))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| bad(path, &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| bad(path, &error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| bad(&files.key, &error))?;
    let config = builder
        .with_single_cert(certificates(&files.certificate)?, key)
        .map_err(|error| bad(&files.certificate, &error))?;
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, BrokerError> {
    let all: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(|error| bad(path, &error))?
        .collect::<Result<_, _>>()
        .map_err(|error| bad(path, &error))?;
    if all.is_empty() { Err(bad(path, &"it has no certificate in PEM form")) } else { Ok(all) }
}

fn bad(path: &Path, reason: &dyn std::fmt::Display) -> BrokerError {
    BrokerError::Tls { path: path.to_owned(), reason: reason.to_string() }
}
