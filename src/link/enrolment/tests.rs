//! Keys of every form, and every reason for which a certificate is not put in place.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer};

use super::*;
use crate::{clock::Clock, link::tls::Credentials};

/// Keys that openssl 3.0 made: `ecparam -genkey`, `genrsa -traditional`, `genpkey`, `pkcs8 -topk8`. They are in the
/// repository, so nobody may ever use them.
const SAMPLES: [(&str, &str, &str); 5] = [
    ("SEC1", "ECDSA P-256", include_str!("samples/p256-sec1.pem")),
    ("PKCS #8", "ECDSA P-384", include_str!("samples/p384-pkcs8.pem")),
    ("PKCS #8", "Ed25519", include_str!("samples/ed25519-pkcs8.pem")),
    ("PKCS #1", "RSA", include_str!("samples/rsa-pkcs1.pem")),
    ("PKCS #8", "RSA", include_str!("samples/rsa-pkcs8.pem")),
];

struct Desk {
    directory: tempfile::TempDir,
    enrolment: Enrolment,
}

impl Desk {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name);
        let enrolment = Enrolment { key_file: file("home.key"), certificate_file: file("home.pem") };
        Self { enrolment, directory }
    }

    fn key(&self) -> Key {
        self.enrolment.key(false).unwrap().0
    }

    fn chain(&self, text: &str) -> Chain {
        Chain::parse(&self.directory.path().join("signed.pem"), text.as_bytes()).unwrap()
    }

    /// What is in the directory.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// A CA; its certificate, and what it signs with.
struct Ca {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

fn ca_parameters(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    parameters.distinguished_name.push(DnType::CommonName, name);
    (parameters.not_before, parameters.not_after) =
        (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2060, 1, 1));
    parameters
}

impl Ca {
    fn root(name: &str) -> Self {
        let (key, parameters) = (KeyPair::generate().unwrap(), ca_parameters(name));
        Self { pem: parameters.self_signed(&key).unwrap().pem(), issuer: Issuer::new(parameters, key) }
    }

    fn below(&self, name: &str) -> Self {
        let (key, parameters) = (KeyPair::generate().unwrap(), ca_parameters(name));
        let pem = parameters.signed_by(&key, &self.issuer).unwrap().pem();
        Self { pem, issuer: Issuer::new(parameters, key) }
    }

    /// Signs the request of this key, as changed.
    fn sign(&self, key: &Key, change: impl FnOnce(&mut CertificateParams)) -> String {
        let mut request = CertificateSigningRequestParams::from_pem(&key.request("home").unwrap()).unwrap();
        let now = SystemTime::now();
        let hour = Duration::from_secs(3600);
        request.params.not_before = (now - hour).into();
        request.params.not_after = (now + 24 * 365 * hour).into();
        change(&mut request.params);
        request.signed_by(&self.issuer).unwrap().pem()
    }

    fn anchors(&self, desk: &Desk) -> Anchors {
        Anchors::Known(Chain::parse(&desk.directory.path().join("ca.pem"), self.pem.as_bytes()).unwrap())
    }
}

fn now() -> Option<Timestamp> {
    Some(Clock::system().now())
}

#[test]
fn keys_of_every_form_sign_requests_and_are_taken_by_the_line() {
    for (form, kind, text) in SAMPLES {
        let desk = Desk::new();
        fs::write(&desk.enrolment.key_file, text).unwrap();
        let (key, origin) = desk.enrolment.key(false).unwrap();
        assert_eq!((origin, key.kind()), (Origin::Kept, kind), "{form}");
        assert_eq!(fs::read_to_string(&desk.enrolment.key_file).unwrap(), text, "{form} {kind}");
        let ca = Ca::root("CA");
        let chain = desk.chain(&ca.sign(&key, |_| {}));
        let imported = desk.enrolment.import(&chain, &ca.anchors(&desk), now()).unwrap();
        assert_eq!(imported, Imported { end: End::Anchored, has_new_key: false }, "{form} {kind}");
        let own = Some((&*desk.enrolment.certificate_file, &*desk.enrolment.key_file));
        let ca_file = desk.directory.path().join("roots.pem");
        fs::write(&ca_file, &ca.pem).unwrap();
        let credentials = Credentials::load(Some(&ca_file), own);
        assert!(credentials.is_ok(), "{form} {kind}: {:?}", credentials.err());
    }
}

