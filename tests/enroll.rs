//! Enrolment by the real program: a key that is made here, a request, what comes back, and a line that stands on it.
#![cfg(feature = "demo")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's panic is its verdict; clippy spares only `#[test]` functions"
)]

#[allow(dead_code, reason = "the rest is used in other tests")]
#[path = "support/house.rs"]
mod house;
#[allow(dead_code, reason = "the rest is used in other tests")]
#[path = "support/peer.rs"]
mod peer;
#[allow(dead_code, reason = "the rest is used in other tests")]
#[path = "support/raw.rs"]
mod raw;

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, SystemTime},
};

use hearthlink::demo::certificates::{Authority, LOOPBACK_NAMES, Wish};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use house::{House, PATIENCE};
use peer::{Peer, Published, Session, puback};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn hearthlink(directory: &Path, arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearthlink"));
    command.args(arguments).current_dir(directory).env_remove("HEARTHLINK_LOG");
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    // Whoever does not read it may have ended already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A house with a cloud whose CA is `root`.
struct Home {
    house: House,
    root: Ca,
}

impl Home {
    fn new() -> Self {
        Self::at("wss://127.0.0.1:1/mqtt")
    }

    fn at(url: &str) -> Self {
        let house = House::new(&format!(
            "cloud: {{ url: \"{url}\", ca_file: ca.pem, certificate_file: home.pem, key_file: home.key }}\n"
        ));
        let home = Self { house, root: Ca::root("the house's CA") };
        home.write("ca.pem", &home.root.pem);
        home
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.house.path().join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.house.path().join(name)).unwrap()
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.house.path().join(name)).unwrap().permissions().mode() & 0o777
    }

    fn run(&self, command: &str, arguments: &[&str]) -> (i32, String, String) {
        let all = [&[command, "--config", "home.yaml"], arguments].concat();
        hearthlink(self.house.path(), &all, "")
    }

    fn enroll(&self, arguments: &[&str]) -> (i32, String, String) {
        let told = self.run("enroll", arguments);
        assert!(!told.1.contains("PRIVATE") && !told.2.contains("PRIVATE"), "{told:?}");
        told
    }

    /// Makes the key and the request if they are not there, and what a CA makes of that.
    fn signed(&self, ca: &Ca, change: impl FnOnce(&mut CertificateParams)) -> String {
        let (code, _, stderr) = self.enroll(&[]);
        assert_eq!(code, 0, "{stderr}");
        ca.sign(&self.read("home.csr"), change)
    }

    fn import(&self, text: &str, more: &[&str]) -> (i32, String, String) {
        self.write("signed.pem", text);
        self.enroll(&[&["--import", "signed.pem"], more].concat())
    }
}

/// Somebody who signs.
struct Ca {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    fn parameters(name: &str) -> CertificateParams {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters
    }

    fn root(name: &str) -> Self {
        let (key, parameters) = (KeyPair::generate().unwrap(), Self::parameters(name));
        Self { pem: parameters.self_signed(&key).unwrap().pem(), issuer: Issuer::new(parameters, key) }
    }

    fn below(&self, name: &str) -> Self {
        let (key, parameters) = (KeyPair::generate().unwrap(), Self::parameters(name));
        let pem = parameters.signed_by(&key, &self.issuer).unwrap().pem();
        Self { pem, issuer: Issuer::new(parameters, key) }
    }

    fn sign(&self, request: &str, change: impl FnOnce(&mut CertificateParams)) -> String {
        // Checks the request's own signature.
        let mut request = CertificateSigningRequestParams::from_pem(request).unwrap();
        lasting(&mut request.params, 400, 365);
        change(&mut request.params);
        request.signed_by(&self.issuer).unwrap().pem()
    }
}

/// Valid since so many days, for so many more.
fn lasting(parameters: &mut CertificateParams, since: u32, more: u32) {
    let now = SystemTime::now();
    // Half a day, so that the count of days does not change under a test.
    (parameters.not_before, parameters.not_after) =
        ((now - since * DAY).into(), (now + more * DAY + DAY / 2).into());
}

