//! The certificates that a server showed, in words; and whether somebody between us and the cloud made them.
//!
//! Pure but for the system's CAs, which are read when they are asked for. Never decides whether a chain is good:
//! that is webpki's. The rule for an interception: no CA of ours signed the chain, nor has its issuer the name of one of
//! ours, nor did the certificate sign itself; and there is a proxy on the way, or a chain of these CAs was good before in
//! this run, or this machine trusts the issuer while `cloud.ca_file` does not. Without any of these it is a CA that we do
//! not know, as at a first attempt with the wrong file.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

use rustls::pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, time::ASN1Time};

use crate::model::{Fault, FaultKind, Timestamp};

/// The most names of a certificate that are shown.
const NAMES: usize = 4;

/// Whom we trust, and what came of it so far in this run.
#[derive(Debug)]
pub(super) struct Trust {
    /// The names of the CAs, DER.
    subjects: Vec<Vec<u8>>,
    /// Whether they are from `cloud.ca_file`.
    is_private: bool,
    has_verified: AtomicBool,
    /// The names of the system's CAs, once they were asked for.
    system: OnceLock<Vec<Vec<u8>>>,
}

impl Trust {
    pub(super) fn new(subjects: Vec<Vec<u8>>, is_private: bool) -> Self {
        Self { subjects, is_private, has_verified: AtomicBool::new(false), system: OnceLock::new() }
    }

    /// A chain of these CAs was good.
    pub(super) fn verified(&self) {
        self.has_verified.store(true, Ordering::Relaxed);
    }

    fn is_of_the_system(&self, issuer: &[u8]) -> bool {
        let names = self.system.get_or_init(|| {
            let found = rustls_native_certs::load_native_certs().certs;
            let names = found.iter().filter_map(|root| Some(parsed(root)?.subject().as_raw().to_vec()));
            names.collect()
        });
        names.iter().any(|name| name == issuer)
    }
}