#[test]
fn a_request_has_the_name_the_use_and_the_signature_of_its_key() {
    let desk = Desk::new();
    let key = desk.key();
    let text = key.request("home of Anna & Ödön").unwrap();
    let (_, pem) = x509_parser::pem::parse_x509_pem(text.as_bytes()).unwrap();
    let (_, request) = X509CertificationRequest::from_der(&pem.contents).unwrap();
    request.verify_signature().unwrap();
    assert_eq!(request.certification_request_info.subject.to_string(), "CN=home of Anna & Ödön");
    assert!(key.is_of(request.certification_request_info.subject_pki.raw));
    let uses = CertificateSigningRequestParams::from_pem(&text).unwrap().params;
    assert_eq!(uses.extended_key_usages, [ExtendedKeyUsagePurpose::ClientAuth]);
    assert_eq!(uses.key_usages, [KeyUsagePurpose::DigitalSignature]);
    for bad in ["", "a\nb", &"x".repeat(65)] {
        assert!(matches!(key.request(bad), Err(EnrolmentError::BadSubject(name)) if name == bad));
    }
}

#[test]
fn a_key_is_made_once_for_its_owner_alone_and_a_new_one_waits_beside_it() {
    let desk = Desk::new();
    let (key, origin) = desk.enrolment.key(false).unwrap();
    assert_eq!((origin, key.kind()), (Origin::Made, "ECDSA P-256"));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&desk.enrolment.key_file), 0o600);
    let first = fs::read_to_string(&desk.enrolment.key_file).unwrap();
    assert_eq!(desk.enrolment.key(false).unwrap().1, Origin::Kept);

    let ca = Ca::root("CA");
    let (waiting, origin) = desk.enrolment.key(true).unwrap();
    assert_eq!((origin, waiting.path()), (Origin::MadeBeside, &*desk.enrolment.waiting_key_file()));
    assert_eq!(mode(waiting.path()), 0o600);
    assert_eq!(desk.enrolment.key(false).unwrap().1, Origin::KeptBeside);
    assert_eq!(fs::read_to_string(&desk.enrolment.key_file).unwrap(), first, "the key in use stays");

    // A certificate for the key in use leaves the one that waits alone.
    let anchors = ca.anchors(&desk);
    let imported = desk.enrolment.import(&desk.chain(&ca.sign(&key, |_| {})), &anchors, now()).unwrap();
    assert!(!imported.has_new_key);
    assert_eq!(desk.names(), ["home.key", "home.key.new", "home.pem"]);

    let text = fs::read_to_string(waiting.path()).unwrap();
    let imported = desk.enrolment.import(&desk.chain(&ca.sign(&waiting, |_| {})), &anchors, now()).unwrap();
    assert!(imported.has_new_key);
    assert_eq!(desk.names(), ["home.key", "home.pem"]);
    assert_eq!(fs::read_to_string(&desk.enrolment.key_file).unwrap(), text);
    assert_eq!(mode(&desk.enrolment.certificate_file), 0o644);
}

#[test]
fn an_import_that_the_power_cut_short_is_mended_by_the_same_import() {
    let desk = Desk::new();
    let ca = Ca::root("CA");
    let anchors = ca.anchors(&desk);
    let old = desk.chain(&ca.sign(&desk.key(), |_| {}));
    desk.enrolment.import(&old, &anchors, now()).unwrap();
    let (waiting, _) = desk.enrolment.key(true).unwrap();
    let fresh = desk.chain(&ca.sign(&waiting, |_| {}));
    // The new key had its place, the certificate not yet.
    fs::rename(waiting.path(), &desk.enrolment.key_file).unwrap();
    desk.enrolment.import(&fresh, &anchors, now()).unwrap();
    let placed = Chain::read(&desk.enrolment.certificate_file).unwrap();
    assert!(placed.is_for(&desk.key()));
}

