//! Bytes that are no MQTT, and MQTT that is not allowed.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    raw::{Raw, connect, packet, publish, text},
    target::{Target, is_ended},
};

pub async fn packets_that_break_the_protocol(at: Target) {
    let mut forgiven = Vec::new();
    for (what, bytes) in [
        ("PUBLISH to nothing", publish(0, "", 0, b"x")),
        ("PUBLISH with id 0", publish(2, "a", 0, b"x")),
        ("PUBLISH with QoS 3", publish(6, "a", 1, b"x")),
        ("PUBLISH with NUL in the topic", publish(0, "a\0b", 0, b"x")),
        ("PUBLISH with a topic that is not UTF-8", packet(0x30, &[0, 2, 0xC3, 0x28])),
        ("PUBLISH with a topic longer than itself", packet(0x30, &[0, 200, b'a'])),
        ("SUBSCRIBE to nothing", packet(0x82, &[0, 1])),
        ("SUBSCRIBE with other flags", packet(0x80, &[&[0, 9][..], &text("a"), &[0]].concat())),
        ("SUBSCRIBE with QoS 3", packet(0x82, &[&[0, 9][..], &text("a"), &[3]].concat())),
        ("UNSUBSCRIBE from nothing", packet(0xA2, &[0, 1])),
        ("PUBACK without an id", packet(0x40, &[])),
        ("a length that never ends", vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
        ("a packet of 256 MB", vec![0x30, 0xFF, 0xFF, 0xFF, 0x7F]),
        ("an oversize packet", publish(0, "a", 0, &vec![0; 2 << 20])),
        ("a topic of 1,000 levels", publish(0, &"a/".repeat(1_000), 0, b"x")),
        ("CONNACK", packet(0x20, &[0, 0])),
        ("packet type 0", vec![0, 0]),
    ] {
        let mut hostile = at.client("hostile").await;
        hostile.send(&bytes).await;
        // Behind it a PING, so that a broker that forgives does not make us wait.
        hostile.send(&[0xC0, 0]).await;
        if hostile.next().await.is_some_and(|(first, _)| first != 0xE0) {
            forgiven.push(what);
        }
        at.others_are_well().await;
    }
    assert!(forgiven.is_empty(), "forgiven: {}", forgiven.join(", "));
}

pub async fn first_packets_that_are_no_connect(at: Target) {
    for bytes in [
        &publish(0, "a", 0, b"x")[..],
        b"GET / HTTP/1.1\r\n\r\n",
        &[0x16, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3],
        &[0x10, 0xFF, 0xFF, 0xFF, 0x7F],
        &packet(0x10, &[&text("HTTP")[..], &[4, 2, 0, 60], &text("x")].concat()),
        &[0xC0, 0],
    ] {
        let mut hostile = at.raw().await;
        hostile.send(bytes).await;
        hostile.0.shutdown().await.ok();
        assert!(hostile.hangs_up().await, "{bytes:02x?} is answered");
    }
}

/// Each byte from the one before (an LCG), so that a failure comes again.
fn noise(seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..4_000).map(|_| next()).collect()
}

pub async fn random_bytes(at: Target) {
    let mut hostile = Vec::new();
    for seed in 0..50 {
        let mut raw = at.raw().await;
        if seed % 2 == 0 {
            raw.connect(&format!("hostile{seed}"), true).await;
        }
        raw.send(&noise(seed)).await;
        hostile.push(raw);
        for port in [at.tls, at.websocket].into_iter().flatten() {
            let mut raw = Raw::to(port).await;
            raw.send(&noise(seed)).await;
            hostile.push(raw);
        }
    }
    at.others_are_well().await;
    // Most are ended; some have begun a packet that is never over, which is no crime.
    for raw in &mut hostile {
        raw.0.shutdown().await.ok();
        assert!(is_ended(raw).await, "not ended when it had said all");
    }
}

/// A TCP stream after the HTTP upgrade.
async fn upgraded(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\
                   Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.expect("the upgrade is answered"));
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
    stream
}

pub async fn websocket_frames_that_break_the_protocol(at: Target) {
    let port = at.websocket_port();
    let hello = connect("x", 2, &[]);
    // A mask of zeros leaves the payload as it is.
    let framed = |opcode: u8| [&[opcode, 0x80 | hello.len() as u8, 0, 0, 0, 0][..], &hello].concat();
    let mut forgiven = Vec::new();
    for (what, bytes) in [
        ("a text frame", framed(0x81)),
        ("a frame without a mask", [&[0x82, hello.len() as u8][..], &hello].concat()),
        ("reserved bits", framed(0xF2)),
        ("a reserved opcode", framed(0x83)),
        ("a continuation of nothing", framed(0x80)),
        ("a frame of 2^62 bytes", [&[0x82, 0xFF, 0x40][..], &[0; 11], &hello].concat()),
        ("a PING of 200 bytes", [&[0x89, 0xFE, 0, 200, 0, 0, 0, 0][..], &[7; 200]].concat()),
        ("no MQTT in a good frame", [&[0x82, 0x80 | 8, 0, 0, 0, 0][..], &[0xFF; 8]].concat()),
    ] {
        let mut stream = upgraded(port).await;
        stream.write_all(&framed(0x82)).await.unwrap();
        // Two bytes of frame, four of CONNACK.
        let mut connack = [0; 6];
        stream.read_exact(&mut connack).await.expect("CONNACK");
        stream.write_all(&bytes).await.unwrap();
        // A close frame, which asks for one in return, or the end at once.
        match timeout(Duration::from_secs(8), stream.read_u8()).await {
            Ok(Ok(0x88) | Err(_)) => {}
            Ok(Ok(_)) | Err(_) => forgiven.push(what),
        }
        at.is_served_by(at.within_websocket()).await;
    }
    assert!(forgiven.is_empty(), "not ended: {}", forgiven.join(", "));
}

pub async fn a_half_closed_socket(at: Target) {
    let mut client = at.client("client").await;
    client.subscribe("half", 1).await;
    client.0.shutdown().await.unwrap();
    assert!(client.hangs_up().await);
    let mut writer = at.client("writer").await;
    writer.send(&publish(2, "half", 1, b"x")).await;
    let answer = timeout(Duration::from_secs(5), writer.next()).await;
    assert_eq!(answer.unwrap(), Some((0x40, vec![0, 1])), "no PUBACK");
}