/// Words, however the terminal breaks them.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_key_is_made_once_for_its_owner_alone_and_signs_the_request() {
    let home = Home::new();
    let (code, stdout, stderr) = home.enroll(&[]);
    assert_eq!(code, 0, "{stderr}");
    for part in [
        "home.key",
        "home.csr",
        "hearthlink enroll --config home.yaml --import",
        "aws iot create-certificate-from-csr",
    ] {
        assert!(stdout.contains(part), "{stdout}");
    }
    assert_eq!((home.mode("home.key"), home.mode("home.csr")), (0o600, 0o644));
    let key = home.read("home.key");
    let request = CertificateSigningRequestParams::from_pem(&home.read("home.csr")).unwrap();
    let public = KeyPair::from_pem(&key).unwrap();
    assert_eq!(request.public_key.der_bytes(), public.public_key_raw());
    let name = |request: &CertificateSigningRequestParams| {
        let name = request.params.distinguished_name.get(&DnType::CommonName).unwrap();
        format!("{name:?}")
    };
    assert!(name(&request).contains("\"home\""), "{}", name(&request));

    // Again, under another name, to standard output.
    let (code, stdout, stderr) = home.enroll(&["--subject", "attic", "--csr", "-"]);
    assert_eq!(code, 0, "{stderr}");
    let again = CertificateSigningRequestParams::from_pem(&stdout).unwrap();
    assert!(name(&again).contains("\"attic\"") && stderr.contains("stays"), "{stderr}");
    assert_eq!(again.public_key.der_bytes(), public.public_key_raw());
    assert_eq!(home.read("home.key"), key, "the second run keeps the key");

    let (code, stdout, stderr) = home.enroll(&["--new-key"]);
    assert_eq!((code, home.read("home.key") == key), (0, true), "{stderr}");
    assert!(flat(&stdout).contains("The old one stays in use"), "{stdout}");
    assert_eq!(home.mode("home.key.new"), 0o600);
    let new = CertificateSigningRequestParams::from_pem(&home.read("home.csr")).unwrap();
    assert_ne!(new.public_key.der_bytes(), public.public_key_raw());
    let (code, stdout, stderr) = home.import(&home.root.sign(&home.read("home.csr"), |_| {}), &[]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("So is its new key"), "{stdout}");
    assert_ne!(home.read("home.key"), key);
    assert_eq!(home.mode("home.key"), 0o600);
    assert!(!home.house.path().join("home.key.new").exists());
}

#[test]
fn a_certificate_that_is_good_is_put_in_place_and_shown() {
    let home = Home::new();
    let (code, ..) = home.run("check", &[]);
    assert_eq!(code, 78, "nothing is there yet");
    let (code, _, stderr) = home.enroll(&["--show"]);
    assert!(code == 1 && stderr.contains("there is no certificate"), "{stderr}");
    let (code, _, stderr) = home.import(&home.root.pem, &[]);
    assert!(code == 1 && stderr.contains("there is no key") && stderr.contains("home.key"), "{stderr}");

    let middle = home.root.below("the house's second CA");
    let signed = [home.signed(&middle, |_| {}), middle.pem].concat();
    let (code, stdout, stderr) = home.import(&signed, &[]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.contains("in 365 days") && stdout.contains("What to do now"), "{stdout}");
    assert_eq!(home.read("home.pem").replace('\r', ""), signed.replace('\r', ""));
    assert_eq!(home.mode("home.pem"), 0o644);
    let (code, _, stderr) = home.run("check", &[]);
    assert_eq!(code, 0, "{stderr}");

    let (code, stdout, _) = home.enroll(&["--show"]);
    assert_eq!(code, 0);
    for part in ["CN=home", "CN=the house's second CA", "in 365 days", "home.key fits"] {
        assert!(stdout.contains(part), "{part}: {stdout}");
    }
    let (code, stdout, _) = home.enroll(&["--show", "--json"]);
    let shown: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &shown["days_left"], &shown["key_fits"]), (0, &365.into(), &true.into()));
    assert_eq!((&shown["subject"], &shown["expiry"]), (&"CN=home".into(), &"far".into()));
    let openssl_form = |text: &str| text.split(':').all(|byte| byte.len() == 2);
    assert!(shown["fingerprint_sha256"].as_str().is_some_and(|it| it.len() == 95 && openssl_form(it)));

    // The same from standard input; and one that is over, which only a person can have put there.
    let all = ["enroll", "--config", "home.yaml", "--import", "-"];
    let (code, _, stderr) = hearthlink(home.house.path(), &all, &signed);
    assert_eq!(code, 0, "{stderr}");
    home.write("home.pem", &home.signed(&home.root, |it| it.not_after = rcgen::date_time_ymd(2026, 1, 2)));
    let (code, stdout, _) = home.enroll(&["--show"]);
    assert!(code == 1 && stdout.contains("(expired ") && stdout.contains(" ago)"), "{stdout}");
}