#[test]
fn each_certificate_that_may_not_take_the_place_has_its_own_error_and_the_old_one_stays() {
    let desk = Desk::new();
    let key = desk.key();
    let root = Ca::root("root");
    let middle = root.below("middle");
    let anchors = root.anchors(&desk);
    let complete = format!("{}{}", middle.sign(&key, |_| {}), middle.pem);
    desk.enrolment.import(&desk.chain(&complete), &anchors, now()).unwrap();
    let placed = fs::read_to_string(&desk.enrolment.certificate_file).unwrap();

    let refused = |text: &str, anchors: &Anchors| {
        let error = desk.enrolment.import(&desk.chain(text), anchors, now()).unwrap_err();
        assert_eq!(fs::read_to_string(&desk.enrolment.certificate_file).unwrap(), placed, "{error}");
        assert_eq!(desk.names(), ["home.key", "home.pem"], "{error}");
        let words = error.to_string();
        assert!(words.contains("signed.pem"), "{words}");
        error
    };
    let other = Desk::new();
    let error = refused(&root.sign(&other.key(), |_| {}), &anchors);
    assert!(matches!(error, EnrolmentError::OtherKey { .. }), "{error}");
    let error = refused(&format!("{}{}", middle.pem, middle.sign(&key, |_| {})), &anchors);
    assert!(matches!(error, EnrolmentError::NotFirst { number: 2, .. }), "{error}");
    let error = refused(&root.sign(&key, |it| it.not_after = rcgen::date_time_ymd(2021, 1, 1)), &anchors);
    assert!(matches!(error, EnrolmentError::Expired { .. }), "{error}");
    let error = refused(&root.sign(&key, |it| it.not_before = rcgen::date_time_ymd(2050, 1, 1)), &anchors);
    assert!(matches!(error, EnrolmentError::NotYetValid { .. }), "{error}");
    for change in [
        (|it: &mut CertificateParams| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth])
            as fn(&mut CertificateParams),
        |it| it.key_usages = vec![KeyUsagePurpose::KeyAgreement],
        |it| it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
    ] {
        let error = refused(&root.sign(&key, change), &anchors);
        assert!(matches!(error, EnrolmentError::WrongUsage { .. }), "{error}");
    }
    let error = refused(&middle.sign(&key, |_| {}), &anchors);
    assert!(matches!(&error, EnrolmentError::Incomplete { issuer, .. } if issuer == "CN=middle"), "{error}");
    let error = refused(&format!("{}{}", middle.sign(&key, |_| {}), root.pem), &anchors);
    assert!(
        matches!(&error, EnrolmentError::Broken { issuer, next, .. } if issuer == "CN=middle" && next == "CN=root"),
        "{error}"
    );
    // Another one of the same name: in the chain, and as the CA.
    let double = root.below("middle");
    let error = refused(&format!("{}{}", double.sign(&key, |_| {}), middle.pem), &anchors);
    assert!(matches!(error, EnrolmentError::NotSignedBy { .. }), "{error}");
    let error = refused(&complete, &Ca::root("root").anchors(&desk));
    assert!(matches!(error, EnrolmentError::NotSignedBy { .. }), "{error}");
    // What none of these finds: rustls does. This CA may only sign certificates, not other CAs.
    let mut narrow = ca_parameters("narrow");
    narrow.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let narrow_key = KeyPair::generate().unwrap();
    let pem = narrow.signed_by(&narrow_key, &root.issuer).unwrap().pem();
    let narrow = Ca { pem, issuer: Issuer::new(narrow, narrow_key) };
    let below = narrow.below("below");
    let error = refused(&[below.sign(&key, |_| {}), below.pem, narrow.pem].concat(), &anchors);
    assert!(matches!(error, EnrolmentError::Refused { .. }), "{error}");
}

