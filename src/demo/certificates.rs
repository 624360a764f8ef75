//! Certificates made on the spot: a CA, and what it signs for the demonstration's cloud and gateway.
//!
//! Owns the making and the writing of PEM files. Never reads or trusts anything: whoever uses the
//! files checks them as if a stranger had made them. Invariants: a key file is readable by its owner
//! alone from the moment it exists; nothing is overwritten. Also makes what must be refused (another
//! CA, another host name, expired, not yet valid), so that tests need no second tool.
//! Rejected: certificates kept in the repository; they expire, and their keys would be public.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// The names by which the demonstration's cloud is reached.
pub const LOOPBACK_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The library could not make it, for example because of a malformed host name.
    #[error("failed to make the certificate of `{name}`: {source}")]
    Make {
        /// The common name.
        name: String,
        /// What the library said.
        source: rcgen::Error,
    },
    /// The file could not be written; it must not exist before.
    #[error("failed to write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Which end of a TLS connection shows the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The cloud.
    Server,
    /// The gateway.
    Client,
}

/// When a certificate is valid, seen from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// From an hour ago, for clocks that differ, until tomorrow.
    Now,
    /// From two days ago until yesterday.
    Expired,
    /// From tomorrow until the day after.
    NotYet,
}

/// What a certificate is to say.
#[derive(Debug, Clone)]
pub struct Wish {
    name: String,
    host_names: Vec<String>,
    role: Role,
    validity: Validity,
}

impl Wish {
    /// A server's certificate for these host names and addresses.
    pub fn server<'a>(host_names: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            name: "Hearthlink demonstration cloud".to_owned(),
            host_names: host_names.into_iter().map(str::to_owned).collect(),
            role: Role::Server,
            validity: Validity::Now,
        }
    }

    /// A client's certificate with this common name.
    pub fn client(name: &str) -> Self {
        Self { name: name.to_owned(), host_names: Vec::new(), role: Role::Client, validity: Validity::Now }
    }

    /// The same, valid at another time.
    #[must_use]
    pub fn valid(mut self, validity: Validity) -> Self {
        self.validity = validity;
        self
    }
}

/// A certificate with its key, as PEM texts.
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// The private key (PKCS #8).
    pub key: String,
}

/// Where an [`Identity`] was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The certificate.
    pub certificate: PathBuf,
    /// The private key, mode 0600.
    pub key: PathBuf,
}

impl Identity {
    /// Writes `<stem>.pem` and `<stem>.key` into `directory`.
    ///
    /// # Errors
    /// [`CertificateError::Write`] names the file; a file that exists is one.
    pub fn write(&self, directory: &Path, stem: &str) -> Result<IdentityFiles, CertificateError> {
        let files = IdentityFiles {
            certificate: directory.join(format!("{stem}.pem")),
            key: directory.join(format!("{stem}.key")),
        };
        create(&files.certificate, &self.certificate, 0o644)?;
        create(&files.key, &self.key, 0o600)?;
        Ok(files)
    }
}

/// A certificate authority that lives as long as this value.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Authority {
    /// A new CA with this common name. Two of the same name still do not trust each other's.
    ///
    /// # Errors
    /// [`CertificateError::Make`].
    pub fn new(name: &str) -> Result<Self, CertificateError> {
        let make = |source| CertificateError::Make { name: name.to_owned(), source };
        let key = KeyPair::generate().map_err(make)?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let now = SystemTime::now();
        (params.not_before, params.not_after) = ((now - HOUR).into(), (now + DAY).into());
        let certificate = params.self_signed(&key).map_err(make)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// The CA's own certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Writes the CA's certificate to `path`; its key is never written.
    ///
    /// # Errors
    /// [`CertificateError::Write`].
    pub fn write(&self, path: &Path) -> Result<(), CertificateError> {
        create(path, &self.certificate, 0o644)
    }

    /// Signs what is wished for, with a new key.
    ///
    /// # Errors
    /// [`CertificateError::Make`], for example for a malformed host name.
    pub fn issue(&self, wish: &Wish) -> Result<Identity, CertificateError> {
        let make = |source| CertificateError::Make { name: wish.name.clone(), source };
        let key = KeyPair::generate().map_err(make)?;
        let mut params = CertificateParams::new(wish.host_names.clone()).map_err(make)?;
        params.distinguished_name.push(DnType::CommonName, wish.name.as_str());
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match wish.role {
            Role::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Role::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        let now = SystemTime::now();
        let (from, until) = match wish.validity {
            Validity::Now => (now - HOUR, now + DAY),
            Validity::Expired => (now - 2 * DAY, now - DAY),
            Validity::NotYet => (now + DAY, now + 2 * DAY),
        };
        (params.not_before, params.not_after) = (from.into(), until.into());
        let certificate = params.signed_by(&key, &self.issuer).map_err(make)?.pem();
        Ok(Identity { certificate, key: key.serialize_pem() })
    }
}

/// Everything that a demonstration needs, written: the CA, the cloud's and the gateway's certificate.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    /// The CA that signed both.
    pub ca: PathBuf,
    /// The cloud's, for [`LOOPBACK_NAMES`].
    pub server: IdentityFiles,
    /// The gateway's.
    pub client: IdentityFiles,
}

impl CertificateFiles {
    /// Makes and writes `ca.pem`, `cloud.pem`, `cloud.key`, `gateway.pem` and `gateway.key`.
    ///
    /// # Errors
    /// As [`Authority::issue`] and [`Identity::write`].
    pub fn make(directory: &Path, gateway: &str) -> Result<Self, CertificateError> {
        let authority = Authority::new("Hearthlink demonstration CA")?;
        let ca = directory.join("ca.pem");
        authority.write(&ca)?;
        Ok(Self {
            ca,
            server: authority.issue(&Wish::server(LOOPBACK_NAMES))?.write(directory, "cloud")?,
            client: authority.issue(&Wish::client(gateway))?.write(directory, "gateway")?,
        })
    }
}

fn create(path: &Path, text: &str, mode: u32) -> Result<(), CertificateError> {
    let write = || {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
        #[cfg(not(unix))]
        let _ = mode;
        options.open(path)?.write_all(text.as_bytes())
    };
    write().map_err(|source| CertificateError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_key_is_readable_by_its_owner_alone_and_nothing_is_overwritten() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let files = CertificateFiles::make(directory.path(), "demo").unwrap();
        for key in [&files.server.key, &files.client.key] {
            assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        let again = CertificateFiles::make(directory.path(), "demo").unwrap_err();
        assert!(again.to_string().contains("ca.pem"), "{again}");
    }

    #[test]
    fn a_malformed_host_name_is_refused_with_the_name() {
        let error = Authority::new("a").unwrap().issue(&Wish::server(["kühlschrank"])).err().unwrap();
        assert!(error.to_string().contains("Hearthlink demonstration cloud"), "{error}");
    }
}