/// What is told of a fault of TLS beside the library's words; `has_proxy`: one is on the way.
pub(super) fn judged(fault: Fault, shown: &[CertificateDer<'_>], trust: &Trust, has_proxy: bool) -> Fault {
    let Fault { kind, detail } = named(fault, shown, trust, has_proxy);
    // Names in a certificate are a stranger's words.
    Fault::new(kind, detail)
}

fn named(mut fault: Fault, shown: &[CertificateDer<'_>], trust: &Trust, has_proxy: bool) -> Fault {
    let chain: Vec<_> = shown.iter().filter_map(parsed).collect();
    let (Some(leaf), Some(top)) = (chain.first(), chain.last()) else { return fault };
    match fault.kind {
        FaultKind::ServerCertificateUntrusted => {
            fault.detail = format!("it is signed by `{}`; {}", leaf.issuer(), fault.detail);
            let is_ours = |name: &[u8]| trust.subjects.iter().any(|subject| subject == name);
            let is_own = leaf.issuer().as_raw() == leaf.subject().as_raw();
            let issuer = top.issuer().as_raw();
            if is_own || is_ours(leaf.issuer().as_raw()) || is_ours(issuer) {
                return fault;
            }
            let why = if has_proxy {
                "it came through the proxy"
            } else if trust.has_verified.load(Ordering::Relaxed) {
                "the cloud showed another one before"
            } else if trust.is_private && trust.is_of_the_system(issuer) {
                "this machine trusts that CA, `cloud.ca_file` does not have it"
            } else {
                return fault;
            };
            let (issuer, detail) = (leaf.issuer(), fault.detail);
            Fault::new(FaultKind::TlsIntercepted, format!("by a certificate of `{issuer}`: {why}; {detail}"))
        }
        FaultKind::ServerCertificateExpired => {
            let now = ASN1Time::now();
            // The one that says why: the library names no certificate.
            let expired = chain.iter().find(|certificate| certificate.validity().not_after < now);
            if let Some(expired) = expired {
                let until = day(expired.validity().not_after);
                fault.detail = format!("`{}` was valid until {until}; {}", expired.subject(), fault.detail);
            }
            fault
        }
        FaultKind::ServerNameMismatch => {
            fault.detail = format!("it is for {}; {}", names(leaf), fault.detail);
            fault
        }
        FaultKind::ServerCertificateNotYetValid | FaultKind::OwnClock => {
            let from = day(leaf.validity().not_before);
            fault.detail = format!("`{}` is valid from {from} on; {}", leaf.subject(), fault.detail);
            fault
        }
        _ => fault,
    }
}

/// The server's certificate in one line; empty when none was shown.
pub(super) fn described(shown: &[CertificateDer<'_>]) -> String {
    let Some(leaf) = shown.first().and_then(parsed) else { return String::new() };
    let validity = leaf.validity();
    format!(
        "`{}` for {} by `{}`, valid {} to {}",
        leaf.subject(),
        names(&leaf),
        leaf.issuer(),
        day(validity.not_before),
        day(validity.not_after)
    )
}

fn parsed<'a>(certificate: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    Some(x509_parser::parse_x509_certificate(certificate).ok()?.1)
}

fn names(certificate: &X509Certificate<'_>) -> String {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return "no name".to_owned() };
    let all: Vec<String> = extension
        .value
        .general_names
        .iter()
        .map(|name| match name {
            GeneralName::DNSName(name) => format!("`{name}`"),
            GeneralName::IPAddress(bytes) => address(bytes),
            other => format!("{other}"),
        })
        .collect();
    let rest = if all.len() > NAMES { " and others" } else { "" };
    format!("{}{rest}", all[..all.len().min(NAMES)].join(", "))
}

fn address(bytes: &[u8]) -> String {
    use std::net::{Ipv4Addr, Ipv6Addr};
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        Ipv4Addr::from(four).to_string()
    } else if let Ok(sixteen) = <[u8; 16]>::try_from(bytes) {
        Ipv6Addr::from(sixteen).to_string()
    } else {
        "an address".to_owned()
    }
}

fn day(time: ASN1Time) -> String {
    let text = Timestamp::from_millis(time.timestamp().saturating_mul(1000)).to_string();
    text.split('T').next().unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    use super::*;

    fn authority(name: &str) -> (Issuer<'static, KeyPair>, CertificateDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, name);
        let certificate = parameters.self_signed(&key).unwrap().der().clone();
        (Issuer::new(parameters, key), certificate)
    }

    fn server(issuer: &Issuer<'static, KeyPair>) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        let parameters =
            CertificateParams::new(vec!["cloud.example".to_owned(), "192.0.2.1".to_owned()]).unwrap();
        parameters.signed_by(&key, issuer).unwrap().der().clone()
    }

    fn subject(certificate: &CertificateDer<'_>) -> Vec<u8> {
        parsed(certificate).unwrap().subject().as_raw().to_vec()
    }

    #[test]
    fn an_unknown_ca_is_an_interception_only_where_something_speaks_for_it() {
        let ((_, ours), (theirs, _)) = (authority("Cloud CA"), authority("Office Firewall"));
        let (same_name, _) = authority("Cloud CA");
        let own =
            rcgen::generate_simple_self_signed(["cloud.example".to_owned()]).unwrap().cert.der().clone();
        let kind = |shown: &CertificateDer<'static>, has_proxy, has_verified: bool| {
            let trust = Trust::new(vec![subject(&ours)], true);
            if has_verified {
                trust.verified();
            }
            let fault = Fault::new(FaultKind::ServerCertificateUntrusted, "unknown issuer");
            judged(fault, std::slice::from_ref(shown), &trust, has_proxy)
        };
        let intercepted = server(&theirs);
        assert_eq!(kind(&intercepted, false, false).kind, FaultKind::ServerCertificateUntrusted);
        for (has_proxy, has_verified) in [(true, false), (false, true)] {
            let fault = kind(&intercepted, has_proxy, has_verified);
            assert_eq!(fault.kind, FaultKind::TlsIntercepted);
            assert!(fault.detail.contains("Office Firewall"), "{fault}");
        }
        for (shown, what) in [(server(&same_name), "a CA that was renewed"), (own, "one that signed itself")]
        {
            assert_eq!(kind(&shown, true, true).kind, FaultKind::ServerCertificateUntrusted, "{what}");
        }
    }

    #[test]
    fn a_certificate_is_told_with_its_names_its_issuer_and_its_days() {
        let (issuer, _) = authority("Cloud CA");
        let text = described(&[server(&issuer)]);
        for part in ["`cloud.example`, 192.0.2.1", "by `CN=Cloud CA`", "valid 1975-01-01 to 4096-01-01"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(described(&[]), "");
    }
}