#[test]
fn each_certificate_that_may_not_take_the_place_is_refused_in_words_and_the_old_one_stays() {
    let home = Home::new();
    let root = &home.root;
    let good = home.signed(root, |_| {});
    assert_eq!(home.import(&good, &[]).0, 0);
    let (key, placed) = (home.read("home.key"), home.read("home.pem"));
    let other = Home::new();
    let middle = root.below("middle");
    let stranger = Ca::root("stranger");
    let server_only = |it: &mut CertificateParams| {
        it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };
    let text = |text: &str| text.to_owned();
    for (bad, words) in [
        (other.signed(root, |_| {}), "is not for the key in"),
        (home.signed(root, |it| it.not_after = rcgen::date_time_ymd(2026, 1, 2)), "expired on 2026-01-02"),
        (
            home.signed(root, |it| it.not_before = rcgen::date_time_ymd(2090, 1, 2)),
            "not valid before 2090-01-02",
        ),
        (home.signed(&middle, |_| {}), "append the certificate of `CN=middle`"),
        (home.signed(&middle, |_| {}) + &root.pem, "put the certificate of `CN=middle` between them"),
        (root.pem.clone() + &good, "is number 2 in"),
        (home.signed(&stranger, |_| {}), "is not complete"),
        (home.signed(root, server_only), "leaves out client authentication"),
        (home.signed(root, |it| it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)), "it is a CA's"),
        (text("nonsense"), "contains no PEM certificate"),
        (text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "certificate 1 in"),
        (home.read("home.csr"), "contains no PEM certificate"),
        (String::new(), "contains no PEM certificate"),
    ] {
        let (code, stdout, stderr) = home.import(&bad, &[]);
        assert_eq!((code, stdout.as_str()), (1, ""), "{words}: {stderr}");
        assert!(stderr.contains(words) && stderr.contains("signed.pem"), "`{words}`: {stderr}");
        assert_eq!((home.read("home.pem") == placed, home.read("home.key") == key), (true, true), "{words}");
    }
    let (code, _, stderr) = home.enroll(&["--import", "nowhere.pem"]);
    assert!(code == 1 && stderr.contains("there is no file `nowhere.pem`"), "{stderr}");

    // The cloud knows its clients by another CA than it is known by.
    let foreign = home.signed(&stranger, |_| {});
    home.write("stranger.pem", &stranger.pem);
    assert_eq!(home.import(&foreign, &["--ca", "stranger.pem"]).0, 0);
    let (code, stdout, _) = home.import(&foreign, &["--any-ca"]);
    assert!(code == 0 && stdout.contains("`CN=stranger`, who signed it"), "{stdout}");
    assert_eq!(home.read("home.pem"), foreign);
}

#[test]
fn it_says_which_file_it_needs_when_no_configuration_names_one() {
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| hearthlink(directory.path(), arguments, "");
    fs::write(directory.path().join("bare.yaml"), "gateway: {id: home}\n").unwrap();
    let (code, _, stderr) = run(&["enroll", "--config", "bare.yaml"]);
    assert!(code == 78 && stderr.contains("cloud.certificate_file"), "{stderr}");
    let (code, _, stderr) = run(&["enroll", "--config", "bare.yaml", "--certificate", "c.pem"]);
    assert!(code == 78 && stderr.contains("cloud.key_file"), "{stderr}");
    let files = ["enroll", "--config", "bare.yaml", "--certificate", "c.pem", "--key"];
    let (code, _, stderr) = run(&[&files[..], &["/run/credentials/hearthlink.service/cloud.key"]].concat());
    assert!(code == 1 && stderr.contains("LoadCredential="), "{stderr}");
    let (code, _, stderr) = run(&[&files[..], &["nowhere/c.key"]].concat());
    assert!(code == 1 && stderr.contains("failed to write `nowhere/c.key`"), "{stderr}");
    let (code, _, stderr) = run(&[&files[..], &["c.key"]].concat());
    assert_eq!(code, 0, "{stderr}");
    assert!(directory.path().join("c.key").exists() && directory.path().join("c.csr").exists());
    let (code, _, stderr) = run(&["enroll", "--config", "nowhere.yaml"]);
    assert!(code == 78 && stderr.contains("nowhere.yaml"), "{stderr}");
    let (code, ..) = run(&["enroll", "--show", "--import", "x.pem"]);
    assert_eq!(code, 2);
}

