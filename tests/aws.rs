//! The link against a stand-in for AWS IoT Core that is strict where AWS is, and that stand-in against a client that
//! does what AWS forbids.
#![cfg(feature = "demo")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's panic is its verdict; clippy spares only `#[test]` functions"
)]

mod support {
    pub mod aws;
    #[allow(dead_code, reason = "the rest is used in tests/link.rs")]
    pub mod gateway;
    pub mod key_provider;
    #[allow(dead_code, reason = "the rest is used in tests/link.rs")]
    pub mod peer;
    #[allow(dead_code, reason = "the rest is used in tests/broker")]
    pub mod raw;
}

use std::{path::PathBuf, sync::Arc, time::Duration};

use hearthlink::{
    clock::Clock,
    link::{Access, Authorizer, AwsKeys, LinkOptions, Login, Password, SignedToken},
    model::{FaultKind, LinkState, QoS, TopicFilter},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use support::{
    aws::{ALPN, Aws, Connect, Key, REGION},
    gateway::{Gateway, Papers},
    key_provider::{KeyProvider, Mood},
    raw::{self, Raw},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// A clock that stands still at the machine's time, because certificates are judged by that.
fn clock() -> Clock {
    Clock::manual(Clock::system().now())
}

fn file(papers: &Papers, name: &str, text: &str) -> PathBuf {
    let path = papers.directory.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn options(papers: &Papers, aws: &Aws, login: Login) -> LinkOptions {
    let access = Access { login, headers: Vec::new() };
    LinkOptions { access, ..papers.options(&aws.url()) }
}

fn signature(keys: AwsKeys) -> Login {
    Login::AwsSignature { region: Some(REGION.to_owned()), keys }
}

/// Keys in a file, of which the last one is this.
fn static_keys(papers: &Papers, secret: &str) -> Login {
    let text = format!("[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = {secret}\n");
    signature(AwsKeys::File { path: file(papers, "aws", &text), profile: "default".to_owned() })
}

fn knows_the_static_key(aws: &Aws) {
    aws.knows("AKIDEXAMPLE", Key { secret: SECRET.to_owned(), token: None, expires: None });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_web_socket_is_let_in_and_readings_come_through_it() {
    let (papers, clock) = (Papers::new(), clock());
    let aws = Aws::start(&papers, clock.clone()).await;
    knows_the_static_key(&aws);
    let gateway = Gateway::start_at(options(&papers, &aws, static_keys(&papers, SECRET)), clock);
    let report = gateway.until_online().await;
    assert_eq!(report.protocol, Some("MQTT 5"));
    for number in 0..300 {
        gateway.append(&number.to_string()).await;
    }
    gateway.until_empty().await;
    let expected: Vec<String> = (0..300).map(|number: u32| number.to_string()).collect();
    assert_eq!(aws.on("h/g/toaster"), expected);
    gateway.stop().await;
    assert_eq!(aws.on("h/g/bridge/state"), ["online", "offline"]);
    assert_eq!(aws.upgrades(), ["AKIDEXAMPLE"]);
    let connect = Connect { version: 5, client_id: "gateway".to_owned(), username: None, password: None };
    assert_eq!(aws.connects(), [connect]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_web_socket_carries_mqtt_3_1_1_as_well() {
    let (papers, clock) = (Papers::new(), clock());
    let aws = Aws::start(&papers, clock.clone()).await;
    knows_the_static_key(&aws);
    aws.speaks_only_3_1_1();
    let gateway = Gateway::start_at(options(&papers, &aws, static_keys(&papers, SECRET)), clock);
    assert_eq!(gateway.until_online().await.protocol, Some("MQTT 3.1.1"));
    gateway.append("22.5").await;
    gateway.until_empty().await;
    assert_eq!(aws.on("h/g/toaster"), ["22.5"]);
    assert_eq!(aws.connects()[0].version, 4);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_a_wrong_clock_and_an_unknown_key_are_refused_and_a_file_put_right_heals_it() {
    let (papers, clock) = (Papers::new(), clock());
    let aws = Aws::start(&papers, clock.clone()).await;
    let gateway = Gateway::start_at(options(&papers, &aws, static_keys(&papers, "wrong")), clock.clone());
    let fault = gateway.until_fault().await;
    assert_eq!(fault.kind, FaultKind::NotAuthorized, "{fault}");
    assert!(!fault.detail.contains("X-Amz"), "{fault}");
    knows_the_static_key(&aws);
    until(&aws, "signature").await;
    static_keys(&papers, SECRET);
    gateway.until_online().await;
    gateway.stop().await;
    assert!(aws.refusals().contains(&"no key AKIDEXAMPLE".to_owned()), "{:?}", aws.refusals());

    let behind = Clock::manual(clock.now());
    clock.advance(Duration::from_secs(301));
    let gateway = Gateway::start_at(options(&papers, &aws, static_keys(&papers, SECRET)), behind);
    assert_eq!(gateway.until_fault().await.kind, FaultKind::NotAuthorized);
    until(&aws, "signed 301").await;
    gateway.stop().await;
}

/// Waits until the stand-in has refused somebody for this.
async fn until(aws: &Aws, why: &str) {
    for _ in 0..600 {
        if aws.refusals().iter().any(|refusal| refusal.starts_with(why)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never `{why}`: {:?}", aws.refusals());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_bought_with_the_certificate_kept_for_the_next_connection_and_renewed_before_they_end() {
    let (papers, clock) = (Papers::new(), clock());
    let aws = Aws::start(&papers, clock.clone()).await;
    let provider = KeyProvider::start(&papers, aws.clone(), clock.clone()).await;
    let login = signature(AwsKeys::Role(provider.role()));
    let gateway = Gateway::start_at(options(&papers, &aws, login), clock.clone());
    gateway.until_online().await;
    for minutes in [50, 6] {
        // The signature that it takes is that of now.
        clock.advance(Duration::from_secs(60 * minutes));
        aws.cut();
        gateway.until("down", |report| report.state != LinkState::Online).await;
        gateway.until_online().await;
    }
    assert_eq!(aws.upgrades(), ["ASIA1", "ASIA1", "ASIA2"]);
    assert_eq!(provider.asked(), 2);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_refuses_or_says_nothing_is_named_with_its_words() {
    let (papers, clock) = (Papers::new(), clock());
    let aws = Aws::start(&papers, clock.clone()).await;
    let provider = KeyProvider::start(&papers, aws.clone(), clock.clone()).await;
    provider.mood(Mood::Refuses("403 Forbidden", r#"{"message":"Access Denied"}"#));
    let login = signature(AwsKeys::Role(provider.role()));
    let mut wanted = options(&papers, &aws, login.clone());
    wanted.connect_limit = Duration::from_secs(2);
    let gateway = Gateway::start_at(wanted, clock.clone());
    let told = |words: &'static str| {
        let gateway = &gateway;
        async move {
            let shows = |fault: &hearthlink::model::Fault| {
                fault.kind == FaultKind::KeyProvider && fault.detail.contains(words)
            };
            gateway.until(words, |report| report.fault.as_ref().is_some_and(shows)).await;
        }
    };
    told("`localhost`: HTTP status 403 Forbidden: Access Denied").await;
    provider.mood(Mood::Silent);
    told("`localhost`: no answer within 1 s").await;
    provider.mood(Mood::Sells);
    gateway.until_online().await;
    gateway.stop().await;

    // Without a certificate nobody is sold anything.
    let asked = provider.asked();
    let none = LinkOptions { certificate_file: None, key_file: None, ..options(&papers, &aws, login) };
    let gateway = Gateway::start_at(none, clock);
    let fault = gateway.until_fault().await;
    assert_eq!((fault.kind, provider.asked()), (FaultKind::KeyProvider, asked), "{fault}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_authorizer_is_told_its_token_and_signature_in_headers() {
    let (papers, clock) = (Papers::new(), clock());
    let aws = Aws::start(&papers, clock.clone()).await;
    aws.asks(support::aws::Authorizer {
        name: "home".to_owned(),
        key_name: "x-token".to_owned(),
        token: "a token".to_owned(),
        signature: "c2ln+/==".to_owned(),
    });
    let token = SignedToken {
        key_name: "X-Token".to_owned(),
        file: file(&papers, "token", "a token\n"),
        signature_file: Some(file(&papers, "signature", "wrong")),
    };
    let password = Password { username: "me".to_owned(), file: Some(file(&papers, "password", "toast\n")) };
    let authorizer =
        Authorizer { name: Some("home".to_owned()), token: Some(token), password: Some(password) };
    let login = Login::AwsAuthorizer(authorizer);
    let gateway = Gateway::start_at(options(&papers, &aws, login), clock);
    assert_eq!(gateway.until_fault().await.kind, FaultKind::NotAuthorized);
    until(&aws, "authorizer").await;
    file(&papers, "signature", "c2ln+/==\n");
    gateway.until_online().await;
    assert_eq!(aws.upgrades(), ["home"]);
    let connect = aws.connects().remove(0);
    assert_eq!((connect.username.as_deref(), connect.password.as_deref()), (Some("me"), Some("toast")));
    gateway.stop().await;
}

/// A connection to the port for certificates; what it says there is up to the test.
async fn certified(papers: &Papers, aws: &Aws, alpn: &[u8]) -> Option<Raw<TlsStream<TcpStream>>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&papers.ca).unwrap()).unwrap();
    let chain = vec![CertificateDer::from_pem_file(&papers.gateway.certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_file(&papers.gateway.key).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    config.alpn_protocols = if alpn.is_empty() { Vec::new() } else { vec![alpn.to_vec()] };
    let stream = TcpStream::connect(("127.0.0.1", aws.mqtt_port())).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok().map(Raw)
}

#[tokio::test]
async fn the_stand_in_wants_its_alpn_beside_the_certificate() {
    let papers = Papers::new();
    let aws = Aws::start(&papers, Clock::system()).await;
    assert!(certified(&papers, &aws, b"http/1.1").await.is_none(), "another ALPN");
    let mut without = certified(&papers, &aws, b"").await.expect("TLS");
    assert!(without.hangs_up().await);
    let mut with = certified(&papers, &aws, ALPN).await.expect("TLS");
    assert!(!with.connect("gateway", true).await);
    with.ping().await;
}

#[tokio::test]
async fn the_stand_in_closes_whoever_passes_a_limit_in_mqtt_5_with_a_reason() {
    let papers = Papers::new();
    let aws = Aws::start(&papers, Clock::system()).await;
    let nine: Vec<(String, u8)> = (0..9).map(|number| (format!("a/{number}"), 1)).collect();
    let nine: Vec<(&str, u8)> = nine.iter().map(|(filter, qos)| (filter.as_str(), *qos)).collect();
    let deep = "1/2/3/4/5/6/7/8/9";
    let large = vec![b'x'; (128 << 10) + 1];
    let of_5 = [
        (raw::subscribe5(&[], &nine), 0x97, "9 filters"),
        (raw::subscribe5(&[], &[(deep, 1)]), 0x8f, "8 slashes"),
        (raw::publish5(2, deep, 1, &[], b""), 0x90, "8 slashes"),
        (raw::publish5(2, "a", 1, &[], &large), 0x95, "131073 bytes"),
        (raw::publish5(4, "a", 1, &[], b""), 0x9b, "QoS 2"),
        (raw::subscribe5(&[], &[("a", 2)]), 0x9b, "QoS 2"),
    ];
    for (packet, reason, why) in of_5 {
        let mut line = certified(&papers, &aws, ALPN).await.unwrap();
        line.connect5("gateway", true, 0).await;
        // What is just allowed.
        assert_eq!(line.subscribe5_with(&[], &nine[..8]).await, [1; 8]);
        line.send(&raw::publish5(2, "1/2/3/4/5/6/7/8", 1, &[], &large[1..])).await;
        assert_eq!(line.next().await, Some((0x40, vec![0, 1])));
        line.send(&packet).await;
        assert_eq!(line.next().await, Some((0xe0, vec![reason, 0])), "{why}");
        drop(line);
        assert_eq!(aws.refusals().last().map(String::as_str), Some(why));
    }
    let mut line = certified(&papers, &aws, ALPN).await.unwrap();
    line.connect("gateway", true).await;
    line.send(&raw::publish(2, deep, 1, b"")).await;
    assert!(line.hangs_up().await, "3.1.1 is told nothing");
}

#[tokio::test]
async fn the_stand_in_wants_a_keep_alive_from_30_to_1200_seconds() {
    let papers = Papers::new();
    let aws = Aws::start(&papers, Clock::system()).await;
    for (asked, told) in [(5u16, Some(30u16)), (0, Some(1200)), (65_535, Some(1200)), (45, None)] {
        let mut line = certified(&papers, &aws, ALPN).await.unwrap();
        let [high, low] = asked.to_be_bytes();
        let head = [&raw::text("MQTT")[..], &[5, 2, high, low, 0], &raw::text("gateway")].concat();
        line.send(&raw::packet(0x10, &head)).await;
        let (_, body) = line.next().await.expect("CONNACK");
        let server = body[3..].windows(3).find(|window| window[0] == 0x13);
        assert_eq!(server.map(|bytes| u16::from_be_bytes([bytes[1], bytes[2]])), told, "{asked}");
    }
}

/// What a profile for AWS has to keep the link from.
#[tokio::test(flavor = "multi_thread")]
async fn the_links_own_filters_fit_into_one_subscribe_as_long_as_there_are_seven() {
    let (papers, clock) = (Papers::new(), clock());
    let aws = Aws::start(&papers, clock.clone()).await;
    knows_the_static_key(&aws);
    let filters = |count: usize| {
        (0..count).map(|number| (TopicFilter::parse(&format!("h/g/{number}/set")).unwrap(), QoS::AtLeastOnce))
    };
    let mut wanted = options(&papers, &aws, static_keys(&papers, SECRET));
    wanted.subscriptions = filters(7).collect();
    let gateway = Gateway::start_at(wanted, clock);
    gateway.until_online().await;
    gateway.stop().await;
}
