//! Certificates made on the spot, good ones and bad ones.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// A certificate authority and the folder where its certificates lie.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: PathBuf,
    /// Its own certificate, PEM.
    pub certificate: PathBuf,
}

/// A certificate and its key, both PEM files; the key is readable by its owner only.
#[derive(Clone)]
pub struct Identity {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// When a certificate is valid.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// From long ago to far ahead.
    Now,
    /// In the year 2020 only.
    Over,
}

impl Authority {
    /// Makes an authority in `folder`.
    pub fn new(folder: &Path, name: &str) -> Self {
        let mut params = params(name, &[], Validity::Now);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("ring makes keys");
        let certificate = folder.join(format!("{name}.pem"));
        fs::write(&certificate, params.self_signed(&key).expect("a CA signs itself").pem()).expect("written");
        Self { issuer: Issuer::new(params, key), folder: folder.to_owned(), certificate }
    }

    /// A server's certificate for the names in `hosts`.
    pub fn server(&self, file: &str, hosts: &[&str], validity: Validity) -> Identity {
        self.sign(file, params(hosts[0], hosts, validity), ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A client's certificate with `name` as its CN.
    pub fn client(&self, file: &str, name: &str) -> Identity {
        self.sign(file, params(name, &[], Validity::Now), ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(&self, file: &str, mut params: CertificateParams, purpose: ExtendedKeyUsagePurpose) -> Identity {
        params.extended_key_usages = vec![purpose];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().expect("ring makes keys");
        let identity = Identity {
            certificate: self.folder.join(format!("{file}.pem")),
            key: self.folder.join(format!("{file}.key")),
        };
        let certificate = params.signed_by(&key, &self.issuer).expect("the CA signs");
        fs::write(&identity.certificate, certificate.pem()).expect("written");
        fs::write(&identity.key, key.serialize_pem()).expect("written");
        fs::set_permissions(&identity.key, fs::Permissions::from_mode(0o600)).expect("our own file");
        identity
    }
}

fn params(name: &str, hosts: &[&str], validity: Validity) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("the names are ASCII");
    params.distinguished_name.push(DnType::CommonName, name);
    let last_year = if validity == Validity::Now { 2099 } else { 2020 };
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(last_year, 12, 31);
    params
}