/// A cloud that lets in only who shows a certificate of this CA.
async fn cloud(directory: &Path, client_ca: &Path) -> Peer {
    let authority = Authority::new("the cloud's CA").unwrap();
    authority.write(&directory.join("cloud-ca.pem")).unwrap();
    let server = authority.issue(&Wish::server(LOOPBACK_NAMES)).unwrap().write(directory, "server").unwrap();
    Peer::with_clients_of(&server, Some(client_ca), &[&rustls::version::TLS13]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_connects_with_what_it_enrolled_and_warns_everywhere_before_it_runs_out() {
    let home = Home::new();
    let ca = home.house.path().join("ca.pem");
    let cloud = cloud(home.house.path(), &ca).await;
    let url = cloud.url();
    home.house.configure(&format!(
        "cloud: {{ url: \"{url}\", ca_file: cloud-ca.pem, certificate_file: home.pem, key_file: home.key }}\n"
    ));
    // As if it had been there for more than a year.
    let signed = home.signed(&home.root, |it| lasting(it, 400, 5));
    let (code, _, stderr) = home.import(&signed, &["--ca", "ca.pem"]);
    assert_eq!(code, 0, "{stderr}");

    let _gateway = home.house.start().await;
    let mut session = cloud.online().await;
    let told = certificate_message(&mut session).await;
    let payload: Value = serde_json::from_slice(&told.payload).unwrap();
    assert!(told.is_retained, "{payload}");
    assert_eq!((&payload["expiry"], &payload["days_left"]), (&"within_7_days".into(), &5.into()));

    let status = home.house.status_when("it is online", |status| status["link"]["state"] == "online").await;
    assert_eq!(status["certificate"]["fingerprint_sha256"], payload["fingerprint_sha256"]);
    assert_eq!(
        (&status["certificate"]["subject"], &status["verdict"]["level"]),
        (&"CN=home".into(), &"warning".into())
    );
    let sentence = status["verdict"]["sentence"].as_str().unwrap();
    assert!(sentence.contains("certificate for the cloud expires in 5 days"), "{sentence}");
    let (code, stdout, _) = home.run("status", &[]);
    assert!(code == 0 && stdout.contains("Cert     CN=home, expires in 5 days"), "{stdout}");

    // At home it is kept for whoever comes later.
    let mut options = rumqttc::MqttOptions::new("late", "127.0.0.1", home.house.port);
    options.set_keep_alive(Duration::from_secs(5));
    let (client, mut events) = rumqttc::AsyncClient::new(options, 8);
    client.try_subscribe("home/bridge/certificate", rumqttc::QoS::AtLeastOnce).unwrap();
    let late = async {
        loop {
            if let rumqttc::Event::Incoming(rumqttc::Incoming::Publish(publish)) =
                events.poll().await.unwrap()
            {
                return publish;
            }
        }
    };
    let late = timeout(PATIENCE, late).await.expect("the retained message");
    let at_home: Value = serde_json::from_slice(&late.payload).unwrap();
    assert!(late.retain && at_home["expiry"] == "within_7_days" && at_home["at"].is_string(), "{at_home}");

    let metrics = metrics(&home).await;
    let name = "\nhearthlink_cloud_certificate_expiry_timestamp_seconds ";
    let value: i64 = metrics.split_once(name).unwrap().1.lines().next().unwrap().parse().unwrap();
    let until = hearthlink::model::Timestamp::parse_rfc3339(payload["not_after"].as_str().unwrap()).unwrap();
    assert_eq!(value, until.as_millis() / 1000);
}

/// Takes what the gateway publishes, up to what it says of its certificate.
async fn certificate_message(session: &mut Session) -> Published {
    loop {
        let publish = session.publish().await;
        session.send(&puback(publish.packet)).await;
        if publish.topic == "hearthlink/home/bridge/certificate" {
            return publish;
        }
    }
}

/// What `/metrics` says.
async fn metrics(home: &Home) -> String {
    let text = home.read("home.yaml");
    let address = text.split_once("web: { address: \"").unwrap().1.split_once('"').unwrap().0;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_openssl_made_open_the_line_in_every_form() {
    for (form, text) in [
        ("SEC1", include_str!("../src/link/enrolment/samples/p256-sec1.pem")),
        ("PKCS #1", include_str!("../src/link/enrolment/samples/rsa-pkcs1.pem")),
        ("PKCS #8", include_str!("../src/link/enrolment/samples/ed25519-pkcs8.pem")),
    ] {
        let home = Home::new();
        let cloud = cloud(home.house.path(), &home.house.path().join("ca.pem")).await;
        let url = cloud.url();
        home.house.configure(&format!(
            "cloud: {{ url: \"{url}\", ca_file: cloud-ca.pem, certificate_file: home.pem, key_file: home.key }}\n"
        ));
        home.write("home.key", text);
        fs::set_permissions(home.house.path().join("home.key"), fs::Permissions::from_mode(0o600)).unwrap();
        let signed = home.signed(&home.root, |_| {});
        let (code, _, stderr) = home.import(&signed, &["--ca", "ca.pem"]);
        assert_eq!(code, 0, "{form}: {stderr}");
        assert_eq!(home.read("home.key"), text, "{form}");
        let _gateway = home.house.start().await;
        let mut session = cloud.online().await;
        certificate_message(&mut session).await;
        let status = home.house.status_when(form, |status| status["link"]["state"] == "online").await;
        assert_eq!(status["verdict"]["level"], "ok", "{form}: {status}");
    }
}
