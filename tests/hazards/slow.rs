//! Strangers who take their time: silence and slow loris, on every kind of port.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{
    raw::connect,
    target::{Stream, Target},
};

/// Whoever is no client by then keeps a place for nothing.
const CUT_OFF: Duration = Duration::from_secs(15);
/// Between two bytes of a drip.
const DRIP: Duration = Duration::from_millis(300);
/// How many do it at a time.
const STRANGERS: usize = 10;

async fn tcp(port: u16) -> Box<dyn Stream> {
    Box::new(TcpStream::connect(("127.0.0.1", port)).await.unwrap())
}

/// A CONNECT too long to be over, dripping, before it is cut off.
fn long_connect() -> Vec<u8> {
    connect(&"x".repeat(1_000), 2, &[])
}

/// Says `bytes` one by one; whether it is cut off.
async fn is_cut_off(mut stream: Box<dyn Stream>, bytes: Vec<u8>) -> bool {
    let until = Instant::now() + CUT_OFF;
    let mut bytes = bytes.into_iter();
    let mut answer = [0; 256];
    while Instant::now() < until {
        if let Some(byte) = bytes.next()
            && (stream.write_all(&[byte]).await.is_err() || stream.flush().await.is_err())
        {
            return true;
        }
        match timeout(DRIP, stream.read(&mut answer)).await {
            Ok(Ok(0) | Err(_)) => return true,
            // An HTTP error or a TLS alert, on the way out.
            Ok(Ok(_)) | Err(_) => {}
        }
    }
    false
}

/// Others are served while strangers drip, and each of these is cut off in the end.
async fn strangers(streams: Vec<Box<dyn Stream>>, bytes: &[u8], others: impl Future<Output = ()>) {
    let mut all = JoinSet::new();
    for stream in streams {
        all.spawn(is_cut_off(stream, bytes.to_vec()));
    }
    others.await;
    let count = all.len();
    let left = all.join_all().await.into_iter().filter(|was_cut_off| !was_cut_off).count();
    assert!(left == 0, "{left} of {count} still have their place after {CUT_OFF:?}");
}

async fn many<F: Future<Output = Box<dyn Stream>>>(stream: impl Fn() -> F) -> Vec<Box<dyn Stream>> {
    let mut all = Vec::new();
    for _ in 0..STRANGERS {
        all.push(stream().await);
    }
    all
}

pub async fn one_idle_connection_on_the_tls_port(at: Target) {
    let _idle = tcp(at.tls_port()).await;
    at.is_served_by(at.within_tls()).await;
    at.others_are_well().await;
}

pub async fn one_idle_connection_on_the_websocket_port(at: Target) {
    let _idle = tcp(at.websocket_port()).await;
    at.is_served_by(at.within_websocket()).await;
    at.others_are_well().await;
}

pub async fn strangers_who_say_nothing(at: Target) {
    let mut silent = Vec::new();
    for port in [Some(at.v311), at.tls, at.websocket].into_iter().flatten() {
        silent.extend(many(|| tcp(port)).await);
    }
    strangers(silent, &[], at.others_are_well()).await;
}

pub async fn a_connect_that_drips(at: Target) {
    strangers(many(|| tcp(at.v311)).await, &long_connect(), at.others_are_well()).await;
}

pub async fn a_connect_that_stops_half_way(at: Target) {
    let whole = long_connect();
    let half = many(async || {
        let mut stream = tcp(at.v311).await;
        stream.write_all(&whole[..whole.len() / 2]).await.unwrap();
        stream
    });
    strangers(half.await, &[], at.others_are_well()).await;
}

pub async fn a_tls_handshake_that_drips(at: Target) {
    // A record with the beginning of a ClientHello of 508 bytes.
    let hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3][..], &[7; 200]].concat();
    strangers(many(|| tcp(at.tls_port())).await, &hello, at.is_served_by(at.within_tls())).await;
}

pub async fn a_connect_that_drips_within_tls(at: Target) {
    let others = at.is_served_by(at.within_tls());
    strangers(many(|| at.within_tls()).await, &long_connect(), others).await;
}

pub async fn an_http_upgrade_that_drips(at: Target) {
    let request = format!("GET /mqtt HTTP/1.1\r\nHost: x\r\nX-Filler: {}", "x".repeat(500));
    let others = at.is_served_by(at.within_websocket());
    strangers(many(|| tcp(at.websocket_port())).await, request.as_bytes(), others).await;
}