#[test]
fn a_cloud_that_knows_its_clients_by_another_ca_is_no_reason_to_refuse() {
    let desk = Desk::new();
    let key = desk.key();
    let cloud = Ca::root("the cloud's own CA for its things");
    // As AWS IoT signs them: no word of what they are for.
    let text = cloud.sign(&key, |it| (it.key_usages, it.extended_key_usages) = (Vec::new(), Vec::new()));
    let imported = desk.enrolment.import(&desk.chain(&text), &Anchors::Unknown, now()).unwrap();
    let issuer = chain::report(&CertificateDer::from(
        x509_parser::pem::parse_x509_pem(text.as_bytes()).unwrap().1.contents,
    ));
    assert_eq!(imported.end, End::Open(issuer.unwrap().issuer));
}

#[test]
fn without_a_clock_no_certificate_is_too_old_or_too_young() {
    let desk = Desk::new();
    let key = desk.key();
    let ca = Ca::root("CA");
    let text = ca.sign(&key, |it| {
        it.not_before = rcgen::date_time_ymd(2050, 1, 1);
        it.not_after = rcgen::date_time_ymd(2051, 1, 1);
    });
    desk.enrolment.import(&desk.chain(&text), &ca.anchors(&desk), None).unwrap();
}

#[test]
fn only_certificates_are_taken_out_of_a_file_and_damage_is_told_with_its_place() {
    let desk = Desk::new();
    let ca = Ca::root("CA");
    let good = ca.sign(&desk.key(), |_| {});
    let secret = fs::read_to_string(&desk.enrolment.key_file).unwrap();
    let mixed = format!("subject=CN = home\r\n{secret}{}", good.replace('\n', "\r\n"));
    assert_eq!(desk.chain(&mixed).text().trim(), good.trim());

    let path = Path::new("it.pem");
    let damaged = "-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n";
    let error = Chain::parse(path, format!("{good}{damaged}").as_bytes()).unwrap_err();
    assert!(matches!(&error, EnrolmentError::Damaged { number: 2, .. }), "{error}");
    for nothing in ["", "hello", "-----BEGIN CERTIFICATE-----\n", &secret] {
        let error = Chain::parse(path, nothing.as_bytes()).unwrap_err();
        assert!(matches!(&error, EnrolmentError::NoCertificate(_)), "{error}");
    }
}

#[test]
fn a_draft_that_is_in_the_way_is_named_and_left_alone() {
    let desk = Desk::new();
    let tmp = desk.directory.path().join("home.key.tmp");
    fs::write(&tmp, "of another one").unwrap();
    assert_eq!(desk.enrolment.key(false).unwrap_err(), EnrolmentError::Busy(tmp.clone()));
    assert_eq!(fs::read_to_string(&tmp).unwrap(), "of another one");
    assert_eq!(desk.names(), ["home.key.tmp"]);
}

#[test]
fn the_board_shows_the_certificate_of_the_line() {
    let desk = Desk::new();
    let ca = Ca::root("CA");
    let chain = desk.chain(&ca.sign(&desk.key(), |it| it.serial_number = Some(vec![0x0a, 0xff].into())));
    desk.enrolment.import(&chain, &ca.anchors(&desk), now()).unwrap();
    let own = Some((&*desk.enrolment.certificate_file, &*desk.enrolment.key_file));
    let clock = Clock::system();
    let ca_file = desk.directory.path().join("ca.pem");
    fs::write(&ca_file, &ca.pem).unwrap();
    let credentials = Credentials::load(Some(&ca_file), own).unwrap();
    let board = Board::new("g", clock);
    tell(&board, credentials.certificate(), None);
    let status = board.snapshot().certificate.unwrap();
    assert_eq!(Some(&status.certificate), chain.report().as_ref());
    assert_eq!((&*status.certificate.subject, &*status.certificate.serial), ("CN=home", "0A:FF"));
    assert_eq!((status.days_left, status.certificate.fingerprint_sha256.len()), (Some(364), 95));
    tell(&board, None, None);
    assert_eq!(board.snapshot().certificate, None);
}

#[test]
fn a_key_that_others_can_read_is_found() {
    let desk = Desk::new();
    desk.key();
    assert_eq!(exposed(&desk.enrolment.key_file), None);
    for mode in [0o640, 0o604, 0o622] {
        fs::set_permissions(&desk.enrolment.key_file, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(exposed(&desk.enrolment.key_file), Some(mode));
    }
}
