//! The proxy does what it is told, against a plain echo.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};

use crate::proxy::{End, Proxy, Way, Weather};

/// How long we look for something that must not come.
const SILENCE: Duration = Duration::from_millis(150);
const PATIENCE: Duration = Duration::from_secs(20);

/// Sends back what it gets.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    address
}

async fn connect(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

async fn comes_back(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut back = vec![0; text.len()];
    timeout(PATIENCE, stream.read_exact(&mut back)).await.expect("an echo").unwrap();
    assert_eq!(back, text.as_bytes());
}

async fn is_silent(stream: &mut TcpStream) {
    let read = timeout(SILENCE, stream.read_u8()).await;
    assert!(read.is_err(), "{read:?}");
}

async fn ends(stream: &mut TcpStream) -> std::io::Result<usize> {
    timeout(PATIENCE, stream.read(&mut [0; 16])).await.expect("an end")
}

#[tokio::test]
async fn a_clear_line_carries_and_a_cut_ends_it_by_reset_or_fin() {
    let proxy = Proxy::start(echo().await).await;
    for end in [End::Reset, End::Fin] {
        let mut stream = connect(&proxy).await;
        comes_back(&mut stream, "hello").await;
        proxy.cut(end);
        let ended = ends(&mut stream).await;
        assert_eq!(ended.is_err(), end == End::Reset, "{ended:?}");
    }
    comes_back(&mut connect(&proxy).await, "a new connection").await;
}

#[tokio::test]
async fn a_shut_line_takes_no_connection_and_keeps_those_that_are_open() {
    let proxy = Proxy::start(echo().await).await;
    let mut open = connect(&proxy).await;
    comes_back(&mut open, "before").await;
    proxy.set(Weather::Shut);
    comes_back(&mut open, "after").await;
    assert!(!matches!(ends(&mut connect(&proxy).await).await, Ok(1..)));
}

#[tokio::test]
async fn a_hung_line_says_nothing_and_loses_nothing() {
    let proxy = Proxy::start(echo().await).await;
    let mut open = connect(&proxy).await;
    comes_back(&mut open, "before").await;
    proxy.set(Weather::Hung);
    let mut new = connect(&proxy).await;
    for stream in [&mut open, &mut new] {
        stream.write_all(b"held up").await.unwrap();
        is_silent(stream).await;
    }
    proxy.set(Weather::Clear);
    for stream in [&mut open, &mut new] {
        let mut back = [0; 7];
        timeout(PATIENCE, stream.read_exact(&mut back)).await.expect("it goes on").unwrap();
        assert_eq!(&back, b"held up");
    }
}

#[tokio::test]
async fn a_half_open_line_swallows_one_way_for_ever() {
    for way in [Way::Out, Way::Back] {
        let proxy = Proxy::start(echo().await).await;
        let mut open = connect(&proxy).await;
        comes_back(&mut open, "before").await;
        proxy.set(Weather::HalfOpen(way));
        open.write_all(b"gone").await.unwrap();
        is_silent(&mut open).await;
        proxy.set(Weather::Clear);
        open.write_all(b"still dead").await.unwrap();
        is_silent(&mut open).await;
        comes_back(&mut connect(&proxy).await, "a new connection").await;
    }
}

#[tokio::test]
async fn a_slow_line_takes_its_time() {
    let proxy = Proxy::start(echo().await).await;
    let mut stream = connect(&proxy).await;
    for weather in [Weather::Delayed(Duration::from_millis(30)), Weather::Dripping(1)] {
        proxy.set(weather);
        let started = Instant::now();
        comes_back(&mut stream, "there and back again, one byte at a time").await;
        assert!(started.elapsed() >= Duration::from_millis(60), "{weather:?} {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn every_third_connection_is_dropped() {
    let proxy = Proxy::start(echo().await).await;
    proxy.set(Weather::EveryNth(3));
    for round in 1..=6 {
        let mut stream = connect(&proxy).await;
        if round % 3 == 0 {
            assert!(!matches!(ends(&mut stream).await, Ok(1..)));
        } else {
            comes_back(&mut stream, "carried").await;
        }
    }
    assert_eq!(proxy.accepted(), 6);
}

#[tokio::test]
async fn a_proxy_can_be_aimed_elsewhere_and_at_nobody() {
    let (first, gone) = (echo().await, TcpListener::bind("127.0.0.1:0").await.unwrap());
    let nobody = gone.local_addr().unwrap();
    drop(gone);
    let proxy = Proxy::start(nobody).await;
    assert!(!matches!(ends(&mut connect(&proxy).await).await, Ok(1..)));
    proxy.aim(first);
    comes_back(&mut connect(&proxy).await, "found").await;
}
