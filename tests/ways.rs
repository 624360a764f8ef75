//! The ladder and several brokers: the line finds a way, keeps what works, and climbs back, without losing anything.
#![cfg(feature = "demo")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's panic is its verdict; clippy spares only `#[test]` functions"
)]

mod support {
    #[allow(dead_code, reason = "the rest is used in tests/aws.rs")]
    pub mod aws;
    #[allow(dead_code, reason = "the rest is used in tests/link.rs")]
    pub mod gateway;
    #[allow(dead_code, reason = "the rest is used in tests/link.rs")]
    pub mod peer;
    pub mod port;
    #[allow(dead_code, reason = "the rest is used in tests/broker")]
    pub mod raw;
}

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use hearthlink::{
    clock::Clock,
    demo::cloud::{Cloud, CloudOptions, Dialect},
    health::LinkReport,
    link::{LinkOptions, Transport, Way},
    model::{CloudUrl, FaultKind, LinkState},
};
use support::{
    aws::{ALPN, Aws},
    gateway::{Gateway, Papers, Watcher},
    port::Port,
};

async fn cloud(papers: &Papers, address: SocketAddr) -> Cloud {
    let options = CloudOptions {
        certificate: papers.server.certificate.clone(),
        key: papers.server.key.clone(),
        client_ca: papers.ca.clone(),
        address,
        dialect: Dialect::Mqtt5,
    };
    Cloud::start(options).await.unwrap()
}

fn way(url: &str) -> Way {
    Way::direct(CloudUrl::parse(url).unwrap())
}

fn online_at<'a>(url: &'a str) -> impl Fn(&LinkReport) -> bool + use<'a> {
    move |report| report.state == LinkState::Online && report.endpoint.starts_with(url)
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_web_socket_is_blocked_mqtt_in_tls_with_alpn_carries_the_line() {
    let (papers, clock) = (Papers::new(), Clock::manual(Clock::system().now()));
    let aws = Aws::start(&papers, clock.clone()).await;
    let blocked = Port::reserve();
    let plain = format!("mqtts://localhost:{}", aws.mqtt_port());
    let own = String::from_utf8(ALPN.to_vec()).unwrap();
    let alpn = |alpn: &str| Way { transport: Transport::Tls { alpn: Some(alpn.to_owned()) }, ..way(&plain) };
    let ladder = vec![way(&format!("wss://localhost:{}", blocked.address().port())), alpn(&own)];
    let options = LinkOptions { brokers: vec![ladder], ..papers.options("wss://nowhere.invalid") };
    let gateway = Gateway::start_at(options, clock.clone());
    let report = gateway.until_online().await;
    assert!(report.endpoint.ends_with(&format!("with ALPN {own}")), "{report:?}");
    for number in 0..300 {
        gateway.append(&number.to_string()).await;
    }
    gateway.until_empty().await;
    let expected: Vec<String> = (0..300).map(|number: u32| number.to_string()).collect();
    assert_eq!(aws.on("h/g/toaster"), expected);
    gateway.stop().await;
    assert_eq!(aws.on("h/g/bridge/state"), ["online", "offline"]);

    // What the server does not speak is not spoken.
    let options =
        LinkOptions { brokers: vec![vec![alpn("mqtt")]], ..papers.options("wss://nowhere.invalid") };
    let gateway = Gateway::start_at(options, clock);
    assert_eq!(gateway.until_fault().await.kind, FaultKind::Tls);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_goes_to_the_second_broker_and_back_to_the_first_and_nothing_is_lost_between_them() {
    let papers = Papers::new();
    let port = Port::reserve();
    let second = cloud(&papers, ([127, 0, 0, 1], 0).into()).await;
    let at_second = Watcher::start(second.broker_address()).await;
    let first_url = format!("wss://localhost:{}/mqtt", port.address().port());
    let options = LinkOptions {
        brokers: vec![vec![way(&first_url)], vec![way(&second.url())]],
        climb_after: Duration::from_millis(300),
        ..papers.options("wss://nowhere.invalid")
    };
    let gateway = Gateway::start(options);
    let second_url = second.url();
    gateway.until("online at the second", online_at(&second_url)).await;
    for number in 0..50 {
        gateway.append(&number.to_string()).await;
    }

    let first = cloud(&papers, port.address()).await;
    let at_first = Watcher::start(first.broker_address()).await;
    for number in 50..100 {
        gateway.append(&number.to_string()).await;
    }
    gateway.until("back at the first", online_at(&first_url)).await;
    for number in 100..150 {
        gateway.append(&number.to_string()).await;
    }
    gateway.until_empty().await;
    assert_eq!(
        gateway.board.snapshot().counters.failures,
        1,
        "only the first attempt of all came to nothing"
    );
    // The second broker was left in order, so it does not tell everybody that the gateway is gone.
    assert_eq!(at_second.on("h/g/bridge/state"), ["online"]);

    first.stop().await;
    gateway.until("again at the second", online_at(&second_url)).await;
    for number in 150..200 {
        gateway.append(&number.to_string()).await;
    }
    gateway.until_empty().await;
    let arrived = || -> BTreeSet<u32> {
        let all = [&at_first, &at_second].map(|watcher| watcher.on("h/g/toaster"));
        all.iter().flatten().map(|number| number.parse().unwrap()).collect()
    };
    at_second.until("everything", |_| arrived().len() == 200).await;
    gateway.stop().await;
    second.stop().await;
}
